"""What was polled of a partition: which message is next, and how far it may be committed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from leanflow_adapters.kafka import _lanes
from leanflow_adapters.kafka._lanes import ASIDE, LOW, Lane, Lanes

NEVER = 1e9  # seconds
LONG = 60.0  # seconds; reached only by failures


def records(*keys: bytes | None, first: int = 0) -> list[ConsumerRecord]:
    """Return messages with these keys, at offsets one behind the other."""
    return [ConsumerRecord("t", 0, first + place, 0, 0, key, b"", None, 0, 0, ()) for place, key in enumerate(keys)]


class Partition:
    """A lane, and how often it asked for more."""

    def __init__(self, *keys: bytes | None) -> None:
        self.asked = 0
        self.lane = Lane(self._drained, asyncio.Event())
        self.lane.add(records(*keys))

    def _drained(self) -> None:
        self.asked += 1

    def fail(self, delay: float = NEVER) -> int:
        """Begin the next message, and have it come again; return its offset."""
        turn = self.lane.begin(asyncio.get_running_loop().time())
        assert turn is not None
        self.lane.again(delay)
        return int(turn.record.offset)

    def take(self) -> Sequence[int]:
        """Take all that can be taken; return the offsets."""
        found = []
        while (turn := self.lane.begin(asyncio.get_running_loop().time())) is not None:
            found.append(turn.record.offset)
            self.lane.done()
        return found


async def test_those_of_its_key_wait_behind_a_message_that_comes_again() -> None:
    """Others go on, those without a key too; once it is done they come in their order."""
    there = Partition(b"a", b"b", b"a", None, b"a", None)
    assert there.fail(0.0) == 0
    assert there.lane.begin(-1.0) is not None, "it is not due yet: the next one"
    there.lane.done()
    assert there.lane.wakes_at() == 0.0
    assert there.take() == [0, 2, 3, 4, 5]


async def test_what_is_committed_is_the_offset_before_which_all_is_done() -> None:
    """However much is done behind one that comes again."""
    there = Partition(None, None, b"a", None, b"a")
    assert there.lane.position is None
    assert there.lane.committed == 0
    turn = there.lane.begin(0.0)
    assert turn is not None
    assert there.lane.position == 0
    there.lane.done()
    assert there.lane.position == 1
    assert there.fail() == 1
    assert there.fail() == 2
    assert there.take() == [3]
    assert there.lane.position == 1
    assert there.lane.wakes_at() is not None


async def test_tries_are_counted_for_each_message() -> None:
    """But for those that were not its own."""
    there = Partition(None, None)
    there.fail(0.0)
    turn = there.lane.begin(asyncio.get_running_loop().time())
    assert turn is not None
    assert (turn.record.offset, turn.tries) == (0, 2)
    there.lane.again(0.0, counts=False)
    assert there.lane.begin(asyncio.get_running_loop().time()) is turn
    assert turn.tries == 2
    there.lane.done()
    assert there.take() == [1]
    assert there.lane.position == 2


async def test_when_many_come_again_none_is_begun_before_some_are_through() -> None:
    """Then it is not the messages that are bad."""
    there = Partition(*[None] * (ASIDE + 10))
    for offset in range(ASIDE):
        assert there.fail() == offset
    assert there.lane.begin(0.0) is None
    assert there.lane.wakes_at() == pytest.approx(asyncio.get_running_loop().time() + NEVER, abs=60)


async def test_more_is_asked_for_once_there_is_room() -> None:
    """Whether messages were done or stepped aside."""
    there = Partition(b"a", *[b"a"] * (LOW + 5))
    there.fail()
    assert there.take() == []
    assert there.asked == 1


@pytest.mark.parametrize("rest", [LONG, 0.0])
async def test_a_lane_goes_on_behind_a_failure_together_with_the_next(
    rest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that begin together end together, in one commit; it waits a moment for that, and no longer."""
    monkeypatch.setattr(_lanes, "SOON", rest)
    lanes = Lanes(lambda _partition: None)
    for partition in range(2):
        lanes.add(TopicPartition("t", partition), records(None, None))
    (bad, _), (good, _) = await lanes.take(10, LONG)
    bad.done(failed=True)
    taking = asyncio.ensure_future(lanes.take(10, LONG))
    for _ in range(5):
        await asyncio.sleep(0)
    assert taking.done() is not bool(rest)
    good.done()
    assert [lane for lane, _ in await taking] == ([bad, good] if rest else [bad])
