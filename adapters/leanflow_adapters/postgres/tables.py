"""The tables of a schema as rows that any other store can take; see `leanflow_adapters._tables`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from leanflow.errors import MigrationNeeded
from leanflow_adapters._tables import (
    MARK,
    MARK_SCOPE,
    SCOPED,
    TABLES,
    Row,
    Table,
    Tables,
    is_mark,
    place_of,
    place_text,
    scope_term,
)
from leanflow_adapters.postgres._connection import named, translated
from leanflow_adapters.postgres._durability import durability
from leanflow_adapters.postgres._migrate import VERSION, found_version, migrate
from leanflow_adapters.postgres._rows import text
from leanflow_adapters.postgres.store import PostgresStore

__all__ = ["tables"]

_PLACES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "scopes": {"scope": "bigint"},
        "tombstones": {"scope": "bigint", "digest": "bytea"},
        "inbox": {"scope": "bigint", "key": "text"},
        "keys": {"scope": "bigint", "key": "text"},
        "ids": {"scope": "bigint", "kind": "text", "value": "text", "request_id": "uuid"},
        "notes": {"scope": "bigint", "name": "text"},
        "parked": {"number": "bigint"},
        "history": {"request_id": "uuid", "number": "bigint"},
        "pages": {"request_id": "uuid", "page": "integer"},
        "requests": {"id": "uuid"},
        "outbox": {"number": "bigint"},
        "sinks": {"scope": "bigint", "name": "text"},
    }
)
"""What each table is read in the order of, with its types."""

_SKEW = 2.0  # seconds that clocks may differ
_LAST = 'SELECT min(scope) FROM "leanflow".{} WHERE scope > $1'
_PULSE = """SELECT concat_ws(' ',
    (SELECT concat_ws(',', count(*), max(id::text), sum(version), sum(call_no), max(updated_at)) FROM
        "leanflow".requests), (SELECT max(number) FROM "leanflow".history),
    (SELECT concat_ws(',', count(*), max(number), sum(tries)) FROM "leanflow".outbox),
    (SELECT concat_ws(',', count(*), sum(tries)) FROM "leanflow".parked), (SELECT count(*) FROM "leanflow".inbox))"""
_LEASES = """SELECT (SELECT count(*) FROM "leanflow".requests WHERE owner IS NOT NULL AND lease_until > now())
    + (SELECT count(*) FROM "leanflow".outbox WHERE owner IS NOT NULL AND due_at > now())"""
_KINDS = """SELECT state, resource, count(*) FROM "leanflow".requests WHERE scope = $1
    GROUP BY state, resource ORDER BY state, resource"""
_SETTINGS = """SELECT clock_timestamp(), pg_backend_pid(), current_setting('synchronous_commit'),
    current_setting('fsync')"""
_OTHERS = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND position($1 IN query) > 0"""
_FIRST_MARK = 'INSERT INTO "leanflow".notes VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1'
_NEXT_MARK = 'UPDATE "leanflow".notes SET value = $3 WHERE scope = $1 AND name = $2 AND value = $4 RETURNING 1'
_MARK = 'SELECT value FROM "leanflow".notes WHERE scope = $1 AND name = $2'

# Who stands behind whom is worked out row by row: `behind` is the last one of the same request and sink before.
_OUTBOX = """INSERT INTO "leanflow".outbox
    (scope, sink, key, kind, about, ordered, set_aside, tries, at, due_at, error, payload, behind)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, CASE WHEN $6 AND NOT $7 THEN (
        SELECT max(o.number) FROM "leanflow".outbox o
        WHERE o.about = $5 AND o.sink = $2 AND o.ordered AND NOT o.set_aside) END)"""


@asynccontextmanager
async def tables(store: PostgresStore, *, whole: bool = False) -> AsyncIterator[Tables]:
    """Give the tables of a store that is not open; they are made or updated first if the store does that.

    Raises:
        MigrationNeeded: they are older; or newer, and wanted `whole`: they may hold what is not known here.
    """
    with translated():
        connection = await store._connect()  # noqa: SLF001 - the same package
        try:
            found = await found_version(connection, store.schema)
            if (found < VERSION and not store._migrates) or (found > VERSION and whole):  # noqa: SLF001
                raise MigrationNeeded(repr(store), found, VERSION)
            await migrate(connection, store.schema)
            yield _Tables(connection, store.schema)
        finally:
            await connection.close()


