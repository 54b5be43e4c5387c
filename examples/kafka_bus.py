"""leanflow on Kafka: Lean's webhooks come in from a topic, and what becomes of requests goes out to another.

Run it with ``python examples/kafka_bus.py`` beside a Kafka with the topics lean.webhooks and lean.announced
(KAFKA_SERVERS); where none is named, on librdkafka's mock cluster (pip install confluent-kafka). Lean is a Mockbank.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from leanflow import LeanFlow, Reply, Resource, State, cloudevents
from leanflow.mockbank import Mockbank
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.kafka import KafkaBus
from leanflow_adapters.mockbank import MockbankTransport, deliver


async def lean_and_gateway(bank: Mockbank, producer: AIOKafkaProducer, topic: str) -> None:
    """Be Lean, and the gateway that puts its webhooks into the topic as they come: 200 once Kafka has them."""
    clock = SystemClock()

    async def gateway(headers: Mapping[str, str], raw: bytes) -> Reply:
        signature = [(name, value.encode()) for name, value in headers.items() if name.lower() == "lean-signature"]
        await producer.send_and_wait(topic, raw, key=b"lean", headers=signature)  # one partition: they keep their order
        return Reply(status=200)

    while True:
        await deliver(bank, gateway, clock.now())
        await clock.sleep(0.1)


async def consumer(servers: str, topic: str) -> None:
    """Be a service that hears of requests: at least once, so it drops what it has seen, by the event's id."""
    seen: set[str] = set()
    async with AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest") as records:
        async for record in records:
            event = cloudevents.read({name: value.decode() for name, value in record.headers}, record.value)
            if event.key in seen:
                continue
            seen.add(event.key)
            print(f"{event.change.request.reference}: {event.topic}", flush=True)
            if event.topic == State.fetched:
                return


async def main(servers: str, name: str = "lean") -> None:
    """Run leanflow between its two topics, and all the others."""
    clock = SystemClock()
    bank = Mockbank(now=clock.now())
    entity_id = bank.connect("user-17")
    bank.expire_session(entity_id)  # the bank wants the user again
    bus = KafkaBus(servers, topic=f"{name}.announced")
    flows = LeanFlow(
        store=open_store("memory:"),
        transport=MockbankTransport(bank, clock),
        webhook_secrets=[bank.webhook_secret],
        app=bank.app,
        bus=bus,
    )
    webhooks = bus.subscribe(f"{name}.webhooks", flows.receive, durable=f"{name}-leanflow")
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer, flows, webhooks:
        sending = asyncio.create_task(lean_and_gateway(bank, producer, f"{name}.webhooks"))
        request = await flows.request(Resource.accounts, entity_id=entity_id, reference="user-17")
        prompt = await flows.prompt(request.id)
        bank.submit_otp(prompt.to_dict()["reconnect_id"], "1111")  # the user, in the browser
        await consumer(servers, f"{name}.announced")
        sending.cancel()


if __name__ == "__main__":
    if "KAFKA_SERVERS" in os.environ:
        asyncio.run(main(os.environ["KAFKA_SERVERS"]))
    else:
        from confluent_kafka import Producer

        cluster = Producer({"test.mock.num.brokers": 2, "bootstrap.servers": "mock"})
        asked = [cluster.list_topics(topic, timeout=5) for topic in ("lean.webhooks", "lean.announced")]  # makes them
        asyncio.run(main(",".join(f"{broker.host}:{broker.port}" for broker in asked[0].brokers.values())))
