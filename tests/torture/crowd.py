"""R22, R23 and R24: many processes on one file, a file held by others, and a process that freezes."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from contextlib import suppress

from tests.torture.crash import under_load
from tests.torture.drive import drive, make
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.lean import Sent
from tests.torture.nursery import Child
from tests.torture.world import World

__all__ = ["frozen_workers", "many_processes", "two_processes_and_a_third"]

_PROCESSES = 8
_HELD = 5.0  # seconds that somebody else holds the file


async def many_processes(run: Run) -> None:
    """R22: eight processes make the same requests and get the same events at once: one effect, and never an error."""
    processes = 3 if run.is_fast else _PROCESSES
    async with run.world(policy={"poll": 0.2, "lease": 20.0}) as world:
        wrong: Counter[int] = Counter()

        def deliver(sent: Sent) -> None:
            world.post_by(_everywhere(world, sent, processes, wrong))

        world.lean.deliver = deliver
        await asyncio.gather(*(world.start() for _ in range(processes)))
        room = asyncio.Semaphore(8)
        flows = (_crowd(world, room, f"{('user', 'pend', 'early')[n % 3]}-{n}", processes) for n in range(run.rounds))
        problems = [problem for problem in await asyncio.gather(*flows) if problem]
        problems += [f"R22: {number} copies were answered {status}" for status, number in wrong.items()]
        problems += await world.settle(60)
        problems += [f"R22: {world.refusals} operations were refused for now"] if world.refusals else []
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds
    run.figure.notes = {"processes": processes, "copies": sum(sent.oks for sent in world.lean.sent.values())}


async def _everywhere(world: World, sent: Sent, processes: int, wrong: Counter[int]) -> None:
    statuses = await asyncio.gather(*(world.post(sent, at=index) for index in range(processes)))
    wrong.update(status for status in statuses if status != 200)


async def _crowd(world: World, room: asyncio.Semaphore, name: str, processes: int) -> str | None:
    async with room:
        ids = set(await asyncio.gather(*(make(world, name, at=index) for index in range(processes))))
        if len(ids) > 1:
            return f"R22: {name} was made {len(ids)} times"
        try:
            state = await asyncio.wait_for(drive(world, name, at=world.dice.randrange(processes)), 60 * world.patience)
        except TimeoutError:
            return f"I7: {name} did not end within {60 * world.patience} s"
    return None if state == "fetched" else f"I7: {name} ended {state}"


async def two_processes_and_a_third(run: Run) -> None:
    """R23: two processes work while a reader holds a snapshot and a writer holds the file for 5 s, again and again."""
    held = 1.0 if run.is_fast else _HELD
    async with run.world() as world:
        await asyncio.gather(world.start(), world.start())
        end_look = await asyncio.to_thread(world.base.look)
        holding = world.go(_hold(world, run.rounds, held))
        problems = await under_load(world, holding, at_least=20)
        await asyncio.to_thread(end_look)
        problems += await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds
    run.figure.notes = {"held s": held, "requests": len(world.acknowledged), "told to try again": world.refusals}


async def _hold(world: World, rounds: int, seconds: float) -> None:
    for _ in range(rounds):
        for child in world.children:
            child.faults += 1  # held up longer than a lease, an answer may be given up
        await asyncio.to_thread(world.base.hold, seconds, threading.Event())
        await asyncio.sleep(0.5)


async def frozen_workers(run: Run) -> None:
    """R24: a process freezes with calls under way; another takes over and finishes; what the first says is refused."""
    per_freeze = 10
    async with run.world() as world:
        other = await world.start()
        freezes = -(-run.rounds // per_freeze)
        problems: list[str] = []
        for freeze in range(freezes):
            frozen = await world.start()
            problems += await _freeze(world, frozen, [f"gate-{freeze}.{n}" for n in range(per_freeze)])
            await _refused(world, per_freeze * (freeze + 1))
            await frozen.stop()
        problems += await world.settle()
        problems += await world.close()
        problems += [] if other.ended.result() == 0 else ["R24: the other process has died"]
        late = _late(world)
        run.add(world, problems + check(world, expected_log="leanflow.worker: lost the lease"))
    run.figure.rounds = freezes * per_freeze
    run.figure.notes = {"late answers refused": late}
    if late < run.figure.rounds:
        run.figure.violations.append(f"R24: of {run.figure.rounds} late answers {late} are recorded as refused")


def _late(world: World) -> int:
    """Count the answers that came too late and were recorded as refused."""
    entries = (row for rows in world.base.read().history.values() for row in rows)
    return sum(row["key"].startswith("answer:") and bool(row["declined"]) for row in entries)


async def _refused(world: World, number: int) -> None:
    """Let a process that was thawed say what it has to say: so many answers are refused by then, or a while is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(5 * world.patience):
            while await asyncio.to_thread(_late, world) < number:
                await world.pause()


async def _stop_between_transactions(world: World, child: Child) -> None:
    """Freeze a process that does not hold the file: one that does keeps every other out, which no program can mend."""
    child.signal(signal.SIGSTOP)
    while not await asyncio.to_thread(world.base.is_free):
        child.signal(signal.SIGCONT, cuts=False)
        await world.pause()
        child.signal(signal.SIGSTOP, cuts=False)


async def _freeze(world: World, frozen: Child, names: list[str]) -> list[str]:
    """Freeze a process whose calls are under way, until another has finished them; return what did not end well."""
    making = [world.go(make(world, name)) for name in names]
    await asyncio.gather(*(world.lean.gates[name].reached.wait() for name in names))
    await _stop_between_transactions(world, frozen)
    for name in names:
        world.lean.gates[name].opened.set()
    problems = []
    for name in names:
        try:
            state = await asyncio.wait_for(drive(world, name, at=0), 30 * world.patience)
        except TimeoutError:
            state = f"nowhere within {30 * world.patience} s"
        if state != "fetched":
            problems.append(f"R24: {name} ended {state}")
    frozen.signal(signal.SIGCONT, cuts=False)
    await asyncio.gather(*making)
    return problems
