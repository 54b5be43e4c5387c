"""The FastStream bus keeps the port's promises over each of FastStream's brokers, which the application starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
from faststream.kafka import KafkaBroker
from faststream.nats import NatsBroker
from faststream.rabbit import RabbitBroker
from faststream.redis import RedisBroker
from faststream.redis.parser import BinaryMessageFormatV1
from nats.js.api import StreamConfig
from redis.asyncio import Redis

from leanflow import cloudevents
from leanflow.testing.conformance import BusConformance, Published
from leanflow_adapters.faststream import FastStreamBus
from tests.support import nats, rabbitmq, redis
from tests.support.kafka import KafkaCluster, require_kafka
from tests.support.wire import Wire

Away = Callable[[], AbstractAsyncContextManager[None]]


@attrs.frozen(kw_only=True)
class Stage:
    """A broker of FastStream's, connected, and what a test does beside it.

    Attributes:
        bus: an open bus through it.
        read: returns all that was published.
        silent: lets the broker accept and never answer for a while.
    """

    bus: FastStreamBus
    read: Callable[[], Awaitable[list[Published]]]
    silent: Away


@asynccontextmanager
async def opened(broker: Any, **arguments: Any) -> AsyncIterator[FastStreamBus]:
    """Connect a broker, and give an open bus through it."""
    async with broker:
        await broker.connect()
        bus = FastStreamBus(broker, **arguments)
        await bus.open()
        yield bus
        await bus.aclose()


def published(event: cloudevents.CloudEvent) -> Published:
    """Return an event as the suite knows it."""
    return Published(key=event.key, kind=event.kind, request_id=event.request_id, payload=event.payload)


@asynccontextmanager
async def on_nats(**settings: Any) -> AsyncIterator[Stage]:
    """JetStream."""
    name = nats.fresh_name()
    async with nats.connected() as client, Wire(nats.HOST, nats.PORT) as wire:
        await client.jetstream().add_stream(StreamConfig(name=name, subjects=[name]))

        async def read() -> list[Published]:
            there = await nats.kept(client, name)
            return [published(cloudevents.read(msg.headers or {}, msg.data or b"")) for msg in there]

        broker = NatsBroker(f"nats://127.0.0.1:{wire.port}", logger=None, reconnect_time_wait=0)
        try:
            async with opened(broker, topic=name, stream=name, **settings) as bus:
                yield Stage(bus=bus, read=read, silent=wire.silent)
        finally:
            await nats.drop(name)


@asynccontextmanager
async def on_rabbitmq(**settings: Any) -> AsyncIterator[Stage]:
    """A durable queue."""
    async with rabbitmq.rabbit() as made, rabbitmq.wired() as (wire, url):
        there: list[Published] = []

        async def read() -> list[Published]:
            for got in await made.take():
                headers = {**{name: str(value) for name, value in got.headers.items()}}
                headers["content-type"] = got.content_type or ""
                there.append(published(cloudevents.read(headers, got.body)))
            return list(there)

        async with opened(RabbitBroker(url, logger=None, reconnect_interval=0.1), topic=made.queue, **settings) as bus:
            yield Stage(bus=bus, read=read, silent=wire.silent)


@asynccontextmanager
async def on_redis(**settings: Any) -> AsyncIterator[Stage]:
    """A stream."""
    name = await redis.fresh_prefix()
    at = urlsplit(redis.URL)
    async with Redis.from_url(redis.URL) as client, Wire(at.hostname or "127.0.0.1", at.port or 6379) as wire:

        async def read() -> list[Published]:
            found: Any = await client.xrange(name)
            parsed = [BinaryMessageFormatV1.parse(fields[b"__data__"]) for _, fields in found]
            return [published(cloudevents.read(headers, body)) for body, headers in parsed]

        broker = RedisBroker(f"redis://127.0.0.1:{wire.port}/0", logger=None)  # type: ignore[arg-type]  # its own none
        try:
            async with opened(broker, topic=name, **settings) as bus:
                yield Stage(bus=bus, read=read, silent=wire.silent)
        finally:
            await client.delete(name)


@asynccontextmanager
async def on_kafka(**settings: Any) -> AsyncIterator[Stage]:
    """A topic of a mock cluster."""
    require_kafka()
    with KafkaCluster() as cluster:
        topic = cluster.topic("out")

        async def read() -> list[Published]:
            there = [({n: v.decode() for n, v in got.headers}, got.value) for got in await cluster.records(topic)]
            return [published(cloudevents.read(headers, body)) for headers, body in there]

        @asynccontextmanager
        async def silent() -> AsyncIterator[None]:
            cluster.slow(60)
            yield
            cluster.slow(0)
            cluster.down()  # with the answers that are still to come
            cluster.up()

        broker = KafkaBroker(cluster.servers, logger=None, acks="all", enable_idempotence=True)
        async with opened(broker, topic=topic, **settings) as bus:
            yield Stage(bus=bus, read=read, silent=silent)


@pytest.fixture(params=[on_nats, on_rabbitmq, on_redis, on_kafka])
async def stage(request: pytest.FixtureRequest, timeout: float) -> AsyncIterator[Stage]:
    """Give a stage on each broker."""
    async with request.param(timeout=timeout) as stage:
        yield stage


class TestFastStreamBus(BusConformance):
    """Structured; the client is the application's, and heals by itself, in its own time."""

    refuses = False
    loses_broker = False

    @pytest.fixture
    def bus(self, stage: Stage) -> FastStreamBus:
        """Give an open bus."""
        return stage.bus

    @pytest.fixture
    def messages(self, stage: Stage) -> Callable[[], Awaitable[list[Published]]]:
        """Give what the broker has."""
        return stage.read

    @pytest.fixture
    def silent(self, stage: Stage) -> Away:
        """Let the broker accept and never answer for a while."""
        return stage.silent
