"""A clock that is advanced by hand, and travelling on it as production would: stopping at each due moment."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

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

    def advance(self, delta: timedelta) -> None:
        """Move the clock, back too, and wake those whose time has come."""
        self._now += delta
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)


class Traveller(Protocol):
    """Something beside the engine that has due moments on the same clock, as the simulator has."""

    def next_due(self) -> datetime | None:
        """Return when it next has something to do, or None."""
        ...

    async def tick(self) -> int:
        """Do what is due now; return how many things were done."""
        ...


async def travel(flows: LeanFlow, clock: FakeClock, delta: timedelta, *, also: Sequence[Traveller] = ()) -> int:
    """Pass so much time, stopping at each due moment of the engine and of the others; return how many things were done.

    Raises:
        Livelock: something does not come to rest at one moment.
    """
    end = clock.now() + delta
    done = await _settle(flows, also)
    while True:
        moments = [(await flows.health()).next_due_at, *(other.next_due() for other in also)]
        future = [moment for moment in moments if moment is not None and clock.now() < moment <= end]
        if not future:
            break
        clock.advance(min(future) - clock.now())
        done += await _settle(flows, also)
    clock.advance(end - clock.now())
    return done + await _settle(flows, also)


async def _settle(flows: LeanFlow, also: Sequence[Traveller]) -> int:
    done = 0
    while some := await flows.tick() + sum([await other.tick() for other in also]):
        done += some
    return done
