"""A schema full of rows, as a deployment has them after a while: inserted by SQL, and analysed."""

from __future__ import annotations

import asyncio

import asyncpg

from leanflow.testing.conformance._samples import SCOPE, START, a_request
from leanflow_adapters._records import record_of, scope_number
from tests.support.postgres import URL

__all__ = ["COUNT", "DUE", "LIVE", "SCOPE", "fill", "live_id"]

COUNT = 20_000
LIVE = 2_000  # the youngest of them
DUE = 40  # the oldest of those

_REQUESTS = """INSERT INTO "{0}".requests (id, scope, state, version, call_no, due_at, ended_at, created_at, updated_at,
        resource, entity_id, customer_id, reference, fingerprint, failure, held, owner, lease_until, record)
    SELECT id, $1, CASE WHEN live THEN 'awaiting_user' WHEN n % 10 = 0 THEN 'failed' ELSE 'fetched' END, 5, 2,
        CASE WHEN live THEN at + interval '30 days' * (n > $3::int - $4::int + $5::int)::int END,
        CASE WHEN NOT live THEN at END, at, at, 'accounts', 'entity-' || n / 2, 'customer-' || n / 4,
        'reference-' || n / 2, 'fingerprint-' || n, CASE WHEN NOT live AND n % 10 = 0 THEN 'CODE_' || n % 30 END,
        CASE WHEN live AND n % 100 = 0 THEN 'DISABLED_BY_LEAN' END,
        CASE WHEN live AND n % 50 = 0 THEN 'somebody' END,
        CASE WHEN live AND n % 50 = 0 THEN at + interval '60 days' END,
        replace($6, '019b8a00-0000-7000-8000-000000000000', id::text)
    FROM (SELECT n, n > $3::int - $4::int AS live, $2::timestamptz - interval '1 minute' * ($3::int - n) AS at,
            ('019b8a00-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid AS id
        FROM generate_series(1, $3::int) AS n) AS made"""
_REST = (
    """INSERT INTO "{0}".history (request_id, version, key, at, tag, from_state, to_state, event)
    SELECT id, k, 'event:' || id || k, created_at, 'results_ready', 'requested', 'requested', '{{"event":"x"}}'
    FROM "{0}".requests, generate_series(0, 2) AS k ORDER BY id, k""",
    """INSERT INTO "{0}".inbox SELECT r.scope, h.key, h.tag, h.at
    FROM "{0}".history h JOIN "{0}".requests r ON r.id = h.request_id ORDER BY h.number""",
    """INSERT INTO "{0}".ids SELECT scope, 'results', 'r-' || id, id FROM "{0}".requests""",
    """INSERT INTO "{0}".keys SELECT scope, 'caller-' || id, id FROM "{0}".requests""",
    """INSERT INTO "{0}".pages SELECT id, 0, NULL, NULL, convert_to(repeat(md5(id::text), 20), 'UTF8')
    FROM "{0}".requests WHERE ended_at IS NOT NULL""",
    """INSERT INTO "{0}".tombstones SELECT scope, sha256(convert_to('gone:' || id, 'UTF8')), created_at
    FROM "{0}".requests""",
    """INSERT INTO "{0}".parked (scope, key, tag, at, kind, value, request_id, due_at, expires_at, offered_at, raw)
    SELECT scope, 'parked:' || id, 'results_ready', created_at, CASE WHEN named THEN 'results' END,
        CASE WHEN named THEN 'nobody-' || id END, CASE WHEN NOT named THEN id END, created_at,
        created_at + interval '30 days', created_at + interval '332 hours', 'x'
    FROM (SELECT *, ascii(right(id::text, 1)) % 2 = 0 AS named FROM "{0}".requests) AS r""",
    """INSERT INTO "{0}".sinks SELECT {1}, sink, NULL, NULL, '{{}}', true FROM unnest(ARRAY['all', 'every']) AS sink""",
    """INSERT INTO "{0}".outbox (scope, sink, key, kind, about, ordered, set_aside, at, due_at, payload)
    SELECT scope, 'all', 'told:' || id, 'change', id, true, ascii(right(id::text, 2)) = 49, created_at, created_at,
        '{{}}'
    FROM "{0}".requests ORDER BY id""",
    """INSERT INTO "{0}".outbox (scope, sink, key, kind, about, ordered, behind, at, due_at, payload)
    SELECT scope, sink, 'then:' || about, kind, about, true, number, at, due_at, '{{}}' FROM "{0}".outbox
    WHERE NOT set_aside ORDER BY number""",
    """INSERT INTO "{0}".scopes VALUES ({1}, 'app-1', 'sandbox', 'uae')""",
)
_UNMARKED = """SELECT relname FROM pg_class
    WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' AND relallvisible < relpages"""
_PATIENCE = 60.0  # seconds


def live_id(number: int) -> str:
    """Return the id of a live request that is not leased."""
    return a_request(COUNT - LIVE + number).id


async def fill(schema: str) -> None:
    """Store `COUNT` requests with all that belongs to them, `LIVE` of them live, `DUE` of those due at `START`."""
    connection = await asyncpg.connect(URL)
    try:
        record = record_of(a_request(0, version=5))
        await connection.execute(_REQUESTS.format(schema), scope_number(SCOPE), START, COUNT, LIVE, DUE, record)
        for sql in _REST:
            await connection.execute(sql.format(schema, scope_number(SCOPE)))
        await _vacuum(connection, schema)
    finally:
        await connection.close()


async def _vacuum(connection: asyncpg.Connection, schema: str) -> None:
    """Analyse, and mark every page as visible to all, on which plans depend.

    While anybody in this database holds a snapshot from before the rows, as a test beside this one does for a moment,
    Postgres marks none: then again.
    """
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    async with asyncio.timeout(_PATIENCE):
        while tables:
            for (table,) in tables:
                await connection.execute(f'VACUUM ANALYZE "{schema}".{table}')
            tables = await connection.fetch(_UNMARKED, schema)