class _Tables:
    def __init__(self, connection: Any, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def in_use(self) -> str | None:
        """Return what shows that the store is being worked with, or None if nothing does."""
        [(leases,)] = await self._ask(_LEASES)
        if leases:
            return f"{leases} leases are out: of a worker that runs, or was killed just now"
        [(others,)] = await self._ask(_OTHERS, named('"leanflow".', self._schema))
        return f"{others} connections of others work with its tables (pg_stat_activity)" if others else None

    async def pulse(self) -> str:
        """Return a text that is another one after anything was done with the store."""
        [(pulse,)] = await self._ask(_PULSE)
        return str(pulse)

    async def scopes(self) -> frozenset[int]:
        """Return the scopes that have rows, but for `MARK_SCOPE`."""
        found = set()
        for table in SCOPED:  # from one to the next, by an index
            scope = -(2**63)
            while (scope := (await self._ask(_LAST.format(table), scope))[0][0]) is not None:
                found.add(scope)
        return frozenset(found) - {MARK_SCOPE}

    async def count(self, table: Table, scopes: Sequence[int]) -> int:
        """Return how many rows these scopes have in a table."""
        term = scope_term(table, '"leanflow".requests', scopes)
        [(count,)] = await self._ask(f'SELECT count(*) FROM "leanflow".{table.name} WHERE {term}')  # noqa: S608
        return int(count)

    async def read(self, table: Table, after: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
        """Return rows behind a place, in an order in which they may be written, and the place of the last."""
        places = _PLACES[table.name]
        place = ", ".join(f"t.{name}" for name in places)
        values = [] if after is None else place_of(after)
        marks = ", ".join(f"${n}::{kind}" for n, kind in enumerate(places.values(), start=1))
        behind = "" if after is None else f"WHERE ({place}) > ({marks})"
        told = ", ".join(f"t.{name}::text" if kind == "uuid" else f"t.{name}" for name, kind in places.items())
        sql = f"""SELECT {told}, {table.asked('"leanflow".requests')} FROM "leanflow".{table.name} t {behind}
            ORDER BY {place} LIMIT {limit}"""  # noqa: S608
        found = await self._ask(sql, *values)
        if not found:
            return [], after
        width = len(places)
        rows = [_neutral(table, tuple(row)[width:]) for row in found]
        return [row for row in rows if not is_mark(table, row)], place_text(tuple(found[-1])[:width])

    async def write(self, table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
        """Write rows, and the mark over the one `before` it, in one transaction; False if that one is not there."""
        own = [_own(table, row) for row in rows]
        with translated():
            async with self._connection.transaction():
                if before is None:
                    marked = await self._ask(_FIRST_MARK, MARK_SCOPE, MARK, mark)
                else:
                    marked = await self._ask(_NEXT_MARK, MARK_SCOPE, MARK, mark, before)
                if not marked:
                    return False
                if table.name == "outbox":
                    await self._connection.executemany(named(_OUTBOX, self._schema), own)
                else:
                    await self._connection.copy_records_to_table(
                        table.name, schema_name=self._schema, columns=list(table.kept), records=own
                    )
        return True

    async def mark(self) -> str | None:
        """Return the mark, or None."""
        found = await self._ask(_MARK, MARK_SCOPE, MARK)
        return found[0][0] if found else None

    async def kinds(self, scope: int) -> Sequence[tuple[str, str, int]]:
        """Return which states and resources a scope's requests have, and how many each."""
        return [(state, resource, count) for state, resource, count in await self._ask(_KINDS, scope)]

    async def conditions(self) -> Sequence[tuple[str, bool, str]]:
        """Return what is to be known of the database: which thing, whether it is as it should be, and what to do."""
        before = datetime.now(UTC)
        [(there, pid, commits, syncs)] = await self._ask(_SETTINGS)
        skew = (there - before - (datetime.now(UTC) - before) / 2).total_seconds()
        return (
            _clock(skew),
            ("durability", *durability(commits, syncs)),
            _way(self._connection.get_server_pid() == pid),
        )

    async def settle(self) -> None:
        """Do what the database likes done after many rows have come."""
        for table in TABLES:  # else the first statements are planned for empty tables
            await self._ask(f'ANALYZE "leanflow".{table.name}')

    async def _ask(self, sql: str, *arguments: Any) -> Sequence[Any]:
        with translated():
            found: Sequence[Any] = await self._connection.fetch(named(sql, self._schema), *arguments)
            return found


# --- rows --------------------------------------------------------------------------------------------------------


def _neutral(table: Table, row: Sequence[Any]) -> Row:
    return tuple(
        str(value) if kind == "id" and value is not None else value
        for kind, value in zip(table.columns.values(), row, strict=True)
    )


def _own(table: Table, row: Row) -> Row:
    return tuple(
        _value(kind, value)
        for (name, kind), value in zip(table.columns.items(), row, strict=True)
        if name in table.kept
    )


def _value(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "id":
        return UUID(value)
    return text(value) if kind == "text" else value


# --- conditions --------------------------------------------------------------------------------------------------


def _clock(skew: float) -> tuple[str, bool, str]:
    if abs(skew) <= _SKEW:
        return "clocks", True, f"the database's and this machine's differ by {abs(skew):.1f} s"
    side = "ahead of" if skew > 0 else "behind"
    words = f"the database's clock is {abs(skew):.0f} s {side} this machine's: set both by NTP"
    return "clocks", False, f"{words} (leases go by the database's, times in histories by the machine's)"


def _way(is_direct: bool) -> tuple[str, bool, str]:  # noqa: FBT001
    """Tell of PgBouncer: it makes up the process id that a client is told on connecting."""
    if is_direct:
        return "connection", True, "to the server itself"
    words = "through a pooler, as PgBouncer: if it pools by transaction, add ?prepared=0&hints=0 to the URL"
    return "connection", True, words
