"""R26 on each bus, out and in: brokers that crash, relays that are killed, webhooks that come again and again."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from leanflow import Handlers, LeanFlow, Reply, State
from leanflow._request import Scope
from leanflow.cloudevents import CloudEvent
from leanflow.ports import OutboxRow, Sink
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.lean import SECRET, Lean, signed, webhook
from tests.torture.brokers import BROKERS, DURABLE, Broker
from tests.torture.clients import bus_of
from tests.torture.figures import Run
from tests.torture.relaying import RELAYING

__all__ = ["EACH", "SCOPE", "announced", "incoming", "judge", "outgoing", "scenarios"]

EACH = 4  # announcements of one request: requested, reconnect_required, awaiting_user, cancelled
SCOPE = Scope(app="default", environment="sandbox", region="uae")
PATIENCE = 600.0
"""Seconds that the whole size may take."""


def scenarios() -> list[tuple[str, str, Callable[[Run], Awaitable[None]]]]:
    """Return name, words and function of each scenario."""
    found: list[tuple[str, str, Callable[[Run], Awaitable[None]]]] = []
    for name in BROKERS:
        found += [
            (f"R26-{name}", "the broker crashes, the relay is killed twice", partial(outgoing, broker=name)),
            (f"bus-in-{name}", "webhooks from a bus, redelivered at random", partial(incoming, broker=name)),
        ]
    return found


# --- out ---------------------------------------------------------------------------------------------------------


async def outgoing(run: Run, broker: str) -> None:
    """Announce; the relay is killed with a batch confirmed, the broker crashes, the relay is killed amid a batch."""
    if (why := BROKERS[broker].missing()) is not None:
        run.figure.skipped = why
        return
    run.directory.mkdir(parents=True, exist_ok=True)
    file = run.directory / "flows.db"
    wanted = await announced(file, max(1, run.rounds // EACH))
    async with BROKERS[broker]() as there:
        third = len(wanted) // 3
        run.figure.kills += await _relayed(file, broker, there, third, "after")
        run.figure.kills += await _relayed(file, broker, there, third, "amid", crash=third // 2)
        async with asyncio.timeout(PATIENCE):
            await _relayed(file, broker, there, 10**9, "never")
        told = await there.told()
    run.figure.rounds = len(wanted)
    run.figure.violations += judge(wanted, told)
    run.figure.violations += await _left(file)
    run.figure.notes = {"copies": len(told) - len(wanted)}


async def announced(file: Path, requests: int) -> list[OutboxRow]:
    """Make requests that go through four states each; return what is to be announced, in the order of the store."""
    lean, store = Lean(SystemClock()), SQLiteStore(file)
    await store.open()
    await store.register(SCOPE, [Sink(name="bus")])
    flows = LeanFlow(store=store, transport=lean, webhook_secrets=[SECRET], workers=0, policy=RELAYING)

    async def one(number: int) -> None:
        lean.will(f"e{number}", "reconnect")
        request = await flows.request("accounts", entity_id=f"e{number}")
        assert request.state is State.reconnect_required
        await flows.prompt(request.id)
        await flows.cancel(request.id)

    async with flows:
        for first in range(0, requests, 64):
            await asyncio.gather(*(one(number) for number in range(first, min(first + 64, requests))))
        rows = await store.outbox(SCOPE, limit=requests * EACH + 1)
    await store.aclose()
    assert len(rows) == requests * EACH
    return list(rows)


async def _relayed(file: Path, broker: str, there: Broker, last: int, how: str, crash: int | None = None) -> int:
    """Let a child relay until it kills itself, or is done; crash the broker on the way; return how many were killed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.torture.relaying", str(file), broker, there.at, str(last), how,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    published = 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for line in child.stdout:
                published += int(line)
                if crash is not None and published >= crash:
                    crash = None
                    await there.restart()
            await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode not in {0, -9}:
        raise RuntimeError(f"the relay ended with {child.returncode}")
    return int(child.returncode == -9)


