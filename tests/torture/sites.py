"""R2: the engine kills itself at each commit point that the sources name, under a workload that passes them all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from leanflow._sites import SITES
from tests.torture.bases import STORES
from tests.torture.drive import drive, make
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.nursery import Child
from tests.torture.world import Refused, World

__all__ = ["born", "kills_at_sites", "points"]

AFTER_200 = "harness.after_200"
# No part of an engine's life, or of one that the workload leads; the first is killed in test_engine_encryption.py. A
# lease is ended alone only where two events of one due time race.
_ELSEWHERE = frozenset(
    {
        "sqlite.after_rewrite",
        "postgres.after_rewrite",
        "postgres.after_release",
        "postgres.after_key",
        "postgres.after_tally",
        "postgres.after_purge_pages",
        "postgres.after_prune_stones",
    }
)
POINTS = (*(site for site in SITES if site not in _ELSEWHERE), AFTER_200)
"""Every site, and one that the sources cannot have: the moment after the 200 has left."""

_MIGRATIONS = frozenset({"sqlite.in_migration", "postgres.in_migration"})
_PRUNES = frozenset({"sqlite.after_prune", "postgres.after_prune"})
_BURIAL = frozenset({"sqlite.before_bury", "sqlite.after_bury", "sqlite.after_tombstone", "postgres.after_bury"})
# Passed a few times in each life at most: killing at a later passage would mostly not happen.
_RARE = _BURIAL | {
    "claimed",
    "created",
    "drain",
    "parked",
    "postgres.after_erase",
    "postgres.after_link",
    "postgres.after_orphan",
    "postgres.after_orphan_told",
    "postgres.after_purge",
    "postgres.after_redeliver",
    "postgres.after_register",
    "postgres.after_remember",
    "postgres.after_renew",
    "postgres.after_repark",
    "postgres.after_transaction",
    "postgres.after_undelivered",
    "postgres.after_unregister",
    "sqlite.after_checkpoint",
    "sqlite.after_parked",
    "sqlite.after_redeliver",
    "sqlite.after_register",
    "sqlite.after_release",
    "sqlite.after_remember",
    "sqlite.after_renew",
    "sqlite.after_repark",
    "sqlite.after_results",
    "sqlite.after_scope",
    "sqlite.after_successor",
    "sqlite.after_undelivered",
    "sqlite.after_unregister",
    "sqlite.before_checkpoint",
    "wake_target",
}
_LATEST = 12  # passage at which a common site may kill
_LIFE = 6.0  # seconds after which a child that was not killed by its site is killed anyway
_SHARE = 3  # of the sites one in so many is enough where it is to be quick; the seed says which
_AGAIN = 2  # more tries for a site that has not killed
_WORLDS = 8  # at a time: they mostly wait for leases to end
_POLICY = {"parked_life": 3.0, "announce_tries": 2}
_EXPECTED = r"leanflow.outbox: .* set aside"


def points(store: str) -> tuple[str, ...]:
    """Return the points that a process on a store of this kind can pass."""
    others = tuple(f"{kind}." for kind in STORES if kind != store)
    return tuple(point for point in POINTS if not point.startswith(others))


async def kills_at_sites(run: Run) -> None:
    """R2: `rounds` kills at each site; every site must have killed, and nothing may be wrong afterwards."""
    killed: Counter[str] = Counter()
    wanted = points(run.store)
    if run.is_fast:
        wanted = wanted[run.seed % _SHARE :: _SHARE]
    await run.each((_site(run, number, point, killed) for number, point in enumerate(wanted)), _WORLDS)
    for again in range(1, _AGAIN + 1):  # a life can end before its site is passed so often: then at the first passage
        missed = [point for point in wanted if not killed[point]]
        worlds = (_site(run, again * len(wanted) + n, point, killed, latest=1) for n, point in enumerate(missed))
        await run.each(worlds, _WORLDS)
    run.figure.rounds = len(wanted) * run.rounds
    run.figure.notes = {"sites": len(wanted), "fewest kills at a site": min(killed[point] for point in wanted)}
    run.figure.violations += [f"R2: {point} never killed" for point in wanted if not killed[point]]


async def _site(run: Run, number: int, point: str, killed: Counter[str], *, latest: int = _LATEST) -> None:
    if point in _MIGRATIONS:  # only a fresh store is migrated
        for each in range(run.rounds):
            async with run.world(
                f"{point}.{number}.{each}", 1000 + each, bus=True, clock="engine", policy=_POLICY
            ) as world:
                killed.update({point: await _lives(run, world, point, 1, latest)})
        return
    async with run.world(f"{point}.{number}", number, bus=True, clock="engine", policy=_POLICY) as world:
        killed.update({point: await _lives(run, world, point, run.rounds, latest)})


async def _lives(run: Run, world: World, point: str, rounds: int, latest: int) -> int:
    """Live so many lives, each ended by the site, then let all come to rest; return how many kills were its own."""
    flows: list[asyncio.Task[str | None]] = []
    kills = 0
    for life in range(rounds):
        if point in _PRUNES:
            await _age(world, flows)
        child = await born(world, point, latest)
        flows += [world.go(each) for each in _batch(world, life)]
        kills += await _killed(world, child, flows)
    await world.start()
    if point in _MIGRATIONS:
        flows += [world.go(each) for each in _batch(world, rounds)]
    problems = [f"R2: {problem}" for problem in await asyncio.gather(*flows) if problem]
    problems += await world.settle()
    problems += await world.close()
    run.add(world, problems + check(world, expected_log=_EXPECTED))
    return kills


async def born(world: World, point: str, latest: int) -> Child:
    """Start the child that is to die at `point`, at one of its passages."""
    if point == AFTER_200:
        return await world.start(kill_after_200=world.dice.randint(1, 3))
    last = 1 if point in _RARE else world.dice.randint(1, latest)
    if point in _MIGRATIONS:
        last = world.dice.randint(1, 25 if point.startswith("sqlite") else 2)
    return await world.start(kill_site=f"{point}:{last}")


async def _killed(world: World, child: Child, flows: list[asyncio.Task[str | None]]) -> bool:
    """Wait for the child's death; return whether it came from its own hand."""
    _, late = await asyncio.wait({child.ended}, timeout=_LIFE)
    world.kills += 1
    if not late:
        return True
    await child.kill()
    return False


