"""What can be done with requests through the engine: main paths, and each documented error."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from leanflow import Call, Policy, Remedy, Resource, State, calls
from leanflow._request import Scope
from leanflow.errors import CallFailed, InvalidRequest, KeyReused, NotInState, RequestNotFound
from leanflow.events import ResultsReady
from leanflow.ports import HistoryEntry
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import StoreMaker, deliver, engine, maker_of
from tests.support.lean import Lean, answer

DAY = timedelta(days=1)
MISSING = "00000000-0000-7000-8000-000000000000"


async def test_data_answered_at_once_is_fetched(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`request` returns the ended request when Lean answers at once, and `results` has the data, money as Decimal."""
    async with engine(make(), lean, clock) as flows:
        request = await flows.request(
            Resource.transactions, entity_id="e", account_id="a", start_date=date(2026, 1, 1), end_date="2026-01-31",
            reference="user-17", metadata={"case": "9"},
        )  # fmt: skip
        assert request.state is State.fetched
        assert (request.reference, request.metadata["case"]) == ("user-17", "9")
        assert lean.calls[0].query["start_date"] == "2026-01-01"
        results = await flows.results(request.id)
        assert results.items[0]["amount"] == Decimal("1.5")
        assert results.pages[0].correlation_id == "a correlation"
        assert await flows.get(request.id) == request


