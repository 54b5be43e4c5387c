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
_CLAIM = """UPDATE "{0}".requests SET due_at = now() + interval '1 day' WHERE id IN (
    SELECT id FROM "{0}".requests WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING id, version, record"""
_FINISH = """UPDATE "{0}".requests SET due_at = now() + interval '1 day', owner = NULL, lease_until = NULL
    WHERE id = ANY ($1::uuid[])"""
_FINISH_ALL = """UPDATE "{0}".requests SET due_at = now() + interval '1 day', owner = NULL, lease_until = NULL
    WHERE owner IS NOT NULL"""


async def floor_sweep(schema: str) -> float:
    """Return the seconds of the least code."""
    connection = await asyncpg.connect(URL)
    start = time.perf_counter()
    while await connection.fetch(_CLAIM.format(schema), AT_ONCE):
        pass
    seconds = time.perf_counter() - start
    await connection.close()
    return seconds


async def our_sweep(schema: str, *, finishes: bool) -> float:
    """Return the seconds that the store's claims take.

    Args:
        schema: where the requests are.
        finishes: whether what was claimed is put off before the next claim, as its steps do in production: outside the
            time that is measured. Else all of it stays under lease, and each claim passes over that.
    """
    store = PostgresStore(URL, schema=schema, hints=False)
    await store.open()
    connection = await asyncpg.connect(URL)
    seconds, claimed = 0.0, True
    while claimed:
        start = time.perf_counter()
        found = await store.claim(SCOPE, owner="sweep", now=datetime.now(UTC), lease=60.0, limit=AT_ONCE)
        seconds += time.perf_counter() - start
        claimed = bool(found)
        if finishes:
            done = await connection.execute(_FINISH.format(schema), [one.request.id for one in found])
            assert done == f"UPDATE {len(found)}"  # else all of it would stay under lease here, too
    await connection.execute(_FINISH_ALL.format(schema))
    await connection.close()
    await store.aclose()
    return seconds
