"""The system's clock and dice: the one place in the core that has them, and what an engine uses unless told otherwise."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

from leanflow.ports import RandomSource

__all__ = ["SystemClock", "system_random"]


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> datetime:
        """Return the present time, UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is where time comes from

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds have passed."""
        await asyncio.sleep(seconds)


def system_random() -> RandomSource:
    """Return dice of the operating system: ids made of them cannot be guessed."""
    return random.SystemRandom()  # noqa: TID251 - this is where dice come from
