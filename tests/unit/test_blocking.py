"""The engine's blocking face: the same methods, from any thread, on one loop in a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leanflow import Change, Handlers, LeanFlow as Engine, State, blocking
from leanflow._transaction import Transaction, settled
from leanflow.errors import InvalidRequest, NotStarted, RequestNotFound, StoreUnavailable, WrongLoop
from leanflow.mockbank import Mockbank
from leanflow.ports import Committed, Step
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport
from tests.support.lean import signed, webhook

OWN = {"close", "engine", "over", "run"}
"""What only the blocking face has."""


class World:
    """An engine behind its blocking face, a Mockbank, and their clock."""

    def __init__(self, handlers: Handlers | None = None, store: Any = None) -> None:
        self.clock = FakeClock()
        self.bank = Mockbank(now=self.clock.now())
        self.lean = MockbankTransport(self.bank, self.clock)
        self.flows = blocking.LeanFlow(
            store=store or MemoryStore(),
            transport=self.lean,
            webhook_secrets=[self.bank.webhook_secret],
            handlers=[handlers] if handlers is not None else [],
            app=self.bank.app,
            clock=self.clock,
            workers=0,
        )
        self.lean.receive = self.flows.engine.receive

    def passes(self, **span: float) -> None:
        """Let time pass."""
        self.flows.run(travel, self.clock, timedelta(**span), also=[self.lean])


@pytest.fixture
def world() -> Iterator[World]:
    """A world that is closed afterwards."""
    made = World()
    yield made
    made.flows.close()


def loops() -> list[threading.Thread]:
    """Return the threads in which engines run."""
    return [thread for thread in threading.enumerate() if thread.name == "leanflow"]


def public(cls: type) -> dict[str, Any]:
    """Return what a class shows."""
    return {name: value for name, value in inspect.getmembers(cls) if not name.startswith("_")}


def test_it_has_all_that_the_engine_has() -> None:
    """Every method and property, and nothing else but what blocking needs."""
    assert public(blocking.LeanFlow).keys() - OWN == public(Engine).keys()


@pytest.mark.parametrize("name", ["__init__", *(n for n, m in public(Engine).items() if inspect.isfunction(m))])
def test_a_method_takes_what_the_engines_takes(name: str) -> None:
    """Names, kinds, defaults and annotations are the same; none is a coroutine function."""
    own, engines = (inspect.signature(getattr(cls, name)).parameters for cls in (blocking.LeanFlow, Engine))
    assert list(own.items()) == list(engines.items())
    method = getattr(blocking.LeanFlow, name)
    assert not inspect.iscoroutinefunction(method)
    assert not inspect.isasyncgenfunction(method)
    assert name in ("__init__", "using") or method.__doc__ == getattr(Engine, name).__doc__


def test_a_whole_reconnect_from_plain_code(world: World) -> None:
    """Request, prompt, OTP, webhooks, results: without an await."""
    entity = world.bank.connect()
    world.bank.expire_session(entity)
    with world.flows as flows:
        request = flows.request("accounts", entity_id=entity, reference="user-17")
        assert request.state is State.reconnect_required
        prompt = flows.prompt(request.id)
        world.bank.submit_otp(prompt.reconnect_id, "1111")
        world.passes(minutes=1)
        assert flows.wait(request.id).state is State.fetched
        assert len(flows.results(request.id).items) == len(world.bank.accounts_of(entity))
        assert [page.number for page in flows.pages(request.id)] == [0]
        assert [found.id for found in flows.find(reference="user-17")] == [request.id]
        assert flows.counts()[State.fetched] == 1


def test_it_is_what_it_stands_before(world: World) -> None:
    """Its properties are the engine's."""
    flows = world.flows
    assert (flows.policy, flows.scope, flows.store, flows.transport) == (
        flows.engine.policy, flows.engine.scope, flows.engine.store, flows.engine.transport,
    )  # fmt: skip
    assert repr(flows).startswith("blocking.LeanFlow(app=")


def test_nothing_starts_before_it_is_used(world: World) -> None:
    """Built cold: the thread comes with the first call, goes with `close`, and comes again with the next."""
    assert loops() == []
    world.flows.counts()
    assert len(loops()) == 1
    world.flows.close()
    world.flows.close()
    assert loops() == []
    assert world.flows.counts()[State.requested] == 0
    assert len(loops()) == 1


def test_threads_share_one_loop(world: World) -> None:
    """Sixteen threads, a hundred requests: none is lost, and one thread runs the engine."""
    entities = [world.bank.connect(f"user-{n}") for n in range(100)]
    ready = threading.Barrier(16)

    def ask(entity: str) -> str:
        if not ready.broken:
            ready.wait()
        return world.flows.request("accounts", entity_id=entity).id

    with ThreadPoolExecutor(16) as threads:
        first = list(threads.map(ask, entities[:16]))
        ready.abort()
        rest = list(threads.map(ask, entities[16:]))
    assert len(loops()) == 1
    assert len({*first, *rest}) == 100
    assert {found.id for found in world.flows.find(state=State.fetched)} == {*first, *rest}


