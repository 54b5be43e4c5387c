"""Buses that are away, hang, refuse or want some announcements only: nothing else waits, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leanflow import LeanFlow, Policy, State, _relay
from leanflow._relay import BATCH, MANY
from leanflow._request import Scope
from leanflow.errors import BrokerSetup, BusUnavailable, InvalidRequest, MessageRefused
from leanflow.ports import OutboxRow, Sink
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryBus, MemoryStore
from tests.support.engine import PATIENCE, STORES, engine, maker_of, recorder
from tests.support.lean import Lean

SHORT = Policy(bus_timeout=timedelta(milliseconds=50), shutdown_wait=timedelta(milliseconds=100))


class Broker:
    """What a bus may meet: away (for all rows or some), silent, stuck for ever, refusing some rows."""

    def __init__(self) -> None:
        self.is_away = self.is_stuck = self.is_incomplete = self.is_silent = self.times_out = False
        self.refuses: Callable[[OutboxRow], bool] = lambda _: False
        self.lacks: Callable[[OutboxRow], bool] = lambda _: False
        self.opened = self.published = 0
        self.raised: list[BaseException] = []
        self.batches: list[int] = []
        self.rows: list[OutboxRow] = []

    async def passing(self) -> None:
        """Do what the broker does to whoever comes."""
        while self.is_stuck:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue  # a client that does not let itself be cancelled
        if self.is_away:
            raise BusUnavailable("bus", "nobody there")
        if self.is_silent:
            await asyncio.Event().wait()
        if self.times_out:
            raise TimeoutError
        if self.is_incomplete:
            raise BrokerSetup("bus", "there is no stream", "make one")


class Bus:
    """A bus to it."""

    def __init__(self, broker: Broker, name: str = "bus") -> None:
        self.name = name
        self.broker = broker

    async def open(self) -> None:
        """Open."""
        await self.broker.passing()
        self.broker.opened += 1

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Publish."""
        self.broker.published += 1
        self.broker.batches.append(len(batch))
        await self.broker.passing()
        errors = [self._error(row) for row in batch]
        self.broker.rows += [row for row, error in zip(batch, errors, strict=True) if error is None]
        return errors

    async def aclose(self) -> None:
        """Close."""
        self.broker.opened -= 1

    def _error(self, row: OutboxRow) -> BaseException | None:
        if self.broker.lacks(row):
            return BusUnavailable("bus", "its partition has no leader")
        if self.broker.raised:
            return self.broker.raised.pop(0)
        return MessageRefused("bus", "no") if self.broker.refuses(row) else None


@pytest.fixture
def broker() -> Broker:
    """Give a broker."""
    return Broker()


async def finished(flows: LeanFlow, entity: str = "e") -> str:
    """Make a request that is fetched at once; return its id."""
    request = await flows.request("accounts", entity_id=entity)
    assert request.state is State.fetched
    await flows.tick()
    return request.id


async def has_ended(flows: LeanFlow) -> None:
    """Return once the bus has ended what took it too long."""
    async with asyncio.timeout(PATIENCE):
        while flows._buses["bus"]._stuck:
            await asyncio.sleep(0)


async def test_an_engine_starts_without_its_broker_and_opens_the_bus_later(
    broker: Broker, clock: FakeClock, lean: Lean
) -> None:
    """Flows advance meanwhile; what is undelivered is seen in `health`, and delivered once the broker is back."""
    broker.is_away = True
    heard = recorder()
    async with engine(MemoryStore(), lean, clock, handlers=heard.handlers, bus=Bus(broker)) as flows:
        key = await finished(flows)
        assert heard.states == ["requested", "fetched"]
        assert (await flows.health()).sinks["bus"].undelivered == 2
        broker.is_away = False
        await travel(flows, clock, timedelta(seconds=3))
        assert [row.key for row in broker.rows] == [f"{key}:0:requested", f"{key}:1:fetched"]
        assert (await flows.health()).sinks["bus"].undelivered == 0
    assert broker.opened == 0


