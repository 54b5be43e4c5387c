"""Examples: requests in any state, answers, webhooks and other events, small and honest.

A request in a state is made by the events that lead there, never by setting its fields, so that every example is a
record that could be stored. Times are counted from `START`; ids are readable.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from leanflow._due import Action
from leanflow._effects import Accepted, Declined
from leanflow._machine import DEFAULT_POLICY, decide
from leanflow._policy import Policy
from leanflow._request import DataRequest, Resource, State
from leanflow.events import (
    ActionDue,
    AnsweredOk,
    AnsweredPending,
    AnsweredReconnect,
    AnsweredRefused,
    CallBroke,
    Cancelled,
    EntityReconnected,
    Event,
    Hinted,
    Page,
    Prompted,
    RefreshUpdated,
    ResultsReady,
    Source,
)

__all__ = [
    "START",
    "a_pending",
    "a_reconnect",
    "a_refusal",
    "a_silence",
    "accepted",
    "an_ok",
    "changed_by",
    "declined",
    "entity_reconnected",
    "example_in",
    "example_request",
    "hinted",
    "refresh_updated",
    "results_ready",
    "source_of",
    "take",
    "time_is_up",
]

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
"""When examples are made."""

PAGE = Page(raw=b'{"status":"OK","data":{"accounts":[]}}')


# --- requests ----------------------------------------------------------------------------------------------------


def example_request(**fields: Any) -> DataRequest:
    """Return a request as `LeanFlow.request` stores it, its first call on the way; `fields` replace any of its own."""
    own: dict[str, Any] = {
        "id": "0195-example",
        "app": "app",
        "environment": "sandbox",
        "region": "uae",
        "api": "v2",
        "resource": Resource.accounts,
        "entity_id": "entity-1",
        "fingerprint": "fingerprint",
        "call_no": 1,
        "created_at": START,
        "updated_at": START,
        "place_at": START,
        "due_at": START,
    }
    return DataRequest(**{**own, **fields})


def example_in(state: State, *, policy: Policy = DEFAULT_POLICY, **fields: Any) -> DataRequest:
    """Return a request that events have brought into `state`, all of them at `START`.

    Args:
        state: where it is to be. In `requested` it is PENDING; use `example_request` for one that was just made.
        policy: waits and budgets.
        fields: of the request at its creation.
    """
    request = example_request(**fields)
    for make in _WAYS[state]:
        request = take(request, make(request), policy=policy)
    return request


def accepted(
    request: DataRequest, event: Event, at: datetime | timedelta | None = None, policy: Policy = DEFAULT_POLICY
) -> Accepted:
    """Return the decision on an event, which must be Accepted.

    Args:
        request: as stored.
        event: what happened.
        at: when, or how long after `START`; not needed for an event that has its time. Default: `START`.
        policy: waits and budgets.

    Raises:
        AssertionError: the event was declined; says why.
    """
    decision = _decided(request, event, at, policy)
    assert isinstance(decision, Accepted), f"{event.tag} in {request.state} was declined: {decision}"
    return decision


def declined(
    request: DataRequest, event: Event, at: datetime | timedelta | None = None, policy: Policy = DEFAULT_POLICY
) -> Declined:
    """Return the decision on an event, which must be Declined; the arguments are those of `accepted`.

    Raises:
        AssertionError: the event was accepted; says where it led.
    """
    decision = _decided(request, event, at, policy)
    assert isinstance(decision, Declined), f"{event.tag} in {request.state} was accepted: {decision}"
    return decision


def _decided(
    request: DataRequest, event: Event, at: datetime | timedelta | None, policy: Policy
) -> Accepted | Declined:
    moment = START + at if isinstance(at, timedelta) else at
    if moment is not None or event.at is None:
        event = event.stamped(moment or START)
    return decide(request, event, policy)


def take(
    request: DataRequest, event: Event, at: datetime | timedelta | None = None, policy: Policy = DEFAULT_POLICY
) -> DataRequest:
    """Return the request after an event, which must be accepted: see `accepted`."""
    return accepted(request, event, at, policy).request


def changed_by(
    request: DataRequest, event: Event, at: datetime | timedelta | None = None, policy: Policy = DEFAULT_POLICY
) -> dict[str, Any]:
    """Return the fields that an event changes, without the three that every event sets: see `accepted`."""
    after, before = take(request, event, at, policy).__dict__, request.__dict__
    common = {"version", "updated_at", "due_at"}
    return {name: value for name, value in after.items() if value != before[name] and name not in common}


# --- answers -----------------------------------------------------------------------------------------------------


def source_of(request: DataRequest) -> Source:
    """Return which call is made for a request as it stands: its placement, or a GET of what it has an id for."""
    if request.state is State.requested and request.place_at is not None:
        return Source.placement
    return Source.refresh if request.refresh_id is not None else Source.results


def an_ok(request: DataRequest, **fields: Any) -> AnsweredOk:
    """Return data as the answer to the request's present call."""
    return AnsweredOk(**{**_answer(request, 200), "pages": (PAGE,), **fields})