def test_plain_handlers_get_the_blocking_face() -> None:
    """A plain function is called in a thread with what it can use there; a coroutine function with the engine."""
    handlers = Handlers()
    called: list[tuple[Any, bool]] = []

    @handlers.on(State.fetched, name="plain")
    def plain(change: Change, flows: blocking.LeanFlow) -> None:
        called.append((flows, bool(flows.results(change.request.id).items)))

    @handlers.on(State.fetched, name="coroutine")
    async def coroutine(change: Change, flows: Engine) -> None:
        called.append((flows, bool((await flows.results(change.request.id)).items)))

    world = World(handlers)
    with world.flows as flows:
        flows.request("accounts", entity_id=world.bank.connect())
        flows.tick()
    assert sorted(called, key=lambda one: one[0] is flows) == [(flows.engine, True), (flows, True)]


def test_an_error_comes_through_as_it_is(world: World) -> None:
    """The caller gets the engine's error."""
    with pytest.raises(RequestNotFound):
        world.flows.get("nothing")
    with pytest.raises(InvalidRequest, match="entity_id"):
        world.flows.request("accounts", entity_id="")
    with pytest.raises(TimeoutError):
        world.flows.wait(_waiting(world), until={State.fetched}, timeout=0)


def _waiting(world: World) -> str:
    entity = world.bank.connect()
    world.bank.expire_session(entity)
    return world.flows.request("accounts", entity_id=entity).id


def test_who_waits_when_it_is_closed_is_told(world: World) -> None:
    """A thread in `wait` gets NotStarted instead of waiting for ever."""
    request_id = _waiting(world)
    waits = threading.Event()

    async def waiting(engine: Engine) -> None:
        waits.set()
        await engine.wait(request_id, until={State.fetched})

    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(world.flows.run, waiting)
        assert waits.wait(30)
        world.flows.close()
        with pytest.raises(NotStarted):
            waiter.result(30)


class _Held(MemoryStore):
    """A store whose commits come to no end."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    async def commit(self, step: Step) -> Committed:
        """Begin."""
        self.begun.set()
        await asyncio.Event().wait()
        return await super().commit(step)


def test_a_webhook_in_whose_middle_it_is_closed_is_to_come_again() -> None:
    """503, and no traceback in the server's log; the same at the end of the program, when it opens no more."""
    store = _Held()
    world = World(store=store)
    raw = webhook("entity.created", {"id": "e"})
    headers = signed(raw, world.bank.webhook_secret)
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(world.flows.receive, headers, raw)
        assert store.begun.wait(30)
        world.flows._close_for_good()
        assert (sent.result(30).status, sent.result().retry) == (503, True)
    reply = world.flows.receive(headers, raw)
    assert (reply.status, reply.retry) == (503, True)


def test_an_iterator_may_be_left(world: World) -> None:
    """Who stops looking leaves nothing behind that keeps it open."""
    for number in range(3):
        world.flows.request("accounts", entity_id=world.bank.connect(f"user-{number}"))
    found = world.flows.find()
    next(found)
    del found
    world.flows.close()
    assert loops() == []


def test_a_store_without_transactions_joins_none(world: World) -> None:
    """`using` says that it cannot, instead of pretending."""
    with pytest.raises(InvalidRequest, match="MemoryStore joins none that blocks"), world.flows.using(object()):
        pytest.fail("it was taken")


def test_a_transaction_has_all_that_the_engine_s_has() -> None:
    """The transaction that blocks has every method of the one that is awaited, and each takes the same."""
    assert public(blocking.Transaction).keys() == public(Transaction).keys()
    for name, method in public(Transaction).items():
        own = getattr(blocking.Transaction, name)
        assert own.__doc__ == method.__doc__
        assert inspect.signature(own) == inspect.signature(method)
        assert not inspect.iscoroutinefunction(own)
        assert not inspect.isasyncgenfunction(own)


def test_what_waits_is_told_in_a_thread() -> None:
    """A coroutine that waits for a loop, where there is none, is an error and is ended."""
    ended = []

    async def waiting() -> None:
        try:
            await _Never()
        finally:
            ended.append(True)

    with pytest.raises(InvalidRequest, match="waits for something else"):
        settled(waiting())
    assert ended == [True]


class _Never:
    def __await__(self) -> Generator[None, None, None]:
        yield None


class _Unreachable(MemoryStore):
    is_open = False

    async def open(self) -> None:
        raise StoreUnavailable("down")


