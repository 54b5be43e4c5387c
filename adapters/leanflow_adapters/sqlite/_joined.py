"""Working inside a transaction that the application holds on its own connection."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from leanflow._sites import site
from leanflow.errors import InvalidRequest, NotStarted
from leanflow.ports import Store
from leanflow_adapters.sqlite._connection import translated
from leanflow_adapters.sqlite._links import Link, awaited_link, blocking_link
from leanflow_adapters.sqlite._methods import Methods
from leanflow_adapters.sqlite._plans import Plan, Read, Tx, Write

__all__ = ["Joined", "joined", "joined_blocking"]

T = TypeVar("T")


class Joined(Methods):
    """A store on the application's connection. It begins a transaction if none is open; it never ends one.

    If the connection blocks, none of its coroutines ever waits.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
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

    async def _write(self, work: Callable[[Tx], Plan[T]], exclusive: tuple[Hashable, ...] = ()) -> T:
        del exclusive
        async with self._turn:
            with translated():
                await self.begin()
                await self._link.run("SAVEPOINT leanflow_step")
                try:
                    value = await self._drive(work(Tx()))
                except BaseException:  # cancelled, too
                    # Shielded, because a cancelled statement still runs: the savepoint must be undone after it.
                    undoing = self._undo()
                    await (undoing if self._link.blocks else asyncio.shield(undoing))
                    raise
                await self._link.run("RELEASE leanflow_step")
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
        if not self._link.driver.in_transaction:
            await self._link.begin()

    async def lock(self) -> None:
        """Take the write lock, waiting for it, also where the application began without it, as Django does.

        SQLite waits for a lock only before a transaction's first look; after that it is had at once or never. One that
        has looked too early is told so by the first step.
        """
        if self._link.driver.in_transaction:
            with suppress(sqlite3.OperationalError):
                await self._link.run("DELETE FROM leanflow_scopes WHERE 0")
        else:
            await self.begin()

    async def _drive(self, plan: Plan[T]) -> T:
        brought: Any = None
        try:
            while True:
                statement, parameters = plan.send(brought)
                rows = isinstance(statement, Read) or statement.rows
                brought = await self._link.run(statement.sql, parameters, rows=rows)
                if isinstance(statement, Write):
                    site(statement.site)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _undo(self) -> None:
        if self._link.driver.in_transaction:
            await self._link.run("ROLLBACK TO leanflow_step")
            await self._link.run("RELEASE leanflow_step")


def joined(path: str, connection: Any) -> AbstractAsyncContextManager[Store]:
    """Give a store on the application's connection, which is awaited.

    Raises:
        InvalidRequest: the connection is of a kind that is not awaited, or to another database.
    """
    return _joined(path, partial(awaited_link, connection))


def joined_blocking(path: str, connection: Any) -> AbstractAsyncContextManager[Store]:
    """Give a store on the application's connection, which blocks, in its thread.

    Raises:
        InvalidRequest: the connection is of a kind that does not block, or to another database.
    """
    return _joined(path, partial(blocking_link, connection))


@asynccontextmanager
async def _joined(path: str, linked: Callable[[], Awaitable[Link]]) -> AsyncIterator[Store]:
    link = await linked()
    try:
        await _refuse_strangers(path, link)
        store = Joined(link)
        try:
            with translated():
                await store.lock()
            yield store
        finally:
            await store.aclose()
    finally:
        await link.aclose()


async def _refuse_strangers(path: str, link: Link) -> None:
    if link.driver.text_factory is not str:
        raise InvalidRequest("connection", "its text_factory must be str")
    try:
        files = [row[2] for row in await link.run("PRAGMA database_list", rows=True) if row[1] == "main"]
    except sqlite3.Error as error:
        raise InvalidRequest("connection", f"it cannot be asked for its file: {error}") from error
    if not files or not files[0]:
        raise InvalidRequest("connection", "it is to a database in memory, which no other connection shares")
    if not _is_same_file(files[0], path):
        raise InvalidRequest("connection", "it is to another database file than the store's")


def _is_same_file(one: str, other: str) -> bool:
    """Compare files, not paths: one may be a link to the other."""
    return Path(one).samefile(other)
