"""The Postgres store: any number of processes on any number of machines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from leanflow._request import DataRequest, IdKind, Scope
from leanflow._sites import site
from leanflow.errors import InvalidRequest, MigrationNeeded, NotStarted
from leanflow.ports import Committed, Created, Creation, Outcome, Store
from leanflow_adapters.postgres import _sql
from leanflow_adapters.postgres._connection import connect, fetch, let_go, make_pool, translated
from leanflow_adapters.postgres._durability import warn
from leanflow_adapters.postgres._hints import Hearing, Hints
from leanflow_adapters.postgres._joined import joined, joined_blocking, whereabouts
from leanflow_adapters.postgres._methods import Ask, Methods
from leanflow_adapters.postgres._migrate import VERSION, found_version, migrate, statements
from leanflow_adapters.postgres._rows import Row, request, row_id, scope_number, text
from leanflow_adapters.postgres._steps import CreationRow, StepRow
from leanflow_adapters.postgres._traffic import Load, Name, Traffic

__all__ = ["PostgresStore"]

_CLOCKS = ("database", "engine")
_STRAGGLERS = 10.0  # seconds for which a sink's removal waits for steps that saw it
_LOOK = 0.02  # seconds between looks whether they are through
_LAST = 10.0  # seconds that closing waits for what is in flight: statements take milliseconds, locks 2 s at most


class PostgresStore(Methods):
    """Keeps everything in one schema of a Postgres database, on asyncpg.

    A step is one round trip. Concurrent steps of one process share statements, several of which are under way at once;
    a request that an application's transaction holds makes nobody wait but its own steps.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "leanflow",
        migrate: bool = False,
        pool_size: int = 10,
        writers: int = 2,
        prepared: bool = True,
        hints: bool = True,
        clock: str = "database",
        password: Any = None,
    ) -> None:
        """Make a store; nothing is opened yet.

        Args:
            dsn: ``postgresql://user:password@host:5432/database``, as libpq and asyncpg take it.
            schema: of leanflow's tables.
            migrate: whether opening makes or updates the tables; otherwise ``leanflow migrate`` does.
            pool_size: connections at most.
            writers: batches of steps that are under way at once; at most `pool_size`.
            prepared: whether statements are kept prepared; False for PgBouncer in transaction mode.
            hints: whether processes tell each other of new work by NOTIFY. Without it they find it by polling, as they
                do when the connection that listens is lost. False for PgBouncer in transaction mode.
            clock: by which leases and due times go: the ``database``'s, which all workers share, or each ``engine``'s
                own (for tests, whose clock is moved by hand).
            password: instead of one in `dsn`: a text, or a callable (async or not) that returns one.

        Raises:
            InvalidRequest: an argument is wrong.
        """
        if urlsplit(dsn).scheme not in ("postgres", "postgresql"):
            raise InvalidRequest("dsn", "must begin with postgresql://")
        if not schema or "\0" in schema or len(schema.encode()) > 63:
            raise InvalidRequest("schema", "must be a name of 1 to 63 bytes")
        if clock not in _CLOCKS:
            raise InvalidRequest("clock", f"must be one of {', '.join(_CLOCKS)}")
        if not 1 <= writers <= pool_size:
            raise InvalidRequest("writers", "must be from 1 to pool_size")
        self._dsn = dsn
        self._schema = schema
        self._migrates = migrate
        self._pool_size = pool_size
        self._writers = writers
        self._prepared = prepared
        self._hints = Hints(schema, self._notify) if hints else None
        self._clock = clock
        self._password = password
        self._pool: asyncpg.Pool | None = None
        self._closing: asyncpg.Pool | None = None
        self._traffic: Traffic | None = None
        self._is_opening = False

    def __repr__(self) -> str:
        host = urlsplit(self._dsn).hostname or "localhost"
        return f"PostgresStore(host={host!r}, schema={self._schema!r})"

    @property
    def schema(self) -> str:
        """The schema of its tables."""
        return self._schema

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._pool is not None

    async def open(self) -> None:
        """Connect; make or update the tables if that was asked for.

        Raises:
            InvalidRequest: it is open already, or its DSN is not understood.
            MigrationNeeded: the tables are missing or older than this leanflow needs.
            StoreUnavailable: it cannot be reached.
        """
        if self._pool is not None or self._is_opening:
            raise InvalidRequest("store", "it is open already; open it once, or ask `is_open`")
        self._is_opening = True
        try:
            pool = await make_pool(self._dsn, size=self._pool_size, prepared=self._prepared, password=self._password)
            try:
                with translated():
                    await self._check_tables(pool)
            except BaseException:
                pool.terminate()
                raise
            self._pool = pool
            self._traffic = Traffic(pool, self._schema, self._writers)
        finally:
            self._is_opening = False

    async def migrate(self) -> int:
        """Make the tables or bring them up to date, on a connection of its own; return the version that was found.

        Processes that do so at once take turns. Older workers may go on meanwhile: a migration leaves what the release
        before it uses.

        Raises:
            InvalidRequest: the DSN is not understood.
            StoreUnavailable: the database cannot be reached, or refuses.
        """
        with translated():
            connection = await self._connect()
            try:
                return await migrate(connection, self._schema)
            finally:
                await connection.close()

    def migration_sql(self, found: int = 0) -> str:
        """Return the SQL that `migrate` runs on tables of version `found`, to be put into migrations of your own."""
        return "\n".join(statements(self._schema, found))

    async def _check_tables(self, pool: asyncpg.Pool) -> None:
        async with pool.acquire() as connection:
            found = await found_version(connection, self._schema)
            if found < VERSION and self._migrates:
                await self.migrate()
            elif found < VERSION:
                raise MigrationNeeded(repr(self), found, VERSION)
            await warn(connection, repr(self))

    async def aclose(self) -> None:
        """Finish what is in flight and close. Closing a closed store does nothing.

        What does not finish within 10 s, as over a network that is dead, ends with `StoreUnavailable`.
        """
        pool, self._pool = self._pool, None
        if pool is None:
            return
        self._closing = pool
        try:
            async with asyncio.timeout(_LAST):
                await self._finish()
                await let_go(pool)
        except TimeoutError:
            pool.terminate()  # whoever waits for an answer on one of its connections has it now: there is none
        except BaseException:  # whoever closes is stopped
            pool.terminate()
            raise
        finally:
            self._closing = None

    async def _finish(self) -> None:
        if self._traffic is not None:
            await self._traffic.drain()
        if self._hints is not None:
            await self._hints.drain()

    async def hear(self, scope: Scope, heard: Callable[[Sequence[str]], None]) -> Hearing | None:
        """Call `heard` with the ids of requests that another process has moved, until what is returned is closed.

        Only hints: some are lost. None if this store gives none.
        """
        self._opened()
        if self._hints is None:
            return None
        number = scope_number(scope)
        return Hearing(self._connect, self._hints.channel, self._hints.name, number, heard)

    async def _connect(self) -> asyncpg.Connection:
        return await connect(self._dsn, password=self._password)

    async def _notify(self, channel: str, payload: str) -> None:
        if (pool := self._pool or self._closing) is not None:
            with translated():
                await pool.execute("SELECT pg_notify($1, $2)", channel, payload)

    def using(self, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Return a store that works inside the application's transaction on its connection.

        That is an asyncpg connection, or SQLAlchemy's AsyncConnection or AsyncSession over asyncpg.

        Raises:
            InvalidRequest: the connection is of another kind, in no transaction, or to another database.
            NotStarted: this store is not open.
        """
        return joined(self, connection, self._opened())

    async def using_blocking(self) -> Callable[[Any], AbstractAsyncContextManager[Store]]:
        """Return the same for connections that block: psycopg's, and SQLAlchemy's and Django's over psycopg.

        Raises:
            NotStarted: this store is not open.
            StoreUnavailable: it cannot be asked which database it has.
        """
        return partial(joined_blocking, self, await whereabouts(self._opened()))

    # what the methods are made of

    def _opened(self) -> asyncpg.Pool:
        if self._pool is None:
            raise NotStarted("store")
        return self._pool

    def _flow(self) -> Traffic:
        self._opened()
        assert self._traffic is not None
        return self._traffic

    async def _ask(self, sql: str, *arguments: Any) -> Sequence[Row]:
        pool = self._opened()
        with translated():
            async with pool.acquire() as connection:
                return await fetch(connection, self._schema, sql, *arguments)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Ask]:
        pool = self._opened()
        with translated():
            async with pool.acquire() as connection, connection.transaction():
                yield partial(fetch, connection, self._schema)
            site("postgres.after_transaction")

    async def unregister(self, scope: Scope, sink: str) -> int | None:
        """Forget a sink and its undelivered rows; return how many, or None if nothing was known of it.

        Steps that were being committed meanwhile may have seen the sink still: their rows go once they are through. One
        in an application's transaction that takes longer than 10 s leaves its row behind: call it again.
        """
        dropped = await super().unregister(scope, sink)
        if dropped is None:
            return None
        [mark] = await self._ask(_sql.MARK)
        until = time.monotonic() + _STRAGGLERS
        while (await self._ask(_sql.UNDER_WAY, mark["mark"]))[0]["under_way"] and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)  # another process' transactions ring no bell
        return dropped + (await super().unregister(scope, sink) or 0)

    async def create(self, creation: Creation) -> Created:
        """Insert a request, unless one like it is there."""
        created = await super().create(creation)
        if created.is_new:
            self._tell(created.request.scope, created.request.id)
        return created

    async def _create(self, creation: Creation) -> Created:
        return await self._flow().creations.ask(CreationRow.of(creation))

    async def load(self, scope: Scope, request_id: str) -> DataRequest | None:
        """Return a request as last committed, or None."""
        number, loads = row_id(request_id), self._flow().loads
        found = [] if number is None else await loads.ask(Load(scope_number(scope), number))
        return request(found[0]) if found else None

    async def owners(self, scope: Scope, kind: IdKind, value: str) -> Sequence[DataRequest]:
        """Return the requests that this id names or named, as last committed."""
        found = await self._flow().names.ask(Name(scope_number(scope), kind.value, text(value) or ""))
        return [request(row) for row in found]

    async def _commit(self, row: StepRow) -> Committed:
        committed = await self._flow().steps.ask(row)
        if committed.outcome is Outcome.committed:
            self._tell(row.step.scope, row.step.request_id)
        return committed

    def _tell(self, scope: Scope, request_id: str | None) -> None:
        if self._hints is not None:
            self._hints.tell(scope_number(scope), request_id)

    async def _deliver(self, scope: int, keys: Sequence[str], sinks: Sequence[str]) -> int:
        gone = {(row["key"], row["sink"]) for row in await self._ask(_sql.DELIVER, False, scope, keys, sinks)}  # noqa: FBT003
        left = [place for place in zip(keys, sinks, strict=True) if place not in gone]
        count = len(gone)
        for key, sink in left:  # gone before, or locked at that moment by a step that stands behind it
            count += len(await self._ask(_sql.DELIVER, True, scope, [key], [sink]))  # noqa: FBT003 - the SQL's
        return count
