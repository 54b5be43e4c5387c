"""Commands done by an engine: each answer, each refusal, and the same command again, late or at once."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from leanflow import Handlers, LeanFlow, Policy, Reply, State
from leanflow.commands import Cancel, Command, CommandReply, Commands, Prompt, Renew, Request
from leanflow.errors import StoreUnavailable
from leanflow.testing import FakeClock, travel
from tests.support.engine import StoreMaker, engine
from tests.support.lean import Lean
from tests.support.stores import unsteady

ACCOUNTS = Request(key="case-9", resource="accounts", entity_id="e", customer_id="c", reference="user-17")


async def _ask(flows: LeanFlow, command: Command | bytes) -> tuple[Reply, CommandReply]:
    raw = command if isinstance(command, bytes) else command.to_bytes()
    reply = await Commands(flows).receive({}, raw)
    return reply, CommandReply.from_bytes(reply.body)


async def _wanting(flows: LeanFlow, lean: Lean, command: Request = ACCOUNTS) -> str:
    """Ask for what Lean wants the user for; return the request's id."""
    lean.will("e", "reconnect")
    _, told = await _ask(flows, command)
    assert told.request is not None
    assert told.request.state is State.reconnect_required
    return told.request.id


async def test_each_command_does_what_its_method_does(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Request, prompt and cancel through messages alone, with the records in the replies."""
    async with engine(make(), lean, clock) as flows:
        request_id = await _wanting(flows, lean)
        reply, told = await _ask(flows, Prompt(key="p1", request_id=request_id))
        assert (reply.status, reply.retry, reply.headers["content-type"]) == (200, False, "application/json")
        assert told.prompt is not None
        assert (told.prompt.number, told.prompt.reconnect["access_token"]) == (1, "token 1 of c")
        _, told = await _ask(flows, Cancel(key="x", request_id=request_id))
        assert told.request is not None
        assert (told.ok, told.request.state, told.request.reference) == (True, State.cancelled, "user-17")


async def test_a_request_again_is_the_same_record(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """One key makes one request, however often it comes and after it has ended; other parameters are refused."""
    async with engine(make(), lean, clock) as flows:
        told = [await _ask(flows, ACCOUNTS) for _ in range(2)]
        told += await asyncio.gather(*(_ask(flows, ACCOUNTS) for _ in range(8)))
        assert len({each.request.id for _, each in told if each.request}) == 1
        assert lean.placed["e"] == 1
        reply, refused = await _ask(flows, Request(key="case-9", resource="balances", entity_id="e", account_id="a"))
        assert (reply.status, reply.retry) == (409, False)
        assert refused.error is not None
        assert refused.error.name == "KeyReused"


async def test_a_prompt_again_is_the_same_prompt(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A copy of a prompt, late or at once, hands out no further one: the user's callback to the first stays good."""
    async with engine(make(), lean, clock) as flows:
        request_id = await _wanting(flows, lean)
        again = Prompt(key="p1", request_id=request_id)
        told = [each for _, each in await asyncio.gather(*(_ask(flows, again) for _ in range(8)))]
        told.append((await _ask(flows, again))[1])
        assert {each.prompt.number for each in told if each.prompt} == {1}
        assert all(each.ok for each in told)
        _, second = await _ask(flows, Prompt(key="p2", request_id=request_id))
        assert second.prompt is not None
        assert second.prompt.number == 2
        reply, over = await _ask(flows, again)
        assert reply.status == 409
        assert over.error is not None
        assert "new key" in over.error.message


async def test_copies_in_two_processes_are_one_command(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Two engines on one store get the same commands at once: one request, one call, one prompt, one successor."""
    async with engine(make(), lean, clock) as one, engine(make(), lean, clock, seed=1) as two:
        both = (one, two) * 4
        lean.will("e", "reconnect")
        asked = Request(key="k", resource="accounts", entity_id="e", give_up_after=3600)
        told = [each for _, each in await asyncio.gather(*(_ask(flows, asked) for flows in both))]
        [request_id] = {each.request.id for each in told if each.request}
        await one.tick()
        assert lean.placed["e"] == 1
        prompt = Prompt(key="p", request_id=request_id)
        told = [each for _, each in await asyncio.gather(*(_ask(flows, prompt) for flows in both))]
        assert [each.prompt.number for each in told if each.prompt] == [1] * 8
        clock.advance(timedelta(days=1))
        await one.tick()
        renew = Renew(key="r", request_id=request_id)
        told = [each for _, each in await asyncio.gather(*(_ask(flows, renew) for flows in both))]
        assert len({each.request.id for each in told if each.request}) == 1


async def test_a_late_copy_does_not_prompt_nobody(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """The user closed the page and the prompt is back: a copy of the old command does not hand it out again."""
    async with engine(make(), lean, clock) as flows:
        request_id = await _wanting(flows, lean)
        await _ask(flows, Prompt(key="p1", request_id=request_id))
        await flows.callback(request_id, {"status": "CANCELLED"}, prompt=1)
        reply, over = await _ask(flows, Prompt(key="p1", request_id=request_id))
        assert (reply.status, over.ok) == (409, False)
        assert (await flows.get(request_id)).state is State.reconnect_required


async def test_a_prompt_that_was_refused_stays_refused(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """The same key gets the same answer, even if the user is wanted by now; a new key gets the prompt."""
    async with engine(make(), lean, clock) as flows:
        lean.will("e", "pending")
        _, told = await _ask(flows, ACCOUNTS)
        assert told.request is not None
        request_id, results_id = told.request.id, told.request.results_id
        early = Prompt(key="early", request_id=request_id)
        assert (await _ask(flows, early))[0].status == 409
        assert results_id is not None
        lean.results[results_id].status = "RECONNECT_REQUIRED"
        await travel(flows, clock, timedelta(hours=1))
        assert (await flows.get(request_id)).state is State.reconnect_required
        assert (await _ask(flows, early))[0].status == 409
        assert (await _ask(flows, Prompt(key="now", request_id=request_id)))[1].ok


async def test_cancel_and_renew_again_find_what_was_done(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """They need no memory: a copy answers as the first did, at once or later, with whatever key."""
    async with engine(make(), lean, clock) as flows:
        first = await _wanting(flows, lean)
        cancel = Cancel(key="x", request_id=first)
        told = [each for _, each in await asyncio.gather(*(_ask(flows, cancel) for _ in range(5)))]
        assert [each.request.state for each in told if each.request] == [State.cancelled] * 5
        second = await _wanting(flows, lean, Request(key="k", resource="accounts", entity_id="e", give_up_after=60))
        await travel(flows, clock, timedelta(hours=1))
        assert (await flows.get(second)).state is State.expired
        renew = Renew(key="n", request_id=second)
        told = [each for _, each in await asyncio.gather(*(_ask(flows, renew) for _ in range(5)))]
        told.append((await _ask(flows, renew))[1])
        assert len({each.request.id for each in told if each.request}) == 1


@pytest.mark.parametrize(
    ("raw", "status", "refusal"),
    [
        (b"no json", 400, ("MalformedBody", "$")),
        (b'{"command": "cancel", "key": "k"}', 400, ("MalformedBody", "$.request_id")),
        (Cancel(key="k", request_id="nobody").to_bytes(), 404, ("RequestNotFound", None)),
        (Prompt(key="k", request_id="nobody").to_bytes(), 404, ("RequestNotFound", None)),
        (Renew(key="k", request_id="nobody").to_bytes(), 404, ("RequestNotFound", None)),
        (Cancel(key="k" * 256, request_id="nobody").to_bytes(), 400, ("InvalidRequest", "$.key")),
        (Request(key="k", resource="money", entity_id="e").to_bytes(), 400, ("InvalidRequest", "$.resource")),
        (Request(key="k", resource="balances", entity_id="e").to_bytes(), 400, ("InvalidRequest", "$.account_id")),
        (
            Request(key="k", resource="identity", entity_id="e", params={"a": "b"}).to_bytes(),
            400,
            ("InvalidRequest", "$.params.a"),
        ),
        (b" " * 2_000_000, 413, ("InvalidRequest", "$.body")),
    ],
)
async def test_what_cannot_be_done_is_said_by_name_and_path(
    make: StoreMaker, clock: FakeClock, raw: bytes, status: int, refusal: tuple[str, str | None]
) -> None:
    """The reply carries the error's name, the path and words for people; nothing is stored, and nothing to retry."""
    async with engine(make(), Lean(clock), clock) as flows:
        reply, told = await _ask(flows, raw)
        assert (reply.status, reply.retry, told.ok) == (status, False, False)
        assert told.error is not None
        assert (told.error.name, told.error.path) == refusal
        assert sum((await flows.counts()).values()) == 0


async def test_a_sender_is_answered_by_its_key_even_if_the_rest_is_wrong(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """Command and key are repeated as far as they can be read."""
    async with engine(make(), lean, clock) as flows:
        _, told = await _ask(flows, b'{"command": "cancel", "key": "k7"}')
        assert (told.command, told.key) == ("cancel", "k7")
        _, told = await _ask(flows, json.dumps({"key": "k7", "command": {"a": 1}}).encode())
        assert (told.command, told.key) == (None, "k7")
        _, told = await _ask(flows, b"[1]")
        assert (told.command, told.key) == (None, None)


async def test_a_store_or_a_token_that_is_away_is_to_be_tried_again(
    make: StoreMaker, clock: FakeClock, lean: Lean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 and `retry`: the bus brings the command again, and then it is done, once."""
    async with engine(make(), lean, clock, policy=Policy(place_wait=timedelta())) as flows:
        store: Any = flows.store

        async def away(*_: Any) -> Any:
            raise StoreUnavailable("away")

        with monkeypatch.context() as broken:
            broken.setattr(store, "create", away)
            reply, told = await _ask(flows, ACCOUNTS)
        assert (reply.status, reply.retry) == (503, True)
        assert told.error is not None
        assert (told.error.name, told.error.retryable, told.key) == ("StoreUnavailable", True, "case-9")
        request_id = await _wanting_after_tick(flows, lean)
        lean.down = True
        reply, _ = await _ask(flows, Prompt(key="p", request_id=request_id))
        assert (reply.status, reply.retry) == (503, True)
        lean.down = False
        _, told = await _ask(flows, Prompt(key="p", request_id=request_id))
        assert told.prompt is not None
        assert told.prompt.number == 1


async def _wanting_after_tick(flows: LeanFlow, lean: Lean) -> str:
    lean.will("e", "reconnect")
    _, told = await _ask(flows, ACCOUNTS)
    await flows.tick()
    assert told.request is not None
    assert (await flows.get(told.request.id)).state is State.reconnect_required
    return told.request.id


async def test_a_process_that_knew_the_request_before_hands_out_its_token(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """What another process has moved since is looked up: the prompt does not go without its token."""
    store = make()
    async with engine(store, lean, clock) as one, engine(make(), lean, clock, seed=1, handlers=[Handlers()]) as two:
        lean.will("e", "pending")
        request = await one.request("accounts", entity_id="e", customer_id="c")
        await two.callback(request.id, {"status": "SUCCESS"}, prompt=0)  # two knows it, as it is now
        assert request.results_id is not None
        lean.results[request.results_id].status = "RECONNECT_REQUIRED"
        clock.advance(timedelta(hours=1))
        await one.tick()
        assert (await one.get(request.id)).state is State.reconnect_required
        assert (await two.prompt(request.id)).access_token == "token 1 of c"


async def test_a_store_that_stalls_does_not_hold_the_bus(
    make: StoreMaker, clock: FakeClock, lean: Lean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R17: after a while 503 and `retry`; the command that comes again has one effect, with the one before."""
    monkeypatch.setattr("leanflow.commands.TOKEN_WAIT", timedelta(milliseconds=50))
    waits = Policy(commit_timeout=timedelta(milliseconds=50), place_wait=timedelta())
    async with engine(store := unsteady(make()), lean, clock, policy=waits) as flows:
        request_id = await _wanting_after_tick(flows, lean)
        store.gate = asyncio.Event()
        reply, told = await _ask(flows, Prompt(key="p", request_id=request_id))
        assert (reply.status, reply.retry) == (503, True)
        assert told.error is not None
        assert told.error.name == "StoreUnavailable"
        store.gate.set()
        store.gate = None
    async with engine(make(), lean, clock, seed=1) as flows:
        _, told = await _ask(flows, Prompt(key="p", request_id=request_id))
        assert told.prompt is not None
        assert told.prompt.number == 1
