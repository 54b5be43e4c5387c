"""Leases of calls under way are kept, however many there are and however slow the store is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from leanflow import Policy
from leanflow.errors import StoreUnavailable
from leanflow.testing import FakeClock
from tests.support.engine import StoreMaker, engine
from tests.support.lean import Lean
from tests.support.stores import unsteady

LEASE = Policy().lease
CALLS = 200


class Under:
    """A Lean that answers nobody until it is told to, and says when so many have asked."""

    def __init__(self, lean: Lean, calls: int) -> None:
        self.all_asked = asyncio.Event()
        self._answering = asyncio.Event()
        self._left = calls
        lean.before = self._hold

    async def _hold(self, _call: object) -> None:
        self._left -= 1
        if self._left == 0:
            self.all_asked.set()
        await self._answering.wait()

    def answer(self) -> None:
        """Answer all of them."""
        self._answering.set()


async def test_a_slow_store_loses_no_lease_of_200_calls(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Each renewal takes a second: one after another they would take more than two leases."""
    store = unsteady(make())

    def slowly(name: str) -> Any:
        return clock.sleep(1) if name == "renew" else None

    async with engine(store, lean, clock) as flows, engine(make(), lean, clock, seed=1) as other:
        under = Under(lean, CALLS)
        asking = [asyncio.create_task(flows.request("accounts", entity_id=f"e{n}")) for n in range(CALLS)]
        await under.all_asked.wait()
        store.before = slowly
        for _ in range(int(3 * LEASE.total_seconds())):
            clock.advance(timedelta(seconds=1))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not await other.store.claim(other.scope, owner="thief", now=clock.now(), lease=90, limit=1), (
                f"a lease was lost {clock.now()}"
            )
        store.before = None
        under.answer()
        await asyncio.gather(*asking)


async def test_a_request_that_is_held_costs_no_other_its_lease(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Three renewals that wait as long as a store waits, and then fail, hold up none of those behind them."""
    store = unsteady(make())
    async with engine(store, lean, clock) as flows, engine(make(), lean, clock, seed=1) as other:
        under = Under(lean, 5)
        asking = [asyncio.create_task(flows.request("accounts", entity_id=f"e{n}")) for n in range(5)]
        await under.all_asked.wait()
        renewals = 0

        async def stuck() -> None:
            await clock.sleep(30)
            raise StoreUnavailable("held by another transaction")

        def held(name: str) -> Any:
            nonlocal renewals
            if name != "renew":
                return None
            renewals += 1
            return stuck() if renewals % 5 in (1, 2, 3) else None

        store.before = held
        for _ in range(int(3 * LEASE.total_seconds())):
            clock.advance(timedelta(seconds=1))
            for _ in range(20):
                await asyncio.sleep(0)
        taken = await other.store.claim(other.scope, owner="thief", now=clock.now(), lease=90, limit=9)
        assert len(taken) == 3
        store.before = None
        under.answer()
        await asyncio.gather(*asking)
