"""Announcements: at least once to each sink, in order per request, and no sink holds up another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leanflow import Change, Handlers, LeanFlow, Policy, State
from leanflow.errors import InvalidRequest, Livelock, RequestNotFound
from leanflow.ports import OutboxRow
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import StoreMaker, deliver, engine, maker_of, recorder
from tests.support.lean import Lean, webhook

QUICK = Policy(announce_backoff=(timedelta(seconds=1),), announce_tries=3)


class Bus:
    """A bus that may be down."""

    def __init__(self, name: str = "bus") -> None:
        self.name = name
        self.rows: list[OutboxRow] = []
        self.opened = 0
        self.down = False

    async def open(self) -> None:
        """Connect to nothing."""
        self.opened += 1

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Take everything, or raise."""
        if self.down:
            raise ConnectionError("down")
        self.rows += batch
        return [None] * len(batch)

    async def aclose(self) -> None:
        """Disconnect."""
        self.opened -= 1


def failing(times: int, name: str = "failing") -> tuple[Handlers, list[Change]]:
    """Return a handler that raises so many times, and what it took."""
    handlers, took, left = Handlers(), [], [times]

    @handlers.on(name=name)
    async def take(change: Change, _flows: LeanFlow) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise RuntimeError("not now")
        took.append(change)

    return handlers, took


