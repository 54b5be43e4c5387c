"""The Postgres store joins the transactions of every kind of connection that applications hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from leanflow.errors import InvalidRequest
from leanflow.testing.conformance import BlockingJoining
from leanflow_adapters.postgres import PostgresStore
from tests.conformance.test_postgres_store import TestPostgresStore as _OnAsyncpg, schema
from tests.support.handles import Handles
from tests.support.joining import OnAsyncConnections, OnAsyncSessions, OnConnections, OnDjango, OnSessions
from tests.support.postgres import URL

__all__ = ["schema"]

Connect = Callable[[], Awaitable[Any]]


class _Store(Handles):
    """The store of them all, and where it is."""

    durable = True
    joins = True
    make = _OnAsyncpg.make

    @pytest.fixture
    def awaited_url(self) -> str:
        """Give the URL for asyncpg."""
        return URL.replace("postgresql:", "postgresql+asyncpg:", 1)

    @pytest.fixture
    def blocking_url(self) -> str:
        """Give the URL for psycopg."""
        return URL.replace("postgresql:", "postgresql+psycopg:", 1)

    @pytest.fixture
    def database(self) -> dict[str, Any]:
        """Give Django's settings."""
        place = urlsplit(URL)
        return {
            "ENGINE": "django.db.backends.postgresql", "NAME": place.path[1:], "USER": place.username,
            "PASSWORD": place.password or "", "HOST": place.hostname, "PORT": place.port,
        }  # fmt: skip

    @pytest.fixture
    def table(self, schema: str) -> str:
        """Give the name of a table of the application's."""
        return f'"{schema}".application'


class TestAsyncConnections(_Store, OnAsyncConnections):
    """SQLAlchemy's AsyncConnection over asyncpg."""


class TestAsyncSessions(_Store, OnAsyncSessions):
    """SQLAlchemy's AsyncSession over asyncpg."""

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


class TestConnections(_Store, OnConnections):
    """SQLAlchemy's Connection over psycopg."""


class TestSessions(_Store, OnSessions):
    """SQLAlchemy's Session over psycopg, by way of what Flask keeps it in."""


class TestDjango(_Store, OnDjango):
    """Django's connection on psycopg; its times are naive."""
