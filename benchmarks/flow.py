"""A whole flow of six durable steps on SQLite FULL, against the floor and a naive peer, interleaved in one run.

The same in memory shows what leanflow itself costs, without any store: no store can make a flow cheaper than that.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks._floor import Floor
from benchmarks._naive import MOVES, STATES, Naive
from benchmarks._ours import engine, many, whole_flow
from leanflow import LeanFlow
from leanflow_adapters.memory import MemoryStore

ROUNDS = 3
FLOWS = {1: 150, 16: 800, 64: 1600}
BUDGET = {1: None, 16: None, 64: 1.5}


async def floor(path: Path, flows: int, callers: int, *, full: bool = False) -> float:
    """Return seconds per flow of the hand-written minimum."""
    db = Floor(path, full=full)

    async def one(number: int) -> None:
        for step, state in enumerate(STATES):
            await db.step(f"{number}-{step}", f"{number:012}", state, 1 if state != "fetched" else None)

    start = time.perf_counter()
    await many(flows, callers, one)
    seconds = time.perf_counter() - start
    db.close()
    return seconds / flows


async def full(path: Path, flows: int, callers: int) -> float:
    """Return seconds per flow of the minimum that stores what leanflow stores."""
    return await floor(path, flows, callers, full=True)


async def naive(path: Path, flows: int, callers: int) -> float:
    """Return seconds per flow of the peer."""
    db = Naive(path)
    await db.open()
    triggers = [None, *(str(move["trigger"]) for move in MOVES)]

    async def one(number: int) -> None:
        for step, trigger in enumerate(triggers):
            await db.step(f"{number}-{step}", f"{number:012}", trigger)

    start = time.perf_counter()
    await many(flows, callers, one)
    seconds = time.perf_counter() - start
    await db.close()
    return seconds / flows


async def ours(path: Path, flows: int, callers: int) -> float:
    """Return seconds per flow of leanflow."""
    return await _played(engine(path), flows, callers)


async def in_memory(_: Path, flows: int, callers: int) -> float:
    """Return seconds per flow of leanflow on a store that keeps nothing."""
    return await _played(engine(MemoryStore()), flows, callers)


async def _played(engine_: LeanFlow, flows: int, callers: int) -> float:
    async with engine_ as flows_:
        start = time.perf_counter()
        await many(flows, callers, lambda number: whole_flow(flows_, number))
        return (time.perf_counter() - start) / flows


def main() -> None:
    """Print the ratios."""
    print(
        "a whole flow of six durable steps, SQLite FULL (microseconds per flow, median of",
        ROUNDS,
        "interleaved rounds)",
    )
    for callers, flows in FLOWS.items():
        runs = {
            "bare floor": (floor, flows),
            "full floor": (full, flows),
            "leanflow": (ours, flows),
            "in memory": (in_memory, flows),
            "naive": (naive, flows // 4),
        }
        seen: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, (run, count) in runs.items():
                with TemporaryDirectory() as folder:
                    seen[name].append(asyncio.run(run(Path(folder) / "flows.db", count, callers)))
        bare, base, own, least, peer = (median(seen[name]) for name in runs)
        budget = f", budget {BUDGET[callers]} x" if BUDGET[callers] else ""
        print(
            f"  {callers:3} callers: floor {base * 1e6:5.0f} (bare {bare * 1e6:4.0f})  leanflow {own * 1e6:5.0f} ="
            f" {own / base:.2f} x the floor ({own / bare:.1f} x the bare{budget}),"
            f" in memory {least * 1e6:5.0f} = {least / base:.2f} x"
            f"  naive {peer * 1e6:5.0f} = {peer / base:.1f} x"
        )


if __name__ == "__main__":
    main()
