"""R7, R9, R15, R16 and R17: webhooks that come too often, too early, as poison, unknown, or while the file is held."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections import Counter
from typing import Any

from tests.torture.drive import drive
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.lean import Sent
from tests.torture.world import World

__all__ = ["duplicates", "early", "poison", "slow_store", "unknown_types"]

_COPIES = (2, 7, 100)  # 7 is how often Lean sends one at most
_AN_HOUR = 3600.0
_POISON = 100  # one in so many
_PAIRS = 5  # floods without and with poison, in turns: what else the machine does meets both
_DOCUMENTED = (
    "bank.availability.updated",
    "banks.availability.updated",
    "consent.status.updated",
    "customer.created",
    "entity.created",
    "entity.data.refresh.updated",
    "entity.reconnected",
    "entity.updated",
    "payment.created",
    "payment.updated",
    "payment_intent.created",
    "payment_source.beneficiary.created",
    "payment_source.beneficiary.updated",
    "payment_source.created",
    "payment_source.updated",
    "results.ready",
)


async def _end(run: Run, world: World, problems: list[str], *, expected_log: str | None = None) -> None:
    problems += await world.settle()
    problems += await world.close()
    run.add(world, problems + check(world, expected_log=expected_log))


async def _drive_all(world: World, names: list[str], at_once: int = 32) -> list[str]:
    """Drive requests to their ends; return which did not get their data."""
    room = asyncio.Semaphore(at_once)

    async def one(name: str) -> str | None:
        async with room:
            try:
                state = await asyncio.wait_for(drive(world, name), 30 * world.patience)
            except TimeoutError:
                return f"I7: {name} did not end within 30 s"
        return None if state == "fetched" else f"I7: {name} ended {state}"

    return [problem for problem in await asyncio.gather(*(one(name) for name in names)) if problem]


async def duplicates(run: Run) -> None:
    """R7: each event 2, 7 and 100 times, many copies at once: all are answered 200, one has an effect."""
    async with run.world() as world:
        wrong: Counter[int] = Counter()

        def deliver(sent: Sent) -> None:
            world.post_by(_copies(world, sent, wrong))

        world.lean.deliver = deliver
        await world.start()
        problems = await _drive_all(world, [f"{('user', 'pend', 'early')[n % 3]}-{n}" for n in range(run.rounds)])
        posted = sum(sent.oks for sent in world.lean.sent.values())
        problems += [f"R7: {number} copies were answered {status}" for status, number in wrong.items()]
        await _end(run, world, problems)
    run.figure.rounds = run.rounds
    run.figure.notes = {"events": len(world.lean.sent), "copies": posted}


async def _copies(world: World, sent: Sent, wrong: Counter[int]) -> None:
    statuses = await asyncio.gather(*(world.post(sent) for _ in range(world.dice.choice(_COPIES))))
    wrong.update(status for status in statuses if status != 200)


async def early(run: Run) -> None:
    """R9: a webhook before, while and after the answer that names its request is stored, in two processes, no timers.

    With polls and probes an hour apart nothing but the two looks after a commit can bring event and request together.
    """
    policy = {"poll": _AN_HOUR, "probes": [_AN_HOUR], "idle_probes": [_AN_HOUR], "lease": 60.0}
    async with run.world(policy=policy) as world:
        for _ in range(2):
            await world.start()

        def deliver(sent: Sent) -> None:
            world.post_by(_post_anywhere(world, sent))

        world.lean.deliver = deliver
        names = [f"{('early', 'pend')[n % 2]}-{n}" for n in range(run.rounds)]
        problems = await _drive_all(world, names)
        await _end(run, world, problems)
    parked = sum(1 for sent in world.lean.sent.values() if sent.oks)
    run.figure.rounds = run.rounds
    run.figure.notes = {"webhooks": parked}


async def _post_anywhere(world: World, sent: Sent) -> None:
    await world.post(sent, at=world.dice.randrange(2))


async def poison(run: Run) -> None:
    """R15: a handler refuses one webhook in a hundred each time: the others pass, those are set aside and come back."""
    pairs = 1 if run.is_fast else _PAIRS
    each = run.rounds // pairs
    seconds = [(await _flooded(run, pair, each, 0), await _flooded(run, pair, each, _POISON)) for pair in range(pairs)]
    ratio = statistics.median(without / with_poison for without, with_poison in seconds)
    run.figure.rounds = each * pairs
    run.figure.notes = {
        "throughput of the others": ratio,
        "webhooks/s": each / min(poisoned for _, poisoned in seconds),
    }
    if ratio < 0.9 and not run.is_fast:
        run.figure.violations.append(f"R15: with poison the others have {ratio:.2f} of their throughput")


async def _flooded(run: Run, pair: int, number: int, share: int) -> float:
    """Flood a fresh world; return the seconds until all but the poison were heard."""
    async with run.world(f"pair{pair}.share{share}", 1000 * pair + share, policy={"announce_tries": 4}) as world:
        await world.start()
        took = await _flood(world, number, share)
        problems = [] if not share else await _set_aside(world, number // share)
        await _end(run, world, problems, expected_log="leanflow.outbox: .* set aside")
    return took


async def _flood(world: World, number: int, share: int) -> float:
    """Send webhooks, every `share`-th of them poison; return the seconds until all others were heard."""
    room = asyncio.Semaphore(32)

    async def one(each: int) -> None:
        kind = "poison.made" if share and each % share == 0 else "entity.created"
        sent = world.lean.says(kind, {"id": f"somebody-{each}"}, deliver=False)
        async with room:
            await world.insist(sent)

    began = time.perf_counter()
    await asyncio.gather(*(one(each) for each in range(number)))
    healthy = number - (number // share if share else 0)
    path = world.directory / "heard.jsonl"
    while not path.exists() or len(set(_keys(world))) < healthy:
        await world.pause()
    return time.perf_counter() - began


def _keys(world: World) -> list[str]:
    return [line["key"] for line in world.heard]


async def _set_aside(world: World, number: int) -> list[str]:
    """Wait until all poison is set aside, and see that it is listed."""
    aside: list[Any] = []
    for _ in range(600):
        aside = await world.do("undelivered", set_aside=True)
        if len(aside) == number:
            return []
        await asyncio.sleep(0.05)
    return [f"R15: {len(aside)} announcements are set aside, not {number}"]


async def unknown_types(run: Run) -> None:
    """R16: all documented types and as many made up as there are rounds: 200, kept, and nothing moves."""
    async with run.world() as world:
        await world.start()
        waiting = [await world.do("request", resource="accounts", entity_id=f"hush-{n}") for n in range(3)]
        before = [await world.do("get", id=request["id"]) for request in waiting]
        kinds = [*_DOCUMENTED, *(f"made.up.{world.dice.random()}" for _ in range(run.rounds))]
        problems = []
        for kind in kinds:
            payload = {"id": "x", "reconnect_id": "y", "refresh_id": "z", "identifier": "b"}
            status = await world.post(world.lean.says(kind, payload, deliver=False))
            if status != 200:
                problems.append(f"R16: {kind} was answered {status}")
        after = [await world.do("get", id=request["id"]) for request in waiting]
        if [(r["id"], r.get("state")) for r in before] != [(r["id"], r.get("state")) for r in after]:
            problems.append("R16: a request moved")
        await _end(run, world, problems)
    run.figure.rounds = len(kinds)


async def slow_store(run: Run) -> None:
    """R17: somebody holds the file for `rounds` seconds: webhooks get 503 within 8 s, and later copies one effect."""
    async with run.world() as world:
        await world.start()
        sent = [world.lean.says("entity.created", {"id": f"somebody-{n}"}, deliver=False) for n in range(50)]
        held = threading.Event()
        holding = world.go(asyncio.to_thread(world.base.hold, run.rounds, held))
        await asyncio.to_thread(held.wait)
        longest, statuses = 0.0, Counter[int]()
        while not holding.done():
            began = time.perf_counter()
            seen = await asyncio.gather(*(world.post(each) for each in sent))
            if not holding.done():
                statuses.update(seen)
            longest = max(longest, time.perf_counter() - began)
        await holding
        problems = [f"R17: {n} webhooks were answered {status}" for status, n in statuses.items() if status != 503]
        if longest > 8 * run.patience:
            problems.append(f"R17: an answer took {longest:.1f} s")
        for each in sent:
            await world.insist(each)
        await _end(run, world, problems)
        heard = Counter(_keys(world))
        missing = [each.event_id for each in sent if not heard[f"event:{each.event_id}"]]
        inbox = world.base.read().inbox
    run.figure.rounds = statuses[503]
    run.figure.notes = {"longest answer s": longest, "stalled s": run.rounds, "in the inbox": len(inbox)}
    run.figure.violations += [f"R17: {event_id} was never heard" for event_id in missing]
