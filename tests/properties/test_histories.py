"""R8: in whatever order answer and webhooks come, twice or never, time and the Events API end all requests alike.

Once over a tiny Lean, which does nothing else; and once over Mockbank, in a storm of everything that it can do wrong.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from leanflow import Answer, Call, DataRequest, LeanFlow, Policy, State, sign
from leanflow.errors import CallFailed, NotInState
from leanflow.mockbank import Delivery, Fault, Mockbank, Progress
from leanflow.ports import Store
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import deliver, engine, recorder
from tests.support.lean import SECRET, Lean

RESOURCES = ("accounts", "identity")
_STORMY = ("identity", "accounts")  # in v1 Mockbank must make two years of transactions to tell an account's balance


class HeldLean(Lean):
    """A Lean whose answers to placements are made at once and arrive when the test says so, or never."""

    def __init__(self, clock: FakeClock, *, api: str) -> None:
        super().__init__(clock, api=api)
        self.gates: dict[str, asyncio.Event] = {}
        self.arrived: dict[str, asyncio.Event] = {}
        self.lost: set[str] = set()
        self.held: dict[int, asyncio.Event] = {}

    async def send(self, call: Call) -> Answer:
        """Answer, and hold the answer to the first placement of each resource back."""
        answered = await super().send(call)
        resource = call.path.rsplit("/", 1)[1]
        gate = self.gates.pop(resource, None)
        if gate is not None:
            self.arrived[resource].set()
            await gate.wait()
            if resource in self.lost:
                raise CallFailed("connection reset", maybe_sent=True)
        return answered


@attrs.frozen
class History:
    """What comes when.

    Attributes:
        api: whose ids are used.
        firsts: what Lean says first to each request, ``reconnect`` or ``pending``.
        happenings: what comes, in order: ("answer", n), ("webhook", n), ("prompt", n), ("tick", 0), ("wait", seconds).
        lost: the requests whose first answer is lost when it comes.
    """

    api: str
    firsts: tuple[str, ...]
    happenings: tuple[tuple[str, int], ...]
    lost: frozenset[int]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Any permutation, duplication and loss, of one request or two of one entity."""
    firsts = tuple(draw(st.lists(st.sampled_from(("reconnect", "pending")), min_size=1, max_size=2)))
    happenings = [("answer", n) for n in range(len(firsts))]
    webhooks = sum(2 if first == "reconnect" else 1 for first in firsts)
    for n in range(webhooks):
        happenings += [("webhook", n)] * draw(st.integers(0, 3))
    happenings += [("prompt", n) for n in range(len(firsts)) if draw(st.booleans())]
    happenings += draw(st.lists(st.just(("tick", 0)), max_size=3))
    happenings += [("wait", draw(st.sampled_from((1, 40, 700)))) for _ in range(draw(st.integers(0, 2)))]
    return History(
        api=draw(st.sampled_from(("v1", "v2"))),
        firsts=firsts,
        happenings=tuple(draw(st.permutations(happenings))),
        lost=frozenset(n for n in range(len(firsts)) if draw(st.integers(0, 4)) == 0),
    )


async def play(history: History, store: Store) -> None:
    """Play a history, let time pass, reconcile, and check the end."""
    clock = FakeClock()
    lean = HeldLean(clock, api=history.api)
    heard = recorder()
    policy = Policy(shutdown_wait=timedelta(milliseconds=1))  # a red example must not wait for answers that never come
    async with engine(store, lean, clock, api=history.api, handlers=heard.handlers, policy=policy) as flows:
        requests = await _place(flows, lean, history)
        gates = lean.held
        raws = lean.take()
        for happening in history.happenings:
            await _happen(flows, clock, requests, gates, raws, happening)
        for number, gate in gates.items():
            assert gate.is_set(), number
        await travel(flows, clock, timedelta(minutes=3))
        await flows.reconcile()
        await flows.tick()
        await flows.reconcile(since=clock.now() - timedelta(days=89))  # a replay of everything has no effect
        await travel(flows, clock, timedelta(days=2))
        for request in requests:
            await _check(flows, request.id, heard.keys)
        webhooks = [event.inbox_key for event in heard.webhooks if event.event_id]
        assert len(webhooks) == len(set(webhooks))


