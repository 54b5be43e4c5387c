"""Testing reconnect logic without network, waiting or a bank: a month takes milliseconds.

Run it with ``pytest examples/reconnect_in_a_test.py``; it needs pytest-asyncio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import attrs
import pytest

from leanflow import LeanFlow, Resource, State
from leanflow.mockbank import Disturbance, Mockbank
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport

pytestmark = pytest.mark.asyncio


@attrs.frozen(kw_only=True)
class World:
    """An engine, the simulated Lean, and the clock that both go by."""

    flows: LeanFlow
    bank: Mockbank
    lean: MockbankTransport
    clock: FakeClock
    entity_id: str

    async def passes(self, delta: timedelta) -> None:
        """Let time pass: webhooks are delivered, probes made, deadlines kept."""
        await travel(self.flows, self.clock, delta, also=[self.lean])

    async def state(self, request_id: str) -> State:
        """Return where a request is."""
        return (await self.flows.get(request_id)).state


async def _world() -> AsyncIterator[World]:
    clock = FakeClock()
    bank = Mockbank(now=clock.now())
    lean = MockbankTransport(bank, clock)
    flows = LeanFlow(
        store=MemoryStore(),
        transport=lean,
        webhook_secrets=[bank.webhook_secret],
        app=bank.app,
        clock=clock,
        workers=0,  # nothing happens unless the test says so
    )
    entity_id = bank.connect("user-17")
    bank.expire_session(entity_id)  # the bank wants the user again
    async with flows:
        lean.receive = flows.receive
        yield World(flows=flows, bank=bank, lean=lean, clock=clock, entity_id=entity_id)


world = pytest.fixture(_world)


async def test_a_user_who_comes_back_after_a_week_gets_the_data(world: World) -> None:
    """The OTP brings two webhooks, and they bring the data."""
    request = await world.flows.request(Resource.accounts, entity_id=world.entity_id)
    assert request.state is State.reconnect_required
    prompt = await world.flows.prompt(request.id)
    await world.passes(timedelta(days=7))
    world.bank.submit_otp(prompt.reconnect_id, "1111", world.clock.now())
    await world.passes(timedelta(minutes=1))
    assert await world.state(request.id) is State.fetched
    assert (await world.flows.results(request.id)).items


async def test_a_user_who_never_comes_back_lets_the_request_expire(world: World) -> None:
    """A reconnect id lives for 30 days."""
    request = await world.flows.request(Resource.accounts, entity_id=world.entity_id)
    await world.flows.prompt(request.id)
    await world.passes(timedelta(days=29))
    assert not (await world.state(request.id)).is_end
    await world.passes(timedelta(days=2))
    assert await world.state(request.id) is State.expired


async def test_webhooks_that_are_lost_do_not_lose_the_data(world: World) -> None:
    """What never came is found in Lean's Events API."""
    request = await world.flows.request(Resource.accounts, entity_id=world.entity_id)
    prompt = await world.flows.prompt(request.id)
    await world.passes(timedelta(seconds=1))
    world.bank.disturb(Disturbance(drop=True))
    world.bank.submit_otp(prompt.reconnect_id, "1111", world.clock.now())
    await world.passes(timedelta(seconds=1))
    assert await world.state(request.id) is State.awaiting_user
    assert await world.flows.reconcile() == 2
    await world.flows.tick()
    assert await world.state(request.id) is State.fetched
