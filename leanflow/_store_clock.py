"""The engine's clock, or the store's where that has one."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from leanflow.errors import StoreUnavailable
from leanflow.ports import Clock, Store

__all__ = ["StoreClock"]

_EVERY = 30.0  # seconds between questions; in between the event loop's own time goes on, which nobody moves


class StoreClock:
    """Tells the store's time.

    What is due is compared with the store's clock. Reckoned by a clock that is an hour ahead of it, it would be due an
    hour late; by one that is behind it, at once and again at once.
    """

    def __init__(self, clock: Clock, store: Store) -> None:
        """Make it; until `set` is called it tells what `clock` tells."""
        self._clock = clock
        self._store = store
        self._told: tuple[datetime, float, asyncio.AbstractEventLoop] | None = None

    @property
    def given(self) -> Clock | None:
        """The clock that it tells, if the store has none; None if it has."""
        return self._clock if self._told is None else None

    def now(self) -> datetime:
        """Return the store's present time."""
        if self._told is None:
            return self._clock.now()
        told, when, loop = self._told
        return told + timedelta(seconds=loop.time() - when)

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds have passed."""
        await self._clock.sleep(seconds)

    async def set(self) -> None:
        """Ask the store for the time, if it has a clock."""
        told, loop = await self._store.now(), asyncio.get_running_loop()
        self._told = None if told is None else (told, loop.time(), loop)

    async def keep(self) -> None:
        """Ask again and again, until cancelled; never, if the store has no clock."""
        while self._told is not None:
            await self._clock.sleep(_EVERY)
            try:
                await self.set()
            except StoreUnavailable:
                continue  # what it told last goes on
