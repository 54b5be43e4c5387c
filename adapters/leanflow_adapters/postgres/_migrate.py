"""The tables, by version: numbered files of SQL, each applied in one transaction and written down."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import asyncpg

from leanflow._sites import site
from leanflow.errors import StoreUnavailable
from leanflow_adapters.postgres._connection import named

__all__ = ["VERSION", "found_version", "holders", "migrate", "statements"]

_FILES = ("0001_tables.sql", "0002_functions.sql")
"""The n-th, counted from 1, takes a database from version n - 1 to version n. Never change one that was released."""

VERSION = len(_FILES)
"""The version that this leanflow needs. A newer one does: migrations leave what the release before them uses."""

_BEGIN = """CREATE SCHEMA IF NOT EXISTS "leanflow";
CREATE TABLE IF NOT EXISTS "leanflow".migrations (version integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
"""
_DONE = 'INSERT INTO "leanflow".migrations (version) VALUES ({});\n'
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('leanflow:' || $1, 0))"
_TURN = "60s"  # for the migrations of other processes
_PATIENCE = "5s"  # for a table: whoever comes after a migration that waits, waits behind it
_HOLDERS = """SELECT DISTINCT a.pid, a.application_name, a.state, now() - a.xact_start AS since
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_class c ON c.oid = l.relation LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.granted AND a.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND (n.nspname = $1
        OR l.locktype = 'advisory' AND l.objsubid = 1
            AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('leanflow:' || $1, 0))
    ORDER BY a.pid"""
_FOUND = 'SELECT coalesce(max(version), 0) AS version FROM "leanflow".migrations'
# Asked of the tables of the catalogue: to_regclass answers from a cache, which waiting for the lock does not refresh.
_IS_THERE = """SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = 'migrations')"""


def statements(schema: str, found: int = 0) -> Sequence[str]:
    """Return the SQL that takes a schema from version `found` to `VERSION`, one text per version."""
    beginning = named(_BEGIN.replace('"leanflow";', '"leanflow". ;'), schema).replace(". ;", ";")
    made = []
    for number, name in enumerate(_FILES[found:], start=found + 1):
        text = files(__package__).joinpath("migrations", name).read_text(encoding="utf-8")
        made.append((beginning if number == 1 else "") + named(text + _DONE.format(number), schema))
    return made


async def found_version(connection: Any, schema: str) -> int:
    """Return the version of a schema's tables; 0: there are none."""
    if not await connection.fetchval(_IS_THERE, schema):
        return 0
    version: int = await connection.fetchval(named(_FOUND, schema))
    return version


async def migrate(connection: Any, schema: str) -> int:
    """Bring the tables up to date; return the version that was found. Processes that start at once take turns.

    Raises:
        StoreUnavailable: others hold what it needs; it says who, and that nothing was changed.
    """
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_TURN}'")
            await connection.fetchval(_LOCK, schema)
            await connection.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
            found = await found_version(connection, schema)
            for text in statements(schema, found):
                await connection.execute(text)
                site("postgres.in_migration")
    except asyncpg.LockNotAvailableError as error:
        others = await holders(connection, schema)
        words = f"it is held by {others}; wait for that, or pg_terminate_backend(…) it, and migrate again"
        raise StoreUnavailable(f"schema {schema} could not be migrated, nothing was changed: {words}") from error
    return found


async def holders(connection: Any, schema: str) -> str:
    """Return who holds locks on a schema's tables, or on its migration, in words."""
    found = await connection.fetch(_HOLDERS, schema)
    told = [
        f"server process {row['pid']} ({row['application_name'] or 'no application name'}, {row['state']},"
        f" for {row['since'].total_seconds():.0f} s)"
        for row in found
    ]
    return ", ".join(told) or "somebody who has let go meanwhile"