async def test_a_failing_sink_holds_up_no_other(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A handler that fails and a bus that is down lose nothing and delay nobody; then they get it in order."""
    heard, bus = recorder(), Bus()
    broken, took = failing(2)
    bus.down = True
    async with engine(make(), lean, clock, handlers=[heard.handlers, broken], bus=bus, policy=QUICK) as flows:
        request = await flows.request("accounts", entity_id="e")
        await flows.tick()
        assert heard.states == ["requested", "fetched"]
        assert (took, bus.rows) == ([], [])
        assert set((await flows.health()).sinks) >= {"failing", "bus"}
        await travel(flows, clock, timedelta(seconds=2))
        bus.down = False
        await travel(flows, clock, timedelta(seconds=4))
        expected = [f"{request.id}:0:requested", f"{request.id}:1:fetched"]
        assert [change.key for change in took] == [row.key for row in bus.rows] == expected
        assert await flows.undelivered() == ()


async def test_a_poison_announcement_is_set_aside_and_redelivered(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """R15: after `announce_tries` it is set aside, visibly; those behind go on, flagged; `redeliver` sends it."""
    broken, took = failing(3)
    async with engine(make(), lean, clock, handlers=broken, policy=QUICK) as flows:
        request = await flows.request("accounts", entity_id="e")
        await travel(flows, clock, timedelta(seconds=10))
        assert [(change.to_state, change.out_of_order) for change in took] == [(State.fetched, True)]
        [row] = await flows.undelivered(set_aside=True)
        assert (row.key, row.sink, row.tries, row.error) == (f"{request.id}:0:requested", "failing", 3, "RuntimeError")
        assert (await flows.health()).sinks["failing"].set_aside == 1
        await flows.redeliver(row.key, "failing")
        await flows.tick()
        assert [change.to_state for change in took] == [State.fetched, State.requested]
        assert await flows.undelivered() == ()
        with pytest.raises(RequestNotFound, match="set aside"):
            await flows.redeliver(row.key, "failing")


async def test_a_handler_that_fails_again_and_again_is_logged_shortly(
    make: StoreMaker, clock: FakeClock, lean: Lean, caplog: pytest.LogCaptureFixture
) -> None:
    """With its traceback at the first try, at one that fails in another way, and at the last; else in one line."""
    handlers, errors = Handlers(), iter([OSError, OSError, OSError, ValueError, ValueError, ValueError])

    @handlers.on(State.fetched, name="fails")
    async def fail(_change: Change, _flows: LeanFlow) -> None:
        raise next(errors)

    policy = Policy(announce_backoff=(timedelta(seconds=1),), announce_tries=6)
    async with engine(make(), lean, clock, handlers=handlers, policy=policy) as flows:
        await flows.request("accounts", entity_id="e")
        await travel(flows, clock, timedelta(seconds=10))
    told = [record for record in caplog.records if record.name == "leanflow.outbox"]
    assert [(record.__dict__["tries"], record.getMessage()) for record in told if record.exc_info] == [
        (1, "fails raised OSError"),
        (4, "fails raised ValueError"),
        (6, "fails raised ValueError"),
    ]
    short = [
        (record.__dict__["tries"], record.levelname, record.getMessage()) for record in told if not record.exc_info
    ]
    again = "fails did not take an announcement ({}): will be tried again"
    assert short == [
        *((tries, "WARNING", again.format("OSError")) for tries in (1, 2, 3)),
        *((tries, "WARNING", again.format("ValueError")) for tries in (4, 5)),
        (6, "ERROR", "fails did not take an announcement (ValueError): set aside; redeliver() brings it back"),
    ]


async def test_a_handler_that_is_not_here_loses_nothing(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Names are kept in the store: a process without the handler makes rows for it, and one that has it delivers."""
    heard = recorder()
    async with engine(make(), lean, clock, handlers=heard.handlers):
        pass
    async with engine(make(), lean, clock, seed=1) as other:
        await other.request("accounts", entity_id="e")
        await travel(other, clock, timedelta(hours=1))
        assert len(await other.undelivered()) == 2
    async with engine(make(), lean, clock, handlers=heard.handlers, seed=2) as flows:
        await flows.tick()
        assert heard.states == ["requested", "fetched"]


async def test_a_handler_that_comes_later_hears_from_then_on(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A new name gets what happens after it was first made known; the other engine makes rows for it at once."""
    heard = recorder()
    async with engine(make(), lean, clock) as old:
        await old.request("accounts", entity_id="before")
        async with engine(make(), lean, clock, handlers=heard.handlers, seed=1) as new:
            request = await old.request("accounts", entity_id="after")
            await new.tick()
            assert [change.request.id for change in heard.changes] == [request.id] * 2


async def test_handlers_get_what_they_asked_for(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Filters by state, resource and webhook type; a plain function runs in a thread."""
    handlers, took = Handlers(), []

    @handlers.on(State.fetched, resource="identity", name="identities")
    async def one(change: Change, _flows: LeanFlow) -> None:
        took.append(("identities", change.request.resource.value, change.to_state.value))

    @handlers.on_webhook("entity.created", name="created")
    def two(event: Any, flows: LeanFlow) -> None:
        assert threading.current_thread() is not threading.main_thread()
        took.append(("created", event.type, flows.scope.app))

    async with engine(make(), lean, clock, handlers=handlers) as flows:
        await flows.request("accounts", entity_id="e")
        await flows.request("identity", entity_id="e")
        await deliver(flows, *(webhook(kind, {"id": "x"}, event_id=kind) for kind in ("entity.created", "a.b")))
        await flows.tick()
    assert sorted(took) == [("created", "entity.created", flows.scope.app), ("identities", "identity", "fetched")]


async def test_what_a_handler_does_is_done_in_the_same_tick(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A handler gets the engine; what it causes is done before `tick` returns."""
    handlers = Handlers()

    @handlers.on(State.fetched, resource="accounts")
    async def accounts_came(change: Change, flows: LeanFlow) -> None:
        await flows.request("identity", entity_id=change.request.entity_id, key=change.key)

    async with engine(make(), lean, clock, handlers=handlers) as flows:
        await flows.request("accounts", entity_id="e")
        await flows.tick()
        assert sorted([r.resource.value async for r in flows.find(state=State.fetched)]) == ["accounts", "identity"]


async def test_a_handler_whose_wait_is_cancelled_is_tried_again(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A handler that raises `CancelledError` of its own fails like any other; the relay goes on."""
    handlers, tries = Handlers(), []

    @handlers.on(State.fetched, name="impatient")
    async def take(change: Change, _flows: LeanFlow) -> None:
        tries.append(change.key)
        if len(tries) == 1:
            raise asyncio.CancelledError

    async with engine(make(), lean, clock, handlers=handlers, policy=QUICK) as flows:
        await flows.request("accounts", entity_id="e")
        await travel(flows, clock, timedelta(seconds=3))
    assert len(tries) == 2
    assert len(set(tries)) == 1


async def test_a_crash_after_delivery_delivers_again_under_the_same_key(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """At least once: a process that died between the handler and the mark leaves the row to the next, same key."""
    heard = recorder()
    async with engine(make(), lean, clock, handlers=heard.handlers) as flows:
        request = await flows.request("accounts", entity_id="e")
        rows = await flows._store.claim_outbox(
            flows._scope, sinks=["recorder"], owner="dead", now=clock.now(), lease=90, limit=10
        )
        assert [row.key for row in rows] == [f"{request.id}:0:requested"]
        await flows.tick()
        assert heard.keys == []
        await travel(flows, clock, timedelta(seconds=90))
        assert heard.keys == [f"{request.id}:0:requested", f"{request.id}:1:fetched"]


async def test_a_livelock_is_named(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A handler that always causes more work makes `tick` raise, with a request's id."""
    handlers = Handlers()

    @handlers.on(State.fetched, name="more")
    async def more(change: Change, flows: LeanFlow) -> None:
        await flows.request("accounts", entity_id=change.key)

    lean_one = lean
    async with engine(make(), lean_one, clock, handlers=handlers) as flows:
        import leanflow._flows as module

        rounds = module.TICK_ROUNDS
        try:
            module.TICK_ROUNDS = 20
            await flows.request("accounts", entity_id="e")
            with pytest.raises(Livelock) as caught:
                await flows.tick()
        finally:
            module.TICK_ROUNDS = rounds
        assert caught.value.rounds == 20
        assert (await flows.get(caught.value.request_id or "")).entity_id.endswith("fetched")


def test_a_sink_s_name_is_its_own() -> None:
    """`wake` is reserved, and two sinks of one name are refused before anything is opened."""
    clock = FakeClock()
    for bus in (Bus("wake"), Bus("recorder")):
        with pytest.raises(InvalidRequest, match="another sink"):
            engine(maker_of("memory", Path())(), Lean(clock), clock, handlers=recorder().handlers, bus=bus)


class Together(MemoryStore):
    """Stores that announcements failed only once it is told of ten."""

    def __init__(self) -> None:
        super().__init__()
        self._ten = asyncio.Barrier(10)

    async def undelivered(self, *place: Any, **more: Any) -> None:
        """As the other, all at once."""
        await self._ten.wait()
        await super().undelivered(*place, **more)


async def test_what_failed_is_stored_all_at_once(clock: FakeClock, lean: Lean) -> None:
    """Ten that a handler refuses take one round trip, not ten: those behind them need not wait so long."""
    handlers = Handlers()

    @handlers.on(name="refuses")
    async def refuse(_change: Change, _flows: LeanFlow) -> None:
        raise RuntimeError("no")

    async with asyncio.timeout(60), engine(Together(), lean, clock, handlers=handlers) as flows:
        for number in range(10):
            await flows.request("accounts", entity_id=f"e{number}")
        await flows.tick()
        assert [row.tries for row in await flows.undelivered()].count(1) == 10
