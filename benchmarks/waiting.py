"""A million waiting requests: memory, time to the first 200 after a start, and expiring them all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._fill import fill
from benchmarks._ours import engine, webhook
from leanflow import Policy, State


def resident() -> int:
    """Return this process's resident bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def start(path: Path) -> None:
    """Start an engine on the file and take one webhook; print milliseconds and resident kilobytes."""
    began = time.perf_counter()
    async with engine(path) as flows:
        reply = await flows.receive(*webhook("first", "results.ready", id="nobody"))
        seconds = time.perf_counter() - began
        assert reply.status == 200
        await asyncio.sleep(2.5)  # two polls: what waits must not be loaded by them either
        print(f"{seconds * 1e3:.1f} {resident() // 1024}")


async def expire(path: Path, count: int) -> float:
    """Return the seconds in which all of them expire."""
    began = time.perf_counter()
    async with engine(path, policy=Policy(calls=512)) as flows:
        while (await flows.counts())[State.expired] < count:  # noqa: ASYNC110 - it is what is measured
            await asyncio.sleep(0.5)
    return time.perf_counter() - began


def child(path: Path) -> tuple[float, int]:
    """Start in a process of its own."""
    out = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "benchmarks.waiting", "--start", str(path)], check=True, capture_output=True, text=True
    )
    millis, kilobytes = out.stdout.split()
    return float(millis), int(kilobytes)


def main(count: int = 1_000_000) -> None:
    """Print the figures."""
    now = datetime.now(UTC)
    with TemporaryDirectory() as folder:
        empty, full = Path(folder) / "empty.db", Path(folder) / "full.db"
        asyncio.run(fill(empty, 1, now + timedelta(days=30)))
        asyncio.run(fill(full, count, now + timedelta(days=30)))
        (few_ms, few_kb), (many_ms, many_kb) = child(empty), child(full)
        print(f"{count:,} waiting requests on SQLite")
        print(f"  first 200 after start: {many_ms:.0f} ms (with one waiting {few_ms:.0f}; budget 1000)")
        print(
            f"  resident: {many_kb / 1024:.1f} MB (with one waiting {few_kb / 1024:.1f}):"
            f" {(many_kb - few_kb) * 1024 / count:.1f} bytes each"
        )
    with TemporaryDirectory() as folder:
        due = Path(folder) / "due.db"
        asyncio.run(fill(due, count, now - timedelta(hours=1)))
        seconds = asyncio.run(expire(due, count))
        print(
            f"  all {count:,} due: expired in {seconds:.1f} s, {count / seconds:,.0f}/s, each by its own durable step"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--start"]:
        asyncio.run(start(Path(sys.argv[2])))
    else:
        main(*(int(a) for a in sys.argv[1:2]))
