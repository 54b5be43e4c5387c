"""The step: load, decide, commit. Everything that changes a request comes through here.

Two rules hold the races. A step compares the version it was decided on, and is decided again when another was faster.
An event and its request look for each other *after* their own commit: whichever commits last sees the other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

import attrs

from leanflow._effects import Accepted, Decision, Declined, Reason
from leanflow._ids import first_id
from leanflow._lean.webhooks import Webhook, parse_webhook
from leanflow._lru import Lru
from leanflow._machine import decide
from leanflow._notify import KeyedLocks, Notifier
from leanflow._policy import Policy
from leanflow._request import DataRequest, IdKind, Scope
from leanflow._sites import site
from leanflow._step_rows import CUSTOMER, names_of, orphan_report, route_of, step_alone, step_of
from leanflow._table import TABLE, early_triggers
from leanflow.errors import MalformedBody, RequestNotFound, StoreUnavailable
from leanflow.events import (
    AnswerEvent,
    EntityCreated,
    EntityReconnected,
    Event,
    RefreshUpdated,
    ResultsReady,
    WebhookEvent,
)
from leanflow.ports import WAKE, Committed, Outcome, ParkedEvent, Query, Step, Store

__all__ = ["DROPPED", "Heard", "Spectator", "Stepped", "Steps", "Stir"]

_log = logging.getLogger("leanflow.engine")
_webhook_log = logging.getLogger("leanflow.webhook")

MAX_TRIES = 50
"""Conflicts with other processes before a step is given up as unavailable; within one process racers take turns."""

CACHED = 10_000
"""Records kept to decide on without loading; the commit compares versions, so a stale one costs a second try.

As many owners of ids, and as many webhooks whose copies are answered without asking the store.
"""

NOBODY = ""
"""Who has taken in a webhook that no request owns."""

DROPPED = "dropped"
"""The tally of what came from Lean for what was purged or erased."""

_OFFER_AGAIN = (5.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds before a parked event is offered the second time and so on; the last is repeated."""

_WEBHOOK_TAGS = frozenset({ResultsReady.tag, EntityReconnected.tag, RefreshUpdated.tag})
_HAS_EARLY = any(triggers & _WEBHOOK_TAGS for triggers in early_triggers(TABLE).values())


