"""R15 on each bus, out and in: what is refused each time is set aside, and costs the others little.

Out, one announcement in a hundred has a topic that cannot be had or that the broker refuses. In, one webhook in a
hundred meets a receiver that raises. Floods without and with them take turns: what else the machine does meets both.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs

from leanflow import Handlers, LeanFlow, Policy, Reply
from leanflow.cloudevents import CloudEvent
from leanflow.ports import OutboxRow
from leanflow_adapters._bus import BrokerBus, Subscription
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.lean import SECRET, Lean, signed, webhook
from tests.torture.brokers import BROKERS, DURABLE, Broker
from tests.torture.buses import EACH, announced, judge
from tests.torture.clients import NOWHERE, OUT, bus_of
from tests.torture.figures import Run
from tests.torture.relaying import RELAYING

__all__ = [
    "TRIES",
    "behind_of",
    "incoming",
    "outgoing",
    "scenarios",
    "wrong_copies",
    "wrong_flags",
    "wrong_kept",
    "wrong_listed",
]

P = TypeVar("P")

TRIES = 4
WAIT, FAST_WAIT = timedelta(milliseconds=200), timedelta(milliseconds=100)
"""Between two tries: a flood of the whole size is longer than all of them; Kafka's topics are looked for as often."""
SHARE = 100  # one in so many is poison
PAIRS = 5  # floods without and with poison, in turns
LEAST = 0.9  # of their throughput the others keep
PATIENCE = 300.0
"""Seconds that one flood may take."""


def scenarios() -> list[tuple[str, str, Callable[[Run], Awaitable[None]]]]:
    """Return name, words and function of each scenario."""
    found: list[tuple[str, str, Callable[[Run], Awaitable[None]]]] = []
    for name in BROKERS:
        found += [
            (f"R15-out-{name}", "announcements that are refused each time", partial(outgoing, broker=name)),
            (f"R15-in-{name}", "webhooks whose receiver raises each time", partial(incoming, broker=name)),
        ]
    return found


@attrs.frozen
class Flood:
    """What one flood showed.

    Attributes:
        rate: of those that are no poison nor wait for any: so many a second.
        work: seconds of this process' processor for each of them, what poison took meanwhile included.
    """

    rate: float
    work: float


def _wait(run: Run) -> timedelta:
    return FAST_WAIT if run.is_fast else WAIT


def _policy(run: Run) -> Policy:
    lease = timedelta(seconds=90)  # nobody dies here
    return attrs.evolve(RELAYING, lease=lease, announce_tries=TRIES, announce_backoff=(_wait(run),))


async def _compared(run: Run, flood: Callable[[str, P], Awaitable[Flood]], none: P, poison: P) -> None:
    """Compare floods without and with poison, in turns. Of the small size there is one, which compares nothing."""
    if run.is_fast:
        await flood("poison", poison)
        return
    pairs = [
        (await flood(f"pair{number}", none), await flood(f"pair{number}.poison", poison)) for number in range(PAIRS)
    ]
    ratio = statistics.median(poisoned.rate / clean.rate for clean, poisoned in pairs)
    run.figure.notes |= {
        "throughput of the others": ratio,
        "a second": statistics.median(poisoned.rate for _, poisoned in pairs),
        "processor for each": statistics.median(poisoned.work / clean.work for clean, poisoned in pairs),
    }
    if ratio < LEAST:
        run.figure.violations.append(f"R15: with poison the others have {ratio:.2f} of their throughput")


# --- out ---------------------------------------------------------------------------------------------------------


