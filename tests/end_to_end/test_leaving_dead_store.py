"""Leaving an engine whose store does not answer any more, and does not let itself be cancelled either."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from leanflow import Policy, _notify
from leanflow.testing import FakeClock
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import engine
from tests.support.lean import Lean

POLICY = Policy(shutdown_wait=timedelta(seconds=0.1), place_wait=timedelta(0))
ENOUGH = 5.0  # seconds that a busy machine may take for it; without the bound it never ends


class Swallowing(MemoryStore):
    """Answers nothing once `dead` is set; like a driver it ends what is called off only when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.dead = False
        self.asked = asyncio.Event()
        self._closed = asyncio.Event()

    async def claim(self, *args: Any, **kwargs: Any) -> Any:
        """Claim, or wait for ever."""
        await self._answer()
        return await super().claim(*args, **kwargs)

    async def prune(self, *args: Any, **kwargs: Any) -> int:
        """Prune, or wait for ever."""
        await self._answer()
        return await super().prune(*args, **kwargs)

    async def _answer(self) -> None:
        while self.dead and not self._closed.is_set():
            self.asked.set()
            try:
                await self._closed.wait()
            except asyncio.CancelledError:
                await self._closed.wait()
                raise

    async def aclose(self) -> None:
        """End what waits, and close."""
        self._closed.set()
        await super().aclose()


async def test_leaving_ends_though_the_store_answers_nothing(
    clock: FakeClock, lean: Lean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for the store is waited for a little, and the store is closed: that ends the waiting."""
    monkeypatch.setattr(_notify, "GOODBYE", 0.1)
    store = Swallowing()
    flows = engine(store, lean, clock, workers=2, policy=POLICY)
    await flows.__aenter__()
    before = asyncio.all_tasks()
    store.dead = True
    clock.advance(timedelta(minutes=2))
    await store.asked.wait()
    leaving = asyncio.create_task(flows.__aexit__(None, None, None))
    ended, _ = await asyncio.wait({leaving}, timeout=ENOUGH)
    if not ended:
        await store.aclose()  # so that a failure does not hang
        await leaving
    assert ended
    leaving.result()
    assert not store.is_open
    async with asyncio.timeout(ENOUGH):
        await asyncio.wait(before - {asyncio.current_task()})
