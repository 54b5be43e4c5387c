"""The FastStream plug: webhooks in and announcements out over the brokers of FastStream; and what it refuses."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import attrs
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from faststream import AckPolicy
from faststream.confluent import KafkaBroker as ConfluentBroker
from faststream.kafka import KafkaBroker
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.parser import BinaryMessageFormatV1
from nats.js.api import StreamConfig
from redis.asyncio import Redis

from leanflow import Reply, cloudevents
from leanflow.errors import BrokerSetup, InvalidRequest, MessageRefused
from leanflow_adapters.faststream import FastStreamBus, plug
from tests.support import nats, rabbitmq, redis
from tests.support.kafka import KafkaCluster, require_kafka
from tests.support.rows import change_row
from tests.support.subscribing import Receiver, until

MANUAL = AckPolicy.MANUAL
SOON = (timedelta(milliseconds=20),)
Got = tuple[Mapping[str, str], bytes]


@attrs.frozen(kw_only=True)
class Stage:
    """A broker of FastStream's with what a test does beside it.

    Attributes:
        broker: not started.
        webhooks: its subscribers.
        put: puts a webhook where they listen, as a gateway without FastStream would.
        out: where announcements go.
        read: returns what a place got.
        more: arguments of the plug and of the bus.
        door: where its subscribers listen, for `broker.request`.
    """

    broker: Any
    webhooks: Any
    put: Callable[[Mapping[str, str], bytes], Awaitable[Any]]
    out: str
    aside: str
    read: Callable[[str], Awaitable[list[Got]]]
    more: Mapping[str, Any] = attrs.field(factory=dict)
    door: str = ""


@asynccontextmanager
async def on_nats() -> AsyncIterator[Stage]:
    """JetStream, by a pull subscriber."""
    async with nats.connected() as client:
        name = nats.fresh_name()
        stream = client.jetstream()
        await stream.add_stream(StreamConfig(name=name, subjects=[f"{name}.*"]))

        async def put(headers: Mapping[str, str], body: bytes) -> None:
            await stream.publish(f"{name}.webhooks", body, headers=dict(headers))

        async def read(place: str) -> list[Got]:
            sub = await stream.pull_subscribe(place, durable=f"d{uuid4().hex}")
            return [(msg.headers or {}, msg.data) for msg in await sub.fetch(100, timeout=0.3)]

        broker = NatsBroker(nats.URL, logger=None)
        subscriber = broker.subscriber(
            f"{name}.webhooks", stream=JStream(name, declare=False), durable="d", pull_sub=True, ack_policy=MANUAL
        )
        try:
            yield Stage(
                broker=broker,
                webhooks=subscriber,
                put=put,
                out=f"{name}.flows",
                aside=f"{name}.aside",
                read=read,
                more={"stream": name},
                door=f"{name}.webhooks",
            )
        finally:
            await nats.drop(name)


@asynccontextmanager
async def on_rabbitmq() -> AsyncIterator[Stage]:
    """A durable queue."""
    async with rabbitmq.rabbit() as made:
        queue, aside = made.queue, f"{made.queue}.set-aside"
        await made.declare(aside)

        async def put(headers: Mapping[str, str], body: bytes) -> None:
            await made.put(body, dict(headers))

        async def read(place: str) -> list[Got]:
            return [
                ({**{n: str(v) for n, v in got.headers.items()}, "content-type": got.content_type or ""}, got.body)
                for got in await made.take(aside if place == aside else f"{queue}.again.1s")
            ]

        await made.declare(f"{queue}.again.1s")  # a queue that is cleared away, for what goes out
        broker = RabbitBroker(rabbitmq.URL, logger=None)
        subscriber = broker.subscriber(RabbitQueue(queue, durable=True), ack_policy=MANUAL)
        yield Stage(
            broker=broker,
            webhooks=[subscriber],
            put=put,
            out=f"{queue}.again.1s",
            aside=aside,
            read=read,
            door=queue,
        )


@asynccontextmanager
async def on_redis() -> AsyncIterator[Stage]:
    """A group of a stream, and beside it what takes over from consumers that died."""
    name = await redis.fresh_prefix()
    async with Redis.from_url(redis.URL) as client:

        async def put(headers: Mapping[str, str], body: bytes) -> None:
            fields: dict[Any, Any] = {**headers, "data": body}
            await client.xadd(name, fields)

        broker = RedisBroker(redis.URL, logger=None)  # type: ignore[arg-type]  # its own way of saying none

        async def read(place: str) -> list[Got]:
            found: Any = await client.xrange(place)
            entries = [fields[b"__data__"] for _, fields in found]
            parsed = [BinaryMessageFormatV1.parse(entry) for entry in entries]
            return [(headers, body) for body, headers in parsed]

        await client.xgroup_create(name, "g", id="0", mkstream=True)
        subscribers = [
            broker.subscriber(stream=StreamSub(name, group="g", consumer="c"), ack_policy=MANUAL),
            broker.subscriber(
                stream=StreamSub(name, group="g", consumer="left", min_idle_time=60_000), ack_policy=MANUAL
            ),
        ]
        try:
            yield Stage(
                broker=broker, webhooks=subscribers, put=put, out=f"{name}-out", aside=f"{name}-aside", read=read
            )
        finally:
            await client.delete(name, f"{name}-out", f"{name}-aside")


@asynccontextmanager
async def on_kafka() -> AsyncIterator[Stage]:
    """A group of a topic of a mock cluster."""
    require_kafka()
    with KafkaCluster() as cluster:
        async with AIOKafkaProducer(bootstrap_servers=cluster.servers) as producer:

            async def put(headers: Mapping[str, str], body: bytes) -> None:
                await producer.send_and_wait("in", body, headers=[(n, v.encode()) for n, v in headers.items()])

            async def read(place: str) -> list[Got]:
                async with AIOKafkaConsumer(
                    place, bootstrap_servers=cluster.servers, auto_offset_reset="earliest"
                ) as consumer:
                    got = []
                    while found := (await consumer.getmany(timeout_ms=500)).values():
                        got += [record for records in found for record in records]
                    return [({n: v.decode() for n, v in record.headers}, record.value) for record in got]

            for topic in ("in", "out", "aside"):
                cluster.topic(topic)
            broker = KafkaBroker(
                cluster.servers, logger=None, acks="all", enable_idempotence=True, allow_auto_create_topics=False
            )
            subscriber = broker.subscriber("in", group_id="g", auto_offset_reset="earliest", ack_policy=MANUAL)
            yield Stage(broker=broker, webhooks=subscriber, put=put, out="out", aside="aside", read=read)


STAGES = pytest.mark.parametrize("stage", [on_nats, on_rabbitmq, on_redis, on_kafka])
Make = Callable[[], AbstractAsyncContextManager[Stage]]


@STAGES
async def test_webhooks_come_in_and_what_is_refused_is_set_aside(stage: Make) -> None:
    """Raw bytes and headers as they were put there; an exception is tried again; what no trying helps is kept."""
    receiver = Receiver()
    async with stage() as on:
        plug(on.broker, receiver, webhooks=on.webhooks, set_aside=on.aside, backoff=SOON, max_deliver=3, **on.more)
        await on.put({"lean-signature": "s"}, b'{"a": 1}\xff')
        await on.put({}, b"bad")
        await on.put({}, b"raise")
        await on.put({}, b"take")
        async with on.broker:
            await on.broker.start()
            await until(lambda: len(receiver.bodies) == 6)
            kept: dict[bytes, Mapping[str, str]] = {}
            while len(kept) < 2:
                kept |= {body: headers for headers, body in await on.read(on.aside)}
    assert sorted(receiver.bodies) == [b"bad", b"raise", b"raise", b"raise", b"take", b'{"a": 1}\xff']
    (headers,) = [headers for headers, body in receiver.heard if body.endswith(b"\xff")]
    assert headers["lean-signature"] == "s"
    assert {(body, headers["leanflow-reason"]) for body, headers in kept.items()} == {
        (b"bad", "status 401"),
        (b"raise", "raised KeyError"),
    }


@pytest.mark.parametrize("stage", [on_nats, on_rabbitmq])
@pytest.mark.parametrize(("body", "status"), [(b"good", 200), (b"bad", 409)])
async def test_who_waits_for_a_reply_gets_it(stage: Make, body: bytes, status: int) -> None:
    """As of commands: what the receiver says, once the message is acknowledged or set aside; and nothing in between."""
    tries = []

    async def receive(headers: Mapping[str, str], raw: bytes) -> Reply:
        tries.append(raw)
        if len(tries) == 1:
            return Reply(status=503, body=b"later", retry=True)
        return Reply(status=status, body=b"said of " + raw)

    async with stage() as on:
        plug(on.broker, receive, webhooks=on.webhooks, set_aside=on.aside, backoff=SOON, **on.more)
        async with on.broker:
            await on.broker.start()
            said = await on.broker.request(body, on.door, timeout=10, **on.more)
            kept = [raw for _, raw in await on.read(on.aside)] if status == 409 else []
    assert said.body == b"said of " + body
    assert said.headers["leanflow-status"] == str(status)
    assert kept == [body] * (status == 409)


@STAGES
@pytest.mark.parametrize("envelope", ["structured", "binary"])
async def test_announcements_go_out_durably(stage: Make, envelope: Any) -> None:
    """Over the application's broker, each with its key, readable as a CloudEvent; before it is started, an error."""
    async with stage() as on:
        bus = FastStreamBus(on.broker, topic=on.out, envelope=envelope, **on.more)
        await bus.open()
        (error,) = await bus.publish([change_row(1)])
        assert error is not None
        rows = [change_row(number, number % 2) for number in range(1, 7)]
        async with on.broker:
            await on.broker.connect()
            assert list(await bus.publish(rows)) == [None] * 6
            got = [cloudevents.read(headers, body) for headers, body in await on.read(on.out)]
        await bus.aclose()
    for request in range(2):
        mine = [row.key for row in rows if row.request_id == change_row(0, request).request_id]
        assert [event.key for event in got if event.key in mine] == mine
    assert {event.payload for event in got} == {row.payload for row in rows}


