"""A file with many requests that ended long ago, each with what a flow leaves, but for half of its history.

The n-th request has an entity of its own, ``e<n>``; a hundredth of them share a customer. A tenth as many more are of
another application: on those the floors work.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs

from benchmarks._fill import waiting
from leanflow import State
from leanflow._request import Scope
from leanflow_adapters._records import record_of, scope_number
from leanflow_adapters.sqlite import SQLiteStore

__all__ = ["BODY", "FLOOR", "OLD", "SCOPE", "STEPS", "ended", "entity", "fill", "id_of", "key_of", "result_of"]

SCOPE, FLOOR = (Scope(app=app, environment="sandbox", region="uae") for app in ("upkeep", "floor"))
OLD = datetime(2025, 1, 1, tzinfo=UTC)
BODY = b'{"status": "OK", "data": {"accounts": [%s]}}' % b", ".join([b'{"account_id": "a", "name": "b"}'] * 50)
STEPS = 3
EVENT = '{"type":"answered","at":"2025-01-01T00:00:00+00:00","results_id":"0123456789abcdef0123456789abcdef"}'

_NUMBERS = """CREATE TEMP TABLE n AS
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :count + :count / 10)
    SELECT n, '00000000-0000-7000-8000-' || printf('%012x', n) AS id, :at + n * 1000000 AS at,
    CASE WHEN n <= :count THEN :scope ELSE :floor END AS scope, 'c' || ((n - 1) / (:count / 100)) AS customer FROM n"""
_ROWS = (
    """INSERT INTO leanflow_requests (id, scope, state, version, call_no, ended_at, created_at, updated_at, resource,
        entity_id, customer_id, record)
        SELECT id, scope, 'fetched', 5, 2, at, at, at, 'accounts', 'e' || n, customer,
        replace(replace(replace(:record, :id, id), '"old0"', '"e' || n || '"'), '"c"', '"' || customer || '"')
        FROM n""",
    """INSERT INTO leanflow_history (request_id, version, key, at, tag, to_state, event)
        SELECT n.id, value, 'event:' || n || '-' || value, at, 'answered', 'fetched', :event
        FROM n, json_each('[0, 1, 2]')""",
    """INSERT INTO leanflow_inbox SELECT scope, 'event:' || n || '-' || value, 'answered', at
        FROM n, json_each('[0, 1, 2]') ORDER BY 1, 2""",
    "INSERT INTO leanflow_ids SELECT scope, 'results', 'r' || n, id FROM n ORDER BY 1, 3",
    "INSERT INTO leanflow_pages SELECT id, 0, NULL, NULL, :body FROM n",
    """INSERT INTO leanflow_parked (scope, key, tag, at, kind, value, expires_at, offered_at, raw)
        SELECT scope, 'parked:' || n, 'entity.reconnected', at, 'reconnect', 'nobody' || n, :later, :later,
        CAST('{"type": "entity.reconnected", "payload": {"id": "nobody", "reconnect_id": "nobody' || n || '"}}' AS BLOB)
        FROM n WHERE n % 100 = 0""",
)
_SCOPES = "INSERT INTO leanflow_scopes VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"


def id_of(number: int) -> str:
    """Return the id of the n-th request."""
    return f"00000000-0000-7000-8000-{number:012x}"


def entity(number: int) -> str:
    """Return its entity."""
    return f"e{number}"


def key_of(number: int, step: int) -> str:
    """Return the inbox key of one of its events."""
    return f"event:{number}-{step}"


def result_of(number: int) -> str:
    """Return its results id."""
    return f"r{number}"


def ended(number: int) -> datetime:
    """Return when it ended."""
    return OLD + timedelta(seconds=number)


async def fill(path: Path, count: int) -> None:
    """Store so many, and a tenth of that for the floors."""
    store = SQLiteStore(path)
    await store.open()
    await store.aclose()
    one = attrs.evolve(waiting(0, OLD, OLD), customer_id="c", state=State.fetched, version=5, due_at=None)
    later = datetime.now(UTC) + timedelta(days=30)
    values = {
        "count": count, "scope": scope_number(SCOPE), "floor": scope_number(FLOOR), "record": record_of(one),
        "id": one.id, "event": EVENT, "body": BODY, "at": _micros(OLD), "later": _micros(later),
    }  # fmt: skip
    db = sqlite3.connect(path)
    with db:
        for scope in (SCOPE, FLOOR):
            db.execute(_SCOPES, (scope_number(scope), scope.app, scope.environment, scope.region))
        for sql in (_NUMBERS, *_ROWS):
            db.execute(sql, values)
    db.execute("ANALYZE")
    db.execute("DROP TABLE temp.n")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000
