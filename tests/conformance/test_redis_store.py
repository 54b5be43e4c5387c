"""The Redis store keeps the port's promises."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from leanflow.testing.conformance import StoreConformance
from leanflow.testing.conformance._finding import Claiming
from leanflow.testing.conformance._keeping import Keeping, Opening
from leanflow.testing.conformance._telling import Parked
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.redis import RedisStore
from tests.support.handles import Handles, Make
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


class TestRedisStore(Handles, StoreConformance):
    """Durable where the server is, on the engine's clock; joins nothing: Redis has no transaction to hold open."""

    durable = True

    @pytest.fixture
    def make(self, prefix: str) -> Make:
        """Give what makes handles under a prefix without keys."""
        return lambda: RedisStore(URL, prefix=prefix, clock="engine")


class TestRedisStoreOnItsOwnClock(Handles, Opening, Claiming):
    """Leases go by the server's clock."""

    durable = True
    has_clock = True

    @pytest.fixture
    def make(self, prefix: str) -> Make:
        """Give what makes handles under a prefix without keys."""
        return lambda: RedisStore(URL, prefix=prefix, clock="server")


class TestEncryptedRedisStore(Handles, Parked, Keeping):
    """What Lean sent may lie there encrypted."""

    durable = True
    keys = (Fernet.generate_key(), Fernet.generate_key())

    @pytest.fixture
    def make(self, prefix: str) -> Make:
        """Give what makes handles under a prefix without keys."""
        return lambda: EncryptedStore(RedisStore(URL, prefix=prefix, clock="engine"), keys=self.keys)
