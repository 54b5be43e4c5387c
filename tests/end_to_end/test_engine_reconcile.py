"""Lost webhooks, found through Lean's Events API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from leanflow import Answer, Call, DataRequest, LeanFlow, Policy, State
from leanflow.errors import CallFailed, InvalidRequest
from leanflow.testing import FakeClock
from tests.support.engine import StoreMaker, at_rest, deliver, engine, recorder
from tests.support.lean import Lean, answer

NO_PROBES = Policy(probes=(timedelta(days=9),), reconcile_every=timedelta(hours=6))


@pytest.fixture(params=["v1", "v2"])
def lean(request: pytest.FixtureRequest, clock: FakeClock) -> Lean:
    """Lean, in either version."""
    return Lean(clock, api=request.param)


async def _finished(flows: LeanFlow, lean: Lean, number: int) -> list[DataRequest]:
    """Place requests, and have Lean finish them and announce it."""
    requests = []
    for n in range(number):
        lean.will(f"e{n}", "pending")
        requests.append(await flows.request("accounts", entity_id=f"e{n}"))
    for request in requests:
        lean.finish(request.results_id or "")
    return requests


async def test_lost_webhooks_are_found(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """All pages of the Events API are read; what was lost moves its request; it returns how many were news."""
    lean.events_page = 7
    async with engine(make(), lean, clock, api=lean._api, policy=NO_PROBES) as flows:
        requests = await _finished(flows, lean, 20)
        came = lean.take()[:5]
        await deliver(flows, *came)
        listed = [call for call in lean.calls if call.path == "/events/v1"]
        news = await flows.reconcile()
        assert news == (15 if lean._api == "v2" else 20)
        assert len([call for call in lean.calls if call.path == "/events/v1"]) - len(listed) == 3
        await flows.tick()
        for request in requests:
            assert (await flows.get(request.id)).state is State.fetched
        assert await flows.reconcile() == 0


async def test_a_replay_of_everything_has_no_effect(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R29: events that were all heard, listed with event ids that v1's webhooks had not, move nothing."""
    heard = recorder()
    async with engine(make(), lean, clock, api=lean._api, handlers=heard.handlers) as flows:
        requests = await _finished(flows, lean, 10)
        await deliver(flows, *lean.take())
        await flows.tick()
        before, keys = [await flows.get(r.id) for r in requests], list(heard.keys)
        await flows.reconcile(since=clock.now() - timedelta(days=90))
        await flows.tick()
        assert [await flows.get(r.id) for r in requests] == before
        assert heard.keys == keys
        assert sum(lean.fetched.values()) == 10


