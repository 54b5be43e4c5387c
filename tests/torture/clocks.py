"""R19, R20 and R21: clocks that jump, events that meet the expiry, and a month asleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from tests.torture.drive import make
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.world import World

__all__ = ["clock_jumps", "event_against_expiry", "long_sleep", "many", "until"]

_HOUR, _DAY = 3600.0, 86400.0
_JUMPS = (_HOUR, -_HOUR, 40 * _DAY, -40 * _DAY)
_LIFE = 1.5  # seconds a reconnect id lives in the races
_AT_ONCE = 64


async def many(world: World, names: Iterable[str]) -> list[str]:
    """Make many requests; return their ids."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> str:
        async with room:
            return await make(world, name)

    return list(await asyncio.gather(*(one(name) for name in names)))


async def until(world: World, number: int, limit: float, *states: str) -> bool:
    """Wait until so many requests are in these states."""
    last = time.perf_counter() + limit * world.patience
    while time.perf_counter() < last:
        counts: dict[str, int] = await world.do("counts")
        if sum(counts.get(state, 0) for state in states) >= number:
            return True
        await asyncio.sleep(0.05)
    return False


async def clock_jumps(run: Run) -> None:
    """R19: the engine's clock jumps by an hour and by 40 days, to and fro, and Lean's goes on: nothing ends by that."""
    policy = {"user_timeout": 900.0, "probes": [30.0, 60.0], "idle_probes": [_HOUR], "jitter": 0.01}
    async with run.world(policy=policy) as world:
        await world.start()
        asked = await many(world, (f"user-{n}" for n in range(run.rounds)))
        waiting = await many(world, (f"hush-{n}" for n in range(run.rounds)))
        problems = [] if await until(world, len(asked), 20, "reconnect_required") else ["R19: not all were asked for"]
        prompted = asked[::2]
        for request_id in prompted:
            await world.do("prompt", id=request_id)
        for jump in _JUMPS:
            for offset in (jump, 0.0):
                await world.do("clock", offset=offset)
                await world.do("sweeps", number=5)
        counts = await world.do("counts")
        problems += [f"R19: {counts[end]} requests {end}" for end in ("expired", "failed") if counts.get(end)]
        for result in list(world.lean.results.values()):
            if result.entity_id.startswith("user"):
                world.lean.reconnect(result.results_id)
        if not await until(world, len(asked), 20, "fetched"):
            problems.append(f"I7: after the jumps the requests are {await world.do('counts')}")
        for request_id in waiting:
            await world.do("cancel", id=request_id)
        problems += await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = len(_JUMPS) * 2
    run.figure.notes = {"requests": 2 * run.rounds}


async def event_against_expiry(run: Run) -> None:
    """R20: the webhook comes in the moment of the expiry: one of the two wins, and history is legal either way."""
    policy = {"reconnect_ttl": _LIFE, "expiry_grace": 0.0, "place_siblings": False, "idle_probes": [60.0]}
    async with run.world(policy=policy) as world:
        await world.start()
        room = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(_race(world, room, f"user-{n}") for n in range(run.rounds)))
        problems = await world.settle()
        problems += [] if await until(world, run.rounds, 20, "fetched", "expired") else ["I7: a race has no winner"]
        counts = await world.do("counts")
        problems += await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds
    run.figure.notes = {"fetched": counts.get("fetched", 0), "expired": counts.get("expired", 0)}


async def _race(world: World, room: asyncio.Semaphore, name: str) -> None:
    async with room:
        request: dict[str, Any] = await world.do("get", id=await make(world, name))
        while request.get("expire_at") is None:
            await asyncio.sleep(0.01)
            request = await world.do("get", id=request["id"])
        end = datetime.fromisoformat(request["expire_at"])
        # A poll, a last probe and the load of all the others lie between the moment and the expiry.
        wait = (end - world.lean.now()).total_seconds() + world.dice.uniform(-0.005, 0.25)
        await asyncio.sleep(max(wait, 0.0))
        # While Lean still wants the user, the last probe cannot decide the race.
        names = {"id": name, "reconnect_id": request["reconnect_id"]}
        world.lean.says("entity.reconnected", names)
        await asyncio.sleep(0.3)
        world.lean.ready(request["results_id"])


async def long_sleep(run: Run) -> None:
    """R21: a file with waiting requests is opened 31 days later: at once, and one sweep ends them all."""
    policy = {"place_wait": 0.0, "lease": 30.0, "idle_probes": [_HOUR], "user_timeout": 900.0}
    async with run.world(clock="engine", policy=policy) as world:
        child = await world.start()
        await many(world, (f"dumb-{n}" for n in range(run.rounds)))
        problems = [] if await until(world, run.rounds, 120, "reconnect_required") else ["R21: not all are waiting"]
        problems += await world.settle(60)
        await child.stop()
        await world.shift(timedelta(days=31))
        began = time.perf_counter()
        await world.start()
        sent = world.lean.says("entity.created", {"id": "somebody"}, deliver=False)
        status = await world.post(sent)
        first = time.perf_counter() - began
        if status != 200 or first > 1.5:
            problems.append(f"R21: the first answer was {status} after {first:.2f} s")
        problems += [] if await until(world, run.rounds, 300, "expired") else ["R21: not all have expired"]
        sweep = time.perf_counter() - began
        problems += await world.settle(120)
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds
    run.figure.notes = {"first 200 s": first, "all expired s": sweep}
