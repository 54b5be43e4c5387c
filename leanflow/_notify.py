"""Telling waiters within this process that a request has changed; between processes the store is polled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

__all__ = ["KeyedLocks", "Notifier", "rung_or_over"]


class Notifier:
    """Futures by request id."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def listen(self, key: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever `key` is told of."""
        event = asyncio.Event()
        self._waiting.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            waiting = self._waiting[key]
            waiting.discard(event)
            if not waiting:
                del self._waiting[key]

    def tell(self, key: str) -> None:
        """Wake all who listen for `key`."""
        for event in self._waiting.get(key, ()):
            event.set()


class KeyedLocks:
    """One lock per key, kept only while somebody wants it: racers of one process take turns instead of colliding."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of `key`."""
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)


async def rung_or_over(bell: asyncio.Event, sleep: Coroutine[Any, Any, None]) -> None:
    """Return once the bell is rung or the sleep is over; neither outlives this."""
    ringing = asyncio.ensure_future(bell.wait())
    sleeping = asyncio.ensure_future(sleep)
    try:
        await asyncio.wait({ringing, sleeping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ringing.cancel()
        sleeping.cancel()
