"""The buses of benchmarks/relay.py, each with what one would write by hand on its client."""

from __future__ import annotations

import abc
import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import aio_pika
import nats
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from leanflow.ports import Bus
from leanflow_adapters.kafka import KafkaBus
from leanflow_adapters.nats import NatsBus
from leanflow_adapters.rabbitmq import RabbitBus
from leanflow_adapters.redis_streams import RedisStreamsBus
from tests.support import kafka

__all__ = ["CONTENDERS", "Contender", "answers"]

Publish = Callable[[Sequence[tuple[str, str]]], Awaitable[None]]


def answers(url: str, port: int) -> str | None:
    """Return why nobody can be reached there, or None; `port` is the one of URLs that name none."""
    at = urlsplit(url)
    try:
        socket.create_connection((at.hostname or "127.0.0.1", at.port or port), timeout=2).close()
    except OSError as error:
        return f"nobody at {at.hostname} ({type(error).__name__})"
    return None


class Contender(abc.ABC):
    """One bus: `async with` gives an empty place for messages, and takes it away."""

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
    def floor(self) -> Any:
        """Return an async context manager that gives a function: publish (key, payload) pairs, confirmed."""

    @abc.abstractmethod
    def bus(self) -> Bus:
        """Return leanflow's bus to the same place, named ``bus``."""


class Nats(Contender):
    """NATS JetStream: publish all, await all."""

    url = os.environ.get("LEANFLOW_NATS_URL", "nats://127.0.0.1:4222")

    def __init__(self) -> None:
        self._stream = ""

    @classmethod
    def missing(cls) -> str | None:
        """Look whether it answers."""
        return answers(cls.url, 4222)

    async def __aenter__(self) -> Self:
        self._stream = f"leanflow-bench-{uuid4().hex}"
        async with await nats.connect(self.url) as client:
            await client.jetstream().add_stream(name=self._stream, subjects=[self._stream])
        return self

    async def __aexit__(self, *_: object) -> None:
        async with await nats.connect(self.url) as client:
            await client.jetstream().delete_stream(self._stream)

    @asynccontextmanager
    async def floor(self) -> AsyncIterator[Publish]:
        """Publish asynchronously, with the message's id for dedupe."""
        async with await nats.connect(self.url) as client:
            js = client.jetstream()

            async def publish(batch: Sequence[tuple[str, str]]) -> None:
                sent = [
                    await js.publish_async(self._stream, payload.encode(), headers={"Nats-Msg-Id": key})
                    for key, payload in batch
                ]
                await asyncio.gather(*sent)

            yield publish

    def bus(self) -> Bus:
        """Return the bus."""
        return NatsBus(servers=self.url, stream=self._stream, topic=self._stream, name="bus")


class RedisStreams(Contender):
    """Redis Streams: one pipeline."""

    url = os.environ.get("LEANFLOW_REDIS_URL", "redis://127.0.0.1:6379/0")

    def __init__(self) -> None:
        self._stream = ""

    @classmethod
    def missing(cls) -> str | None:
        """Look whether it answers."""
        return answers(cls.url, 6379)

    async def __aenter__(self) -> Self:
        self._stream = f"leanflow-bench-{uuid4().hex}"
        return self

    async def __aexit__(self, *_: object) -> None:
        async with Redis.from_url(self.url) as client:
            await client.delete(self._stream)

    @asynccontextmanager
    async def floor(self) -> AsyncIterator[Publish]:
        """Add all in one round trip."""
        client: Any
        async with Redis.from_url(self.url) as client:

            async def publish(batch: Sequence[tuple[str, str]]) -> None:
                async with client.pipeline(transaction=False) as pipeline:
                    for key, payload in batch:
                        pipeline.xadd(self._stream, {"id": key, "data": payload})
                    await pipeline.execute()

            yield publish

    def bus(self) -> Bus:
        """Return the bus."""
        return RedisStreamsBus(self.url, topic=self._stream, name="bus")


class Rabbit(Contender):
    """RabbitMQ: publish all to a durable queue, persistent and mandatory, and await all confirms."""

    url = os.environ.get("LEANFLOW_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")

    def __init__(self) -> None:
        self._queue = ""

    @classmethod
    def missing(cls) -> str | None:
        """Look whether it answers."""
        return answers(cls.url, 5672)

    async def __aenter__(self) -> Self:
        self._queue = f"leanflow-bench-{uuid4().hex}"
        async with await aio_pika.connect(self.url) as connection:
            await (await connection.channel()).declare_queue(self._queue, durable=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        async with await aio_pika.connect(self.url) as connection:
            await (await connection.channel()).queue_delete(self._queue)

    @asynccontextmanager
    async def floor(self) -> AsyncIterator[Publish]:
        """Publish all at once, each confirmed."""
        async with await aio_pika.connect(self.url) as connection:
            exchange = (await connection.channel(on_return_raises=True)).default_exchange

            async def publish(batch: Sequence[tuple[str, str]]) -> None:
                messages = [aio_pika.Message(body.encode(), message_id=key, delivery_mode=2) for key, body in batch]
                await asyncio.gather(*(exchange.publish(message, self._queue) for message in messages))

            yield publish

    def bus(self) -> Bus:
        """Return the bus."""
        return RabbitBus(self.url, exchange="", topic=self._queue, name="bus")


class Kafka(Contender):
    """Kafka, librdkafka's mock cluster in this process: send all, idempotent, and await all."""

    def __init__(self) -> None:
        self._cluster = kafka.KafkaCluster()

    @classmethod
    def missing(cls) -> str | None:
        """Look whether there is one."""
        return kafka.missing()

    async def __aenter__(self) -> Self:
        self._cluster.__enter__()
        self._cluster.topic("flows")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._cluster.__exit__(None, None, None)

    @asynccontextmanager
    async def floor(self) -> AsyncIterator[Publish]:
        """Send all, and wait for all replicas."""
        servers = self._cluster.servers
        async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True, acks="all") as producer:

            async def publish(batch: Sequence[tuple[str, str]]) -> None:
                await asyncio.gather(
                    *[await producer.send("flows", payload.encode(), key=key.encode()) for key, payload in batch]
                )

            yield publish

    def bus(self) -> Bus:
        """Return the bus."""
        return KafkaBus(self._cluster.servers, topic="flows", name="bus")


CONTENDERS: Mapping[str, type[Contender]] = MappingProxyType(
    {"nats": Nats, "redis-streams": RedisStreams, "rabbitmq": Rabbit, "kafka-mock": Kafka}
)
