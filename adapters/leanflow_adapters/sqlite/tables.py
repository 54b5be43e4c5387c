"""The tables of a file as rows that any other store can take; see `leanflow_adapters._tables`."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from types import MappingProxyType
from typing import Any

import aiosqlite

from leanflow.ports import Sink
from leanflow_adapters._tables import (
    MARK,
    MARK_SCOPE,
    SCOPED,
    Row,
    Table,
    Tables,
    is_mark,
    place_of,
    place_text,
    scope_term,
)
from leanflow_adapters.sqlite._connection import connect, hop, translated
from leanflow_adapters.sqlite._rows import micros, moment, sink_of, sink_text
from leanflow_adapters.sqlite.store import SQLiteStore

__all__ = ["tables"]

_PATIENCE = 5.0  # seconds to wait for another process's lock

_PLACES: Mapping[str, str] = MappingProxyType(
    {
        "scopes": "scope",
        "tombstones": "scope, digest",
        "inbox": "scope, key",
        "keys": "scope, key",
        "ids": "scope, kind, value, request_id",
        "notes": "scope, name",
        "parked": "rowid",
        "history": "number",
        "pages": "request_id, page",
        "requests": "number",
        "outbox": "number",
        "sinks": "scope, name",
    }
)
_HEAD = """NOT (:set_aside OR (:ordered AND EXISTS (SELECT 1 FROM leanflow_outbox WHERE about = :about AND sink = :sink
    AND ordered = 1 AND set_aside = 0 AND scope = :scope)))"""
_PULSE = """SELECT (SELECT json_array(count(*), max(number), sum(version), sum(call_no), max(updated_at))
    FROM leanflow_requests), (SELECT max(number) FROM leanflow_history),
    (SELECT json_array(count(*), max(number), sum(tries)) FROM leanflow_outbox),
    (SELECT json_array(count(*), sum(tries)) FROM leanflow_parked), (SELECT count(*) FROM leanflow_inbox)"""
_KINDS = """SELECT state, resource, count(*) FROM leanflow_requests WHERE scope = ?1
    GROUP BY state, resource ORDER BY state, resource"""
_LEASES = """SELECT (SELECT count(*) FROM leanflow_requests WHERE owner IS NOT NULL AND lease_until > ?1)
    + (SELECT count(*) FROM leanflow_outbox WHERE owner IS NOT NULL AND due_at > ?1)"""
_FIRST_MARK = "INSERT INTO leanflow_notes VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING"
_NEXT_MARK = "UPDATE leanflow_notes SET value = ?3 WHERE scope = ?1 AND name = ?2 AND value = ?4"


@asynccontextmanager
async def tables(store: SQLiteStore, *, whole: bool = False) -> AsyncIterator[Tables]:
    """Give the tables of a store that is not open; they are made or migrated first.

    Raises:
        MigrationNeeded: they are newer, and may hold what is not known here, whether they are wanted `whole` or not.
    """
    del whole
    await store.open()
    await store.aclose()
    found = _Tables(await _connected(store.path), store.path)
    try:
        yield found
    finally:
        await found.aclose()


async def _connected(path: str) -> aiosqlite.Connection:
    with translated():
        return await connect(path, timeout=_PATIENCE, settings=("PRAGMA synchronous = FULL",))


def _can_be_had_alone(path: str) -> bool:
    with translated(), closing(sqlite3.connect(path, timeout=0.0)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # before anything else, or the log is shared already
        try:
            connection.execute("SELECT count(*) FROM leanflow_scopes")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True


class _Tables:
    def __init__(self, connection: aiosqlite.Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    async def aclose(self) -> None:
        with translated():
            await self._connection.close()

    async def in_use(self) -> str | None:
        """Return what shows that the store is being worked with, or None if nothing does."""
        if await self._is_open_elsewhere():
            return "another process has it open"
        [(leases,)] = await self._ask(_LEASES, int(time.time() * 1_000_000))
        return f"{leases} leases are out: of a worker that runs, or was killed just now" if leases else None

    async def _is_open_elsewhere(self) -> bool:
        """Ask for the file alone: every connection to it holds a lock on it for as long as it is open."""
        await self.aclose()
        try:
            return not await asyncio.to_thread(_can_be_had_alone, self._path)
        finally:
            self._connection = await _connected(self._path)

    async def pulse(self) -> str:
        """Return a text that is another one after anything was done with the store."""
        return " ".join(str(value) for value in (await self._ask(_PULSE))[0])

    async def scopes(self) -> frozenset[int]:
        """Return the scopes that have rows, but for `MARK_SCOPE`."""

        def look(connection: sqlite3.Connection) -> list[int]:
            found = []
            for table in SCOPED:  # from one to the next, by an index
                next_one = f"SELECT min(scope) FROM leanflow_{table} WHERE scope > ?"  # noqa: S608 - our own names
                last = -(2**63)
                while (scope := connection.execute(next_one, (last,)).fetchone()[0]) is not None:
                    found.append(scope)
                    last = scope
            return found

        return frozenset(await self._do(look)) - {MARK_SCOPE}

    async def count(self, table: Table, scopes: Sequence[int]) -> int:
        """Return how many rows these scopes have in a table."""
        term = scope_term(table, "leanflow_requests", scopes)
        [(count,)] = await self._ask(f"SELECT count(*) FROM leanflow_{table.name} WHERE {term}")  # noqa: S608
        return int(count)

    async def read(self, table: Table, after: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
        """Return rows behind a place, in an order in which they may be written, and the place of the last."""
        place = _PLACES[table.name]
        columns = "scope, name, filter" if table.name == "sinks" else table.asked("leanflow_requests")
        values = [] if after is None else place_of(after)
        behind = "" if after is None else f"WHERE ({place}) > ({', '.join('?' * len(values))})"
        sql = f"SELECT {place}, {columns} FROM leanflow_{table.name} {behind} ORDER BY {place} LIMIT {limit}"  # noqa: S608
        found = await self._ask(sql, *values)
        if not found:
            return [], after
        width = place.count(",") + 1
        rows = [_neutral(table, row[width:]) for row in found]
        return [row for row in rows if not is_mark(table, row)], place_text(found[-1][:width])

    async def write(self, table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
        """Write rows, and the mark over the one `before` it, in one transaction; False if that one is not there."""
        insert = _insert(table)
        own = [_own(table, row) for row in rows]

        def work(connection: sqlite3.Connection) -> list[bool]:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if before is None:
                    marked = connection.execute(_FIRST_MARK, (MARK_SCOPE, MARK, mark)).rowcount
                else:
                    marked = connection.execute(_NEXT_MARK, (MARK_SCOPE, MARK, mark, before)).rowcount
                if marked:
                    connection.executemany(insert, own)
                connection.execute("COMMIT")
            except BaseException:  # whatever it is, nothing is left half written
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return [bool(marked)]

        return bool((await self._do(work))[0])

    async def mark(self) -> str | None:
        """Return the mark, or None."""
        found = await self._ask("SELECT value FROM leanflow_notes WHERE scope = ? AND name = ?", MARK_SCOPE, MARK)
        return found[0][0] if found else None

    async def kinds(self, scope: int) -> Sequence[tuple[str, str, int]]:
        """Return which states and resources a scope's requests have, and how many each."""
        return await self._ask(_KINDS, scope)

    async def conditions(self) -> Sequence[tuple[str, bool, str]]:
        """Return nothing: what matters is set when the store is opened."""
        return ()

    async def settle(self) -> None:
        """Do what the database likes done after many rows have come."""
        await self._ask("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _ask(self, sql: str, *arguments: Any) -> list[Any]:
        return await self._do(lambda connection: connection.execute(sql, arguments).fetchall())

    async def _do(self, work: Callable[[sqlite3.Connection], list[Any]]) -> list[Any]:
        with translated():
            return await hop(self._connection, work)


# --- rows --------------------------------------------------------------------------------------------------------


def _neutral(table: Table, row: Sequence[Any]) -> Row:
    if table.name == "sinks":
        scope, name, text = row
        sink = sink_of(name, text)
        chosen = (None if names is None else sorted(names) for names in (sink.states, sink.resources, sink.webhooks))
        return (scope, name, *chosen, sink.reports)
    return tuple(_value(kind, value) for kind, value in zip(table.columns.values(), row, strict=True))


def _value(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "time":
        return moment(value)
    if kind == "flag":
        return bool(value)
    return bytes(value) if kind == "bytes" else value


def _own(table: Table, row: Row) -> dict[str, Any]:
    values = dict(zip(table.columns, row, strict=True))
    if table.name == "sinks":
        states, resources = (
            None if values[name] is None else frozenset(values[name]) for name in ("states", "resources")
        )
        webhooks = frozenset(values["webhooks"])
        sink = Sink(
            name=values["name"], states=states, resources=resources, webhooks=webhooks, reports=values["reports"]
        )
        return {"scope": values["scope"], "name": sink.name, "filter": sink_text(sink)}
    return {name: _column(kind, values[name]) for name, kind in table.kept.items()}


def _column(kind: str, value: Any) -> Any:
    if kind == "time":
        return micros(value)
    # half a surrogate pair, which only an attacker sends, is no text that SQLite takes
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and not value.isascii() else value


def _insert(table: Table) -> str:
    """Return the statement that writes one row; what SQLite alone keeps is worked out."""
    columns = {name: f":{name}" for name in table.kept}
    match table.name:
        case "sinks":
            columns = {name: f":{name}" for name in ("scope", "name", "filter")}
        case "outbox":
            columns["head"] = _HEAD
    return f"INSERT INTO leanflow_{table.name} ({', '.join(columns)}) VALUES ({', '.join(columns.values())})"  # noqa: S608