async def test_it_looks_as_far_back_as_needed(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """From the last reconciliation, and four hours before; the first time, and with `since`, at most 90 days."""

    def since() -> timedelta:
        [*_, call] = [call for call in lean.calls if call.path == "/events/v1"]
        return clock.now() - datetime.fromisoformat(call.query["from"])

    async with engine(make(), lean, clock, api=lean._api) as flows:
        await flows.reconcile()
        assert since() == timedelta(days=90)
        clock.advance(timedelta(hours=1))
        await flows.reconcile()
        assert since() == timedelta(hours=5)
        await flows.reconcile(since=clock.now() - timedelta(days=400))
        assert since() == timedelta(days=90)
        with pytest.raises(InvalidRequest, match="time zone"):
            await flows.reconcile(since=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("trouble", ["down", "refused", "odd"])
async def test_an_events_api_that_is_down_is_asked_again_from_the_same_moment(
    make: StoreMaker, clock: FakeClock, lean: Lean, trouble: str
) -> None:
    """`CallFailed`; what was heard stays heard, and the next time nothing is left out."""
    lean.events_page = 3
    async with engine(make(), lean, clock, api=lean._api, policy=NO_PROBES) as flows:
        await flows.reconcile()
        requests = await _finished(flows, lean, 9)
        real = lean._events

        def events(call: Call) -> Answer:
            if call.query.get("page", "0") == "1":
                if trouble == "down":
                    raise CallFailed("reset", maybe_sent=True)
                return answer({"status": "INTERNAL_SERVER_ERROR"}, 500) if trouble == "refused" else answer([1])
            return real(call)

        lean._events = events  # type: ignore[method-assign]  # put back below
        clock.advance(timedelta(hours=5))
        with pytest.raises(CallFailed):
            await flows.reconcile()
        lean._events = real  # type: ignore[method-assign]  # put back
        clock.advance(timedelta(hours=5))
        await flows.reconcile()
        await flows.tick()
        for request in requests:
            assert (await flows.get(request.id)).state is State.fetched


async def test_an_event_that_cannot_be_read_holds_up_no_other(
    make: StoreMaker, clock: FakeClock, lean: Lean, caplog: pytest.LogCaptureFixture
) -> None:
    """A malformed event in the list is told of and left out."""
    async with engine(make(), lean, clock, api=lean._api, policy=NO_PROBES) as flows:
        [request] = await _finished(flows, lean, 1)
        lean.says("results.ready", {"id": 7})
        await flows.reconcile()
        assert "cannot be read" in caplog.text
        await flows.tick()
        assert (await flows.get(request.id)).state is State.fetched


async def test_downtime_is_made_up_for_at_start(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R30: down for four hours, longer than Lean retries: the worker reconciles at start, without being asked."""
    async with engine(make(), lean, clock, api=lean._api, policy=NO_PROBES, workers=1) as flows:
        lean.will("e", "pending")
        request = await flows.request("accounts", entity_id="e")
        await _until(flows, clock, lambda: _noted(flows))
    lean.finish(request.results_id or "")
    clock.advance(timedelta(hours=4))
    async with engine(make(), lean, clock, api=lean._api, policy=NO_PROBES, workers=1, seed=1) as flows:
        await _until(flows, clock, lambda: _fetched(flows, request.id))


async def test_it_runs_on_a_schedule(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Every `policy.reconcile_every`, while the worker lives."""
    async with engine(make(), lean, clock, api=lean._api, policy=NO_PROBES, workers=1) as flows:
        lean.will("e", "pending")
        request = await flows.request("accounts", entity_id="e")
        await _until(flows, clock, lambda: _noted(flows))
        lean.finish(request.results_id or "")
        await _until(flows, clock, lambda: _fetched(flows, request.id), timedelta(minutes=1), 7 * 60)
        listed = [call for call in lean.calls if call.path == "/events/v1"]
        assert len(listed) == 1


async def test_upkeep_outlives_whatever_goes_wrong(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """An error that no port promises, as of a transport with a mistake in it, does not end the worker's upkeep."""
    broken = True

    def before(call: Call) -> None:
        if broken and call.path == "/events/v1":
            raise RuntimeError("a mistake in the transport")

    lean.before = before
    async with engine(make(), lean, clock, api=lean._api, policy=NO_PROBES, workers=1) as flows:
        lean.will("e", "pending")
        request = await flows.request("accounts", entity_id="e")
        await _until(flows, clock, lambda: _noted(flows))
        lean.finish(request.results_id or "")
        for _ in range(7):
            clock.advance(timedelta(hours=1))
            await at_rest(flows, clock)
        broken = False
        assert all(worker.is_alive for worker in flows._workers)
        await _until(flows, clock, lambda: _fetched(flows, request.id), timedelta(minutes=1))


async def _until(
    flows: LeanFlow,
    clock: FakeClock,
    done: Callable[[], Awaitable[bool]],
    step: timedelta = timedelta(seconds=1),
    most: int = 400,
) -> None:
    for _ in range(most):
        if await done():
            return
        clock.advance(step)
        await at_rest(flows, clock)
    pytest.fail("it did not come to pass")


async def _noted(flows: LeanFlow) -> bool:
    return await flows._store.remember(flows._scope, "alive_at") is not None


async def _fetched(flows: LeanFlow, request_id: str) -> bool:
    return (await flows.get(request_id)).state is State.fetched
