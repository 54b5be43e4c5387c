"""The system's clock and dice: the one place in the core that has them; engines use them unless told otherwise."""

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
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds have passed."""
        await asyncio.sleep(seconds)


def system_random() -> RandomSource:
    """Return dice of the operating system: ids made of them cannot be guessed."""
    return random.SystemRandom()
