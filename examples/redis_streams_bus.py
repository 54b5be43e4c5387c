"""leanflow on Redis Streams: Lean's webhooks come in from a stream, and what becomes of requests goes out to another.

Run it with ``python examples/redis_streams_bus.py`` beside a Redis or Valkey (REDIS_URL). Lean is a Mockbank.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from leanflow import LeanFlow, Reply, Resource, State, cloudevents
from leanflow.mockbank import Mockbank
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.mockbank import MockbankTransport, deliver
from leanflow_adapters.redis_streams import RedisStreamsBus


async def lean_and_gateway(bank: Mockbank, client: Redis, stream: str) -> None:
    """Be Lean, and the gateway that puts its webhooks on the stream as they come: 200 once Redis has them."""
    clock = SystemClock()

    async def gateway(headers: Mapping[str, str], raw: bytes) -> Reply:
        signature = next(value for name, value in headers.items() if name.lower() == "lean-signature")
        await client.xadd(stream, {"lean-signature": signature, "data": raw})
        return Reply(status=200)

    while True:
        await deliver(bank, gateway, clock.now())
        await clock.sleep(0.1)


async def consumer(client: Any, stream: str) -> None:
    """Be a service that hears of requests: at least once, so it drops what it has seen, by the event's id."""
    await client.xgroup_create(stream, "service", id="0", mkstream=True)
    seen: set[str] = set()
    while True:
        ((_, entries),) = await client.xreadgroup("service", "one", {stream: ">"}, count=10, block=30_000)
        for place, fields in entries:
            event = cloudevents.read({"content-type": fields[b"content-type"].decode()}, fields[b"data"])
            await client.xack(stream, "service", place)
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
    announcing = RedisStreamsBus(url, topic=f"{name}:announced", maxlen=100_000)
    flows = LeanFlow(
        store=open_store("memory:"),
        transport=MockbankTransport(bank, clock),
        webhook_secrets=[bank.webhook_secret],
        app=bank.app,
        bus=announcing,
    )
    webhooks = announcing.subscribe(f"{name}:webhooks", flows.receive, durable="leanflow")
    async with flows, webhooks, Redis.from_url(url) as client:
        sending = asyncio.create_task(lean_and_gateway(bank, client, f"{name}:webhooks"))
        request = await flows.request(Resource.accounts, entity_id=entity_id, reference="user-17")
        prompt = await flows.prompt(request.id)
        bank.submit_otp(prompt.to_dict()["reconnect_id"], "1111")  # the user, in the browser
        await consumer(client, f"{name}:announced")
        sending.cancel()


if __name__ == "__main__":
    asyncio.run(main(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")))
