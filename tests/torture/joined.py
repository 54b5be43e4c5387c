"""The application's own transactions on the engine's database: joined, undone, cut short, and in the engine's way."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from typing import Any

import asyncpg

from tests.torture.application import FATES, Application
from tests.torture.bases import SchemaBase
from tests.torture.crash import under_load
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.world import World

__all__ = ["a_request_held", "handlers_that_confirm", "joined_transactions"]

_CHILDREN = 2
_AT_ONCE = 6
_WEIGHTS = (24, 12, 1, 1, 1, 1)  # of `FATES`
_DEADLY = 0.01
_HOT = 16
_BURST = 64  # webhooks for each process at once: a whole batch of steps
_PAUSE = 1.0  # seconds between bursts
_HELD = 20.0
_SLOWEST = 1.0  # seconds for a webhook of a request that nobody holds, unless the machine takes longer in peace

# In one snapshot: rows of the application without what they stand for, and the other way round.
_DISAGREE = """SELECT count(*) FROM (SELECT * FROM "{0}".application WHERE what = 'made') a
    FULL JOIN "{0}".requests r ON r.id::text = a.request_id WHERE a.request_id IS NULL OR r.id IS NULL"""
_DISAGREE_ENDED = """SELECT count(*) FROM (SELECT * FROM "{0}".application WHERE what = 'cancelled') a
    FULL JOIN (SELECT * FROM "{0}".requests WHERE state = 'cancelled') r ON r.id::text = a.request_id
    WHERE a.request_id IS NULL OR r.id IS NULL"""


async def joined_transactions(run: Run) -> None:
    """`rounds` transactions make or cancel a request and write a row, and end in every way: both, or neither."""
    fates: Counter[str] = Counter()
    async with run.world(bus=True) as world:
        await asyncio.gather(*(world.start() for _ in range(_CHILDREN)))
        await _sql(world, *Application.TABLES)
        over = asyncio.Event()
        tending = world.go(_tend(world, over))
        watching = world.go(_watch(world))
        room = asyncio.Semaphore(_AT_ONCE)
        pairs = (_pair(world, room, f"hush-{n}", fates) for n in range(-(-run.rounds // 2)))
        await asyncio.gather(*map(world.go, pairs))
        looks, problems = await _end_of(watching)
        over.set()
        await tending
        problems += await world.settle(60)
        _count_dead(world)
        problems += await world.close()
        problems += await _disagreements(world)
        [rows] = await _sql(world, 'SELECT what, count(*) FROM "{0}".application GROUP BY what')
        run.add(world, problems + check(world))
    run.figure.rounds = fates.total()
    run.figure.notes = {
        **{fate: fates[fate] for fate in FATES},
        **{row["what"]: row["count"] for row in rows},
        "looks": looks,
    }


async def _pair(world: World, room: asyncio.Semaphore, entity_id: str, fates: Counter[str]) -> None:
    """Make a request, and if it came to be, cancel it: each in a transaction that ends as the dice say."""
    async with room:
        request_id = await _act(world, "made", entity_id, None, fates)
        if request_id is not None:
            world.acknowledged[f"{entity_id}/accounts"] = request_id
            await _act(world, "cancelled", entity_id, request_id, fates)


async def _act(world: World, what: str, entity_id: str, request_id: str | None, fates: Counter[str]) -> str | None:
    [fate] = world.dice.choices(FATES, _WEIGHTS)
    fates[fate] += 1
    words = {"what": what, "fate": fate, "entity_id": entity_id, "request_id": request_id}
    made: str | None = await world.once("act", at=world.dice.randrange(_CHILDREN), **words)
    return made


async def _tend(world: World, over: asyncio.Event) -> None:
    """Start a child for each that dies, until all is over."""
    while not over.is_set():
        living = [child for child in world.children if not child.ended.done()]
        if len(living) < _CHILDREN:
            await world.start()
            continue
        ends: list[asyncio.Future[Any]] = [*(child.ended for child in living), world.go(over.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)


def _count_dead(world: World) -> None:
    """Count who died by their own hand; once all has come to rest, for the last may have died a moment ago."""
    dead = [child for child in world.children if child.ended.done() and child.ended.result()]
    world.kills = len(dead)
    for child in dead:
        child.faults = 1


async def _watch(world: World) -> tuple[int, list[str]]:
    """Look again and again whether application and engine agree, until cancelled."""
    looks = 0
    problems: list[str] = []
    try:
        while True:
            await asyncio.sleep(0.2)
            problems += await _disagreements(world)
            looks += 1
    except asyncio.CancelledError:
        return looks, problems


async def _end_of(task: asyncio.Task[Any]) -> Any:
    task.cancel()
    await asyncio.wait({task})
    return None if task.cancelled() else task.result()


async def _disagreements(world: World) -> list[str]:
    found = await _sql(world, _DISAGREE, _DISAGREE_ENDED)
    return [f"joined: the application and leanflow differ in {number} requests" for [[number]] in found if number]


async def _sql(world: World, *statements: str) -> list[Any]:
    base = _schema(world)
    connection = await asyncpg.connect(base.dsn)
    try:
        return [await connection.fetch(statement.format(base.schema)) for statement in statements]
    finally:
        await connection.close()


def _schema(world: World) -> SchemaBase:
    assert isinstance(world.base, SchemaBase)
    return world.base


async def handlers_that_confirm(run: Run) -> None:
    """A handler dies before, inside and after its transaction, and has written each change's row exactly once."""
    async with run.world() as world:
        await world.start(workers=0)
        await _sql(world, *Application.TABLES)
        await world.children[0].stop()
        world.settings["deadly"] = _DEADLY
        await asyncio.gather(*(world.start() for _ in range(_CHILDREN)))
        over = asyncio.Event()
        tending = world.go(_tend(world, over))
        nothing = world.go(asyncio.sleep(0))
        problems = await under_load(world, nothing, at_least=run.rounds)
        problems += await world.settle(120)
        over.set()
        await tending
        _count_dead(world)
        problems += await world.close()
        [rows] = await _sql(world, 'SELECT key, count(*) FROM "{0}".told GROUP BY key')
        wrote = {row["key"]: row["count"] for row in rows}
        told = Counter(line["key"] for line in world.heard if line["sink"] == "teller")
        problems += [f"confirm: {key} was written {number} times" for key, number in wrote.items() if number != 1]
        problems += [f"confirm: {key} was told and never written" for key in told if key not in wrote]
        run.add(world, problems + check(world))
    again = sum(number - 1 for number in told.values())
    run.figure.rounds = len(world.acknowledged)
    run.figure.notes = {"rows": len(wrote), "told again": again}


