"""`decide` against the least that could be called a machine: a dict lookup and a new frozen record."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

import attrs
from transitions import Machine

from leanflow import Accepted, DataRequest, Resource, decide
from leanflow._machine import build_machine
from leanflow._policy import Policy
from leanflow._table import TABLE
from leanflow.events import AnsweredReconnect, Event, Prompted, ResultsReady

ROUNDS, CALLS = 7, 10_000
BUDGET = 5.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@attrs.frozen(kw_only=True)
class Record:
    """What a hand-written reducer would keep."""

    id: str
    state: str
    version: int
    updated_at: datetime
    due_at: datetime | None
    results_id: str | None
    reconnect_id: str | None
    attempts: int


REDUCER = {
    ("requested", "answered_reconnect"): "reconnect_required",
    ("reconnect_required", "prompted"): "awaiting_user",
}


def reduce(record: Record, tag: str, at: datetime) -> Record:
    """Look up, and make a new record."""
    return Record(
        id=record.id,
        state=REDUCER[record.state, tag],
        version=record.version + 1,
        updated_at=at,
        due_at=at,
        results_id="r",
        reconnect_id="r",
        attempts=record.attempts,
    )


def per_call(work: Callable[[], object]) -> float:
    """Return seconds per call."""
    start = time.perf_counter()
    for _ in range(CALLS):
        work()
    return (time.perf_counter() - start) / CALLS


def moved(request: DataRequest, event: Event) -> DataRequest:
    """Return the request after an event that it accepts."""
    decision = decide(request, event)
    assert isinstance(decision, Accepted)
    return decision.request


def main() -> None:
    """Print the ratios."""
    floor_record = Record(
        id="1", state="requested", version=0, updated_at=NOW, due_at=NOW, results_id=None, reconnect_id=None, attempts=0
    )
    request = DataRequest(
        id="1", app="a", environment="sandbox", region="uae", api="v2", resource=Resource.accounts, entity_id="e",
        created_at=NOW, updated_at=NOW, place_at=NOW, call_no=1,
    )  # fmt: skip
    demand = AnsweredReconnect(at=NOW, call_no=1, results_id="r", reconnect_id="r", timestamp=NOW)
    needy = moved(request, demand)
    asked = moved(needy, Prompted(at=NOW))
    ready = ResultsReady(at=NOW, type="results.ready", results_id="r")
    stock = build_machine(TABLE, Machine)
    policy = Policy()

    def stock_step() -> None:
        model = type("Model", (), {})()
        stock.add_model(model, initial=request.state)
        model.trigger("answered_reconnect", request, demand, policy)
        stock.remove_model(model)

    works = {
        "floor": lambda: reduce(floor_record, "answered_reconnect", NOW),
        "RECONNECT_REQUIRED": lambda: decide(request, demand),
        "prompt": lambda: decide(needy, Prompted(at=NOW)),
        "results.ready": lambda: decide(asked, ready),
    }
    seen: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            seen[name].append(per_call(work))
    base = median(seen["floor"])
    print(f"decide (microseconds, median of {ROUNDS} interleaved rounds; budget {BUDGET} x)")
    print(f"  floor: a dict lookup and a frozen record of 8 fields {base * 1e6:.2f}")
    for name in list(works)[1:]:
        own = median(seen[name])
        print(f"  {name:20} {own * 1e6:5.2f} = {own / base:.1f} x")
    start = time.perf_counter()
    for _ in range(500):
        stock_step()
    print(f"  peer: stock transitions, model put on and off {(time.perf_counter() - start) / 500 * 1e6:.0f}")


if __name__ == "__main__":
    main()
