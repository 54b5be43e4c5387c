"""Working inside a transaction that the application holds on its own aiosqlite connection."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from leanflow._sites import site
from leanflow.errors import InvalidRequest, NotStarted
from leanflow.ports import Store
from leanflow_adapters.sqlite._connection import translated
from leanflow_adapters.sqlite._methods import Methods
from leanflow_adapters.sqlite._plans import Plan, Read, Tx

__all__ = ["Joined", "joined"]

T = TypeVar("T")


class Joined(Methods):
    """A store on the application's connection. It begins a transaction if none is open; it never ends one."""

    def __init__(self, connection: aiosqlite.Connection, cursor: aiosqlite.Cursor) -> None:
        self._connection = connection
        self._cursor = cursor
        self._turn = asyncio.Lock()  # savepoints nest: two tasks at once would roll back each other's
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether the block that made it is still running."""
        return self._is_open

    async def open(self) -> None:
        """Refuse: it is open as long as its block runs.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("store", "a joined store is open as long as its `using` block runs")

    async def aclose(self) -> None:
        """End its use; the application's connection and transaction stay as they are."""
        self._is_open = False

    def using(self, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Refuse: it works in a transaction already.

        Raises:
            InvalidRequest: always.
        """
        kind = type(connection).__name__
        raise InvalidRequest("connection", f"this store has joined a transaction already (got {kind})")

    async def now(self) -> datetime | None:
        """Return None: the file has no clock but its machine's."""
        return None

    async def _write(self, work: Callable[[Tx], Plan[T]], exclusive: tuple[Hashable, ...] = ()) -> T:
        del exclusive
        async with self._turn:
            with translated():
                await self.begin()
                await self._cursor.execute("SAVEPOINT leanflow_step")
                try:
                    value = await self._drive(work(Tx()))
                except BaseException:
                    # Shielded, because a cancelled statement still runs: the savepoint must be undone after it.
                    await asyncio.shield(self._undo())
                    raise
                await self._cursor.execute("RELEASE leanflow_step")
                return value

    async def _read(self, work: Callable[[Tx], Plan[T]], *, is_long: bool = False) -> T:
        del is_long
        async with self._turn:
            with translated():
                await self.begin()
                return await self._drive(work(Tx()))

    async def begin(self) -> None:
        """Begin a transaction if none is open.

        Raises:
            NotStarted: the block has ended.
        """
        if not self._is_open:
            raise NotStarted("store")
        if not self._connection.in_transaction:
            await self._cursor.execute("BEGIN IMMEDIATE")

    async def _drive(self, plan: Plan[T]) -> T:
        brought: Any = None
        cursor = self._cursor
        try:
            while True:
                statement, parameters = plan.send(brought)
                await cursor.execute(statement.sql, parameters)
                if isinstance(statement, Read):
                    brought = list(await cursor.fetchall())
                    continue
                brought = list(await cursor.fetchall()) if statement.rows else cursor.rowcount
                site(statement.site)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _undo(self) -> None:
        if self._connection.in_transaction:
            await self._cursor.execute("ROLLBACK TO leanflow_step")
            await self._cursor.execute("RELEASE leanflow_step")


@asynccontextmanager
async def joined(path: str, connection: Any) -> AsyncIterator[Store]:
    """Give a store on the application's connection.

    Raises:
        InvalidRequest: the connection is no aiosqlite connection, or one to another database.
    """
    await _refuse_strangers(path, connection)
    cursor = await connection.cursor()
    cursor.row_factory = None  # the application's own may make rows that have no order
    store = Joined(connection, cursor)
    try:
        with translated():
            await store.begin()
        yield store
    finally:
        await store.aclose()
        await cursor.close()


async def _refuse_strangers(path: str, connection: Any) -> None:
    if not isinstance(connection, aiosqlite.Connection):
        raise InvalidRequest("connection", f"expected an aiosqlite connection, got {type(connection).__name__}")
    try:
        if connection.text_factory is not str:
            raise InvalidRequest("connection", "its text_factory must be str")
        async with connection.execute("PRAGMA database_list") as cursor:
            cursor.row_factory = None
            files = [row[2] for row in await cursor.fetchall() if row[1] == "main"]
    except ValueError as error:
        if isinstance(error, InvalidRequest):
            raise
        raise InvalidRequest("connection", "it is not open") from error
    except sqlite3.Error as error:
        raise InvalidRequest("connection", f"it cannot be asked for its file: {error}") from error
    if not files or not files[0]:
        raise InvalidRequest("connection", "it is to a database in memory, which no other connection shares")
    if not _is_same_file(files[0], path):
        raise InvalidRequest("connection", "it is to another database file than the store's")


def _is_same_file(one: str, other: str) -> bool:
    """Compare files, not paths: one may be a link to the other."""
    return Path(one).samefile(other)
