"""The Postgres store keeps the port's promises through a PgBouncer that hands connections out by transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import asyncpg
import pytest

from leanflow.ports import Store
from leanflow.testing.conformance import StoreConformance
from leanflow_adapters.postgres import PostgresStore
from tests.conformance.test_postgres_store import (
    Application,
    schema as schema,  # noqa: PLC0414 - a fixture
)
from tests.support.pgbouncer import pooler
from tests.support.postgres import empty


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """Give the URL of a PgBouncer with three connections to the server."""
    with pooler() as url:
        yield url


def handle(dsn: str, schema: str) -> PostgresStore:
    """Return a store as docs/how-to/run-on-postgres.md has it for PgBouncer; it is not open."""
    return PostgresStore(dsn, schema=schema, prepared=False, hints=False, clock="engine")


class TestPooledPostgresStore(StoreConformance):
    """Durable, on the engine's clock, joins an application's asyncpg connections that go through the pooler, too."""

    durable = True
    joins = True

    @pytest.fixture
    async def store(self, dsn: str, schema: str) -> AsyncIterator[Store]:
        """Give an open store without rows."""
        await empty(schema)
        store = handle(dsn, schema)
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, dsn: str, schema: str) -> AsyncIterator[Callable[[], Awaitable[Store]]]:
        """Give further stores on the same data, as another process has them."""
        opened: list[Store] = []

        async def reopen() -> Store:
            other = handle(dsn, schema)
            await other.open()
            opened.append(other)
            return other

        yield reopen
        for other in opened:
            await other.aclose()

    @pytest.fixture
    async def connect(self, dsn: str) -> AsyncIterator[Callable[[], Awaitable[Application]]]:
        """Give an application's own connections, in a transaction."""
        opened: list[Application] = []

        async def connect() -> Application:
            connection: Application = await asyncpg.connect(dsn, connection_class=Application, statement_cache_size=0)
            opened.append(connection)
            await connection.begin()
            return connection

        yield connect
        for connection in opened:
            await connection.close()
