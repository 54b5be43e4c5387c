"""An engine's life: built cold, opened, used from its loop, shut down; and its workers on the system's clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leanflow import Call, Change, Handlers, LeanFlow, Policy, State
from leanflow._system import SystemClock
from leanflow.errors import BrokerSetup, InvalidRequest, NotStarted, StoreUnavailable, WrongLoop
from leanflow.events import Cancelled
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import StoreMaker, at_rest, deliver, dump, engine, recorder
from tests.support.lean import Lean
from tests.support.stores import unsteady

COLD = engine(MemoryStore(), Lean(FakeClock()), FakeClock())  # at module level: no loop, no I/O


def _everything(flows: LeanFlow) -> dict[str, Any]:
    return {
        "request": flows.request("accounts", entity_id="e"),
        "get": flows.get("r"),
        "prompt": flows.prompt("r"),
        "connect_prompt": flows.connect_prompt(customer_id="c", permissions=["identity"]),
        "callback": flows.callback("r", {"status": "SUCCESS"}, prompt=1),
        "receive": flows.receive({}, b""),
        "apply": flows.apply(Cancelled(), request_id="r"),
        "results": flows.results("r"),
        "wait": flows.wait("r"),
        "cancel": flows.cancel("r"),
        "renew": flows.renew("r"),
        "history": flows.history("r"),
        "export": flows.export("r"),
        "counts": flows.counts(),
        "health": flows.health(),
        "customer": flows.customer(app_user_id="u"),
        "send": flows.send(Call(method="GET", path="/banks/v1")),
        "reconcile": flows.reconcile(),
        "redeliver": flows.redeliver("k", "s"),
        "undelivered": flows.undelivered(),
        "purge": flows.purge(older_than=timedelta(days=1)),
        "erase": flows.erase(entity_id="e"),
        "tick": flows.tick(),
        "find": anext(flows.find()),
        "pages": anext(flows.pages("r")),
        "using": flows.using(None).__aenter__(),
    }


async def test_every_method_wants_an_open_engine() -> None:
    """Outside `async with` every method raises `NotStarted`, before and after."""
    async with COLD:
        pass
    for name, attempt in _everything(COLD).items():
        with pytest.raises(NotStarted, match=r"inside `async with flows:`, or .* lifespan\(flows\)"):
            await attempt
        assert name


def test_every_method_wants_its_own_loop(tmp_path: Path) -> None:
    """From another loop than the one that entered it, every method raises `WrongLoop`, which names what helps."""
    clock = FakeClock()
    flows = engine(MemoryStore(), Lean(clock), clock)

    async def elsewhere() -> None:
        for attempt in _everything(flows).values():
            with pytest.raises(WrongLoop, match=r"leanflow\.blocking"):
                await attempt

    async def main() -> None:
        async with flows:
            await asyncio.to_thread(asyncio.run, elsewhere())

    asyncio.run(main())
    asyncio.run(main())  # left, it may be entered in another loop


async def test_an_engine_is_entered_once(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Entering an open engine is refused, and does not harm it."""
    async with engine(make(), lean, clock) as flows:
        with pytest.raises(InvalidRequest, match="open already"):
            await flows.__aenter__()
        assert (await flows.request("accounts", entity_id="e")).state is State.fetched


@pytest.mark.parametrize("was_open", [True, False])
async def test_only_what_was_opened_is_closed(make: StoreMaker, clock: FakeClock, was_open: bool) -> None:
    """`async with` opens what is not open and closes that; what was already open stays open."""
    closed = []

    class Transport(Lean):
        is_open = was_open

        async def aclose(self) -> None:
            closed.append(self)

    store = make()
    if was_open:
        await store.open()
    async with engine(store, Transport(clock), clock):
        assert store.is_open
    assert store.is_open is was_open
    assert bool(closed) is not was_open
    await store.aclose()


async def test_a_failed_start_closes_what_it_opened(clock: FakeClock, lean: Lean, tmp_path: Path) -> None:
    """When a bus lacks what no waiting brings the store is closed again, and the engine can be entered later."""

    class Bus:
        name = "bus"
        is_down = True

        async def open(self) -> None:
            if self.is_down:
                raise BrokerSetup("bus", "there is no stream", "make one")

        async def publish(self, batch: list[object]) -> list[None]:
            return [None] * len(batch)

        async def aclose(self) -> None:
            """Close nothing."""

    store, bus, handlers = MemoryStore(), Bus(), Handlers()
    flows = engine(store, lean, clock, bus=bus, handlers=handlers)
    with pytest.raises(BrokerSetup, match="no stream"):
        await flows.__aenter__()
    assert not store.is_open
    bus.is_down = False
    handlers.on(name="later")(_ignore)
    async with flows:
        assert (await flows.request("accounts", entity_id="e")).state is State.fetched


async def _ignore(_subject: object, _flows: LeanFlow) -> None:
    """Want nothing."""


