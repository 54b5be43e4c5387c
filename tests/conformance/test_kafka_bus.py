"""The Kafka bus keeps the port's promises, over a mock cluster that goes down and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import uuid4

import attrs
import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from leanflow import cloudevents
from leanflow.errors import BusUnavailable, InvalidRequest, MessageRefused
from leanflow.ports import OutboxRow
from leanflow.testing.conformance import BusConformance, Published
from leanflow_adapters.kafka import KafkaBus, _topics
from tests.support.kafka import KafkaCluster, require_kafka
from tests.support.rows import change_row

PRODUCE, TOO_LARGE = 0, 10
LARGE = 1_100_000  # bytes: more than aiokafka and brokers take unless they are told otherwise


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Give a cluster of two brokers."""
    require_kafka()
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture
def topic(cluster: KafkaCluster) -> str:
    """Give a topic of the test's own."""
    cluster.up()
    return cluster.topic(f"leanflow-{uuid4().hex}")


def published(record: ConsumerRecord) -> Published:
    """Return a record as the suite knows it."""
    headers = {name: value.decode("utf-8", "surrogatepass") for name, value in record.headers}
    event = cloudevents.read(headers, record.value)
    assert record.key == event.partition_key.encode("utf-8", "surrogatepass")
    return Published(key=event.key, kind=event.kind, request_id=event.request_id, payload=event.payload)


class TestKafkaBus(BusConformance):
    """Over a cluster of its own."""

    @pytest.fixture
    async def bus(self, cluster: KafkaCluster, topic: str, timeout: float) -> AsyncIterator[KafkaBus]:
        """Give an open bus."""
        bus = KafkaBus(cluster.servers, topic=topic, timeout=timeout, settings={"retry_backoff_ms": 20})
        await bus.open()
        yield bus
        await bus.aclose()

    @pytest.fixture
    def messages(self, cluster: KafkaCluster, topic: str) -> Callable[[], Awaitable[list[Published]]]:
        """Give what the topic has."""

        async def messages() -> list[Published]:
            return [published(record) for record in await cluster.records(topic)]

        return messages

    @pytest.fixture
    def unwanted(self) -> Callable[[OutboxRow], OutboxRow]:
        """Make a payload too large."""
        return lambda row: attrs.evolve(row, payload=f'"{"x" * LARGE}"')

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
    def silent(self, cluster: KafkaCluster) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Let the brokers accept and never answer for a while."""

        @asynccontextmanager
        async def silent() -> AsyncIterator[None]:
            cluster.slow(60)
            yield
            cluster.slow(0)

        return silent


async def test_what_concerns_one_entity_keeps_to_one_partition(cluster: KafkaCluster, topic: str) -> None:
    """The key is the entity, so that all its requests' announcements keep their order."""
    bus = KafkaBus(cluster.servers, topic=topic, envelope="binary")
    await bus.open()
    assert not any(await bus.publish([change_row(number, number % 8) for number in range(40)]))
    await bus.aclose()
    there: dict[str | None, set[int]] = {}
    for record in await cluster.records(topic):
        there.setdefault(published(record).request_id, set()).add(record.partition)
    assert len(there) == 8
    assert all(len(partitions) == 1 for partitions in there.values())
    assert len(set.union(*there.values())) > 1


async def test_a_record_that_the_brokers_refuse_costs_no_other(cluster: KafkaCluster, topic: str) -> None:
    """Brokers refuse a whole batch for one record's sake: those beside it are sent once more, alone."""
    bus = KafkaBus(cluster.servers, topic=topic)
    await bus.open()
    cluster.fail(PRODUCE, TOO_LARGE)
    assert list(await bus.publish([change_row(number) for number in range(5)])) == [None] * 5
    cluster.fail(PRODUCE, TOO_LARGE, TOO_LARGE)
    errors = await bus.publish([change_row(number) for number in range(5, 10)])
    assert [error is None for error in errors] == [False, True, True, True, True]
    assert list(await bus.publish([change_row(10)])) == [None], "the producer was made anew"
    await bus.aclose()
    keys = [published(record).key for record in await cluster.records(topic)]
    assert keys == [change_row(number).key for number in range(11) if number != 5]


