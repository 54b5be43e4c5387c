"""The memory store keeps the port's promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from leanflow.testing.conformance import StoreConformance
from leanflow_adapters.memory import MemoryStore


class TestMemoryStore(StoreConformance):
    """Nothing outlives the process, and there is no transaction to join."""

    durable = False

    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryStore]:
        """Give an open store."""
        store = MemoryStore()
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, store: MemoryStore) -> Callable[[], Awaitable[MemoryStore]]:
        """Give further handles on the same dicts."""

        async def reopen() -> MemoryStore:
            other = store.reopen()
            await other.open()
            return other

        return reopen
