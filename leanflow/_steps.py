"""The step: load, decide, commit. Everything that changes a request comes through here.

Two rules hold the races. A step compares the version it was decided on, and is decided again when another was faster. An
event and its request look for each other *after* their own commit: whichever commits last sees the other.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from leanflow._effects import Accepted, Announce, Change, Decision, Declined, Effect, Reason, StorePages, Wake
from leanflow._lean.webhooks import Webhook, parse_webhook
from leanflow._machine import decide
from leanflow._notify import KeyedLocks, Notifier
from leanflow._policy import Policy
from leanflow._request import DataRequest, IdKind, Scope, State
from leanflow._sites import site
from leanflow._table import TABLE, early_triggers
from leanflow.errors import MalformedBody, RequestNotFound, StoreUnavailable
from leanflow.events import (
    BankAvailability,
    ConsentUpdated,
    EntityReconnected,
    EntityUpdated,
    Event,
    RefreshUpdated,
    ResultsReady,
    WebhookEvent,
    event_to_dict,
)
from leanflow._codes import HELD_CODES
from leanflow._effects import WakeReason
from leanflow.ports import (
    Announcement,
    Committed,
    HistoryEntry,
    InboxEntry,
    Outcome,
    ParkedEvent,
    Parking,
    Step,
    Store,
    WakeRow,
)

__all__ = ["Heard", "Stepped", "Stir", "Steps", "announcement_of", "creation_history", "dump"]

_log = logging.getLogger("leanflow.engine")
_webhook_log = logging.getLogger("leanflow.webhook")

MAX_TRIES = 50
"""Conflicts with other processes before a step is given up as unavailable; within one process racers take turns."""

CACHED = 10_000
"""Records kept to decide on without loading; the commit compares versions, so a stale one costs a second try, never more."""

_OFFER_AGAIN = (1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds before a parked event is offered again; the last is repeated."""

_WEBHOOK_TAGS = frozenset({ResultsReady.tag, EntityReconnected.tag, RefreshUpdated.tag})
_HAS_EARLY = any(triggers & _WEBHOOK_TAGS for triggers in early_triggers(TABLE).values())


Stir = Callable[[bool, datetime | None], None]
"""Told after a commit: whether there are new outbox rows, and when something is newly due."""


dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Return compact JSON text."""


@attrs.frozen(kw_only=True)
class Stepped:
    """How a step ended.

    Attributes:
        request: as stored after it.
        decision: what was decided; a `Declined` duplicate if the event was seen before.
        ids_are_new: True if it is known that nothing is parked under the ids that it stored.
    """

    request: DataRequest
    decision: Decision
    ids_are_new: bool = False


@attrs.frozen(kw_only=True)
class Heard:
    """What became of a webhook.

    Attributes:
        steps: one for each request that it named.
        parked: True if it waits for its request.
        duplicate: True if it was seen before.
    """

    steps: tuple[Stepped, ...] = ()
    parked: bool = False
    duplicate: bool = False


class Steps:
    """Applies events to the requests of one scope in one store."""

    def __init__(
        self,
        store: Store,
        scope: Scope,
        policy: Policy,
        notifier: Notifier,
        stir: Stir,
    ) -> None:
        self._store = store
        self._scope = scope
        self._policy = policy
        self._notifier = notifier
        self._stir = stir
        self._locks = KeyedLocks()
        self._known: OrderedDict[str, DataRequest] = OrderedDict()
        self._owners: OrderedDict[tuple[IdKind, str], tuple[str, ...]] = OrderedDict()

    # one event for one request

    async def apply(
        self, request_id: str, event: Event, *, release: str | None = None, announce: bool = True
    ) -> Stepped:
        """Apply one event, stamped and keyed, to one request.

        Raises:
            RequestNotFound: there is none, or it was erased.
            StoreUnavailable: whether it was committed is unknown; applying it again is safe.
        """
        async with self._locks.hold(request_id):
            stepped = await self._apply(request_id, event, release, announce)
        if isinstance(stepped.decision, Accepted):
            self._notifier.tell(request_id)
        await self._drain(stepped)
        return stepped

    async def _apply(self, request_id: str, event: Event, release: str | None, announce: bool) -> Stepped:
        assert event.key is not None
        for _ in range(MAX_TRIES):
            request = await self.load(request_id)
            if request is None:
                raise RequestNotFound(request_id)
            decision = decide(request, event, self._policy)
            step = self._step(request, event, decision, release, announce)
            committed = await self._store.commit(step)
            if committed.outcome is Outcome.committed:
                return self._committed(request, event, decision, step, committed)
            self.forget(request_id)
            if committed.outcome is Outcome.duplicate:
                return await self._duplicate(request_id, request, release)
            if committed.outcome is Outcome.buried:
                raise RequestNotFound(request_id)
        raise StoreUnavailable(f"request {request_id} was changed by others {MAX_TRIES} times in a row")

    async def _duplicate(self, request_id: str, request: DataRequest, release: str | None) -> Stepped:
        if release is not None:
            await self._store.release(self._scope, request_id, owner=release)
        now = await self.load(request_id) or request
        return Stepped(request=now, decision=Declined(reason=Reason.duplicate))

    def _committed(
        self, request: DataRequest, event: Event, decision: Decision, step: Step, committed: Committed
    ) -> Stepped:
        after = decision.request if isinstance(decision, Accepted) else request
        self.know(after)
        for named in decision.ids:
            if committed.ids_are_new:
                self._own(named, (request.id,))
            else:
                self._owners.pop(named, None)
        due_at = after.due_at if after.due_at != request.due_at else None
        self._stir(committed.announced > 0, due_at)
        if isinstance(decision, Declined):
            _log.info("declined", extra=_extra(request, event, decision))
        elif _log.isEnabledFor(logging.DEBUG):
            _log.debug("accepted", extra=_extra(after, event, None))
        return Stepped(request=after, decision=decision, ids_are_new=committed.ids_are_new)

    def _step(
        self, request: DataRequest, event: Event, decision: Decision, release: str | None, announce: bool
    ) -> Step:
        at, key = event.at, event.key
        assert at is not None
        assert key is not None
        accepted = decision if isinstance(decision, Accepted) else None
        after = accepted.request if accepted else None
        effects = accepted.effects if accepted else ()
        announcements, pages, wakes = self._effects(request, after, event, effects) if effects else ((), (), ())
        if announce and isinstance(event, WebhookEvent) and event.raw:
            announcements += (_webhook_announcement(event, key),)
        if isinstance(decision, Declined) and request.state.is_end and isinstance(event, WebhookEvent):
            announcements += (_report(request, event, "late"),)
        early = isinstance(decision, Declined) and decision.reason is Reason.early
        return Step(
            scope=self._scope,
            inbox=InboxEntry(
                key=key,
                tag=event.tag,
                at=at,
                parking=Parking(request_id=request.id, expires_at=at + self._policy.parked_life) if early else None,
                raw=event.raw if early and isinstance(event, WebhookEvent) else None,
            ),
            request_id=request.id,
            version=request.version,
            call_no=request.call_no,
            after=after,
            history=_history(request, after, event, decision, key, at),
            ids=decision.ids,
            pages=pages,
            announcements=announcements,
            wakes=wakes,
            release=release,
        )

    def _effects(
        self, request: DataRequest, after: DataRequest | None, event: Event, effects: tuple[Effect, ...]
    ) -> tuple[tuple[Announcement, ...], tuple[Any, ...], tuple[WakeRow, ...]]:
        announcements: tuple[Announcement, ...] = ()
        pages: tuple[Any, ...] = ()
        wakes: tuple[WakeRow, ...] = ()
        for effect in effects:
            match effect:
                case Announce():
                    assert after is not None
                    announcements += (announcement_of(after, effect.from_state, event),)
                case StorePages():
                    pages = effect.pages
                case Wake():
                    wakes += (wake_row(f"wake:{event.key}:{request.id}", effect, origin=request.id),)
        return announcements, pages, wakes

    # records, without loading what is known

    async def load(self, request_id: str) -> DataRequest | None:
        """Return the request as this process last knew it; a commit finds out if that is old."""
        known = self._known.get(request_id)
        if known is not None:
            self._known.move_to_end(request_id)
            return known
        request = await self._store.load(self._scope, request_id)
        if request is not None:
            self.know(request)
        return request

    def know(self, request: DataRequest) -> None:
        """Remember a record as last committed."""
        self._known[request.id] = request
        self._known.move_to_end(request.id)
        if len(self._known) > CACHED:
            self._known.popitem(last=False)

    def forget(self, request_id: str) -> None:
        """Load it anew the next time."""
        self._known.pop(request_id, None)

    async def owners(self, kind: IdKind, value: str) -> tuple[str, ...]:
        """Return the requests that an id names or named. Only finds are remembered; ids are never taken away."""
        found = self._owners.get((kind, value))
        if found is None:
            found = tuple(await self._store.owners(self._scope, kind, value))
            if found:
                self._own((kind, value), found)
        return found

    def _own(self, named: tuple[IdKind, str], owners: tuple[str, ...]) -> None:
        self._owners[named] = owners
        if len(self._owners) > CACHED:
            self._owners.popitem(last=False)

    # webhooks

    async def hear(self, event: Webhook, *, announce: bool = True) -> Heard:
        """Take in one webhook, stamped and keyed: apply it to whom it names, or park it, or just record it.

        Raises:
            RequestNotFound: it was made by hand (no raw bytes), and no request is stored that it names.
            StoreUnavailable: whether it was committed is unknown; hearing it again is safe.
        """
        route = _route(event)
        if route is not None:
            owners = await self.owners(*route)
            if owners:
                return await self._hear_for(owners, event, announce)
            if await self._store.buried(self._scope, *route):
                _webhook_log.info("for an erased request", extra={"event": event.type})
                return Heard()
            if not event.raw:  # nothing that could be parked
                raise RequestNotFound(route[1], f"request with the {route[0]} id")
            if any(parked.key == event.key for parked in await self._store.parked(self._scope, *route)):
                return Heard(parked=True, duplicate=True)  # taken in and told of before
        step = self._alone(event, route, announce and bool(event.raw))
        committed = await self._store.commit(step)
        if committed.outcome is Outcome.duplicate:
            return Heard(duplicate=True)
        if committed.outcome is Outcome.buried:
            return Heard()
        self._stir(committed.announced > 0, None)
        if route is None:
            return Heard()
        site("parked")
        owners = await self.owners(*route)  # after our own commit: the other side looks after its own
        return await self._hear_for(owners, event, announce=False) if owners else Heard(parked=True)

    async def _hear_for(self, owners: Sequence[str], event: Webhook, announce: bool) -> Heard:
        assert event.at is not None
        assert event.key is not None
        steps = []
        for number, request_id in enumerate(owners):
            key = event.key if number == 0 else f"{event.key}#{request_id}"
            try:
                step = await self.apply(request_id, event.stamped(event.at, key), announce=announce and number == 0)
            except RequestNotFound:
                self._owners.clear()  # erased meanwhile
                continue
            steps.append(step)
        duplicate = bool(steps) and all(_is_duplicate(s.decision) for s in steps)
        return Heard(steps=tuple(steps), duplicate=duplicate)

    def _alone(self, event: WebhookEvent, route: tuple[IdKind, str] | None, announce: bool) -> Step:
        assert event.at is not None
        assert event.key is not None
        parking = None
        if route is not None:
            parking = Parking(
                kind=route[0],
                value=route[1],
                due_at=event.at + timedelta(seconds=_OFFER_AGAIN[0]),
                expires_at=event.at + self._policy.parked_life,
            )
        wake = _wake_of(event)
        return Step(
            scope=self._scope,
            inbox=InboxEntry(
                key=event.key, tag=event.tag, at=event.at, parking=parking, raw=event.raw if parking else None
            ),
            announcements=(_webhook_announcement(event, event.key),) if announce else (),
            wakes=(wake_row(f"wake:{event.key}", wake),) if wake else (),
        )

    # parked events

    async def _drain(self, stepped: Stepped) -> None:
        """Look for events parked under ids that a step stored, and for early ones after an accepted one."""
        if _is_duplicate(stepped.decision):
            return
        for kind, value in () if stepped.ids_are_new else stepped.decision.ids:
            site("drain")
            for parked in await self._store.parked(self._scope, kind, value):
                await self.offer(parked, (stepped.request.id,))
        if _HAS_EARLY and isinstance(stepped.decision, Accepted):
            for parked in await self._store.early(self._scope, stepped.request.id):
                await self.offer(parked, (stepped.request.id,))

    async def offer(self, parked: ParkedEvent, owners: Sequence[str]) -> bool:
        """Offer a parked event to its owners, as ordinary steps; True if there was one."""
        try:
            event = parse_webhook(parked.raw)
        except MalformedBody:  # an older version took it; never lose it, never loop on it
            _webhook_log.exception("a parked event cannot be read", extra={"event": parked.tag})
            return False
        heard = await self._hear_for(owners, event.stamped(parked.at, parked.key), announce=False)
        return bool(heard.steps)

    async def offer_due(self, now: datetime, limit: int) -> int:
        """Offer parked events that are due again; report those past their life; return how many were looked at."""
        due = await self._store.parked_due(self._scope, now=now, limit=limit)
        for parked in due:
            parking = parked.parking
            if parking.kind is not None and parking.value is not None:
                owners = await self.owners(parking.kind, parking.value)
                if owners and await self.offer(parked, owners):
                    continue
            if parking.expires_at <= now:
                await self._orphan(parked)
                continue
            wait = _OFFER_AGAIN[min(parked.tries + 1, len(_OFFER_AGAIN) - 1)]
            again = min(now + timedelta(seconds=wait), parking.expires_at)
            await self._store.repark(self._scope, parked.key, due_at=again)
        return len(due)

    async def _orphan(self, parked: ParkedEvent) -> None:
        report = Announcement(
            key=f"{parked.key}:orphan",
            kind="report",
            topic="orphan",
            payload=lambda: dump({"report": "orphan", "event": parked.tag, "at": parked.at.isoformat()}),
        )
        if await self._store.orphan(self._scope, parked.key, (report,)):
            _webhook_log.warning("no request ever owned this event", extra={"event": parked.tag})
            self._stir(True, None)


# --- rows --------------------------------------------------------------------------------------------------------


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
        return dump(change.to_dict())

    return Announcement(
        key=key,
        kind="change",
        topic=request.state,
        resource=request.resource,
        request_id=request.id,
        payload=payload,
    )


def wake_row(key: str, wake: Wake, origin: str | None = None) -> WakeRow:
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


def _history(
    request: DataRequest, after: DataRequest | None, event: Event, decision: Decision, key: str, at: datetime
) -> HistoryEntry:
    return HistoryEntry(
        request_id=request.id,
        version=after.version if after else request.version,
        key=key,
        at=at,
        tag=event.tag,
        trigger=decision.trigger if isinstance(decision, Accepted) else None,
        from_state=request.state,
        to_state=(after or request).state,
        declined=str(decision) if isinstance(decision, Declined) else None,
        event=event_to_dict(event),
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
        key=key, request=request, from_state=request.state, to_state=request.state, at=event.at, cause=f"{name}:{event.tag}"
    )
    return Announcement(
        key=key,
        kind="report",
        topic=name,
        resource=request.resource.value,
        request_id=request.id,
        payload=lambda: dump(change.to_dict()),
    )


def _route(event: WebhookEvent) -> tuple[IdKind, str] | None:
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


def _is_duplicate(decision: Decision) -> bool:
    return isinstance(decision, Declined) and decision.reason is Reason.duplicate


def _extra(request: DataRequest, event: Event, declined: Declined | None) -> dict[str, Any]:
    return {
        "request_id": request.id,
        "reference": request.reference,
        "state": request.state.value,
        "event": event.tag,
        "declined": str(declined) if declined else None,
    }
