"""The end of a run: all faults stop, what was begun must come to its end, and everything is looked at once more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from leanflow._lean.webhooks import parse_webhook
from leanflow._request import DataRequest, State
from leanflow._step_rows import route_of
from leanflow.ports import HistoryEntry, Store
from leanflow.testing.simulation._process import Process
from leanflow.testing.simulation._world import Link, World

__all__ = ["check", "heal"]

_TRIES = 10
"""How often a user tries before they give up, as when the consent has ended and they connect anew."""

_PATIENCE = 3000
"""Moments at which something is due before a request that still waits is taken for one that never ends."""


async def heal(world: World) -> None:
    """Stop all faults, and let time pass until every request has ended and everybody was told."""
    world.tell("!", "all faults stop")
    _calm(world)
    await _to_the_end(world, comes=world.dice.chance(75))
    if world.violations:
        return
    await _one_more(world)


def _calm(world: World) -> None:
    world.is_calm = True
    world.outages.clear()
    world.bank.calm(world.clock.now())
    for bank in world.switched_off:
        world.bank.switch_bank(bank, world.clock.now(), active_data=True)
    for entity_id in world.revoked:
        world.bank.renew_consent(entity_id, world.clock.now())
    world.wanted = 1
    survives = world.up[0] if world.up and world.dice.chance(50) else None
    for process in world.processes:
        process.frozen_until = None
        if process is not survives:
            process.is_dead = True
    world.oracle.excuse()


async def _to_the_end(world: World, *, comes: bool) -> None:
    for _ in range(_PATIENCE):
        await world.settle()
        await _all_turns(world)
        if world.violations:
            return
        if world.up and (_bring_all(world) or (comes and _let_users_come(world))):
            continue
        if await _is_over(world):
            return
        await _pass_time(world)
    waits = [request for request in world.oracle.records.values() if not request.state.is_end]
    for request in waits:
        world.violate("I7", f"{request.id} waits in {request.state} for ever, due {request.due_at}")
    if not waits:
        world.violate("I4", "an announcement is never delivered")


async def _all_turns(world: World) -> None:
    while turns := list(world.turns.waiting()):
        for turn in turns:
            world.turns.give(turn)
        await world.settle()


def _bring_all(world: World) -> bool:
    world.take_deliveries()
    deliveries, world.network = world.network, []
    for delivery in deliveries:
        world.up[0].go(world.bring(world.up[0], delivery))
    return bool(deliveries)


def _let_users_come(world: World) -> bool:
    """Hand out each prompt that is wanted, and let its user do what is asked; nobody tries for ever."""
    process, asked = world.up[0], False
    for request in list(world.oracle.records.values()):
        visit = (request.id, request.version)
        if not request.state.needs_user or visit in world.visits or world.tries[request.id] >= _TRIES:
            continue
        world.visits.add(visit)
        asked = True
        if request.state is State.reconnect_required:
            process.go(_visit(world, process, request))
        elif request.reconnect_id is not None:
            world.tries[request.id] += 1
            outcome = world.bank.submit_otp(request.reconnect_id, world.bank.settings.otp, world.clock.now())
            world.tell("user", f"{world.label(request.id, 'r')}: {outcome.status} {outcome.secondary_status}")
    return asked


async def _visit(world: World, process: Process, request: DataRequest) -> None:
    prompt = await process.ask(process.flows.prompt(request.id))
    if prompt is not None:
        world.links.append(Link(request.id, prompt.number, prompt.reconnect_id))


async def _is_over(world: World) -> bool:
    if not world.up or any(not request.state.is_end for request in world.oracle.records.values()):
        return False
    process = world.up[0]
    rows = await process.store.outbox(process.flows.scope)
    for row in rows:
        if row.set_aside:
            await process.store.redeliver(process.flows.scope, row.key, row.sink, now=world.clock.now())
    return not rows


async def _pass_time(world: World) -> None:
    """Pass time to what is due next, and so much at least that every worker looks for work of itself."""
    now = world.clock.now()
    due = await world.up[0].store.next_due(world.up[0].flows.scope) if world.up else None
    times = [at for at in (due, world.bank.next_due()) if at is not None]
    world.advance(max(min(times, default=now), now + world.policy.poll) - now)


async def _one_more(world: World) -> None:
    """Whoever asks after all that is served: the tail is well."""
    process, entity_id = world.up[0], world.entities[0]
    world.bank.renew_consent(entity_id, world.clock.now())
    made: list[DataRequest] = []

    async def ask() -> None:
        request = await process.ask(process.flows.request("identity", entity_id=entity_id))
        if request is not None:
            made.append(request)

    world.tell("app", "asks once more")
    process.go(ask())
    await world.settle()
    await _to_the_end(world, comes=True)
    if world.violations:
        return
    if not made:
        world.violate("tail", "a request after all faults was refused")
    elif (end := world.oracle.records[made[0].id]).state is not State.fetched:
        world.violate("tail", f"a request after all faults ended {end.state}: {end.failure}")


# looking once more


async def check(world: World) -> None:
    """Hold what is stored to what was seen."""
    process = world.up[0]
    store, scope = process.store, process.flows.scope
    for known in list(world.oracle.records.values()):
        await _check_request(world, store, known)
    for key, (raw, at) in world.oracle.taken.items():
        if world.clock.now() - at < world.policy.inbox_life:
            await _check_taken(world, store, key, raw)
    for key in world.oracle.refused:
        if await store.seen(scope, key):
            world.violate("forgery", f"the forged {key} is in the inbox")
    _check_told(world)


def _check_told(world: World) -> None:
    for request_id, keys in world.oracle.due_told.items():
        for sink in ("oracle", "bus"):
            missing = keys.keys() - world.oracle.told.get(sink, {}).keys()
            if missing:
                world.violate("I4", f"{sink} was never told {min(missing)} of {request_id}")


async def _check_request(world: World, store: Store, known: DataRequest) -> None:
    stored = await store.load(known.scope, known.id)
    if stored != known:
        gone = stored is None
        world.violate("I1" if gone else "I3", f"{known.id} is {'gone' if gone else 'not stored as it was committed'}")
        return
    rows = await store.history(known.scope, known.id)
    _check_history(world, known, rows)
    pages = [page.raw for page in await store.pages(known.scope, known.id, limit=1000)]
    if pages != world.oracle.pages.get(known.id, []):
        world.violate("stored once", f"the pages of {known.id} are not those that were committed")


def _check_history(world: World, known: DataRequest, rows: Sequence[HistoryEntry]) -> None:
    moves = [row for row in rows if row.declined is None]
    if [row.version for row in moves] != list(range(known.version + 1)):
        world.violate("I3", f"the history of {known.id} has a gap: {[row.version for row in moves]}")
    elif any(after.from_state != before.to_state for before, after in pairwise(moves)):
        world.violate("I3", f"a row of the history of {known.id} does not go on from the one before")
    elif moves[-1].to_state != known.state:
        world.violate("I3", f"history and record of {known.id} differ")
    keys = [row.key for row in rows]
    if len(keys) != len(set(keys)):
        world.violate("I5", f"{known.id} has two rows for one event")


async def _check_taken(world: World, store: Store, key: str, raw: bytes) -> None:
    scope = world.up[0].flows.scope
    route = route_of(parse_webhook(raw))
    owners = await store.owners(scope, *route) if route is not None else ()
    if not await store.seen(scope, key):
        parked = await store.parked(scope, *route) if route is not None else ()
        if owners or key not in {one.key for one in parked}:
            world.violate("I2", f"{key} was answered 200, and is gone")
        return
    for request in owners[:1]:
        if key not in {row.key for row in await store.history(scope, request.id)}:
            world.violate("I2", f"{key} was answered 200, and is in no history")
