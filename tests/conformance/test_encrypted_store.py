"""Stores keep the port's promises with encryption around them, and hold nothing readable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiosqlite
import pytest
from cryptography.fernet import Fernet

from leanflow.testing.conformance import StoreConformance
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.handles import Handles, Make
from tests.support.postgres import URL, drop, empty, fresh_schema

KEYS = [Fernet.generate_key(), Fernet.generate_key()]


class TestEncryptedMemoryStore(Handles, StoreConformance):
    """Around dicts."""

    durable = False

    @pytest.fixture
    def make(self) -> Make:
        """Give what makes handles."""
        inner = MemoryStore()
        return lambda: EncryptedStore(inner.reopen(), keys=KEYS)


class TestEncryptedSQLiteStore(Handles, StoreConformance):
    """Around a file; joins aiosqlite connections."""

    joins = True

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        """Give what makes handles."""
        return lambda: EncryptedStore(SQLiteStore(tmp_path / "flows.db"), keys=KEYS)

    @pytest.fixture
    async def connect(self, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[aiosqlite.Connection]]]:
        """Give an application's own connections."""
        async with AsyncExitStack() as stack:

            async def connect() -> aiosqlite.Connection:
                return await stack.enter_async_context(aiosqlite.connect(tmp_path / "flows.db"))

            yield connect


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """Give the name of a schema with empty tables, gone afterwards."""
    name = asyncio.run(fresh_schema())
    yield name
    asyncio.run(drop(name))


class TestEncryptedPostgresStore(Handles, StoreConformance):
    """Around a database."""

    @pytest.fixture
    async def make(self, schema: str) -> Make:
        """Give what makes handles."""
        await empty(schema)
        return lambda: EncryptedStore(PostgresStore(URL, schema=schema, clock="engine"), keys=KEYS)
