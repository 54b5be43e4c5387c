"""Clocks on which a simulated Lean can run: the wall's, a faster one, one moved by hand. They keep the `Clock` port."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from leanflow.errors import InvalidRequest
from leanflow.ports import Clock

__all__ = ["Advancing", "HandClock", "ScaledClock"]


@runtime_checkable
class Advancing(Clock, Protocol):
    """A clock that can be moved forward."""

    def advance(self, delta: timedelta, /) -> None:
        """Move it and wake those whose time has come."""
        ...


class ScaledClock:
    """The wall clock, or one that runs so many times as fast: with scale 60 a minute passes in a second.

    Args:
        scale: seconds here per real second.
        start: where it starts; None: at the real time.

    Raises:
        InvalidRequest: the scale is not above zero.
    """

    def __init__(self, scale: float = 1.0, start: datetime | None = None) -> None:
        if not scale > 0:
            raise InvalidRequest("scale", "must be above 0")
        self.scale = scale
        self._began = datetime.now(UTC)
        self._start = start or self._began

    def now(self) -> datetime:
        """Return the time on this clock, UTC."""
        return self._start + (datetime.now(UTC) - self._began) * self.scale

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds have passed on this clock."""
        await asyncio.sleep(max(0.0, seconds) / self.scale)

    def advance(self, delta: timedelta) -> None:
        """Move it; sleepers sleep on as long as before."""
        self._start += delta


class HandClock:
    """A clock that stands still until it is advanced.

    Args:
        start: where it stands.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, 8, tzinfo=UTC)) -> None:
        self._now = start.astimezone(UTC)
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._number = 0

    def now(self) -> datetime:
        """Return the time it stands at, UTC."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once it has been advanced so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), self._number, woken))
        await woken

    def advance(self, delta: timedelta) -> None:
        """Move it and wake those whose time has come."""
        self._now += delta
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
