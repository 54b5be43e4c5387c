"""`simulate`: one run from one seed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import attrs

from leanflow._flows import LeanFlow
from leanflow._handlers import Handlers
from leanflow._policy import Policy
from leanflow.errors import InvalidRequest
from leanflow.testing._clock import FakeClock
from leanflow.testing._timeline import span
from leanflow.testing.simulation._acts import ACTS, WEIGHTS
from leanflow.testing.simulation._heal import check as look_once_more, heal
from leanflow.testing.simulation._loop import SimulatedLoop, Weighted
from leanflow.testing.simulation._world import Moment, StoreMaker, TransportMaker, World

__all__ = ["Run", "SimulationFailed", "simulate"]

Check = Callable[[LeanFlow], Coroutine[Any, Any, None]]

_TRIES = 5
"""Acts tried in one step before it passes without any: most find something to do."""

_QUIET = 80
"""Percent of the steps during a slow call in which nothing else happens: else it is over before time has passed."""

_POLL = timedelta(minutes=1)
"""How often workers look on their own: rarely, because in a run they mostly find nothing."""


@attrs.frozen(kw_only=True)
class Run:
    """What a run was.

    Attributes:
        seed: what it followed from.
        steps: how many things happened before all faults were stopped.
        moments: what happened, in order.
        violations: what must not have happened: a rule, and what broke it.
        states: how many requests ended in each state.
    """

    seed: int
    steps: int
    moments: tuple[Moment, ...] = attrs.field(repr=False)
    violations: tuple[tuple[str, str], ...] = ()
    states: Mapping[str, int] = attrs.field(factory=dict)

    def timeline(self, last: int | None = None) -> str:
        """Return the run as text, one line for each moment: its step, its time since the start, who, and what.

        Args:
            last: only so many moments at the end; None: all.
        """
        start = self.moments[0].at if self.moments else None
        shown = self.moments if last is None else self.moments[-last:]
        lines = [f"... {len(self.moments) - len(shown)} moments before"] if len(shown) < len(self.moments) else []
        for one in shown:
            since = span(one.at - start) if start is not None else ""
            lines.append(f"{one.step:>5} {since:>9} {one.who:>4} {'!' if one.fault else ' '} {one.what}")
        return "\n".join(lines)


class SimulationFailed(AssertionError):
    """A run broke a rule. Its text is the end of the timeline, and how to play it again.

    Attributes:
        run: the run, whole.
    """

    def __init__(self, run: Run, command: str) -> None:
        self.run = run
        broken = "\n".join(f"  {rule}: {what}" for rule, what in run.violations)
        super().__init__(
            f"seed {run.seed} broke a rule at step {run.steps}\n{run.timeline(60)}\n\n{broken}\n\nagain: {command}"
        )


def simulate(
    seed: int,
    *,
    store: StoreMaker,
    transport: TransportMaker,
    handlers: Handlers | Iterable[Handlers] = (),
    policy: Policy | None = None,
    weights: Mapping[str, float] | None = None,
    storm: float = 1.0,
    processes: int = 3,
    steps: int = 250,
    check: Check | None = None,
    command: str = "",
) -> Run:
    """Play one run: engines on one store, Lean, a bus, users, and everything that goes wrong, on one simulated clock.

    The same arguments play the same run, to the byte of its timeline. It runs in an event loop of its own, so it cannot
    be called from a coroutine.

    Args:
        seed: everything follows from it.
        store: returns one more handle on one and the same empty store: the first for the first process, and so on.
        transport: makes the way to the simulated Lean: `leanflow_adapters.mockbank.MockbankTransport`.
        handlers: those of an application; each also fails now and then, before or after it is done. They must not wait
            for the real world, and what they keep must be new for each run.
        policy: waits and budgets; its `poll` is replaced.
        weights: laid over `WEIGHTS`: how often each thing happens.
        storm: how often Lean and the bank misbehave: multiplies the probabilities of `Mockbank.storm`.
        processes: how many engines.
        steps: how many things happen before all faults are stopped.
        check: called at the end with an engine: for rules of your own; it raises AssertionError.
        command: what to print as the way to play a failing run again.

    Raises:
        SimulationFailed: a rule was broken; with the timeline.
        InvalidRequest: an argument is wrong.
    """
    unknown = (weights or {}).keys() - ACTS.keys()
    if unknown:
        raise InvalidRequest("weights", f"{min(unknown)!r} is none of {', '.join(ACTS)}")
    if processes < 1 or steps < 0:
        raise InvalidRequest("processes" if processes < 1 else "steps", "is too small")
    clock = FakeClock()
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(clock)) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SimulatedLoop)
        world = World(
            seed,
            loop,
            clock,
            store=store,
            transport=transport,
            handlers=[handlers] if isinstance(handlers, Handlers) else handlers,
            policy=attrs.evolve(policy or Policy(), poll=_POLL),
            processes=processes,
        )
        with _errors_noticed(world):
            runner.run(_play(world, steps, Weighted({**WEIGHTS, **(weights or {})}), storm, check))
    run = Run(
        seed=seed,
        steps=min(world.number, steps),
        moments=tuple(attrs.evolve(one, what=world.labelled(one.what)) for one in world.moments),
        violations=tuple(world.violations),
        states=Counter(request.state.value for request in world.oracle.records.values()),
    )
    if run.violations:
        raise SimulationFailed(run, command or f"simulate({seed}, steps={run.steps}, …)") from world.error
    return run


async def _play(world: World, steps: int, table: Weighted, storm: float, check: Check | None) -> None:
    try:
        world.bank.storm(world.seed, storm)
        await world.settle()
        for number in range(1, steps + 1):
            world.number = number
            for _ in range(_TRIES):
                waits = world.is_patient and world.dice.chance(_QUIET)
                if ACTS["go" if waits else world.dice.weighted(table)](world):
                    break
            await world.settle()
            if world.violations:
                return
        await _end(world, check)
    finally:
        world.wanted = 0
        for process in world.processes:
            process.is_dead = True
        await world.bury()


async def _end(world: World, check: Check | None) -> None:
    try:
        await heal(world)
        if not world.violations:
            await look_once_more(world)
        if not world.violations and check is not None:
            await _own_check(world, check)
    except Exception as error:  # noqa: BLE001 - what a store raises when it is looked into is its own
        world.error = error
        world.violate("the store", f"raised {type(error).__name__} in the end: {error}")


async def _own_check(world: World, check: Check) -> None:
    task = world.up[0].run(check(world.up[0].flows))
    while not task.done():
        await world.settle()
        turn = next(world.turns.waiting(), None)
        if turn is None:
            break
        world.turns.give(turn)
    error = task.exception() if task.done() else AssertionError("the check waits for something that never comes")
    if error is not None:
        world.violate("check", f"{type(error).__name__}: {error}")


class _Errors(logging.Handler):
    """Hears of what the engine logs as unexpected: it goes on after it, and a run does not."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            self._world.violate("errors", f"{record.getMessage()}: {type(error).__name__}: {error}")


@contextmanager
def _errors_noticed(world: World) -> Iterator[None]:
    log = logging.getLogger("leanflow")
    handler, level, propagate = _Errors(world), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.ERROR)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
