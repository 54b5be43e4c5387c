"""The tables, by version. ``PRAGMA user_version`` says which a file has; each migration is one transaction.

All times are integers: microseconds since 1970, UTC. All tables begin with ``leanflow_``, because the file may be the
application's own. `scope` is a digest of application, environment and region, spelled out in ``leanflow_scopes``.
Requests, history, pages and outbox keep rowids: their rows are large, and a table without rowids carries whole rows in
its inner pages.
"""

from __future__ import annotations

__all__ = ["MIGRATIONS", "VERSION"]

_REQUESTS = """
CREATE TABLE leanflow_requests (
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    scope       INTEGER NOT NULL,
    state       TEXT NOT NULL,
    version     INTEGER NOT NULL,
    call_no     INTEGER NOT NULL,
    owner       TEXT,
    lease_until INTEGER,
    due_at      INTEGER,
    ended_at    INTEGER,
    held        TEXT,
    failure     TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    resource    TEXT NOT NULL,
    entity_id   TEXT NOT NULL,
    customer_id TEXT,
    reference   TEXT,
    fingerprint TEXT,
    record      TEXT NOT NULL
)"""

_OUTBOX = """
CREATE TABLE leanflow_outbox (
    number    INTEGER PRIMARY KEY,
    scope     INTEGER NOT NULL,
    sink      TEXT NOT NULL,
    key       TEXT NOT NULL,
    kind      TEXT NOT NULL,
    about     TEXT,
    ordered   INTEGER NOT NULL,
    head      INTEGER NOT NULL,
    set_aside INTEGER NOT NULL DEFAULT 0,
    tries     INTEGER NOT NULL DEFAULT 0,
    at        INTEGER NOT NULL,
    due_at    INTEGER NOT NULL,
    owner     TEXT,
    error     TEXT,
    payload   TEXT NOT NULL
)"""

_FIRST = (
    """CREATE TABLE leanflow_scopes (
        scope INTEGER PRIMARY KEY, app TEXT NOT NULL, environment TEXT NOT NULL, region TEXT NOT NULL
    )""",
    _REQUESTS,
    # One index for the sweep, one for the leases that are out, and one live request per fingerprint: ended requests
    # are in none of them.
    "CREATE INDEX leanflow_requests_due ON leanflow_requests (scope, due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX leanflow_requests_leased ON leanflow_requests (scope, lease_until) WHERE owner IS NOT NULL",
    "CREATE UNIQUE INDEX leanflow_requests_live ON leanflow_requests (scope, fingerprint) WHERE ended_at IS NULL",
    "CREATE INDEX leanflow_requests_ended ON leanflow_requests (scope, ended_at, state) WHERE ended_at IS NOT NULL",
    "CREATE INDEX leanflow_requests_entity ON leanflow_requests (scope, entity_id, id)",
    # An entity's live requests are asked for at each reconnect; it may have thousands that ended.
    "CREATE INDEX leanflow_requests_company ON leanflow_requests (scope, entity_id, id) WHERE ended_at IS NULL",
    """CREATE INDEX leanflow_requests_customer ON leanflow_requests (scope, customer_id, id)
        WHERE customer_id IS NOT NULL""",
    "CREATE INDEX leanflow_requests_reference ON leanflow_requests (scope, reference, id) WHERE reference IS NOT NULL",
    "CREATE INDEX leanflow_requests_failure ON leanflow_requests (scope, failure, id) WHERE failure IS NOT NULL",
    "CREATE INDEX leanflow_requests_held ON leanflow_requests (scope, held, id) WHERE held IS NOT NULL",
    """CREATE TABLE leanflow_history (
        number INTEGER PRIMARY KEY, request_id TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL,
        at INTEGER NOT NULL, tag TEXT NOT NULL, trigger TEXT, from_state TEXT, to_state TEXT NOT NULL, declined TEXT,
        event TEXT NOT NULL
    )""",
    "CREATE INDEX leanflow_history_request ON leanflow_history (request_id)",
    """CREATE TABLE leanflow_inbox (
        scope INTEGER NOT NULL, key TEXT NOT NULL, tag TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (scope, key)
    ) WITHOUT ROWID""",
    """CREATE TABLE leanflow_parked (
        scope INTEGER NOT NULL, key TEXT NOT NULL, tag TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT, value TEXT,
        request_id TEXT, due_at INTEGER, expires_at INTEGER NOT NULL, offered_at INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0, raw BLOB NOT NULL, PRIMARY KEY (scope, key)
    )""",
    "CREATE INDEX leanflow_parked_named ON leanflow_parked (scope, kind, value) WHERE kind IS NOT NULL",
    "CREATE INDEX leanflow_parked_early ON leanflow_parked (scope, request_id) WHERE request_id IS NOT NULL",
    "CREATE INDEX leanflow_parked_offered ON leanflow_parked (scope, offered_at)",
    """CREATE TABLE leanflow_ids (
        scope INTEGER NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, request_id TEXT NOT NULL,
        PRIMARY KEY (scope, kind, value, request_id)
    ) WITHOUT ROWID""",
    # The caller's keys: of requests that they made, and of live twins that were returned instead.
    """CREATE TABLE leanflow_keys (
        scope INTEGER NOT NULL, key TEXT NOT NULL, request_id TEXT NOT NULL, PRIMARY KEY (scope, key)
    ) WITHOUT ROWID""",
    "CREATE INDEX leanflow_keys_request ON leanflow_keys (request_id)",
    "CREATE INDEX leanflow_ids_request ON leanflow_ids (request_id)",
    """CREATE TABLE leanflow_pages (
        request_id TEXT NOT NULL, page INTEGER NOT NULL, correlation_id TEXT, refreshed_at INTEGER, raw BLOB NOT NULL,
        PRIMARY KEY (request_id, page)
    )""",
    """CREATE TABLE leanflow_sinks (
        scope INTEGER NOT NULL, name TEXT NOT NULL, filter TEXT NOT NULL, PRIMARY KEY (scope, name)
    )""",
    _OUTBOX,
    "CREATE UNIQUE INDEX leanflow_outbox_key ON leanflow_outbox (scope, sink, key)",
    "CREATE INDEX leanflow_outbox_about ON leanflow_outbox (about, sink) WHERE about IS NOT NULL",
    # With `at`, so that how long they have waited is told without reading the rows, of which there may be a million.
    "CREATE INDEX leanflow_outbox_head ON leanflow_outbox (scope, sink, due_at, at) WHERE head = 1",
    "CREATE INDEX leanflow_outbox_aside ON leanflow_outbox (scope, number, sink) WHERE set_aside = 1",
    """CREATE TABLE leanflow_tombstones (
        scope INTEGER NOT NULL, digest BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (scope, digest)
    ) WITHOUT ROWID""",
    """CREATE TABLE leanflow_notes (
        scope INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (scope, name)
    )""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
"""The n-th, counted from 1, takes a file from version n - 1 to version n. Never change one that was released."""

VERSION = len(MIGRATIONS)
"""The version that this leanflow writes."""