async def _place(flows: LeanFlow, lean: HeldLean, history: History) -> list[DataRequest]:
    """Place the requests; Lean has answered, the user has been at the bank, and nothing of it has arrived."""
    requests = []
    for number, first in enumerate(history.firsts):
        resource = RESOURCES[number]
        lean.held[number] = lean.gates[resource] = asyncio.Event()
        lean.arrived[resource] = asyncio.Event()
        if number in history.lost:
            lean.lost.add(resource)
        lean.will("e", first)
        asking = asyncio.create_task(flows.request(resource, entity_id="e"))
        await lean.arrived[resource].wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        requests.append(await anext(flows.find(resource=resource)))
    for result in list(lean.results.values()):
        if result.status == "PENDING":
            lean.finish(result.results_id)
        else:
            lean.reconnect(result.reconnect_id)
    return requests


async def _happen(
    flows: LeanFlow,
    clock: FakeClock,
    requests: list[DataRequest],
    gates: dict[int, asyncio.Event],
    raws: list[bytes],
    happening: tuple[str, int],
) -> None:
    kind, number = happening
    match kind:
        case "answer":
            gates[number].set()
            placing = flows._placing.under_way.get(requests[number].id)
            if placing is not None:
                await placing
        case "webhook":
            assert [reply.status for reply in await deliver(flows, raws[number])] == [200]
        case "prompt":
            with suppress(NotInState):
                await flows.prompt(requests[number].id)
        case "tick":
            await _tick(flows)
        case "wait":
            clock.advance(timedelta(seconds=number))
            await _tick(flows)


async def _tick(flows: LeanFlow) -> None:
    """As `tick`, without waiting for the answers that are held back."""
    while await flows._idle_worker.sweep():
        pass


async def _check(flows: LeanFlow, request_id: str, keys: list[str]) -> None:
    final: Any = await flows.get(request_id)
    rows = await flows.history(request_id)
    assert final.state is State.fetched, [(row.tag, row.to_state, row.declined) for row in rows]
    moves = [row for row in rows if row.declined is None]
    assert [row.version for row in moves] == list(range(final.version + 1))
    assert [row.to_state for row in moves].count("fetched") == 1
    assert len([page async for page in flows.pages(request_id)]) == 1
    assert len({row.key for row in rows}) == len(rows)
    entered = [m for i, m in enumerate(moves) if m.from_state != m.to_state]
    told = [key for key in keys if key.startswith(request_id)]
    assert len(told) == len(set(told))
    assert set(told) >= {f"{request_id}:{m.version}:{m.to_state}" for m in entered}
    assert [int(key.split(":")[1]) for key in told] == sorted(int(key.split(":")[1]) for key in told)


class HeldMockbank(MockbankTransport):
    """Mockbank, whose answers to the first placements are made at once and arrive when the test says so, or never."""

    def __init__(self, bank: Mockbank, clock: FakeClock) -> None:
        super().__init__(bank, clock)
        self.waiting: list[tuple[asyncio.Event, asyncio.Event, bool]] = []
        self.network: list[Delivery] = []

    async def send(self, call: Call) -> Answer:
        """Answer, and hold back the answers that the history holds back."""
        answered = await super().send(call)
        if self.waiting and call.path.startswith("/data/"):
            arrived, gate, is_lost = self.waiting.pop(0)
            arrived.set()
            await gate.wait()
            if is_lost:
                raise CallFailed("connection reset", maybe_sent=True)
        return answered

    def take(self, now: datetime) -> None:
        """Take what the bank sends, as a network that brings it as it likes; the bank takes it for delivered."""
        for delivery in self.bank.deliveries_due(now):
            self.network.append(delivery)
            self.bank.delivered(delivery.id, 200, now)


