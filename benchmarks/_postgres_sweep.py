"""Claiming what is due, a hundred at a time until nothing is."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import asyncpg

from benchmarks._fill import SCOPE
from benchmarks._postgres import URL
from leanflow_adapters.postgres import PostgresStore

__all__ = ["floor_sweep", "our_sweep"]

AT_ONCE = 100
_CLAIM = """UPDATE "{0}".requests SET due_at = now() + interval '1 minute' WHERE id IN (
    SELECT id FROM "{0}".requests WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING id, version, record"""


async def floor_sweep(schema: str) -> float:
    """Return the seconds of the least code."""
    connection = await asyncpg.connect(URL)
    start = time.perf_counter()
    while await connection.fetch(_CLAIM.format(schema), AT_ONCE):
        pass
    seconds = time.perf_counter() - start
    await connection.close()
    return seconds


async def our_sweep(schema: str) -> float:
    """Return the seconds of the store."""
    store = PostgresStore(URL, schema=schema, hints=False)
    await store.open()
    start = time.perf_counter()
    while await store.claim(SCOPE, owner="sweep", now=datetime.now(UTC), lease=60.0, limit=AT_ONCE):
        pass
    seconds = time.perf_counter() - start
    await store.aclose()
    return seconds
