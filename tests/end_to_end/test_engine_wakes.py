"""Wakes: what an event does to the requests that it concerns beside the one it names; and looks at consents."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from leanflow import Answer, Call, DataRequest, LeanFlow, Policy, State
from leanflow._relay import LOOKS
from leanflow.errors import CallFailed
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import StoreMaker, deliver, engine
from tests.support.lean import Lean, answer, webhook

QUICK = Policy(announce_backoff=(timedelta(seconds=1),), announce_tries=3)


async def _wanting(flows: LeanFlow, lean: Lean, resource: str, entity_id: str = "e") -> DataRequest:
    lean.will(entity_id, "reconnect")
    request = await flows.request(resource, entity_id=entity_id)
    assert request.state is State.reconnect_required
    return request


async def test_one_otp_unblocks_all_requests_of_the_entity(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Proved live by one, the entity's others are placed again with jitter, once; another entity's are not."""
    async with engine(make(), lean, clock) as flows:
        first = await _wanting(flows, lean, "accounts")
        others = [await _wanting(flows, lean, "identity")]
        for number in range(3):
            lean.will("e", "reconnect")
            request = await flows.request("balances", entity_id="e", account_id=f"a{number}")
            others.append(request)
        stranger = await _wanting(flows, lean, "accounts", "f")
        prompted = others[-1]
        await flows.prompt(prompted.id)
        await flows.prompt(first.id)
        lean.reconnect(first.reconnect_id or "")
        await deliver(flows, *lean.take())
        await travel(flows, clock, timedelta(seconds=11))
        for request in (first, *others[:-1]):
            assert (await flows.get(request.id)).state is State.fetched
        held = await flows.get(prompted.id)
        assert held.state is State.awaiting_user
        assert held.entity_live_at is not None
        assert (await flows.get(stranger.id)).version == stranger.version
        await flows.callback(prompted.id, {"status": "CANCELLED"}, prompt=1)
        await travel(flows, clock, timedelta(seconds=1))
        assert (await flows.get(prompted.id)).state is State.fetched
        assert lean.placed["e"] == 5 + 4


