"""Seeded runs of many processes with everything that goes wrong: over memory by hundreds, over SQLite by dozens.

A failing run prints its timeline and the one command that plays it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from leanflow import Change, Handlers, LeanFlow, State
from leanflow.errors import InvalidRequest
from leanflow.ports import Store
from leanflow.testing.simulation import WEIGHTS, Run, SimulationFailed, shortest, simulate
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport
from leanflow_adapters.sqlite import SQLiteStore

SEEDS = int(os.environ.get("LEANFLOW_SIMULATION_SEEDS", "240"))
BATCHES = 8


def play(seed: int, **more: Any) -> Run:
    """Play a run over memory."""
    command = f"leanflow simulate --seed {seed}"
    return simulate(seed, **{"store": MemoryStore().reopen, "transport": MockbankTransport, "command": command, **more})


@pytest.fixture(scope="module")
def played() -> dict[int, Run]:
    """The runs of this module."""
    return {}


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_fault_breaks_an_invariant(batch: int, played: dict[int, Run]) -> None:
    """Hundreds of seeds over memory; ``LEANFLOW_SIMULATION_SEEDS`` says how many."""
    for seed in range(SEEDS)[batch::BATCHES]:
        played[seed] = play(seed)


def test_runs_are_worth_something(played: dict[int, Run]) -> None:
    """They reach every end, and processes die at every port, before and after what they ask is done."""
    runs = [*played.values()] or [play(seed) for seed in range(SEEDS)]
    assert {State(state) for run in runs for state in run.states} == State.ends()
    deaths = {one.what for run in runs for one in run.moments if one.what.startswith("DIES")}
    for moment in ("before", "after"):
        for asked in ("store commit", "store create", "store claim", "store claim_outbox", "bus publish", "handler"):
            assert any(what.startswith(f"DIES {moment} {asked}") for what in deaths), (moment, asked, deaths)
        assert any(what.startswith(f"DIES {moment} lean") for what in deaths), moment


@pytest.mark.parametrize("batch", range(4))
def test_no_fault_breaks_an_invariant_on_disk(batch: int, tmp_path: Path) -> None:
    """Dozens of seeds over SQLite: fewer processes and steps, since each of its steps goes through a thread."""
    for seed in range(1000, 1024)[batch::4]:
        file = tmp_path / f"{seed}.db"
        store = partial(SQLiteStore, file, synchronous="NORMAL")  # nothing here takes the power away
        command = f"leanflow simulate --seed {seed} --store sqlite --processes 2 --steps 150"
        play(seed, store=store, processes=2, steps=150, command=command)


def test_a_seed_is_one_run(tmp_path: Path) -> None:
    """To the byte of its timeline, over memory and over SQLite, and in a process that hashes differently."""
    first = play(7).timeline()
    assert play(7).timeline() == first
    on_disk = [
        play(7, store=partial(SQLiteStore, tmp_path / f"{n}.db", synchronous="NORMAL"), steps=100).timeline()
        for n in range(2)
    ]
    assert on_disk[0] == on_disk[1]
    for hashes in ("1", "2"):
        line = [sys.executable, "-m", "leanflow_adapters.cli", "simulate", "--seed", "7", "--timeline"]
        environment = {**os.environ, "PYTHONHASHSEED": hashes}
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(first)


def test_another_seed_is_another_run() -> None:
    """Not all timelines are the same one."""
    assert len({play(seed, steps=50).timeline() for seed in range(3)}) == 3


# what users bring


class Ledger:
    """An application's handlers: they count what they were told, as an effect that must be done once."""

    def __init__(self, *, keyed: bool) -> None:
        self.keyed = keyed
        self.seen: set[str] = set()
        self.booked: list[str] = []
        self.handlers = Handlers()
        self.handlers.on(State.fetched)(self.book)

    async def book(self, change: Change, flows: LeanFlow) -> None:
        """Book what was fetched; once for each change, if it is careful."""
        assert [page async for page in flows.pages(change.request.id)]
        if self.keyed and change.key in self.seen:
            return
        self.seen.add(change.key)
        self.booked.append(change.request.id)

    async def check(self, flows: LeanFlow) -> None:
        """Hold the books to the store."""
        fetched = [request.id async for request in flows.find(state=State.fetched)]
        assert sorted(self.booked) == sorted(fetched), "booked twice, or never"


