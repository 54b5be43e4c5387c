"""Messages from a topic: in the order of each partition, their offsets committed after what they caused."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError

from leanflow._call import Reply
from leanflow.errors import BrokerSetup, BusUnavailable
from leanflow_adapters._bus import BrokerBus, Delivery, SetAside
from leanflow_adapters.kafka._lanes import Lane, Lanes, Turn
from leanflow_adapters.kafka._link import AWAY, Letter, Link

__all__ = ["Consuming", "TopicSource", "for_consumers"]

TRIES = "leanflow-tries"
REASON = "leanflow-reason"
_POLL = 500  # milliseconds: how long a poll waits for messages; progress is committed as often
_REVOKING = 5.0  # seconds that a rebalance waits for messages that are with their receiver
_CONSUMERS = frozenset(inspect.signature(AIOKafkaConsumer.__init__).parameters)
_AGAIN = 1.0  # seconds before a message is looked at again that could not be set aside


def for_consumers(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return those of a bus's settings that aiokafka's consumer knows: `max_batch_size` and others are of producers."""
    return {name: value for name, value in settings.items() if name in _CONSUMERS}


@attrs.frozen(kw_only=True)
class Consuming:
    """What a subscription asks for.

    Attributes:
        name: the bus's.
        servers: where brokers are.
        topic: the topic.
        group: the consumer group.
        aside: the topic of what is set aside.
        timeout: seconds for connecting.
        settings: more for the consumer.
    """

    name: str
    servers: Sequence[str] | str
    topic: str
    group: str
    aside: str
    timeout: float
    settings: Mapping[str, Any]

    def consumer(self, **more: Any) -> AIOKafkaConsumer:
        """Return a consumer that commits nothing by itself, not started."""
        return AIOKafkaConsumer(
            bootstrap_servers=self.servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            **{**self.settings, **more},
        )

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AIOKafkaConsumer]:
        """Give a started consumer that is in no group."""
        consumer = self.consumer()
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()


