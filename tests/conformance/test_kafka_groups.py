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

MESSAGES, PARTITIONS = 10_000, 4
EACH = MESSAGES // PARTITIONS
LONG = 120.0  # seconds that a whole run may take on a busy machine; reached only by failures


@attrs.define
class Group:
    """A topic with messages ``partition/number``, and what its consumer group has done.

    Attributes:
        servers: of the cluster.
        topic: the topic, and the group.
        notes: the file with a line ``member<TAB>partition/number`` for each message that was handled, in order.
    """

    servers: str
    topic: str
    notes: Path
    seen: dict[TopicPartition, int] = attrs.field(factory=dict)

    def handled(self) -> list[tuple[str, int, int]]:
        """Return who handled what: member, partition, number."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(name, *map(int, body.split("/"))) for name, body in (line.split("\t") for line in lines)]  # type: ignore[misc]

    def names(self) -> Counter[str]:
        """Return how many each member has handled."""
        return Counter(name for name, *_ in self.handled())

    def note(self, name: str, body: bytes) -> None:
        """Add a line."""
        note(self.notes, name, body)

    def member(self, name: str, receive: Receive | None = None) -> Subscription:
        """Return a member in this process."""
        return member(self.servers, self.topic, receive or noting(self.notes, name))

    async def fill(self, first: int = 0, end: int = EACH) -> None:
        """Put messages of these numbers into each partition."""
        async with AIOKafkaProducer(bootstrap_servers=self.servers) as producer:
            for partition in range(PARTITIONS):
                sent = [
                    await producer.send(self.topic, b"%d/%d" % (partition, number), partition=partition)
                    for number in range(first, end)
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

    async def finish(self, each: int = EACH) -> None:
        """Look again and again until all is committed; then each message was handled, each partition in its order."""
        async with self.looking() as consumer, asyncio.timeout(LONG):
            while await self.look(consumer) < each * PARTITIONS:
                await asyncio.sleep(0.05)
        for partition in range(PARTITIONS):
            first = list(dict.fromkeys(number for _, where, number in self.handled() if where == partition))
            assert first == list(range(each))


@pytest.fixture
async def group(tmp_path: Path) -> AsyncIterator[Group]:
    """Give a topic that is full, on a cluster of its own."""
    require_kafka()
    let_followers_sync()
    with KafkaCluster() as cluster:
        group = Group(",".join(cluster.servers), cluster.topic("t", PARTITIONS), tmp_path / "notes")
        await group.fill()
        yield group


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


async def until_handled(group: Group, number: int, *names: str) -> None:
    """Wait until so many messages are handled, and some by each of these members since the call."""
    before = group.names()
    async with asyncio.timeout(LONG):
        while len(group.handled()) < number or any(group.names()[name] == before[name] for name in names):
            await asyncio.sleep(0.02)


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
        await until_handled(group, 100, "stays")
        async with group.member("comes and goes"):
            await until_handled(group, 3000, "stays", "comes and goes")
        await group.finish()
    assert len(group.handled()) < 2 * MESSAGES, "what is done is not all done again"


async def test_what_is_in_work_when_its_partition_goes_is_waited_for_and_committed(group: Group) -> None:
    """Nothing more of the partition is begun meanwhile: the next member goes on behind it."""
    receive, go_on, heard = holding(group)
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
    """What it had done and not committed is done again; nothing is left out."""
    async with process(group, "killed") as killed, process(group, "left"):
        await until_handled(group, 500, "killed", "left")
        killed.kill()
        await killed.wait()
        await group.finish()
    assert group.names()["left"] > group.names()["killed"]


async def test_a_member_that_freezes_takes_nothing_back_when_it_thaws(group: Group) -> None:
    """Its partitions were handled by another meanwhile: what it had goes on, and commits nothing."""
    async with process(group, "frozen") as frozen, process(group, "left"):
        await until_handled(group, 500, "frozen", "left")
        frozen.send_signal(signal.SIGSTOP)
        await group.finish()
        before = group.names()["frozen"]
        frozen.send_signal(signal.SIGCONT)
        await until_handled(group, 0, "frozen")
        await group.fill(EACH, EACH + 1)
        await group.finish(EACH + 1)
    assert group.names()["frozen"] > before
