"""Engines for tests: on a clock moved by hand, dice with a seed, a tiny Lean, and either store."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs

from leanflow import Change, Handlers, LeanFlow, Reply
from leanflow.ports import Clock, HistoryEntry, Store, Transport
from leanflow.testing import FakeClock
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.lean import SECRET, signed

__all__ = [
    "PATIENCE",
    "STORES",
    "StoreMaker",
    "at_rest",
    "check_history",
    "deliver",
    "dump",
    "engine",
    "maker_of",
    "recorder",
]

STORES = ("memory", "sqlite")

PATIENCE = 60.0
"""Seconds that a test waits for what must come to pass: long, as it runs beside others on a busy machine."""

StoreMaker = Callable[[], Store]
"""Returns one more handle on the same data: a restart, or another process."""


def maker_of(kind: str, directory: Path) -> StoreMaker:
    """Return what makes handles on one fresh store."""
    if kind == "memory":
        return MemoryStore().reopen
    return lambda: SQLiteStore(directory / "flows.db")


def engine(store: Store, transport: Transport, clock: Clock | None, *, seed: int = 0, **more: Any) -> LeanFlow:
    """Return an engine without workers: the test calls `tick`."""
    settings = {"workers": 0, "app": "app", "webhook_secrets": [SECRET], **more}
    return LeanFlow(store=store, transport=transport, clock=clock, dice=random.Random(seed), **settings)


async def deliver(flows: LeanFlow, *raws: bytes) -> list[Reply]:
    """Deliver webhooks one after another, signed."""
    return [await flows.receive(signed(raw), raw) for raw in raws]


def check_history(rows: tuple[HistoryEntry, ...]) -> None:
    """I3 and I5: versions 1..n without gap, each row going on from the one before; no event twice."""
    moves = [row for row in rows if row.declined is None]
    assert [row.version for row in moves] == list(range(len(moves)))
    for before, after in pairwise(moves):
        assert after.from_state == before.to_state
    assert len({row.key for row in rows}) == len(rows)


async def at_rest(flows: LeanFlow, clock: FakeClock) -> None:
    """Return once the workers have done what is due: nothing is under way, and each of their tasks sleeps on the clock.

    Moved on before that, the clock overtakes them: their leases run out while they write.
    """
    async with asyncio.timeout(PATIENCE):
        while _is_busy(flows, clock):
            await flows.counts()  # lets the threads of a store go on
            await asyncio.sleep(0)  # and the tasks, where it has none


def _is_busy(flows: LeanFlow, clock: FakeClock) -> bool:
    workers, keeping = flows._workers, [task for task in flows._keeping if not task.done()]
    asleep = sum(not future.done() for _, _, future in clock._sleepers)
    return (
        bool(flows._placing.under_way)
        or any(worker._calls or any(bell.is_set() for bell in worker._bells.values()) for worker in workers)
        or asleep < len(keeping) + sum(len(worker._loops) + len(worker._helpers) for worker in workers)
    )


@attrs.frozen
class _Heard:
    handlers: Handlers
    changes: list[Change]
    webhooks: list[Any]

    @property
    def keys(self) -> list[str]:
        """The keys of the changes, in the order of delivery."""
        return [change.key for change in self.changes]

    @property
    def states(self) -> list[str]:
        """The states that were entered, in the order of delivery."""
        return [change.to_state.value for change in self.changes]


def recorder(name: str = "recorder") -> _Heard:
    """Return handlers that keep what they hear."""
    heard = _Heard(Handlers(), [], [])

    @heard.handlers.on(name=name)
    async def changed(change: Change, _flows: LeanFlow) -> None:
        heard.changes.append(change)

    @heard.handlers.on_webhook("*", name=f"{name}-webhooks")
    async def came(event: Any, _flows: LeanFlow) -> None:
        heard.webhooks.append(event)

    return heard


def dump(store: Store) -> str:
    """Return everything that a store holds, as text to compare."""
    if isinstance(store, MemoryStore):
        return repr(store._data)
    assert isinstance(store, SQLiteStore)
    with sqlite3.connect(f"file:{store._path}?mode=ro", uri=True) as connection:
        return "\n".join(connection.iterdump())