class TopicSource(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """What a subscription fetches from.

    Args:
        bus: whose connection it uses, for what is set aside and for replies.
        link: that connection.
        consuming: what and where.
    """

    def __init__(self, bus: BrokerBus, link: Link, consuming: Consuming) -> None:
        self.link = link
        self.consuming = consuming
        self._bus = bus
        self._is_held = False
        self._consumer: AIOKafkaConsumer | None = None
        self._polling: asyncio.Task[None] | None = None
        self._lanes = Lanes(self._resume)

    async def open(self) -> None:
        """Connect and join the group; an earlier consumer leaves it."""
        if not self._is_held:
            await self._bus.hold()
            self._is_held = True
        await self._leave()
        try:
            async with asyncio.timeout(self.consuming.timeout), self.consuming.reader() as reader:
                topics = await reader.topics()
        except AWAY as error:
            raise BusUnavailable(self.consuming.name, type(error).__name__) from error
        if self.consuming.topic not in topics:
            cure = "create it, or mend the name"
            raise BrokerSetup(self.consuming.name, f"there is no topic {self.consuming.topic!r}", cure)
        self._consumer = self.consuming.consumer(group_id=self.consuming.group)
        self._polling = asyncio.create_task(self._poll(self._consumer), name=f"leanflow poll {self.consuming.topic}")

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        """Join the group, which takes as long as its members take to hand over; then poll for ever.

        So the group knows that this member lives, however long a message takes.
        """
        consumer.subscribe([self.consuming.topic], listener=self)
        await consumer.start()
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=_POLL)).items():
                if self._lanes.add(partition, records):
                    consumer.pause(partition)
            await self._commit()

    def _resume(self, partition: TopicPartition) -> None:
        if self._consumer is not None:
            with suppress(IllegalStateError):  # it is somebody else's by now
                self._consumer.resume(partition)

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """Return the next message of each partition of which none is under way, at most so many."""
        if self._polling is None or self._polling.done():
            fault = self._polling.exception() if self._polling and not self._polling.cancelled() else None
            raise BusUnavailable(self.consuming.name, type(fault).__name__ if fault else "not connected")
        return [_Delivery(self, lane, turn) for lane, turn in await self._lanes.take(limit, 1.0)]

    def stop(self) -> None:
        """Let a fetch end: what was polled meanwhile is not committed."""
        self._lanes.stop()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Partitions came: their messages will be polled."""

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Partitions go: begin nothing more of them, and commit what is done before another member begins."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_REVOKING):
                await self._lanes.finish(revoked)
        await self._commit()
        self._lanes.drop(revoked)

    async def _commit(self) -> None:
        """Commit how far each partition is done. If that fails, messages come again, and do no harm."""
        if self._consumer is not None and (offsets := self._lanes.progress()):
            with suppress(*AWAY):
                await self._consumer.commit(offsets)
                self._lanes.committed(offsets)

    async def set_aside(self, limit: int) -> Sequence[SetAside]:
        """Read the topic of what was set aside, from its beginning to its present end."""
        aside = self.consuming.aside
        found: list[ConsumerRecord] = []
        try:
            async with self._bus.held(), asyncio.timeout(self.consuming.timeout), self.consuming.reader() as reader:
                if aside not in await reader.topics():
                    return []
                numbers = await (await self.link.producer()).partitions_for(aside)
                partitions = [TopicPartition(aside, number) for number in numbers]
                reader.assign(partitions)
                ends = await reader.end_offsets(partitions)
                await reader.seek_to_beginning(*partitions)
                while any([await reader.position(partition) < ends[partition] for partition in partitions]):
                    for records in (await reader.getmany(timeout_ms=_POLL)).values():
                        found += records
        except AWAY as error:
            raise BusUnavailable(self.consuming.name, type(error).__name__) from error
        return [_told(aside, record) for record in sorted(found, key=_age)[:limit]]

    async def aclose(self) -> None:
        """Leave the group, and give the connection back."""
        await self._leave()
        if self._is_held:
            self._is_held = False
            await self._bus.let_go()

    async def _leave(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
        if self._consumer is not None:
            await self._commit()
            consumer, self._consumer = self._consumer, None
            with suppress(*AWAY):
                await consumer.stop()
        self._lanes = Lanes(self._resume)

    async def post(self, topic: str, record: ConsumerRecord, value: bytes, headers: Mapping[str, str]) -> None:
        """Send a message that came of another; it is there when this returns."""
        letter = Letter(
            id=f"{topic}:{record.topic}:{record.partition}:{record.offset}",
            topic=topic,
            key=record.key,
            value=value,
            headers=[(name, text.encode("utf-8", "surrogateescape")) for name, text in headers.items()],
        )
        (error,) = await self.link.send([letter])
        if error is not None:
            raise error


class _Delivery:
    def __init__(self, source: TopicSource, lane: Lane, turn: Turn) -> None:
        self._source = source
        self._lane = lane
        self._record = turn.record
        self.tries = turn.tries
        self.headers = _headers(turn.record)
        self.body: bytes = turn.record.value or b""

    @property
    def reply_to(self) -> str | None:
        return self.headers.get("reply-to")

    async def respond(self, reply: Reply) -> None:
        told = {"content-type": "application/json", **reply.headers, "leanflow-status": str(reply.status)}
        if (correlation := self.headers.get("correlation-id")) is not None:
            told["correlation-id"] = correlation
        await self._source.post(self.headers["reply-to"], self._record, reply.body, told)

    async def ack(self) -> None:
        self._lane.done()

    async def again(self, delay: float) -> None:
        self._lane.again(delay)

    async def set_aside(self, reason: str) -> None:
        told = {**self.headers, TRIES: str(self.tries), REASON: reason}
        try:
            await self._source.post(self._source.consuming.aside, self._record, self.body, told)
        except BaseException:  # cancelled, too
            self._lane.again(_AGAIN, counts=False)  # nothing is skipped that is not kept
            raise
        self._lane.done(failed=True)


def _headers(record: ConsumerRecord) -> dict[str, str]:
    return {name: (value or b"").decode("utf-8", "surrogateescape") for name, value in record.headers}


def _age(record: ConsumerRecord) -> tuple[int, int, int]:
    return record.timestamp, record.partition, record.offset


def _told(place: str, record: ConsumerRecord) -> SetAside:
    headers = _headers(record)
    tries, reason = headers.pop(TRIES, "0"), headers.pop(REASON, "")
    return SetAside(place=place, reason=reason, tries=int(tries), headers=headers, body=record.value or b"")
