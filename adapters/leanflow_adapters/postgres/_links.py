"""The kinds of connections whose transaction can be joined: our statements run on them as they are.

There are two families: those that are awaited, and those that block, whose links never wait in a coroutine either.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

import asyncpg

from leanflow.errors import InvalidRequest, StoreUnavailable
from leanflow_adapters._applications import (
    awaited_sqlalchemy,
    blocking_sqlalchemy,
    django,
    execute,
    unjoinable,
    unwrapped,
)
from leanflow_adapters.postgres._connection import translated
from leanflow_adapters.postgres._rows import Row

__all__ = ["Link", "awaited_link", "blocking_link"]

_AWAITED = "an asyncpg connection, or SQLAlchemy's AsyncConnection or AsyncSession over asyncpg"
_BLOCKING = "a psycopg Connection, SQLAlchemy's Connection or Session over psycopg, or Django's connection"
_STATEMENTS = 500  # kept as psycopg wants them: leanflow has about 80, and `find` spells out some more


class Link(Protocol):
    """An application's connection, in a transaction of the application's."""

    @property
    def blocks(self) -> bool:
        """Whether it blocks its thread; else it is awaited."""
        ...

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        """Run a statement and return its rows."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether the application's transaction is still on."""
        ...


class _Asyncpg:
    """An asyncpg connection, from a pool or not."""

    blocks = False

    def __init__(self, connection: asyncpg.Connection) -> None:
        if connection.is_closed():
            raise InvalidRequest("connection", "it is closed")
        if not connection.is_in_transaction():
            raise InvalidRequest("connection", "it is in no transaction: use `async with connection.transaction():`")
        self._connection = connection

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        with translated():
            rows: Sequence[Row] = await self._connection.fetch(sql, *arguments)
            return rows

    def is_in_transaction(self) -> bool:
        is_in: bool = self._connection.is_in_transaction()
        return is_in


class _SqlAlchemyAsync:
    """SQLAlchemy's AsyncConnection over asyncpg."""

    blocks = False

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        with translated(), unwrapped(asyncpg.PostgresError, asyncpg.InterfaceError):
            return await self._run(sql, arguments)

    async def _run(self, sql: str, arguments: Sequence[Any]) -> Sequence[Row]:
        result = await execute(self._connection, sql, arguments)
        rows: Sequence[Row] = result.mappings().all() if result.returns_rows else ()
        return rows

    def is_in_transaction(self) -> bool:
        is_in: bool = self._connection.in_transaction()
        return is_in


class _SqlAlchemy(_SqlAlchemyAsync):
    """SQLAlchemy's Connection over psycopg."""

    blocks = True

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        with _told():
            places, values = _for_psycopg(sql, arguments)
            return [{name: _utc(value) for name, value in row.items()} for row in await self._run(places, values)]


class _Psycopg:
    """A psycopg Connection. It begins its transactions by itself, unless it is in autocommit."""

    blocks = True

    def __init__(self, connection: Any) -> None:
        if connection.closed:
            raise InvalidRequest("connection", "it is closed")
        self._connection = connection
        if self._status == _status("INERROR"):
            raise InvalidRequest("connection", "its transaction has failed and can only be rolled back")
        self._is_left_to_psycopg = not connection.autocommit

    @property
    def _status(self) -> Any:
        return self._connection.info.transaction_status

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        from psycopg import Cursor  # noqa: PLC0415 - of an extra
        from psycopg.rows import tuple_row  # noqa: PLC0415 - of an extra

        with _told(), Cursor(self._connection, row_factory=tuple_row) as cursor:
            return _fetch(cursor, cursor, sql, arguments)

    def is_in_transaction(self) -> bool:
        return self._is_left_to_psycopg or self._status in (_status("INTRANS"), _status("INERROR"))

    _is_left_to_psycopg = False


