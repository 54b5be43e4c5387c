"""R28, R29, R30 and R31: webhooks that never come, all of them again, four hours of them at once, and lost hints."""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import datetime, timedelta

from tests.torture.clocks import many, until
from tests.torture.drive import drive, make
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.lean import Sent
from tests.torture.world import World

__all__ = ["lost_hints", "lost_webhooks", "receiver_down", "reconcile_again"]

_DAILY = 12  # calls that one waiting request may cost a day
_HOURS_DOWN = 4


async def lost_webhooks(run: Run) -> None:
    """R28: every webhook is lost: probes find the results, soon; and a request that waits for ever costs few calls."""
    policy = {"user_timeout": 1.0, "probes": [0.5, 1.0], "idle_probes": [1.0]}
    async with run.world("lost", policy=policy) as world:
        world.drops_webhooks = True
        await world.start()
        names = [f"{('user', 'quiet')[n % 2]}-{n}" for n in range(run.rounds)]
        delays, problems = await _drive_all(world, names)
        problems += await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))
    daily = await _a_day(run)
    run.figure.rounds = run.rounds
    run.figure.notes = {"longest way s": max(delays), "calls per waiting request and day": daily}
    if daily > _DAILY:
        run.figure.violations.append(f"R28: a waiting request costs {daily} calls a day")


async def _drive_all(world: World, names: list[str]) -> tuple[list[float], list[str]]:
    async def one(name: str) -> tuple[float, str | None]:
        began = time.perf_counter()
        try:
            state = await asyncio.wait_for(drive(world, name), 30 * world.patience)
        except TimeoutError:
            state = f"nowhere within {30 * world.patience} s"
        return time.perf_counter() - began, None if state == "fetched" else f"I7: {name} ended {state}"

    ended = await asyncio.gather(*(one(name) for name in names))
    return [seconds for seconds, _ in ended], [problem for _, problem in ended if problem]


async def _a_day(run: Run) -> int:
    """Let a request wait for a day under the default policy, stopping at each due time; return the calls it cost."""
    async with run.world("day", quick=False, clock="engine", policy={"poll": 0.05, "reconcile_every": None}) as world:
        await world.start()
        await make(world, "hush-day")
        end = world.lean.now() + timedelta(hours=23, minutes=59)
        while True:
            await asyncio.sleep(0.2)
            due = await world.do("next_due")
            if due is None or datetime.fromisoformat(due) >= end:
                break
            await world.shift(datetime.fromisoformat(due) - world.lean.now())
        calls = len(world.lean.asked)
        run.add(world, await world.close())
    return calls


async def reconcile_again(run: Run) -> None:
    """R29: the Events API brings 90 days of old events: what is known has no effect, and the rest is heard once."""
    async with run.world() as world:
        await world.start()
        _, problems = await _drive_all(world, [f"{('user', 'pend')[n % 2]}-{n}" for n in range(20)])
        await world.delivered()
        world.lean.offset = -80 * 86400.0
        for number in range(run.rounds):
            world.lean.says("entity.created", {"id": f"somebody-{number}"}, deliver=False)
        world.lean.offset = 0.0
        since = (world.lean.now() - timedelta(days=89)).isoformat()
        news, first = await _reconcile(world, since)
        before = world.base.read()
        again, second = await _reconcile(world, since)
        after = world.base.read()
        if news != run.rounds or again:
            problems.append(f"R29: {news} and then {again} events were news, not {run.rounds} and none")
        if (before.requests, before.history) != (after.requests, after.history):
            problems.append("R29: a known event moved a request")
        problems += await world.settle(120)
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds
    run.figure.notes = {"new events/s": run.rounds / first, "known events/s": run.rounds / second}


async def _reconcile(world: World, since: str) -> tuple[int, float]:
    began = time.perf_counter()
    news: int = await world.do("reconcile", since=since)
    return news, time.perf_counter() - began


async def receiver_down(run: Run) -> None:
    """R30: the receiver is down longer than Lean tries: one reconciliation at start finds all that happened."""
    policy = {"user_timeout": 86400.0, "probes": [86400.0], "idle_probes": [86400.0], "reconcile_every": 21600.0}
    async with run.world(clock="engine", policy=policy) as world:
        child = await world.start()
        world.drops_webhooks = True
        ids = await many(world, (f"{('user', 'hush')[n % 2]}-{n}" for n in range(run.rounds)))
        problems = (
            [] if await until(world, -(-run.rounds // 2), 20, "reconnect_required") else ["R30: not all were asked"]
        )
        for request_id in ids[::2]:
            await world.do("prompt", id=request_id)
        await child.stop()
        await world.shift(timedelta(hours=_HOURS_DOWN / 2))
        for result in list(world.lean.results.values()):
            if result.status == "RECONNECT_REQUIRED":
                world.lean.reconnect(result.results_id)
            else:
                world.lean.ready(result.results_id)
        await world.shift(timedelta(hours=_HOURS_DOWN / 2))
        began = time.perf_counter()
        await world.start()
        problems += [] if await until(world, run.rounds, 30, "fetched") else [f"R30: stuck: {await world.do('counts')}"]
        took = time.perf_counter() - began
        problems += await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds
    run.figure.notes = {"healed s after start": took}


async def lost_hints(run: Run) -> None:
    """R31: webhooks come to a process without workers, and hints are off: the other one's polls find the work."""
    poll = 0.25
    async with run.world(hints=False, policy={"poll": poll}) as world:
        await world.start()
        await world.start(workers=0)
        times: dict[str, float] = {}

        def deliver(sent: Sent) -> None:
            world.post_by(_post(world, sent, times))

        world.lean.deliver = deliver
        _, problems = await _drive_all(world, [f"pend-{n}" for n in range(run.rounds)])
        problems += await world.settle()
        problems += await world.close()
        heard = {line["key"]: line["at"] for line in reversed(world.heard) if line["sink"] == "listener"}
        delays = [heard[key] - at for key, at in times.items() if key in heard]
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds
    run.figure.notes = {"poll s": poll, "median delay s": statistics.median(delays), "longest s": max(delays)}
    if max(delays) > poll + 1.0 * run.patience:  # a second for a busy machine
        run.figure.violations.append(f"R31: an announcement was found {max(delays):.2f} s late")


async def _post(world: World, sent: Sent, times: dict[str, float]) -> None:
    await world.insist(sent, at=1)
    times[f"event:{sent.event_id}"] = time.time()
