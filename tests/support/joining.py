"""The suites of joining on connections of SQLAlchemy's and Django's, whatever the database.

A test class adds the fixtures of its store, and says where its database is: `awaited_url` and `blocking_url` for
SQLAlchemy, `database` for Django. `table` is the name of a table of the application's own, which is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from leanflow.ports import Store
from leanflow.testing.conformance import BlockingJoining, Joining
from leanflow.testing.conformance._samples import SCOPE, a_creation, a_request
from tests.support.django import Application

__all__ = ["OnAsyncConnections", "OnAsyncSessions", "OnConnections", "OnDjango", "OnSessions"]

Connect = Callable[[], Awaitable[Any]]


class OnAsyncConnections(Joining):
    """SQLAlchemy's AsyncConnection."""

    @pytest.fixture
    async def engine(self, awaited_url: str) -> AsyncIterator[AsyncEngine]:
        """Give an application's engine."""
        engine = create_async_engine(awaited_url)
        yield engine
        await engine.dispose()

    @pytest.fixture
    async def connect(self, engine: AsyncEngine) -> AsyncIterator[Connect]:
        """Give connections."""
        opened: list[AsyncConnection] = []

        async def connect() -> AsyncConnection:
            opened.append(await engine.connect())
            return opened[-1]

        yield connect
        for each in opened:
            await each.close()


class OnAsyncSessions(OnAsyncConnections):
    """SQLAlchemy's AsyncSession."""

    @pytest.fixture
    async def connect(self, engine: AsyncEngine) -> AsyncIterator[Connect]:
        """Give sessions."""
        opened: list[AsyncSession] = []

        async def connect() -> AsyncSession:
            opened.append(AsyncSession(engine))
            return opened[-1]

        yield connect
        for each in opened:
            await each.close()

    async def test_the_applications_own_rows_share_its_fate(
        self, store: Store, engine: AsyncEngine, table: str
    ) -> None:
        """What leanflow does first in a session, before anything has begun, is rolled back with the rest."""
        async with engine.begin() as connection:
            await connection.execute(text(f"CREATE TABLE IF NOT EXISTS {table} (id text PRIMARY KEY)"))
        for ending in ("rollback", "commit"):
            async with AsyncSession(engine) as session:
                async with store.using(session) as joined:
                    created = await joined.create(a_creation(a_request(7)))
                await session.execute(text(f"INSERT INTO {table} VALUES (:id)"), {"id": ending})
                await getattr(session, ending)()
            async with engine.connect() as connection:
                rows = (await connection.execute(text(f"SELECT id FROM {table}"))).scalars().all()
            there = await store.load(SCOPE, created.request.id)
            assert (there is not None, list(rows)) == ((ending == "commit"), ["commit"] if ending == "commit" else [])


class OnConnections(BlockingJoining):
    """SQLAlchemy's Connection."""

    @pytest.fixture
    def engine(self, blocking_url: str) -> Iterator[Engine]:
        """Give an application's engine."""
        engine = create_engine(blocking_url)
        yield engine
        engine.dispose()

    @pytest.fixture
    def connect(self, engine: Engine, store: Store) -> Iterator[Connect]:
        """Give connections, closed before the store is."""
        opened: list[Connection] = []

        async def connect() -> Connection:
            opened.append(engine.connect())
            return opened[-1]

        yield connect
        for each in opened:
            each.close()


class OnSessions(OnConnections):
    """SQLAlchemy's Session, by way of what Flask keeps it in."""

    @pytest.fixture
    def connect(self, engine: Engine, store: Store) -> Iterator[Connect]:
        """Give sessions, closed before the store is."""
        opened: list[scoped_session[Session]] = []

        async def connect() -> scoped_session[Session]:
            opened.append(scoped_session(sessionmaker(engine)))
            return opened[-1]

        yield connect
        for each in opened:
            each.remove()


class OnDjango(BlockingJoining):
    """Django's connection, with its log of queries on."""

    def joined(self, store: Store, connection: Any) -> AbstractAsyncContextManager[Any]:
        """Join Django's own connection."""
        return super().joined(store, getattr(connection, "own", connection))

    @pytest.fixture
    def connect(self, store: Store, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
        """Give connections in an atomic block, closed before the store is."""
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # the suite runs in a loop, the application does not
        opened: list[Application] = []

        async def connect() -> Application:
            vendor = database["ENGINE"].rpartition(".")[2]
            opened.append(Application(f"{vendor}-{len(opened)}", **database))
            opened[-1].begin()
            return opened[-1]

        yield connect
        for each in opened:
            each.close()
