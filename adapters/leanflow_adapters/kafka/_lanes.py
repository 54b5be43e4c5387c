"""What was polled and is not done: a lane for each partition, one message of it under way at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import attrs
from aiokafka import ConsumerRecord, TopicPartition

__all__ = ["Lane", "Lanes"]

HIGH, LOW = 1000, 200
"""Messages of a partition that wait here: with more than HIGH no more are polled, until there are LOW."""


@attrs.define(eq=False)
class Lane:
    """One partition.

    Attributes:
        drained: called when there is room for more.
        changed: set whenever something may have become possible.
        waiting: polled, in order; the first one may be under way.
        is_busy: whether it is.
        is_closed: whether the partition goes to somebody else.
        tries: deliveries of the first one, the present or next included.
        not_before: on the loop's clock: when it may be delivered again.
        position: the offset behind the last one that is done; None: none is.
        committed: the one that was last committed.
    """

    drained: Callable[[], None]
    changed: asyncio.Event
    waiting: deque[ConsumerRecord] = attrs.field(factory=deque)
    is_busy: bool = False
    is_closed: bool = False
    tries: int = 1
    not_before: float = 0.0
    position: int | None = None
    committed: int | None = None

    def done(self, offset: int) -> None:
        """The first one is done."""
        self.waiting.popleft()
        if len(self.waiting) == LOW:
            self.drained()
        self.position = offset + 1
        self.tries, self.not_before = 1, 0.0
        self._free()

    def again(self, delay: float, *, counts: bool = True) -> None:
        """The first one is to be delivered again, after so many seconds."""
        self.tries += counts
        self.not_before = asyncio.get_running_loop().time() + delay
        self._free()

    def _free(self) -> None:
        self.is_busy = False
        self.changed.set()


class Lanes:
    """The lanes of the partitions that are assigned."""

    def __init__(self, drained: Callable[[TopicPartition], None]) -> None:
        """Put them together.

        Args:
            drained: called with a partition of which there is room for more again.
        """
        self._drained = drained
        self._changed = asyncio.Event()
        self._is_stopped = False
        self._lanes: dict[TopicPartition, Lane] = {}

    def add(self, partition: TopicPartition, records: Iterable[ConsumerRecord]) -> bool:
        """Put what was polled behind what is there; return whether that is enough for now."""
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = Lane(partial(self._drained, partition), self._changed)
        lane.waiting.extend(records)
        self._changed.set()
        return len(lane.waiting) > HIGH

    async def take(self, limit: int, timeout: float) -> Sequence[tuple[Lane, ConsumerRecord]]:
        """Return the first message of each lane that is free, at most so many; wait for one, at most so many seconds.

        The lanes are busy then.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + timeout
        while True:
            self._changed.clear()
            now = clock()
            open_lanes = [lane for lane in self._lanes.values() if lane.waiting and not lane.is_busy]
            free = [lane for lane in open_lanes if not lane.is_closed and lane.not_before <= now][:limit]
            if free or now >= end or self._is_stopped:
                break
            wake = min([end, *(lane.not_before for lane in open_lanes if lane.not_before > now)])
            try:
                async with asyncio.timeout(wake - now):
                    await self._changed.wait()
            except TimeoutError:
                continue
        for lane in free:
            lane.is_busy = True
        return [(lane, lane.waiting[0]) for lane in free]

    def stop(self) -> None:
        """Wait for no message any more."""
        self._is_stopped = True
        self._changed.set()

    async def finish(self, partitions: Collection[TopicPartition]) -> None:
        """Begin nothing more of these partitions, and wait until nothing of them is under way."""
        lanes = [lane for partition, lane in self._lanes.items() if partition in partitions]
        for lane in lanes:
            lane.is_closed = True
        while any(lane.is_busy for lane in lanes):
            self._changed.clear()
            await self._changed.wait()

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget these partitions."""
        for partition in partitions:
            self._lanes.pop(partition, None)

    def progress(self) -> dict[TopicPartition, int]:
        """Return the offsets that are to be committed."""
        return {
            partition: lane.position
            for partition, lane in self._lanes.items()
            if lane.position is not None and lane.position != lane.committed
        }

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Take note of what was committed."""
        for partition, offset in offsets.items():
            if (lane := self._lanes.get(partition)) is not None:
                lane.committed = offset
