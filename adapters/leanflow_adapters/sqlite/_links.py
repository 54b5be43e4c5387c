"""The kinds of connections whose transaction can be joined: our statements run on them as they are.

There are two families: those that are awaited, and those that block, whose links never wait in a coroutine either.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any, Protocol

import aiosqlite

from leanflow.errors import InvalidRequest
from leanflow_adapters._applications import (
    awaited_sqlalchemy,
    blocking_sqlalchemy,
    django,
    execute,
    unjoinable,
    unwrapped,
)

__all__ = ["Link", "awaited_link", "blocking_link"]

_AWAITED = "an aiosqlite connection, or SQLAlchemy's AsyncConnection or AsyncSession over aiosqlite"
_BLOCKING = "a sqlite3 connection, SQLAlchemy's Connection or Session, or Django's connection"
_STATEMENTS = 500  # kept as Django wants them: leanflow has about 100, and `find` spells out some more


class Link(Protocol):
    """An application's connection."""

    @property
    def blocks(self) -> bool:
        """Whether it blocks its thread; else it is awaited."""
        ...

    @property
    def driver(self) -> Any:
        """The driver's connection, to look at."""
        ...

    async def begin(self) -> None:
        """Begin a transaction, as the application would."""
        ...

    async def run(self, sql: str, parameters: Sequence[Any] = (), *, rows: bool = False) -> Any:
        """Run a statement; return its rows as tuples, or how many it changed."""
        ...

    async def aclose(self) -> None:
        """Let go of the connection, which stays as it is."""
        ...


class _Plain:
    """A connection of sqlite3's own."""

    blocks = True

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.driver = connection
        self._cursor = connection.cursor()
        self._cursor.row_factory = None  # the application's own may make rows that have no order

    async def begin(self) -> None:
        if getattr(self.driver, "autocommit", None) is True:  # from Python 3.12 on; then its commit() does nothing
            raise InvalidRequest("connection", "it is in autocommit and in no transaction: begin one")
        self._cursor.execute("BEGIN IMMEDIATE")

    async def run(self, sql: str, parameters: Sequence[Any] = (), *, rows: bool = False) -> Any:
        self._cursor.execute(sql, parameters)
        return self._cursor.fetchall() if rows else self._cursor.rowcount

    async def aclose(self) -> None:
        self._cursor.close()


class _Aiosqlite:
    """An aiosqlite connection."""

    blocks = False

    def __init__(self, connection: aiosqlite.Connection, cursor: aiosqlite.Cursor) -> None:
        self.driver = connection
        self._cursor = cursor
        self._cursor.row_factory = None

    async def begin(self) -> None:
        await self._cursor.execute("BEGIN IMMEDIATE")

    async def run(self, sql: str, parameters: Sequence[Any] = (), *, rows: bool = False) -> Any:
        await self._cursor.execute(sql, parameters)
        return list(await self._cursor.fetchall()) if rows else self._cursor.rowcount

    async def aclose(self) -> None:
        await self._cursor.close()


class _SqlAlchemy:
    """SQLAlchemy's Connection over sqlite3."""

    blocks = True

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        with unwrapped(sqlite3.Error):
            self.driver = self._sync.connection.driver_connection

    @property
    def _sync(self) -> Any:
        return self._connection

    async def begin(self) -> None:
        """Begin what SQLAlchemy takes for begun.

        sqlite3 itself begins before the first change only, and a savepoint outside of a transaction commits when it is
        released (tried).
        """
        await self.run("BEGIN IMMEDIATE")

    async def run(self, sql: str, parameters: Sequence[Any] = (), *, rows: bool = False) -> Any:
        with unwrapped(sqlite3.Error):
            result = await execute(self._connection, sql, parameters)
            return [tuple(row) for row in result.all()] if rows else result.rowcount

    async def aclose(self) -> None:
        """Hold nothing."""


class _SqlAlchemyAsync(_SqlAlchemy):
    """SQLAlchemy's AsyncConnection over aiosqlite."""

    blocks = False

    @property
    def _sync(self) -> Any:
        return self._connection.sync_connection


class _Django:
    """Django's connection, in an atomic block."""

    blocks = True

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.driver = connection.connection

    async def begin(self) -> None:
        raise InvalidRequest("connection", "its transaction has ended inside the block")

    async def run(self, sql: str, parameters: Sequence[Any] = (), *, rows: bool = False) -> Any:
        with unwrapped(sqlite3.Error), closing(self._connection.cursor()) as cursor:
            places, order = _places(sql)
            cursor.execute(places, tuple(parameters[number] for number in order))
            return cursor.fetchall() if rows else cursor.rowcount

    async def aclose(self) -> None:
        """Hold nothing."""


@lru_cache(_STATEMENTS)
def _places(sql: str) -> tuple[str, tuple[int, ...]]:
    """Turn ``?2 … ?1 … ?`` into ``%s … %s … %s`` and (1, 0, 2): Django, for its log, puts values in with ``%``."""
    order: list[int] = []
    for number in re.findall(r"\?(\d*)", sql):
        order.append(int(number) - 1 if number else max(order, default=-1) + 1)
    return re.sub(r"\?\d*", "%s", sql.replace("%", "%%")), tuple(order)


async def awaited_link(connection: Any) -> Link:
    """Return the link to a connection that is awaited.

    Raises:
        InvalidRequest: it is of another kind, or not open.
    """
    if isinstance(connection, aiosqlite.Connection):
        try:
            return _Aiosqlite(connection, await connection.cursor())
        except ValueError as error:
            raise InvalidRequest("connection", "it is not open") from error
    if (found := await awaited_sqlalchemy(connection, "sqlite+aiosqlite")) is not None:
        return _SqlAlchemyAsync(found)
    raise unjoinable(connection, _AWAITED, blocks=False)


async def blocking_link(connection: Any) -> Link:
    """Return the link to a connection that blocks; never wait.

    Raises:
        InvalidRequest: it is of another kind, not open, or of Django's and in no atomic block.
    """
    if isinstance(connection, sqlite3.Connection):
        try:
            return _Plain(connection)
        except sqlite3.Error as error:  # closed, or another thread's
            raise InvalidRequest("connection", f"it cannot be worked with: {error}") from error
    if (found := blocking_sqlalchemy(connection, "sqlite+pysqlite")) is not None:
        return _SqlAlchemy(found)
    if (found := django(connection, "sqlite")) is not None:
        return _Django(found)
    raise unjoinable(connection, _BLOCKING, blocks=True)
