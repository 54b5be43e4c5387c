"""The fixtures that stores' conformance suites ask for, of stores that any number of processes can have open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from leanflow.ports import Store

__all__ = ["Handles", "Make"]

Make = Callable[[], Store]
"""Makes one more handle on a test's data, not open yet."""


class Handles:
    """`store` and `reopen`, for classes that have a fixture `make`, which gives a `Make` on no data."""

    @pytest.fixture
    async def store(self, make: Make) -> AsyncIterator[Store]:
        """Give an open store without rows."""
        store = make()
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, make: Make) -> AsyncIterator[Callable[[], Awaitable[Store]]]:
        """Give further stores on the same data, as another process has them."""
        async with AsyncExitStack() as stack:

            async def reopen() -> Store:
                other = make()
                await other.open()
                stack.push_async_callback(other.aclose)
                return other

            yield reopen