def test_what_cannot_open_leaves_no_thread() -> None:
    """The error of opening comes to the caller, and the thread is gone."""
    world = World(store=_Unreachable())
    with pytest.raises(StoreUnavailable):
        world.flows.counts()
    assert loops() == []


def test_a_face_is_put_before_an_engine() -> None:
    """An engine made elsewhere is used through `over`."""
    world = World()
    engine = Engine(store=MemoryStore(), transport=world.lean, webhook_secrets=["s"], clock=world.clock, workers=0)
    with blocking.LeanFlow.over(engine) as flows:
        assert flows.engine is engine
        assert flows.health().store_reachable


_SETUP = """
import os
from leanflow import blocking
from leanflow.errors import Forked
from leanflow_adapters.memory import MemoryStore

class Lean:
    async def send(self, call): raise AssertionError(call)
    async def token(self, customer_id): return None
    async def aclose(self): print("closed", flush=True)

flows = blocking.LeanFlow(store=MemoryStore(), transport=Lean(), webhook_secrets=["s"])
"""


def _run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SETUP + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_the_end_of_the_program_closes_it() -> None:
    """Nobody closed it, and yet it does not hang, and what it opened is closed, once."""
    assert _run("flows.counts(); print('used', flush=True)") == ["used", "closed"]


def test_it_may_be_made_before_a_fork() -> None:
    """Made at module level, used in the processes that a server forks."""
    code = "if os.fork() == 0:\n    flows.counts(); print('child', flush=True)\nelse:\n    os.wait(); print('parent')"
    assert _run(code) == ["child", "closed", "parent"]


def test_what_was_used_before_a_fork_is_refused_after_it() -> None:
    """The loop's thread and its connections stayed in the parent: an error, and no hanging."""
    code = (
        "flows.counts()\n"
        "if os.fork() == 0:\n"
        "    try: flows.counts()\n"
        "    except Forked: print('forked', flush=True)\n"
        "else:\n    os.wait(); flows.counts(); print('parent', flush=True)"
    )
    assert _run(code) == ["forked", "parent", "closed"]


def test_an_engine_that_is_closed_may_be_used_after_a_fork() -> None:
    """Who closes it before forking has nothing left behind in the parent."""
    code = (
        "flows.counts(); flows.close()\n"
        "if os.fork() == 0: flows.counts(); print('child', flush=True)\n"
        "else: os.wait(); print('parent', flush=True)"
    )
    assert _run(code) == ["closed", "child", "closed", "parent"]


def test_a_fork_in_the_middle_of_a_start_hangs_nobody() -> None:
    """The child finds the lock taken by a thread that it does not have, and is told instead of waiting for ever."""
    code = (
        "flows._pid = os.getpid(); flows._lock.acquire()\n"
        "if os.fork() == 0:\n"
        "    try: flows.counts()\n"
        "    except Forked: print('forked', flush=True)\n"
        "    os._exit(0)\n"
        "os.wait(); print('parent')"
    )
    assert _run(code) == ["forked", "parent"]


_HANDLED = """
from leanflow import Handlers
from leanflow.mockbank import Mockbank
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.mockbank import MockbankTransport
from leanflow_adapters.sqlite import SQLiteStore
import threading

clock = SystemClock(); bank = Mockbank(now=clock.now())
handlers, begun = Handlers(), threading.Event()

@handlers.on("fetched", name="slow")
def slow(change, flows):
    begun.set()
    for _ in range(20): flows.get(change.request.id)
    print("handled", flush=True)

flows = blocking.LeanFlow(store=SQLiteStore("%s"), transport=MockbankTransport(bank, clock),
                          webhook_secrets=["s"], handlers=[handlers], app=bank.app)
flows.request("accounts", entity_id=bank.connect())
begun.wait()
"""


def test_a_handler_that_runs_at_the_end_of_the_program_finishes(tmp_path: Path) -> None:
    """It may still call the engine, and start threads; nothing hangs, and nothing is logged."""
    assert _run(_HANDLED % (tmp_path / "flows.db")) == ["handled"]


async def test_an_engine_that_somebody_else_has_entered_is_used_where_it_is() -> None:
    """As in ``leanflow worker``: the face calls into that loop from threads, and refuses to wait within it."""
    clock = FakeClock()
    bank = Mockbank(now=clock.now())
    engine = Engine(
        store=MemoryStore(), transport=MockbankTransport(bank, clock), webhook_secrets=["s"], clock=clock, workers=0
    )
    face = blocking.LeanFlow.over(engine)
    async with engine:
        assert (await asyncio.to_thread(face.health)).store_reachable
        with pytest.raises(WrongLoop):
            face.health()
    assert loops() == []
