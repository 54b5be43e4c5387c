"""Telling waiters within this process that a request has changed; between processes the store is polled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["GOODBYE", "KeyedLocks", "Notifier", "called_off", "rung_or_over"]

_log = logging.getLogger("leanflow.engine")

GOODBYE = 2.0
"""Seconds that what is called off may take: over a dead network a driver waits for the server to hear of it. What still
waits then ends when the store is closed."""


class Notifier:
    """Futures by request id."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listeners = 0

    @property
    def listeners(self) -> int:
        """How many listen."""
        return self._listeners

    @contextmanager
    def listen(self, key: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever `key` is told of."""
        event = asyncio.Event()
        self._waiting.setdefault(key, set()).add(event)
        self._listeners += 1
        try:
            yield event
        finally:
            self._listeners -= 1
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
        self._locks: dict[str, _Turns] = {}

    def hold(self, key: str) -> _Hold:
        """Hold the lock of `key` for the length of an ``async with``."""
        return _Hold(self._locks, key)


class _Turns(asyncio.Lock):
    """A lock that knows how many hold it or wait for it."""

    users = 0


class _Hold:
    """One taking of a lock. A class, since a generator made into a context manager costs three times as much."""

    __slots__ = ("_key", "_locks")

    def __init__(self, locks: dict[str, _Turns], key: str) -> None:
        self._locks = locks
        self._key = key

    async def __aenter__(self) -> None:
        turns = self._locks.get(self._key)
        if turns is None:
            turns = self._locks[self._key] = _Turns()
        turns.users += 1
        try:
            await turns.acquire()
        except BaseException:  # cancelled, as a rule: who does not come in is not left in the line
            self._leave(turns)
            raise

    async def __aexit__(self, *_: object) -> None:
        turns = self._locks[self._key]
        turns.release()
        self._leave(turns)

    def _leave(self, turns: _Turns) -> None:
        turns.users -= 1
        if not turns.users:
            del self._locks[self._key]


async def rung_or_over(bell: asyncio.Event, sleep: Coroutine[Any, Any, None]) -> None:
    """Return once the bell is rung or the sleep is over; raise what the sleep raises. Neither outlives this."""
    ringing = asyncio.ensure_future(bell.wait())
    sleeping = asyncio.ensure_future(sleep)
    try:
        await asyncio.wait({ringing, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        if sleeping.done():
            sleeping.result()  # taken for a sleep that is over, a clock that fails would have its sleepers spin
    finally:
        ringing.cancel()
        sleeping.cancel()


async def called_off(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait `GOODBYE` for them; what one failed of that nobody heard of is told."""
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    ended, _ = await asyncio.wait(tasks, timeout=GOODBYE)
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s had failed", task.get_name(), exc_info=error)
