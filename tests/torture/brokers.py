"""The brokers that buses are tortured with: each a small class, under its name in `BROKERS`.

A further bus writes such a class, in a module of its own if it is long, puts it into `BROKERS`, and gives
`tests.torture.clients.bus_of` its case; the scenarios `R26-<name>`, `R26-away-<name>`, `bus-in-<name>`,
`R15-out-<name>` and `R15-in-<name>` come of that by themselves.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Self
from uuid import uuid4

import aio_pika
from aiokafka import AIOKafkaProducer
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from redis.asyncio import Redis

from leanflow.cloudevents import CloudEvent, read
from tests.support import kafka, nats, rabbitmq, redis
from tests.support.wire import Wire
from tests.torture.clients import IN, NOWHERE, OUT

__all__ = ["BROKERS", "DURABLE", "Broker", "Message"]

DURABLE = "torture"
"""The name of the subscription."""

Message = tuple[Mapping[str, str], bytes]
"""Headers and body."""


class Broker(abc.ABC):
    """A broker of one's own, with nothing on it: `async with` starts and ends it."""

    @classmethod
    def missing(cls) -> str | None:
        """Return why it cannot be started here, or None."""
        return None

    @property
    @abc.abstractmethod
    def at(self) -> str:
        """What a child needs to find it: a URL."""

    @abc.abstractmethod
    async def __aenter__(self) -> Self:
        """Start it."""

    @abc.abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""

    @abc.abstractmethod
    async def down(self) -> None:
        """End it as a crash does."""

    @abc.abstractmethod
    async def up(self) -> None:
        """Start it again with all that it had confirmed."""

    async def restart(self) -> None:
        """End it as a crash does, and start it again."""
        await self.down()
        await self.up()

    @abc.abstractmethod
    async def told(self) -> Sequence[CloudEvent]:
        """Return all announcements that are there, in the broker's order; those at `NOWHERE` last."""

    refusal: ClassVar[str]
    """The name of the error with which its bus tells of what goes to `NOWHERE`."""

    @abc.abstractmethod
    async def refuse(self) -> None:
        """Refuse from now on what goes to `NOWHERE`, each time."""

    @abc.abstractmethod
    async def mend(self) -> None:
        """Take it from now on."""

    where: str = IN
    """What is subscribed to."""

    @abc.abstractmethod
    async def put(self, messages: Sequence[Message]) -> None:
        """Put messages (headers, body) where a subscription to `where` takes them, repeats and all."""


class _Own(Broker):
    """A server of one's own, killed and started again."""

    kind: ClassVar[type[nats.NatsServer | rabbitmq.RabbitServer]]

    def __init__(self) -> None:
        self._server = self.kind()

    @classmethod
    def missing(cls) -> str | None:
        """Return why it cannot be started here, or None."""
        return cls.kind.missing()

    @property
    def at(self) -> str:
        """Its URL."""
        return self._server.url

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def down(self) -> None:
        """Kill it."""
        await self._server.kill()

    async def up(self) -> None:
        """Start it."""
        await self._server.start()


class NatsBroker(_Own):
    """NATS JetStream."""

    kind = nats.NatsServer
    refusal = "BrokerSetup"

    async def __aenter__(self) -> Self:
        await self._server.start()
        async with nats.connected(self.at) as client:
            js = client.jetstream()
            await js.add_stream(StreamConfig(name="out", subjects=[OUT]))
            await js.add_stream(StreamConfig(name="in", subjects=[IN]))
            # What is on its way when the server is killed comes again after two seconds, not after NatsBus' own sixty.
            soon = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=2, max_deliver=-1)
            await js.add_consumer("in", soon, durable_name=DURABLE, filter_subject=IN)
        return self

    async def told(self) -> Sequence[CloudEvent]:
        """Read the stream."""
        async with nats.connected(self.at) as client:
            return [read(msg.headers or {}, msg.data or b"") for msg in await nats.kept(client, "out")]

    async def put(self, messages: Sequence[Message]) -> None:
        """Publish them."""
        async with nats.connected(self.at) as client:
            js = client.jetstream()
            for some in _by_some(messages):
                await asyncio.gather(*(js.publish(IN, body, headers=dict(headers)) for headers, body in some))

    async def refuse(self) -> None:
        """Do nothing: no stream takes that subject."""

    async def mend(self) -> None:
        """Let the stream take it."""
        async with nats.connected(self.at) as client:
            await client.jetstream().update_stream(StreamConfig(name="out", subjects=[OUT, NOWHERE]))


