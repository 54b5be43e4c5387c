"""The Postgres store keeps the port's promises through a PgBouncer that hands connections out by transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import asyncpg
import pytest

from leanflow.testing.conformance import StoreConformance
from leanflow_adapters.postgres import PostgresStore
from tests.conformance.test_postgres_store import (
    Application,
    schema as schema,  # noqa: PLC0414 - a fixture
)
from tests.support.handles import Handles, Make
from tests.support.pgbouncer import pooler
from tests.support.postgres import empty


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """Give the URL of a PgBouncer with three connections to the server."""
    with pooler() as url:
        yield url


class TestPooledPostgresStore(Handles, StoreConformance):
    """Durable, on the engine's clock, joins an application's asyncpg connections that go through the pooler, too."""

    durable = True
    joins = True

    @pytest.fixture
    async def make(self, dsn: str, schema: str) -> Make:
        """Give what makes handles, as docs/how-to/run-on-postgres.md has it for PgBouncer, on empty tables."""
        await empty(schema)
        return lambda: PostgresStore(dsn, schema=schema, prepared=False, hints=False, clock="engine")

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
