"""leanflow on RabbitMQ: Lean's webhooks come in from a queue, and what becomes of requests goes out to an exchange.

Run it with ``python examples/rabbitmq_bus.py`` beside a RabbitMQ (RABBITMQ_URL). Lean is a Mockbank.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import aio_pika
from aio_pika.abc import AbstractChannel

from leanflow import LeanFlow, Reply, Resource, State, cloudevents
from leanflow.mockbank import Mockbank
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.mockbank import MockbankTransport, deliver
from leanflow_adapters.rabbitmq import RabbitBus


async def lean_and_gateway(bank: Mockbank, channel: AbstractChannel, queue: str) -> None:
    """Be Lean, and the gateway that puts its webhooks into the queue as they come: 200 once RabbitMQ has them."""
    clock = SystemClock()

    async def gateway(headers: Mapping[str, str], raw: bytes) -> Reply:
        signature = {name: value for name, value in headers.items() if name.lower() == "lean-signature"}
        message = aio_pika.Message(raw, headers=dict(signature), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue)
        return Reply(status=200)

    while True:
        await deliver(bank, gateway, clock.now())
        await clock.sleep(0.1)


async def consumer(channel: AbstractChannel, queue: str) -> None:
    """Be a service that hears of requests: at least once, so it drops what it has seen, by the event's id."""
    seen: set[str] = set()
    async with (await channel.get_queue(queue)).iterator() as messages:
        async for message in messages:
            event = cloudevents.read({"content-type": message.content_type or ""}, message.body)
            await message.ack()
            if event.key in seen:
                continue
            seen.add(event.key)
            print(f"{event.change.request.reference}: {event.topic}", flush=True)
            if event.topic == State.fetched:
                return


async def main(url: str, name: str = "lean") -> None:
    """Run leanflow between a queue and an exchange, and all the others."""
    clock = SystemClock()
    bank = Mockbank(now=clock.now())
    entity_id = bank.connect("user-17")
    bank.expire_session(entity_id)  # the bank wants the user again
    bus = RabbitBus(url, exchange=f"{name}.announced")
    flows = LeanFlow(
        store=open_store("memory:"),
        transport=MockbankTransport(bank, clock),
        webhook_secrets=[bank.webhook_secret],
        app=bank.app,
        bus=bus,
    )
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(f"{name}.announced", "topic", durable=True)
        for queue in (f"{name}.webhooks", f"{name}.heard"):
            await channel.declare_queue(queue, durable=True)
        await (await channel.get_queue(f"{name}.heard")).bind(exchange, "leanflow.flow.#")
        async with flows, bus.subscribe(f"{name}.webhooks", flows.receive):
            sending = asyncio.create_task(lean_and_gateway(bank, channel, f"{name}.webhooks"))
            request = await flows.request(Resource.accounts, entity_id=entity_id, reference="user-17")
            prompt = await flows.prompt(request.id)
            bank.submit_otp(prompt.to_dict()["reconnect_id"], "1111")  # the user, in the browser
            await consumer(channel, f"{name}.heard")
            sending.cancel()


if __name__ == "__main__":
    asyncio.run(main(os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1/")))
