"""The clock that is moved by hand, and travelling on it."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from leanflow import Answer, Call, LeanFlow, Policy
from leanflow.errors import CallFailed
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore

SECOND = timedelta(seconds=1)


async def test_sleepers_wake_when_their_time_has_come() -> None:
    """In order of their times, and no sooner."""
    clock, woken = FakeClock(), []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (3, 1, 2)]
    await asyncio.sleep(0)
    clock.advance(SECOND * 0.9)
    await asyncio.sleep(0)
    assert woken == []
    clock.advance(SECOND * 1.2)
    await asyncio.sleep(0)
    assert woken == [1, 2]
    clock.advance(SECOND)
    await asyncio.gather(*tasks)
    assert woken == [1, 2, 3]


async def test_sleepers_outlast_a_clock_that_is_set() -> None:
    """A jump is of the clock alone: who sleeps for three seconds sleeps for three, wherever the clock is set."""
    clock, woken = FakeClock(), []
    before = clock.now()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (3, 1)]
    await asyncio.sleep(0)
    for days in (-1, 31):
        clock.jump(timedelta(days=days))
        assert clock.next_wake() == clock.now() + SECOND
    clock.advance(SECOND)
    await asyncio.sleep(0)
    assert woken == [1]
    assert clock.now() == before + timedelta(days=30) + SECOND
    clock.advance(2 * SECOND)
    await asyncio.gather(*tasks)
    assert clock.next_wake() is None


async def test_sleeping_for_nothing_is_a_turn() -> None:
    """Zero or less returns at once."""
    await FakeClock().sleep(0)
    await FakeClock().sleep(-1)


async def test_a_sleeper_may_be_cancelled() -> None:
    """A cancelled sleeper is passed over when its time comes."""
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    clock.advance(2 * SECOND)


def test_it_stands_still_and_moves_both_ways() -> None:
    """Time passes only by hand; back too."""
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=4))))
    assert clock.now() == datetime(2025, 12, 31, 20, tzinfo=UTC)
    clock.advance(-SECOND)
    assert clock.now() == datetime(2025, 12, 31, 19, 59, 59, tzinfo=UTC)
    assert "2025-12-31" in repr(clock)


def test_a_start_without_a_zone_is_refused() -> None:
    """A naive time could be anybody's."""
    with pytest.raises(ValueError, match="time zone"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001


class _Broken:
    """A Lean that never answers, and tells when it was asked."""

    is_open = True

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.asked: list[datetime] = []

    async def send(self, call: Call) -> Answer:
        self.asked.append(self._clock.now())
        raise CallFailed("refused", maybe_sent=False)

    async def token(self, customer_id: str) -> str | None:
        return None

    async def aclose(self) -> None:
        """Close nothing."""


class _Other:
    """Something else with due moments on the same clock."""

    def __init__(self, clock: FakeClock, *moments: datetime) -> None:
        self._clock = clock
        self._moments = list(moments)
        self.done: list[datetime] = []

    def next_due(self) -> datetime | None:
        return self._moments[0] if self._moments else None

    async def tick(self) -> int:
        if not self._moments or self._moments[0] > self._clock.now():
            return 0
        self._moments.pop(0)
        self.done.append(self._clock.now())
        return 1


async def test_travel_stops_at_each_due_moment() -> None:
    """The engine's and the others' due moments are met on time, in order, and the clock ends where it was to end."""
    clock = FakeClock()
    start, lean = clock.now(), _Broken(clock)
    flows = LeanFlow(
        store=MemoryStore(), transport=lean, webhook_secrets=["s"], clock=clock, dice=random.Random(0), workers=0,
        policy=Policy(jitter=timedelta()),
    )  # fmt: skip
    other = _Other(clock, start + 7 * SECOND, start + 8 * SECOND, start + timedelta(hours=2))
    async with flows:
        await flows.request("accounts", entity_id="e")
        done = await travel(flows, clock, timedelta(hours=1), also=[other])
        due = (await flows.health()).next_due_at
    assert clock.now() == start + timedelta(hours=1)
    assert other.done == [start + 7 * SECOND, start + 8 * SECOND]
    assert len(lean.asked) == 6
    assert lean.asked == sorted(set(lean.asked))
    assert done >= 2 + 5
    assert due is None or due > clock.now()