class RedisBroker(Broker):
    """Redis Streams, every write synced."""

    refusal = "MessageRefused"

    def __init__(self) -> None:
        self._life = AsyncExitStack()
        self._server: redis.Server

    @property
    def at(self) -> str:
        """Its URL."""
        return self._server.url

    async def __aenter__(self) -> Self:
        self._server = self._life.enter_context(redis.server())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._life.aclose()

    async def down(self) -> None:
        """Kill it."""
        self._server.kill()

    async def up(self) -> None:
        """Start it."""
        self._server.start()

    async def told(self) -> Sequence[CloudEvent]:
        """Read the stream."""
        client: Any
        async with Redis.from_url(self.at) as client:
            entries = await client.xrange(OUT)
            if await client.type(NOWHERE) == b"stream":
                entries += await client.xrange(NOWHERE)
        return [read({"content-type": fields[b"content-type"].decode()}, fields[b"data"]) for _, fields in entries]

    async def put(self, messages: Sequence[Message]) -> None:
        """Add them."""
        client: Any
        async with Redis.from_url(self.at) as client:
            for some in _by_some(messages):
                async with client.pipeline(transaction=False) as pipeline:
                    for headers, body in some:
                        pipeline.xadd(IN, {**headers, "data": body})
                    await pipeline.execute()

    async def refuse(self) -> None:
        """Have a key of that name that is no stream."""
        async with Redis.from_url(self.at) as client:
            await client.set(NOWHERE, "text")

    async def mend(self) -> None:
        """Remove it."""
        async with Redis.from_url(self.at) as client:
            await client.delete(NOWHERE)


class RabbitBroker(_Own):
    """A node of RabbitMQ's, with durable queues. It takes seconds to start."""

    kind = rabbitmq.RabbitServer
    refusal = "Unroutable"
    _mine = ""
    _told: tuple[str, ...] = (OUT,)

    @property
    def _url(self) -> str:
        return self._server.url

    async def __aenter__(self) -> Self:
        await self._server.start()
        await self._make(OUT, IN)
        return self

    async def _make(self, *queues: str) -> None:
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            for queue in queues:
                await channel.declare_queue(self._mine + queue, durable=True)

    async def told(self) -> Sequence[CloudEvent]:
        """Take what the queues have."""
        found = []
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            for name in self._told:
                queue = await channel.declare_queue(self._mine + name, passive=True)
                left = queue.declaration_result.message_count or 0
                async with queue.iterator(no_ack=True) as messages:
                    while left:
                        message = await anext(messages)
                        found.append(read({"content-type": message.content_type or ""}, message.body))
                        left -= 1
        return found

    async def put(self, messages: Sequence[Message]) -> None:
        """Publish them."""
        async with await aio_pika.connect(self._url) as connection:
            exchange = (await connection.channel()).default_exchange
            for some in _by_some(messages):
                made = [aio_pika.Message(body, headers=dict(headers), delivery_mode=2) for headers, body in some]
                await asyncio.gather(*(exchange.publish(message, self._mine + IN) for message in made))

    async def refuse(self) -> None:
        """Do nothing: there is no such queue."""

    async def mend(self) -> None:
        """Make it."""
        self._told = (OUT, NOWHERE)
        await self._make(NOWHERE)


