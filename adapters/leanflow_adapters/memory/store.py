"""A store that keeps everything in dicts: the same promises as the others, but nothing outlives the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any

import attrs

from leanflow._request import DataRequest, IdKind, Resource, Scope, State
from leanflow.errors import InvalidRequest, NotStarted
from leanflow.events import Page
from leanflow.ports import (
    WAKE,
    Announcement,
    Body,
    Claimed,
    Committed,
    Created,
    Creation,
    Erased,
    HistoryEntry,
    OutboxRow,
    ParkedEvent,
    Part,
    Query,
    Sink,
    Step,
    Store,
)
from leanflow_adapters.memory._data import Data, OutboxSlot, RequestSlot

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps everything in dicts. For tests and for trying things out.

    No method suspends between looking and writing, so each is atomic within its event loop.
    """

    def __init__(self) -> None:
        self._data = Data()
        self._is_open = False

    def reopen(self) -> MemoryStore:
        """Return a second handle on the same data, not open yet: a restart, or a second worker."""
        other = type(self)()
        other._data = self._data  # noqa: SLF001 - of the same class
        return other

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._is_open

    async def open(self) -> None:
        """Open.

        Raises:
            InvalidRequest: it is open already.
        """
        if self._is_open:
            raise InvalidRequest("store", "it is open already; open it once, or ask `is_open`")
        self._is_open = True

    async def aclose(self) -> None:
        """Close; the data stays for other handles."""
        self._is_open = False

    async def now(self) -> datetime | None:
        """Return None: it has no clock of its own."""
        return None

    def _open_data(self) -> Data:
        if not self._is_open:
            raise NotStarted("store")
        return self._data

    # steps

    async def create(self, creation: Creation) -> Created:
        """Insert a request, unless one like it is there."""
        return self._open_data().create(creation)

    async def commit(self, step: Step) -> Committed:
        """Commit one step, whole or not at all."""
        return self._open_data().commit(step)

    async def seen(self, scope: Scope, key: str) -> bool:
        """Return whether the inbox key is stored and not parked."""
        return (scope, key) in self._open_data().inbox

    async def load(self, scope: Scope, request_id: str) -> DataRequest | None:
        """Return a request as last committed, or None."""
        slot = self._open_data().slot(scope, request_id)
        return None if slot is None else slot.request

    async def owners(self, scope: Scope, kind: IdKind, value: str) -> Sequence[DataRequest]:
        """Return the requests that this id names or named, as last committed."""
        data = self._open_data()
        return [data.requests[request_id].request for request_id in sorted(data.ids.get((scope, kind, value), ()))]

    async def buried(self, scope: Scope, kind: str, value: str) -> datetime | None:
        """Return when what the id names was purged or erased, or None."""
        return self._open_data().buried_at(scope, kind, value)

    async def find(self, scope: Scope, query: Query) -> Sequence[DataRequest]:
        """Return what the query asks for, in the order of ids."""
        data = self._open_data()
        ids = data.index(scope).ids(after=query.after, entity_id=query.entity_id)
        found = (data.requests[request_id].request for request_id in ids)
        return list(islice((request for request in found if _matches(request, query)), query.limit))

    async def history(self, scope: Scope, request_id: str) -> Sequence[HistoryEntry]:
        """Return a request's history, oldest first."""
        data = self._open_data()
        return () if data.slot(scope, request_id) is None else tuple(data.history.get(request_id, ()))

    async def pages(self, scope: Scope, request_id: str, *, first: int = 0, limit: int = 100) -> Sequence[Page]:
        """Return the stored pages, by number, from the `first`-th on."""
        data = self._open_data()
        if data.slot(scope, request_id) is None:
            return ()
        stored = data.pages.get(request_id, {})
        return [stored[number] for number in sorted(stored) if number >= first][:limit]

    # claims

    async def claim(self, scope: Scope, *, owner: str, now: datetime, lease: float, limit: int) -> Sequence[Claimed]:
        """Claim due requests, the longest due first."""
        data = self._open_data()
        due = takewhile(lambda one: one[0] <= now, data.index(scope).due())
        wanted = (data.requests[name] for _, name in due)
        free = list(islice((slot for slot in wanted if slot.is_free(now) and _is_known(slot.request)), limit))
        return [_claim(data, slot, owner, now, lease) for slot in free]

    async def renew(self, scope: Scope, request_id: str, *, owner: str, now: datetime, lease: float) -> bool:
        """Prolong a lease, never shorten it; False if it is no longer this owner's."""
        slot = self._open_data().slot(scope, request_id)
        if slot is None or slot.owner != owner:
            return False
        until = now + timedelta(seconds=lease)
        slot.lease_until = until if slot.lease_until is None else max(until, slot.lease_until)
        return True

    async def release(self, scope: Scope, request_id: str, *, owner: str) -> None:
        """End a lease without a step."""
        slot = self._open_data().slot(scope, request_id)
        if slot is not None and slot.owner == owner:
            slot.end_lease()

    async def next_due(self, scope: Scope) -> datetime | None:
        """Return when the next thing can be claimed or offered."""
        data = self._open_data()
        times = [self._next_claimable(data, scope)]
        times += [_offered_at(event) for place, event in data.parked.items() if place[0] == scope]
        times += [row.due_at for row in self._heads(scope)]
        return min((at for at in times if at is not None), default=None)

    def _next_claimable(self, data: Data, scope: Scope) -> datetime | None:
        first: datetime | None = None
        for due_at, request_id in data.index(scope).due():
            if first is not None and due_at >= first:
                break
            at = data.requests[request_id].claimable_at()
            first = at if first is None or at is None else min(first, at)
        return first

    # parked events

    async def parked(self, scope: Scope, kind: IdKind, value: str) -> Sequence[ParkedEvent]:
        """Return the events parked under an id, oldest first."""
        return self._parked(scope, lambda event: (event.parking.kind, event.parking.value) == (kind, value))

    async def early(self, scope: Scope, request_id: str) -> Sequence[ParkedEvent]:
        """Return the events parked under a request, oldest first."""
        return self._parked(scope, lambda event: event.parking.request_id == request_id)

    async def parked_due(self, scope: Scope, *, now: datetime, limit: int) -> Sequence[ParkedEvent]:
        """Return parked events that are due or past their life, oldest first."""
        return self._parked(scope, lambda event: _offered_at(event) <= now)[:limit]

    async def repark(self, scope: Scope, key: str, *, due_at: datetime) -> None:
        """Count one more try and set when the next is due."""
        parked = self._open_data().parked
        event = parked.get((scope, key))
        if event is not None:
            parking = attrs.evolve(event.parking, due_at=due_at)
            parked[scope, key] = attrs.evolve(event, parking=parking, tries=event.tries + 1)

    async def orphan(self, scope: Scope, key: str, announcements: tuple[Announcement, ...]) -> bool:
        """Turn a parked event into a seen one and announce that; False if it is not parked."""
        data = self._open_data()
        event = data.parked.pop((scope, key), None)
        if event is None:
            return False
        data.inbox[scope, key] = event.at
        data.announce(scope, announcements, (), at=event.at, about=event.parking.request_id)
        return True

    def _parked(self, scope: Scope, wanted: Any) -> list[ParkedEvent]:
        found = [e for place, e in self._open_data().parked.items() if place[0] == scope and wanted(e)]
        return sorted(found, key=lambda event: event.at)

    # announcements

    async def register(self, scope: Scope, sinks: Sequence[Sink]) -> None:
        """Store the sinks that a deployment serves."""
        self._open_data().sinks.setdefault(scope, {}).update({sink.name: sink for sink in sinks})

    async def unregister(self, scope: Scope, sink: str) -> int | None:
        """Forget a sink and its undelivered rows; return how many, or None if nothing was known of it."""
        data = self._open_data()
        known = data.sinks.get(scope, {}).pop(sink, None)
        gone = [place for place, row in data.outbox.items() if row.scope == scope and row.sink == sink]
        for place in gone:
            del data.outbox[place]
        return len(gone) if known is not None or gone else None

    async def claim_outbox(
        self, scope: Scope, *, sinks: Sequence[str], owner: str, now: datetime, lease: float, limit: int
    ) -> Sequence[OutboxRow]:
        """Claim undelivered rows of these sinks, oldest first, one per request and sink."""
        del owner  # a lease here is a due time in the future: nobody asks whose it is
        ready = [row for row in self._heads(scope) if row.sink in sinks and row.due_at <= now]
        claimed = []
        for row in ready[:limit]:
            claimed.append(row.row(skipped=self._is_skipped(row)))
            row.due_at = now + timedelta(seconds=lease)
        return claimed

    async def delivered(self, scope: Scope, rows: Sequence[tuple[str, str]]) -> None:
        """Remove the rows of these (key, sink)."""
        for key, sink in rows:
            self._open_data().outbox.pop((scope, key, sink), None)

    async def undelivered(
        self, scope: Scope, key: str, sink: str, *, due_at: datetime, error: str, set_aside: bool, counts: bool = True
    ) -> None:
        """Count a failed try, if it counts; set when the next is due, or set the row aside."""
        row = self._open_data().outbox.get((scope, key, sink))
        if row is not None:
            row.tries += counts
            row.due_at, row.error, row.set_aside = due_at, error, set_aside

    async def redeliver(self, scope: Scope, key: str, sink: str, *, now: datetime) -> bool:
        """Bring a row that was set aside back; False if there is none."""
        row = self._open_data().outbox.get((scope, key, sink))
        if row is None or not row.set_aside:
            return False
        row.set_aside, row.tries, row.due_at = False, 0, now
        return True

    async def outbox(self, scope: Scope, *, set_aside: bool | None = None, limit: int = 100) -> Sequence[OutboxRow]:
        """Return undelivered rows, oldest first."""
        rows = [row for row in self._rows(scope) if set_aside is None or row.set_aside is set_aside]
        return [row.row(skipped=self._is_skipped(row)) for row in rows[:limit]]

    async def confirm(self, scope: Scope, key: str, sink: str) -> bool:
        """Remove one outbox row; True if it was there."""
        return self._open_data().outbox.pop((scope, key, sink), None) is not None

    def _rows(self, scope: Scope) -> list[OutboxSlot]:
        return [row for row in self._open_data().outbox.values() if row.scope == scope]

    def _heads(self, scope: Scope) -> list[OutboxSlot]:
        """Return the rows that may be offered: of each request and sink the oldest that is not set aside."""
        taken: set[tuple[str | None, str]] = set()
        heads = []
        for row in self._rows(scope):
            order = (row.about, row.sink)
            if row.set_aside or (row.ordered and order in taken):
                continue
            if row.ordered:
                taken.add(order)
            heads.append(row)
        return heads

    def _is_skipped(self, row: OutboxSlot) -> bool:
        return row.ordered and any(
            other.set_aside and other.ordered and other.number < row.number
            for other in self._rows(row.scope)
            if (other.about, other.sink) == (row.about, row.sink)
        )

    # upkeep

    async def counts(self, scope: Scope) -> Mapping[str, int]:
        """Return how many requests are in each state."""
        return {state.value: number for state, number in self._open_data().index(scope).states.items() if number}

    async def lag(self, scope: Scope) -> Mapping[str, tuple[int, int, datetime | None]]:
        """Return for each sink: rows waiting, rows set aside, and when the oldest waiting one was announced."""
        names = {WAKE, *self._open_data().sinks.get(scope, {}), *(row.sink for row in self._rows(scope))}
        out: dict[str, tuple[int, int, datetime | None]] = {}
        for name in sorted(names):
            rows = [row for row in self._rows(scope) if row.sink == name]
            waiting = [row for row in rows if not row.set_aside]
            out[name] = (len(waiting), len(rows) - len(waiting), waiting[0].at if waiting else None)
        return out

    async def remember(self, scope: Scope, name: str, value: str | None = None) -> str | None:
        """Store a small value if one is given; return what is stored."""
        notes = self._open_data().notes
        if value is not None:
            notes[scope, name] = value
        return notes.get((scope, name))

    async def tally(self, scope: Scope, name: str, *, add: int = 0) -> int:
        """Add to a number kept under a name, at first 0, and return it."""
        tallies = self._open_data().tallies
        tallies[scope, name] += add
        return tallies[scope, name]

    async def purge(
        self, scope: Scope, *, older_than: datetime, states: frozenset[State] | None, now: datetime, limit: int
    ) -> int:
        """Delete at most `limit` requests that ended before `older_than`, leaving tombstones; return how many."""
        data = self._open_data()
        ended = [(slot.ended_at, slot) for slot in data.slots(scope) if slot.ended_at is not None]
        old = [s for at, s in sorted(ended, key=lambda item: item[0]) if at < older_than]
        chosen = [slot for slot in old if states is None or slot.request.state in states][:limit]
        for slot in chosen:
            data.bury_request(slot, now=now, announcements=False)
        return len(chosen)

    async def prune(self, scope: Scope, *, before: datetime) -> int:
        """Delete seen inbox rows and tombstones older than `before`; return how many."""
        data = self._open_data()
        old = [place for place, seen in data.inbox.items() if place[0] == scope and seen < before]
        for place in old:
            del data.inbox[place]
        stones = [place for place, at in data.tombstones.items() if place[0] == scope and at < before]
        for stone in stones:
            del data.tombstones[stone]
        return len(old) + len(stones)

    async def purge_pages(
        self, scope: Scope, *, older_than: datetime, after: str | None = None, limit: int
    ) -> Sequence[str]:
        """Delete the pages of at most `limit` requests that ended before `older_than`; return the ids."""
        data = self._open_data()
        ended = [s for s in data.slots(scope) if s.ended_at is not None and s.ended_at < older_than]
        ids = sorted(s.request.id for s in ended if data.pages.get(s.request.id))
        chosen = [request_id for request_id in ids if after is None or request_id > after][:limit]
        for request_id in chosen:
            del data.pages[request_id]
        return chosen

    async def erase(self, scope: Scope, request_id: str, *, now: datetime) -> Erased | None:
        """Delete everything of one request, leaving a tombstone; None if there is none."""
        data = self._open_data()
        slot = data.slot(scope, request_id)
        return None if slot is None else data.bury_request(slot, now=now, announcements=True)

    async def bury(self, scope: Scope, kind: str, value: str, *, now: datetime) -> None:
        """Leave a tombstone for an id."""
        self._open_data().bury(scope, kind, value, now=now)

    async def bodies(
        self, scope: Scope, part: Part, *, after: tuple[str, str] | None = None, limit: int
    ) -> Sequence[Body]:
        """Return bodies in the order of their places, those behind `after`."""
        found = sorted(self._open_data().bodies(scope, part), key=lambda body: body.place)
        return [body for body in found if after is None or body.place > after][:limit]

    async def rewrite(self, scope: Scope, bodies: Sequence[tuple[Body, bytes]]) -> int:
        """Replace each body by the bytes beside it where the stored ones still lie there; return how many."""
        data = self._open_data()
        return sum(data.rewrite(scope, body, content) for body, content in bodies)

    def using(self, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Refuse: memory has no transaction that an application could hold.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("connection", f"a memory store joins no transaction (got {type(connection).__name__})")


def _is_known(request: DataRequest) -> bool:
    """Return whether this version knows what it is: what a store on top of this one keeps may be of a newer one."""
    return isinstance(request.state, State) and isinstance(request.resource, Resource)


def _claim(data: Data, slot: RequestSlot, owner: str, now: datetime, lease: float) -> Claimed:
    taken_over = slot.owner is not None
    data.change(slot, slot.request.moved({"call_no": slot.request.call_no + 1}))
    slot.owner, slot.lease_until = owner, now + timedelta(seconds=lease)
    return Claimed(request=slot.request, now=now, lease_until=slot.lease_until, taken_over=taken_over)


def _offered_at(event: ParkedEvent) -> datetime:
    parking = event.parking
    return parking.expires_at if parking.due_at is None else min(parking.due_at, parking.expires_at)


def _matches(request: DataRequest, query: Query) -> bool:
    return (
        (query.states is None or request.state in query.states)
        and (query.resource is None or request.resource is query.resource)
        and (query.entity_id is None or request.entity_id == query.entity_id)
        and (query.customer_id is None or request.customer_id == query.customer_id)
        and (query.reference is None or request.reference == query.reference)
        and (query.failure is None or (request.failure is not None and request.failure.code == query.failure))
        and (query.held is None or request.held == query.held)
        and (query.older_than is None or request.created_at < query.older_than)
        and (query.after is None or request.id > query.after)
    )
