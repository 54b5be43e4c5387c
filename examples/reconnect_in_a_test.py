"""Testing reconnect logic without network, waiting or a bank: a month takes milliseconds.

Run it with ``pytest examples/reconnect_in_a_test.py``; it needs pytest-asyncio. The fixtures are those of leanflow's
pytest plugin.
"""

from __future__ import annotations

import pytest

from leanflow import LeanFlow, Resource, State
from leanflow.mockbank import Disturbance, Mockbank
from leanflow.testing import FlowsAt, Travel

pytestmark = pytest.mark.asyncio


async def test_a_user_who_comes_back_after_a_week_gets_the_data(
    flows: LeanFlow, mockbank: Mockbank, travel: Travel
) -> None:
    """The OTP brings two webhooks, and they bring the data."""
    entity_id = mockbank.connect("user-17")
    mockbank.expire_session(entity_id)  # the bank wants the user again
    request = await flows.request(Resource.accounts, entity_id=entity_id)
    assert request.state is State.reconnect_required
    prompt = await flows.prompt(request.id)
    await travel(days=7)
    mockbank.submit_otp(prompt.reconnect_id, "1111")
    await travel(minutes=1)
    assert (await flows.get(request.id)).state is State.fetched
    assert (await flows.results(request.id)).items


async def test_a_user_who_never_comes_back_lets_the_request_expire(
    flows: LeanFlow, flows_at: FlowsAt, travel: Travel
) -> None:
    """A reconnect id lives for 30 days."""
    request = await flows_at(State.awaiting_user)
    await travel(days=29)
    assert not (await flows.get(request.id)).state.is_end
    await travel(days=2)
    assert (await flows.get(request.id)).state is State.expired


async def test_webhooks_that_are_lost_do_not_lose_the_data(
    flows: LeanFlow, flows_at: FlowsAt, mockbank: Mockbank, travel: Travel
) -> None:
    """What never came is found in Lean's Events API."""
    request = await flows_at(State.awaiting_user)
    assert request.reconnect_id is not None
    mockbank.disturb(Disturbance(drop=True))
    mockbank.submit_otp(request.reconnect_id, "1111")
    await travel(seconds=1)
    assert (await flows.get(request.id)).state is State.awaiting_user
    await flows.reconcile()
    await flows.tick()
    assert (await flows.get(request.id)).state is State.fetched
