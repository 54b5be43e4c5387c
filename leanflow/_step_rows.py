"""What a step writes: the rows that a decision, a creation or a lone webhook comes to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import attrs

from leanflow._codes import HELD_CODES
from leanflow._effects import (
    Accepted,
    Announce,
    Change,
    Decision,
    Declined,
    Effect,
    Reason,
    StorePages,
    Wake,
    WakeReason,
    change_with,
)
from leanflow._json import dump
from leanflow._policy import Policy
from leanflow._request import DataRequest, IdKind, Scope, State, values_of
from leanflow._rows import Announcement, HistoryEntry, InboxEntry, Parking, Step, WakeRow
from leanflow.events import (
    AnswerEvent,
    BankAvailability,
    ConsentUpdated,
    EntityReconnected,
    EntityUpdated,
    Event,
    Page,
    RefreshUpdated,
    ResultsReady,
    WebhookEvent,
    event_to_dict,
)

__all__ = [
    "CUSTOMER",
    "ENTITY",
    "announcement_of",
    "creation_history",
    "exported",
    "history_of",
    "names_of",
    "orphan_report",
    "route_of",
    "step_alone",
    "step_of",
]

ENTITY, CUSTOMER = "entity", "customer"
"""What tombstones of erased entities and customers are kept under."""

FIRST_OFFER = timedelta(seconds=1)
"""How long after it was parked an event is offered again the first time."""


def step_of(
    request: DataRequest, event: Event, decision: Decision, policy: Policy, *, release: str | None, announce: bool
) -> Step:
    """Return what a decision on an event writes.

    Args:
        request: as it was loaded.
        event: stamped and keyed.
        decision: on the two.
        policy: how long an early event is parked.
        release: the owner whose lease ends with it.
        announce: whether a webhook is told to those who subscribed to its type.
    """
    at, key = event.at, event.key
    assert at is not None
    assert key is not None
    accepted = decision if isinstance(decision, Accepted) else None
    after = accepted.request if accepted else None
    effects = accepted.effects if accepted else ()
    announcements, pages, wakes = _effects(request, after, event, effects) if effects else ((), (), ())
    if announce and isinstance(event, WebhookEvent) and event.raw:
        announcements += (_webhook_announcement(event, key),)
    if isinstance(decision, Declined) and request.state.is_end and isinstance(event, WebhookEvent):
        announcements += (_report(request, event, "late"),)
    early = isinstance(decision, Declined) and decision.reason is Reason.early
    return Step(
        scope=request.scope,
        inbox=InboxEntry(
            key=key,
            tag=event.tag,
            at=at,
            parking=Parking(request_id=request.id, expires_at=at + policy.parked_life) if early else None,
            raw=event.raw if early and isinstance(event, WebhookEvent) else None,
        ),
        request_id=request.id,
        version=request.version,
        call_no=request.call_no,
        after=after,
        history=history_of(request, after, event, decision),
        ids=decision.ids,
        pages=pages,
        announcements=announcements,
        wakes=wakes,
        release=release,
    )


def _effects(
    request: DataRequest, after: DataRequest | None, event: Event, effects: tuple[Effect, ...]
) -> tuple[tuple[Announcement, ...], tuple[Page, ...], tuple[WakeRow, ...]]:
    announcements: tuple[Announcement, ...] = ()
    pages: tuple[Page, ...] = ()
    wakes: tuple[WakeRow, ...] = ()
    for effect in effects:
        match effect:
            case Announce():
                assert after is not None
                announcements += (announcement_of(after, effect.from_state, event),)
            case StorePages():
                pages = effect.pages
            case Wake():
                wakes += (_wake_row(f"wake:{event.key}:{request.id}", effect, origin=request.id),)
    return announcements, pages, wakes


def step_alone(
    event: WebhookEvent, scope: Scope, policy: Policy, *, route: tuple[IdKind, str] | None, announce: bool
) -> Step:
    """Return what a webhook writes that no stored request owns: parked if it names one, else only seen and told."""
    assert event.at is not None
    assert event.key is not None
    parking = None
    if route is not None:
        parking = Parking(
            kind=route[0],
            value=route[1],
            due_at=event.at + FIRST_OFFER,
            expires_at=event.at + policy.parked_life,
        )
    wake = _wake_of(event)
    return Step(
        scope=scope,
        inbox=InboxEntry(
            key=event.key, tag=event.tag, at=event.at, parking=parking, raw=event.raw if parking else None
        ),
        announcements=(_webhook_announcement(event, event.key),) if announce else (),
        wakes=(_wake_row(f"wake:{event.key}", wake),) if wake else (),
    )


def announcement_of(request: DataRequest, from_state: State | None, event: Event | None) -> Announcement:
    """Return the announcement that a request entered its state."""
    key = f"{request.id}:{request.version}:{request.state}"

    def payload() -> str:
        change = Change(
            key=key,
            request=request,
            from_state=from_state,
            to_state=request.state,
            at=request.updated_at,
            cause=event.tag if event is not None else "created",
        )
        return _told_to_all(change)

    return Announcement(
        key=key,
        kind="change",
        topic=request.state,
        resource=request.resource,
        request_id=request.id,
        payload=payload,
    )


def _wake_row(key: str, wake: Wake, origin: str | None = None) -> WakeRow:
    """Return the outbox row of a wake."""
    return WakeRow(
        key=key,
        unless_alone=wake.entity_id if wake.reason is WakeReason.live else None,
        payload=dump(
            {
                "reason": wake.reason.value,
                "entity_id": wake.entity_id,
                "customer_id": wake.customer_id,
                "held": wake.held,
                "proved_at": wake.proved_at.isoformat() if wake.proved_at else None,
                "origin": origin,
            }
        ),
    )


def creation_history(request: DataRequest, key: str) -> HistoryEntry:
    """Return the history row of version 0."""
    return HistoryEntry(
        request_id=request.id,
        version=0,
        key=key,
        at=request.created_at,
        tag="created",
        trigger="created",
        from_state=None,
        to_state=request.state.value,
        event={"event": "created"},
    )


def history_of(request: DataRequest, after: DataRequest | None, event: Event, decision: Decision) -> HistoryEntry:
    """Return the history row of a decision; `after` is None if it was declined."""
    assert event.at is not None
    assert event.key is not None
    return HistoryEntry(
        request_id=request.id,
        version=after.version if after else request.version,
        key=event.key,
        at=event.at,
        tag=event.tag,
        trigger=decision.trigger if isinstance(decision, Accepted) else None,
        from_state=request.state,
        to_state=(after or request).state,
        declined=str(decision) if isinstance(decision, Declined) else None,
        event=_told(request, event),
    )


def _told(request: DataRequest, event: Event) -> dict[str, Any]:
    """Return the event for the history, which tells of no calls: an answer that was overtaken says by which."""
    told = event_to_dict(event)
    if isinstance(event, AnswerEvent) and event.call_no is not None and event.call_no < request.call_no:
        told["overtaken_by"] = request.call_no
    return told


def exported(request: DataRequest, history: Iterable[HistoryEntry], *, personal: bool = False) -> dict[str, Any]:
    """Return record and history as JSON values: see `LeanFlow.export`."""
    untold = _ADDRESS if personal else _PERSONAL
    record = {name: value for name, value in request.to_dict().items() if name not in untold}
    if request.failure is not None and not personal:
        record["failure"] = _without(record["failure"], _WORDS)
    rows = [_exported(entry, personal=personal) for entry in history]
    return {"leanflow": 1, "request": record, "history": rows}


def _exported(entry: HistoryEntry, *, personal: bool) -> dict[str, Any]:
    told = attrs.asdict(entry)
    told["at"] = entry.at.isoformat()
    told["event"] = dict(entry.event) if personal else _without(entry.event, _WORDS | _PERSONAL)
    del told["request_id"]
    return told


def _without(told: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in names}


_ADDRESS = frozenset({"customer_ip"})
_PERSONAL = _ADDRESS | {"customer_id", "reference", "metadata", "key"}
_WORDS = frozenset({"message", "info"})  # of Lean's: meant for people, and nobody says what may be in them


def orphan_report(key: str, tag: str, at: str) -> Announcement:
    """Return the report that no request ever owned a parked event."""
    return Announcement(
        key=f"{key}:orphan",
        kind="report",
        topic="orphan",
        payload=lambda: dump({"report": "orphan", "event": tag, "at": at}),
    )


def _webhook_announcement(event: WebhookEvent, key: str) -> Announcement:
    return Announcement(
        key=f"webhook:{key}",
        kind="webhook",
        topic=event.type,
        payload=lambda: dump(
            {"raw": event.raw.decode("utf-8", "surrogateescape"), "at": event.at.isoformat() if event.at else None}
        ),
    )


def _report(request: DataRequest, event: Event, name: str) -> Announcement:
    key = f"{request.id}:{event.key}:{name}"
    assert event.at is not None
    change = Change(
        key=key,
        request=request,
        from_state=request.state,
        to_state=request.state,
        at=event.at,
        cause=f"{name}:{event.tag}",
    )
    return Announcement(
        key=key,
        kind="report",
        topic=name,
        resource=request.resource.value,
        request_id=request.id,
        payload=lambda: _told_to_all(change),
    )


def _told_to_all(change: Change) -> str:
    """Return a change as handlers and buses get it: without the customer's address, which is for Lean alone."""
    request = values_of(change.request)
    request.pop("customer_ip", None)
    return dump(change_with(change, request))


