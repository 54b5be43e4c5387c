"""The Redis store keeps the port's promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from leanflow.ports import Store
from leanflow.testing.conformance import StoreConformance
from leanflow.testing.conformance._finding import Claiming
from leanflow.testing.conformance._keeping import Keeping, Opening
from leanflow.testing.conformance._telling import Parked
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.redis import RedisStore
from tests.support.redis import URL, empty, fresh_prefix


@pytest.fixture(scope="module")
def family() -> Iterator[str]:
    """Give what the prefixes of these tests begin with; their keys are gone afterwards."""
    name = asyncio.run(fresh_prefix())
    yield name
    asyncio.run(empty(f"{name}*"))


@pytest.fixture
def prefix(family: str) -> str:
    """Give a prefix without keys."""
    return f"{family}.{uuid4().hex}"


class Opened:
    """The fixtures."""

    clock = "engine"

    def handle(self, prefix: str) -> Store:
        """Return a store that is not open."""
        return RedisStore(URL, prefix=prefix, clock=self.clock)

    @pytest.fixture
    async def store(self, prefix: str) -> AsyncIterator[Store]:
        """Give an open store without rows."""
        store = self.handle(prefix)
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, prefix: str) -> AsyncIterator[Callable[[], Awaitable[Store]]]:
        """Give further stores on the same data, as another process has them."""
        opened: list[Store] = []

        async def reopen() -> Store:
            other = self.handle(prefix)
            await other.open()
            opened.append(other)
            return other

        yield reopen
        for other in opened:
            await other.aclose()


class TestRedisStore(Opened, StoreConformance):
    """Durable where the server is, on the engine's clock; joins nothing: Redis has no transaction to hold open."""

    durable = True


class TestRedisStoreOnItsOwnClock(Opened, Opening, Claiming):
    """Leases go by the server's clock."""

    durable = True
    has_clock = True
    clock = "server"


class TestEncryptedRedisStore(Opened, Parked, Keeping):
    """What Lean sent may lie there encrypted."""

    durable = True
    keys = (Fernet.generate_key(), Fernet.generate_key())

    def handle(self, prefix: str) -> Store:
        """Return an encrypting store that is not open."""
        return EncryptedStore(super().handle(prefix), keys=self.keys)
