"""Working inside the application's own transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

import asyncpg
import attrs

from leanflow.errors import InvalidRequest, NotStarted, StoreUnavailable
from leanflow.ports import Committed, Store
from leanflow_adapters.postgres import _sql, _steps
from leanflow_adapters.postgres._connection import named, translated
from leanflow_adapters.postgres._links import Link, awaited_link, blocking_link
from leanflow_adapters.postgres._methods import Ask, Methods
from leanflow_adapters.postgres._rows import Row
from leanflow_adapters.postgres._steps import StepRow

__all__ = ["joined", "joined_blocking", "whereabouts"]

_WHERE = """SELECT current_database() AS base, (SELECT oid::bigint FROM pg_database WHERE datname = current_database())
    AS number, pg_postmaster_start_time() AS started"""
_NO_TRANSACTION = "25P01"


class _Joined(Methods):
    """The store's methods on the application's connection. Each is a savepoint: one that fails leaves the others."""

    def __init__(self, schema: str, link: Link, clock: str) -> None:
        self._schema = schema
        self._theirs = link
        self._clock = clock
        self._turn = asyncio.Lock()
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether its block has not ended."""
        return self._is_open

    async def open(self) -> None:
        """Refuse: it is open as long as its block runs."""
        raise InvalidRequest("store", "it is open already: it has joined a transaction")

    async def aclose(self) -> None:
        """End it. The connection, and its transaction, stay the application's."""
        self._is_open = False

    def using(self, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Refuse: transactions do not nest.

        Raises:
            InvalidRequest: always.
        """
        kind = type(connection).__name__
        raise InvalidRequest("connection", f"this store has joined a transaction already (got {kind})")

    async def _ask(self, sql: str, *arguments: Any) -> Sequence[Row]:
        async with self._transaction() as ask:
            return await ask(sql, *arguments)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Ask]:
        async with self._turn:
            if not self._is_open:
                raise NotStarted("store")
            if not self._theirs.is_in_transaction():
                raise InvalidRequest("connection", "its transaction has ended inside the block")
            await self._theirs.fetch("SAVEPOINT leanflow_step")
            try:
                yield self._statement
            except BaseException:
                undoing = self._undo()
                await (undoing if self._theirs.blocks else _whole(undoing))
                raise
            await self._theirs.fetch("RELEASE SAVEPOINT leanflow_step")

    async def _statement(self, sql: str, *arguments: Any) -> Sequence[Row]:
        return await self._theirs.fetch(named(sql, self._schema), arguments)

    async def _undo(self) -> None:
        with suppress(StoreUnavailable):  # what went wrong first is told
            await self._theirs.fetch("ROLLBACK TO SAVEPOINT leanflow_step")
            await self._theirs.fetch("RELEASE SAVEPOINT leanflow_step")

    async def _commit(self, row: StepRow) -> Committed:
        [found] = await self._ask(_steps.COMMIT, True, *_steps.columns([row]))  # noqa: FBT003 - the SQL's
        # A transaction with one snapshot, as the application may have, does not see what was parked meanwhile.
        return attrs.evolve(_steps.committed(found), ids_are_new=False)

    async def _deliver(self, scope: int, keys: Sequence[str], sinks: Sequence[str]) -> int:
        return len(await self._ask(_sql.DELIVER, True, scope, keys, sinks))  # noqa: FBT003 - the SQL's


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Do it to its end, however often the caller is cancelled: until then nobody else may use the connection."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def joined(store: Any, connection: Any, pool: asyncpg.Pool) -> AbstractAsyncContextManager[Store]:
    """Give a store on the application's connection, which is awaited and must be in a transaction.

    Raises:
        InvalidRequest: the connection is of a kind that is not awaited, in no transaction, or to another database.
    """
    return _joined(store, partial(awaited_link, connection), partial(whereabouts, pool))


def joined_blocking(store: Any, there: Row, connection: Any) -> AbstractAsyncContextManager[Store]:
    """Give a store on the application's connection, which blocks, in its thread.

    Raises:
        InvalidRequest: the connection is of a kind that does not block, in no transaction, or to another database than
            the one that is `there`.
    """

    async def known() -> Row:
        return there

    return _joined(store, partial(blocking_link, connection), known)


async def whereabouts(pool: asyncpg.Pool) -> Row:
    """Return what tells a database from all others."""
    with translated():
        there: Row = await pool.fetchrow(_WHERE)
        return there


@asynccontextmanager
async def _joined(
    store: Any, linked: Callable[[], Awaitable[Link]], told: Callable[[], Awaitable[Row]]
) -> AsyncIterator[Store]:
    link = await linked()
    there = await told()
    if tuple((await _whereabouts(link)).values()) != tuple(there.values()):
        raise InvalidRequest("connection", "it is to another database than the store's")
    inner = _Joined(store.schema, link, store._clock)  # noqa: SLF001 - two halves of one adapter
    try:
        yield inner
    finally:
        await inner.aclose()


async def _whereabouts(link: Link) -> Row:
    """Return the same of an application's connection; with the first statement SQLAlchemy and psycopg begin."""
    try:
        await link.fetch("SAVEPOINT leanflow_step")
    except StoreUnavailable as error:
        if _NO_TRANSACTION in error.reason:
            raise InvalidRequest("connection", "it is in autocommit: begin a transaction") from error
        raise
    [here] = await link.fetch(_WHERE)
    await link.fetch("RELEASE SAVEPOINT leanflow_step")
    return here