async def test_a_handler_that_comes_too_late_is_refused(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Registering a handler after the engine was entered raises: it would never be called."""
    handlers = Handlers()
    async with engine(make(), lean, clock, handlers=[handlers]):
        for register in (handlers.on(State.fetched), handlers.on_webhook("a.b")):
            with pytest.raises(InvalidRequest, match="too late"):
                register(_ignore)
    handlers.on(State.fetched)(_ignore)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("webhook_secrets", []),
        ("webhook_secrets", [""]),
        ("webhook_secrets", ["good", "  "]),
        ("webhook_secrets", "a string"),
        ("app", ""),
        ("environment", "staging"),
        ("region", "mars"),
        ("api", "v3"),
        ("workers", -1),
    ],
)
def test_a_wrong_setting_is_named(setting: str, value: object) -> None:
    """An empty secret would let everybody in; it and other wrong settings are refused when the engine is built."""
    clock = FakeClock()
    with pytest.raises(InvalidRequest) as caught:
        engine(MemoryStore(), Lean(clock), clock, **{setting: value})  # type: ignore[arg-type]  # wrong
    assert caught.value.parameter == setting


def test_nothing_secret_is_in_a_repr() -> None:
    """An engine's repr names its scope and no secret."""
    assert repr(COLD) == "LeanFlow(app='app', environment='sandbox', region='uae')"


async def test_leaving_waits_for_what_is_in_flight(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A call under way when the engine is left is waited for, and its answer is stored."""
    arrived, go = lean.hold()
    policy = Policy(place_wait=timedelta())
    async with engine(make(), lean, clock, policy=policy) as flows:
        request = await flows.request("accounts", entity_id="e")
        await arrived.wait()
        asyncio.get_running_loop().call_soon(go.set)
    async with engine(make(), lean, clock, seed=1) as flows:
        assert (await flows.get(request.id)).state is State.fetched


async def test_leaving_waits_for_what_a_worker_has_claimed(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A worker's call that was claimed as the engine was being left is made and stored, not cut off."""
    lean.will("e", "pending")
    store = unsteady(make())
    async with engine(store, lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
    lean.finish(request.results_id or "")
    arrived, go = lean.hold()
    claimed = asyncio.Event()
    store.after = lambda name: claimed.set() if name == "claim" else None
    clock.advance(timedelta(minutes=1))
    async with engine(store, lean, clock, seed=1, workers=1) as flows:
        await claimed.wait()
        leaving = asyncio.create_task(flows.__aexit__(None, None, None))
        await arrived.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not leaving.done()
        go.set()
        await leaving
        await flows.__aenter__()
        assert (await flows.get(request.id)).state is State.fetched


async def test_leaving_abandons_what_takes_too_long(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """After `policy.shutdown_wait` a call is left to whoever takes it over when its lease ends."""
    lean.before = lambda _call: asyncio.Event().wait()
    policy = Policy(place_wait=timedelta(), shutdown_wait=timedelta(milliseconds=10))
    async with engine(make(), lean, clock, policy=policy, workers=1) as flows:
        request = await flows.request("accounts", entity_id="e")
    lean.before = None
    async with engine(make(), lean, clock, seed=1) as flows:
        assert (await flows.get(request.id)).state is State.requested
        await travel(flows, clock, flows.policy.lease)
        assert (await flows.get(request.id)).state is State.fetched


async def test_what_is_stored_after_leaving_is_left_to_others(clock: FakeClock, lean: Lean) -> None:
    """An insert that outlasts `policy.shutdown_wait` makes no call on a transport that is closed by then."""
    store = unsteady(MemoryStore())
    policy = Policy(shutdown_wait=timedelta(milliseconds=10))
    async with engine(store, lean, clock, policy=policy) as flows:
        store.gate, store.only = asyncio.Event(), frozenset({"create"})
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        await store.troubled.wait()
        [creating] = flows._placing.creating
    await store.open()
    store.gate.set()
    request = await asking
    assert (await creating).is_new
    assert not flows._placing.under_way
    assert not lean.calls
    await store.aclose()
    store.gate = None
    async with engine(store, lean, clock, seed=1) as flows:
        await travel(flows, clock, flows.policy.lease)
        assert (await flows.get(request.id)).state is State.fetched


@pytest.mark.parametrize("cancels", [1, 2, 50])
async def test_leaving_that_is_cancelled_leaves_nothing_behind(
    make: StoreMaker, clock: FakeClock, lean: Lean, cancels: int
) -> None:
    """However often (cancel scopes cancel in every round of the loop): it waits no longer, and stops and closes all."""
    lean.before = lambda _call: asyncio.Event().wait()
    store = make()
    flows = engine(store, lean, clock, policy=Policy(place_wait=timedelta()), workers=2)
    before = asyncio.all_tasks()
    await flows.__aenter__()
    await flows.request("accounts", entity_id="e")
    leaving = asyncio.create_task(flows.__aexit__(None, None, None))
    for _ in range(cancels):
        await asyncio.sleep(0)
        leaving.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({leaving})
    assert not store.is_open
    assert asyncio.all_tasks() - before <= {leaving}
    async with flows:
        assert await flows.counts()


async def test_a_start_that_fails_late_stops_what_it_started(clock: FakeClock, lean: Lean) -> None:
    """Hints of other processes are asked for last, when the workers run already."""

    class Deaf(MemoryStore):
        async def hear(self, _scope: object, _heard: object) -> None:
            raise StoreUnavailable("no LISTEN here")

    flows = engine(Deaf(), lean, clock, workers=2)
    before = asyncio.all_tasks()
    with pytest.raises(StoreUnavailable):
        await flows.__aenter__()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("workers", [1, 3])
async def test_workers_do_the_whole_loop(tmp_path: Path, workers: int) -> None:
    """On SQLite and the system's clock: request, user, webhooks, fetch, handler, without a `tick`."""
    clock = SystemClock()
    lean, handlers, done = Lean(clock), Handlers(), asyncio.Queue[Change]()

    @handlers.on(State.fetched)
    async def arrived(change: Change, _flows: LeanFlow) -> None:
        done.put_nowait(change)

    lean.will("e", "reconnect")
    store = SQLiteStore(tmp_path / "flows.db")
    async with engine(store, lean, None, handlers=handlers, workers=workers) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert (await flows.health()).worker_alive
        await flows.prompt(request.id)
        lean.reconnect(request.reconnect_id or "")
        async with asyncio.timeout(5):
            waiting = asyncio.create_task(flows.wait(request.id, until=State.ends()))
            await deliver(flows, *lean.take())
            change = await done.get()
            assert (await waiting).state is State.fetched
        assert (change.request.id, change.key) == (request.id, f"{request.id}:5:fetched")
        assert len((await flows.results(request.id)).items) == 1
    assert lean.fetched["e"] == 1


async def test_workers_find_by_polling_what_nobody_told_them(tmp_path: Path) -> None:
    """R31: an event committed by another process, with no hint at all, is handled within a poll."""
    clock, heard = SystemClock(), asyncio.Event()
    lean, handlers = Lean(clock), Handlers()

    @handlers.on(State.cancelled)
    async def gone(_change: Change, _flows: LeanFlow) -> None:
        heard.set()

    lean.will("e", "pending")
    path, policy = tmp_path / "flows.db", Policy(poll=timedelta(milliseconds=50))
    async with (
        engine(SQLiteStore(path), lean, None, handlers=handlers, workers=1, policy=policy),
        engine(SQLiteStore(path), lean, None, seed=1) as other,
    ):
        request = await other.request("accounts", entity_id="e")
        await other.cancel(request.id)
        async with asyncio.timeout(5):
            await heard.wait()


async def test_workers_outlast_an_outage(clock: FakeClock, lean: Lean, make: StoreMaker) -> None:
    """While the store is down the workers wait and go on by themselves; stopping is not held up by it."""
    store, heard = unsteady(make()), recorder()
    async with engine(store, lean, clock, workers=1, handlers=heard.handlers) as flows:
        store.down = True
        clock.advance(timedelta(seconds=2))
        await store.troubled.wait()
        assert (await flows.health()).store_reachable is False
        assert (await flows.health()).worker_alive
        store.down = False
        request = await flows.request("accounts", entity_id="e")
        assert request.state is State.fetched
        clock.advance(flows.policy.poll)
        await at_rest(flows, clock)
        assert heard.states == ["requested", "fetched"]
        store.down = True
        store.troubled.clear()
        clock.advance(timedelta(seconds=2))
        await store.troubled.wait()
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < flows.policy.shutdown_wait.total_seconds()


async def test_work_that_fails_in_a_way_of_its_own_is_not_fatal(
    clock: FakeClock, lean: Lean, make: StoreMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody foresaw is told and waited out; the loops live."""
    store, raised = unsteady(make()), asyncio.Event()

    def fail(name: str) -> None:
        if name == "claim" and not raised.is_set():
            raised.set()
            raise ZeroDivisionError

    store.before = fail
    async with engine(store, lean, clock, workers=1) as flows:
        await raised.wait()
        for _ in range(3):
            clock.advance(timedelta(seconds=1))
            await at_rest(flows, clock)
        assert (await flows.health()).worker_alive
    assert "failed and goes on" in caplog.text


async def test_a_start_reads_nothing_per_waiting_request(clock: FakeClock, lean: Lean, make: StoreMaker) -> None:
    """R21: waiting requests are rows; an engine that starts loads none of them."""
    async with engine(make(), lean, clock) as flows:
        for number in range(50):
            lean.will(f"e{number}", "reconnect")
            await flows.request("accounts", entity_id=f"e{number}")
    clock.advance(timedelta(days=31))
    async with engine(make(), lean, clock, seed=1) as flows:
        assert len(flows._steps._known) == 0
        await flows.tick()
        assert (await flows.counts())[State.expired] == 50


async def test_a_dump_shows_what_was_written(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """The helper that other tests compare stores with sees a request."""
    store = make()
    async with engine(store, lean, clock) as flows:
        before = dump(store)
        await flows.request("accounts", entity_id="e")
        assert dump(store) != before
