"""Announcements: at least once to each sink, in order per request, and no sink holds up another. And wakes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leanflow import Answer, Call, Change, DataRequest, Handlers, LeanFlow, Policy, State
from leanflow._relay import LOOKS
from leanflow.errors import CallFailed, InvalidRequest, Livelock, RequestNotFound
from leanflow.ports import OutboxRow
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import StoreMaker, deliver, engine, maker_of, recorder
from tests.support.lean import Lean, answer, webhook

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
        took.append(("created", event.type, type(flows).__name__))

    async with engine(make(), lean, clock, handlers=handlers) as flows:
        await flows.request("accounts", entity_id="e")
        await flows.request("identity", entity_id="e")
        await deliver(flows, *(webhook(kind, {"id": "x"}, event_id=kind) for kind in ("entity.created", "a.b")))
        await flows.tick()
    assert sorted(took) == [("created", "entity.created", "LeanFlow"), ("identities", "identity", "fetched")]


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


# --- wakes -------------------------------------------------------------------------------------------------------


async def _wanting(flows: LeanFlow, lean: Lean, resource: str, entity_id: str = "e") -> DataRequest:
    lean.will(entity_id, "reconnect")
    request = await flows.request(resource, entity_id=entity_id)
    assert request.state is State.reconnect_required
    return request


async def test_one_otp_unblocks_all_requests_of_the_entity(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Proved live by one, the entity's others are placed again with jitter, once; another entity's are not."""
    async with engine(make(), lean, clock) as flows:
        first = await _wanting(flows, lean, "accounts")
        others = [await _wanting(flows, lean, "identity")]
        for number in range(3):
            lean.will("e", "reconnect")
            request = await flows.request("balances", entity_id="e", account_id=f"a{number}")
            others.append(request)
        stranger = await _wanting(flows, lean, "accounts", "f")
        prompted = others[-1]
        await flows.prompt(prompted.id)
        await flows.prompt(first.id)
        lean.reconnect(first.reconnect_id or "")
        await deliver(flows, *lean.take())
        await travel(flows, clock, timedelta(seconds=11))
        for request in (first, *others[:-1]):
            assert (await flows.get(request.id)).state is State.fetched
        held = await flows.get(prompted.id)
        assert held.state is State.awaiting_user
        assert held.entity_live_at is not None
        assert (await flows.get(stranger.id)).version == stranger.version
        await flows.callback(prompted.id, {"status": "CANCELLED"}, prompt=1)
        await travel(flows, clock, timedelta(seconds=1))
        assert (await flows.get(prompted.id)).state is State.fetched
        assert lean.placed["e"] == 5 + 4