async def test_an_outage_counts_against_no_announcement(broker: Broker, clock: FakeClock, lean: Lean) -> None:
    """However long it is, nothing is set aside, and the bus is tried every half minute at most."""
    policy = Policy(announce_tries=3)
    async with engine(MemoryStore(), lean, clock, bus=Bus(broker), policy=policy) as flows:
        broker.is_away = True
        key = await finished(flows)
        tries = 0
        for _ in range(240):
            before = broker.published
            await travel(flows, clock, timedelta(seconds=30))
            tries += broker.published - before
        assert 60 <= tries <= 300, "two hours, every half minute or so"
        assert await flows.undelivered(set_aside=True) == ()
        broker.is_away = False
        await travel(flows, clock, timedelta(minutes=1))
        assert [row.key for row in broker.rows] == [f"{key}:0:requested", f"{key}:1:fetched"]


@pytest.mark.parametrize(("fault", "error"), [("is_silent", "BusUnavailable"), ("times_out", "TimeoutError")])
async def test_a_broker_that_never_answers_counts_against_no_announcement(
    fault: str, error: str, broker: Broker, clock: FakeClock, lean: Lean
) -> None:
    """It is an outage, whoever notices it: the engine after `bus_timeout`, or the bus itself."""
    policy = Policy(announce_tries=3, bus_timeout=timedelta(milliseconds=20))
    async with engine(MemoryStore(), lean, clock, bus=Bus(broker), policy=policy) as flows:
        setattr(broker, fault, True)
        key = await finished(flows)
        for _ in range(10):
            await travel(flows, clock, timedelta(seconds=35))
            await has_ended(flows)
        rows = await flows.undelivered()
        assert [(row.tries, row.error, row.set_aside) for row in rows] == [(0, error, False), (0, None, False)]
        assert broker.published >= 10
        setattr(broker, fault, False)
        await travel(flows, clock, timedelta(minutes=1))
        assert [row.key for row in broker.rows] == [f"{key}:0:requested", f"{key}:1:fetched"]


@pytest.mark.parametrize("kind", STORES)
async def test_an_outage_takes_no_try_from_what_the_broker_refuses_later(
    kind: str, tmp_path: Path, broker: Broker, clock: FakeClock, lean: Lean
) -> None:
    """`flows.undelivered()` tells of it and when the next try is; the refusals after it are counted from the first."""
    policy = Policy(announce_tries=3, announce_backoff=(timedelta(seconds=1),))
    async with engine(maker_of(kind, tmp_path)(), lean, clock, bus=Bus(broker), policy=policy) as flows:
        broker.is_away = True
        await finished(flows)
        await travel(flows, clock, timedelta(hours=2))
        [row, _] = await flows.undelivered()
        assert (row.tries, row.error, row.set_aside) == (0, "BusUnavailable", False)
        assert row.due_at is not None
        assert clock.now() < row.due_at <= clock.now() + timedelta(seconds=33)
        broker.is_away, broker.refuses = False, lambda row: row.key.endswith(":requested")
        clock.advance(row.due_at - clock.now())
        for tries in (1, 2):
            await flows.tick()
            [row, *_] = await flows.undelivered()
            assert (row.tries, row.error, row.set_aside) == (tries, "MessageRefused", False)
            clock.advance(timedelta(seconds=2))
        await flows.tick()
        [row] = await flows.undelivered()
        assert (row.tries, row.error, row.set_aside) == (3, "MessageRefused", True)


async def test_a_broker_that_is_away_for_some_holds_up_no_others(
    broker: Broker, clock: FakeClock, lean: Lean, caplog: pytest.LogCaptureFixture
) -> None:
    """As a partition without a leader: others of the batch go on, and those are told of and wait longer each time."""
    waits = []
    broker.lacks = lambda row: "lacking" in row.payload
    async with engine(MemoryStore(), lean, clock, bus=Bus(broker), policy=Policy(announce_tries=3)) as flows:
        lacking = await flows.request("accounts", entity_id="lacking")
        for number in range(8):
            other = await flows.request("accounts", entity_id=f"other-{number}")
            await flows.tick()
            assert [row.request_id for row in broker.rows[-2:]] == [other.id] * 2
            [row, _] = await flows.undelivered()
            assert (row.request_id, row.tries, row.error) == (lacking.id, 0, "BusUnavailable")
            assert row.due_at is not None
            between = await flows.request("accounts", entity_id=f"between-{number}")
            await flows.tick()
            assert broker.rows[-1].request_id == between.id, "which does not shorten the wait"
            waits.append((row.due_at - clock.now()).total_seconds())
            clock.advance(row.due_at - clock.now())
        assert [int(wait) for wait in waits[:4]] == [1, 2, 5, 10]
        assert all(30 <= wait <= 33 for wait in waits[4:])
        [told, *_] = [record for record in caplog.records if "bus is away" in record.getMessage()]
        assert told.getMessage().startswith("bus is away for 1 of 2 announcements and is tried again in 1 s: ")
        broker.lacks = lambda _: False
        await flows.tick()
        assert [row.request_id for row in broker.rows[-2:]] == [lacking.id] * 2


