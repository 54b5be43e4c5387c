"""Calls whose outcome is unknown, late or repeated: call numbers, leases, adoption."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from copy import copy
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from leanflow import Call, LeanFlow, Policy, State, calls
from leanflow.testing import FakeClock, travel
from tests.support.engine import StoreMaker, check_history, deliver, engine, recorder
from tests.support.lean import Lean, answer, webhook
from tests.support.stores import unsteady

LEASE = Policy().lease
FIRST_ID = str(UUID(int=1))  # of Lean's own


class Held:
    """Holds Lean's answers back until they are let go, each on its own."""

    def __init__(self, lean: Lean) -> None:
        self.arrived: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        lean.before = self._before

    def _before(self, _call: Call) -> object:
        go = asyncio.Event()
        self.arrived.put_nowait(go)
        return go.wait()


# --- call identity -----------------------------------------------------------------------------------------------


async def test_a_crash_between_claim_and_answer_is_taken_over(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """The claim is stored before anything is sent; when its lease ends another engine calls, under a new number."""
    held = Held(lean)
    async with engine(make(), lean, clock, seed=1) as survivor:
        dead = engine(make(), lean, clock)
        await dead.__aenter__()
        asking = asyncio.create_task(dead.request("accounts", entity_id="e"))
        await held.arrived.get()
        await _kill(dead, asking)
        lean.before = None
        assert await survivor.tick() == 0
        [request] = [r async for r in survivor.find()]
        assert (request.state, request.call_no) == (State.requested, 1)
        await travel(survivor, clock, LEASE - timedelta(seconds=1))
        assert (await survivor.get(request.id)).state is State.requested
        await travel(survivor, clock, timedelta(seconds=1))
        final = await survivor.get(request.id)
        assert (final.state, final.call_no) == (State.fetched, 2)
        check_history(await survivor.history(request.id))


async def _kill(flows: LeanFlow, *tasks: asyncio.Task[Any]) -> None:
    """Stand for SIGKILL: nothing of this engine runs any more."""
    doomed: list[asyncio.Future[Any]] = [*tasks, *flows._placing.under_way.values(), *flows._keeping]
    for task in doomed:
        task.cancel()
    await asyncio.gather(*doomed, return_exceptions=True)
    await flows._store.aclose()


async def test_a_call_ends_without_an_error_when_the_store_is_closed_under_it(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """Who is asked while the engine closes is answered late: the request is due again when its lease ends."""
    held = Held(lean)
    async with engine(make(), lean, clock) as flows:
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        first = await held.arrived.get()
        (placing,) = flows._placing.under_way.values()
        asking.cancel()
        await flows._store.aclose()
        first.set()
        await placing


def _stop_renewing(flows: LeanFlow) -> None:
    """Let the leases of this engine run out, as if it were frozen."""
    for task in flows._keeping:
        task.cancel()


async def test_a_superseded_answer_does_not_count_twice(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R24: a frozen worker's late answer is refused once a newer one is stored; its ids are kept as aliases."""
    held = Held(lean)
    lean.will("e", "pending", "pending")
    async with engine(make(), lean, clock) as frozen, engine(make(), lean, clock, seed=1) as other:
        asking = asyncio.create_task(frozen.request("accounts", entity_id="e"))
        first = await held.arrived.get()
        clock.advance(timedelta(seconds=5))
        request = await asking
        _stop_renewing(frozen)
        clock.advance(LEASE)
        ticking = asyncio.create_task(other.tick())
        second = await held.arrived.get()
        second.set()
        await ticking
        now = await other.get(request.id)
        assert (now.call_no, now.state) == (2, State.requested)
        current = now.results_id
        lean.before = None
        first.set()
        await frozen.tick()
        after = await other.get(request.id)
        assert (after.results_id, after.version) == (current, now.version)
        assert (await other.history(request.id))[-1].declined == "stale"
        [older] = set(lean.results) - {current}
        await deliver(other, webhook("results.ready", {"id": older}, event_id="1"))
        assert (await other.get(request.id)).version == now.version
        assert (await other.history(request.id))[-1].declined == "stale"


async def test_an_old_answer_does_not_end_the_lease_of_the_call_under_way(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """A process that lost its lease and got it again: the answer to its first call leaves the second one its lease."""
    held = Held(lean)
    lean.will("e", "BANK_ISSUE", "ok")
    async with engine(make(), lean, clock) as flows:
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        first = await held.arrived.get()
        clock.advance(timedelta(seconds=5))
        request = await asking
        placing = flows._placing.under_way[request.id]
        _stop_renewing(flows)
        clock.advance(LEASE)
        sweeping = asyncio.create_task(flows._idle_worker.sweep())
        second = await held.arrived.get()
        first.set()
        await placing
        assert (await flows.history(request.id))[-1].declined == "stale"
        taken = await flows._store.claim(flows._scope, owner="another", now=clock.now(), lease=90, limit=9)
        assert taken == []
        second.set()
        await sweeping
        assert (await flows.get(request.id)).state is State.fetched


async def test_an_older_answer_with_data_counts_while_nothing_newer_is_known(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """The first call was slow, not lost: its data arrives while the second is under way, and ends the request."""
    held = Held(lean)
    async with engine(make(), lean, clock) as slow, engine(make(), lean, clock, seed=1) as other:
        asking = asyncio.create_task(slow.request("accounts", entity_id="e"))
        first = await held.arrived.get()
        clock.advance(timedelta(seconds=5))
        request = await asking
        _stop_renewing(slow)
        clock.advance(LEASE)
        ticking = asyncio.create_task(other.tick())
        second = await held.arrived.get()
        first.set()
        await slow.tick()
        assert (await slow.get(request.id)).state is State.fetched
        second.set()
        await ticking
        final = await slow.get(request.id)
        assert (await slow.history(request.id))[-1].declined == "late"
        assert len([page async for page in slow.pages(request.id)]) == 1
        assert final.state is State.fetched


async def test_a_lease_is_renewed_while_the_call_runs(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A call that takes longer than a lease is nobody else's."""
    held, renewed, store = Held(lean), asyncio.Event(), unsteady(make())
    store.after = lambda name: renewed.set() if name == "renew" else None
    async with engine(store, lean, clock) as flows, engine(make(), lean, clock, seed=1) as other:
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        go = await held.arrived.get()
        for _ in range(10):
            clock.advance(LEASE / 3)
            await renewed.wait()
            renewed.clear()
            assert await other.tick() == 0
        go.set()
        await flows.tick()
        assert (await flows.get((await asking).id)).state is State.fetched
        assert lean.placed["e"] == 1


async def test_the_end_of_a_call_leaves_the_next_one_its_lease(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A call that feeds an early webhook back may end after the fetch has begun, which stays nobody else's."""
    held, renewed, store = Held(lean), asyncio.Event(), unsteady(make())
    commits, go_on, raw = count(1), asyncio.Event(), webhook("results.ready", {"id": FIRST_ID}, event_id="1")
    store.after = lambda name: renewed.set() if name == "renew" else None
    lean.will("e", "pending")
    async with (
        engine(store, lean, clock) as flows,
        engine(make(), lean, clock, seed=1) as other,
        engine(make(), lean, clock, seed=2) as third,
    ):
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        first = await held.arrived.get()
        await deliver(other, raw)
        store.before = lambda name: _second_commit(name, commits, go_on)
        first.set()
        while next(copy(commits)) < 3:
            await asyncio.sleep(0)
        await deliver(third, raw)  # not the one that has parked it and knows its copies
        fetching = asyncio.create_task(flows._idle_worker.sweep())
        second = await held.arrived.get()
        lean.finish(FIRST_ID, announce=False)
        go_on.set()
        request = await asking
        try:
            async with asyncio.timeout(10):
                for _ in range(6):
                    clock.advance(LEASE / 3)
                    await renewed.wait()
                    renewed.clear()
                    assert await other.tick() == 0
        finally:
            second.set()
            await fetching
        assert (await flows.get(request.id)).state is State.fetched
        assert lean.fetched["e"] == 1


def _second_commit(name: str, commits: Iterator[int], go_on: asyncio.Event) -> object:
    return go_on.wait() if name == "commit" and next(commits) == 2 else None


@pytest.mark.parametrize("leases", [0, 3])
async def test_an_answer_outlasts_an_outage_of_the_store(
    make: StoreMaker, clock: FakeClock, lean: Lean, leases: int
) -> None:
    """An answer that cannot be stored is kept and tried again, its lease renewed: Lean is not asked twice."""
    store = unsteady(make())
    async with engine(store, lean, clock) as flows:

        def before(_call: Call) -> None:
            store.down, store.only = True, frozenset({"commit"})

        lean.before = before
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        await store.troubled.wait()
        store.troubled.clear()
        while not store.troubled.is_set():
            clock.advance(timedelta(seconds=0.1))
            await asyncio.sleep(0)
        for _ in range(leases * 10):
            clock.advance(LEASE / 10)
            store.troubled.clear()
            await store.troubled.wait()
        store.down = False
        clock.advance(timedelta(seconds=5))
        request = await asking
        await flows.tick()
        assert (await flows.get(request.id)).state is State.fetched
        assert lean.placed["e"] == 1


# --- outcome unknown ---------------------------------------------------------------------------------------------


async def test_a_call_that_lean_may_have_seen_is_not_repeated_within_a_minute(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """Lean answers DUPLICATED_REQUEST to a repeat within a minute; a call that never left is repeated sooner."""
    lean.will("lost", "lost")
    lean.will("unsent", "unsent")
    async with engine(make(), lean, clock) as flows:
        lost = await flows.request("accounts", entity_id="lost")
        unsent = await flows.request("accounts", entity_id="unsent")
        await travel(flows, clock, timedelta(seconds=59))
        assert ((await flows.get(lost.id)).state, lean.placed["lost"]) == (State.requested, 1)
        assert (await flows.get(unsent.id)).state is State.fetched
        await travel(flows, clock, timedelta(seconds=30))
        assert ((await flows.get(lost.id)).state, lean.placed["lost"]) == (State.fetched, 2)


async def test_a_call_that_breaks_is_in_the_log(
    make: StoreMaker, clock: FakeClock, lean: Lean, caplog: pytest.LogCaptureFixture
) -> None:
    """Or a wrong secret or address would be seen in no more than requests that stay where they are, for days."""
    lean.down = True
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e", reference="user-17")
        [told] = [record for record in caplog.records if record.levelname == "WARNING"]
        assert told.getMessage() == "no answer from Lean: connection refused"
        assert (told.name, vars(told)["request_id"]) == ("leanflow.worker", request.id)
        assert vars(told)["reference"] == "user-17"
        lean.down = False
        await travel(flows, clock, timedelta(hours=1))
        assert (await flows.get(request.id)).state is State.fetched


async def test_a_get_is_repeated_at_once(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A GET of results whose outcome is unknown is safe to repeat, and is, without any time passing."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        lean.finish(request.results_id or "")
        await deliver(flows, *lean.take())
        broken: list[Call] = []

        def before(call: Call) -> None:
            if not broken:
                broken.append(call)
                from leanflow.errors import CallFailed

                raise CallFailed("reset", maybe_sent=True)

        lean.before = before
        await flows.tick()
        assert (await flows.get(request.id)).state is State.fetched
        assert len(broken) == 1


async def test_a_lost_refresh_is_adopted(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Refreshes are limited per day: after an unknown outcome the one under way is adopted, none is started."""
    lean.will("e", "lost")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("refresh", entity_id="e")
        assert request.unsure
        [refresh_id] = lean.refreshes
        lean.calls.clear()
        await travel(flows, clock, timedelta(minutes=2))
        adopted = await flows.get(request.id)
        assert (adopted.refresh_id, adopted.unsure, lean.placed["e"]) == (refresh_id, False, 1)
        lean.refreshes[refresh_id]["status"] = "FINISHED"
        await deliver(
            flows,
            webhook("entity.data.refresh.updated", {"refresh_id": refresh_id, "status": "FINISHED"}, event_id="1"),
        )
        await flows.tick()
        assert (await flows.results(request.id)).items[0]["refresh_id"] == refresh_id


async def test_a_duplicated_refresh_is_adopted(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """DUPLICATED_REQUEST to a refresh: list them, and adopt the pending one."""
    lean.refreshes["theirs"] = {"refresh_id": "theirs", "entity_id": "e", "status": "PENDING"}
    lean.will("e", answer({"status": "DUPLICATED_REQUEST", "message": "Data refresh is already pending."}, 429))
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("refresh", entity_id="e")
        await travel(flows, clock, timedelta(minutes=2))
        assert ((await flows.get(request.id)).refresh_id, lean.placed["e"]) == ("theirs", 1)


@pytest.mark.parametrize("trouble", [answer({"status": "INTERNAL_SERVER_ERROR"}, 500), answer({"odd": 1})])
async def test_no_refresh_is_started_while_the_list_cannot_be_had(
    make: StoreMaker, clock: FakeClock, lean: Lean, trouble: object
) -> None:
    """While nobody can say whether one is under way, none is started; once the list is there it is adopted."""
    lean.will("e", "lost")
    real = lean._refreshes
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("refresh", entity_id="e")
        listed: Any = lambda call: trouble if call.method == "GET" else real(call)  # noqa: E731
        lean._refreshes = listed  # type: ignore[method-assign]  # put back below
        await travel(flows, clock, timedelta(minutes=5))
        assert ((await flows.get(request.id)).state, lean.placed["e"]) == (State.requested, 1)
        lean._refreshes = real  # type: ignore[method-assign]  # put back
        await travel(flows, clock, timedelta(hours=1))
        now = await flows.get(request.id)
        assert (now.refresh_id, lean.placed["e"]) == (next(iter(lean.refreshes)), 1)


async def test_a_crashed_refresh_is_adopted_by_whoever_takes_over(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """A POST that another process may have sent before it died is looked for before one is sent."""
    lean.refreshes["theirs"] = {"refresh_id": "theirs", "entity_id": "e", "status": "PENDING"}
    held = Held(lean)
    async with engine(make(), lean, clock, seed=1) as survivor:
        dead = engine(make(), lean, clock)
        await dead.__aenter__()
        asking = asyncio.create_task(dead.request("refresh", entity_id="e"))
        await held.arrived.get()
        await _kill(dead, asking)
        lean.before = None
        await travel(survivor, clock, LEASE)
        [request] = [r async for r in survivor.find()]
        assert (request.refresh_id, lean.placed["e"]) == ("theirs", 0)


async def test_a_refresh_that_wants_the_user_is_reconnected(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """RECONNECT_REQUIRED under HTTP 200 to a refresh: its reconnect id is the refresh id; then it is probed."""
    lean.will("e", "reconnect")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("refresh", entity_id="e")
        assert (request.state, request.reconnect_id) == (State.reconnect_required, request.refresh_id)
        await flows.prompt(request.id)
        await deliver(
            flows,
            webhook("entity.reconnected", {"id": "e", "reconnect_id": request.refresh_id}, event_id="1"),
        )
        assert (await flows.get(request.id)).state is State.reconnected
        lean.refreshes[request.refresh_id or ""]["status"] = "FINISHED"
        await travel(flows, clock, timedelta(minutes=1))
        assert (await flows.get(request.id)).state is State.fetched


# --- retries -----------------------------------------------------------------------------------------------------


async def test_retry_after_is_kept_across_a_restart(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R27: no retry earlier than told, also by another engine that opens the store in mid-backoff."""
    lean.will("e", answer({"status": "RATE_LIMIT_EXCEEDED"}, 429, {"retry-after": "600"}))
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
    async with engine(make(), lean, clock, seed=1) as flows:
        await travel(flows, clock, timedelta(seconds=599))
        assert lean.placed["e"] == 1
        await travel(flows, clock, timedelta(seconds=120))
        assert (await flows.get(request.id)).state is State.fetched


async def test_a_lost_webhook_is_made_up_for_by_probes(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R28: without a single webhook every wait ends by itself, and Lean is asked at most 12 times in a day."""
    lean.will("e", "pending")
    lean.will("f", "reconnect")
    async with engine(make(), lean, clock) as flows:
        pending = await flows.request("accounts", entity_id="e")
        reconnect = await flows.request("accounts", entity_id="f")
        await flows.prompt(reconnect.id)
        await travel(flows, clock, timedelta(hours=23))
        probes = [call for call in lean.calls if call.path.endswith(pending.results_id or "?")]
        assert 0 < len(probes) <= 12
        lean.results[pending.results_id or ""].status = "OK"
        lean.results[reconnect.results_id or ""].status = "OK"
        await travel(flows, clock, timedelta(days=2))
        assert (await flows.get(pending.id)).state is State.fetched
        assert (await flows.get(reconnect.id)).state is State.fetched


async def test_a_transport_s_own_fault_is_an_unanswered_call(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Whatever a transport raises, the request is not lost and not stuck under its lease."""
    lean.will("e", RuntimeError("a bug"))
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert (request.state, request.attempts) == (State.requested, 1)
        await travel(flows, clock, timedelta(minutes=2))
        assert (await flows.get(request.id)).state is State.fetched


async def test_v1_is_spoken_to_who_was_asked_in_v1(make: StoreMaker, clock: FakeClock) -> None:
    """A call uses the row's own api, whatever the engine's is by now."""
    lean = Lean(clock, api="v1")
    lean.will("e", "pending")
    async with engine(make(), lean, clock, api="v1") as flows:
        request = await flows.request("accounts", entity_id="e")
    async with engine(make(), lean, clock, api="v2", seed=1) as flows:
        lean.calls.clear()
        lean.finish(request.results_id or "")
        await travel(flows, clock, timedelta(minutes=1))
        assert (await flows.get(request.id)).state is State.fetched
        assert {call.path for call in lean.calls} == {calls.get_results(request.results_id or "", api="v1").path}


async def test_the_customer_s_address_goes_only_while_the_customer_is_present(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """A call with the address is no background refresh; after `policy.customer_present` it goes without."""
    lean.will("e", "BANK_ISSUE")
    async with engine(make(), lean, clock) as flows:
        await flows.request("accounts", entity_id="e", customer_ip="10.0.0.1")
        await travel(flows, clock, timedelta(hours=1))
        assert [call.headers.get("customer-ip") for call in lean.calls] == ["10.0.0.1", None]


async def test_handlers_hear_each_step_once(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """I4: each entered state is announced once, in order, under a key of request, version and state."""
    heard = recorder()
    lean.will("e", "reconnect")
    async with engine(make(), lean, clock, handlers=heard.handlers) as flows:
        request = await flows.request("accounts", entity_id="e")
        await flows.prompt(request.id)
        lean.reconnect(request.reconnect_id or "")
        await deliver(flows, *lean.take())
        await flows.tick()
        assert heard.states == [row.to_state for row in await flows.history(request.id)]
        assert heard.states[-3:] == ["reconnected", "results_ready", "fetched"]
        assert heard.keys == [f"{request.id}:{n}:{state}" for n, state in enumerate(heard.states)]


async def test_a_caller_cancelled_while_creating_leaves_a_placed_request(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """Cancelled between the commit and the call: the request is placed all the same, and not after a lease."""
    async with engine(make(), lean, clock) as flows:
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        while not flows._placing.creating:
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        while flows._placing.creating:
            await asyncio.sleep(0)
        await flows.tick()
        assert [r.state async for r in flows.find()] == [State.fetched]
