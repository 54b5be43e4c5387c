"""The conformance suites in a user's repository: under either plugin that runs coroutines; failures read well."""

from __future__ import annotations

from collections.abc import Callable

import pytest

HEAD = """
import pytest
from leanflow.testing.conformance import (
    BusConformance, FarEnd, Inbox, Published, StoreConformance, TransportConformance, WebhookConformance,
)
from leanflow_adapters.memory import MemoryBus, MemoryStore
from leanflow_adapters.mockbank import MockbankTransport
"""

ADAPTERS = """
from aiohttp import web
from leanflow_adapters.web.aiohttp import add_webhook


class TestStore(StoreConformance):
    durable = False

    @pytest.fixture
    async def store(self):
        store = MemoryStore()
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, store):
        async def reopen():
            other = store.reopen()
            await other.open()
            return other

        return reopen


class TestTransport(TransportConformance):
    networked = False

    @pytest.fixture
    def build(self, bank, clock):
        return lambda timeout=60.0: MockbankTransport(bank, clock, timeout=timeout)


class TestBus(BusConformance):
    refuses = False
    loses_broker = False
    hangs = False

    @pytest.fixture
    async def bus(self):
        bus = MemoryBus()
        await bus.open()
        yield bus
        await bus.aclose()

    @pytest.fixture
    def messages(self, bus):
        async def messages():
            return [Published.of(row) for row in bus.rows]

        return messages


class TestWebhook(WebhookConformance):
    @pytest.fixture
    async def url(self, inbox):
        app = web.Application()
        add_webhook(app, "/lean", inbox, max_body=self.max_body, body_timeout=self.body_timeout)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/lean"
        await runner.cleanup()
"""

ANYIO = """
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

LOSES = """
class Loses(MemoryStore):
    async def history(self, scope, request_id):
        return [*await super().history(scope, request_id)][:1]


class TestStore(StoreConformance):
    durable = False

    @pytest.fixture
    async def store(self):
        store = Loses()
        await store.open()
        yield store
        await store.aclose()
"""

ASYNCIO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
PLUGINS = {
    "pytest-asyncio": ((*ASYNCIO, "-p", "no:anyio"), ""),
    "anyio": (("-p", "no:asyncio"), ANYIO),
}


@pytest.mark.usefixtures("run")  # keeps byte code between runs
@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_suites_run_under_either_plugin(pytester: pytest.Pytester, plugin: str) -> None:
    """The four suites pass on whole adapters under pytest-asyncio in auto mode and under anyio's plugin alike."""
    options, more = PLUGINS[plugin]
    pytester.makepyfile(HEAD + more + ADAPTERS)
    done = pytester.runpytest_subprocess("-q", "-W", "error", *options)
    outcomes = done.parseoutcomes()
    assert set(outcomes) <= {"passed", "skipped"}
    assert outcomes["passed"] > 150


def test_a_failure_inside_a_suite_shows_its_values(run: Callable[..., str]) -> None:
    """With nothing in a conftest, a failing test of a suite shows what was compared, as one's own tests do."""
    chosen = (*ASYNCIO, "-k", "test_a_second_step_is_stored_after_the_first")
    printed = run(*chosen, head=HEAD, modules=[LOSES], failed=1)
    assert "assert [0] == [0, 1, 2, 3, 4, 5]" in printed


def test_without_the_plugin_it_would_not(run: Callable[..., str]) -> None:
    """It is the plugin that switches this on: without it the same failure is bare."""
    chosen = (*ASYNCIO, "-k", "test_a_second_step_is_stored_after_the_first", "-p", "no:leanflow")
    printed = run(*chosen, head=HEAD, modules=[LOSES], failed=1)
    assert "AssertionError" in printed
    assert "assert [0] ==" not in printed
