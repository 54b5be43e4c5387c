"""The engine's fixtures for tests that block. Imported by the first test that asks for one of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from leanflow import DataRequest, State
from leanflow.blocking import LeanFlow
from leanflow.testing import FakeClock, FlowsAt, Travel, WatchedFlow
from leanflow_adapters.mockbank import MockbankTransport

__all__ = ["BlockingFlowsAt", "BlockingTravel", "blocking_flow"]


def blocking_flow(settings: dict[str, Any], lean: MockbankTransport, errors: list[BaseException]) -> LeanFlow:
    """Return the blocking face of an engine for tests; webhooks go to it."""
    engine = WatchedFlow(**settings, errors=errors, also=lean)
    lean.receive = engine.receive
    return LeanFlow.over(engine)


class BlockingTravel:
    """`Travel`, for code that blocks."""

    def __init__(self, flows: LeanFlow, clock: FakeClock, lean: MockbankTransport) -> None:
        self._flows = flows
        self._travel = Travel(flows.engine, clock, lean)

    def __call__(self, delta: timedelta | None = None, /, **span: float) -> int:
        """Pass so much time; return how many things were done. As `Travel`."""
        return self._flows.run(lambda _: self._travel(delta, **span))


class BlockingFlowsAt:
    """`FlowsAt`, for code that blocks."""

    def __init__(self, flows: LeanFlow, clock: FakeClock, lean: MockbankTransport) -> None:
        self._flows = flows
        self._flows_at = FlowsAt(flows.engine, clock, lean.bank, lean)

    def __call__(self, state: State | str, **asked: Any) -> DataRequest:
        """Return a request in `state`. As `FlowsAt`."""
        return self._flows.run(lambda _: self._flows_at(state, **asked))