def test_an_application_s_handlers_and_rules_are_held_to() -> None:
    """Handlers that go by the key of a change do it once; those that do not are found out, by a rule of the user's."""
    for seed in range(12):
        careful = Ledger(keyed=True)
        play(seed, handlers=careful.handlers, check=careful.check)
        assert careful.booked

    def play_careless() -> None:
        for seed in range(40):
            careless = Ledger(keyed=False)
            play(seed, handlers=careless.handlers, check=careless.check)

    with pytest.raises(SimulationFailed, match="booked twice, or never"):
        play_careless()


def test_weights_switch_acts_off() -> None:
    """What weighs nothing does not happen; a calm run has no faults at all."""
    calm = dict.fromkeys(WEIGHTS.keys() - {"go", "request", "prompt", "user", "deliver", "pass"}, 0)
    run = play(1, weights=calm, storm=0)
    assert not [one for one in run.moments if one.fault and one.who != "!"]
    assert run.states["fetched"] > 0


@pytest.mark.parametrize(
    ("more", "named"),
    [({"weights": {"earthquake": 1}}, "weights"), ({"processes": 0}, "processes"), ({"steps": -1}, "steps")],
)
def test_wrong_arguments_are_refused(more: dict[str, Any], named: str) -> None:
    """Each error names its argument."""
    with pytest.raises(InvalidRequest, match=named):
        play(1, **more)


# what a failure says


class Drops(MemoryStore):
    """A store that loses announcements of ends."""

    async def commit(self, step: Any) -> Any:
        """Leave them out."""
        ends = step.after is not None and step.after.state.is_end
        return await super().commit(attrs.evolve(step, announcements=()) if ends else step)


def failures(make: type[MemoryStore]) -> Iterator[SimulationFailed]:
    """Yield the failing runs over a kind of store."""
    for seed in range(30):
        try:
            play(seed, store=make().reopen)
        except SimulationFailed as failed:
            yield failed


def test_a_failure_tells_its_story_and_how_to_play_it_again() -> None:
    """The rule, what broke it, the end of the timeline, and one command."""
    failed = next(failures(Drops))
    text = str(failed)
    assert failed.run.violations
    assert f"again: leanflow simulate --seed {failed.run.seed}" in text
    assert failed.run.violations[0][1] in text
    assert text.count("\n") < 100
    assert len(failed.run.timeline().splitlines()) >= len(failed.run.timeline(10).splitlines())


def test_a_failing_run_is_made_shorter() -> None:
    """Halving finds a shorter run that breaks a rule as well; what is found is replayed by its number of steps."""
    failed = next(found for found in failures(Drops) if found.run.steps > 100)
    shorter = shortest(failed, lambda steps: play(failed.run.seed, store=Drops().reopen, steps=steps))
    assert shorter.run.steps < failed.run.steps
    with pytest.raises(SimulationFailed) as again:
        play(failed.run.seed, store=Drops().reopen, steps=shorter.run.steps)
    assert again.value.run.violations == shorter.run.violations


def test_a_store_s_own_error_is_told() -> None:
    """A store that raises what no port promises breaks a rule, though the engine goes on after it."""

    class Breaks(MemoryStore):
        async def claim(self, *args: Any, **kwargs: Any) -> Any:
            raise KeyError("a mistake")

    with pytest.raises(SimulationFailed, match="claim raised KeyError"):
        play(1, store=Breaks().reopen)


def test_any_store_will_do() -> None:
    """A maker of handles is all that is asked for."""
    data = MemoryStore()
    handles: list[Store] = []

    def make() -> Store:
        handles.append(data.reopen())
        return handles[-1]

    play(3, store=make, processes=2)
    assert len(handles) >= 2
    assert not any(handle.is_open for handle in handles)