class WiredRabbitBroker(RabbitBroker):
    """The RabbitMQ that is there, behind a wire: instead of crashing it is out of reach for a moment."""

    def __init__(self) -> None:
        self._mine = f"leanflow-{uuid4().hex}-"
        self._life = AsyncExitStack()
        self._wire: Wire
        self._near = ""
        self.where = self._mine + IN

    @classmethod
    def missing(cls) -> str | None:
        """Return nothing: whether it is there is found out by using it."""
        return None

    @property
    def at(self) -> str:
        """The URL of the wire's near end, and what names of queues begin with."""
        return f"{self._near}#{self._mine}"

    @property
    def _url(self) -> str:
        return rabbitmq.URL

    async def __aenter__(self) -> Self:
        self._wire, self._near = await self._life.enter_async_context(rabbitmq.wired())
        await self._make(OUT, IN)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._life.aclose()
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            for queue in (OUT, NOWHERE, IN, f"{IN}.set-aside", f"{IN}.again.1s"):
                await channel.queue_delete(self._mine + queue)

    async def down(self) -> None:
        """Cut the wire."""
        await self._wire.cut()

    async def up(self) -> None:
        """Mend it."""
        await self._wire.mend()

    async def restart(self) -> None:
        """Cut the wire, and mend it a moment later: an outage that is over at once is none."""
        await self.down()
        await asyncio.sleep(0.2)
        await self.up()


class KafkaBroker(Broker):
    """librdkafka's mock cluster: all its brokers go down and come back, with what they had in memory."""

    refusal = "MessageRefused"

    def __init__(self) -> None:
        self._cluster = kafka.KafkaCluster()

    @classmethod
    def missing(cls) -> str | None:
        """Return why it cannot be started here, or None."""
        return kafka.missing()

    @property
    def at(self) -> str:
        """Where its brokers are."""
        return ",".join(self._cluster.servers)

    async def __aenter__(self) -> Self:
        self._cluster.__enter__()
        for topic in (OUT, NOWHERE, IN, f"{IN}.set-aside"):
            self._cluster.topic(topic)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.__exit__(kind, error, trace)

    async def down(self) -> None:
        """Take it down: every connection breaks."""
        self._cluster.down()

    async def up(self) -> None:
        """Bring it back."""
        self._cluster.up()

    async def restart(self) -> None:
        """Take it down and bring it back: for a second there is nobody."""
        await self.down()
        await asyncio.sleep(1)
        await self.up()

    async def told(self) -> Sequence[CloudEvent]:
        """Read the topic, one partition behind the other: what is kept in order is in one."""
        return [
            read({name: value.decode() for name, value in record.headers}, record.value)
            for topic in (OUT, NOWHERE)
            for record in await self._cluster.records(topic)
        ]

    async def put(self, messages: Sequence[Message]) -> None:
        """Send them."""
        async with AIOKafkaProducer(bootstrap_servers=self._cluster.servers, acks="all") as producer:
            for some in _by_some(messages):
                sent = [
                    await producer.send(IN, body, headers=[(name, text.encode()) for name, text in headers.items()])
                    for headers, body in some
                ]
                await asyncio.gather(*sent)

    async def refuse(self) -> None:
        """Say of that topic that one is not authorised."""
        self._cluster.refuse(NOWHERE)

    async def mend(self) -> None:
        """Serve it again."""
        self._cluster.refuse(NOWHERE, 0)


_AT_ONCE = 100


def _by_some(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Return them in slices, each of which is put in one go: one by one would take longer than all that is tried."""
    for first in range(0, len(messages), _AT_ONCE):
        yield messages[first : first + _AT_ONCE]


BROKERS: Mapping[str, type[Broker]] = MappingProxyType(
    {
        "nats": NatsBroker,
        "redis": RedisBroker,
        "rabbit": RabbitBroker,
        "rabbit-wire": WiredRabbitBroker,
        "kafka": KafkaBroker,
    }
)