N: dict[str, Any] = {"stream": JStream("s", declare=False), "ack_policy": MANUAL}
K: dict[str, Any] = {"group_id": "g", "auto_offset_reset": "earliest"}


def _nats(**options: Any) -> Any:
    return NatsBroker().subscriber("x", **options)


def _redis(stream: Any = None, **options: Any) -> Any:
    return RedisBroker().subscriber(stream=stream, ack_policy=MANUAL, **options)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: NatsBroker().subscriber("x"), "core NATS"),
        (lambda: _nats(**N, pull_sub=True), "durable"),
        (lambda: _nats(**{**N, "ack_policy": AckPolicy.NACK_ON_ERROR}, durable="q", ordered_consumer=True), "ordered"),
        (
            lambda: _nats(**{**N, "ack_policy": AckPolicy.ACK_FIRST}, queue="q", durable="q"),
            "nothing was done",
        ),
        (lambda: _nats(**{**N, "ack_policy": AckPolicy.ACK}, pull_sub=True, durable="d"), "ack policy ACK"),
        (lambda: _nats(**N, pull_sub=PullSub(batch=True, batch_size=2), durable="d"), "batches"),
        (lambda: RabbitBroker().subscriber("q"), "REJECT_ON_ERROR"),
        (lambda: RabbitBroker().subscriber("q", ack_policy=AckPolicy.ACK_FIRST), "ACK_FIRST"),
        (lambda: RabbitBroker().subscriber(RabbitQueue("q", durable=False), ack_policy=MANUAL), "RabbitMQ restarts"),
        (lambda: RabbitBroker().subscriber(RabbitQueue("q", auto_delete=True), ack_policy=MANUAL), "consumer goes"),
        (lambda: RedisBroker().subscriber("channel"), "Pub/Sub"),
        (lambda: RedisBroker().subscriber(list="l"), "Pub/Sub"),
        (lambda: RedisBroker().subscriber(stream="s"), "without a group"),
        (lambda: _redis(StreamSub("s", group="g", consumer="c")), "when it died"),
        (lambda: RedisBroker().subscriber(stream=StreamSub("s", group="g", consumer="c", no_ack=True)), "no_ack"),
        (lambda: KafkaBroker().subscriber("t"), "without a group"),
        (lambda: KafkaBroker().subscriber("t", group_id="g", ack_policy=MANUAL), "earliest"),
        (lambda: KafkaBroker().subscriber("t", **K), "ACK_FIRST"),
        (lambda: KafkaBroker().subscriber("t", **K, ack_policy=MANUAL, batch=True), "batches"),
        (lambda: KafkaBroker().subscriber("t", **K, ack_policy=AckPolicy.ACK_FIRST, max_workers=3), "workers"),
        (lambda: ConfluentBroker().subscriber("t", **K), "ACK_FIRST"),
        (lambda: ConfluentBroker().subscriber("t", group_id="g", ack_policy=MANUAL), "earliest"),
        (object, "no subscriber"),
        (list, "needs a subscriber"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_loses_messages_is_refused(make: Callable[[], Any], named: str) -> None:
    """Where it is plugged in, with what is wrong and how to make it."""
    with pytest.raises(InvalidRequest, match=named):
        plug(RabbitBroker(), Receiver(), webhooks=make(), set_aside="x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: _nats(**N, pull_sub=True, durable="d"),
        lambda: RabbitBroker().subscriber("q", ack_policy=AckPolicy.NACK_ON_ERROR),
        lambda: RabbitBroker().subscriber(RabbitQueue("q", declare=False), ack_policy=MANUAL),
        lambda: [
            _redis(StreamSub("s", group="g", consumer="c")),
            _redis(StreamSub("s", group="g", consumer="d", min_idle_time=60_000)),
        ],
        lambda: KafkaBroker().subscriber("t", **K, ack_policy=MANUAL),
        lambda: ConfluentBroker().subscriber("t", **K, ack_policy=AckPolicy.NACK_ON_ERROR),
    ],
)
def test_what_keeps_messages_is_taken(make: Callable[[], Any]) -> None:
    """The refusals are for what they name alone."""
    plug(RabbitBroker(), Receiver(), webhooks=make(), set_aside="x")