async def piled_up(flows: LeanFlow, broker: Broker, requests: int) -> None:
    """Let two announcements of each of so many requests pile up while the broker is away, and it come back."""
    broker.is_away = True
    await asyncio.gather(*(flows.request("accounts", entity_id=f"e{number}") for number in range(requests)))
    broker.is_away = False
    assert (await flows.health()).sinks["bus"].undelivered == 2 * requests


def check_order(rows: Sequence[OutboxRow]) -> None:
    """Each announcement once, and of each request the first before the second."""
    keys = [row.key for row in rows]
    assert len(keys) == len(set(keys))
    last: dict[str | None, int] = {}
    for row in rows:
        version = int(row.key.split(":")[1])
        assert version == last.get(row.request_id, -1) + 1
        last[row.request_id] = version


@pytest.mark.parametrize("kind", STORES)
async def test_what_piled_up_goes_out_batch_by_batch(
    kind: str, tmp_path: Path, broker: Broker, clock: FakeClock, lean: Lean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one go, in full batches, each announcement once and in order; but not so much that a stop waits for long."""
    run = BATCH + 2 * MANY
    monkeypatch.setattr(_relay, "QUICK", PATIENCE)
    monkeypatch.setattr(_relay, "RUN", run)
    async with engine(maker_of(kind, tmp_path)(), lean, clock, bus=Bus(broker)) as flows:
        await piled_up(flows, broker, (run + BATCH) // 2)
        relay = flows._idle_worker._relay
        assert await relay.relay("bus") == run
        assert broker.batches == [BATCH, MANY, MANY]
        assert await relay.relay("bus") == BATCH
        assert await flows.undelivered() == ()
    check_order(broker.rows)
    assert len(broker.rows) == run + BATCH


async def test_a_bus_that_takes_long_for_a_batch_gets_no_larger_one(
    broker: Broker, clock: FakeClock, lean: Lean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times as many might never be through within its timeout; and a stop waits for that batch alone."""
    monkeypatch.setattr(_relay, "QUICK", 0.0)
    async with engine(MemoryStore(), lean, clock, bus=Bus(broker)) as flows:
        await piled_up(flows, broker, BATCH)
        assert [await flows._idle_worker._relay.relay("bus") for _ in range(3)] == [BATCH, BATCH, 0]
    assert broker.batches == [BATCH, BATCH]


async def test_nothing_more_is_claimed_of_what_piled_up_once_the_broker_is_away(
    broker: Broker, clock: FakeClock, lean: Lean
) -> None:
    """A batch at most meets the outage; all of it goes out later, in order."""
    async with engine(MemoryStore(), lean, clock, bus=Bus(broker)) as flows:
        await piled_up(flows, broker, (BATCH + MANY + BATCH) // 2)

        def goes_away(_: OutboxRow) -> bool:
            broker.is_away = True  # once this batch is through
            return False

        broker.refuses = goes_away
        tried = await flows._idle_worker._relay.relay("bus")
        assert tried == sum(broker.batches)
        assert len(broker.batches) == 2
        rows = await flows._store.outbox(flows._scope, limit=BATCH + MANY + BATCH)
        assert sum(row.due_at is not None and row.due_at <= clock.now() for row in rows) == len(rows) - tried + BATCH
        broker.is_away, broker.refuses = False, lambda _: False
        await travel(flows, clock, timedelta(minutes=1))
        assert await flows.undelivered() == ()
    check_order(broker.rows)


async def test_what_a_broker_refuses_is_set_aside_and_comes_again_by_hand(
    broker: Broker, clock: FakeClock, lean: Lean
) -> None:
    """R15: after its tries a poison row stands aside, the ones behind it say so, others never waited; `redeliver`."""
    async with engine(
        MemoryStore(),
        lean,
        clock,
        bus=Bus(broker),
        policy=Policy(announce_tries=3, announce_backoff=(timedelta(seconds=1),)),
    ) as flows:
        broker.refuses = lambda row: row.key.endswith(":requested") and "poison" in row.payload
        bad = await finished(flows, "poison")
        good = await finished(flows, "fine")
        assert [row.key for row in broker.rows] == [f"{good}:0:requested", f"{good}:1:fetched"]
        await travel(flows, clock, timedelta(seconds=10))
        (aside,) = await flows.undelivered(set_aside=True)
        assert (aside.key, aside.sink, aside.error, aside.tries) == (f"{bad}:0:requested", "bus", "MessageRefused", 3)
        assert broker.rows[-1].key == f"{bad}:1:fetched"
        assert broker.rows[-1].skipped
        assert (await flows.health()).sinks["bus"].set_aside == 1
        broker.refuses = lambda _: False
        await flows.redeliver(aside.key, "bus")
        await flows.tick()
        assert broker.rows[-1].key == aside.key
        assert await flows.undelivered() == ()


async def test_why_a_bus_did_not_take_it_is_told(
    broker: Broker, clock: FakeClock, lean: Lean, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal in the broker's words; what the application's function raised with its traceback, first and last."""
    broker.raised = [MessageRefused("bus", "too large"), *(KeyError("topic") for _ in range(3))]
    policy = Policy(announce_tries=4, announce_backoff=(timedelta(seconds=1),))
    async with engine(MemoryStore(), lean, clock, bus=Bus(broker), policy=policy) as flows:
        await flows.request("accounts", entity_id="e")
        with caplog.at_level("WARNING", "leanflow.outbox"):
            await travel(flows, clock, timedelta(seconds=10))
    told = [(record.getMessage().rpartition(": ")[0], bool(record.exc_info)) for record in caplog.records]
    first = "bus did not take an announcement (the broker of bus refused an announcement: too large)"
    again = "bus did not take an announcement (KeyError)"
    assert told == [(first, False), (again, True), (again, False), (again, True)]


async def test_what_was_refused_is_stored_beside_what_was_told(broker: Broker, clock: FakeClock, lean: Lean) -> None:
    """Right behind it, so that both are in one transaction; a refusal does not cost its batch a second one."""
    said = []

    class Store(MemoryStore):
        async def delivered(self, scope: Scope, rows: Sequence[tuple[str, str]]) -> None:
            said.append("told")
            for _ in range(5):
                await asyncio.sleep(0)
            await super().delivered(scope, rows)
            said.append("stored")

        async def undelivered(self, *words: Any, **more: Any) -> None:
            said.append("refused")
            await super().undelivered(*words, **more)

    async with engine(Store(), lean, clock, bus=Bus(broker)) as flows:
        broker.refuses = lambda row: "poison" in row.payload
        for entity in ("poison", "fine"):
            await flows.request("accounts", entity_id=entity)
        await flows._idle_worker._relay.relay("bus")
    assert said[:3] == ["told", "refused", "stored"]


async def test_a_bus_that_hangs_holds_up_nobody(broker: Broker, clock: FakeClock, lean: Lean) -> None:
    """Not the start, not another bus, not a handler, not the end, even if it does not let itself be cancelled."""
    broker.is_stuck = True
    other, heard = MemoryBus("other"), recorder()
    async with asyncio.timeout(10):
        async with engine(
            MemoryStore(), lean, clock, handlers=heard.handlers, bus=[Bus(broker), other], policy=SHORT, workers=1
        ) as flows:
            request = await flows.request("accounts", entity_id="e")
            while len(other.rows) < 2 or len(heard.states) < 2:
                await asyncio.sleep(0.01)
            assert (await flows.get(request.id)).state is State.fetched
    broker.is_stuck = False


async def test_a_bus_that_opens_after_it_was_given_up_is_used_and_closed(
    broker: Broker, clock: FakeClock, lean: Lean
) -> None:
    """It is not opened a second time."""
    broker.is_stuck = True
    async with engine(MemoryStore(), lean, clock, bus=Bus(broker), policy=SHORT) as flows:
        broker.is_stuck = False
        async with asyncio.timeout(5):
            while not broker.opened:
                await asyncio.sleep(0.01)
        await finished(flows)
        await travel(flows, clock, timedelta(seconds=60))
        assert (broker.opened, len(broker.rows)) == (1, 2)
    assert broker.opened == 0


async def test_a_bus_that_comes_to_hang_is_asked_for_nothing_more_until_it_has_ended(
    broker: Broker, clock: FakeClock, lean: Lean
) -> None:
    """And then gets what it missed."""
    policy = Policy(bus_timeout=timedelta(milliseconds=50))
    async with engine(MemoryStore(), lean, clock, bus=Bus(broker), policy=policy) as flows:
        broker.is_stuck = True
        key = await finished(flows)
        await travel(flows, clock, timedelta(minutes=1))
        assert broker.published == 1
        broker.is_stuck = False
        await has_ended(flows)
        await travel(flows, clock, timedelta(minutes=1))
        assert [row.key for row in broker.rows][-2:] == [f"{key}:0:requested", f"{key}:1:fetched"]


async def test_what_no_waiting_brings_is_raised_at_the_start(broker: Broker, clock: FakeClock, lean: Lean) -> None:
    """A missing stream is the deployment's: it says so at once. Once started, it is told, waited for and mended."""
    broker.is_incomplete = True
    with pytest.raises(BrokerSetup, match="no stream; make one"):
        async with engine(MemoryStore(), lean, clock, bus=Bus(broker)):
            pass  # pragma: no cover - entering raises
    broker.is_incomplete, broker.is_away = False, True
    async with engine(MemoryStore(), lean, clock, bus=Bus(broker)) as flows:
        broker.is_incomplete, broker.is_away = True, False
        await finished(flows)
        await travel(flows, clock, timedelta(seconds=5))
        broker.is_incomplete = False
        await travel(flows, clock, timedelta(minutes=1))
        assert len(broker.rows) == 2


async def test_a_bus_that_is_open_stays_open(clock: FakeClock, lean: Lean) -> None:
    """What the application opened it closes itself."""
    bus = MemoryBus()
    await bus.open()
    async with engine(MemoryStore(), lean, clock, bus=bus) as flows:
        await finished(flows)
    assert bus.is_open
    assert len(bus.rows) == 2


async def test_a_bus_with_a_wish_gets_nothing_else(clock: FakeClock, lean: Lean) -> None:
    """Its filter is kept in the store: rows are made only for what it wants."""

    class Choosy(MemoryBus):
        sink = Sink(name="choosy", states=frozenset({"fetched"}))

    bus, store = Choosy("choosy"), MemoryStore()
    async with engine(store, lean, clock, bus=bus) as flows:
        key = await finished(flows)
    assert [row.key for row in bus.rows] == [f"{key}:1:fetched"]


def test_two_buses_of_one_name_are_refused(clock: FakeClock, lean: Lean) -> None:
    """One of them would never get anything."""
    with pytest.raises(InvalidRequest, match="'memory' is the name of another sink"):
        engine(MemoryStore(), lean, clock, bus=[MemoryBus(), MemoryBus()])


async def test_an_announcement_does_not_tell_the_customers_address(clock: FakeClock, lean: Lean) -> None:
    """It is kept with the request, for Lean, and goes to nobody else."""
    bus = MemoryBus()
    async with engine(MemoryStore(), lean, clock, bus=bus) as flows:
        request = await flows.request("accounts", entity_id="e", customer_id="c", customer_ip="203.0.113.9")
        await flows.tick()
        assert (await flows.get(request.id)).customer_ip == "203.0.113.9"
    assert len(bus.rows) == 2
    assert not any("203.0.113.9" in row.payload or "customer_ip" in row.payload for row in bus.rows)
