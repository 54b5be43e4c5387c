"""R1, R19 and R25 for several workers on one database: killed, with wrong clocks, held up, cut off, without it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from tests.support.postgres import URL
from tests.torture.crash import under_load
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.keys import KeysServer
from tests.torture.servers import Server, Wire, cannot_serve
from tests.torture.world import World

__all__ = ["cut_connections", "held_tables", "restarted_database", "workers_killed", "wrong_clocks"]

Trouble = Callable[[World, asyncio.Event], Coroutine[Any, Any, None]]

_WORKERS = 4
_AT_ONCE = 48
_EVERY = 1.0  # seconds between kills
_HOUR = 3600.0
_HELD = 2.6  # seconds; a lease is 2
_CUT = {"postgres": 0.03, "redis": 0.1}
"""Of all round trips with steps: on Redis those of more callers share one."""
_CALM = (0.3, 3.0)  # seconds between restarts
_DOWN = (0.0, 3.0)  # seconds that the database is away


async def workers_killed(run: Run) -> None:
    """R1: four workers, of which a random one is killed every second and another started, over `rounds` requests."""
    async with run.world(bus=True) as world:
        await asyncio.gather(*(world.start() for _ in range(_WORKERS)))
        await _through(run, world, _kill_one_by_one)
    run.figure.notes = {"workers": _WORKERS, "told to try again": world.refusals}


async def _kill_one_by_one(world: World, over: asyncio.Event) -> None:
    while not over.is_set():
        await asyncio.wait({world.go(over.wait())}, timeout=_EVERY)
        living = [child for child in world.children if child.port and not child.ended.done()]
        await world.kill(world.dice.choice(living))
        await world.start()


async def held_tables(run: Run) -> None:
    """R25: nobody dies, but the tables are held for longer than a lease, again and again: no answer is given up."""
    async with run.world(bus=True) as world:
        await asyncio.gather(*(world.start() for _ in range(_WORKERS)))
        await _through(run, world, _hold)
    run.figure.notes = {"workers": _WORKERS, "held s": _HELD, "told to try again": world.refusals}


async def _hold(world: World, over: asyncio.Event) -> None:
    while not over.is_set():
        await asyncio.wait({world.go(over.wait())}, timeout=_EVERY)
        await asyncio.to_thread(world.base.hold, _HELD, threading.Event())


async def _none(world: World, over: asyncio.Event) -> None:
    del world, over


async def wrong_clocks(run: Run) -> None:
    """R19: of four workers one is an hour ahead and one an hour behind, and nothing waits an hour."""
    async with run.world(bus=True) as world:
        await asyncio.gather(*(world.start(offset=offset) for offset in (0.0, _HOUR, -_HOUR, 0.0)))
        await _through(run, world)
    run.figure.notes = {"workers": _WORKERS, "told to try again": world.refusals}


async def cut_connections(run: Run) -> None:
    """R25: connections are cut while steps are on their way, before, in the middle of, and after their commit."""
    async with AsyncExitStack() as stack:
        where = (await stack.enter_async_context(KeysServer())).dsn if run.store == "redis" else URL
        wire = await stack.enter_async_context(Wire(where, random.Random(run.seed), 0))
        world = await stack.enter_async_context(run.world(base=run.base(where, wire.dsn), bus=True))
        await asyncio.gather(world.start(), world.start())
        wire.rate = _CUT[run.store]  # from here on: an engine whose start is cut off says so, and is started again
        await _through(run, world)
    cuts = {f"cut {how}": number for how, number in sorted(wire.cuts.items())}
    run.figure.notes = {**cuts, "told to try again": world.refusals}


async def restarted_database(run: Run) -> None:
    """R25: the database crashes or is stopped under two workers, `rounds` times, and comes back after a while."""
    if run.store == "postgres" and (problem := cannot_serve()) is not None:
        run.figure.skipped = problem
        return
    async with AsyncExitStack() as stack:
        server: Server | KeysServer = KeysServer() if run.store == "redis" else Server()
        await stack.enter_async_context(server)
        world = await stack.enter_async_context(run.world(base=run.base(server.dsn), bus=True))
        await asyncio.gather(world.start(), world.start())
        restarting = world.go(_restart(world, server, run.rounds))
        problems = await under_load(world, restarting, at_least=run.rounds, at_once=_AT_ONCE)
        await _end(run, world, problems)
        run.figure.rounds = run.rounds
    run.figure.notes = {"requests": len(world.acknowledged), "told to try again": world.refusals}


async def _restart(world: World, server: Server | KeysServer, times: int) -> None:
    for number in range(times):
        await asyncio.sleep(world.dice.uniform(*_CALM))
        for child in world.children:
            child.faults += 1  # away for longer than a lease, the database may have missed an answer
        await server.stop(("immediate", "fast")[number % 2])
        await asyncio.sleep(world.dice.uniform(*_DOWN))
        await server.start()


async def _through(run: Run, world: World, trouble: Trouble | None = None) -> None:
    """Bring `rounds` requests to their end while there is trouble, until that is told that it is over."""
    world.repeats = 0.2
    over = asyncio.Event()
    troubling = world.go((trouble or _none)(world, over))
    nothing = world.go(asyncio.sleep(0))
    problems = await under_load(world, nothing, at_least=run.rounds, at_once=_AT_ONCE)
    over.set()
    await troubling
    await _end(run, world, problems)
    run.figure.rounds = len(world.acknowledged)


async def _end(run: Run, world: World, problems: list[str]) -> None:
    problems += await world.settle(120)
    problems += await world.close()
    run.add(world, problems + check(world))