async def test_a_bank_that_is_back_wakes_what_it_held(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`bank.availability.updated` with both switches on places what DISABLED_BY_LEAN held, spread out."""
    async with engine(make(), lean, clock) as flows:
        held = []
        for number in range(120):
            lean.will(f"e{number}", "DISABLED_BY_LEAN")
            held.append(await flows.request("accounts", entity_id=f"e{number}"))
        for number, (active, enabled) in enumerate([(True, False), (False, True)]):
            switches = {"active": {"data": active}, "enabled": {"data": enabled}}
            await deliver(
                flows,
                webhook(
                    "bank.availability.updated", {"identifier": "B", "availability": switches}, event_id=str(number)
                ),
            )
        await travel(flows, clock, timedelta(seconds=11))
        assert (await flows.counts())[State.requested] == 120
        switches = {"active": {"data": True}, "enabled": {"data": True}}
        raw = webhook("bank.availability.updated", {"identifier": "B", "availability": switches}, event_id="back")
        await deliver(flows, raw, raw)
        await flows.tick()
        places = {(await flows.get(r.id)).place_at for r in held[:20]}
        assert len(places) > 15
        await travel(flows, clock, timedelta(seconds=11))
        assert (await flows.counts())[State.fetched] == 120


async def test_an_unmatched_reconnect_only_nudges(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """`entity.reconnected` with an id that nobody has moves no request; it has the entity's results looked at soon."""
    async with engine(make(), lean, clock) as flows:
        request = await _wanting(flows, lean, "accounts")
        await deliver(
            flows, webhook("entity.reconnected", {"id": "e", "reconnect_id": "unknown"}, event_id="1", at=clock.now())
        )
        looked = len(lean.calls)
        await travel(flows, clock, timedelta(seconds=11))
        assert len(lean.calls) == looked + 1
        assert (await flows.get(request.id)).state is State.reconnect_required
        assert lean.placed["e"] == 1


@pytest.mark.parametrize("kind", ["entity.updated", "consent.status.updated"])
async def test_a_consent_is_looked_at_before_it_is_taken_for_lost(
    make: StoreMaker, clock: FakeClock, lean: Lean, kind: str
) -> None:
    """The webhook does not say whether it was renewed or revoked: the entity is asked for, until Lean answers."""
    async with engine(make(), lean, clock) as flows:
        lean.will("e", "reconnect")
        request = await flows.request("accounts", entity_id="e", customer_id="c")
        payload = {"id": "e", "entity_id": "e", "customer_id": "c"}
        await deliver(flows, webhook(kind, payload, event_id="renewed"))
        await flows.tick()
        assert await flows.get(request.id) == request
        lean.consent = "REVOKED"
        lean.down = True
        await deliver(flows, webhook(kind, payload, event_id="revoked"))
        await travel(flows, clock, timedelta(seconds=30))
        assert await flows.get(request.id) == request
        lean.down = False
        await travel(flows, clock, timedelta(minutes=6))
        final = await flows.get(request.id)
        assert final.failure is not None
        assert (final.state, final.failure.code, final.failure.remedy) == (State.failed, "CONSENT_EXPIRED", "connect")


async def test_a_refusal_says_nothing_about_the_consent(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """When Lean answers the look at the entity with an HTTP error, it is looked at again later."""
    async with engine(make(), lean, clock) as flows:
        lean.will("e", "reconnect")
        request = await flows.request("accounts", entity_id="e", customer_id="c")
        real = lean._customers
        lean._customers = lambda call: answer({"status": "INTERNAL_SERVER_ERROR"}, 500)  # type: ignore[method-assign]  # noqa: ARG005 - put back below
        lean.consent = "REVOKED"
        await deliver(flows, webhook("entity.updated", {"id": "e", "customer_id": "c"}, event_id="1"))
        await flows.tick()
        assert await flows.get(request.id) == request
        lean._customers = real  # type: ignore[method-assign]  # put back
        await travel(flows, clock, timedelta(seconds=10))
        assert (await flows.get(request.id)).state is State.failed


OUTAGE = timedelta(days=2)
"""Longer than `announce_tries` last with the waits between them, which is some nine hours."""


@pytest.mark.parametrize("status", [None, 408, 429, 503])
async def test_an_outage_of_lean_counts_against_no_look_at_a_consent(
    make: StoreMaker, clock: FakeClock, lean: Lean, caplog: pytest.LogCaptureFixture, status: int | None
) -> None:
    """Without an answer, or one that says to come later, it is looked at until Lean answers, less and less often."""
    async with engine(make(), lean, clock) as flows:
        lean.will("e", "reconnect")
        request = await flows.request("accounts", entity_id="e", customer_id="c")
        real, looks = lean._customers, []

        def away(call: Call) -> Answer:
            looks.append(clock.now())
            if status is None:
                raise CallFailed("connection reset", maybe_sent=True)
            return answer({"status": "ERROR"}, status)

        lean._customers = away  # type: ignore[method-assign]  # put back below
        lean.consent = "REVOKED"
        await deliver(flows, webhook("entity.updated", {"id": "e", "customer_id": "c"}, event_id="1"))
        await travel(flows, clock, OUTAGE)
        [row] = await flows.undelivered()
        assert (row.sink, row.tries, row.set_aside, row.error) == ("wake", 0, False, "CallFailed")
        assert looks[1] - looks[0] < timedelta(seconds=2)
        assert timedelta(minutes=30) <= looks[-1] - looks[-2] < timedelta(minutes=34)
        assert caplog.text.count("Lean is away") == len(looks) > 90
        assert "Traceback" not in caplog.text
        lean._customers = real  # type: ignore[method-assign]  # put back
        await travel(flows, clock, timedelta(minutes=34))
        assert (await flows.get(request.id)).state is State.failed
        assert await flows.undelivered() == ()


async def _checked(flows: LeanFlow, lean: Lean, entities: int) -> None:
    """Have so many entities' consents to be looked at."""
    for number in range(entities):
        lean.will(f"e{number}", "reconnect")
        await flows.request("accounts", entity_id=f"e{number}", customer_id="c")
    for number in range(entities):
        raw = webhook("entity.updated", {"id": f"e{number}", "customer_id": "c"}, event_id=f"{number}")
        await deliver(flows, raw)


async def _nudged(flows: LeanFlow, clock: FakeClock, entity_id: str, event_id: str) -> None:
    """Have an entity's requests woken without a question to Lean."""
    payload = {"id": entity_id, "reconnect_id": "unknown"}
    await deliver(flows, webhook("entity.reconnected", payload, event_id=event_id, at=clock.now()))


async def test_while_lean_is_away_wakes_do_not_wait_for_one_another(clock: FakeClock, lean: Lean) -> None:
    """Of all that would look at an entity few ask Lean; none waits for ever behind one that never gets an answer."""
    entities = 2 * LOOKS
    async with asyncio.timeout(60), engine(MemoryStore(), lean, clock) as flows:
        looks: list[str] = []
        begun = asyncio.Barrier(LOOKS)

        async def away(call: Call) -> None:
            looks.append(call.path)
            if len(looks) <= LOOKS:
                await begun.wait()
            raise CallFailed("no answer within 70 s", maybe_sent=True)

        await _checked(flows, lean, entities)
        lean.before = away
        await flows.tick()
        assert len(looks) == LOOKS
        assert [row.kind for row in await flows.undelivered()] == ["wake"] * entities
        await travel(flows, clock, timedelta(seconds=10))
        assert len(set(looks)) == entities
        lean.before = None
        await travel(flows, clock, timedelta(minutes=34))
        assert await flows.undelivered() == ()


async def test_looks_go_a_few_at_a_time(clock: FakeClock, lean: Lean) -> None:
    """One that Lean answers slowly does not hold up all behind it, and Lean is not asked everything at once."""
    async with asyncio.timeout(60), engine(MemoryStore(), lean, clock) as flows:
        under_way, most = 0, 0
        together = asyncio.Barrier(LOOKS)

        async def slow(_call: Call) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await together.wait()
            under_way -= 1

        await _checked(flows, lean, 3 * LOOKS)
        lean.before = slow
        await flows.tick()
        lean.before = None
        assert most == LOOKS
        assert await flows.undelivered() == ()


async def test_a_worker_looks_at_once(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A wake that asks Lean is begun when it is claimed, and waits for no poll: the clock stands still here."""
    async with asyncio.timeout(60), engine(make(), lean, clock, workers=1) as flows:
        await _checked(flows, lean, 1)
        while await flows.undelivered():
            await asyncio.sleep(0)


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_wake_that_asks_nothing_waits_for_no_look_that_hangs(
    clock: FakeClock, lean: Lean, workers: int
) -> None:
    """It is delivered and off the outbox while Lean leaves a look without an answer, whichever of them came first."""
    async with asyncio.timeout(60), engine(MemoryStore(), lean, clock) as flows:
        await _checked(flows, lean, 1)
    hangs, answers = lean.hold()
    async with asyncio.timeout(60), engine(flows._store, lean, clock, workers=workers, seed=1) as flows:
        await _nudged(flows, clock, "e0", "at once")
        ticking = asyncio.create_task(flows.tick()) if workers == 0 else None
        await hangs.wait()
        await _nudged(flows, clock, "e0", "later")
        if workers == 0:
            await flows._idle_worker._relay.relay("wake")
        while len(left := [row.key for row in await flows.undelivered()]) > 1:
            await asyncio.sleep(0)
        assert left == ["wake:event:0"]
        answers.set()
        if ticking is not None:
            await ticking
        while await flows.undelivered():
            await asyncio.sleep(0)


async def test_a_look_that_lean_refuses_is_set_aside_in_the_end(clock: FakeClock, lean: Lean) -> None:
    """No repeating makes a 403 better: somebody must look, and can send it again."""
    async with engine(MemoryStore(), lean, clock, policy=QUICK) as flows:
        lean.will("e", "reconnect")
        await flows.request("accounts", entity_id="e", customer_id="c")
        lean._customers = lambda call: answer({"status": "FORBIDDEN"}, 403)  # type: ignore[method-assign]  # noqa: ARG005 - of one test
        await deliver(flows, webhook("entity.updated", {"id": "e", "customer_id": "c"}, event_id="1"))
        await travel(flows, clock, timedelta(minutes=1))
        [row] = await flows.undelivered(set_aside=True)
        assert (row.sink, row.tries, row.error) == ("wake", 3, "MalformedBody")


async def test_a_wake_that_was_cut_off_is_finished_and_counts_once(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """A wake is acknowledged after its last target: taken up again, each target still has one step of it."""
    async with engine(make(), lean, clock) as flows:
        first = await _wanting(flows, lean, "accounts")
        others = [await _wanting(flows, lean, "identity")]
        lean.will("e", "reconnect")
        others.append(await flows.request("balances", entity_id="e", account_id="a"))
        await flows.prompt(first.id)
        lean.reconnect(first.reconnect_id or "", ready=False)
        await deliver(flows, *lean.take())
        real = flows._steps.apply
        woken: list[str] = []

        async def dies(request_id: str, event: Any, **more: Any) -> Any:
            if event.tag == "entity_proved_live":
                if woken:
                    raise KeyboardInterrupt
                woken.append(request_id)
            return await real(request_id, event, **more)

        flows._steps.apply = dies  # type: ignore[method-assign]  # put back below
        with pytest.raises(KeyboardInterrupt):
            await flows._idle_worker._relay.relay("wake")
        flows._steps.apply = real  # type: ignore[method-assign]  # put back
        await travel(flows, clock, timedelta(minutes=3))
        for request in others:
            rows = await flows.history(request.id)
            assert [row.tag for row in rows].count("entity_proved_live") == 1
            assert (await flows.get(request.id)).state is State.fetched


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
