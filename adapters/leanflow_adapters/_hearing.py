"""Hearing what other processes tell: hints only, for what is missed the next poll finds."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

__all__ = ["Heard", "Hearing"]

_log = logging.getLogger("leanflow.store")

_AGAIN = 5.0  # seconds until a lost connection is made again; polling goes on meanwhile
_AT_ONCE = 1.0  # seconds in which who is cancelled ends, unless the cancellation was swallowed: redis-py does at times

Heard = Callable[[Sequence[str]], None]


class Hearing(ABC):
    """Listens on a connection of its own, made again when it is lost.

    Attributes:
        faults: what is raised when it is.
    """

    faults: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, own: str, heard: Heard) -> None:
        """Make it; `own` is the name under which this process tells, which it does not hear."""
        self._own = own
        self._heard = heard
        self._is_over = False
        self._task = asyncio.get_running_loop().create_task(self._listen(), name="leanflow hints")

    async def aclose(self) -> None:
        """Stop listening."""
        self._is_over = True
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_AT_ONCE)
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        while not self._is_over:
            try:
                await self._listen_once()
            except self.faults as error:
                _log.info("no hints from other processes for now: %s", type(error).__name__)
            await asyncio.sleep(_AGAIN)

    @abstractmethod
    async def _listen_once(self) -> None:
        """Connect, call `heard` without ids for what was told while nobody listened, and take what comes."""

    def _take(self, teller: str, ids: str) -> None:
        """Pass on the ids, with commas between them, that a process told."""
        if teller != self._own:
            self._heard(ids.split(",") if ids else ())
