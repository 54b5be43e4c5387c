"""What a memory store holds, and the rules of one commit: synchronous, so that nothing can come between."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

import attrs

from leanflow._request import DataRequest, IdKind, Scope
from leanflow.events import Page
from leanflow.ports import (
    WAKE,
    Announcement,
    Body,
    Committed,
    Created,
    Creation,
    Erased,
    HistoryEntry,
    InboxEntry,
    OutboxRow,
    Outcome,
    ParkedEvent,
    Part,
    Sink,
    Step,
    WakeRow,
)
from leanflow_adapters.memory._index import Index

__all__ = ["Data", "OutboxSlot", "RequestSlot"]


@attrs.define(kw_only=True)
class RequestSlot:
    """A request and the lease on it."""

    request: DataRequest
    owner: str | None = None
    lease_until: datetime | None = None
    ended_at: datetime | None = None

    def is_free(self, now: datetime) -> bool:
        """Return whether no lease is running."""
        return self.owner is None or self.lease_until is None or self.lease_until <= now

    def claimable_at(self) -> datetime | None:
        """Return from when on it can be claimed; None: never."""
        due = self.request.due_at
        if due is None or self.owner is None or self.lease_until is None:
            return due
        return max(due, self.lease_until)

    def end_lease(self) -> None:
        """Let the lease go."""
        self.owner = self.lease_until = None


@attrs.define(kw_only=True)
class OutboxSlot:
    """One announcement for one sink. `about` is the request it came from; `ordered` whether it keeps its order."""

    scope: Scope
    key: str
    sink: str
    kind: str
    payload: str = attrs.field(repr=False)
    at: datetime
    due_at: datetime = attrs.field(default=attrs.Factory(lambda self: self.at, takes_self=True))
    number: int = 0
    about: str | None = None
    ordered: bool = False
    tries: int = 0
    set_aside: bool = False
    error: str | None = None

    def row(self, *, skipped: bool) -> OutboxRow:
        """Return it as the port shows it."""
        return OutboxRow(
            key=self.key,
            sink=self.sink,
            kind=self.kind,
            request_id=self.about if self.ordered else None,
            payload=self.payload,
            tries=self.tries,
            set_aside=self.set_aside,
            skipped=skipped,
            due_at=self.due_at,
            error=self.error,
        )


@attrs.define
class Data:
    """The tables. Dicts keep the order of insertion, which stands for the order of commits."""

    requests: dict[str, RequestSlot] = attrs.field(factory=dict)
    indexes: dict[Scope, Index] = attrs.field(factory=dict)
    history: dict[str, list[HistoryEntry]] = attrs.field(factory=dict)
    inbox: dict[tuple[Scope, str], datetime] = attrs.field(factory=dict)
    parked: dict[tuple[Scope, str], ParkedEvent] = attrs.field(factory=dict)
    ids: dict[tuple[Scope, IdKind, str], dict[str, None]] = attrs.field(factory=dict)
    keys: dict[tuple[Scope, str], str] = attrs.field(factory=dict)
    pages: dict[str, dict[int, Page]] = attrs.field(factory=dict)
    sinks: dict[Scope, dict[str, Sink]] = attrs.field(factory=dict)
    outbox: dict[tuple[Scope, str, str], OutboxSlot] = attrs.field(factory=dict)
    tombstones: dict[tuple[Scope, str], datetime] = attrs.field(factory=dict)
    notes: dict[tuple[Scope, str], str] = attrs.field(factory=dict)
    tallies: Counter[tuple[Scope, str]] = attrs.field(factory=Counter)
    made: int = 0

    def slot(self, scope: Scope, request_id: str) -> RequestSlot | None:
        """Return a request of this scope, or None."""
        slot = self.requests.get(request_id)
        return slot if slot is not None and slot.request.scope == scope else None

    def slots(self, scope: Scope) -> Iterator[RequestSlot]:
        """Yield the requests of this scope, in the order of their ids."""
        return (self.requests[request_id] for request_id in self.index(scope).ids(after=None, entity_id=None))

    def index(self, scope: Scope) -> Index:
        """Return where to look for the requests of this scope."""
        index = self.indexes.get(scope)
        if index is None:
            index = self.indexes[scope] = Index()
        return index

    def change(self, slot: RequestSlot, request: DataRequest) -> None:
        """Put another record in the place of a request's."""
        self.index(request.scope).change(slot.request, request)
        slot.request = request

    # creation

    def create(self, creation: Creation) -> Created:
        """Insert a request, unless one like it is there."""
        request = creation.request
        scope = request.scope
        if request.key is not None and (scope, request.key) in self.keys:
            return Created(request=self.requests[self.keys[scope, request.key]].request, is_new=False, by_key=True)
        created = self._create(creation)
        if request.key is not None:
            self.keys[scope, request.key] = created.request.id
        return created

    def _create(self, creation: Creation) -> Created:
        request = creation.request
        scope = request.scope
        before = self.slot(scope, creation.renews) if creation.renews is not None else None
        twin = self.index(scope).twin(request.fingerprint)
        if twin is not None:
            self._link(before, twin, creation.renewal)
            return Created(request=self.requests[twin].request, is_new=False)
        if before is not None and before.request.successor_id is not None:
            after = self.slot(scope, before.request.successor_id)
            if after is not None:
                return Created(request=after.request, is_new=False)
        self._insert(creation)
        self._link(before, request.id, creation.renewal)
        return Created(request=request, is_new=True)

    def _insert(self, creation: Creation) -> None:
        request = creation.request
        self.requests[request.id] = RequestSlot(
            request=request,
            owner=creation.owner,
            lease_until=creation.lease_until if creation.owner is not None else None,
            ended_at=request.updated_at if request.state.is_end else None,
        )
        self.index(request.scope).add(request)
        self.history.setdefault(request.id, []).append(creation.history)
        self.announce(request.scope, creation.announcements, (), at=request.created_at, about=request.id)

    def _link(self, slot: RequestSlot | None, successor_id: str, renewal: HistoryEntry | None) -> None:
        """Name the successor on the request that was renewed; a successor that is gone is replaced."""
        if slot is None or successor_id == slot.request.id:
            return
        known = slot.request.successor_id
        if known is not None and known in self.requests:
            return
        version = slot.request.version + 1
        at = renewal.at if renewal is not None else slot.request.updated_at
        self.change(slot, attrs.evolve(slot.request, successor_id=successor_id, version=version, updated_at=at))
        if renewal is not None:
            event = {**renewal.event, "successor_id": successor_id}
            self.history[slot.request.id].append(attrs.evolve(renewal, version=version, event=event))

    # steps

    def commit(self, step: Step) -> Committed:
        """Commit one step, whole or not at all: everything that can refuse it is asked before anything is written."""
        place = (step.scope, step.inbox.key)
        if place in self.inbox:
            return Committed(outcome=Outcome.duplicate)
        slot = None
        if step.request_id is not None:
            slot = self.slot(step.scope, step.request_id)
            if slot is None:
                buried = self.is_buried(step.scope, "request", step.request_id)
                return Committed(outcome=Outcome.buried if buried else Outcome.conflict)
            if (slot.request.version, slot.request.call_no) != (step.version, step.call_no):
                return Committed(outcome=Outcome.conflict)
        parking = step.inbox.parking
        if (
            parking is not None
            and parking.kind is not None
            and parking.value is not None
            and self.is_buried(step.scope, parking.kind, parking.value)
        ):
            return Committed(outcome=Outcome.buried)
        self._take_in(step)
        if slot is not None:
            self._apply(step, slot)
        announced = self.announce(step.scope, step.announcements, step.wakes, at=step.inbox.at, about=step.request_id)
        return Committed(outcome=Outcome.committed, announced=announced)

    def _take_in(self, step: Step) -> None:
        entry: InboxEntry = step.inbox
        place = (step.scope, entry.key)
        known = self.parked.get(place)
        if entry.parking is None:
            self.parked.pop(place, None)
            self.inbox[place] = entry.at
            return
        self.parked[place] = ParkedEvent(
            key=entry.key,
            tag=entry.tag,
            at=known.at if known is not None else entry.at,
            raw=entry.raw if entry.raw is not None else (known.raw if known is not None else b""),
            parking=entry.parking,
            tries=known.tries if known is not None else 0,
        )

    def _apply(self, step: Step, slot: RequestSlot) -> None:
        request_id = slot.request.id
        if step.after is not None:
            self.change(slot, step.after.moved({"call_no": slot.request.call_no}))
            if slot.ended_at is None and step.after.state.is_end:
                slot.ended_at = step.after.updated_at
        if step.release is not None and slot.owner == step.release:
            slot.end_lease()
        if step.history is not None:
            self.history.setdefault(request_id, []).append(step.history)
        for kind, value in step.ids:
            self.ids.setdefault((step.scope, kind, value), {})[request_id] = None
        for page in step.pages:
            self.pages.setdefault(request_id, {}).setdefault(page.number, page)

    # announcements

    def announce(
        self,
        scope: Scope,
        announcements: Iterable[Announcement],
        wakes: Iterable[WakeRow],
        *,
        at: datetime,
        about: str | None,
    ) -> int:
        """Make the outbox rows of a commit; return how many."""
        before = self.made
        for wake in wakes:
            self._post(OutboxSlot(scope=scope, key=wake.key, sink=WAKE, kind=WAKE, payload=wake.payload, at=at))
        for told in announcements:
            for sink in self.sinks.get(scope, {}).values():
                if sink.wants(told):
                    slot = OutboxSlot(
                        scope=scope, key=told.key, sink=sink.name, kind=told.kind, payload=told.payload, at=at
                    )
                    slot.about, slot.ordered = told.request_id or about, told.request_id is not None
                    self._post(slot)
        return self.made - before

    def _post(self, slot: OutboxSlot) -> None:
        place = (slot.scope, slot.key, slot.sink)
        if place not in self.outbox:
            self.made += 1
            slot.number = self.made
            self.outbox[place] = slot

    # burials

    def is_buried(self, scope: Scope, kind: str, value: str) -> bool:
        """Return whether a tombstone covers this id."""
        return self.buried_at(scope, kind, value) is not None

    def buried_at(self, scope: Scope, kind: str, value: str) -> datetime | None:
        """Return from when the tombstone is that covers this id."""
        return self.tombstones.get((scope, _digest(kind, value)))

    def bury(self, scope: Scope, kind: str, value: str, *, now: datetime) -> None:
        """Leave a tombstone for an id."""
        self.tombstones[scope, _digest(kind, value)] = now

    def bury_request(self, slot: RequestSlot, *, now: datetime, announcements: bool) -> Erased:
        """Delete everything of one request and leave tombstones for the ids that named it."""
        request_id, scope = slot.request.id, slot.request.scope
        names = [place for place, owners in self.ids.items() if place[0] == scope and request_id in owners]
        self.bury(scope, "request", request_id, now=now)
        for place in names:
            self.bury(scope, place[1], place[2], now=now)
            del self.ids[place][request_id]
            if not self.ids[place]:
                del self.ids[place]
        history = self.history.pop(request_id, [])
        seen = [self.inbox.pop((scope, entry.key), None) for entry in history]
        mine = {(kind, value) for _, kind, value in names}
        parked = [
            spot
            for spot, event in self.parked.items()
            if spot[0] == scope
            and (event.parking.request_id == request_id or (event.parking.kind, event.parking.value) in mine)
        ]
        for spot in parked:
            del self.parked[spot]
        told = [k for k, row in self.outbox.items() if announcements and row.scope == scope and row.about == request_id]
        kinds = [self.outbox.pop(key).kind for key in told]
        for named in [named for named, owner in self.keys.items() if owner == request_id]:
            del self.keys[named]
        pages = self.pages.pop(request_id, {})
        self.index(scope).remove(slot.request)
        del self.requests[request_id]
        return Erased(
            requests=1,
            history=len(history),
            pages=len(pages),
            inbox=sum(at is not None for at in seen),
            parked=len(parked),
            announcements=len(kinds) - kinds.count("webhook"),
            webhooks=kinds.count("webhook"),
        )

    # bodies

    def bodies(self, scope: Scope, part: Part) -> Iterator[Body]:
        """Yield the bodies of one part."""
        match part:
            case Part.pages:
                for slot in self.slots(scope):
                    for page in self.pages.get(slot.request.id, {}).values():
                        yield _body(part, (slot.request.id, f"{page.number:06d}"), "page", page.raw)
            case Part.parked:
                for (at, key), event in self.parked.items():
                    if at == scope:
                        yield _body(part, (key, ""), event.tag, event.raw)
            case Part.announcements:
                for (at, key, sink), row in self.outbox.items():
                    if at == scope:
                        yield _body(part, (key, sink), row.kind, row.payload.encode())

    def rewrite(self, scope: Scope, body: Body, content: bytes) -> bool:
        """Replace a body if it is still what it was; return whether it was."""
        first, second = body.place
        if not any(now.place == body.place and now.stored == body.stored for now in self.bodies(scope, body.part)):
            return False
        match body.part:
            case Part.pages:
                pages = self.pages[first]
                pages[int(second)] = attrs.evolve(pages[int(second)], raw=content)
            case Part.parked:
                self.parked[scope, first] = attrs.evolve(self.parked[scope, first], raw=content)
            case Part.announcements:
                self.outbox[scope, first, second].payload = content.decode()
        return True


def _body(part: Part, place: tuple[str, str], tag: str, content: bytes) -> Body:
    return Body(part=part, place=place, tag=tag, content=content, stored=content)


def _digest(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}:{value}".encode()).hexdigest()
