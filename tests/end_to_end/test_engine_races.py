"""Steps that race: of callers, engines and processes. No event is lost, and none is counted twice."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from leanflow import State
from leanflow.errors import StoreUnavailable
from leanflow.events import ResultsReady
from leanflow.testing import FakeClock
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import StoreMaker, check_history, deliver, engine
from tests.support.lean import Lean, answer, signed, webhook
from tests.support.stores import unsteady


async def test_fifty_racers_lose_no_event(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R22: 50 tasks with 50 distinct events on one request: one winner per version, all in history."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        raws = [webhook("results.ready", {"id": request.results_id}, event_id=str(n)) for n in range(50)]
        replies = await asyncio.gather(*(flows.receive(signed(raw), raw) for raw in raws))
        assert {reply.status for reply in replies} == {200}
        rows = await flows.history(request.id)
        assert {row.key for row in rows} >= {f"event:{n}" for n in range(50)}
        check_history(rows)


async def test_fifty_racers_of_two_engines_lose_no_event(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """The same from two engines on one store, as two processes are: conflicts are decided again, none surfaces."""
    lean.will("e", "reconnect")
    async with engine(make(), lean, clock) as one, engine(make(), lean, clock, seed=1) as two:
        request = await one.request("accounts", entity_id="e")
        prompt = await one.prompt(request.id)
        await asyncio.gather(
            *((one, two)[n % 2].callback(request.id, {"status": "SUCCESS"}, prompt=prompt.number) for n in range(50))
        )
        rows = await one.history(request.id)
        check_history(rows)
        final = await two.get(request.id)
        assert (final.version, len(rows)) == (rows[-1].version, 53)


async def test_an_id_that_another_process_named_again_is_looked_for(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """A webhook that no request of its id has a use for, as far as this process knows, finds the one made elsewhere."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as one, engine(make(), lean, clock, seed=1) as two:
        first = await one.request("accounts", entity_id="e")
        assert first.results_id is not None
        lean.finish(first.results_id)
        await deliver(one, *lean.take())  # from here on this process knows whose id it is
        await one.tick()
        lean.will("e", answer({"status": "PENDING", "results_id": first.results_id}, 202))
        second = await two.request("accounts", entity_id="e", give_up_after=timedelta(hours=1))
        assert (second.results_id, second.state) == (first.results_id, State.requested)
        lean.finish(first.results_id)
        raws = lean.take()
        await deliver(one, *raws, *raws)
        rows = await two.history(second.id)
        assert [row.trigger for row in rows].count("results_ready") == 1
        assert [row.trigger for row in await one.history(first.id)].count("results_ready") == 1
        check_history(rows)
        await one.tick()
        assert (await two.get(second.id)).state is State.fetched


async def test_an_id_that_two_processes_named_wakes_whom_one_does_not_know(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """The user is back for both requests: the one that this process knows takes that in, the other is woken for it."""
    lean.will("e", "reconnect")
    async with engine(make(), lean, clock) as one, engine(make(), lean, clock, seed=1) as two:
        first = await one.request("accounts", entity_id="e")
        lean.will("e", answer({"status": "RECONNECT_REQUIRED", "results_id": first.results_id}))
        second = await two.request("balances", entity_id="e", account_id="a")
        assert second.reconnect_id == first.reconnect_id
        lean.reconnect(first.reconnect_id or "")
        await deliver(one, lean.take()[0])
        await one.tick()
        woken = await two.get(second.id)
        assert (await one.get(first.id)).state is State.reconnected
        assert woken.state in {State.requested, State.reconnected}
        clock.advance(timedelta(minutes=1))
        await one.tick()
        assert {(await two.get(each.id)).state for each in (first, second)} == {State.fetched}


RACER = """
import asyncio, random, sys
from pathlib import Path
from typing import Any
from leanflow import LeanFlow
from leanflow.testing import FakeClock
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import engine
from tests.support.lean import Lean

async def main():
    path, request_id, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
    clock = FakeClock()
    async with engine(SQLiteStore(path), Lean(clock), clock, seed=first) as flows:
        await asyncio.gather(*(
            flows.callback(request_id, {"status": f"N{n}"}, prompt=1) for n in range(first, first + 25)
        ))

asyncio.run(main())
"""


async def test_two_processes_lose_no_event(tmp_path: Path, clock: FakeClock, lean: Lean) -> None:
    """R22, R23: two processes race one request on one SQLite file; every event is in history, versions have no gap."""
    path = tmp_path / "flows.db"
    lean.will("e", "reconnect")
    async with engine(SQLiteStore(path), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        await flows.prompt(request.id)
        children = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", RACER, str(path), request.id, str(first), cwd=Path(__file__).parents[2]
            )
            for first in (100, 200)
        ]
        assert [await child.wait() for child in children] == [0, 0]
        rows = await flows.history(request.id)
        check_history(rows)
        told = {row.event["status"] for row in rows if row.tag == "hinted"}
        assert told == {f"N{n}" for n in (*range(100, 125), *range(200, 225))}
        assert (await flows.get(request.id)).version == rows[-1].version == 52


async def test_a_conflict_is_decided_again(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """An engine that knows an old version finds out at the commit, reloads and decides anew: here the event is late."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as one, engine(make(), lean, clock, seed=1) as two:
        request = await one.request("accounts", entity_id="e")
        assert (await two.get(request.id)).version == 1
        ready = ResultsReady(type="results.ready", results_id=request.results_id or "")
        await two.apply(ready)
        await one.cancel(request.id)
        [after] = await two.apply(ready)
        assert after.state is State.cancelled
        assert (await two.history(request.id))[-1].declined == "late"


async def test_conflicts_without_end_are_unavailable(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Bounded: a request that others change again and again is `StoreUnavailable`, retryable, and nothing is stored."""
    lean.will("e", "pending")
    store = unsteady(make())
    async with engine(store, lean, clock) as flows, engine(make(), lean, clock, seed=1) as other:
        request = await flows.request("accounts", entity_id="e")
        rows = len(await flows.history(request.id))
        tries = []

        async def first(name: str) -> None:
            if name == "commit":
                tries.append(name)
                later = clock.now() + timedelta(days=1)
                assert await other._store.claim(other._scope, owner=f"o{len(tries)}", now=later, lease=0, limit=1)

        store.before = first
        with pytest.raises(StoreUnavailable):
            await flows.cancel(request.id)
        assert len(await flows.history(request.id)) == rows
        assert len(tries) < 100
