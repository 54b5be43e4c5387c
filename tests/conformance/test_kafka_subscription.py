"""Subscriptions to topics of Kafka: what is committed, comes again, is set aside, over a mock cluster."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from leanflow import Reply
from leanflow.errors import InvalidRequest
from leanflow_adapters._bus import Subscription
from leanflow_adapters.kafka import KafkaBus
from leanflow_adapters.kafka._lanes import Lanes
from leanflow_adapters.kafka._source import TopicSource
from tests.support.kafka import KafkaCluster, require_kafka
from tests.support.subscribing import PATIENCE, Put, Receiver, Replies, Subscribe, Subscribing, until

FAST = {"retry_backoff_ms": 20, "max_batch_size": 16_384}  # the second of producers, which consumers do not know
RESTLESS = {"session_timeout_ms": 1200, "heartbeat_interval_ms": 100}
"""In the mock cluster a group that its last member left takes nobody in for a second less than the session."""

SOON = (timedelta(milliseconds=50),)


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Give a cluster of two brokers."""
    require_kafka()
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture
def topic(cluster: KafkaCluster) -> str:
    """Give a topic of the test's own."""
    return cluster.topic(f"leanflow-{uuid4().hex}")


@pytest.fixture
async def producer(cluster: KafkaCluster) -> AsyncIterator[AIOKafkaProducer]:
    """Give a producer beside the bus."""
    async with AIOKafkaProducer(bootstrap_servers=cluster.servers) as producer:
        yield producer


@pytest.fixture
def put(producer: AIOKafkaProducer, topic: str) -> Put:
    """Put a message into the topic, into each partition in turn."""
    turns = itertools.cycle(range(4))

    async def put(headers: Mapping[str, str], body: bytes) -> None:
        told = [(name, value.encode()) for name, value in headers.items()]
        await producer.send_and_wait(topic, body, headers=told, partition=next(turns))

    return put


@pytest.fixture
def subscribe(cluster: KafkaCluster, topic: str) -> Subscribe:
    """Make a subscription."""

    def subscribe(receive: Receiver, **arguments: Any) -> Subscription:
        bus = KafkaBus(cluster.servers, timeout=5, settings=FAST)
        return bus.subscribe(topic, receive, durable=f"{topic}-group", settings=RESTLESS, **arguments)

    return subscribe