def test_a_way_out_that_loses_messages_is_refused() -> None:
    """NATS without JetStream; and what belongs to another broker."""
    with pytest.raises(InvalidRequest, match="core NATS"):
        FastStreamBus(NatsBroker(), topic="x")
    with pytest.raises(InvalidRequest, match="stream"):
        FastStreamBus(RedisBroker(), topic="x", stream="s")
    with pytest.raises(InvalidRequest, match="exchange"):
        FastStreamBus(RedisBroker(), topic="x", exchange="e")
    with pytest.raises(InvalidRequest, match="none of"):
        FastStreamBus(object(), topic="x")


async def test_a_producer_of_kafka_that_may_lose_is_an_error_of_each_row() -> None:
    """FastStream's default waits for one broker: the error names what to set."""
    require_kafka()
    with KafkaCluster(1) as cluster:
        async with KafkaBroker(cluster.servers, logger=None) as broker:
            await broker.connect()
            bus = FastStreamBus(broker, topic="out")
            await bus.open()
            (error,) = await bus.publish([change_row()])
            await bus.aclose()
    assert isinstance(error, BrokerSetup)
    assert "enable_idempotence=True" in str(error)


@pytest.mark.parametrize("stage", [on_nats, on_kafka])
async def test_a_message_that_is_too_large_is_refused_and_costs_no_other(stage: Make) -> None:
    """It is no outage, which would be waited for: it is counted, and set aside in the end."""
    async with stage() as on, on.broker:
        await on.broker.connect()
        bus = FastStreamBus(on.broker, topic=on.out, **on.more)
        await bus.open()
        errors = await bus.publish([change_row(1, 1), change_row(1, 2, payload=f'"{"x" * 1_100_000}"')])
        await bus.aclose()
    assert [type(error) for error in errors] == [type(None), MessageRefused]


