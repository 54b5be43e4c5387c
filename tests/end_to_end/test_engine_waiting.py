"""Waiting for a request to end or to move on, and how often the store is asked by those who wait."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from leanflow import State
from leanflow._flows import LOOKS_PER_SECOND
from leanflow.errors import InvalidRequest
from leanflow.testing import FakeClock
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import StoreMaker, deliver, engine
from tests.support.lean import Lean


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands."""
    return FakeClock()


async def test_wait_returns_what_came_after_a_version(clock: FakeClock) -> None:
    """With `after`, `wait` returns a later version in whatever state, and an end always."""
    lean = Lean(clock)
    lean.will("e", "reconnect")
    async with engine(MemoryStore(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert (await flows.wait(request.id, after=request.version - 1)) == request
        waiting = asyncio.create_task(flows.wait(request.id, after=request.version))
        await asyncio.sleep(0)
        await flows.prompt(request.id)
        prompted = await waiting
        assert (prompted.state, prompted.version) == (State.awaiting_user, request.version + 1)
        again = asyncio.create_task(flows.wait(request.id, after=prompted.version))
        await asyncio.sleep(0)
        await flows.prompt(request.id)  # the same state, another version
        assert (await again).prompt_number == 2
        ready = asyncio.create_task(flows.wait(request.id, until={State.results_ready}, after=prompted.version))
        await asyncio.sleep(0)
        lean.reconnect(request.reconnect_id or "")
        await deliver(flows, *lean.take())
        assert (await ready).state is State.results_ready
        await flows.tick()
        final = await flows.get(request.id)
        assert final.state is State.fetched
        assert await flows.wait(request.id, after=final.version) == final


class _Sleeps:
    """A clock that notes for how long it is slept on, and never wakes."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.seconds: list[float] = []

    def now(self) -> object:
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.Event().wait()


async def test_many_who_wait_ask_the_store_no_more_than_a_few_hundred_times_a_second(clock: FakeClock) -> None:
    """A few look every `policy.poll`; with more of them each looks less often, so that all together ask as often."""
    lean = Lean(clock)
    lean.will("e", "pending")
    async with engine(MemoryStore(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        sleeps = _Sleeps(clock)
        vars(flows)["_clock"] = sleeps
        few = [asyncio.create_task(flows.wait(request.id)) for _ in range(3)]
        while len(sleeps.seconds) < 3:
            await asyncio.sleep(0)
        assert set(sleeps.seconds) == {flows.policy.poll / timedelta(seconds=1)}
        many = [asyncio.create_task(flows.wait(request.id)) for _ in range(5 * LOOKS_PER_SECOND)]
        while len(sleeps.seconds) < 3 + len(many):
            await asyncio.sleep(0)
        assert max(sleeps.seconds) >= 5
        for each in (*few, *many):
            each.cancel()
        await asyncio.gather(*few, *many, return_exceptions=True)
        assert flows._notifier.listeners == 0


async def test_wait_is_woken_within_the_process(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`wait` returns when the user is wanted or the request has ended, without any time passing."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        waiting = asyncio.create_task(flows.wait(request.id))
        ready = asyncio.create_task(flows.wait(request.id, until={State.results_ready}))
        await asyncio.sleep(0)
        assert request.results_id is not None
        lean.finish(request.results_id)
        await deliver(flows, *lean.take())
        assert (await ready).state is State.results_ready
        await flows.tick()
        assert (await waiting).state is State.fetched
        assert (await flows.wait(request.id, until={State.awaiting_user})).state is State.fetched
        assert clock.now() == FakeClock().now()


async def test_wait_finds_what_another_engine_did(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Between processes `wait` polls the store, every `policy.poll`."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows, engine(make(), lean, clock, seed=1) as other:
        request = await flows.request("accounts", entity_id="e")
        looks = _Looks(clock)
        flows._clock = looks
        waiting = asyncio.create_task(flows.wait(request.id))
        await looks.slept.wait()
        await other.cancel(request.id)
        assert not waiting.done()
        clock.advance(timedelta(seconds=1))
        assert (await waiting).state is State.cancelled


class _Looks:
    """A clock that tells when somebody goes to sleep on it."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.slept = asyncio.Event()

    def now(self) -> datetime:
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        self.slept.set()
        await self._clock.sleep(seconds)


async def test_wait_ends_at_its_timeout(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Past its timeout, seconds or a timedelta on the engine's clock, `wait` raises `TimeoutError`."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        with pytest.raises(TimeoutError, match=request.id):
            await flows.wait(request.id, timeout=0)
        looks = _Looks(clock)
        flows._clock = looks
        waiting = asyncio.create_task(flows.wait(request.id, timeout=timedelta(milliseconds=500)))
        await looks.slept.wait()
        clock.advance(timedelta(milliseconds=500))
        with pytest.raises(TimeoutError):
            await waiting
        with pytest.raises(InvalidRequest, match="until"):
            await flows.wait(request.id, until={"done"})  # type: ignore[arg-type]  # no state
