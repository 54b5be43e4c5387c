"""What a step costs with a million requests stored, over ten thousand; and the same for the floor."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks._fill import fill
from benchmarks._floor import Floor
from benchmarks._naive import STATES
from benchmarks._ours import engine, many, whole_flow

SMALL, FLOWS, CALLERS, ROUNDS = 10_000, 1500, 64, 3
BUDGET = 1.1


async def fill_floor(path: Path, count: int) -> None:
    """Store so many rows."""
    db = Floor(path)
    for first in range(0, count, 2000):
        await asyncio.gather(*(db.step(f"c{n}", f"{n:012}", "waiting", n) for n in range(first, first + 2000)))
    db.close()


async def floor(path: Path, offset: int) -> float:
    """Return seconds per flow."""
    db = Floor(path)

    async def one(number: int) -> None:
        for step, state in enumerate(STATES):
            await db.step(f"{number}-{step}", f"n{number + offset:012}", state, 1 if state != "fetched" else None)

    start = time.perf_counter()
    await many(FLOWS, CALLERS, one)
    seconds = time.perf_counter() - start
    db.close()
    return seconds / FLOWS


async def ours(path: Path, offset: int) -> float:
    """Return seconds per flow."""
    async with engine(path) as flows:
        start = time.perf_counter()
        await many(FLOWS, CALLERS, lambda number: whole_flow(flows, number + offset))
        return (time.perf_counter() - start) / FLOWS


def main(large: int = 1_000_000) -> None:
    """Print the ratios."""
    seen: dict[tuple[str, int], list[float]] = {}
    with TemporaryDirectory() as folder:
        files = {
            (kind, size): Path(folder) / f"{kind}{size}.db" for kind in ("floor", "leanflow") for size in (SMALL, large)
        }
        for (kind, size), path in files.items():
            later = datetime.now(UTC) + timedelta(days=30)
            asyncio.run(fill_floor(path, size) if kind == "floor" else fill(path, size, later))
        for number in range(ROUNDS):
            for (kind, size), path in files.items():
                copy = path.with_suffix(f".{number}")
                shutil.copy(path, copy)
                run = floor if kind == "floor" else ours
                seen.setdefault((kind, size), []).append(asyncio.run(run(copy, number * FLOWS)))
                copy.unlink()
    growth = {}
    print(
        f"step cost at {large:,} stored requests over {SMALL:,}, {CALLERS} callers,"
        f" median of {ROUNDS} interleaved rounds"
    )
    for kind in ("floor", "leanflow"):
        few, lots = (median(seen[kind, size]) for size in (SMALL, large))
        growth[kind] = lots / few
        print(f"  {kind:8} {few / 6 * 1e6:6.1f} -> {lots / 6 * 1e6:6.1f} us a step = {growth[kind]:.2f} x")
    print(f"  leanflow's growth over the floor's: {growth['leanflow'] / growth['floor']:.2f} x (budget {BUDGET} x)")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:2]))
