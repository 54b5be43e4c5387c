"""The child of R26: an engine that relays one file's outbox to one broker, and is killed at a moment that it was told.

``python -m tests.torture.relaying FILE BROKER AT RANGE HOW``: it kills itself once so many announcements are published
(``after``: confirmed and not yet remembered as delivered; ``amid``: while they are on their way), or ends when told so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from leanflow import LeanFlow, Policy
from leanflow.ports import OutboxRow
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.lean import SECRET, Lean
from tests.torture.clients import bus_of

__all__ = ["RELAYING", "Mortal"]

RELAYING = Policy(
    lease=timedelta(seconds=1),  # what the dead one had claimed is taken over soon
    poll=timedelta(milliseconds=50),
    announce_backoff=(timedelta(milliseconds=100), timedelta(seconds=1)),
    reconcile_every=None,
)


class Mortal:
    """A bus that kills its process."""

    def __init__(self, broker: str, at: str, last: int, how: str) -> None:
        self._bus = bus_of(broker, at)
        self._left = last
        self._how = how
        self.name = self._bus.name

    async def open(self) -> None:
        """Open."""
        await self._bus.open()

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Publish, perhaps for the last time; tell how many were published."""
        dies = self._left <= len(batch)
        if dies and self._how == "amid":
            publishing = asyncio.ensure_future(self._bus.publish(batch))
            for _ in range(3):
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGKILL)
            await publishing
        errors = await self._bus.publish(batch)
        done = sum(error is None for error in errors)
        if dies and done:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= done
        print(done, flush=True)
        return errors

    async def aclose(self) -> None:
        """Close."""
        await self._bus.aclose()


async def relay(file: Path, broker: str, at: str, last: int, how: str) -> None:
    """Relay until there is nothing left."""
    bus = Mortal(broker, at, last, how)
    flows = LeanFlow(
        store=SQLiteStore(file),
        transport=Lean(SystemClock()),
        webhook_secrets=[SECRET],
        bus=bus,
        policy=RELAYING,
    )
    async with flows:
        while (await flows.health()).sinks["bus"].undelivered:
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    _, _file, _broker, _at, _last, _how = sys.argv
    asyncio.run(relay(Path(_file), _broker, _at, int(_last), _how))
