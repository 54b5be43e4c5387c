"""The relay: outbox on SQLite to a bus, against a hand-written minimum on the same client.

The minimum reads a hundred rows, publishes them on the broker's client as its manual says, waits for the confirmations
and deletes the rows; no envelope, no order per request, no lease, no retries. Both run alternately in one process, each
on rows of its own, over a broker beside them. Skipped by name where a broker does not answer.

A further bus adds a class to `_relay_floors.py` and its name to `CONTENDERS` there.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks._relay_floors import CONTENDERS, Contender
from leanflow import LeanFlow, Policy
from leanflow._request import Scope
from leanflow.ports import Sink
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.lean import SECRET, Lean

__all__ = ["main"]

REQUESTS, ROUNDS, BATCH = 2000, 7, 100
BUDGET = 0.7
SCOPE = Scope(app="default", environment="sandbox", region="uae")


async def payloads() -> list[tuple[str, str, str]]:
    """Return key, request and payload of two announcements for each of so many requests."""
    store, lean = MemoryStore(), Lean(SystemClock())
    async with store_open(store), engine(store, lean) as flows:
        await store.register(SCOPE, [Sink(name="bus")])
        for number in range(REQUESTS):
            await flows.request("accounts", entity_id=f"e{number}", reference=f"user-{number}")
        rows = await store.outbox(SCOPE, limit=REQUESTS * 3)
    return [(row.key, str(row.request_id), row.payload) for row in rows if row.sink == "bus"]


class store_open:  # noqa: N801 - reads as what it does
    """Open a store for a while."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def __aenter__(self) -> MemoryStore:
        await self._store.open()
        return self._store

    async def __aexit__(self, *_: object) -> None:
        await self._store.aclose()


def engine(store: MemoryStore | SQLiteStore, lean: Lean, **more: Any) -> LeanFlow:
    """Return an engine without workers."""
    settings: dict[str, Any] = {"workers": 0, "policy": Policy(reconcile_every=None), **more}
    return LeanFlow(store=store, transport=lean, webhook_secrets=[SECRET], **settings)


async def floor(path: Path, contender: Contender, rows: list[tuple[str, str, str]]) -> float:
    """Relay by hand; return announcements per second."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE outbox (key TEXT PRIMARY KEY, "
                     "request TEXT, payload TEXT)")  # fmt: skip
    db.execute("BEGIN")
    db.executemany("INSERT INTO outbox VALUES (?, ?, ?)", rows)
    db.execute("COMMIT")
    async with contender.floor() as publish:
        began = time.perf_counter()
        while batch := db.execute("SELECT key, payload FROM outbox ORDER BY rowid LIMIT ?", (BATCH,)).fetchall():
            await publish(batch)
            db.execute("BEGIN")
            db.executemany("DELETE FROM outbox WHERE key = ?", [(key,) for key, _ in batch])
            db.execute("COMMIT")
        took = time.perf_counter() - began
    db.close()
    return len(rows) / took


async def fill(path: Path) -> None:
    """Make a file of leanflow's with two announcements for each of so many requests."""
    store = SQLiteStore(path)
    await store.open()
    await store.register(SCOPE, [Sink(name="bus")])
    async with engine(store, Lean(SystemClock())) as flows:
        for first in range(0, REQUESTS, 64):
            numbers = range(first, min(first + 64, REQUESTS))
            await asyncio.gather(
                *(flows.request("accounts", entity_id=f"e{n}", reference=f"user-{n}") for n in numbers)
            )
    await store.aclose()


async def ours(path: Path, contender: Contender) -> float:
    """Relay with leanflow; return announcements per second."""
    store = SQLiteStore(path)
    await store.open()
    async with engine(store, Lean(SystemClock()), bus=contender.bus()) as flows:
        relay = flows._idle_worker._relay  # noqa: SLF001 - what a worker's loop does, and nothing else of it
        began, done = time.perf_counter(), 0
        while count := await relay.relay("bus"):
            done += count
        took = time.perf_counter() - began
    await store.aclose()
    assert done == REQUESTS * 2
    return done / took


async def compare(contender: Contender, rows: list[tuple[str, str, str]], filled: Path) -> tuple[float, float]:
    """Return the medians of both."""
    by_hand, by_us = [], []
    with TemporaryDirectory() as directory:
        for number in range(ROUNDS):
            async with contender:
                by_hand.append(await floor(Path(directory) / f"floor{number}.db", contender, rows))
            async with contender:
                own = Path(directory) / f"ours{number}.db"
                shutil.copy(filled, own)
                by_us.append(await ours(own, contender))
    return median(by_hand), median(by_us)


def main() -> None:
    """Print the table, each row as soon as it is known."""
    rows = asyncio.run(payloads())
    print(f"relay, {len(rows)} announcements, SQLite FULL, median of {ROUNDS}")
    print(f"{'bus':<16}{'floor /s':>10}{'leanflow /s':>13}{'ratio':>8}   (budget {BUDGET})", flush=True)
    with TemporaryDirectory() as directory:
        filled = Path(directory) / "filled.db"
        asyncio.run(fill(filled))
        for name, make in CONTENDERS.items():
            if (why := make.missing()) is not None:
                print(f"{name:<16} skipped: {why}", flush=True)
                continue
            by_hand, by_us = asyncio.run(compare(make(), rows, filled))
            print(f"{name:<16}{by_hand:>10,.0f}{by_us:>13,.0f}{by_us / by_hand:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
