"""The fixtures. Each can be overridden by one of the same name in a ``conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ._running import ENGINES, ERRORS

if TYPE_CHECKING:
    from leanflow import Handlers, LeanFlow, blocking
    from leanflow.mockbank import Mockbank
    from leanflow.ports import Store
    from leanflow.testing import ChangeAt, FakeClock, FlowsAt, Signer, Travel
    from leanflow_adapters.mockbank import MockbankTransport

    from ._blocking import BlockingFlowsAt, BlockingTravel


# --- parts of an engine ------------------------------------------------------------------------------------------


@pytest.fixture
def leanflow_clock() -> FakeClock:
    """The clock that engine and Mockbank go by; it stands still until it is moved."""
    from leanflow.testing import FakeClock

    return FakeClock()


@pytest.fixture
def leanflow_store() -> Store:
    """Where the engine keeps everything: in memory. Override it with a store on a database of yours."""
    from leanflow_adapters.memory import MemoryStore

    return MemoryStore()


@pytest.fixture
def leanflow_handlers() -> Handlers:
    """Who is to hear of what: nobody. Override it with the handlers under test, one set or a list of them."""
    from leanflow import Handlers

    return Handlers()


@pytest.fixture
def mockbank(leanflow_clock: FakeClock) -> Mockbank:
    """The simulated Lean, with its banks and users. Override it for another region: ``Mockbank(region="ksa")``."""
    from leanflow.mockbank import Mockbank

    return Mockbank(now=leanflow_clock.now())


@pytest.fixture
def leanflow_transport(mockbank: Mockbank, leanflow_clock: FakeClock) -> MockbankTransport:
    """How the engine calls `mockbank`, in this process; its attribute `receive` says where webhooks go."""
    from ._parts import transport

    return transport(mockbank, leanflow_clock)


@pytest.fixture
def leanflow_settings(
    leanflow_store: Store, leanflow_transport: MockbankTransport, leanflow_handlers: Any, leanflow_clock: FakeClock
) -> dict[str, Any]:
    """The arguments of the engine. Override it to change some: ``return {**leanflow_settings, "api": "v1"}``."""
    from ._parts import settings

    return settings(leanflow_store, leanflow_transport, leanflow_handlers, leanflow_clock)


@pytest.fixture
def leanflow_errors(request: pytest.FixtureRequest) -> list[BaseException]:
    """What was raised where no caller gets it: in handlers, and in tasks of the engine.

    What is left in it at the end fails the test. A test that expects something takes it out.
    """
    errors: list[BaseException] = request.node.stash.setdefault(ERRORS, [])
    return errors


# --- engines -----------------------------------------------------------------------------------------------------


@pytest.fixture
def flows(
    request: pytest.FixtureRequest,
    leanflow_settings: dict[str, Any],
    leanflow_transport: MockbankTransport,
    leanflow_errors: list[BaseException],
) -> Iterator[LeanFlow]:
    """An engine without workers: `travel` and `tick` do what is due. It opens itself on the loop of the test.

    Its time stands still, for the timeout of `flows.wait` as well: travel first, then look.
    """
    from leanflow.testing import OnDemandFlow

    engine = OnDemandFlow(**leanflow_settings, errors=leanflow_errors, also=leanflow_transport)
    leanflow_transport.receive = engine.receive
    request.node.stash.setdefault(ENGINES, []).append(engine)
    yield engine
    engine.close_from_outside()


@pytest.fixture
def travel(flows: LeanFlow, leanflow_clock: FakeClock, leanflow_transport: MockbankTransport) -> Travel:
    """The passing of time on `leanflow_clock`.

    ``await travel(days=3)`` stops at each moment at which the engine or Mockbank has something to do.
    """
    from leanflow.testing import Travel

    return Travel(flows, leanflow_clock, leanflow_transport)


@pytest.fixture
def flows_at(
    flows: LeanFlow, leanflow_clock: FakeClock, mockbank: Mockbank, leanflow_transport: MockbankTransport
) -> FlowsAt:
    """Requests that are in a state already.

    ``await flows_at(State.awaiting_user)`` returns one.
    """
    from leanflow.testing import FlowsAt

    return FlowsAt(flows, leanflow_clock, mockbank, leanflow_transport)


# --- the same for tests that block -------------------------------------------------------------------------------


@pytest.fixture
def blocking_flows(
    request: pytest.FixtureRequest,
    leanflow_settings: dict[str, Any],
    leanflow_transport: MockbankTransport,
    leanflow_errors: list[BaseException],
) -> Iterator[blocking.LeanFlow]:
    """The same engine for plain functions, as Django's views are: `leanflow.blocking`, without workers."""
    if "flows" in request.fixturenames:
        pytest.fail("a test has flows, travel and flows_at, or blocking_flows, blocking_travel and blocking_flows_at")
    from ._blocking import blocking_flow

    with blocking_flow(leanflow_settings, leanflow_transport, leanflow_errors) as engine:
        yield engine


@pytest.fixture
def blocking_travel(
    blocking_flows: blocking.LeanFlow, leanflow_clock: FakeClock, leanflow_transport: MockbankTransport
) -> BlockingTravel:
    """The passing of time, as `travel`, for tests that block."""
    from ._blocking import BlockingTravel

    return BlockingTravel(blocking_flows, leanflow_clock, leanflow_transport)


@pytest.fixture
def blocking_flows_at(
    blocking_flows: blocking.LeanFlow, leanflow_clock: FakeClock, leanflow_transport: MockbankTransport
) -> BlockingFlowsAt:
    """Requests that are in a state already, as `flows_at`, for tests that block."""
    from ._blocking import BlockingFlowsAt

    return BlockingFlowsAt(blocking_flows, leanflow_clock, leanflow_transport)


# --- a handler's argument, without an engine ---------------------------------------------------------------------


@pytest.fixture
def change_at(leanflow_settings: dict[str, Any]) -> ChangeAt:
    """What a handler is called with, as ``change_at(State.failed, code="BANK_ISSUE")``."""
    from ._parts import changes

    return changes(leanflow_settings)


@pytest.fixture
def webhook(mockbank: Mockbank, leanflow_clock: FakeClock) -> Signer:
    """Webhooks, signed with Mockbank's secret, as ``webhook("entity.created", {"id": "e-1"})``."""
    from leanflow.testing import Signer

    return Signer(mockbank.webhook_secret, leanflow_clock.now)
