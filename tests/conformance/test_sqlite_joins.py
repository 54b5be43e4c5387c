"""The SQLite store joins the transactions of every kind of connection that applications hold."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from leanflow.ports import Store
from leanflow.testing.conformance import BlockingJoining, Joining
from leanflow.testing.conformance._samples import SCOPE, a_creation, a_request
from leanflow_adapters.sqlite import SQLiteStore
from tests.conformance.test_sqlite_store import TestSQLiteStore as _OnAiosqlite
from tests.support.django import Application

Connect = Callable[[], Awaitable[Any]]


class _Store:
    """The store of them all, and a table of the application's own."""

    durable = True
    joins = True
    store = _OnAiosqlite.store
    reopen = _OnAiosqlite.reopen


class TestAsyncConnections(_Store, Joining):
    """SQLAlchemy's AsyncConnection."""

    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
        """Give an application's engine."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/flows.db")
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

    async def test_the_applications_own_rows_share_its_fate(self, store: SQLiteStore, engine: AsyncEngine) -> None:
        """What leanflow does first in a session, before anything has begun, is rolled back with the rest."""
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE application (id TEXT PRIMARY KEY)"))
        for ending in ("rollback", "commit"):
            async with AsyncSession(engine) as session:
                async with store.using(session) as joined:
                    created = await joined.create(a_creation(a_request(7)))
                await session.execute(text("INSERT INTO application VALUES (:id)"), {"id": ending})
                await getattr(session, ending)()
            async with engine.connect() as connection:
                rows = (await connection.execute(text("SELECT id FROM application"))).scalars().all()
            there = await store.load(SCOPE, created.request.id)
            assert (there is not None, list(rows)) == ((ending == "commit"), ["commit"] if ending == "commit" else [])


class TestPlain(_Store, BlockingJoining):
    """sqlite3's own connection."""

    @pytest.fixture
    def connect(self, tmp_path: Path, store: SQLiteStore) -> Iterator[Connect]:
        """Give connections."""
        opened: list[sqlite3.Connection] = []

        async def connect() -> sqlite3.Connection:
            opened.append(sqlite3.connect(tmp_path / "flows.db"))
            opened[-1].row_factory = lambda _, row: {"first": row[0]}
            return opened[-1]

        yield connect
        for each in opened:
            each.close()


class TestConnections(_Store, BlockingJoining):
    """SQLAlchemy's Connection."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        """Give an application's engine."""
        engine = create_engine(f"sqlite:///{tmp_path}/flows.db")
        yield engine
        engine.dispose()

    @pytest.fixture
    def connect(self, engine: Engine, store: SQLiteStore) -> Iterator[Connect]:
        """Give connections."""
        opened: list[Any] = []

        async def connect() -> Any:
            opened.append(engine.connect())
            return opened[-1]

        yield connect
        for each in opened:
            each.close()


class TestSessions(TestConnections):
    """SQLAlchemy's Session, by way of what Flask keeps it in."""

    @pytest.fixture
    def connect(self, engine: Engine, store: SQLiteStore) -> Iterator[Connect]:
        """Give sessions."""
        opened: list[scoped_session[Session]] = []

        async def connect() -> scoped_session[Session]:
            opened.append(scoped_session(sessionmaker(engine)))
            return opened[-1]

        yield connect
        for each in opened:
            each.remove()


class TestDjango(_Store, BlockingJoining):
    """Django's connection, with its log of queries on."""

    def joined(self, store: Store, connection: Any) -> AbstractAsyncContextManager[Any]:
        """Join Django's own connection."""
        return super().joined(store, getattr(connection, "own", connection))

    @pytest.fixture
    def connect(self, tmp_path: Path, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
        """Give connections in an atomic block."""
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # the suite runs in a loop, the application does not
        opened: list[Application] = []

        async def connect() -> Application:
            database = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "flows.db"}
            opened.append(Application(f"sqlite-{len(opened)}", **database))
            opened[-1].begin()
            return opened[-1]

        yield connect
        for each in opened:
            each.close()
