"""A clock that is advanced by hand, and travelling on it as production would: stopping at each due moment."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Protocol, runtime_checkable

from leanflow._flows import LeanFlow

__all__ = ["FakeClock", "Traveller", "travel"]

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeClock:
    """A clock that stands still until it is advanced. Sleepers wake when it passes their time."""

    def __init__(self, start: datetime = START) -> None:
        """Start at `start`, aware.

        Raises:
            ValueError: it has no zone.
        """
        if start.tzinfo is None:
            msg = "start needs a time zone, as datetime(2026, 1, 1, tzinfo=UTC)"
            raise ValueError(msg)
        self._now = start.astimezone(UTC)
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def __repr__(self) -> str:
        return f"FakeClock({self._now.isoformat()})"

    def now(self) -> datetime:
        """Return the time it stands at, UTC."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has been advanced so far; at once for nothing."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._numbers), future))
        await future

    def next_wake(self) -> datetime | None:
        """Return when the next sleeper wakes, or None."""
        while self._sleepers and self._sleepers[0][2].done():  # cancelled meanwhile
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance(self, delta: timedelta) -> None:
        """Move the clock, back too, and wake those whose time has come."""
        self._now += delta
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    def jump(self, delta: timedelta) -> None:
        """Set the clock to another time, as a machine's is set: sleepers sleep on as long as they would have."""
        self._now += delta
        self._sleepers = [(at + delta, number, future) for at, number, future in self._sleepers]


class Traveller(Protocol):
    """Something beside the engine that has due moments on the same clock, as the simulator has."""

    def next_due(self) -> datetime | None:
        """Return when it next has something to do, or None."""
        ...

    async def tick(self) -> int:
        """Do what is due now; return how many things were done."""
        ...


@runtime_checkable
class Sleeper(Traveller, Protocol):
    """A traveller whose calls can sleep on the clock, as a slow one of the simulator does."""

    async def asleep(self) -> None:
        """Return once a call waits for the clock to be moved."""
        ...


async def travel(flows: LeanFlow, clock: FakeClock, delta: timedelta, *, also: Sequence[Traveller] = ()) -> int:
    """Pass so much time, stopping at each due moment of the engine and of the others; return how many things were done.

    A call that is slow is waited for: if it is under way at the end, the clock stands as much later.

    Raises:
        Livelock: something does not come to rest at one moment.
    """
    end = clock.now() + delta
    sleepers = [other for other in also if isinstance(other, Sleeper)]
    done = await _settle(flows, clock, also, sleepers)
    while True:
        moments = [(await flows.health()).next_due_at, *(other.next_due() for other in also)]
        future = [moment for moment in moments if moment is not None and clock.now() < moment <= end]
        if not future:
            break
        clock.advance(min(future) - clock.now())
        done += await _settle(flows, clock, also, sleepers)
    clock.advance(max(timedelta(), end - clock.now()))
    return done + await _settle(flows, clock, also, sleepers)


async def _settle(flows: LeanFlow, clock: FakeClock, also: Sequence[Traveller], sleepers: Sequence[Sleeper]) -> int:
    done = 0
    while True:
        done += await _ticked(flows, clock, also, sleepers)
        others = sum([await other.tick() for other in also])
        if others == 0:  # and so the engine, which came to rest, has got nothing new to do
            return done
        done += others


async def _ticked(flows: LeanFlow, clock: FakeClock, also: Sequence[Traveller], sleepers: Sequence[Sleeper]) -> int:
    """Let the engine tick; while a call of it sleeps on the clock, go from one due moment to the next."""
    if not sleepers:
        return await flows.tick()
    done, tick = 0, asyncio.ensure_future(flows.tick())
    try:
        while await _sleeps(tick, sleepers):
            now, moments = clock.now(), [clock.next_wake(), *(other.next_due() for other in also)]
            clock.advance(min(moment for moment in moments if moment is not None and moment > now) - now)
            done += sum([await other.tick() for other in also])
        return done + await tick
    finally:
        tick.cancel()


async def _sleeps(tick: asyncio.Future[int], sleepers: Sequence[Sleeper]) -> bool:
    """Return False once the tick is done, True once one of its calls sleeps."""
    waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(other.asleep()) for other in sleepers]
    try:
        await asyncio.wait([tick, *waits], return_when=asyncio.FIRST_COMPLETED)
        return not tick.done()
    finally:
        for wait in waits:
            wait.cancel()
