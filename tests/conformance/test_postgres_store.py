"""The Postgres store keeps the port's promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from leanflow.testing.conformance import StoreConformance
from leanflow_adapters.postgres import PostgresStore
from tests.support.handles import Handles, Make
from tests.support.postgres import URL, drop, empty, fresh_schema


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """Give the name of a schema with empty tables, gone afterwards."""
    name = asyncio.run(fresh_schema())
    yield name
    asyncio.run(drop(name))


class Application(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """An application's connection, in a transaction of its own."""

    own: Any = None

    async def begin(self) -> None:
        """Begin."""
        self.own = self.transaction()
        await self.own.start()

    async def commit(self) -> None:
        """Commit."""
        await self.own.commit()

    async def rollback(self) -> None:
        """Roll back."""
        await self.own.rollback()


class TestPostgresStore(Handles, StoreConformance):
    """Durable, on the engine's clock, joins asyncpg connections."""

    durable = True
    joins = True

    @pytest.fixture
    async def make(self, schema: str) -> Make:
        """Give what makes handles on empty tables."""
        await empty(schema)
        return lambda: PostgresStore(URL, schema=schema, clock="engine")

    @pytest.fixture
    async def connect(self) -> AsyncIterator[Callable[[], Awaitable[Application]]]:
        """Give an application's own connections, in a transaction."""
        opened: list[Application] = []

        async def connect() -> Application:
            connection: Application = await asyncpg.connect(URL, connection_class=Application)
            opened.append(connection)
            await connection.begin()
            return connection

        yield connect
        for connection in opened:
            await connection.close()
