"""The plugin's fixtures under each way to run tests, in runs of pytest as users have them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., str]

AUTO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
STRICT = ("-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function")
ANYIO = ("-p", "no:asyncio")
PLAIN = ("-p", "no:asyncio", "-p", "no:anyio")

_PYTEST_ASYNCIO = "import pytest_asyncio; fixture = pytest_asyncio.fixture"
_ANYIO = """
pytestmark = pytest.mark.anyio
fixture = pytest.fixture

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
RUNNERS = {
    "pytest-asyncio, auto": (AUTO, _PYTEST_ASYNCIO),
    "pytest-asyncio, strict": (STRICT, "pytestmark = pytest.mark.asyncio\n" + _PYTEST_ASYNCIO),
    "anyio": (ANYIO, _ANYIO),
}
"""How coroutine tests are run: options, and what stands at the top of a module."""

LOOP = """
async def test_a_user_comes_back_and_another_never_does(flows, mockbank, travel):
    back, gone = mockbank.connect("user-1"), mockbank.connect("user-2")
    mockbank.expire_session(back), mockbank.expire_session(gone)
    first = await flows.request(Resource.accounts, entity_id=back)
    second = await flows.request(Resource.accounts, entity_id=gone)
    await travel(days=3)
    mockbank.submit_otp((await flows.prompt(first.id)).reconnect_id, "1111")
    await travel(minutes=1)
    assert (await flows.get(first.id)).state is State.fetched
    await travel(days=30)
    assert (await flows.get(second.id)).state is State.expired
"""

IN_FIXTURES = """
@fixture
async def wanted(flows, mockbank):
    entity = mockbank.connect()
    mockbank.expire_session(entity)
    request = await flows.request("accounts", entity_id=entity)
    yield request
    assert (await flows.get(request.id)).state is State.awaiting_user

async def test_it(flows, wanted):
    assert (await flows.prompt(wanted.id)).number == 1

class TestInAClass:
    async def test_it(self, wanted, flows):
        assert (await flows.prompt(wanted.id)).number == 1

@pytest.mark.parametrize("state", State)
async def test_each_state(flows_at, flows, state):
    request = await flows_at(state)
    assert (await flows.get(request.id)).state is state
"""

ENTERED = """
async def test_an_application_takes_it_over(flows, flows_at, travel):
    request = await flows_at("awaiting_user")
    async with flows:
        await travel(days=1)
    assert (await flows.get(request.id)).state is State.reconnect_required
"""

ON_DISK = """
import threading
from leanflow_adapters.sqlite import SQLiteStore

@pytest.fixture
def leanflow_store(tmp_path):
    store = SQLiteStore(tmp_path / "flows.db")
    yield store
    assert not store.is_open
    for thread in threading.enumerate():  # a driver's thread says that it has closed a moment before it ends
        if thread is not threading.main_thread():
            thread.join(10)
    assert threading.active_count() == 1

async def test_it(flows_at, flows):
    request = await flows_at("awaiting_user")
    assert flows.store.is_open
    assert [row.to_state for row in await flows.history(request.id)][-1] == "awaiting_user"
"""


@pytest.mark.parametrize("runner", RUNNERS)
def test_coroutine_tests_run_under_each_runner(run: Run, runner: str) -> None:
    """The engine opens on the test's loop and closes there: in tests, in fixtures, in classes, entered, on disk."""
    options, top = RUNNERS[runner]
    modules = [f"{top}\n{source}" for source in (LOOP, IN_FIXTURES, ENTERED, ON_DISK)]
    run(*options, modules=modules, passed=1 + 2 + 9 + 1 + 1)


BLOCKING = """
def test_the_loop(blocking_flows, mockbank, blocking_travel):
    entity = mockbank.connect()
    mockbank.expire_session(entity)
    request = blocking_flows.request(Resource.accounts, entity_id=entity)
    prompt = blocking_flows.prompt(request.id)
    blocking_travel(days=3)
    mockbank.submit_otp(prompt.reconnect_id, "1111")
    blocking_travel(minutes=1)
    assert blocking_flows.results(request.id).items

@pytest.mark.parametrize("state", State)
def test_each_state(blocking_flows_at, blocking_flows, state):
    request = blocking_flows_at(state)
    assert blocking_flows.get(request.id).state is state

def test_parts_and_arguments(change_at, webhook, leanflow_clock, leanflow_store, mockbank, leanflow_handlers):
    assert change_at(State.failed, code="BANK_ISSUE").request.failure.code == "BANK_ISSUE"
    assert webhook("entity.created").event.type == "entity.created"
"""