class TestKafkaSubscription(Subscribing):
    """Its brokers are mock ones, which go down and come back."""

    test_two_of_one_durable_share_the_work = None  # type: ignore[assignment]  # left out
    """Unlike Kafka, the mock cluster takes no commit in a rebalance; groups of several are in `test_kafka_groups`."""

    @pytest.fixture
    def put(self, put: Put) -> Put:
        """Put a message."""
        return put

    @pytest.fixture
    def subscribe(self, subscribe: Subscribe) -> Subscribe:
        """Make a subscription."""
        return subscribe

    @pytest.fixture
    def away(self, cluster: KafkaCluster) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Take the brokers down for a while."""

        @asynccontextmanager
        async def away() -> AsyncIterator[None]:
            cluster.down()
            yield
            cluster.up()

        return away

    @pytest.fixture
    async def replies(self, cluster: KafkaCluster, topic: str) -> AsyncIterator[Replies]:
        """Make a reply address: a topic."""
        consumers: list[AIOKafkaConsumer] = []

        async def replies() -> tuple[str, Callable[[], Awaitable[tuple[Mapping[str, str], bytes]]]]:
            address = cluster.topic(f"{topic}-replies-{len(consumers)}")
            consumer = AIOKafkaConsumer(address, bootstrap_servers=cluster.servers, auto_offset_reset="earliest")
            consumers.append(consumer)
            await consumer.start()

            async def answer() -> tuple[Mapping[str, str], bytes]:
                record = await consumer.getone()
                return {name: value.decode() for name, value in record.headers}, record.value

            return address, answer

        yield replies
        for consumer in consumers:
            await consumer.stop()


async def test_messages_of_a_partition_come_in_order(
    producer: AIOKafkaProducer, topic: str, subscribe: Subscribe
) -> None:
    """One that comes again is waited for by those of its key; the others go on, and nothing is skipped at a restart."""
    heard: list[bytes] = []
    stubborn = True

    async def receive(_headers: Mapping[str, str], body: bytes) -> Reply:
        heard.append(body)
        return Reply(status=503, retry=True) if stubborn and body == b"k/2" else Reply(status=200)

    for number, key in itertools.product(range(5), (b"k", b"other", None)):
        await producer.send_and_wait(topic, b"%s/%d" % (key or b"", number), key=key, partition=0)
    async with subscribe(receive, backoff=SOON, max_deliver=10_000) as subscription:
        await until(lambda: subscription.counts["taken"] == 12 and subscription.counts["again"] > 2)
    once = [body for body in dict.fromkeys(heard) if body != b"k/2"]
    assert once == [b"k/0", b"other/0", b"/0", b"k/1", b"other/1", b"/1"] + [
        b"%s/%d" % (key, number) for number in (2, 3, 4) for key in (b"other", b"")
    ]
    heard.clear()
    stubborn = False
    async with subscribe(receive) as subscription:
        await until(lambda: subscription.counts["taken"] == 9)
    assert heard == [b"%s/%d" % (key, number) for number in (2, 3, 4) for key in (b"k", b"other", b"")]


async def test_a_rebalance_loses_nothing(put: Put, subscribe: Subscribe, topic: str) -> None:
    """What is under way is waited for and committed, and the rest is handed out anew.

    With one member, which joins again and again; groups of several are in `test_kafka_groups`.
    """
    heard: list[bytes] = []

    async def receive(_headers: Mapping[str, str], body: bytes) -> Reply:
        await asyncio.sleep(0.005)
        heard.append(body)
        return Reply(status=200)

    async with subscribe(receive) as subscription:
        for number in range(300):
            await put({}, b"%d" % number)
        source = subscription._source
        assert isinstance(source, TopicSource)
        for times in range(1, 4):
            await until(lambda times=times: len(heard) > 60 * times)  # type: ignore[misc]  # no type for a default
            assert source._consumer is not None
            source._consumer.subscribe([topic, f"{topic}-{times}"], listener=source)
        await until(lambda: len(set(heard)) == 300)
    # Of each partition one at most comes twice; on a busy machine sessions end, too, and then what was not committed.
    assert len(heard) < 2 * 300, "what is done is not all done again"


async def test_a_fetch_ends_when_no_more_is_wanted() -> None:
    """It waits for no message then, and the next one does not either."""
    lanes = Lanes(lambda _partition: None)
    fetching = asyncio.create_task(lanes.take(1, 2 * PATIENCE))
    await asyncio.sleep(0)
    lanes.stop()
    assert await asyncio.wait_for(fetching, PATIENCE) == []
    assert await asyncio.wait_for(lanes.take(1, 2 * PATIENCE), PATIENCE) == []


async def test_what_cannot_be_set_aside_is_not_skipped(
    cluster: KafkaCluster, topic: str, put: Put, subscribe: Subscribe
) -> None:
    """Where the topic for it refuses, the message stays where it is until that is mended."""
    cluster.refuse(f"{topic}.set-aside")
    receiver = Receiver()
    await put({}, b"bad")
    async with subscribe(receiver) as subscription:
        await until(lambda: receiver.bodies.count(b"bad") > 1)
        assert not subscription.counts["set_aside"]
        cluster.refuse(f"{topic}.set-aside", 0)
        async with asyncio.timeout(PATIENCE):
            await until(lambda: subscription.counts["set_aside"] == 1)
        (kept,) = await subscription.set_aside()
    assert (kept.body, kept.reason) == (b"bad", "status 401")


async def test_a_bus_with_a_handed_producer_alone_cannot_subscribe(cluster: KafkaCluster) -> None:
    """A consumer is made of servers."""
    async with AIOKafkaProducer(bootstrap_servers=cluster.servers, enable_idempotence=True) as producer:
        with pytest.raises(InvalidRequest, match="servers"):
            KafkaBus(producer=producer).subscribe("x", Receiver(), durable="x")
