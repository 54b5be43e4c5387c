"""The memory bus keeps the port's promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import pytest

from leanflow.ports import OutboxRow
from leanflow.testing.conformance import BusConformance, Published
from leanflow_adapters.memory import MemoryBus

LIMIT = 20_000


class TestMemoryBus(BusConformance):
    """Its broker is a list."""

    hangs = False

    @pytest.fixture
    async def bus(self) -> AsyncIterator[MemoryBus]:
        """Give an open bus."""
        bus = MemoryBus(max_payload=LIMIT)
        await bus.open()
        yield bus
        await bus.aclose()

    @pytest.fixture
    def messages(self, bus: MemoryBus) -> Callable[[], Awaitable[list[Published]]]:
        """Give what was published."""

        async def messages() -> list[Published]:
            return [Published.of(row) for row in bus.rows]

        return messages

    @pytest.fixture
    def unwanted(self) -> Callable[[OutboxRow], OutboxRow]:
        """Make a payload too large."""
        return lambda row: attrs.evolve(row, payload=f'"{"x" * LIMIT}"')

    @pytest.fixture
    def away(self, bus: MemoryBus) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Let the broker be away for a while."""

        @asynccontextmanager
        async def away() -> AsyncIterator[None]:
            bus.is_away = True
            yield
            bus.is_away = False

        return away


def test_its_repr_says_how_much_it_has() -> None:
    """A failing test that shows the bus shows its name and how many rows it has, and no payload."""
    assert repr(MemoryBus("x")) == "MemoryBus('x', rows=0)"
