"""A bus that was away while announcements piled up: how a million of them drain, and what the application feels of it.

``python -m benchmarks.drain [--count 1000000] [--store postgres] [--buses nats …]``. An engine begins on a store in
which so many announcements wait, two of each request, and relays them to a broker of its own. Told are its rate and
memory over the first and over the last tenth, what ``health()`` costs while all wait, and how long requests take that
are made beside.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from uuid import uuid4

import attrs

from benchmarks import upkeep
from benchmarks._ours import Lean
from benchmarks._postgres import URL, schema
from benchmarks.waiting import resident
from leanflow import LeanFlow, Policy
from leanflow._request import Scope
from leanflow.ports import Bus, OutboxRow, Sink
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.sqlite import SQLiteStore
from tests.support import lean as support, redis
from tests.torture.brokers import BROKERS
from tests.torture.clients import bus_of

__all__ = ["main"]

COUNT, SEED = 1_000_000, 1000
PAUSE, CALM = 0.02, 3.0  # seconds between requests that are made beside, and for which they are made alone
PATIENCE = 1800.0
SCOPE = Scope(app="default", environment="sandbox", region="uae")
POLICY = Policy(reconcile_every=None)

# Each announcement once more for each number, of a request with another id; those that there are begin with 01.
_MORE = """
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
INSERT INTO leanflow_outbox (scope, sink, key, kind, about, ordered, head, at, due_at, payload)
SELECT scope, sink, replace(key, about, twin), kind, twin, ordered, head, at, due_at, replace(payload, about, twin)
FROM (SELECT *, printf('%03x', 256 + n) || substr(about, 4) AS twin FROM n, leanflow_outbox)
ORDER BY n, number
"""


async def fill(path: Path, count: int) -> None:
    """Make a file in which so many announcements wait for the sink ``bus``: some by the engine, the others of them."""
    store = SQLiteStore(path)
    await store.open()
    await store.register(SCOPE, [Sink(name="bus")])
    flows = LeanFlow(
        store=store, transport=support.Lean(SystemClock()), webhook_secrets=[support.SECRET], workers=0, policy=POLICY
    )
    async with flows:
        for first in range(0, SEED // 2, 50):
            await asyncio.gather(
                *(flows.request("accounts", entity_id=f"e{number}") for number in range(first, first + 50))
            )
    await store.aclose()
    db = sqlite3.connect(path, isolation_level=None)
    if count > SEED:
        db.execute(_MORE, (count // SEED - 1,))
    (made,) = db.execute("SELECT count(*) FROM leanflow_outbox WHERE sink = 'bus'").fetchone()
    assert made == count, made
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


# --- the child, whose memory is looked at ------------------------------------------------------------------------


@attrs.define
class Counted:
    """A bus that notes when and with how many resident bytes each tenth was published."""

    bus: Bus
    count: int
    published: int = 0
    marks: list[tuple[float, int]] = attrs.field(factory=list)
    over: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def name(self) -> str:
        """The bus's."""
        return self.bus.name

    async def open(self) -> None:
        """Open."""
        await self.bus.open()

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Publish and count."""
        if not self.marks:
            self.marks.append((time.perf_counter(), resident()))
        errors = await self.bus.publish(batch)
        self.published += sum(error is None for error in errors)
        while len(self.marks) <= 10 * self.published // self.count and len(self.marks) <= 10:
            self.marks.append((time.perf_counter(), resident()))
        if self.published >= self.count:
            self.over.set()
        return errors

    async def aclose(self) -> None:
        """Close."""
        await self.bus.aclose()


async def drain(store: str, broker: str, at: str, count: int) -> None:
    """Relay all; print the figures."""
    bus = Counted(bus_of(broker, at), count)
    flows = LeanFlow(store=open_store(store), transport=Lean(), webhook_secrets=["benchmark"], policy=POLICY, bus=bus)
    async with flows:
        began = time.perf_counter()
        waiting = (await flows.health()).sinks["bus"].undelivered
        looked = time.perf_counter() - began
        beside = await requests(flows, f"{broker}-beside", bus.over)
        calm = asyncio.Event()
        asyncio.get_running_loop().call_later(CALM, calm.set)
        alone = await requests(flows, f"{broker}-alone", calm)
    marks = bus.marks
    first, last, whole = (count / n / (marks[b][0] - marks[a][0]) for n, a, b in ((10, 0, 1), (10, 9, 10), (1, 0, 10)))
    least, most = marks[1][1] / 2**20, max(size for _, size in marks) / 2**20
    print(f"{broker:<8}{whole:>8,.0f}{first:>9,.0f}{last:>9,.0f}{last / first:>7.2f}{least:>9.0f}{most:>7.0f}", end="")
    print(f"{looked * 1e3:>9.0f} ms of {waiting:,}; {_tail(beside):.0f} ms, alone {_tail(alone):.0f}", flush=True)


async def requests(flows: LeanFlow, name: str, over: asyncio.Event) -> list[float]:
    """Make requests, a little apart, until it is over; return the seconds that each took."""
    seen: list[float] = []
    while not over.is_set():
        start = time.perf_counter()
        await flows.request("accounts", entity_id=f"{name}-{len(seen)}")
        seen.append(time.perf_counter() - start)
        await asyncio.sleep(PAUSE)  # else they alone would fill the loop
    return seen


def _tail(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=100)[-1] * 1e3


# --- the parent, which has the brokers ---------------------------------------------------------------------------


@asynccontextmanager
async def copied(filled: Path, store: str) -> AsyncIterator[str]:
    """Give the URL of a store of this kind that has what the file has."""
    match store:
        case "sqlite":
            with TemporaryDirectory() as folder:
                shutil.copy(filled, Path(folder) / "flows.db")
                yield f"sqlite:///{folder}/flows.db"
        case "postgres":
            async with schema() as name:
                await upkeep.copied(filled, url := f"{URL}?schema={name}")
                yield url
        case _:
            with redis.server() as there:
                await upkeep.copied(filled, there.url)
                yield there.url


async def measure(filled: Path, store: str, broker: str, count: int) -> None:
    """Start a broker; have a child drain what the file has to it."""
    async with copied(filled, store) as url, BROKERS[broker]() as there, asyncio.timeout(PATIENCE):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.drain", "--child", url, broker, there.at, "--count", str(count)
        )
        try:
            assert await child.wait() == 0
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()


def main(*words: str) -> None:
    """Print the table, each row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drain")
    parser.add_argument("--count", type=int, default=COUNT, help=f"announcements, in thousands: {COUNT}")
    parser.add_argument("--store", choices=["sqlite", "postgres", "redis"], default="sqlite")
    parser.add_argument("--buses", nargs="+", choices=[*BROKERS], default=["nats", "redis", "rabbit", "kafka"])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.child:
        store, broker, at = asked.child
        asyncio.run(drain(store, broker, at, asked.count))
        return
    print(f"drain, {asked.count:,} announcements that wait on {asked.store}; load {os.getloadavg()[0]:.1f}")
    print("bus      rows/s first 1/10 last 1/10 ratio MiB at 1/10 most  health(), then the 99th percentile of requests")
    with TemporaryDirectory() as folder:
        filled = Path(folder) / f"{uuid4().hex}.db"
        asyncio.run(fill(filled, asked.count))
        for broker in asked.buses:
            if (why := BROKERS[broker].missing()) is not None:
                print(f"{broker:<8}skipped: {why}", flush=True)
                continue
            asyncio.run(measure(filled, asked.store, broker, asked.count))


if __name__ == "__main__":
    main(*sys.argv[1:])
