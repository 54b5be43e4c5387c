"""What the user is handed, and what the Link SDK says: prompts, their numbers, hints."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from leanflow import DataRequest, LeanFlow, State
from leanflow.errors import CallFailed, InvalidRequest, NotInState
from leanflow.testing import FakeClock
from tests.support.engine import StoreMaker, engine
from tests.support.lean import Lean

DAY = timedelta(days=1)


async def _wanting(flows: LeanFlow, lean: Lean, **more: Any) -> DataRequest:
    lean.will("e", "reconnect")
    request = await flows.request("accounts", entity_id="e", **more)
    assert request.state is State.reconnect_required
    return request


async def test_a_prompt_names_lean_s_argument(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`prompt` makes the request await its user; asked again it has the same ids, a fresh token and the next number."""
    async with engine(make(), lean, clock) as flows:
        request = await _wanting(flows, lean, customer_id="c")
        first, second = await flows.prompt(request.id), await flows.prompt(request.id)
        assert first.to_dict() == {
            "app_token": "app", "reconnect_id": request.reconnect_id, "sandbox": True, "access_token": "token 1 of c",
        }  # fmt: skip
        assert (first.number, second.number) == (1, 2)
        assert second.to_dict() == {**first.to_dict(), "access_token": "token 2 of c"}
        assert "token 1" not in repr(first)
        assert (await flows.get(request.id)).state is State.awaiting_user


async def test_a_prompt_without_a_customer_has_no_token(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Without a customer there is nobody to scope a token to, and the prompt goes without."""
    async with engine(make(), lean, clock) as flows:
        request = await _wanting(flows, lean)
        assert "access_token" not in (await flows.prompt(request.id)).to_dict()


async def test_a_prompt_that_cannot_be_had_changes_nothing(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """No token: `CallFailed`, and the request stays. No need of the user, or a dead reconnect id: `NotInState`."""
    async with engine(make(), lean, clock) as flows:
        request = await _wanting(flows, lean, customer_id="c")
        lean.down = True
        with pytest.raises(CallFailed):
            await flows.prompt(request.id)
        assert await flows.get(request.id) == request
        lean.down = False
        clock.advance(31 * DAY)
        with pytest.raises(NotInState, match="died of age"):
            await flows.prompt(request.id)
        done = await flows.request("identity", entity_id="other")
        with pytest.raises(NotInState, match="it has ended"):
            await flows.prompt(done.id)
        lean.will("third", "pending")
        waiting = await flows.request("identity", entity_id="third")
        with pytest.raises(NotInState, match="does not need its user"):
            await flows.prompt(waiting.id)


async def test_the_sdk_s_word_is_a_hint(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """SUCCESS moves nothing; CANCELLED takes the prompt back; what another prompt's callback says is stale."""
    async with engine(make(), lean, clock) as flows:
        request = await _wanting(flows, lean)
        prompt = await flows.prompt(request.id)
        stayed = await flows.callback(request.id, {"status": "SUCCESS", "message": "well"}, prompt=prompt.number)
        assert (stayed.state, stayed.hint) == (State.awaiting_user, "SUCCESS")
        await flows.callback(request.id, {"status": "CANCELLED"}, prompt=prompt.number + 1)
        assert (await flows.get(request.id)).state is State.awaiting_user
        assert (await flows.history(request.id))[-1].declined == "stale"
        back = await flows.callback(request.id, {"status": "CANCELLED"}, prompt=prompt.number)
        assert back.state is State.reconnect_required
        with pytest.raises(InvalidRequest):
            await flows.callback(request.id, {}, prompt=1)


async def test_a_prompt_is_refused_after_too_many_errors(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """The Link SDK failing five times with one reconnect id stops further prompts, and never ends the request."""
    async with engine(make(), lean, clock) as flows:
        request = await _wanting(flows, lean)
        for _ in range(5):
            prompt = await flows.prompt(request.id)
            await flows.callback(request.id, {"status": "ERROR"}, prompt=prompt.number)
        with pytest.raises(NotInState, match="failed too often"):
            await flows.prompt(request.id)
        assert (await flows.get(request.id)).state is State.reconnect_required