async def play_in_storm(history: History, seed: int) -> None:
    """Play a history against Mockbank in a storm; when it is over, let the users come and time pass; check the end."""
    clock = FakeClock()
    bank = Mockbank(seed, clock.now(), app="app", webhook_secret=SECRET, webhook_event_ids=history.api != "v1")
    entity_id = bank.connect(now=clock.now())
    lean, heard = HeldMockbank(bank, clock), recorder()
    policy = Policy(shutdown_wait=timedelta(milliseconds=1))
    async with engine(MemoryStore(), lean, clock, api=history.api, handlers=heard.handlers, policy=policy) as flows:
        gates = await _place_in_storm(flows, lean, history, entity_id, seed)
        requests = [await anext(flows.find(resource=resource)) for resource in _STORMY[: len(history.firsts)]]
        for kind, number in history.happenings:
            if kind == "webhook":
                lean.take(clock.now())
                if lean.network:
                    delivery = lean.network[number % len(lean.network)]
                    reply = await flows.receive(delivery.headers, delivery.body)
                    is_signed = delivery.headers.get("lean-signature") == sign(SECRET, delivery.body)
                    assert reply.status == (200 if is_signed else 401)
            else:
                await _happen(flows, clock, requests, gates, [], (kind, number))
        bank.calm(clock.now())
        lean.receive = flows.receive
        await _let_users_come(flows, lean, clock)
        for request in requests:
            final = await flows.get(request.id)
            if final.state is State.failed:  # the storm's word was final: asked again, Lean has the data
                final = await flows.renew(request.id)
                await _let_users_come(flows, lean, clock)
            await _check(flows, final.id, heard.keys)


async def _place_in_storm(
    flows: LeanFlow, lean: HeldMockbank, history: History, entity_id: str, seed: int
) -> dict[int, asyncio.Event]:
    """Place the requests in good weather; then the storm begins, and in it the user has been at the bank."""
    gates = {}
    for number, first in enumerate(history.firsts):
        gates[number], arrived = asyncio.Event(), asyncio.Event()
        lean.waiting.append((arrived, gates[number], number in history.lost))
        lean.bank.fault(Fault.pending(Progress.held()) if first == "pending" else Fault.reconnect())
        asking = asyncio.create_task(flows.request(_STORMY[number], entity_id=entity_id))
        await arrived.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    lean.bank.storm(seed, without=("slow",))  # `tick` waits for calls, and nobody moves the clock meanwhile
    state = lean.bank.state()
    for result in state["results"]:
        if result["status"] == "PENDING":
            lean.bank.release(result["results_id"])
        else:
            lean.bank.submit_otp(result["reconnect_id"], lean.bank.settings.otp)
    return gates


async def _let_users_come(flows: LeanFlow, lean: HeldMockbank, clock: FakeClock) -> None:
    for _ in range(6):
        await travel(flows, clock, timedelta(hours=13), also=[lean])
        await flows.reconcile()
        async for request in flows.find(state={State.reconnect_required, State.awaiting_user}):
            with suppress(NotInState):
                prompt = await flows.prompt(request.id)
                lean.bank.submit_otp(prompt.reconnect_id, lean.bank.settings.otp, clock.now())
    await travel(flows, clock, timedelta(days=2), also=[lean])


@given(histories(), st.integers(0, 2**32))
def test_every_history_ends_well_after_a_storm(history: History, seed: int) -> None:
    """Mockbank misbehaves in every way it knows; once it has calmed, each request has its data, or is renewed to it."""
    asyncio.run(play_in_storm(history, seed))


@given(histories())
def test_every_history_ends_the_same_in_memory(history: History) -> None:
    """Fetched, stored once, each state announced once and in order; over the memory store."""
    asyncio.run(play(history, MemoryStore()))


@settings(max_examples=max(20, settings.default.max_examples // 5))  # type: ignore[union-attr]  # a file each: slower
@given(histories())
def test_every_history_ends_the_same_on_disk(history: History) -> None:
    """The same over SQLite."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(history, SQLiteStore(Path(directory) / "flows.db", synchronous="NORMAL")))


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("order", ["ARS", "ASR", "RAS", "RSA", "SAR", "SRA", "AR", "AS", "RA", "SA", "A"])
@pytest.mark.parametrize("copies", [1, 2])
def test_every_order_of_one_reconnect_ends_the_same(api: str, order: str, copies: int) -> None:
    """All orders of answer (A), `entity.reconnected` (R) and `results.ready` (S), doubled, and with losses."""
    letters = {"A": ("answer", 0), "R": ("webhook", 0), "S": ("webhook", 1)}
    happenings = tuple(letters[letter] for letter in order for _ in range(1 if letter == "A" else copies))
    history = History(api=api, firsts=("reconnect",), happenings=happenings, lost=frozenset())
    asyncio.run(play(history, MemoryStore()))
