"""R5: SIGTERM under load."""

from __future__ import annotations

import asyncio

from tests.torture.crash import under_load
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.world import World

__all__ = ["stops_under_load"]

_LIMIT = 10.0  # seconds that a stop may take


async def stops_under_load(run: Run) -> None:
    """R5: stop in order, again and again, under load: soon, with status 0, and losing nothing."""
    async with run.world(bus=True) as world:
        world.repeats = 0.2
        stopping = world.go(_stop_and_start(run, world))
        problems = await under_load(world, stopping, at_least=run.rounds)
        times, wrong = await stopping
        problems += wrong + await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds
    run.figure.notes = {"longest stop s": max(times)}


async def _stop_and_start(run: Run, world: World) -> tuple[list[float], list[str]]:
    times: list[float] = []
    problems: list[str] = []
    for _ in range(run.rounds):
        child = await world.start()
        await asyncio.sleep(world.dice.uniform(0.02, 0.25))
        took = await child.stop(2 * _LIMIT * run.patience)
        times.append(took)
        if child.ended.result() != 0:
            problems.append(f"R5: {child.tag} ended with wait status {child.ended.result()}")
        if took > _LIMIT * run.patience:
            problems.append(f"R5: {child.tag} took {took:.1f} s to stop")
    await world.start()
    return times, problems