async def outgoing(run: Run, broker: str) -> None:
    """Relay what piled up, a hundredth of it poison; what was set aside is listed, and comes once it can."""
    if (why := BROKERS[broker].missing()) is not None:
        run.figure.skipped = why
        return
    run.directory.mkdir(parents=True, exist_ok=True)
    file = run.directory / "made.db"
    rows = await announced(file, max(2, run.rounds // EACH))
    poison = _poison_of(rows, run.dice)

    async def flood(name: str, poison: Mapping[str, str]) -> Flood:
        mine = run.directory / f"{name}.db"
        shutil.copy(file, mine)
        async with BROKERS[broker]() as there, asyncio.timeout(PATIENCE):
            await there.refuse()
            return await _relayed(run, broker, there, mine, rows, poison)

    await _compared(run, flood, {}, poison)
    run.figure.rounds = len(rows)
    run.figure.notes["set aside"] = len(poison)


def _poison_of(rows: Sequence[OutboxRow], dice: random.Random) -> Mapping[str, str]:
    """Return which announcements are poison, and where those go: two in a row of some requests, of both kinds."""
    requests = sorted({str(row.request_id) for row in rows})
    found: dict[str, str] = {}
    for number, request in enumerate(dice.sample(requests, max(2, len(rows) // (2 * SHARE)))):
        mine = [row.key for row in rows if row.request_id == request]
        first = dice.randrange(EACH - 1)
        found |= dict.fromkeys(mine[first : first + 2], (NOWHERE, "")[number % 2])
    return found


class Topics:
    """Where announcements go: a function of the application's, which raises for some until it is mended."""

    def __init__(self, poison: Mapping[str, str]) -> None:
        self._poison = poison
        self.is_mended = False

    def __call__(self, event: CloudEvent) -> str:
        """Return where one goes."""
        where = self._poison.get(event.key, OUT)
        if where:
            return where
        if self.is_mended:
            return OUT
        raise KeyError(event.key)


class Watched:
    """A bus that is watched: from its first announcement until all were told that are neither poison nor behind it."""

    def __init__(self, bus: BrokerBus, others: Collection[str]) -> None:
        self._bus = bus
        self.name = bus.name
        self._missing = set(others)
        self.through = asyncio.Event()
        self.began = self.ended = self.worked = 0.0

    async def open(self) -> None:
        """Open."""
        await self._bus.open()

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Publish."""
        if not self.began:
            self.began, self.worked = time.perf_counter(), time.process_time()
        errors = await self._bus.publish(batch)
        self._missing -= {row.key for row, error in zip(batch, errors, strict=True) if error is None}
        if not self._missing and not self.through.is_set():
            self.ended, self.worked = time.perf_counter(), time.process_time() - self.worked
            self.through.set()
        return errors

    async def aclose(self) -> None:
        """Close."""
        await self._bus.aclose()


async def _relayed(
    run: Run, broker: str, there: Broker, file: Path, rows: Sequence[OutboxRow], poison: Mapping[str, str]
) -> Flood:
    """Relay a file; then mend what made announcements poison, and send those again."""
    behind = behind_of(rows, poison)
    others = [row.key for row in rows if row.key not in poison and row.key not in behind]
    topics = Topics(poison)
    bus = Watched(bus_of(broker, there.at, topics), others)
    flows = LeanFlow(
        store=SQLiteStore(file), transport=Lean(SystemClock()), webhook_secrets=[SECRET], bus=bus, policy=_policy(run)
    )
    async with flows:
        await bus.through.wait()
        await _settled(flows, len(poison))
        aside = await flows.undelivered(set_aside=True, limit=len(poison) + 1)
        run.figure.violations += wrong_listed(aside, poison, BROKERS[broker].refusal)
        await there.mend()
        topics.is_mended = True
        for row in aside:
            await flows.redeliver(row.key, row.sink)
        await _settled(flows, 0)
    told = await there.told()
    in_order = sorted(rows, key=lambda row: row.key in poison)  # what was set aside comes after what was not
    run.figure.violations += judge(in_order, told, "R15") + wrong_copies(told) + wrong_flags(told, behind)
    return Flood(rate=len(others) / (bus.ended - bus.began), work=bus.worked / len(others))


def behind_of(rows: Sequence[OutboxRow], poison: Mapping[str, str]) -> set[str]:
    """Return what waits until poison of its request is set aside."""
    found: set[str] = set()
    poisoned: set[str | None] = set()
    for row in rows:
        if row.key in poison:
            poisoned.add(row.request_id)
        elif row.request_id in poisoned:
            found.add(row.key)
    return found


async def _settled(flows: LeanFlow, aside: int) -> None:
    """Wait until all is told or set aside."""
    while True:
        bus = (await flows.health()).sinks["bus"]
        if (bus.undelivered, bus.set_aside) == (0, aside):
            return
        await asyncio.sleep(0.02)  # between two looks


def wrong_listed(aside: Sequence[OutboxRow], poison: Mapping[str, str], refusal: str) -> list[str]:
    """Return what is wrong with the list of what was set aside."""
    wrong = [f"R15: {key} is not listed" for key in poison.keys() - {row.key for row in aside}]
    for row in aside:
        error = refusal if poison.get(row.key) else "KeyError"
        if row.key not in poison or (row.tries, row.error) != (TRIES, error):
            wrong.append(f"R15: {row.key} was set aside after {row.tries} tries for {row.error}")
    return wrong


def wrong_copies(told: Sequence[CloudEvent]) -> list[str]:
    """Return what was told more than once, though nothing was cut off."""
    times = Counter(event.key for event in told)
    return [f"R15: {key} was told {count} times" for key, count in times.items() if count > 1]


def wrong_flags(told: Sequence[CloudEvent], behind: Collection[str]) -> list[str]:
    """Return what does not say rightly whether something before it was set aside."""
    return [
        f"R15: {event.key} {'says' if event.out_of_order else 'does not say'} that it is out of order"
        for event in told
        if event.out_of_order is not (event.key in behind)
    ]


# --- in ----------------------------------------------------------------------------------------------------------


class Receiver:
    """`receive`, which raises for some until it is mended."""

    def __init__(self, flows: LeanFlow, poison: Collection[bytes]) -> None:
        self._flows = flows
        self._poison = poison
        self.is_mended = False
        self.began = self.worked = 0.0

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Receive, or raise."""
        if not self.began:
            self.began, self.worked = time.perf_counter(), time.process_time()
        if body in self._poison and not self.is_mended:
            raise KeyError("poison")
        return await self._flows.receive(headers, body)


async def incoming(run: Run, broker: str) -> None:
    """Take signed webhooks from a bus; those whose receiver raises are kept, listed, and taken when they come again."""
    if (why := BROKERS[broker].missing()) is not None:
        run.figure.skipped = why
        return
    run.directory.mkdir(parents=True, exist_ok=True)
    raws = [webhook("entity.created", {"id": f"x{n}"}, event_id=f"event-{n}") for n in range(run.rounds)]
    poison = frozenset(run.dice.sample(raws, max(2, run.rounds // SHARE)))

    async def flood(name: str, poison: Collection[bytes]) -> Flood:
        async with BROKERS[broker]() as there, asyncio.timeout(PATIENCE):
            await there.put([(signed(raw), raw) for raw in raws])
            return await _taken(run, broker, there, run.directory / f"{name}.db", poison)

    await _compared(run, flood, (), poison)
    run.figure.rounds = run.rounds
    run.figure.notes["set aside"] = len(poison)


async def _taken(run: Run, broker: str, there: Broker, file: Path, poison: Collection[bytes]) -> Flood:
    """Take what is there; then mend the receiver, and put what was set aside on the bus again."""
    heard: Counter[str] = Counter()
    handlers = Handlers()

    @handlers.on_webhook("entity.created")
    async def created(event: object, _flows: LeanFlow) -> None:
        heard[str(getattr(event, "event_id", ""))] += 1

    flows = LeanFlow(
        store=SQLiteStore(file),
        transport=Lean(SystemClock()),
        webhook_secrets=[SECRET],
        handlers=handlers,
        policy=_policy(run),
    )
    receiver = Receiver(flows, poison)
    subscription: Subscription = bus_of(broker, there.at).subscribe(  # type: ignore[attr-defined]  # as `buses` has it
        there.where, receiver, durable=DURABLE, backoff=(_wait(run),), max_deliver=TRIES
    )
    others = run.rounds - len(poison)
    async with flows, subscription:
        await _until(lambda: subscription.counts["taken"] >= others)
        ended, worked = time.perf_counter(), time.process_time() - receiver.worked
        await _until(lambda: subscription.counts["set_aside"] >= len(poison) and len(heard) >= others)
        aside = await subscription.set_aside(len(poison) + 1)
        run.figure.violations += wrong_kept(Counter((each.body, each.reason, each.tries) for each in aside), poison)
        receiver.is_mended = True
        await there.put([(each.headers, each.body) for each in aside])
        await _until(lambda: len(heard) >= run.rounds)
    run.figure.violations += [f"R15: {event} acted {times} times" for event, times in heard.items() if times > 1]
    return Flood(rate=others / (ended - receiver.began), work=worked / others)


def wrong_kept(aside: Counter[tuple[bytes, str, int]], poison: Collection[bytes]) -> list[str]:
    """Return what is wrong with the list of what was set aside."""
    wanted = Counter((body, "raised KeyError", TRIES) for body in poison)
    lost, odd = wanted - aside, aside - wanted
    return [f"R15: {body!r} is not listed" for body, _, _ in lost] + [
        f"R15: {body!r} was set aside after {tries} tries: {reason}" for body, reason, tries in odd
    ]


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)  # between two looks