class Stir(Protocol):
    """Told after a commit, so that somebody looks for work at once."""

    def __call__(self, *, announced: bool, due_at: datetime | None) -> None:
        """Say whether there are new outbox rows, and when something is newly due."""
        ...


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
        dropped: True if it is about what was purged or erased: counted and not stored.
    """

    steps: tuple[Stepped, ...] = ()
    parked: bool = False
    duplicate: bool = False
    dropped: bool = False


class Spectator(Protocol):
    """Sees what was decided: how tools for tests tell what a test did."""

    def __call__(self, request: DataRequest, event: Event, decision: Decision, policy: Policy) -> None:
        """See the request before an event, the event, and the decision: committed, or that it was seen before."""
        ...


class Steps:
    """Applies events to the requests of one scope in one store.

    Args:
        store: what commits.
        scope: whose requests.
        policy: what `decide` goes by.
        notifier: told which request has changed.
        stir: told what there is to do.
        is_final: False if what the store committed may yet be rolled back: then nothing is believed for it.
    """

    spectator: ClassVar[Spectator | None] = None
    """Of all steps in this process; nobody's but a test tool's to set."""

    def __init__(
        self,
        store: Store,
        scope: Scope,
        policy: Policy,
        notifier: Notifier,
        stir: Stir,
        *,
        is_final: bool = True,
    ) -> None:
        self._store = store
        self._scope = scope
        self._policy = policy
        self._notifier = notifier
        self._stir = stir
        self._locks = KeyedLocks()
        self._known: Lru[str, DataRequest] = Lru(CACHED)
        self._owners: Lru[tuple[IdKind, str], tuple[str, ...]] = Lru(CACHED)
        self._taken_in: Lru[tuple[str, str], bool] = Lru(CACHED if is_final else 0)

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
            stepped = await self._apply(request_id, event, release, announce=announce)
        if isinstance(stepped.decision, Accepted):
            self._notifier.tell(request_id)
        await self._drain(stepped)
        return stepped

    async def _apply(self, request_id: str, event: Event, release: str | None, *, announce: bool) -> Stepped:
        assert event.key is not None
        for _ in range(MAX_TRIES):
            request = await self.load(request_id)
            if request is None:
                await self._answered_in_vain(request_id, event)
                raise RequestNotFound(request_id)
            if self._taken_in.get((request_id, event.key)):
                return self._seen_before(request, event)
            decision = decide(request, event, self._policy)
            # An answer that is no longer of the current call must not end the lease under which that call runs.
            ends = release if not isinstance(event, AnswerEvent) or event.call_no == request.call_no else None
            step = step_of(request, event, decision, self._policy, release=ends, announce=announce)
            committed = await self._store.commit(step)
            if committed.outcome is Outcome.committed:
                return self._committed(request, event, decision, committed)
            self.forget(request_id)
            if committed.outcome is Outcome.duplicate:
                self._remember(request_id, event)
                # The step that took this answer in has ended its lease, too; by now it may be a newer call's.
                return await self._duplicate(request, event, None if isinstance(event, AnswerEvent) else release)
            if committed.outcome is Outcome.buried:
                await self._answered_in_vain(request_id, event)
                raise RequestNotFound(request_id)
        raise StoreUnavailable(f"request {request_id} was changed by others {MAX_TRIES} times in a row")

    async def _answered_in_vain(self, request_id: str, event: Event) -> None:
        """Count an answer to a request that was purged or erased while it was under way."""
        if isinstance(event, AnswerEvent) and await self._store.buried(self._scope, "request", request_id):
            await self._store.tally(self._scope, DROPPED, add=1)

    async def _duplicate(self, request: DataRequest, event: Event, release: str | None) -> Stepped:
        if release is not None:
            await self._store.release(self._scope, request.id, owner=release)
        return self._seen_before(await self.load(request.id) or request, event)

    def _seen_before(self, request: DataRequest, event: Event) -> Stepped:
        decision = Declined(reason=Reason.duplicate)
        self.saw(request, event, decision)
        return Stepped(request=request, decision=decision)

    def _remember(self, request_id: str, event: Event) -> None:
        """Remember that a webhook was taken in by a request, or by nobody: Lean sends copies, at times 100 at once."""
        if isinstance(event, WebhookEvent) and event.key is not None:
            self._taken_in.put((request_id, event.key), value=True)

    def saw(self, request: DataRequest, event: Event, decision: Decision) -> None:
        """Tell the spectator, if there is one."""
        if self.spectator is not None:
            self.spectator(request, event, decision, self._policy)

    def _committed(self, request: DataRequest, event: Event, decision: Decision, committed: Committed) -> Stepped:
        self.saw(request, event, decision)
        after = decision.request if isinstance(decision, Accepted) else request
        self.know(after)
        if not _is_early(decision):
            self._remember(request.id, event)
        for named in decision.ids:
            if committed.ids_are_new:
                self._owners.put(named, (request.id,))
            else:
                self._owners.pop(named)
        due_at = after.due_at if after.due_at != request.due_at else None
        self._stir(announced=committed.announced > 0, due_at=due_at)
        if isinstance(decision, Declined):
            _log.info("declined", extra=_extra(request, event, decision))
        elif _log.isEnabledFor(logging.DEBUG):
            _log.debug("accepted", extra=_extra(after, event, None))
        return Stepped(request=after, decision=decision, ids_are_new=committed.ids_are_new)

    # records, without loading what is known

    async def load(self, request_id: str) -> DataRequest | None:
        """Return the request as this process last knew it; a commit finds out if that is old."""
        known = self._known.get(request_id)
        if known is not None:
            return known
        request = await self._store.load(self._scope, request_id)
        if request is not None:
            self.know(request)
        return request

    def know(self, request: DataRequest) -> None:
        """Remember a record as last committed."""
        self._known.put(request.id, request)

    def forget(self, request_id: str) -> None:
        """Load it anew the next time."""
        self._known.pop(request_id)

    async def owners(self, kind: IdKind, value: str) -> tuple[str, ...]:
        """Return the requests that an id names or named. Only finds are remembered; ids are never taken away.

        What is remembered may lack one that another process named since. If those that are known have no use for the
        event, `hear` looks again. If one takes it in, the other goes by its wake (`entity.reconnected`), else by its
        next probe: looking each time would cost every webhook a round trip.
        """
        found = self._owners.get((kind, value))
        if found is None:
            requests = await self._store.owners(self._scope, kind, value)
            for request in requests:
                if self._known.get(request.id) is None:  # what is known may be newer
                    self.know(request)
            found = tuple(request.id for request in requests)
            if found:
                self._owners.put((kind, value), found)
        return found

    def forget_all(self) -> None:
        """Believe nothing of an earlier stay: the store may have been put back to a backup meanwhile."""
        self._known.clear()
        self._owners.clear()
        self._taken_in.clear()

    # webhooks

    async def hear(self, event: Webhook, *, announce: bool = True) -> Heard:
        """Take in one webhook, stamped and keyed: apply it to whom it names, or park it, or just record it.

        Raises:
            RequestNotFound: it was made by hand (no raw bytes), and no request is stored that it names.
            StoreUnavailable: whether it was committed is unknown; hearing it again is safe.
        """
        assert event.key is not None
        async with self._locks.hold(event.key):
            if self._taken_in.get((NOBODY, event.key)):
                return Heard(duplicate=True)
            route = route_of(event)
            owners = await self.owners(*route) if route is not None else ()
            if not owners:
                heard = await self._hear_alone(event, route, announce=announce)
                if not heard.dropped:
                    self._remember(NOBODY, event)
                return heard
        assert route is not None
        heard = await self._hear_for(owners, event, announce=announce)
        return await self._hear_again(heard, route, owners, event) if _is_of_no_use(heard) else heard

    async def _hear_again(self, heard: Heard, route: tuple[IdKind, str], known: Sequence[str], event: Webhook) -> Heard:
        """Look for whom another process has named since, now that none of those that were known had a use for it."""
        self._owners.pop(route)
        others = [owner for owner in await self.owners(*route) if owner not in known]
        if not others:
            return heard
        more = await self._hear_for((known[0], *others), event, announce=False)  # the first has had it
        return Heard(steps=(*heard.steps, *(step for step in more.steps if step.request.id in others)))

    async def _hear_alone(self, event: Webhook, route: tuple[IdKind, str] | None, *, announce: bool) -> Heard:
        if route is not None:
            if not event.raw:  # nothing that could be parked
                if await self._store.buried(self._scope, *route):
                    return await self._dropped(event)
                raise RequestNotFound(route[1], f"request with the {route[0]} id")
            if any(parked.key == event.key for parked in await self._store.parked(self._scope, *route)):
                return Heard(parked=True, duplicate=True)  # taken in and told of before
        if await self._is_forgotten(event):
            return await self._dropped(event)
        step = step_alone(event, self._scope, self._policy, route=route, announce=announce and bool(event.raw))
        committed = await self._store.commit(step)
        if committed.outcome is Outcome.duplicate:
            return Heard(duplicate=True)
        if committed.outcome is Outcome.buried:
            return await self._dropped(event)
        if await self._is_forgotten(event):  # erased meanwhile: whoever erased may have looked before our commit
            await self._take_back(step)
            return await self._dropped(event)
        self._stir(announced=committed.announced > 0, due_at=None)
        if route is None:
            return Heard()
        site("parked")
        owners = await self.owners(*route)  # after our own commit: the other side looks after its own
        return await self._hear_for(owners, event, announce=False) if owners else Heard(parked=True)

    async def _is_forgotten(self, event: Webhook) -> bool:
        """Return whether an event is about an entity or customer that was erased and has made no request since.

        Who was forgotten may come back: a bank that was connected after the customer was erased is news.
        """
        for kind, value in names_of(event):
            erased_at = await self._store.buried(self._scope, kind, value)
            if erased_at is None:
                continue
            if isinstance(event, EntityCreated) and kind == CUSTOMER and (event.timestamp or erased_at) > erased_at:
                continue
            since = first_id(erased_at)
            known = Query(customer_id=value) if kind == CUSTOMER else Query(entity_id=value)
            if not await self._store.find(self._scope, attrs.evolve(known, after=since, limit=1)):
                return True
        return False

    async def _take_back(self, step: Step) -> None:
        await self._store.orphan(self._scope, step.inbox.key, ())
        sinks = await self._store.lag(self._scope)
        keys = [(wake.key, WAKE) for wake in step.wakes]
        keys += [(told.key, sink) for told in step.announcements for sink in sinks]
        await self._store.delivered(self._scope, keys)

    async def _dropped(self, event: Webhook) -> Heard:
        """Count what is about somebody who was forgotten; nothing of it is stored."""
        await self._store.tally(self._scope, DROPPED, add=1)
        _webhook_log.info("about what was purged or erased: not stored", extra={"event": event.type})
        return Heard(dropped=True)

    async def _hear_for(self, owners: Sequence[str], event: Webhook, *, announce: bool) -> Heard:
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
        if not steps:
            return await self._dropped(event)
        duplicate = all(_is_duplicate(s.decision) for s in steps)
        return Heard(steps=tuple(steps), duplicate=duplicate)

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
            wait = _OFFER_AGAIN[min(parked.tries, len(_OFFER_AGAIN) - 1)]
            again = min(now + timedelta(seconds=wait), parking.expires_at)
            await self._store.repark(self._scope, parked.key, due_at=again)
        return len(due)

    async def _orphan(self, parked: ParkedEvent) -> None:
        report = orphan_report(parked.key, parked.tag, parked.at.isoformat())
        if await self._store.orphan(self._scope, parked.key, (report,)):
            _webhook_log.warning("no request ever owned this event", extra={"event": parked.tag})
            self._stir(announced=True, due_at=None)


def _is_duplicate(decision: Decision) -> bool:
    return isinstance(decision, Declined) and decision.reason is Reason.duplicate


def _is_of_no_use(heard: Heard) -> bool:
    """Return whether all that a webhook names declined it, for another reason than that they have it or will have."""
    return bool(heard.steps) and all(
        isinstance(step.decision, Declined) and not _is_duplicate(step.decision) and not _is_early(step.decision)
        for step in heard.steps
    )


def _is_early(decision: Decision) -> bool:
    return isinstance(decision, Declined) and decision.reason is Reason.early


def _extra(request: DataRequest, event: Event, declined: Declined | None) -> dict[str, Any]:
    return {
        "request_id": request.id,
        "reference": request.reference,
        "state": request.state.value,
        "event": event.tag,
        "declined": str(declined) if declined else None,
    }
