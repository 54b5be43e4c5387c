"""The floor on Postgres: the least code over asyncpg with the same durability that writes the same rows.

Steps of all callers that are waiting go in one statement with writing CTEs: compare-and-set the rows of the requests
whose event was not seen, and for those that won an inbox row, a history row, ids and a page. Callers know the version
and bring record and event ready made; nothing is loaded, checked, announced, leased or tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from uuid import UUID, uuid4

import asyncpg

from benchmarks._floor import EVENT, RECORD
from benchmarks._naive import STATES
from benchmarks._ours import OK
from benchmarks._postgres import URL, do

__all__ = ["Floor", "floor_schema", "request_id", "whole_flow"]

BATCH, WIDTH = 64, 2  # steps in one statement, statements under way: as the store has them

TABLES = """
CREATE TABLE requests (id uuid PRIMARY KEY, state text NOT NULL, version int NOT NULL, due_at timestamptz,
    entity text NOT NULL, fingerprint text, record text NOT NULL) WITH (fillfactor = 80);
CREATE INDEX due ON requests (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX entity ON requests (entity);
CREATE UNIQUE INDEX live ON requests (fingerprint) WHERE fingerprint IS NOT NULL;
CREATE TABLE inbox (key text PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE history (request uuid NOT NULL, version int NOT NULL, key text NOT NULL, at timestamptz NOT NULL,
    state text NOT NULL, event text NOT NULL, PRIMARY KEY (request, version));
CREATE TABLE ids (value text PRIMARY KEY, request uuid NOT NULL);
CREATE TABLE pages (request uuid PRIMARY KEY, raw bytea NOT NULL);
"""
_STEPS = """WITH s AS (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[],
        $8::text[], $9::bytea[]) AS s (id, version, key, state, due, record, event, named, page)),
made AS (
    INSERT INTO {0}.requests (id, state, version, due_at, entity, fingerprint, record)
    SELECT id, state, 0, due, id::text, id::text, record FROM s WHERE version = 0
    ON CONFLICT DO NOTHING RETURNING id),
moved AS (
    UPDATE {0}.requests r SET state = s.state, version = s.version, due_at = s.due, record = s.record,
        fingerprint = CASE WHEN s.state = 'fetched' THEN NULL ELSE r.fingerprint END
    FROM s WHERE r.id = s.id AND r.version = s.version - 1
        AND NOT EXISTS (SELECT FROM {0}.inbox i WHERE i.key = s.key) RETURNING r.id),
won AS (SELECT s.* FROM s JOIN (SELECT id FROM made UNION ALL SELECT id FROM moved) w ON w.id = s.id),
i AS (INSERT INTO {0}.inbox SELECT key, now() FROM won WHERE version > 0),
h AS (INSERT INTO {0}.history SELECT id, version, key, now(), state, event FROM won),
n AS (INSERT INTO {0}.ids SELECT named, id FROM won WHERE named IS NOT NULL),
p AS (INSERT INTO {0}.pages SELECT id, page FROM won WHERE page IS NOT NULL)
SELECT id FROM won"""


class Floor:
    """The hand-written minimum."""

    def __init__(self, schema: str) -> None:
        self._sql = _STEPS.format(f'"{schema}"')
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool: asyncpg.Pool

    async def __aenter__(self) -> Self:
        """Connect."""
        self._pool = await asyncpg.create_pool(URL, min_size=WIDTH, max_size=WIDTH, reset=_nothing)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._pool.close()

    async def step(self, request: UUID, version: int, key: str, due: Any) -> None:
        """Commit one step."""
        state = STATES[version]
        named = f"lean-{request}" if state == "reconnect_required" else None
        page = OK if state == "fetched" else None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((request, version, key, state, due, RECORD, EVENT, named, page), done))
        if len(self._tasks) < WIDTH:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await done

    async def _work(self) -> None:
        while batch := self._waiting[:BATCH]:
            del self._waiting[:BATCH]
            async with self._pool.acquire() as connection:
                won = await connection.fetch(self._sql, *zip(*(row for row, _ in batch), strict=True))
            assert len(won) == len(batch)
            for _, done in batch:
                done.set_result(None)


async def _nothing(_: Any) -> None:
    """Reset nothing, as the store does."""


@asynccontextmanager
async def floor_schema() -> AsyncIterator[str]:
    """Give the name of a schema with the floor's tables."""
    name = f"floor_{uuid4().hex}"
    connection = await asyncpg.connect(URL)
    await connection.execute(f'CREATE SCHEMA "{name}"; SET search_path TO "{name}"; {TABLES}')
    await connection.close()
    try:
        yield name
    finally:
        await do(f'DROP SCHEMA "{name}" CASCADE')


def request_id(number: int) -> UUID:
    """Return an id; they are in order, as leanflow's are."""
    return UUID(f"019b8a00-0000-7000-8000-{number:012x}")


async def whole_flow(floor: Floor, number: int, due: Any) -> None:
    """Six durable steps."""
    request = request_id(number)
    for version, state in enumerate(STATES):
        await floor.step(request, version, f"{request}-{version}", None if state == "fetched" else due)
