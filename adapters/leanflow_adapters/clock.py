"""The system's clock: the only place where leanflow asks the machine for the time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

__all__ = ["SystemClock"]


class SystemClock:
    """The machine's wall clock and the event loop's timers. Keeps the `Clock` port."""

    __slots__ = ()

    def now(self) -> datetime:
        """Return the present time, aware, UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds have passed; a negative number passes control once and returns."""
        await asyncio.sleep(max(0.0, seconds))

    def __repr__(self) -> str:
        return "SystemClock()"
