"""The Postgres store joins the transactions of every kind of connection that applications hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from leanflow.errors import InvalidRequest
from leanflow.ports import Store
from leanflow.testing.conformance import BlockingJoining, Joining
from leanflow.testing.conformance._samples import SCOPE, a_creation, a_request
from leanflow_adapters.postgres import PostgresStore
from tests.conformance.test_postgres_store import TestPostgresStore as _OnAsyncpg, schema
from tests.support.django import Application
from tests.support.postgres import URL

__all__ = ["schema"]

Connect = Callable[[], Awaitable[Any]]


class _Store:
    """The store of them all."""

    durable = True
    joins = True
    store = _OnAsyncpg.store
    reopen = _OnAsyncpg.reopen


class TestAsyncConnections(_Store, Joining):
    """SQLAlchemy's AsyncConnection over asyncpg."""

    @pytest.fixture
    async def engine(self) -> AsyncIterator[AsyncEngine]:
        """Give an application's engine."""
        engine = create_async_engine(URL.replace("postgresql:", "postgresql+asyncpg:", 1))
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


class TestAsyncSessions(TestAsyncConnections):
    """SQLAlchemy's AsyncSession over asyncpg."""

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
        self, store: PostgresStore, engine: AsyncEngine, schema: str
    ) -> None:
        """What leanflow does first in a session, before SQLAlchemy has sent BEGIN, is rolled back with the rest."""
        table = f'"{schema}".application'
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

    async def test_another_dialect_is_refused(self, store: PostgresStore) -> None:
        """A session on SQLite cannot be joined, and the error says why."""
        engine = create_async_engine("sqlite+aiosqlite://")
        try:
            with pytest.raises(InvalidRequest, match="sqlite"):
                async with AsyncSession(engine) as session, store.using(session):
                    pass
        finally:
            await engine.dispose()

    async def test_autocommit_is_refused(self, store: PostgresStore, engine: AsyncEngine) -> None:
        """SQLAlchemy says that such a connection is in a transaction; the database says otherwise."""
        async with engine.connect() as connection:
            own = await connection.execution_options(isolation_level="AUTOCOMMIT")
            with pytest.raises(InvalidRequest, match="autocommit"):
                async with store.using(own):
                    pass


class TestPsycopg(_Store, BlockingJoining):
    """psycopg's Connection, with rows of the application's own making and in another zone."""

    @pytest.fixture
    def connect(self, store: PostgresStore) -> Iterator[Connect]:
        """Give connections."""
        opened: list[psycopg.Connection[Any]] = []

        async def connect() -> psycopg.Connection[Any]:
            opened.append(psycopg.connect(URL, row_factory=dict_row, options="-c timezone=Asia/Dubai"))
            return opened[-1]

        yield connect
        for each in opened:
            each.close()


class TestConnections(_Store, BlockingJoining):
    """SQLAlchemy's Connection over psycopg."""

    @pytest.fixture
    def engine(self) -> Iterator[Engine]:
        """Give an application's engine."""
        engine = create_engine(URL.replace("postgresql:", "postgresql+psycopg:", 1))
        yield engine
        engine.dispose()

    @pytest.fixture
    def connect(self, engine: Engine, store: PostgresStore) -> Iterator[Connect]:
        """Give connections."""
        opened: list[Connection] = []

        async def connect() -> Connection:
            opened.append(engine.connect())
            return opened[-1]

        yield connect
        for each in opened:
            each.close()


class TestSessions(TestConnections):
    """SQLAlchemy's Session over psycopg, by way of what Flask keeps it in."""

    @pytest.fixture
    def connect(self, engine: Engine, store: PostgresStore) -> Iterator[Connect]:
        """Give sessions."""
        opened: list[scoped_session[Session]] = []

        async def connect() -> scoped_session[Session]:
            opened.append(scoped_session(sessionmaker(engine)))
            return opened[-1]

        yield connect
        for each in opened:
            each.remove()


class TestDjango(_Store, BlockingJoining):
    """Django's connection on psycopg, with naive times and its log of queries on."""

    def joined(self, store: Store, connection: Any) -> AbstractAsyncContextManager[Any]:
        """Join Django's own connection."""
        return super().joined(store, getattr(connection, "own", connection))

    @pytest.fixture
    def connect(self, store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
        """Give connections in an atomic block."""
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # the suite runs in a loop, the application does not
        opened: list[Application] = []
        place = urlsplit(URL)
        database = {
            "ENGINE": "django.db.backends.postgresql", "NAME": place.path[1:], "USER": place.username,
            "PASSWORD": place.password or "", "HOST": place.hostname, "PORT": place.port,
        }  # fmt: skip

        async def connect() -> Application:
            opened.append(Application(f"postgres-{len(opened)}", **database))
            opened[-1].begin()
            return opened[-1]

        yield connect
        for each in opened:
            each.close()
