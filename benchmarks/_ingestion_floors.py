"""The buses of benchmarks/ingestion.py, each with what one would write by hand on its client to take webhooks."""

from __future__ import annotations

import abc
import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self
from uuid import uuid4

import aio_pika
import nats
import nats.errors
from aio_pika.abc import AbstractIncomingMessage
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError
from redis.asyncio import Redis

from benchmarks._relay_floors import answers
from leanflow_adapters._bus import Receive, Subscription
from leanflow_adapters.kafka import KafkaBus
from leanflow_adapters.nats import NatsBus
from leanflow_adapters.rabbitmq import RabbitBus
from leanflow_adapters.redis_streams import RedisStreamsBus
from tests.support import kafka

__all__ = ["AT_ONCE", "INLETS", "Inlet", "Message", "Step"]

AT_ONCE = 64
"""Messages that are with their receiver at once, of the minimum's and of leanflow's."""
SIGNATURE = "lean-signature"

Message = tuple[Mapping[str, str], bytes]
"""Headers and body."""

Step = Callable[[bytes, str], Awaitable[int]]
"""Takes body and signature; commits; returns the status."""


class Inlet(abc.ABC):
    """One bus: `async with` gives an empty place for webhooks, and takes it away, with what was made beside it."""

    def __init__(self) -> None:
        self.place = f"leanflow-bench-{uuid4().hex}"

    @classmethod
    @abc.abstractmethod
    def missing(cls) -> str | None:
        """Return why it cannot run, or None."""

    @abc.abstractmethod
    async def __aenter__(self) -> Self:
        """Make the place."""

    @abc.abstractmethod
    async def __aexit__(self, *_: object) -> None:
        """Take it away."""

    @abc.abstractmethod
    async def put(self, messages: Sequence[Message]) -> None:
        """Put webhooks there."""

    @abc.abstractmethod
    async def floor(self, step: Step, count: int) -> None:
        """Take so many: the step first, the acknowledgement behind it."""

    @abc.abstractmethod
    def subscribe(self, receive: Receive) -> Subscription:
        """Return leanflow's subscription to the same place."""


class Nats(Inlet):
    """NATS JetStream: fetch a batch, step and acknowledge each, fetch the next."""

    url = os.environ.get("LEANFLOW_NATS_URL", "nats://127.0.0.1:4222")

    @classmethod
    def missing(cls) -> str | None:
        """Look whether it answers."""
        return answers(cls.url, 4222)

    async def __aenter__(self) -> Self:
        async with await nats.connect(self.url) as client:
            await client.jetstream().add_stream(name=self.place, subjects=[self.place])
        return self

    async def __aexit__(self, *_: object) -> None:
        async with await nats.connect(self.url) as client:
            for stream in (self.place, f"{self.place}-set-aside"):
                try:
                    await client.jetstream().delete_stream(stream)
                except NotFoundError:
                    continue

    async def put(self, messages: Sequence[Message]) -> None:
        """Publish them, a thousand at a time."""
        async with await nats.connect(self.url) as client:
            js = client.jetstream()
            for first in range(0, len(messages), 1000):
                some = messages[first : first + 1000]
                sent = [await js.publish_async(self.place, body, headers=dict(told)) for told, body in some]
                await asyncio.gather(*sent)

    async def floor(self, step: Step, count: int) -> None:
        """Pull."""

        async def take(message: Msg) -> None:
            assert await step(message.data, (message.headers or {})[SIGNATURE]) == 200
            await message.ack()

        async with await nats.connect(self.url) as client:
            pulling = await client.jetstream().pull_subscribe(self.place, durable="floor")
            while count:
                batch = await pulling.fetch(min(AT_ONCE, count), timeout=5)
                await asyncio.gather(*(take(message) for message in batch))
                count -= len(batch)
            await client.flush()

    def subscribe(self, receive: Receive) -> Subscription:
        """Return the subscription."""
        return NatsBus(servers=self.url, topic="unused").subscribe(
            self.place, receive, durable=self.place, concurrency=AT_ONCE
        )


