"""R1 and R3: SIGKILL at random, and during recovery."""

from __future__ import annotations

import asyncio
import difflib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

from tests.torture.drive import drive
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.world import World

__all__ = ["kills_during_recovery", "random_kills", "under_load"]

KINDS = ("user", "pend", "early", "ok", "user", "pend-flaky")
_LONGEST = {"sqlite": 0.0012, "postgres": 0.006, "redis": 0.006}
"""Seconds from an event to the kill: where a step still is."""
_EVENTS = {"sqlite": 4, "postgres": 16, "redis": 16}
"""In a life at most: one on a server begins more slowly than it goes on."""
_LIMIT = 90.0  # seconds of calm in which a request must end
_AT_ONCE = 16
_WORLDS = 4  # at a time: they mostly wait for leases to end


async def random_kills(run: Run) -> None:
    """R1: kill the only child a moment after an event was sent, again and again, under requests of every kind."""
    async with run.world(bus=True) as world:
        world.repeats = 0.2
        killing = world.go(_kill_and_start(run, world))
        problems = await under_load(world, killing, at_least=4 * run.rounds)
        problems += await world.settle()
        problems += await world.close()
        run.figure.rounds = len(world.acknowledged)
        run.add(world, problems + check(world))


def _names() -> Iterator[tuple[str, str]]:
    number = 0
    while True:
        number += 1
        kind = KINDS[number % len(KINDS)]
        yield f"{kind}-{number}", "accounts"
        if kind == "user" and number % 4 == 0:
            yield f"{kind}-{number}", "identity"  # a second one of this entity: one OTP is to help both


async def under_load(world: World, trouble: asyncio.Task[Any], at_least: int, at_once: int = _AT_ONCE) -> list[str]:
    """Keep requests going until the trouble is over and there were enough of them; return what became of none."""
    going: set[asyncio.Task[str | None]] = set()
    ended: list[str | None] = []
    names = _names()
    while going or not trouble.done():
        while len(going) < at_once and (not trouble.done() or len(ended) + len(going) < at_least):
            going.add(world.go(_one(world, trouble, *next(names))))
        done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
        ended += [task.result() for task in done]
    await trouble
    return [f"I7: {problem}" for problem in ended if problem]


async def _one(world: World, trouble: asyncio.Task[Any], entity_id: str, resource: str) -> str | None:
    driven = world.go(drive(world, entity_id, resource))
    await asyncio.wait({driven, trouble}, return_when=asyncio.FIRST_COMPLETED)
    try:
        state = await asyncio.wait_for(driven, _LIMIT * world.patience)
    except TimeoutError:
        return f"{entity_id}/{resource} did not end within {_LIMIT * world.patience} s of calm"
    return None if state == "fetched" else f"{entity_id}/{resource} ended {state}"


async def _kill_and_start(run: Run, world: World) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(run.rounds):
        child = await world.start()
        for _ in range(world.dice.randint(1, _EVENTS[run.store])):
            world.on_sent.clear()
            await world.on_sent.wait()
        if not child.ended.done():
            child.faults += 1
            await loop.run_in_executor(None, _kill_soon, child.pid, world.dice.uniform(0, _LONGEST[run.store]))
            world.kills += 1
        await child.ended
    await world.start()


def _kill_soon(pid: int, wait: float) -> None:
    time.sleep(wait)  # in a thread: the event loop cannot wait for less than a millisecond
    os.kill(pid, signal.SIGKILL)


async def kills_during_recovery(run: Run) -> None:
    """R3: two processes recover at once, are killed twice while they do, and the last recovery finds nothing to do."""
    await run.each((_recover(run, number) for number in range(run.rounds)), _WORLDS)
    run.figure.rounds = run.rounds


async def _recover(run: Run, number: int) -> None:
    async with run.world(f"round{number}", number) as world:
        child = await world.start()
        flows = [world.go(drive(world, f"{kind}-{number}")) for kind in KINDS]
        await asyncio.sleep(world.dice.uniform(0.0, 0.15))
        await world.kill(child)
        for _ in range(2):
            pair = await asyncio.gather(world.start(), world.start())
            await asyncio.sleep(world.dice.uniform(0.0, 0.06))
            await asyncio.gather(*(world.kill(one) for one in pair))
        await asyncio.gather(world.start(), world.start())
        states = await asyncio.wait_for(asyncio.gather(*flows), 60 * run.patience)
        problems = [f"I7: a request ended {state}" for state in states if state != "fetched"]
        problems += await world.settle()
        problems += await world.close()
        problems += await _nothing_left(world)
        run.add(world, problems + check(world))


async def _nothing_left(world: World) -> list[str]:
    """Start once more on a file at rest; return what that changed."""
    before = world.base.dump()
    child = await world.start()
    await world.do("sweeps", number=5)
    await child.stop()
    changed = [
        line
        for line in difflib.unified_diff(before, world.base.dump(), lineterm="", n=0)
        if line[3:] and line[:2] != "@@"
    ]
    return [f"R3: a recovery with nothing to recover changed rows: {changed[:6]}"] if changed else []
