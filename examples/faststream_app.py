"""leanflow in a FastStream application, over NATS: webhooks come in by a subscriber, and announcements go out.

Run it with ``python examples/faststream_app.py`` beside a NATS server with JetStream (NATS_URL). Lean is a Mockbank.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, NatsMessage

from leanflow import LeanFlow, Reply, Resource, cloudevents
from leanflow.mockbank import Mockbank
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.faststream import FastStreamBus, plug
from leanflow_adapters.mockbank import MockbankTransport, deliver


def make(url: str, name: str = "plugged") -> FastStream:
    """Put the application together; a user of FastStream has most of this already."""
    clock = SystemClock()
    bank = Mockbank(now=clock.now())
    broker = NatsBroker(url)
    stream = JStream(name, subjects=[f"{name}.*"])
    flows = LeanFlow(
        store=open_store("memory:"),
        transport=MockbankTransport(bank, clock),
        webhook_secrets=[bank.webhook_secret],
        app=bank.app,
        bus=FastStreamBus(broker, topic=f"{name}.announced", stream=name),
    )
    webhooks = broker.subscriber(
        f"{name}.webhooks", stream=stream, durable="leanflow", pull_sub=True, ack_policy=AckPolicy.MANUAL
    )
    plug(broker, flows.receive, webhooks=webhooks, set_aside=f"{name}.aside", stream=name)

    @broker.subscriber(f"{name}.announced", stream=stream, durable="service", pull_sub=True)
    async def hear(message: NatsMessage) -> None:
        """Be a service that hears of requests."""
        event = cloudevents.read({key: str(value) for key, value in message.headers.items()}, message.body)
        print(f"{event.change.request.reference}: {event.topic}", flush=True)
        if event.change.to_state.is_end:
            app.exit()

    async def gateway() -> None:
        """Be Lean, and the gateway that puts its webhooks on the stream as they come."""

        async def put(headers: Mapping[str, str], raw: bytes) -> Reply:
            signature = {key: value for key, value in headers.items() if key.lower() == "lean-signature"}
            await broker.publish(raw, f"{name}.webhooks", headers=signature, stream=name)
            return Reply(status=200)

        while True:
            await deliver(bank, put, clock.now())
            await clock.sleep(0.1)

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        """Run the engine as long as the application runs."""
        async with flows:
            yield

    app = FastStream(broker, lifespan=life)

    @app.after_startup
    async def ask() -> None:
        entity_id = bank.connect("user-17")
        bank.expire_session(entity_id)  # the bank wants the user again
        request = await flows.request(Resource.accounts, entity_id=entity_id, reference="user-17")
        prompt = await flows.prompt(request.id)
        bank.submit_otp(prompt.to_dict()["reconnect_id"], "1111")  # the user, in the browser
        tasks.append(asyncio.create_task(gateway()))

    tasks: list[asyncio.Task[None]] = []
    app.on_shutdown(lambda: [task.cancel() for task in tasks])
    return app


if __name__ == "__main__":
    asyncio.run(make(os.environ.get("NATS_URL", "nats://127.0.0.1:4222")).run())
