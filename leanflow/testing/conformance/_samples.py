"""Values for the suites: requests, steps and announcements that differ only in what a test is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import attrs

from leanflow._request import DataRequest, IdKind, Resource, Scope, State
from leanflow.ports import (
    Announcement,
    Committed,
    Created,
    Creation,
    HistoryEntry,
    InboxEntry,
    Parking,
    Sink,
    Step,
    Store,
    WakeRow,
)

__all__ = [
    "ALL",
    "ELSEWHERE",
    "SCOPE",
    "START",
    "a_change",
    "a_creation",
    "a_request",
    "a_step",
    "a_wake",
    "an_entry",
    "at",
    "end",
    "park",
    "stored",
]

SCOPE = Scope(app="app-1", environment="sandbox", region="uae")
ELSEWHERE = (
    Scope(app="app-2", environment="sandbox", region="uae"),
    Scope(app="app-1", environment="production", region="uae"),
    Scope(app="app-1", environment="sandbox", region="ksa"),
)
START = datetime(2026, 1, 5, 8, 30, 0, 123457, tzinfo=UTC)
"""With odd microseconds: a store that counts in floats loses one."""

ALL = Sink(name="all", reports=True)


def at(seconds: float) -> datetime:
    """Return so many seconds after the start."""
    return START + timedelta(seconds=seconds)


def a_request(number: int, **fields: Any) -> DataRequest:
    """Return a request; ids are in the order of numbers."""
    scope: Scope = fields.pop("scope", SCOPE)
    values: dict[str, Any] = {
        "id": f"019b8a00-0000-7000-8000-{number:012d}",
        "app": scope.app,
        "environment": scope.environment,
        "region": scope.region,
        "api": "v2",
        "resource": Resource.transactions,
        "entity_id": f"entity-{number}",
        "fingerprint": f"fingerprint-{number}",
        "metadata": MappingProxyType({"naïve": "مرحبا"}),
        "due_at": START,
        "created_at": START,
        "updated_at": START,
    }
    return DataRequest(**{**values, **fields})


def an_entry(request: DataRequest, key: str, **fields: Any) -> HistoryEntry:
    """Return a history row of a request as it is."""
    values: dict[str, Any] = {
        "request_id": request.id,
        "version": request.version,
        "key": key,
        "at": START,
        "tag": "results_ready",
        "trigger": None,
        "from_state": request.state.value,
        "to_state": request.state.value,
    }
    return HistoryEntry(**{**values, **fields})


def a_creation(request: DataRequest, **fields: Any) -> Creation:
    """Return the creation of a request."""
    history = an_entry(request, f"create:{request.id}", tag="created", from_state=None)
    return Creation(**{"request": request, "history": history, **fields})


async def stored(store: Store, number: int = 1, **fields: Any) -> DataRequest:
    """Create a request and return it as stored."""
    created: Created = await store.create(a_creation(a_request(number, **fields)))
    assert created.is_new
    return created.request


def a_step(request: DataRequest, key: str, **fields: Any) -> Step:
    """Return a step that changes a request; `after=None` makes it a declined one.

    Fields of the new record go in `changes`, fields of the inbox row in `inbox`, all others are the step's.
    """
    changes = fields.pop("changes", {})
    inbox = {"tag": "results_ready", "at": at(1), **fields.pop("inbox", {})}
    if "after" not in fields:
        values = {"updated_at": at(request.version + 1), **changes, "version": request.version + 1}
        fields["after"] = attrs.evolve(request, **values)
    after: DataRequest = fields["after"] or request
    declined = None if fields["after"] is not None else "late"
    history = an_entry(after, key, at=inbox["at"], from_state=request.state.value, declined=declined)
    values = {
        "scope": request.scope,
        "inbox": InboxEntry(key=key, **inbox),
        "request_id": request.id,
        "version": request.version,
        "call_no": request.call_no,
        "history": history,
    }
    return Step(**{**values, **fields})


def end(request: DataRequest, key: str = "end", state: State = State.fetched, **fields: Any) -> Step:
    """Return a step that ends a request."""
    changes = {"state": state, "due_at": None, **fields.pop("changes", {})}
    return a_step(request, key, changes=changes, **fields)


def a_change(request: DataRequest, **fields: Any) -> Announcement:
    """Return the announcement of a request's present version."""
    values: dict[str, Any] = {
        "key": f"{request.id}:{request.version}:change",
        "kind": "change",
        "topic": request.state.value,
        "resource": request.resource.value,
        "request_id": request.id,
        "payload": '{"about":"a change"}',
    }
    return Announcement(**{**values, **fields})


def a_wake(key: str) -> WakeRow:
    """Return a row for the internal sink."""
    return WakeRow(key=f"wake:{key}", payload='{"entity_id":"entity-1"}')


async def park(store: Store, key: str, scope: Scope = SCOPE, **where: Any) -> Committed:
    """Park an event, under the results id ``r-1`` if nothing else is said."""
    raw, moment = where.pop("raw", b'{"type":"results.ready"}'), where.pop("at", START)
    if "request_id" not in where:
        where = {"kind": IdKind.results, "value": "r-1", "due_at": at(1), **where}
    parking = Parking(**{"expires_at": at(86_400), **where})
    entry = InboxEntry(key=key, tag="results_ready", at=moment, parking=parking, raw=raw)
    return await store.commit(Step(scope=scope, inbox=entry))