async def a_request_held(run: Run) -> None:
    """R22: two processes, whole batches over the same hot requests, one of which an application holds for long."""
    held_for = 5.0 if run.is_fast else _HELD
    async with run.world(pool_size=10, policy={"poll": 0.2, "lease": 20.0}) as world:
        await asyncio.gather(*(world.start() for _ in range(_CHILDREN)))
        names = [f"hush-{n}" for n in range(_HOT)]
        ids = [(await world.do("request", resource="accounts", entity_id=name))["id"] for name in names]
        results = {one.entity_id: one.results_id for one in world.lean.results.values()}
        before = await _deadlocks(world)
        peace, times = _Times(), _Times()
        for _ in range(3):
            await asyncio.gather(*(peace.bring(world, at, results) for at in range(_CHILDREN)), asyncio.sleep(_PAUSE))
        holding = world.go(_hold(world, ids[0], held_for))
        bursts: list[asyncio.Task[None]] = []
        while not holding.done():
            bursts += [world.go(times.bring(world, at, results)) for at in range(_CHILDREN)]
            await asyncio.sleep(_PAUSE)
        await asyncio.gather(holding, *bursts)
        problems = times.problems + await world.settle(60)
        if dead := await _deadlocks(world) - before:
            problems.append(f"R22: the database ended {dead} deadlocks")
        for request_id in ids:
            await world.do("cancel", id=request_id)
        problems += await world.settle(60)
        problems += await world.close()
        run.add(world, problems + check(world))
    free = sorted(times.free)
    run.figure.rounds = len(times.free) + len(times.held)
    run.figure.notes = {
        "held s": held_for,
        "slowest in peace ms": 1000 * max(peace.free),
        "median of the others ms": 1000 * statistics.median(free),
        "slowest of the others ms": 1000 * free[-1],
        "slowest of the held s": max(times.held),
        "answers 503 of the held": times.refused,
    }
    if free[-1] > (limit := max(_SLOWEST * run.patience, *peace.free)):
        slow = sum(one > limit for one in free)
        run.figure.violations.append(f"R22: {slow} webhooks of requests that nobody held took up to {free[-1]:.2f} s")


class _Times:
    """How long webhooks took until their 200."""

    def __init__(self) -> None:
        self.free: list[float] = []
        self.held: list[float] = []
        self.refused = 0
        self.problems: list[str] = []

    async def bring(self, world: World, at: int, results: dict[str, str]) -> None:
        """Bring a burst to one process, the same number for each hot request."""
        await asyncio.gather(*(self._bring(world, at, results[f"hush-{n % _HOT}"], n) for n in range(_BURST)))

    async def _bring(self, world: World, at: int, results_id: str, number: int) -> None:
        sent = world.lean.says("results.ready", {"id": results_id}, deliver=False)
        began = time.perf_counter()
        is_held = number % _HOT == 0
        while (status := await world.post(sent, at=at)) != 200:
            self.refused += is_held
            if not is_held:
                self.problems.append(f"R22: a webhook of a request that nobody held was answered {status}")
            await world.pause()
        (self.held if is_held else self.free).append(time.perf_counter() - began)


async def _hold(world: World, request_id: str, seconds: float) -> None:
    base = _schema(world)
    connection = await asyncpg.connect(base.dsn)
    async with connection.transaction():
        sql = f'SELECT FROM "{base.schema}".requests WHERE id = $1::text::uuid FOR UPDATE'
        await connection.execute(sql, request_id)
        await asyncio.sleep(seconds)
    await connection.close()


async def _deadlocks(world: World) -> int:
    [[row]] = await _sql(world, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    number: int = row["deadlocks"]
    return number