async def _age(world: World, flows: list[asyncio.Task[str | None]]) -> None:
    """Bring everything to its end, and let more time pass than the inbox is kept."""
    if not flows:
        await world.start()
        flows += [world.go(each) for each in _batch(world, 1000)]
    else:
        await world.start()
    await asyncio.gather(*flows)
    await world.settle()
    await world.close()
    await world.shift(timedelta(days=100))


# --- the workload ------------------------------------------------------------------------------------------------


def _batch(world: World, life: int) -> list[Coroutine[Any, Any, str | None]]:
    """Return flows that together pass every site."""
    plain = [
        ("user", "accounts"),
        ("user", "identity"),
        ("pend", "accounts"),
        ("early", "accounts"),
        ("slow", "accounts"),
    ]
    plain += [("ok-flaky", "accounts"), ("ok-poison", "accounts")]
    flows: list[Coroutine[Any, Any, str | None]] = [_plain(world, f"{kind}-{life}", what) for kind, what in plain]
    return [*flows, _renewed(world, life), _cancelled(world, life), _erased(world, life), _strange(world)]


async def _plain(world: World, entity_id: str, resource: str) -> str | None:
    state = await drive(world, entity_id, resource)
    return None if state == "fetched" else f"{entity_id}/{resource} ended {state}"


async def _renewed(world: World, life: int) -> str | None:
    """Let a request fail and renew it, twice: the successor is one and the same."""
    entity_id = f"fail-{life}"
    if await drive(world, entity_id) == "fetched":
        return None  # a kill came between, and the second placement had luck
    request_id = world.acknowledged[f"{entity_id}/accounts"]
    one = await world.do("renew", id=request_id)
    two = await world.do("renew", id=request_id)
    if one["id"] != two["id"]:
        return f"{request_id} was renewed as {one['id']} and as {two['id']}"
    while (ended := await world.do("wait", id=one["id"], timeout=2.0)) is None:
        pass
    return None if ended.get("state") == "fetched" else f"the successor of {request_id} ended {ended.get('state')}"


async def _cancelled(world: World, life: int) -> str | None:
    """Cancel a request while its call is under way, let the answer come late, and purge it."""
    entity_id = f"gate-{life}"
    gate = world.lean.gates[entity_id]
    making = world.go(make(world, entity_id))
    await gate.reached.wait()
    request_id = await making
    try:
        await world.do("cancel", id=request_id)
    except Refused as refused:
        gate.opened.set()  # it was placed again meanwhile, and has its data
        if refused.reason.startswith("no request"):  # a kill came after the cancel, and another life's purge was faster
            world.purged.add(request_id)
        return None
    gate.opened.set()
    await _answered(world, request_id)
    world.purged.add(request_id)
    await world.do("purge", state="cancelled")
    return None


async def _answered(world: World, request_id: str) -> None:
    """Give the late answer a second to be recorded; a kill may have come before it."""
    for _ in range(20):
        try:
            keys = await world.do("history", id=request_id)
        except Refused:
            return  # another life's purge was faster
        if any(key.startswith("answer:") for key in keys):
            return
        await asyncio.sleep(0.05)


async def _erased(world: World, life: int) -> str | None:
    """Erase an entity with a request that waits; what still comes for it is answered 200."""
    entity_id = f"gone-{life}"
    request_id = await make(world, entity_id)
    world.erased.add(request_id)
    await world.do("erase", entity_id=entity_id)
    for result in [one for one in world.lean.results.values() if one.entity_id == entity_id]:
        world.lean.ready(result.results_id)
    return None


async def _strange(world: World) -> str | None:
    """Send webhooks that nobody waits for, have a handler come and go, and bring back what was set aside."""
    await world.do("passing_sink")
    world.lean.says("results.ready", {"id": f"nobody-{world.dice.random()}"})
    world.lean.says("entity.created", {"id": "somebody", "customer_id": "someone"})
    while not (aside := await world.do("undelivered", set_aside=True)):
        if (world.directory / "cured").exists():
            return None
        await asyncio.sleep(0.05)
    for key, sink in aside:
        try:
            await world.do("redeliver", key=key, sink=sink)
        except Refused:
            continue
    return None
