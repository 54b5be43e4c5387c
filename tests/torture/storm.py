"""R1 and R2 once more, with Mockbank in a storm as Lean: real kills, while all that Lean can do wrong goes wrong.

The wall clock is too slow for Lean's retries and for waits of hours, so the clock of Lean and of the children is set
ahead: by up to two minutes before each life, and by hours once the kills are over.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from leanflow import State, sign
from leanflow.mockbank import Delivery, Mockbank
from leanflow_adapters.mockbank import serve
from tests.torture.bases import Base
from tests.torture.drive import drive
from tests.torture.figures import Run
from tests.torture.invariants import check_rest
from tests.torture.lean import SECRET, Asked, Result, Sent
from tests.torture.nursery import Child, Nursery
from tests.torture.sites import born, points
from tests.torture.world import World

__all__ = ["random_kills_in_a_storm", "site_kills_in_a_storm"]

_AT_ONCE = 12
_RESOURCES = ("identity", "accounts")
_LONGEST = 0.15  # seconds of a life from the first event on
_LIFE = 1.5  # seconds after which a child that was not killed by its site is killed anyway
_SLOWER = 200  # a bank that takes a minute takes so many times less here
_HOURS = 400  # hours that everything has to come to its end, once all is calm


class StormyLean:
    """Mockbank, served on a port, as the world's Lean. Webhooks are brought by the world, which knows who lives."""

    def __init__(self, seed: int, bring: Callable[[Delivery, Sent | None], Awaitable[int]]) -> None:
        self.offset = 0.0
        self.bank = Mockbank(seed, self.now(), app="torture", webhook_secret=SECRET)
        self.sent: dict[str, Sent] = {}
        self.results: dict[str, Result] = {}  # what the world's own Lean remembers; this one remembers by itself
        self.asked: list[Asked] = []
        self.unsaid = 0  # as above: what is late here is a matter of the bank's
        self.url = ""
        self._server = serve(self.bank, clock=self)
        self._bring = bring
        self._bringing: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        self.url = self._server.base_url
        self._pump = asyncio.create_task(self._bring_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = {self._pump, *self._bringing}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.__aexit__(kind, error, trace)

    def now(self) -> datetime:
        """Return Lean's time."""
        return datetime.now(UTC) + timedelta(seconds=self.offset)

    async def sleep(self, seconds: float) -> None:
        """Return a good deal sooner."""
        await asyncio.sleep(seconds / _SLOWER)

    def reconnect(self, reconnect_id: str) -> None:
        """Let the user type the code."""
        self.bank.submit_otp(reconnect_id, self.bank.settings.otp, self.now())

    async def _bring_all(self) -> None:
        while True:
            for delivery in self.bank.deliveries_due(self.now()):
                task = asyncio.create_task(self._deliver(delivery))
                self._bringing.add(task)
                task.add_done_callback(self._bringing.discard)
            await asyncio.sleep(0.005)

    async def _deliver(self, delivery: Delivery) -> None:
        status = 0
        try:
            status = await self._bring(delivery, self._noted(delivery))
        finally:
            self.bank.delivered(delivery.id, status or None, self.now())

    def _noted(self, delivery: Delivery) -> Sent | None:
        """Remember a webhook that Lean signed, by the id that it has in the inbox."""
        if delivery.headers.get("lean-signature") != sign(SECRET, delivery.body):
            return None
        event_id = json.loads(delivery.body).get("event_id")
        if event_id is None:
            return Sent("", delivery.type, delivery.body, self.now())
        return self.sent.setdefault(event_id, Sent(event_id, delivery.type, delivery.body, self.now()))


class StormyWorld(World):
    """A world whose Lean is Mockbank."""

    lean: StormyLean  # type: ignore[assignment]  # as much of the other as the world asks of it

    def __init__(self, nursery: Nursery, directory: Path, seed: int, base: Base | None) -> None:
        super().__init__(nursery, directory, seed, {"bus": True, "clock": "engine", "policy": {"lease": 2.0}}, base)
        self.lean = StormyLean(seed, self._bring)
        self.forged = 0

    async def _bring(self, delivery: Delivery, sent: Sent | None) -> int:
        if sent is not None:
            return await self.post(sent)
        status = await self.post(Sent("", delivery.type, delivery.body, self.lean.now()), headers=delivery.headers)
        self.forged += status == 200
        return status

    def set_ahead(self, seconds: float) -> None:
        """Set Lean's clock ahead, and those of the children to come."""
        self.lean.offset += seconds
        self.settings["offset"] = self.lean.offset


async def random_kills_in_a_storm(run: Run) -> None:
    """R1: the only child is killed at random, again and again, while Lean and the network misbehave in every way."""

    async def lives(world: StormyWorld) -> None:
        for _ in range(run.rounds):
            world.set_ahead(world.dice.uniform(0, 120))
            child = await world.start()
            world.on_sent.clear()
            await world.on_sent.wait()
            await asyncio.sleep(world.dice.uniform(0, _LONGEST))
            await world.kill(child)

    await _play(run, lives)


async def site_kills_in_a_storm(run: Run) -> None:
    """R2: the child kills itself at each commit point in turn, in the same weather."""
    killed: Counter[str] = Counter()
    wanted = points(run.store)
    if run.is_fast:
        wanted = wanted[run.seed % 8 :: 8]

    async def lives(world: StormyWorld) -> None:
        for point in [point for point in wanted for _ in range(run.rounds)]:
            world.set_ahead(world.dice.uniform(0, 120))
            child: Child = await born(world, point, 3)
            _, late = await asyncio.wait({child.ended}, timeout=_LIFE)
            world.kills += 1
            killed[point] += not late
            if late:
                await child.kill()

    await _play(run, lives)
    run.figure.notes["sites that killed"] = f"{sum(map(bool, killed.values()))} of {len(wanted)}"


async def _play(run: Run, lives: Callable[[StormyWorld], Awaitable[None]]) -> None:
    async with StormyWorld(run.nursery, run.directory / "storm", run.seed, run.base()) as world:
        storm = world.lean.bank.storm(run.seed)
        killing = world.go(_as_task(lives(world)))
        flows: list[asyncio.Task[str]] = []
        while not killing.done():
            if sum(not flow.done() for flow in flows) < _AT_ONCE:
                flows.append(world.go(_one(world, len(flows))))
            await asyncio.wait({killing}, timeout=0.01)
        await killing
        problems = await _calm(world, flows)
        problems += await world.settle()
        problems += await world.close()
        if world.forged:
            problems.append(f"{world.forged} badly signed webhooks were answered 200")
        states = Counter(flow.result() for flow in flows if flow.done() and not flow.cancelled())
        run.figure.rounds = len(flows)
        run.figure.notes |= {"gusts": storm.count, **states}
        run.add(world, problems + check_rest(world, expected_log=r"leanflow.outbox: .* set aside"))


async def _as_task(work: Awaitable[None]) -> None:
    await work


async def _one(world: StormyWorld, number: int) -> str:
    entity_id = world.lean.bank.connect(f"user {number // 2}", now=world.lean.now())
    return await drive(world, entity_id, _RESOURCES[number % 2])


async def _calm(world: StormyWorld, flows: list[asyncio.Task[str]]) -> list[str]:
    """End the storm, and let hours pass until every request has ended."""
    world.lean.bank.calm(world.lean.now())
    await world.start()
    for _ in range(_HOURS):
        _, waiting = await asyncio.wait(flows, timeout=0.3)
        if not waiting:
            break
        await world.shift(timedelta(hours=1))
    problems = [f"I7: a request still waits after {_HOURS} hours" for flow in flows if not flow.done()]
    ended = {flow.result() for flow in flows if flow.done()}
    return problems + [f"I7: a request ended as {state}" for state in ended if not State(state).is_end]