@pytest.mark.parametrize(("code", "error"), [(3, BusUnavailable), (29, MessageRefused)])
async def test_a_topic_that_takes_nothing_holds_up_no_other(
    code: int, error: type[Exception], cluster: KafkaCluster, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing or refused: it is looked for beside the batches, and what is for it goes out once it can."""
    monkeypatch.setattr(_topics, "FIRST", 0.1)
    nowhere = cluster.topic(f"{topic}-nowhere")
    cluster.refuse(nowhere, code)
    bus = KafkaBus(
        cluster.servers,
        topic=lambda event: nowhere if event.key == change_row(1).key else topic,
        timeout=60,
        settings={"retry_backoff_ms": 20},
    )
    await bus.open()
    producer = bus._link._own
    async with asyncio.timeout(30):
        for _ in range(20):
            errors = await bus.publish([change_row(0), change_row(1), change_row(2)])
            assert [type(error) for error in errors] == [type(None), error, type(None)]
            assert nowhere in str(errors[1]) or code != 3
        assert bus._link._own is producer, "it was not made anew"
        cluster.refuse(nowhere, 0)
        while any(await bus.publish([change_row(1)])):
            await asyncio.sleep(0.01)
    await bus.aclose()
    assert len(await cluster.records(nowhere)) == 1


async def test_a_silent_broker_is_an_error_for_each_row(cluster: KafkaCluster, topic: str) -> None:
    """What was not acknowledged in time is told as such; nothing of it is sent behind the caller's back."""
    bus = KafkaBus(cluster.servers, topic=topic, timeout=0.3)
    await bus.open()
    cluster.slow(2)
    try:
        errors = await asyncio.wait_for(bus.publish([change_row(1), change_row(2)]), 5)
    finally:
        cluster.slow(0)
    assert all(isinstance(error, Exception) for error in errors)
    await bus.aclose()


async def test_a_broker_that_is_away_at_the_start_is_unavailable(cluster: KafkaCluster, topic: str) -> None:
    """Opening raises what says: try again; and leaves nothing behind."""
    bus = KafkaBus(cluster.servers, topic=topic, timeout=1)
    cluster.down()
    with pytest.raises(BusUnavailable):
        await bus.open()
    cluster.up()
    await bus.open()
    await bus.aclose()


async def test_a_handed_producer_is_never_closed_and_never_sends_twice(cluster: KafkaCluster, topic: str) -> None:
    """A producer goes on by itself with what it has: a repeat waits for that, and the application's goes on after."""
    async with AIOKafkaProducer(
        bootstrap_servers=cluster.servers, enable_idempotence=True, acks="all", retry_backoff_ms=20
    ) as producer:
        bus = KafkaBus(producer=producer, topic=topic, timeout=0.5)
        await bus.open()
        assert list(await bus.publish([change_row(1)])) == [None]
        cluster.down()
        (error,) = await bus.publish([change_row(2)])
        assert isinstance(error, BusUnavailable)
        cluster.up()
        async with asyncio.timeout(10):
            while list(await bus.publish([change_row(2)])) != [None]:
                pass
        await bus.aclose()
        await producer.send_and_wait(topic, b"the application's", key=b"entity-1")
    found = await cluster.records(topic)
    assert [record.value for record in found].count(b"the application's") == 1
    keys = [published(record).key for record in found if record.value != b"the application's"]
    assert keys == [change_row(1).key, change_row(2).key]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "acks"),
        ({"acks": 1}, "acks"),
        ({"acks": "all"}, "idempoten"),
        ({"transactional_id": "t"}, "transaction"),
        ({"enable_idempotence": True, "value_serializer": bytes}, "serializer"),
    ],
)
async def test_a_producer_that_may_lose_or_double_is_refused(
    cluster: KafkaCluster, settings: dict[str, Any], named: str
) -> None:
    """The error names what is to be set."""
    producer = AIOKafkaProducer(bootstrap_servers=cluster.servers, **settings)
    try:
        with pytest.raises(InvalidRequest, match=named):
            await KafkaBus(producer=producer).open()
    finally:
        await producer.stop()


def test_what_leanflow_sets_is_not_set_otherwise() -> None:
    """Acknowledgements and idempotence are not the application's to switch off."""
    with pytest.raises(InvalidRequest, match="acks"):
        KafkaBus("127.0.0.1:9092", settings={"acks": 1})
    with pytest.raises(InvalidRequest, match="servers"):
        KafkaBus()
