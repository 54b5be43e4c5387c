"""When a test fails, what happened to the requests that it touched: their timelines, as a section of the report."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from . import _watch

if TYPE_CHECKING:
    from leanflow import DataRequest, Event, Policy
    from leanflow._effects import Decision

__all__ = ["pytest_runtest_call", "pytest_runtest_makereport", "pytest_runtest_protocol"]

REQUESTS = 10
"""Timelines that a report has at most; more would bury the failure."""

STEPS = 2000
"""Steps of a test that are kept, the latest: a simulation may take millions."""

_SEEN = pytest.StashKey["_Seen"]()


class _Seen:
    """The steps of one test."""

    def __init__(self) -> None:
        self.steps: deque[tuple[DataRequest, Event, Decision]] = deque(maxlen=STEPS)
        self.is_watching = False

    def begin(self) -> None:
        """Watch, if there is anything to watch."""
        if not self.is_watching and _watch.is_loaded():
            _watch.begin(self.see)
            self.is_watching = True

    def end(self) -> None:
        """Watch no more."""
        if self.is_watching:
            _watch.end(self.see)
            self.is_watching = False

    def see(self, request: DataRequest, event: Event, decision: Decision, _policy: Policy) -> None:
        """Keep one step."""
        self.steps.append((request, event, decision))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Watch a test, its fixtures included."""
    seen = item.stash[_SEEN] = _Seen()
    seen.begin()
    try:
        return (yield)
    finally:
        seen.end()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Watch a test whose fixtures were the first to import leanflow."""
    item.stash[_SEEN].begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the timelines to the report of a failure."""
    report = yield
    seen = item.stash.get(_SEEN, None)
    if report.failed and seen is not None and seen.steps:
        report.sections.append(("leanflow requests", _timelines(seen)))
    return report


def _timelines(seen: _Seen) -> str:
    from leanflow._effects import Accepted
    from leanflow._step_rows import creation_history, history_of
    from leanflow.ports import HistoryEntry
    from leanflow.testing._timeline import timeline

    records: dict[str, DataRequest] = {}
    rows: dict[str, list[HistoryEntry]] = {}
    for request, event, decision in seen.steps:
        after = decision.request if isinstance(decision, Accepted) else None
        records[request.id] = after or request
        own = rows.setdefault(request.id, [])
        if request.version == 0 and not own:
            own.append(creation_history(request, f"created:{request.id}"))
        own.append(history_of(request, after, event, decision))
    shown = [timeline(records[name], rows[name]) for name in islice(rows, REQUESTS)]
    if len(rows) > REQUESTS:
        shown.append(f"and {len(rows) - REQUESTS} more requests")
    return "\n\n".join(shown)
