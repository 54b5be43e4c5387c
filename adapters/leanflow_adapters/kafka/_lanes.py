"""What was polled and is not done: a lane for each partition, one message of it under way at a time.

Messages come in the order of their partition. One that is to come again steps aside until its time: those of its key
wait behind it, and the others go on, so that a message which never succeeds costs them nothing. What is committed is
the offset before which all is done.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import attrs
from aiokafka import ConsumerRecord, TopicPartition

__all__ = ["ASIDE", "HIGH", "LOW", "Lane", "Lanes", "Turn"]

HIGH, LOW = 1000, 200
"""Messages of a partition that wait here: with more than HIGH no more are polled, until there are LOW."""
ASIDE = 1000
"""How many of a partition may have stepped aside before none is begun: then it is not the messages that are bad."""
SOON = 0.02
"""Seconds for which a lane rests behind a message that failed, unless another lane is free before: a commit takes less.

Those that are taken end together, in one commit; a lane that went on at once would be alone with its next one, and each
would wait for the other's commit from then on.
"""


@attrs.define(eq=False)
class Turn:
    """One message, from its first delivery until it is done.

    Attributes:
        record: the message.
        tries: deliveries, the present or next included.
    """

    record: ConsumerRecord
    tries: int = 1


@attrs.define(eq=False)
class Lane:
    """One partition.

    Attributes:
        drained: called when there is room for more.
        changed: set whenever something may have become possible.
        is_closed: whether the partition goes to somebody else.
        rests_until: on the loop's clock.
        committed: the offset that was last committed, or with which it began.
    """

    drained: Callable[[], None]
    changed: asyncio.Event
    is_closed: bool = False
    rests_until: float = 0.0
    committed: int | None = None
    _waiting: deque[ConsumerRecord] = attrs.field(factory=deque)  # polled, in order, none of them begun
    _busy: Turn | None = None
    _aside: set[Turn] = attrs.field(factory=set)  # what comes again, and what waits behind it
    _by_key: dict[bytes, deque[Turn]] = attrs.field(factory=dict)  # those of them that have a key: the first is tried
    _due: list[tuple[float, int, int, Turn]] = attrs.field(factory=list)  # a heap: when, on the loop's clock; …
    _next: int | None = None  # the offset behind the last one that was begun, or that stepped aside

    @property
    def is_busy(self) -> bool:
        """Whether a message is under way."""
        return self._busy is not None

    @property
    def position(self) -> int | None:
        """The offset before which all is done; None: nothing was begun."""
        begun = self._aside if self._busy is None else {self._busy, *self._aside}
        return min((turn.record.offset for turn in begun), default=self._next)

    def add(self, records: Iterable[ConsumerRecord]) -> int:
        """Put what was polled behind what is there; return how many wait."""
        self._waiting.extend(records)
        if self.committed is None and self._waiting:
            self.committed = self._waiting[0].offset
        return len(self._waiting)

    def wakes_at(self) -> float | None:
        """Return when the next message can begin, on the loop's clock; None: that is up to others."""
        if self._busy is not None or self.is_closed:
            return None
        if self._waiting and len(self._aside) < ASIDE:
            return 0.0
        return self._due[0][0] if self._due else None

    def begin(self, now: float) -> Turn | None:
        """Return the message that is to be delivered now, if there is one: it is under way then."""
        if self._due and self._due[0][0] <= now:
            self._busy = heapq.heappop(self._due)[-1]
        while self._busy is None and self._waiting and len(self._aside) < ASIDE:
            turn = Turn(self._waiting.popleft())
            self._next = turn.record.offset + 1
            if len(self._waiting) == LOW:
                self.drained()
            if turn.record.key in self._by_key:
                self._step_aside(turn)
            else:
                self._busy = turn
        return self._busy

    def done(self, *, failed: bool = False) -> None:
        """What is under way is done: taken, or given up."""
        turn = self._free(failed=failed)
        if turn not in self._aside:
            return
        self._aside.remove(turn)
        if turn.record.key is not None:
            behind = self._by_key[turn.record.key]
            behind.popleft()
            if behind:
                self._put(0.0, behind[0])
            else:
                del self._by_key[turn.record.key]

    def again(self, delay: float, *, counts: bool = True) -> None:
        """What is under way is to be delivered again, after so many seconds."""
        turn = self._free(failed=True)
        turn.tries += counts
        if turn not in self._aside:
            self._step_aside(turn)
        self._put(asyncio.get_running_loop().time() + delay, turn)

    def _put(self, moment: float, turn: Turn) -> None:
        heapq.heappush(self._due, (moment, turn.record.offset, id(turn), turn))

    def _step_aside(self, turn: Turn) -> None:
        self._aside.add(turn)
        if turn.record.key is not None:
            self._by_key.setdefault(turn.record.key, deque()).append(turn)

    def _free(self, *, failed: bool) -> Turn:
        turn, self._busy = self._busy, None
        assert turn is not None
        self.rests_until = asyncio.get_running_loop().time() + SOON if failed else 0.0
        self.changed.set()
        return turn


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
        how_many = lane.add(records)
        self._changed.set()
        return how_many > HIGH

    async def take(self, limit: int, timeout: float) -> Sequence[tuple[Lane, Turn]]:
        """Return the next message of each lane that is free, at most so many; wait for one, at most so many seconds.

        The lanes are busy then.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + timeout
        while True:
            self._changed.clear()
            now = clock()
            begun = self._begin(limit, now)
            if begun or now >= end or self._is_stopped:
                return begun
            free = [(moment, lane) for lane in self._lanes.values() if (moment := lane.wakes_at()) is not None]
            moments = [max(moment, lane.rests_until) for moment, lane in free]
            try:
                async with asyncio.timeout(min([end, *moments]) - now):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _begin(self, limit: int, now: float) -> Sequence[tuple[Lane, Turn]]:
        """Begin the next message of each lane that is free; of those that rest, too, if there is one that does not."""
        free = [lane for lane in self._lanes.values() if (at := lane.wakes_at()) is not None and at <= now]
        if all(lane.rests_until > now for lane in free):
            return []
        return [(lane, turn) for lane in free[:limit] if (turn := lane.begin(now)) is not None]

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
            partition: position
            for partition, lane in self._lanes.items()
            if (position := lane.position) is not None and position != lane.committed
        }

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Take note of what was committed."""
        for partition, offset in offsets.items():
            if (lane := self._lanes.get(partition)) is not None:
                lane.committed = offset
