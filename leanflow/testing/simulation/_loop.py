"""What makes a run one run: an event loop on the simulated clock that can tell when nothing is left to do, and dice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from itertools import accumulate, count
from typing import Any

from leanflow.mockbank.basics._dice import Dice as _Dice
from leanflow.testing._clock import FakeClock

__all__ = ["Dice", "SimulatedLoop"]


_TIE = 1e-9
"""Seconds between two timers for one time: asyncio's heap keeps no order among equals."""


class Dice(_Dice):
    """Dice that engines can use as well: all that is rolled follows from the seed."""

    def random(self) -> float:
        """Return a number from 0 up to, not including, 1, of 53 bits."""
        return (self.below(1 << 27) * (1 << 26) + self.below(1 << 26)) / (1 << 53)

    def weighted(self, table: Weighted) -> str:
        """Return one of the names in `table`, each as often as its weight says."""
        return table.at(self.random())


class Weighted:
    """Names with weights, ready to be chosen from."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        wanted = {name: weight for name, weight in weights.items() if weight > 0}
        total = sum(wanted.values())
        self._ends = [(end / total, name) for end, name in zip(accumulate(wanted.values()), wanted, strict=True)]

    def at(self, roll: float) -> str:
        """Return the name at a roll from 0 up to 1."""
        for end, name in self._ends:
            if roll < end:
                return name
        return self._ends[-1][1]


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a clock that is moved by hand: timeouts end when that clock says so."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._began = clock.now()
        self._inside = 0
        self._door = asyncio.Lock()
        self._out: asyncio.Event | None = None
        self._timers = count()
        super().__init__()
        self._clock_resolution = _TIE * 1e6

    def call_at(  # type: ignore[override]  # the same, without naming the types of the arguments
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Call back at a time; of those for one time, in the order in which they were asked for."""
        return super().call_at(when + _TIE * next(self._timers), callback, *args, context=context)

    def time(self) -> float:
        """Return the seconds since the clock's start."""
        return (self._clock.now() - self._began).total_seconds()

    def jump(self, delta: timedelta) -> None:
        """Set the clock to another time; timeouts end when they would have."""
        self._began += delta
        self._clock.jump(delta)

    async def inside(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Return what comes of work that may wait for the real world (a database's thread); nothing else goes on.

        One at a time: what the real world is asked next does not depend on how fast it was.
        """
        self._inside += 1
        try:
            async with self._door:
                return await work()
        finally:
            self._inside -= 1
            if self._out is not None and not self._inside:
                self._out.set()

    async def settle(self) -> None:
        """Return once all tasks but the caller's wait for a turn, for time, or for each other."""
        ready: Any = self._ready  # type: ignore[attr-defined]  # asyncio's own: the only way to know
        while True:
            await asyncio.sleep(0)
            if self._inside:
                self._out = asyncio.Event()
                await self._out.wait()
                self._out = None
            elif not ready:
                return
