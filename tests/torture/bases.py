"""Where a world's rows are: a SQLite file, or a schema of a Postgres (`keys`: or a Redis). What is read is the same."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncpg
import attrs

__all__ = ["STORES", "Base", "FileBase", "Rows", "SchemaBase"]

T = TypeVar("T")

STORES = ("sqlite", "postgres", "redis")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = datetime.resolution
_TABLES = ("requests", "history", "inbox", "parked", "pages", "outbox")
_PASSING = ("notes", "parked")
"""Tables whose rows change at rest: signs of life, and events whose requests a kill kept from being known."""
_BUSY = 30.0  # seconds for which the judge waits for its turn


@attrs.frozen
class Rows:
    """What a store holds."""

    requests: dict[str, dict[str, Any]]
    history: dict[str, list[dict[str, Any]]]
    inbox: set[str]
    parked: set[str]
    pages: dict[str, dict[int, bytes]]
    outbox: list[dict[str, Any]]

    @classmethod
    def of(cls, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> Rows:
        """Sort the rows of all tables, history in its order."""
        history: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in tables["history"]:
            history[row["request_id"]].append(dict(row))
        pages: dict[str, dict[int, bytes]] = defaultdict(dict)
        for row in tables["pages"]:
            pages[row["request_id"]][row["page"]] = row["raw"]
        return cls(
            {row["id"]: {**row, "key": json.loads(row["record"]).get("key")} for row in tables["requests"]},
            dict(history),
            {row["key"] for row in tables["inbox"]},
            {row["key"] for row in tables["parked"]},
            dict(pages),
            [dict(row) for row in tables["outbox"]],
        )


class Base(Protocol):
    """Where a world's rows are."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a child is told of it."""

    def read(self) -> Rows:
        """Read all rows; the children may have stopped or not."""

    def dump(self) -> list[str]:
        """Return all rows as text, but those that change at rest."""

    def hold(self, seconds: float, held: threading.Event) -> None:
        """Keep everybody from writing; `held` is set once that is so."""

    def look(self) -> Callable[[], None]:
        """Begin to read in a snapshot; return what ends that."""

    def is_free(self) -> bool:
        """Whether nobody is in the middle of a transaction that keeps the others out."""

    def close(self) -> None:
        """Leave nothing behind."""


@attrs.frozen
class FileBase:
    """A SQLite file."""

    path: Path

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a child is told of it."""
        return {"store": "sqlite", "db": str(self.path)}

    def read(self) -> Rows:
        """Read all rows of a sound file.

        Raises:
            AssertionError: the file is damaged.
        """
        with sqlite3.connect(self.path) as db:
            db.row_factory = sqlite3.Row
            if (problem := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                raise AssertionError(problem)
            tables = {}
            for table in _TABLES:
                order = " ORDER BY number" if table == "history" else ""
                tables[table] = [dict(row) for row in db.execute(f"SELECT * FROM leanflow_{table}{order}")]
        db.close()
        return Rows.of(tables)

    def dump(self) -> list[str]:
        """Return all rows as text, but those that change at rest."""
        with sqlite3.connect(self.path) as db:
            lines = [line for line in db.iterdump() if not re.search(f"leanflow_({'|'.join(_PASSING)})", line[:40])]
        db.close()
        return lines

    def hold(self, seconds: float, held: threading.Event) -> None:
        """Hold the write lock."""
        db = sqlite3.connect(self.path, isolation_level=None, timeout=_BUSY)
        db.execute("BEGIN IMMEDIATE")
        held.set()
        time.sleep(seconds)
        db.execute("ROLLBACK")
        db.close()

    def look(self) -> Callable[[], None]:
        """Begin to read in a snapshot; return what ends that."""
        reader = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM leanflow_requests").fetchone()
        return reader.close

    def is_free(self) -> bool:
        """Whether the write lock is free."""
        db = sqlite3.connect(self.path, isolation_level=None, timeout=1.0)
        try:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        finally:
            db.close()
        return True

    def close(self) -> None:
        """Leave the file to whoever made its directory."""


@attrs.frozen
class SchemaBase:
    """A schema of a Postgres.

    Attributes:
        dsn: for the judge.
        schema: its name.
        theirs: for the children, if that is another.
    """

    dsn: str
    schema: str
    theirs: str | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a child is told of it."""
        return {"store": "postgres", "dsn": self.theirs or self.dsn, "schema": self.schema}

    def read(self) -> Rows:
        """Read all rows, as of one moment."""

        async def read(connection: asyncpg.Connection) -> Rows:
            tables = {}
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                for table in _TABLES:
                    order = " ORDER BY number" if table == "history" else ""
                    found = await connection.fetch(f'SELECT * FROM "{self.schema}".{table}{order}')
                    tables[table] = [{name: _plain(value) for name, value in row.items()} for row in found]
            for row in tables["history"]:
                row["at"] = (datetime.fromisoformat(row["at"]) - _EPOCH) // _TICK
            return Rows.of(tables)

        return self.ask(read)

    def dump(self) -> list[str]:
        """Return all rows as text, but those that change at rest."""

        async def read(connection: asyncpg.Connection) -> list[str]:
            sql = "SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY 1"
            lines: list[str] = []
            for (name,) in await connection.fetch(sql, self.schema):
                if name not in _PASSING:
                    rows = await connection.fetch(f'SELECT t::text FROM "{self.schema}".{name} t ORDER BY 1')
                    lines += [f"{name}: {text}" for (text,) in rows]
            return lines

        return self.ask(read)

    def hold(self, seconds: float, held: threading.Event) -> None:
        """Hold a lock on all tables that lets readers pass, and nobody else."""

        async def hold(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                names = ", ".join(f'"{self.schema}".{table}' for table in _TABLES)
                await connection.execute(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
                held.set()
                await asyncio.sleep(seconds)

        self.ask(hold)

    def look(self) -> Callable[[], None]:
        """Begin to read in a snapshot; return what ends that."""
        room = ThreadPoolExecutor(1)
        loop = asyncio.new_event_loop()

        async def begin() -> asyncpg.Connection:
            connection = await asyncpg.connect(self.dsn)
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            await connection.fetchval(f'SELECT count(*) FROM "{self.schema}".requests')
            return connection

        connection = room.submit(loop.run_until_complete, begin()).result()

        def end() -> None:
            room.submit(loop.run_until_complete, connection.close()).result()
            room.shutdown()
            loop.close()

        return end

    def is_free(self) -> bool:
        """Whether nobody is in a transaction and silent, which is how a frozen client keeps others out."""

        async def look(connection: asyncpg.Connection) -> bool:
            silent = """SELECT count(DISTINCT a.pid) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
                JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND a.state = 'idle in transaction'"""
            return not await connection.fetchval(silent, self.schema)

        return self.ask(look)

    def close(self) -> None:
        """Remove the schema."""

        async def drop(connection: asyncpg.Connection) -> None:
            await connection.execute(f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')

        self.ask(drop)

    def ask(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Do something on a connection of its own, in a thread of its own: the judge's callers do not wait."""

        async def alone() -> T:
            connection = await asyncpg.connect(self.dsn)
            try:
                return await work(connection)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, alone()).result()


def _plain(value: Any) -> Any:
    """Return a value as a SQLite file would have it, or nearly."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | str | bytes) else str(value)