def judge(wanted: Sequence[OutboxRow], told: Sequence[CloudEvent], test: str = "R26") -> list[str]:
    """Return what is wrong with what came: something is lost, changed, unknown, or a first copy out of order."""
    rows = {row.key: row for row in wanted}
    first: dict[str, CloudEvent] = {}
    order: dict[str, list[str]] = defaultdict(list)
    problems = []
    for event in told:
        if event.key not in rows:
            problems.append(f"{test}: {event.key} was never announced")
            continue
        if event.payload != rows[event.key].payload or event.request_id != rows[event.key].request_id:
            problems.append(f"{test}: {event.key} says something else")
        if event.key not in first:
            first[event.key] = event
            order[str(event.request_id)].append(event.key)
    problems += [f"{test}: {key} is lost" for key in rows.keys() - first.keys()]
    expected: dict[str, list[str]] = defaultdict(list)
    for key, row in rows.items():
        expected[str(row.request_id)].append(key)
    for request, keys in order.items():
        in_order = sorted(keys, key=expected[request].index)
        if keys != in_order:
            problems.append(f"{test}: request {request} came as {keys}")
    return problems


async def _left(file: Path) -> list[str]:
    store = SQLiteStore(file)
    await store.open()
    rows = await store.outbox(SCOPE, limit=1)
    await store.aclose()
    return [f"R26: {row.key} is still in the outbox" for row in rows]


# --- in ----------------------------------------------------------------------------------------------------------


class Unsure:
    """`receive`, with what goes wrong around it: it raises before, or after the commit; at random."""

    def __init__(self, flows: LeanFlow, dice: random.Random) -> None:
        self._flows = flows
        self._dice = dice
        self.raised = 0

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Receive, or not, or say that it did not."""
        fate = self._dice.random()
        if fate < 0.1:
            self.raised += 1
            raise ConnectionError("before")
        reply = await self._flows.receive(headers, body)
        if fate > 0.9:
            self.raised += 1
            raise ConnectionError("after")
        return reply


async def incoming(run: Run, broker: str) -> None:
    """Put signed webhooks on the bus, some of them twice, some forged; crash the broker half way; each acts once."""
    if (why := BROKERS[broker].missing()) is not None:
        run.figure.skipped = why
        return
    run.directory.mkdir(parents=True, exist_ok=True)
    heard: Counter[str] = Counter()
    handlers = Handlers()

    @handlers.on_webhook("entity.created")
    async def created(event: object, _flows: LeanFlow) -> None:
        heard[str(getattr(event, "event_id", ""))] += 1

    flows = LeanFlow(
        store=SQLiteStore(run.directory / "flows.db"),
        transport=Lean(SystemClock()),
        webhook_secrets=[SECRET],
        handlers=handlers,
        policy=RELAYING,
    )
    messages, forged = _messages(run.rounds, run.dice)
    async with BROKERS[broker]() as there, flows, asyncio.timeout(PATIENCE):
        unsure = Unsure(flows, run.dice)
        subscription = bus_of(broker, there.at).subscribe(  # type: ignore[attr-defined]  # each has its own arguments
            there.where, unsure, durable=DURABLE, backoff=(timedelta(milliseconds=20),), max_deliver=50
        )
        async with subscription:
            half = len(messages) // 2
            await there.put(messages[:half])
            await _until(lambda: len(heard) >= run.rounds // 4)
            await there.restart()
            await there.put(messages[half:])
            await _until(lambda: len(heard) == run.rounds and subscription.counts["set_aside"] >= forged)
            aside = Counter(each.reason for each in await subscription.set_aside(forged * 2 + 10))
    run.figure.rounds = len(messages)
    run.figure.notes = {"came again": subscription.counts["again"], "set aside": sum(aside.values())}
    twice = [event for event, times in heard.items() if times > 1]
    run.figure.violations += [f"bus-in: {event} acted {heard[event]} times" for event in twice]
    if any(not reason.startswith("status 401") for reason in aside) or sum(aside.values()) < forged:
        run.figure.violations.append(f"bus-in: {forged} were forged, set aside are {dict(aside)}")


def _messages(number: int, dice: random.Random) -> tuple[list[tuple[Mapping[str, str], bytes]], int]:
    """Return so many webhooks, a tenth of them twice, and forged ones among them; shuffled; and how many are forged."""
    raws = [webhook("entity.created", {"id": f"x{n}"}, event_id=f"event-{n}") for n in range(number)]
    messages = [(signed(raw), raw) for raw in raws]
    messages += dice.sample(messages, number // 10)
    forged = max(1, number // 100)
    body = json.dumps({"type": "entity.created", "event_id": "forged", "payload": {"id": "x"}}).encode()
    messages += [(signed(body, "another secret"), body) for _ in range(forged)]
    dice.shuffle(messages)
    return list(messages), forged


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)
