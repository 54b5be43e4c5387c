"""What steps feel of a purge: p50 and p99 while 100,000 ended requests are deleted, over those without one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import asyncpg

from benchmarks._fill import SCOPE, waiting
from benchmarks._ours import SECRET, Lean, webhook
from leanflow import LeanFlow, Resource
from leanflow.ports import Store
from leanflow_adapters._records import record_of, scope_number
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.sqlite import SQLiteStore

COUNT, CALLERS, CALM = 100_000, 8, 10.0
POSTGRES = os.environ.get("LEANFLOW_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")
OLD = datetime(2025, 1, 1, tzinfo=UTC)
BODY = b"x" * 4000  # a page of results
RECORD = record_of(waiting(0, OLD, OLD))

# Each request with six history rows, six inbox rows, one id and one page, as a flow leaves them.
SQLITE = (
    """CREATE TEMP TABLE n AS
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :count)
        SELECT n, '00000000-0000-7000-8000-' || printf('%012x', n) AS id FROM n""",
    """INSERT INTO leanflow_requests (id, scope, state, version, call_no, ended_at, created_at, updated_at, resource,
        entity_id, record) SELECT id, :scope, 'fetched', 5, 2, :at, :at, :at, 'accounts', 'old' || n, :record FROM n""",
    """INSERT INTO leanflow_history SELECT NULL, id, k, 'event:' || n || '-' || k, :at, 'x', 'x', 'x', 'x', NULL, '{}'
        FROM n, (SELECT 0 AS k UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5)""",
    "INSERT INTO leanflow_inbox SELECT :scope, key, 'x', :at FROM leanflow_history WHERE key LIKE 'event:%'",
    "INSERT INTO leanflow_ids SELECT :scope, 'results', 'old-' || n, id FROM n",
    "INSERT INTO leanflow_pages SELECT id, 0, NULL, NULL, :body FROM n",
)
PLPGSQL = (
    """INSERT INTO {0}.requests (id, scope, state, version, call_no, ended_at, created_at, updated_at, resource,
        entity_id, record) SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $2::bigint, 'fetched',
        5, 2, $3::timestamptz, $3, $3, 'accounts', 'old' || n, $4::text FROM generate_series(1, $1::int) AS n
        WHERE $5::bytea IS NOT NULL""",
    """INSERT INTO {0}.history (request_id, version, key, at, tag, to_state, event)
        SELECT id, k, 'event:' || id || k, created_at, 'x', 'x', '{{}}'
        FROM {0}.requests, generate_series(0, 5) AS k""",
    """INSERT INTO {0}.inbox SELECT r.scope, h.key, 'x', h.at
        FROM {0}.history h JOIN {0}.requests r ON r.id = h.request_id""",
    "INSERT INTO {0}.ids SELECT scope, 'results', entity_id, id FROM {0}.requests",
    """INSERT INTO {0}.pages SELECT id, 0, NULL, NULL, convert_to(repeat(md5(id::text), 125), 'UTF8')
        FROM {0}.requests""",
    "ANALYZE",
)


async def fill_sqlite(path: Path, count: int) -> Store:
    """Return a store on a file with so many ended requests."""
    store = SQLiteStore(path)
    await store.open()
    await store.aclose()
    with sqlite3.connect(path) as db:
        at = int(OLD.timestamp() * 1_000_000)
        values = {"count": count, "scope": scope_number(SCOPE), "at": at, "record": RECORD, "body": BODY}
        for sql in SQLITE:
            db.execute(sql, values)
    db.close()
    return store


async def fill_postgres(schema: str, count: int) -> Store:
    """Return a store in a schema with so many ended requests."""
    store = PostgresStore(POSTGRES, schema=schema, migrate=True)
    await store.open()
    await store.aclose()
    db = await asyncpg.connect(POSTGRES)
    await db.execute(f'SET search_path TO "{schema}"')
    for number, sql in enumerate(PLPGSQL):
        arguments = (count, scope_number(SCOPE), OLD, RECORD, BODY) if number == 0 else ()
        await db.execute(sql.format(f'"{schema}"'), *arguments)
    await db.close()
    return store


async def load(flows: LeanFlow, until: asyncio.Event, seen: list[float], numbers: Any) -> None:
    """Send flows, one step after another, a little apart; note how long each took."""

    async def timed(step: Awaitable[Any]) -> Any:
        start = time.perf_counter()
        done = await step
        seen.append(time.perf_counter() - start)
        await asyncio.sleep(0.005)
        return done

    while not until.is_set():
        n = next(numbers)
        request = await timed(flows.request(Resource.accounts, entity_id=f"new{n}"))
        prompt = await timed(flows.prompt(request.id))
        await timed(
            flows.receive(*webhook(f"{n}a", "entity.reconnected", id=f"new{n}", reconnect_id=prompt.reconnect_id))
        )
        await timed(flows.receive(*webhook(f"{n}b", "results.ready", id=prompt.reconnect_id)))


async def measure(store: Store) -> tuple[list[float], list[float], float]:
    """Return how long steps took without a purge and beside one, and the seconds that it took."""
    calm: list[float] = []
    busy: list[float] = []
    numbers = iter(range(10**9))
    flows = LeanFlow(store=store, transport=Lean(), webhook_secrets=[SECRET])
    async with flows:
        async with Loaded(flows, calm, numbers):
            await asyncio.sleep(CALM)
        start = time.perf_counter()
        async with Loaded(flows, busy, numbers):
            gone = await flows.purge(older_than=timedelta(days=30))
            seconds = time.perf_counter() - start
        async with Loaded(flows, calm, numbers):
            await asyncio.sleep(CALM)
        assert gone == COUNT
    return calm, busy, seconds


class Loaded:
    """A number of callers at work inside the block."""

    def __init__(self, flows: LeanFlow, seen: list[float], numbers: Any) -> None:
        self._over = asyncio.Event()
        self._work = [load(flows, self._over, seen, numbers) for _ in range(CALLERS)]

    async def __aenter__(self) -> None:
        """Begin."""
        self._tasks = [asyncio.ensure_future(work) for work in self._work]

    async def __aexit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        await asyncio.gather(*self._tasks)


async def both() -> None:
    """Print the figures of both stores."""
    with TemporaryDirectory() as folder:
        show("SQLite", *await measure(await fill_sqlite(Path(folder) / "flows.db", COUNT)))
    schema = f"leanflow_{uuid4().hex}"
    try:
        show("Postgres", *await measure(await fill_postgres(schema, COUNT)))
    except OSError as error:
        print(f"Postgres: none at LEANFLOW_POSTGRES_URL ({type(error).__name__})")
    else:
        db = await asyncpg.connect(POSTGRES)
        await db.execute(f'DROP SCHEMA "{schema}" CASCADE')
        await db.close()


def show(name: str, calm: list[float], busy: list[float], seconds: float) -> None:
    """Print one line."""
    print(f"{name}: purged {COUNT:,} in {seconds:.1f} s; steps: {len(calm):,} without, {len(busy):,} beside it")
    before, after = (quantiles(each, n=100) for each in (calm, busy))
    for percent in (50, 90, 99):
        without, beside = before[percent - 1] * 1e3, after[percent - 1] * 1e3
        print(f"  p{percent} {without:7.1f} ms without, {beside:7.1f} ms beside it: {beside / without:4.2f} x")
    print(f"  the longest {max(calm) * 1e3:6.0f} ms without, {max(busy) * 1e3:6.0f} ms beside it")


def main() -> None:
    """Print how steps fare."""
    print(f"steps of {CALLERS} callers while {COUNT:,} ended requests are purged; load {os.getloadavg()[0]:.1f}")
    asyncio.run(both())


if __name__ == "__main__":
    COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    main()
