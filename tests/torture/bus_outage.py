"""R26 on each bus: away while flows go on, then there and away by turns; all is told in the end, in order."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import attrs

from leanflow import LeanFlow, State
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.memory import MemoryBus
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.lean import SECRET, Lean
from tests.torture.brokers import BROKERS, Broker
from tests.torture.buses import EACH, judge
from tests.torture.clients import bus_of
from tests.torture.figures import Run
from tests.torture.relaying import RELAYING

__all__ = ["away", "scenarios"]

AT_ONCE = 16
AWAY, FAST_AWAY = 60.0, 0.5
"""Seconds of the long outage, beside those that its flows take."""
FLAPS, FAST_FLAPS = 10, 2
PATIENCE = 600.0
"""Seconds that the whole size may take."""


def scenarios() -> list[tuple[str, str, Callable[[Run], Awaitable[None]]]]:
    """Return name, words and function of each scenario."""
    return [
        (f"R26-away-{name}", "the broker away while flows go on, then flapping", partial(away, broker=name))
        for name in BROKERS
    ]


@attrs.define
class Making:
    """Makes requests that go through four states each, a few at a time.

    Attributes:
        made: how many.
    """

    flows: LeanFlow
    lean: Lean
    made: int = 0

    async def make(self, count: int) -> float:
        """Make so many; return how many of their steps were done a second."""
        numbers = iter(range(self.made, self.made + count))
        began = time.perf_counter()
        await asyncio.gather(*(self._caller(numbers) for _ in range(AT_ONCE)))
        self.made += count
        return count * EACH / (time.perf_counter() - began)

    async def _caller(self, numbers: Iterator[int]) -> None:
        for number in numbers:  # shared by all callers
            self.lean.will(f"e{number}", "reconnect")
            request = await self.flows.request("accounts", entity_id=f"e{number}")
            assert request.state is State.reconnect_required
            await self.flows.prompt(request.id)
            assert (await self.flows.cancel(request.id)).state is State.cancelled


async def away(run: Run, broker: str) -> None:
    """Make requests while the broker is there, away, flapping, and there again; each is told of all along elsewhere."""
    if (why := BROKERS[broker].missing()) is not None:
        run.figure.skipped = why
        return
    run.directory.mkdir(parents=True, exist_ok=True)
    beside, lean = MemoryBus("beside"), Lean(SystemClock())
    part = math.ceil(run.rounds / EACH / 4)
    async with BROKERS[broker]() as there, asyncio.timeout(PATIENCE * run.patience):
        flows = LeanFlow(
            store=SQLiteStore(run.directory / "flows.db"),
            transport=lean,
            webhook_secrets=[SECRET],
            bus=[bus_of(broker, there.at), beside],
            policy=RELAYING,
        )
        async with flows:
            making = Making(flows, lean)
            before = await making.make(part)
            await _until_told(flows, "bus")
            during = await _outage(run, there, making, part)
            await _flapping(run, there, making, part)
            after = await making.make(part)
            began = time.perf_counter()
            await _until_told(flows, "bus")
            drained = time.perf_counter() - began
            await _until_told(flows, "beside")
        told = await there.told()
    run.figure.rounds = making.made * EACH
    run.figure.violations += judge(beside.rows, told)
    if len(beside.rows) != making.made * EACH:
        run.figure.violations.append(f"R26: another bus was told {len(beside.rows)} of {making.made * EACH} times")
    run.figure.notes = {
        "steps a second before, during, after": f"{before:.0f}, {during:.0f}, {after:.0f}",
        "told s after the last": round(drained, 1),
        "copies": len(told) - making.made * EACH,
    }


async def _outage(run: Run, there: Broker, making: Making, part: int) -> float:
    """Make requests while nobody is there; another bus is told of them, and what waits is no fault of theirs."""
    await there.down()
    rate = await making.make(part)
    await _until_told(making.flows, "beside")
    await asyncio.sleep(FAST_AWAY if run.is_fast else AWAY)  # what it is about: that long nobody answers
    sinks = (await making.flows.health()).sinks
    if (sinks["bus"].undelivered, sinks["bus"].set_aside) != (part * EACH, 0) or sinks["bus"].oldest_at is None:
        run.figure.violations.append(f"R26: while it was away, {sinks['bus']} of {part * EACH}")
    tried = [row.key for row in await making.flows.undelivered(limit=part * EACH) if row.tries]
    run.figure.violations += [f"R26: the outage counts as a try of {key}" for key in tried]
    await there.up()
    return rate


async def _flapping(run: Run, there: Broker, making: Making, part: int) -> None:
    """Make requests while it comes and goes."""
    flaps = FAST_FLAPS if run.is_fast else FLAPS
    for number in range(flaps):
        await asyncio.gather(there.down(), making.make((number + 1) * part // flaps - number * part // flaps))
        await there.up()
        await asyncio.sleep(run.dice.random() * 2 / flaps)  # so long it is there


async def _until_told(flows: LeanFlow, sink: str) -> None:
    while (await flows.health()).sinks[sink].undelivered:
        await asyncio.sleep(0.02)  # between two looks