class _Django:
    """Django's connection on psycopg, in an atomic block."""

    blocks = True

    def __init__(self, connection: Any) -> None:
        if "psycopg" not in sys.modules or not _is_psycopg(connection.connection):
            raise InvalidRequest("connection", "Django must have psycopg 3 beneath, and has psycopg2")
        self._connection = connection

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        with _told(), self._connection.cursor() as cursor:
            return _fetch(cursor, cursor.cursor, sql, arguments)

    def is_in_transaction(self) -> bool:
        return bool(self._connection.in_atomic_block)


# --- psycopg -----------------------------------------------------------------------------------------------------


def _is_psycopg(connection: Any) -> bool:
    from psycopg import Connection  # noqa: PLC0415 - who gets here has it imported

    return isinstance(connection, Connection)


def _status(name: str) -> Any:
    from psycopg.pq import TransactionStatus  # noqa: PLC0415 - of an extra

    return TransactionStatus[name]


def _fetch(cursor: Any, own: Any, sql: str, arguments: Sequence[Any]) -> list[Row]:
    """Run a statement; `own` is psycopg's cursor in or behind the cursor that runs it.

    Django reads times as its settings want them, without a zone if they say so: this cursor reads them as they are.
    """
    from psycopg.types.datetime import TimestamptzLoader  # noqa: PLC0415 - of an extra

    own.adapters.register_loader("timestamptz", TimestamptzLoader)
    cursor.execute(*_for_psycopg(sql, arguments))
    if cursor.description is None:
        return []
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, map(_utc, row), strict=True)) for row in cursor.fetchall()]


def _for_psycopg(sql: str, arguments: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """Return a statement and its values as psycopg wants them: a place for each use, and lists for arrays."""
    places, order = _places(sql)
    values = [list(value) if isinstance(value, tuple) else value for value in arguments]
    return places, tuple(values[number] for number in order)


@lru_cache(_STATEMENTS)
def _places(sql: str) -> tuple[str, tuple[int, ...]]:
    """Turn ``$2 … $1`` into ``%s … %s`` and (1, 0)."""
    numbers = tuple(int(number) - 1 for number in re.findall(r"\$(\d+)", sql))
    return re.sub(r"\$\d+", "%s", sql.replace("%", "%%")), numbers


def _utc(value: Any) -> Any:
    """Return times as asyncpg gives them; psycopg's are in the zone of the session."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


@contextmanager
def _told() -> Iterator[None]:
    """Turn psycopg's errors, also those that SQLAlchemy and Django wrap, into the port's."""
    from psycopg import Error  # noqa: PLC0415 - of an extra

    try:
        with unwrapped(Error):
            yield
    except Error as error:
        raise StoreUnavailable(f"{type(error).__name__} ({error.sqlstate})") from error


# --- which is it -------------------------------------------------------------------------------------------------


async def awaited_link(connection: Any) -> Link:
    """Return the link to a connection that is awaited.

    Raises:
        InvalidRequest: it is of another kind, closed, or in no transaction.
    """
    if isinstance(connection, asyncpg.Connection | asyncpg.pool.PoolConnectionProxy):
        return _Asyncpg(connection)
    if (found := await awaited_sqlalchemy(connection, "postgresql+asyncpg")) is not None:
        return _SqlAlchemyAsync(found)
    raise unjoinable(connection, _AWAITED, blocks=False)


async def blocking_link(connection: Any) -> Link:
    """Return the link to a connection that blocks; never wait.

    Raises:
        InvalidRequest: it is of another kind, closed, or in no transaction and would begin none by itself.
    """
    if "psycopg" in sys.modules and _is_psycopg(connection):
        return _Psycopg(connection)
    if (found := blocking_sqlalchemy(connection, "postgresql+psycopg")) is not None:
        return _SqlAlchemy(found)
    if (found := django(connection, "postgresql")) is not None:
        return _Django(found)
    raise unjoinable(connection, _BLOCKING, blocks=True)
