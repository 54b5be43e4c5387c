"""The SQLite store joins the transactions of every kind of connection that applications hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leanflow.testing.conformance import BlockingJoining
from leanflow_adapters.sqlite import SQLiteStore
from tests.conformance.test_sqlite_store import TestSQLiteStore as _OnAiosqlite
from tests.support.handles import Handles
from tests.support.joining import OnAsyncConnections, OnAsyncSessions, OnConnections, OnDjango, OnSessions

Connect = Callable[[], Awaitable[Any]]


class _Store(Handles):
    """The store of them all, and where it is."""

    durable = True
    joins = True
    make = _OnAiosqlite.make

    @pytest.fixture
    def awaited_url(self, tmp_path: Path) -> str:
        """Give the URL for aiosqlite."""
        return f"sqlite+aiosqlite:///{tmp_path}/flows.db"

    @pytest.fixture
    def blocking_url(self, tmp_path: Path) -> str:
        """Give the URL for sqlite3."""
        return f"sqlite:///{tmp_path}/flows.db"

    @pytest.fixture
    def database(self, tmp_path: Path) -> dict[str, Any]:
        """Give Django's settings."""
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "flows.db"}

    @pytest.fixture
    def table(self) -> str:
        """Give the name of a table of the application's."""
        return "application"


class TestAsyncConnections(_Store, OnAsyncConnections):
    """SQLAlchemy's AsyncConnection over aiosqlite."""


class TestAsyncSessions(_Store, OnAsyncSessions):
    """SQLAlchemy's AsyncSession over aiosqlite."""


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


class TestConnections(_Store, OnConnections):
    """SQLAlchemy's Connection over sqlite3."""


class TestSessions(_Store, OnSessions):
    """SQLAlchemy's Session over sqlite3, by way of what Flask keeps it in."""


class TestDjango(_Store, OnDjango):
    """Django's connection."""