def a_pending(request: DataRequest, **fields: Any) -> AnsweredPending:
    """Return PENDING as the answer to the request's present call, with the id it has, or ``results-1``."""
    return AnsweredPending(**{**_answer(request, 202), **_id_of(request), **fields})


def a_reconnect(request: DataRequest, **fields: Any) -> AnsweredReconnect:
    """Return RECONNECT_REQUIRED as the answer to the present call; one id under two names, as in v2 and refreshes."""
    own = _id_of(request)
    own["reconnect_id"] = next(iter(own.values()))
    return AnsweredReconnect(**{**_answer(request, 200), **own, **fields})


def a_refusal(request: DataRequest, code: str, http_status: int = 200, **fields: Any) -> AnsweredRefused:
    """Return a refusal of the results (HTTP 200) or of the call (any other status)."""
    own = {"code": code, "message": code.lower(), "enveloped": http_status == 200}
    return AnsweredRefused(**{**_answer(request, http_status), **own, **fields})


def a_silence(request: DataRequest, *, maybe_sent: bool = True, **fields: Any) -> CallBroke:
    """Return that the present call brought no answer."""
    return CallBroke(**{**_answer(request, 0), "maybe_sent": maybe_sent, "reason": "timed out", **fields})


def _answer(request: DataRequest, http_status: int) -> dict[str, Any]:
    return {"source": source_of(request), "call_no": request.call_no, "http_status": http_status}


def _id_of(request: DataRequest) -> dict[str, str]:
    if request.resource is Resource.refresh:
        return {"refresh_id": request.refresh_id or "refresh-1"}
    return {"results_id": request.results_id or "results-1"}


# --- webhooks ----------------------------------------------------------------------------------------------------


def results_ready(request: DataRequest, **fields: Any) -> ResultsReady:
    """Return ``results.ready`` for the request's present results id."""
    own = {"type": "results.ready", "event_id": "event-results-ready", "results_id": request.results_id or "unknown"}
    return ResultsReady(**{**own, **fields})


def entity_reconnected(request: DataRequest, **fields: Any) -> EntityReconnected:
    """Return ``entity.reconnected`` for the request's present reconnect id."""
    own = {
        "type": "entity.reconnected",
        "event_id": "event-entity-reconnected",
        "entity_id": request.entity_id,
        "reconnect_id": request.reconnect_id or "unknown",
    }
    return EntityReconnected(**{**own, **fields})


def refresh_updated(request: DataRequest, status: str = "FINISHED", **fields: Any) -> RefreshUpdated:
    """Return ``entity.data.refresh.updated`` for the request's present refresh id."""
    own = {
        "type": "entity.data.refresh.updated",
        "event_id": f"event-refresh-{status}",
        "entity_id": request.entity_id,
        "refresh_id": request.refresh_id or "unknown",
        "status": status,
    }
    return RefreshUpdated(**{**own, **fields})


# --- the application, and time -----------------------------------------------------------------------------------


def hinted(request: DataRequest, status: str = "SUCCESS", **fields: Any) -> Hinted:
    """Return the Link SDK's callback for the request's present prompt."""
    return Hinted(**{"prompt_number": request.prompt_number, "status": status, **fields})


def time_is_up(request: DataRequest) -> ActionDue:
    """Return that the request's present wait is over, stamped with the moment at which it is.

    Raises:
        AssertionError: it waits for nothing.
    """
    assert request.wait_until is not None, f"{request.state} has no wait to be over"
    return ActionDue(action=Action.give_up, at=request.wait_until)


def _spend_the_end(request: DataRequest) -> ActionDue:
    assert request.expire_at is not None
    return ActionDue(action=Action.expire, at=request.expire_at)


def _look_at_the_end(request: DataRequest) -> AnsweredPending:
    return a_pending(request).stamped(request.expire_at or START)


def _announced(request: DataRequest) -> Event:
    return refresh_updated(request) if request.resource is Resource.refresh else results_ready(request)


_Make = Callable[[DataRequest], Event]
_ASKED: tuple[_Make, ...] = (a_reconnect, lambda _: Prompted())
_WAYS: dict[State, tuple[_Make, ...]] = {
    State.requested: (a_pending,),
    State.reconnect_required: (a_reconnect,),
    State.awaiting_user: _ASKED,
    State.reconnected: (*_ASKED, entity_reconnected),
    State.results_ready: (*_ASKED, entity_reconnected, _announced),
    State.fetched: (an_ok,),
    State.expired: (a_reconnect, _look_at_the_end, _spend_the_end),
    State.failed: (lambda r: a_refusal(r, "DATA_NOT_FOUND", 404),),
    State.cancelled: (lambda _: Cancelled(),),
}