async def test_a_bank_that_is_back_wakes_what_it_held(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`bank.availability.updated` with both switches on places what DISABLED_BY_LEAN held, spread out."""
    async with engine(make(), lean, clock) as flows:
        held = []
        for number in range(120):
            lean.will(f"e{number}", "DISABLED_BY_LEAN")
            held.append(await flows.request("accounts", entity_id=f"e{number}"))
        for number, (active, enabled) in enumerate([(True, False), (False, True)]):
            switches = {"active": {"data": active}, "enabled": {"data": enabled}}
            await deliver(
                flows,
                webhook(
                    "bank.availability.updated", {"identifier": "B", "availability": switches}, event_id=str(number)
                ),
            )
        await travel(flows, clock, timedelta(seconds=11))
        assert (await flows.counts())[State.requested] == 120
        switches = {"active": {"data": True}, "enabled": {"data": True}}
        raw = webhook("bank.availability.updated", {"identifier": "B", "availability": switches}, event_id="back")
        await deliver(flows, raw, raw)
        await flows.tick()
        places = {(await flows.get(r.id)).place_at for r in held[:20]}
        assert len(places) > 15
        await travel(flows, clock, timedelta(seconds=11))
        assert (await flows.counts())[State.fetched] == 120


async def test_an_unmatched_reconnect_only_nudges(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`entity.reconnected` with an id that nobody has moves no request; it has the entity's results looked at soon."""
    async with engine(make(), lean, clock) as flows:
        request = await _wanting(flows, lean, "accounts")
        await deliver(
            flows, webhook("entity.reconnected", {"id": "e", "reconnect_id": "unknown"}, event_id="1", at=clock.now())
        )
        looked = len(lean.calls)
        await travel(flows, clock, timedelta(seconds=11))
        assert len(lean.calls) == looked + 1
        assert (await flows.get(request.id)).state is State.reconnect_required
        assert lean.placed["e"] == 1


@pytest.mark.parametrize("kind", ["entity.updated", "consent.status.updated"])
async def test_a_consent_is_looked_at_before_it_is_taken_for_lost(
    make: StoreMaker, clock: FakeClock, lean: Lean, kind: str
) -> None:
    """The webhook does not say whether it was renewed or revoked: the entity is asked for, until Lean answers."""
    async with engine(make(), lean, clock) as flows:
        lean.will("e", "reconnect")
        request = await flows.request("accounts", entity_id="e", customer_id="c")
        payload = {"id": "e", "entity_id": "e", "customer_id": "c"}
        await deliver(flows, webhook(kind, payload, event_id="renewed"))
        await flows.tick()
        assert await flows.get(request.id) == request
        lean.consent = "REVOKED"
        lean.down = True
        await deliver(flows, webhook(kind, payload, event_id="revoked"))
        await travel(flows, clock, timedelta(seconds=30))
        assert await flows.get(request.id) == request
        lean.down = False
        await travel(flows, clock, timedelta(minutes=6))
        final = await flows.get(request.id)
        assert final.failure is not None
        assert (final.state, final.failure.code, final.failure.remedy) == (State.failed, "CONSENT_EXPIRED", "connect")


async def test_a_refusal_says_nothing_about_the_consent(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """When Lean answers the look at the entity with an HTTP error, it is looked at again later."""
    async with engine(make(), lean, clock) as flows:
        lean.will("e", "reconnect")
        request = await flows.request("accounts", entity_id="e", customer_id="c")
        real = lean._customers
        lean._customers = lambda call: answer({"status": "INTERNAL_SERVER_ERROR"}, 500)  # type: ignore[method-assign]  # noqa: ARG005 - put back below
        lean.consent = "REVOKED"
        await deliver(flows, webhook("entity.updated", {"id": "e", "customer_id": "c"}, event_id="1"))
        await flows.tick()
        assert await flows.get(request.id) == request
        lean._customers = real  # type: ignore[method-assign]  # put back
        await travel(flows, clock, timedelta(seconds=10))
        assert (await flows.get(request.id)).state is State.failed


OUTAGE = timedelta(days=2)
"""Longer than `announce_tries` last with the waits between them, which is some nine hours."""


@pytest.mark.parametrize("status", [None, 408, 429, 503])
async def test_an_outage_of_lean_counts_against_no_look_at_a_consent(
    make: StoreMaker, clock: FakeClock, lean: Lean, caplog: pytest.LogCaptureFixture, status: int | None
) -> None:
    """Without an answer, or one that says to come later, it is looked at until Lean answers, less and less often."""
    async with engine(make(), lean, clock) as flows:
        lean.will("e", "reconnect")
        request = await flows.request("accounts", entity_id="e", customer_id="c")
        real, looks = lean._customers, []

        def away(call: Call) -> Answer:
            looks.append(clock.now())
            if status is None:
                raise CallFailed("connection reset", maybe_sent=True)
            return answer({"status": "ERROR"}, status)

        lean._customers = away  # type: ignore[method-assign]  # put back below
        lean.consent = "REVOKED"
        await deliver(flows, webhook("entity.updated", {"id": "e", "customer_id": "c"}, event_id="1"))
        await travel(flows, clock, OUTAGE)
        [row] = await flows.undelivered()
        assert (row.sink, row.tries, row.set_aside, row.error) == ("wake", 0, False, "CallFailed")
        assert looks[1] - looks[0] < timedelta(seconds=2)
        assert timedelta(minutes=30) <= looks[-1] - looks[-2] < timedelta(minutes=34)
        assert caplog.text.count("Lean is away") == len(looks) > 90
        assert "Traceback" not in caplog.text
        lean._customers = real  # type: ignore[method-assign]  # put back
        await travel(flows, clock, timedelta(minutes=34))
        assert (await flows.get(request.id)).state is State.failed
        assert await flows.undelivered() == ()


async def _checked(flows: LeanFlow, lean: Lean, entities: int) -> None:
    """Have so many entities' consents to be looked at."""
    for number in range(entities):
        lean.will(f"e{number}", "reconnect")
        await flows.request("accounts", entity_id=f"e{number}", customer_id="c")
    for number in range(entities):
        raw = webhook("entity.updated", {"id": f"e{number}", "customer_id": "c"}, event_id=f"{number}")
        await deliver(flows, raw)


async def _nudged(flows: LeanFlow, clock: FakeClock, entity_id: str, event_id: str) -> None:
    """Have an entity's requests woken without a question to Lean."""
    payload = {"id": entity_id, "reconnect_id": "unknown"}
    await deliver(flows, webhook("entity.reconnected", payload, event_id=event_id, at=clock.now()))


async def test_while_lean_is_away_wakes_do_not_wait_for_one_another(clock: FakeClock, lean: Lean) -> None:
    """Of all that would look at an entity few ask Lean; none waits for ever behind one that never gets an answer."""
    entities = 2 * LOOKS
    async with asyncio.timeout(60), engine(MemoryStore(), lean, clock) as flows:
        looks: list[str] = []
        begun = asyncio.Barrier(LOOKS)

        async def away(call: Call) -> None:
            looks.append(call.path)
            if len(looks) <= LOOKS:
                await begun.wait()
            raise CallFailed("no answer within 70 s", maybe_sent=True)

        await _checked(flows, lean, entities)
        lean.before = away
        await flows.tick()
        assert len(looks) == LOOKS
        assert [row.kind for row in await flows.undelivered()] == ["wake"] * entities
        await travel(flows, clock, timedelta(seconds=10))
        assert len(set(looks)) == entities
        lean.before = None
        await travel(flows, clock, timedelta(minutes=34))
        assert await flows.undelivered() == ()


async def test_looks_go_a_few_at_a_time(clock: FakeClock, lean: Lean) -> None:
    """One that Lean answers slowly does not hold up all behind it, and Lean is not asked everything at once."""
    async with asyncio.timeout(60), engine(MemoryStore(), lean, clock) as flows:
        under_way, most = 0, 0
        together = asyncio.Barrier(LOOKS)

        async def slow(_call: Call) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await together.wait()
            under_way -= 1

        await _checked(flows, lean, 3 * LOOKS)
        lean.before = slow
        await flows.tick()
        lean.before = None
        assert most == LOOKS
        assert await flows.undelivered() == ()


async def test_a_worker_looks_at_once(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A wake that asks Lean is begun when it is claimed, and waits for no poll: the clock stands still here."""
    async with asyncio.timeout(60), engine(make(), lean, clock, workers=1) as flows:
        await _checked(flows, lean, 1)
        while await flows.undelivered():
            await asyncio.sleep(0)


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_wake_that_asks_nothing_waits_for_no_look_that_hangs(
    clock: FakeClock, lean: Lean, workers: int
) -> None:
    """It is delivered and off the outbox while Lean leaves a look without an answer, whichever of them came first."""
    async with asyncio.timeout(60), engine(MemoryStore(), lean, clock) as flows:
        await _checked(flows, lean, 1)
    hangs, answers = lean.hold()
    async with asyncio.timeout(60), engine(flows._store, lean, clock, workers=workers, seed=1) as flows:
        await _nudged(flows, clock, "e0", "at once")
        ticking = asyncio.create_task(flows.tick()) if workers == 0 else None
        await hangs.wait()
        await _nudged(flows, clock, "e0", "later")
        if workers == 0:
            await flows._idle_worker._relay.relay("wake")
        while len(left := [row.key for row in await flows.undelivered()]) > 1:
            await asyncio.sleep(0)
        assert left == ["wake:event:0"]
        answers.set()
        if ticking is not None:
            await ticking
        while await flows.undelivered():
            await asyncio.sleep(0)


async def test_a_look_that_lean_refuses_is_set_aside_in_the_end(clock: FakeClock, lean: Lean) -> None:
    """No repeating makes a 403 better: somebody must look, and can send it again."""
    async with engine(MemoryStore(), lean, clock, policy=QUICK) as flows:
        lean.will("e", "reconnect")
        await flows.request("accounts", entity_id="e", customer_id="c")
        lean._customers = lambda call: answer({"status": "FORBIDDEN"}, 403)  # type: ignore[method-assign]  # noqa: ARG005 - of one test
        await deliver(flows, webhook("entity.updated", {"id": "e", "customer_id": "c"}, event_id="1"))
        await travel(flows, clock, timedelta(minutes=1))
        [row] = await flows.undelivered(set_aside=True)
        assert (row.sink, row.tries, row.error) == ("wake", 3, "MalformedBody")


async def test_a_wake_that_was_cut_off_is_finished_and_counts_once(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """A wake is acknowledged after its last target: taken up again, each target still has one step of it."""
    async with engine(make(), lean, clock) as flows:
        first = await _wanting(flows, lean, "accounts")
        others = [await _wanting(flows, lean, "identity")]
        lean.will("e", "reconnect")
        others.append(await flows.request("balances", entity_id="e", account_id="a"))
        await flows.prompt(first.id)
        lean.reconnect(first.reconnect_id or "", ready=False)
        await deliver(flows, *lean.take())
        real = flows._steps.apply
        woken: list[str] = []

        async def dies(request_id: str, event: Any, **more: Any) -> Any:
            if event.tag == "entity_proved_live":
                if woken:
                    raise KeyboardInterrupt
                woken.append(request_id)
            return await real(request_id, event, **more)

        flows._steps.apply = dies  # type: ignore[method-assign]  # put back below
        with pytest.raises(KeyboardInterrupt):
            await flows._idle_worker._relay.relay("wake")
        flows._steps.apply = real  # type: ignore[method-assign]  # put back
        await travel(flows, clock, timedelta(minutes=3))
        for request in others:
            rows = await flows.history(request.id)
            assert [row.tag for row in rows].count("entity_proved_live") == 1
            assert (await flows.get(request.id)).state is State.fetched
