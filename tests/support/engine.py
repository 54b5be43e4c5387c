"""Engines for tests: on a clock moved by hand, dice with a seed, a tiny Lean, and either store."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from leanflow import Change, Handlers, LeanFlow, Reply
from leanflow.ports import Clock, Store, Transport
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.lean import SECRET, signed

__all__ = ["STORES", "StoreMaker", "deliver", "dump", "engine", "maker_of", "recorder"]

STORES = ("memory", "sqlite")

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
