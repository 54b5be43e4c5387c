"""An engine and a bank that authorises on its own site: REDIRECT moves nothing, the webhooks do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from leanflow import LeanFlow, Resource, State
from leanflow.mockbank import Mockbank

Travel = Callable[..., Awaitable[None]]


async def asked(flows: LeanFlow, mockbank: Mockbank) -> str:
    """Ask for the accounts of somebody whom their bank wants to see, on its own site; return the request's id."""
    mockbank.redirect_bank("LEANMB1")
    entity = mockbank.connect("user-1", bank="LEANMB1")
    mockbank.expire_session(entity)
    request = await flows.request(Resource.accounts, entity_id=entity)
    assert request.state is State.reconnect_required
    return request.id


# Wrappers for React Native and Flutter say this as soon as the browser has opened, whatever happens in it.
SYNTHESISED = {"status": "SUCCESS", "message": "Link closed after redirect"}


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_refusal_at_the_bank_moves_nothing(
    flows: LeanFlow, mockbank: Mockbank, travel: Travel, wrapped: bool
) -> None:
    """After REDIRECT it stays the user's turn; the results are looked at after two minutes; then the prompt is back."""
    request_id = await asked(flows, mockbank)
    prompt = await flows.prompt(request_id)
    said = mockbank.authorise(prompt.reconnect_id, approve=False).payload()
    assert said["status"] == "REDIRECT"
    after = await flows.callback(request_id, SYNTHESISED if wrapped else said, prompt=prompt.number)
    assert after.state is State.awaiting_user
    await travel(minutes=1)
    assert mockbank.log.count("results") == 0
    await travel(minutes=2)
    assert mockbank.log.count("results") == 1
    assert (await flows.get(request_id)).state is State.awaiting_user
    await travel(minutes=15)
    assert (await flows.get(request_id)).state is State.reconnect_required
    again = await flows.prompt(request_id)
    assert (again.number, again.reconnect_id) == (prompt.number + 1, prompt.reconnect_id)
    mockbank.authorise(again.reconnect_id)
    await travel(minutes=1)
    assert (await flows.get(request_id)).state is State.fetched


@pytest.mark.parametrize("told", ["before", "after", "never"])
async def test_an_approval_at_the_bank_ends_in_the_data(
    flows: LeanFlow, mockbank: Mockbank, travel: Travel, told: str
) -> None:
    """Whether the callback came before the webhooks, after them, or was lost with the page that went to the bank."""
    request_id = await asked(flows, mockbank)
    prompt = await flows.prompt(request_id)
    if told == "before":
        said = {"status": "REDIRECT", "open_banking_redirect_url": "https://bank.example/"}
        assert (await flows.callback(request_id, said, prompt=prompt.number)).state is State.awaiting_user
    said = mockbank.authorise(prompt.reconnect_id).payload()
    await travel(seconds=1)
    assert (await flows.get(request_id)).state is State.fetched
    if told == "after":
        assert (await flows.callback(request_id, said, prompt=prompt.number)).state is State.fetched
    assert len((await flows.results(request_id)).items) > 0
