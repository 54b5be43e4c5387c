"""leanflow on NATS JetStream: Lean's webhooks come in from a stream, and what becomes of requests goes out to another.

Run it with ``python examples/nats_bus.py`` beside a NATS server with JetStream (NATS_URL). Lean is a Mockbank.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import nats
from nats.aio.client import Client

from leanflow import LeanFlow, Reply, Resource, State, cloudevents
from leanflow.mockbank import Mockbank
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.mockbank import MockbankTransport, deliver
from leanflow_adapters.nats import NatsBus


async def lean_and_gateway(bank: Mockbank, client: Client, subject: str) -> None:
    """Be Lean, and the gateway that puts its webhooks on the stream as they come: 200 once the stream has them."""
    clock = SystemClock()

    async def gateway(headers: Mapping[str, str], raw: bytes) -> Reply:
        signature = {name: value for name, value in headers.items() if name.lower() == "lean-signature"}
        await client.jetstream().publish(subject, raw, headers=signature)
        return Reply(status=200)

    while True:
        await deliver(bank, gateway, clock.now())
        await clock.sleep(0.1)


async def consumer(client: Client, subject: str) -> None:
    """Be a service that hears of requests: at least once, so it drops what it has seen, by the event's id."""
    announced = await client.jetstream().pull_subscribe(subject, durable=subject.replace(".", "-"))
    seen: set[str] = set()
    while True:
        for message in await announced.fetch(10, timeout=30):
            event = cloudevents.read(message.headers or {}, message.data)
            await message.ack()
            if event.key in seen:
                continue
            seen.add(event.key)
            print(f"{event.change.request.reference}: {event.topic}", flush=True)
            if event.topic == State.fetched:
                return


async def main(url: str, name: str = "lean") -> None:
    """Run leanflow between its two streams, and all the others."""
    clock = SystemClock()
    bank = Mockbank(now=clock.now())
    entity_id = bank.connect("user-17")
    bank.expire_session(entity_id)  # the bank wants the user again
    told = f"{name}.announced"
    announcing = NatsBus(servers=url, stream=f"{name}-announced", topic=told, subjects=[told], create=True)
    flows = LeanFlow(
        store=open_store("memory:"),
        transport=MockbankTransport(bank, clock),
        webhook_secrets=[bank.webhook_secret],
        app=bank.app,
        bus=announcing,
    )
    webhooks = announcing.subscribe(
        f"{name}.webhooks", flows.receive, durable=f"{name}-leanflow", stream=f"{name}-webhooks"
    )
    async with flows, webhooks, await nats.connect(url) as client:
        sending = asyncio.create_task(lean_and_gateway(bank, client, f"{name}.webhooks"))
        request = await flows.request(Resource.accounts, entity_id=entity_id, reference="user-17")
        prompt = await flows.prompt(request.id)
        bank.submit_otp(prompt.to_dict()["reconnect_id"], "1111")  # the user, in the browser
        await consumer(client, told)
        sending.cancel()


if __name__ == "__main__":
    asyncio.run(main(os.environ.get("NATS_URL", "nats://127.0.0.1:4222")))
