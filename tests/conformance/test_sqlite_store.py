"""The SQLite store keeps the port's promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiosqlite
import pytest

from leanflow.testing.conformance import StoreConformance
from leanflow_adapters.sqlite import SQLiteStore


class TestSQLiteStore(StoreConformance):
    """Durable, without a clock of its own, joins aiosqlite connections."""

    durable = True
    joins = True

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SQLiteStore]:
        """Give an open store on a new file."""
        store = SQLiteStore(tmp_path / "flows.db")
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[SQLiteStore]]]:
        """Give further stores on the same file, as another process has them."""
        opened: list[SQLiteStore] = []

        async def reopen() -> SQLiteStore:
            other = SQLiteStore(tmp_path / "flows.db")
            await other.open()
            opened.append(other)
            return other

        yield reopen
        for other in opened:
            await other.aclose()

    @pytest.fixture
    async def connect(self, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[aiosqlite.Connection]]]:
        """Give an application's own connections, with rows of its own making."""
        async with AsyncExitStack() as stack:

            async def connect() -> aiosqlite.Connection:
                connection = await stack.enter_async_context(aiosqlite.connect(tmp_path / "flows.db"))
                connection.row_factory = aiosqlite.Row
                return connection

            yield connect