async def test_rabbitmq_says_what_it_does_not_take() -> None:
    """What no queue takes, and a channel that does not confirm, are errors of the row."""
    async with rabbitmq.rabbit() as made:
        for channel, kind in ((None, MessageRefused), (Channel(publisher_confirms=False), BrokerSetup)):
            async with RabbitBroker(rabbitmq.URL, logger=None, default_channel=channel) as broker:
                await broker.connect()
                bus = FastStreamBus(broker, topic=f"{made.queue}-nowhere")
                await bus.open()
                (error,) = await bus.publish([change_row()])
                await bus.aclose()
            assert isinstance(error, kind)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """FastStream's supervisor starts tasks again that end with the broker; it logs at length."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def fine(_headers: Mapping[str, str], _body: bytes) -> Reply:
    """Take it."""
    return Reply(status=200)


async def test_what_amqp_has_no_room_for_is_refused() -> None:
    """A routing key and a message id have at most 255 bytes; that is no outage, and is not tried for ever."""
    async with rabbitmq.rabbit() as made, RabbitBroker(rabbitmq.URL) as broker:
        topics = iter(["flows.x", f"flows.{'x' * 250}", "flows.x", "flows.x"])
        bus = FastStreamBus(broker, topic=lambda _: next(topics), exchange=made.exchange)
        await bus.open()
        rows = [change_row(1), change_row(2), attrs.evolve(change_row(3), key="x" * 256), change_row(4)]
        errors = await bus.publish(rows)
        await bus.aclose()
    assert [type(error) for error in errors] == [type(None), MessageRefused, MessageRefused, type(None)]