BY_HAND = """
import asyncio

def test_two_loops_one_after_the_other(flows, mockbank):
    request = asyncio.run(flows.request("accounts", entity_id=mockbank.connect()))
    assert asyncio.run(flows.get(request.id)) == request

def test_an_application_enters_it(flows, mockbank):
    asyncio.run(flows.counts())

    async def serve():
        async with flows:
            return await flows.request("accounts", entity_id=mockbank.connect())
    assert asyncio.run(serve()).state is State.fetched
"""


@pytest.mark.parametrize("options", [AUTO, STRICT, ANYIO, PLAIN], ids=["auto", "strict", "anyio", "plain"])
def test_plain_tests_have_the_same(run: Run, options: tuple[str, ...]) -> None:
    """With no plugin for coroutines, and beside each of them; also with loops of the test's own."""
    run(*options, modules=[BLOCKING, BY_HAND], passed=1 + 9 + 1 + 2)


BOTH = """
def test_it(blocking_flows, travel):
    pass
"""


def test_both_engines_at_once_are_refused(run: Run) -> None:
    """Two engines on one store in memory would be two threads on one dict."""
    said = run(*PLAIN, modules=[BOTH], errors=1)
    assert "a test has flows, travel and flows_at, or blocking_flows" in said


FAILING = """
handlers = Handlers()

@handlers.on(State.fetched)
async def arrived(change, flows):
    raise ValueError("the handler's own")

@handlers.on(State.reconnect_required)
def wanted(change, flows):
    raise ValueError("the plain handler's own")

@pytest.fixture
def leanflow_handlers():
    return handlers

async def test_passes_but_for_its_handler(flows_at, travel):
    await flows_at("fetched")
    await travel(seconds=1)

async def test_fails_by_itself(flows_at, travel):
    await flows_at("reconnect_required")
    await travel(seconds=1)
    assert 1 == 2

async def test_expects_it(flows_at, travel, leanflow_errors):
    await flows_at("fetched")
    await travel(seconds=1)
    assert str(leanflow_errors.pop()) == "the handler's own"

def test_blocking_is_watched_too(blocking_flows_at, blocking_travel):
    blocking_flows_at("reconnect_required")
    blocking_travel(seconds=1)
"""


def test_what_fails_in_the_background_fails_the_test(run: Run) -> None:
    """A handler's exception is shown with its traceback, though the engine would only call again; unless expected."""
    said = run(*AUTO, modules=[FAILING], failed=3, passed=1)
    assert "ValueError: the handler's own" in said
    assert 'raise ValueError("the plain handler' in said
    assert 'In the background: ValueError("the plain handler\'s own")' in said


BROKEN_STORE = """
from leanflow_adapters.memory import MemoryStore

class Broken(MemoryStore):
    async def commit(self, step):
        raise RuntimeError("a fault of the store's own")

@pytest.fixture
def leanflow_store():
    return Broken()

async def test_it(flows, mockbank):
    request = await flows.request("accounts", entity_id=mockbank.connect())
    assert request.state is State.requested
"""


def test_a_task_of_the_engine_that_dies_fails_the_test(run: Run) -> None:
    """Nobody awaits the call that `request` has started, and yet it does not die unseen."""
    assert "RuntimeError: a fault of the store's own" in run(*AUTO, modules=[BROKEN_STORE], failed=1)


NOT_USED = """
import sys

def test_it():
    loaded = [name for name in sys.modules if name.startswith(("leanflow", "hypothesis", "anyio", "aiohttp", "attr"))]
    plugin = "leanflow_adapters.pytest_plugin"
    assert plugin in loaded
    assert [name for name in loaded if not name.startswith(plugin)] == ["leanflow_adapters"]
"""


def test_a_suite_that_does_not_use_it_loads_next_to_nothing(run: Run) -> None:
    """The plugin's own modules of fixtures and hooks: no engine, no simulator, no library."""
    run(*PLAIN, head="", modules=[NOT_USED], passed=1)


OFF = """
def test_it(request):
    assert not request.config.pluginmanager.has_plugin("leanflow")
    with pytest.raises(pytest.FixtureLookupError):
        request.getfixturevalue("mockbank")
"""


def test_it_can_be_switched_off(run: Run) -> None:
    """With ``-p no:leanflow``, as any plugin."""
    run(*PLAIN, "-p", "no:leanflow", modules=[OFF], passed=1)