async def test_all_pages_are_stored_together(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """An answer with further pages ends the request once all are there, first to last."""
    lean.pages = 45
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert request.state is State.fetched
        assert [page.number async for page in flows.pages(request.id)] == list(range(45))
        assert [item["page"] for item in (await flows.results(request.id)).items] == list(range(45))


async def test_a_page_that_stays_away_drops_the_others(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A page that answers anything but OK, asked three times, is the event; nothing of the data is stored."""
    lean.pages = 3
    asked = []

    def before(call: Call) -> None:
        if call.query.get("page") == "2":
            asked.append(call)
            raise CallFailed("cut", maybe_sent=True)

    lean.before = before
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert (request.state, request.attempts, len(asked)) == (State.requested, 1, 3)
        with pytest.raises(NotInState):
            await flows.results(request.id)
        lean.before = None
        await travel(flows, clock, timedelta(minutes=2))
        assert len((await flows.results(request.id)).pages) == 3


@pytest.mark.parametrize(
    ("wrong", "parameter"),
    [
        ({"resource": "wishes"}, "resource"),
        ({"entity_id": ""}, "entity_id"),
        ({"account_id": "a"}, "account_id"),
        ({"resource": "balances"}, "account_id"),
        ({"params": {"page": "3"}}, "page"),
        ({"start_date": "2026-01-01"}, "start_date"),
        ({"reference": "r" * 256}, "reference"),
        ({"metadata": {"m": "m" * 4096}}, "metadata"),
        ({"metadata": {"m": 1}}, "metadata"),
        ({"give_up_after": timedelta()}, "give_up_after"),
        ({"key": ""}, "key"),
    ],
)
async def test_a_wrong_parameter_is_named_before_anything_is_stored(
    clock: FakeClock, lean: Lean, tmp_path: Path, wrong: dict[str, object], parameter: str
) -> None:
    """`InvalidRequest` names the parameter; no request is stored and Lean is not called."""
    async with engine(maker_of("memory", tmp_path)(), lean, clock) as flows:
        with pytest.raises(InvalidRequest) as caught:
            await flows.request(**{"resource": "accounts", "entity_id": "e", **wrong})  # type: ignore[arg-type]  # wrong
        assert caught.value.parameter == parameter
        assert sum((await flows.counts()).values()) == 0
        assert not lean.placed


async def test_v1_has_no_refresh(clock: FakeClock, lean: Lean, tmp_path: Path) -> None:
    """Lean's v1 refuses refreshes, and leanflow says so at `request`."""
    async with engine(maker_of("memory", tmp_path)(), lean, clock, api="v1") as flows:
        with pytest.raises(InvalidRequest, match="v1"):
            await flows.request("refresh", entity_id="e")


async def test_twins_share_one_request(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A live request for the same is returned instead of a second one; an ended one, or one for other data, is not."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        first = await flows.request("accounts", entity_id="e")
        racers = await asyncio.gather(*(flows.request("accounts", entity_id="e") for _ in range(20)))
        assert {request.id for request in racers} == {first.id}
        assert lean.placed["e"] == 1
        assert (await flows.request("identity", entity_id="e")).id != first.id
        await flows.cancel(first.id)
        assert (await flows.request("accounts", entity_id="e")).id != first.id


async def test_racing_twins_make_one_request(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Twenty callers at once, none before the others, still make one request and one call."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        racers = await asyncio.gather(*(flows.request("accounts", entity_id="e") for _ in range(20)))
        assert len({request.id for request in racers}) == 1
        assert lean.placed["e"] == 1


async def test_a_key_returns_its_request_for_ever(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """The same key and parameters give the same record, ended or not; other parameters raise `KeyReused`."""
    async with engine(make(), lean, clock) as flows:
        first = await flows.request("accounts", entity_id="e", key="k")
        assert first.state is State.fetched
        clock.advance(40 * DAY)
        assert (await flows.request("accounts", entity_id="e", key="k")).id == first.id
        assert lean.placed["e"] == 1
        with pytest.raises(KeyReused) as caught:
            await flows.request("identity", entity_id="e", key="k")
        assert caught.value.request_id == first.id
        assert sum((await flows.counts()).values()) == 1


async def test_what_does_not_exist_is_not_found(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Every method that takes a request raises `RequestNotFound` for one that is not there."""
    async with engine(make(), lean, clock) as flows:
        for attempt in (
            flows.get(MISSING),
            flows.prompt(MISSING),
            flows.callback(MISSING, {"status": "SUCCESS"}, prompt=1),
            flows.results(MISSING),
            flows.wait(MISSING),
            flows.cancel(MISSING),
            flows.renew(MISSING),
            flows.history(MISSING),
            flows.export(MISSING),
            flows.redeliver(MISSING, "nobody"),
        ):
            with pytest.raises(RequestNotFound):
                await attempt
        with pytest.raises(RequestNotFound):
            [page async for page in flows.pages(MISSING)]


async def test_the_whole_reconnect_ends_with_the_data(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """RECONNECT_REQUIRED, prompt, the user, both webhooks, fetch: each a step with its row of history."""
    lean.will("e", "reconnect")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        await flows.prompt(request.id)
        assert request.reconnect_id is not None
        lean.reconnect(request.reconnect_id)
        assert [reply.status for reply in await deliver(flows, *lean.take())] == [200, 200]
        await flows.tick()
        final = await flows.get(request.id)
        assert final.state is State.fetched
        rows = await flows.history(request.id)
        assert [row.version for row in rows] == list(range(final.version + 1))
        assert [row.to_state for row in rows] == [
            "requested", "reconnect_required", "awaiting_user", "reconnected", "results_ready", "fetched",
        ]  # fmt: skip


async def test_a_cancelled_caller_does_not_stop_the_call(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A call runs in a task of the engine: cancelling `request` detaches it, and its answer is stored."""
    arrived, go = lean.hold()
    async with engine(make(), lean, clock) as flows:
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        await arrived.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go.set()
        await flows.tick()
        [request] = [r async for r in flows.find()]
        assert (request.state, lean.placed["e"]) == (State.fetched, 1)


async def test_request_waits_at_most_place_wait(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """After `policy.place_wait` `request` returns the request as it is; the call goes on."""
    arrived, go = lean.hold()
    async with engine(make(), lean, clock) as flows:
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        await arrived.wait()
        clock.advance(timedelta(seconds=4.9))
        await asyncio.sleep(0)
        assert not asking.done()
        clock.advance(timedelta(seconds=0.1))
        request = await asking
        assert request.state is State.requested
        go.set()
        await flows.tick()
        assert (await flows.get(request.id)).state is State.fetched
    async with engine(make(), lean, clock, seed=1, policy=Policy(place_wait=timedelta())) as flows:
        at_once = await flows.request("identity", entity_id="e")
        assert at_once.state is State.requested


async def test_cancelled_is_cancelled(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Cancelling twice does nothing more; what has ended otherwise is not cancelled; nothing revives it."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        gone = await flows.cancel(request.id)
        assert (gone.state, gone.due_at) == (State.cancelled, None)
        assert await flows.cancel(request.id) == gone
        assert request.results_id is not None
        lean.finish(request.results_id)
        assert [reply.status for reply in await deliver(flows, *lean.take())] == [200]
        assert (await flows.get(request.id)) == gone
        assert (await flows.history(request.id))[-1].declined == "late"
        done = await flows.request("accounts", entity_id="other")
        with pytest.raises(NotInState):
            await flows.cancel(done.id)


async def test_an_ended_request_is_renewed_once(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`renew` makes a successor that asks for the same; twice gives the same one, and it names its predecessor."""
    lean.will("e", "DATA_NOT_FOUND", "pending")
    async with engine(make(), lean, clock) as flows:
        old = await flows.request("accounts", entity_id="e", reference="r", metadata={"m": "1"}, key="k")
        assert old.state is State.failed
        new = await flows.renew(old.id)
        assert (new.predecessor_id, new.reference, new.metadata["m"], new.key) == (old.id, "r", "1", None)
        assert (await flows.get(old.id)).successor_id == new.id
        assert (await flows.renew(old.id)).id == new.id
        rows = await flows.history(old.id)
        assert [row.version for row in rows] == list(range(len(rows)))
        assert rows[-1].trigger == "renewed"
        assert lean.placed["e"] == 2


async def test_racing_renewals_make_one_successor(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Ten callers that renew at once get one successor, and the predecessor's history has no gap."""
    lean.will("e", "DATA_NOT_FOUND", "pending")
    async with engine(make(), lean, clock) as flows:
        old = await flows.request("accounts", entity_id="e")
        renewed = await asyncio.gather(*(flows.renew(old.id) for _ in range(10)))
        assert len({request.id for request in renewed}) == 1
        after, rows = await flows.get(old.id), await flows.history(old.id)
        assert after.successor_id == renewed[0].id
        assert [row.version for row in rows if row.declined is None] == list(range(after.version + 1))


async def test_a_live_twin_is_the_successor(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Renewing while a live request asks for the same returns that one, as it is, and keeps the link."""
    lean.will("e", "DATA_NOT_FOUND", "pending")
    async with engine(make(), lean, clock) as flows:
        old = await flows.request("accounts", entity_id="e")
        twin = await flows.request("accounts", entity_id="e")
        assert await flows.renew(old.id) == twin
        assert (await flows.get(old.id)).successor_id == twin.id
        assert twin.predecessor_id is None


async def test_only_expired_and_failed_requests_are_renewed(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Live, fetched and cancelled ones are refused."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        live, done = await flows.request("accounts", entity_id="e"), await flows.request("accounts", entity_id="f")
        for request in (live, done):
            with pytest.raises(NotInState):
                await flows.renew(request.id)
        await flows.cancel(live.id)
        with pytest.raises(NotInState):
            await flows.renew(live.id)


async def test_an_expired_request_is_renewed(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A reconnect id that died of age expires its request after the grace, and renewing asks again."""
    lean.will("e", "reconnect")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        await travel(flows, clock, timedelta(days=30, hours=3))
        assert (await flows.get(request.id)).state is State.reconnect_required
        await travel(flows, clock, timedelta(hours=2))
        assert (await flows.get(request.id)).state is State.expired
        assert (await flows.renew(request.id)).state is State.fetched


async def test_a_caller_s_own_deadline_expires_the_request(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`give_up_after` ends a request of any state as expired, on time."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e", give_up_after=timedelta(minutes=10))
        await travel(flows, clock, timedelta(minutes=9))
        assert (await flows.get(request.id)).state is State.requested
        await travel(flows, clock, timedelta(minutes=1))
        final = await flows.get(request.id)
        assert (final.state, final.due_at) == (State.expired, None)


async def test_requests_are_found_by_what_they_are(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`find` filters, orders by creation, pages by key, and stops at its limit; `counts` counts by state."""
    async with engine(make(), lean, clock) as flows:
        made = []
        for number in range(7):
            clock.advance(timedelta(seconds=1))
            lean.will(f"e{number}", "ok" if number % 2 else "DATA_NOT_FOUND")
            entity_id, reference = f"e{number}", f"r{number}"
            made.append(await flows.request("accounts", entity_id=entity_id, customer_id="c", reference=reference))
        ids = [r.id for r in made]
        assert [r.id async for r in flows.find()] == ids
        assert [r.id async for r in flows.find(state=State.fetched)] == ids[1::2]
        assert [r.id async for r in flows.find(state={State.fetched, State.failed}, limit=3)] == ids[:3]
        assert [r.id async for r in flows.find(after=ids[4])] == ids[5:]
        assert [r.id async for r in flows.find(failure="DATA_NOT_FOUND", customer_id="c")] == ids[::2]
        assert [r.id async for r in flows.find(reference="r3", entity_id="e3")] == [ids[3]]
        assert [r.id async for r in flows.find(resource=Resource.identity)] == []
        assert [r.id async for r in flows.find(older_than=made[2].created_at)] == ids[:2]
        counts = await flows.counts()
        assert (counts[State.fetched], counts[State.failed], counts[State.requested]) == (3, 4, 0)
        with pytest.raises(InvalidRequest, match="state"):
            [r async for r in flows.find(state="done")]  # type: ignore[arg-type]  # no state


async def test_an_export_has_no_bank_data(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`export` has record and history as JSON values, without the data and without the customer's address."""
    import json

    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e", customer_ip="10.0.0.1")
        told = await flows.export(request.id)
        assert (told["request"]["id"], len(told["history"])) == (request.id, 2)
        text = json.dumps(told)
        assert "10.0.0.1" not in text
        assert "amount" not in text
        lean.will("e", "reconnect")
        unfinished = await flows.request("accounts", entity_id="e")
        with pytest.raises(NotInState):
            await flows.results(unfinished.id)


async def test_an_export_points_to_nobody_unless_asked(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """The application's own words, the customer and Lean's words are only in it with `personal`; the address never."""
    lean.will("e", answer({"status": "FAILED", "message": "Ms X has no accounts", "results_id": None}, 404))
    own: dict[str, Any] = {
        "reference": "ms-x",
        "metadata": {"mail": "x@example.org"},
        "customer_id": "customer-x",
        "key": "key-x",
    }
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e", customer_ip="10.0.0.1", **own)
        assert request.failure is not None
        plain, full = await flows.export(request.id), await flows.export(request.id, personal=True)
    for words in ("ms-x", "x@example.org", "customer-x", "key-x", "Ms X"):
        assert words in str(full)
        assert words not in str(plain)
    assert "10.0.0.1" not in str(full)
    assert plain["request"]["failure"]["code"] == full["request"]["failure"]["code"] == request.failure.code


async def test_an_export_is_of_one_moment(clock: FakeClock, lean: Lean) -> None:
    """A step that falls between the two reads of an export is in neither record nor history."""

    class Moving(MemoryStore):
        async def history(self, scope: Any, request_id: str) -> Sequence[HistoryEntry]:
            await flows.cancel(request_id)
            return await super().history(scope, request_id)

    lean.will("e", "pending")
    async with engine(Moving(), lean, clock) as flows:
        told = await flows.export((await flows.request("accounts", entity_id="e")).id)
        assert (told["request"]["version"], told["history"][-1]["version"]) == (1, 1)
        assert (await flows.get(told["request"]["id"])).state is State.cancelled


async def test_an_event_that_the_caller_vouches_for_is_applied(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`apply` takes an event as if Lean had said it; one that names no request needs to be told which."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert request.results_id is not None
        ready = ResultsReady(type="results.ready", results_id=request.results_id)
        [moved] = await flows.apply(ready)
        assert moved.state is State.results_ready
        with pytest.raises(RequestNotFound):
            await flows.apply(ResultsReady(type="results.ready", results_id="nobody's"))
        from leanflow.events import Cancelled

        with pytest.raises(InvalidRequest):
            await flows.apply(Cancelled())
        [gone] = await flows.apply(Cancelled(), request_id=request.id)
        assert gone.state is State.cancelled


async def test_lean_is_asked_on_the_application_s_behalf(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`customer` looks up who is there already, `connect_prompt` has a token, `send` sends any call."""
    async with engine(make(), lean, clock) as flows:
        assert await flows.customer(app_user_id="u") == "customer of u"
        connect = await flows.connect_prompt(customer_id="c", permissions=["identity"])
        assert connect.to_dict() == {
            "app_token": "app", "customer_id": "c", "permissions": ["identity"], "sandbox": True,
            "access_token": "token 1 of c",
        }  # fmt: skip
        for wrong in ((), "identity"):
            with pytest.raises(InvalidRequest):
                await flows.connect_prompt(customer_id="c", permissions=wrong)
        assert (await flows.send(calls.get_entity("c", "e"))).status == 200
        lean.down = True
        for attempt in (flows.customer(app_user_id="u"), flows.send(calls.list_banks())):
            with pytest.raises(CallFailed):
                await attempt


async def test_a_refusal_of_the_customer_is_a_failed_call(clock: FakeClock, lean: Lean, tmp_path: Path) -> None:
    """`customer` says with which HTTP status Lean refused."""
    async with engine(maker_of("memory", tmp_path)(), lean, clock) as flows:
        lean._customers = lambda call: answer({"status": "INVALID_PARAMETERS"}, 400)  # type: ignore[method-assign]  # noqa: ARG005 - as the method
        with pytest.raises(CallFailed, match="400"):
            await flows.customer(app_user_id="u")


async def test_lost_consent_names_its_remedy(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Lean's refusals are no exceptions: CONSENT_EXPIRED is `failed` with the remedy to connect again."""
    lean.will("e", "CONSENT_EXPIRED")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert request.failure is not None
        assert (request.state, request.failure.code, request.failure.remedy) == (
            State.failed, "CONSENT_EXPIRED", Remedy.connect,
        )  # fmt: skip


async def test_health_tells_how_it_is(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Whether the store answers, workers run, and when something is due."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        health = await flows.health()
        assert (health.store_reachable, health.worker_alive) == (True, False)
        assert health.next_due_at == request.due_at


async def test_health_is_no_outage_while_counting_takes_too_long(clock: FakeClock, lean: Lean) -> None:
    """A store that has too much waiting to count it in time is reachable; a supervisor would restart it for nothing."""

    class Piled(MemoryStore):
        async def lag(self, scope: Scope) -> Mapping[str, tuple[int, int, datetime | None]]:
            await asyncio.Event().wait()
            return await super().lag(scope)

    policy = Policy(commit_timeout=timedelta(milliseconds=20))
    async with engine(Piled(), lean, clock, policy=policy) as flows:
        health = await flows.health()
        assert (health.store_reachable, health.sinks) == (True, {})