class RedisStreams(Inlet):
    """Redis Streams: read a batch of a group's, step each, acknowledge all."""

    url = os.environ.get("LEANFLOW_REDIS_URL", "redis://127.0.0.1:6379/0")

    @classmethod
    def missing(cls) -> str | None:
        """Look whether it answers."""
        return answers(cls.url, 6379)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        beside = (f"{self.place}:leanflow:{what}" for what in ("set-aside", "again"))
        async with Redis.from_url(self.url) as client:
            await client.delete(self.place, *beside)

    async def put(self, messages: Sequence[Message]) -> None:
        """Add them in one round trip."""
        client: Any
        async with Redis.from_url(self.url) as client, client.pipeline(transaction=False) as pipeline:
            for headers, body in messages:
                pipeline.xadd(self.place, {**headers, "data": body})
            await pipeline.execute()

    async def floor(self, step: Step, count: int) -> None:
        """Read as a consumer of a group."""

        async def take(fields: Mapping[bytes, bytes]) -> None:
            assert await step(fields[b"data"], fields[SIGNATURE.encode()].decode()) == 200

        client: Any
        async with Redis.from_url(self.url) as client:
            await client.xgroup_create(self.place, "floor", id="0")
            while count:
                ((_, batch),) = await client.xreadgroup("floor", "one", {self.place: ">"}, count=AT_ONCE, block=5000)
                await asyncio.gather(*(take(fields) for _, fields in batch))
                await client.xack(self.place, "floor", *(number for number, _ in batch))
                count -= len(batch)

    def subscribe(self, receive: Receive) -> Subscription:
        """Return the subscription."""
        return RedisStreamsBus(self.url, topic="unused").subscribe(
            self.place, receive, durable="leanflow", concurrency=AT_ONCE
        )


class Rabbit(Inlet):
    """RabbitMQ: consume from a durable queue with a prefetch, step and acknowledge each."""

    url = os.environ.get("LEANFLOW_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")

    @classmethod
    def missing(cls) -> str | None:
        """Look whether it answers."""
        return answers(cls.url, 5672)

    async def __aenter__(self) -> Self:
        async with await aio_pika.connect(self.url) as connection:
            await (await connection.channel()).declare_queue(self.place, durable=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for queue in (self.place, f"{self.place}.set-aside"):
                await channel.queue_delete(queue)

    async def put(self, messages: Sequence[Message]) -> None:
        """Publish them, persistent, a thousand at a time."""
        async with await aio_pika.connect(self.url) as connection:
            exchange = (await connection.channel()).default_exchange
            ready = [aio_pika.Message(body, headers=dict(told), delivery_mode=2) for told, body in messages]
            for first in range(0, len(ready), 1000):
                await asyncio.gather(*(exchange.publish(each, self.place) for each in ready[first : first + 1000]))

    async def floor(self, step: Step, count: int) -> None:
        """Consume."""
        left, done = count, asyncio.Event()

        async def take(message: AbstractIncomingMessage) -> None:
            nonlocal left
            assert await step(message.body, str(message.headers[SIGNATURE])) == 200
            await message.ack()
            left -= 1
            if not left:
                done.set()

        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=AT_ONCE)
            await (await channel.get_queue(self.place)).consume(take)
            await done.wait()

    def subscribe(self, receive: Receive) -> Subscription:
        """Return the subscription."""
        return RabbitBus(self.url, exchange="", topic="unused").subscribe(self.place, receive, concurrency=AT_ONCE)


class Kafka(Inlet):
    """Kafka, librdkafka's mock cluster in this process: each partition in its order, the offsets committed behind."""

    def __init__(self) -> None:
        super().__init__()
        self._cluster = kafka.KafkaCluster()

    @classmethod
    def missing(cls) -> str | None:
        """Look whether there is one."""
        return kafka.missing()

    async def __aenter__(self) -> Self:
        self._cluster.__enter__()
        self._cluster.topic(self.place, partitions=AT_ONCE)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._cluster.__exit__(None, None, None)

    async def put(self, messages: Sequence[Message]) -> None:
        """Send them, to one partition after the other."""
        async with AIOKafkaProducer(bootstrap_servers=self._cluster.servers) as producer:
            sent = []
            for number, (headers, body) in enumerate(messages):
                told = [(name, text.encode()) for name, text in headers.items()]
                sent.append(await producer.send(self.place, body, partition=number % AT_ONCE, headers=told))
            await asyncio.gather(*sent)

    async def floor(self, step: Step, count: int) -> None:
        """Consume as a group of one."""

        async def take(records: Sequence[Any]) -> None:
            for record in records:
                assert await step(record.value, dict(record.headers)[SIGNATURE].decode()) == 200

        settings: dict[str, Any] = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
        servers = self._cluster.servers
        async with AIOKafkaConsumer(self.place, bootstrap_servers=servers, group_id="floor", **settings) as consumer:
            while count:
                batch = await consumer.getmany(timeout_ms=500)
                await asyncio.gather(*(take(records) for records in batch.values()))
                await consumer.commit()
                count -= sum(len(records) for records in batch.values())

    def subscribe(self, receive: Receive) -> Subscription:
        """Return the subscription."""
        return KafkaBus(self._cluster.servers, topic="unused").subscribe(
            self.place, receive, durable="leanflow", concurrency=AT_ONCE
        )


INLETS: Mapping[str, type[Inlet]] = MappingProxyType(
    {"nats": Nats, "redis-streams": RedisStreams, "rabbitmq": Rabbit, "kafka-mock": Kafka}
)
