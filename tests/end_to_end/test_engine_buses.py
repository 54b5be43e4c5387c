"""Buses that are away, hang, refuse or want some announcements only: nothing else waits, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from leanflow import LeanFlow, Policy, State
from leanflow.errors import BrokerSetup, BusUnavailable, InvalidRequest, MessageRefused
from leanflow.ports import OutboxRow, Sink
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryBus, MemoryStore
from tests.support.engine import engine, recorder
from tests.support.lean import Lean

SHORT = Policy(bus_timeout=timedelta(milliseconds=50), shutdown_wait=timedelta(milliseconds=100))


class Broker:
    """What a bus may meet: away, stuck for ever, refusing some rows."""

    def __init__(self) -> None:
        self.is_away = self.is_stuck = self.is_incomplete = False
        self.refuses: Callable[[OutboxRow], bool] = lambda _: False
        self.opened = self.published = 0
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
        await self.broker.passing()
        errors = [MessageRefused("bus", "no") if self.broker.refuses(row) else None for row in batch]
        self.broker.rows += [row for row, error in zip(batch, errors, strict=True) if error is None]
        return errors

    async def aclose(self) -> None:
        """Close."""
        self.broker.opened -= 1


@pytest.fixture
def broker() -> Broker:
    """Give a broker."""
    return Broker()


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock."""
    return FakeClock()


@pytest.fixture
def lean(clock: FakeClock) -> Lean:
    """Give a Lean."""
    return Lean(clock)


async def finished(flows: LeanFlow, entity: str = "e") -> str:
    """Make a request that is fetched at once; return its id."""
    request = await flows.request("accounts", entity_id=entity)
    assert request.state is State.fetched
    await flows.tick()
    return request.id


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
        await asyncio.sleep(0.05)
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
