"""Consumer groups of several members on Kafka: partitions change hands while messages are in work; nothing is lost.

Over a mock cluster, whose groups are Kafka's but for what `let_followers_sync` says.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from leanflow import Reply
from leanflow_adapters._bus import Receive, Subscription
from leanflow_adapters.kafka._source import TopicSource
from tests.support.kafka import KafkaCluster, let_followers_sync, require_kafka
from tests.support.kafka_member import member, note, noting
from tests.support.subscribing import until

PARTITIONS = 4
EACH = 400  # messages of a partition: work for a second
LONG = 120.0  # seconds that a whole run may take on a busy machine; reached only by failures


@attrs.define
class Group:
    """A topic with messages ``partition/number``, and what its consumer group has done.

    Attributes:
        servers: of the cluster.
        topic: the topic, and the group.
        notes: the file with a line ``member<TAB>partition/number`` for each message that was handled, in order.
        each: how many messages each partition has.
        seen: what was committed when that was last looked at.
    """

    servers: str
    topic: str
    notes: Path
    each: int = 0
    seen: dict[TopicPartition, int] = attrs.field(factory=dict)

    def handled(self) -> list[tuple[str, int, int]]:
        """Return who handled what: member, partition, number."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(name, *map(int, body.split("/"))) for name, body in (line.split("\t") for line in lines)]  # type: ignore[misc]  # three each

    def names(self) -> Counter[str]:
        """Return how many each member has handled."""
        return Counter(name for name, *_ in self.handled())

    def note(self, name: str, body: bytes) -> None:
        """Add a line."""
        note(self.notes, name, body)

    def member(self, name: str, receive: Receive | None = None) -> Subscription:
        """Return a member in this process."""
        return member(self.servers, self.topic, receive or noting(self.notes, name))

    async def fill(self, count: int = EACH) -> None:
        """Put so many more messages into each partition."""
        first, self.each = self.each, self.each + count
        async with AIOKafkaProducer(bootstrap_servers=self.servers) as producer:
            for partition in range(PARTITIONS):
                sent = [
                    await producer.send(self.topic, b"%d/%d" % (partition, number), partition=partition)
                    for number in range(first, self.each)
                ]
                await asyncio.gather(*sent)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[AIOKafkaConsumer]:
        """Look at what is committed, without being a member."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.servers, group_id=self.topic, enable_auto_commit=False, retry_backoff_ms=20
        )
        consumer.assign([TopicPartition(self.topic, number) for number in range(PARTITIONS)])
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def look(self, consumer: AIOKafkaConsumer) -> int:
        """Return how many are committed; nothing is that is not done, and what was committed stays so."""
        before = dict(self.seen)
        for number in range(PARTITIONS):
            partition = TopicPartition(self.topic, number)
            self.seen[partition] = await consumer.committed(partition) or 0
            assert self.seen[partition] >= before.get(partition, 0), "a member committed what is not its any more"
        done = {(partition, number) for _, partition, number in self.handled()}
        for partition, offset in self.seen.items():
            missing = [number for number in range(offset) if (partition.partition, number) not in done]
            assert missing == [], f"{partition} is committed up to {offset}"
        return sum(self.seen.values())

    async def fill_until(self, *names: str, since: Counter[str] | None = None) -> None:
        """Put messages into each partition until each of these members has handled some since the call, or before.

        However long it takes a member to come, there is work left for it.
        """
        before = self.names() if since is None else since
        async with asyncio.timeout(LONG):
            while any(self.names()[name] == before[name] for name in names):
                await self.fill(1)
                await asyncio.sleep(0.05)

    async def finish(self) -> None:
        """Look again and again until all is committed; then each message was handled, each partition in its order."""
        async with self.looking() as consumer, asyncio.timeout(LONG):
            while await self.look(consumer) < self.each * PARTITIONS:
                await asyncio.sleep(0.05)
        for partition in range(PARTITIONS):
            first = list(dict.fromkeys(number for _, where, number in self.handled() if where == partition))
            assert first == list(range(self.each))


@pytest.fixture
async def group(tmp_path: Path) -> AsyncIterator[Group]:
    """Give a topic on a cluster of its own."""
    require_kafka()
    let_followers_sync()
    with KafkaCluster() as cluster:
        yield Group(",".join(cluster.servers), cluster.topic("t", PARTITIONS), tmp_path / "notes")


@asynccontextmanager
async def process(group: Group, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a member in a process of its own; kill it in the end."""
    arguments = (group.servers, group.topic, name, str(group.notes))
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.kafka_member", *arguments)
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def holding(group: Group) -> tuple[Receive, asyncio.Event, list[bytes]]:
    """Return a receiver that lets nothing go before an event, and what it was handed."""
    go_on, heard = asyncio.Event(), list[bytes]()

    async def receive(_headers: Mapping[str, str], body: bytes) -> Reply:
        heard.append(body)
        await go_on.wait()
        group.note("it", body)
        return Reply(status=200)

    return receive, go_on, heard


async def test_members_come_and_go_while_messages_are_in_work(group: Group) -> None:
    """Nothing is left out, each partition keeps its order, and nothing is committed that is not done.

    What was done and not committed comes again: unlike Kafka, the mock cluster takes no commit in a rebalance.
    """
    async with group.member("stays"):
        await group.fill_until("stays")
        async with group.member("comes and goes"):
            await group.fill_until("stays", "comes and goes")
            before = group.names()
            await group.fill()
            await group.fill_until("comes and goes", since=before)
        await group.finish()
    assert len(group.handled()) < 2 * group.each * PARTITIONS, "what is done is not all done again"


async def test_what_is_in_work_when_its_partition_goes_is_waited_for_and_committed(group: Group) -> None:
    """Nothing more of the partition is begun meanwhile: the next member goes on behind it."""
    receive, go_on, heard = holding(group)
    await group.fill(2)
    async with group.member("it", receive) as subscription, group.looking() as consumer:
        await until(lambda: len(heard) == PARTITIONS)
        source = subscription._source
        assert isinstance(source, TopicSource)
        partitions = {TopicPartition(group.topic, number) for number in range(PARTITIONS)}
        revoking = asyncio.create_task(source.on_partitions_revoked(partitions))
        assert not (await asyncio.wait({revoking}, timeout=0.2))[0]
        await source._commit()
        assert await group.look(consumer) == 0
        go_on.set()
        await revoking
        assert await group.look(consumer) == len(heard) == PARTITIONS


async def test_a_member_that_is_killed_is_followed_by_another(group: Group) -> None:
    """What it had done and not committed is done again; nothing is left out, nor what comes after it."""
    async with process(group, "killed") as killed, process(group, "left"):
        await group.fill_until("killed", "left")
        before = group.names()
        await group.fill()
        await group.fill_until("killed", since=before)
        killed.kill()
        await killed.wait()
        await group.fill(1)
        await group.finish()


async def test_a_member_that_freezes_takes_nothing_back_when_it_thaws(group: Group) -> None:
    """Its partitions were handled by another meanwhile: what it had goes on, and commits nothing."""
    async with process(group, "frozen") as frozen, process(group, "left"):
        await group.fill_until("frozen", "left")
        before = group.names()
        await group.fill()
        await group.fill_until("frozen", since=before)
        frozen.send_signal(signal.SIGSTOP)
        await group.fill(1)
        await group.finish()
        before = group.names()
        frozen.send_signal(signal.SIGCONT)
        await group.fill_until("frozen", since=before)
        await group.finish()