def route_of(event: WebhookEvent) -> tuple[IdKind, str] | None:
    """Return the id by which a webhook names its request."""
    match event:
        case ResultsReady():
            return IdKind.results, event.results_id
        case EntityReconnected():
            return IdKind.reconnect, event.reconnect_id
        case RefreshUpdated():
            return IdKind.refresh, event.refresh_id
        case _:
            return None


def names_of(event: WebhookEvent) -> tuple[tuple[str, str], ...]:
    """Return the entity and the customer that a webhook names, as far as it does: (kind, id)."""
    named = {
        ENTITY: getattr(event, "entity_id", None) or event.payload.get("entity_id"),
        CUSTOMER: getattr(event, "customer_id", None) or event.payload.get("customer_id"),
    }
    return tuple((kind, value) for kind, value in named.items() if isinstance(value, str) and value)


def _wake_of(event: WebhookEvent) -> Wake | None:
    """Return whom a webhook concerns that names no request of ours: it may wake, and proves nothing."""
    match event:
        case EntityReconnected():
            return Wake(reason=WakeReason.nudge, entity_id=event.entity_id)
        case EntityUpdated():
            return Wake(reason=WakeReason.check, entity_id=event.entity_id, customer_id=event.customer_id)
        case ConsentUpdated(entity_id=None, customer_id=None):
            return None
        case ConsentUpdated():
            return Wake(reason=WakeReason.check, entity_id=event.entity_id, customer_id=event.customer_id)
        case BankAvailability(usable=True):
            return Wake(reason=WakeReason.bank, held=next(iter(HELD_CODES)))
        case _:
            return None
