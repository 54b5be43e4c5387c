"""The SQLite store keeps the port's promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiosqlite
import pytest

from leanflow.testing.conformance import StoreConformance
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.handles import Handles, Make


class TestSQLiteStore(Handles, StoreConformance):
    """Durable, without a clock of its own, joins aiosqlite connections."""

    durable = True
    joins = True

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        """Give what makes handles on a new file."""
        return lambda: SQLiteStore(tmp_path / "flows.db")

    @pytest.fixture
    async def connect(self, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[aiosqlite.Connection]]]:
        """Give an application's own connections, with rows of its own making."""
        async with AsyncExitStack() as stack:

            async def connect() -> aiosqlite.Connection:
                connection = await stack.enter_async_context(aiosqlite.connect(tmp_path / "flows.db"))
                connection.row_factory = aiosqlite.Row
                return connection

            yield connect
