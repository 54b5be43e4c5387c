"""What leanflow asks of the outside world: Store, Transport, Bus and Clock, written as promises.

An adapter is anything that keeps these promises; `leanflow.testing` has a suite for each that holds it to them,
sentence by sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import attrs

from leanflow._call import Answer, Call
from leanflow._request import DataRequest, IdKind, Resource, Scope, State
from leanflow.events import Page

__all__ = [
    "WAKE",
    "Announcement",
    "Bus",
    "Claimed",
    "Clock",
    "Committed",
    "Created",
    "Creation",
    "HistoryEntry",
    "InboxEntry",
    "OutboxRow",
    "Outcome",
    "ParkedEvent",
    "Parking",
    "Query",
    "Sink",
    "Step",
    "Store",
    "Transport",
    "WakeRow",
]

WAKE = "wake"
"""The name of the internal sink: events that concern more than the request they name."""


# --- what a step writes ------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class HistoryEntry:
    """One row of a request's history. Never holds bank data or secrets.

    Attributes:
        request_id: whose history it is.
        version: of the request after this; a declined event has the version it met.
        key: the inbox key of the event.
        at: when leanflow took the event in.
        tag: the event's tag.
        trigger: the trigger of the transition; None if declined.
        from_state: before; None at creation.
        to_state: after; equal to `from_state` if declined.
        declined: why it was declined, as ``late`` or ``guard:promptable``; None if accepted.
        event: the event as `event_to_dict` gives it.
    """

    request_id: str
    version: int
    key: str
    at: datetime
    tag: str
    trigger: str | None
    from_state: str | None
    to_state: str
    declined: str | None = None
    event: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Parking:
    """Where and until when an event is parked.

    Exactly one of (`kind`, `value`) and `request_id` is set: an event whose request is not stored is parked under the id
    it names; an early one under its request.

    Attributes:
        kind: of the id it names.
        value: the id it names.
        request_id: the request that is to get it again.
        due_at: when the worker offers it again; None for an early one, which waits for a step.
        expires_at: when it becomes an orphan.
    """

    kind: IdKind | None = None
    value: str | None = None
    request_id: str | None = None
    due_at: datetime | None = None
    expires_at: datetime


@attrs.frozen(kw_only=True)
class InboxEntry:
    """That an event was seen, or is parked.

    Attributes:
        key: what makes two copies of the event one, within its scope.
        tag: the event's tag.
        at: when leanflow took it in.
        parking: set if it is parked rather than done with.
        raw: its bytes; kept while it is parked, and for webhooks that are announced.
    """

    key: str
    tag: str
    at: datetime
    parking: Parking | None = None
    raw: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Sink:
    """One subscriber of announcements, as kept in the store.

    Attributes:
        name: unique within a scope; ``wake`` is reserved.
        states: the states whose entering it wants; None: all.
        resources: the resources it wants; None: all.
        webhooks: the webhook types it wants; ``*``: all; empty: none, and then it wants changes.
        reports: whether it wants reports (late events, orphans).
    """

    name: str
    states: frozenset[str] | None = None
    resources: frozenset[str] | None = None
    webhooks: frozenset[str] = frozenset()
    reports: bool = False

    def wants(self, announcement: Announcement) -> bool:
        """Return whether a row is to be made for this sink."""
        if announcement.kind == "webhook":
            return announcement.topic in self.webhooks or "*" in self.webhooks
        if self.webhooks:
            return False
        if announcement.kind == "report":
            return self.reports
        return (self.states is None or announcement.topic in self.states) and (
            self.resources is None or announcement.resource in self.resources
        )


@attrs.frozen(kw_only=True)
class Announcement:
    """Something to tell every sink that wants it, at least once each. The store makes one outbox row per such sink.

    Attributes:
        key: stable, the message id: ``request:version:kind`` and the like.
        kind: ``change``, ``report`` or ``webhook``.
        topic: the state entered, the report's name, or the webhook's type.
        resource: of the request; None for webhooks.
        request_id: whose order it keeps; None for webhooks, which have none.
        payload: JSON text, or what makes it: then it is made only if a sink wants it. No bank data beyond what a webhook
            carries.
    """

    key: str
    kind: str
    topic: str
    resource: str | None = None
    request_id: str | None = None
    _payload: str | Callable[[], str] = attrs.field(repr=False, eq=False)

    @property
    def payload(self) -> str:
        """The JSON text."""
        return self._payload if isinstance(self._payload, str) else self._payload()


@attrs.frozen(kw_only=True)
class WakeRow:
    """One outbox row of the internal sink ``wake``.

    Attributes:
        key: unique; ``wake:<inbox key>`` and the like.
        payload: JSON text: whom to wake and why.
        unless_alone: an entity's id: the store may leave the row out if it sees, in the same transaction, that the entity
            has no live request beside the step's own. What is made later needs no waking.
    """

    key: str
    payload: str
    unless_alone: str | None = None


@attrs.frozen(kw_only=True)
class Step:
    """What one event changes, committed whole or not at all.

    Attributes:
        scope: what confines it.
        inbox: the event.
        request_id: the request it is about; None: no request is (inbox row, wake rows and announcements alone).
        version: the version that was loaded; compared.
        call_no: the call number that was loaded; compared.
        after: the record to store, its version one more than `version`; None: declined, nothing of the request changes.
        history: the history row; None only when `request_id` is None.
        ids: ids by which Lean may name this request from now on, current and past; already stored ones are no error.
        pages: what was fetched; replaces nothing, is stored once.
        announcements: what to tell.
        wakes: whom else it concerns.
        release: the owner whose lease on the request ends with this step.
    """

    scope: Scope
    inbox: InboxEntry
    request_id: str | None = None
    version: int = 0
    call_no: int = 0
    after: DataRequest | None = None
    history: HistoryEntry | None = None
    ids: tuple[tuple[IdKind, str], ...] = ()
    pages: tuple[Page, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    wakes: tuple[WakeRow, ...] = ()
    release: str | None = None


class Outcome(StrEnum):
    """How a commit ended."""

    committed = "committed"  # everything is stored, durably
    duplicate = "duplicate"  # the inbox key was seen before; nothing is written
    conflict = "conflict"  # version or call number differ, or the request is gone; nothing is written
    buried = "buried"  # the request was erased or purged; nothing is written


@attrs.frozen(kw_only=True)
class Committed:
    """How a step ended.

    Attributes:
        outcome: see `Outcome`.
        announced: how many outbox rows were made, wake rows included.
        ids_are_new: True only if the store knows, by a look that no commit can slip past, that no other request has the
            step's ids and that nothing is parked under them. False costs a second look.
    """

    outcome: Outcome
    announced: int = 0
    ids_are_new: bool = False


@attrs.frozen(kw_only=True)
class Creation:
    """A request to insert, with its history row of version 0.

    Attributes:
        request: its `call_no` is 1 and it is claimed if `owner` is set.
        history: the row of version 0.
        announcements: what to tell.
        owner: who places it now; None: nobody, workers find it by its `due_at`.
        lease_until: until when that owner has it.
        renews: the id of the ended request that this one succeeds; its `successor_id` is set in the same commit, its
            version raised, with `renewal` as its history row.
        renewal: the history row of the predecessor.
    """

    request: DataRequest
    history: HistoryEntry
    announcements: tuple[Announcement, ...] = ()
    owner: str | None = None
    lease_until: datetime | None = None
    renews: str | None = None
    renewal: HistoryEntry | None = None


@attrs.frozen(kw_only=True)
class Created:
    """What `Store.create` found or made.

    Attributes:
        request: the stored record.
        is_new: whether this call made it.
    """

    request: DataRequest
    is_new: bool


@attrs.frozen(kw_only=True)
class Claimed:
    """A request claimed by a worker.

    Attributes:
        request: as stored, its `call_no` already raised.
        now: the store's clock at the claim (the given `now` where the store has none).
        lease_until: until when it is ours.
        taken_over: True if another owner's lease had run out: what that owner sent is unknown.
    """

    request: DataRequest
    now: datetime
    lease_until: datetime
    taken_over: bool


@attrs.frozen(kw_only=True)
class ParkedEvent:
    """A parked event, offered again.

    Attributes:
        key: its inbox key.
        tag: its tag.
        at: when it was first taken in.
        raw: its bytes.
        parking: where it is parked.
        tries: how often it was offered again.
    """

    key: str
    tag: str
    at: datetime
    raw: bytes = attrs.field(repr=False)
    parking: Parking
    tries: int = 0


@attrs.frozen(kw_only=True)
class OutboxRow:
    """One announcement for one sink.

    Attributes:
        key: the message id.
        sink: whom it is for.
        kind: ``wake``, ``change``, ``report`` or ``webhook``.
        request_id: whose order it keeps, or None.
        payload: JSON text.
        tries: deliveries tried before this one.
        set_aside: True if it was given up; `redeliver` brings it back.
        skipped: True if an earlier row of the same request and sink is set aside.
        due_at: when it is to be tried next.
        error: what went wrong the last time (a type name; no values).
    """

    key: str
    sink: str
    kind: str
    request_id: str | None
    payload: str = attrs.field(repr=False)
    tries: int = 0
    set_aside: bool = False
    skipped: bool = False
    due_at: datetime | None = None
    error: str | None = None


@attrs.frozen(kw_only=True)
class Query:
    """What `Store.find` looks for; None: any. Ordered by id (which is by time of creation).

    Attributes:
        states: any of these.
        resource: this one.
        entity_id: this one.
        customer_id: this one.
        reference: this one.
        failure: this failure code.
        held: held by this code.
        older_than: created before.
        after: only ids greater than this one (paging by key).
        limit: at most so many.
    """

    states: frozenset[State] | None = None
    resource: Resource | None = None
    entity_id: str | None = None
    customer_id: str | None = None
    reference: str | None = None
    failure: str | None = None
    held: str | None = None
    older_than: datetime | None = None
    after: str | None = None
    limit: int = 100


# --- the ports ---------------------------------------------------------------------------------------------------


class Store(Protocol):
    """Keeps requests, inbox, history, outbox and results. Built cold: no I/O before `open`.

    Promises that hold for every method: what is confined to a scope never sees or touches another's rows. A driver's
    error is a `StoreUnavailable`, and then nothing is half done: the work is stored whole or not at all. Cancelling a
    caller leaves the store usable; its step may or may not be stored, and its inbox key tells.
    """

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        ...

    async def open(self) -> None:
        """Open; create or migrate the tables if that is the store's way. Opening an open store is an error.

        Raises:
            MigrationNeeded: the tables are of another version.
            StoreUnavailable: it cannot be reached.
        """
        ...

    async def aclose(self) -> None:
        """Finish what is in flight and close. Closing a closed store does nothing."""
        ...

    async def now(self) -> datetime | None:
        """Return the store's own clock, or None if it has none (leases then go by the engine's clock)."""
        ...

    # steps

    async def create(self, creation: Creation) -> Created:
        """Insert a request, unless one like it is there.

        In this order, in one transaction: a request of the same scope with the same `key` (if the key is not None) is
        returned as it is, live or ended; then a live one with the same fingerprint is returned as it is; then, if
        `renews` names a request that has a successor, that successor is returned; else the request is inserted, with
        its history row and its announcements. Racing callers get one and the same record, and one of them `is_new`.
        """
        ...

    async def commit(self, step: Step) -> Committed:
        """Commit one step, whole or not at all; durable when this returns `committed`.

        Looks for the inbox key first: seen means `duplicate`. A parked row of that key does not count as seen: the step
        turns it into a seen one (or parks it anew). Then compares version and call number, for a declined step too:
        different means `conflict`. The inbox row of a step that did not win is never stored, so that its event can
        be decided again. A step with `after=None` raises no version but is recorded in inbox and history.
        If a tombstone covers the request, `buried`.
        """
        ...

    async def seen(self, scope: Scope, key: str) -> bool:
        """Return whether the inbox key is stored and not parked: what became of a commit of unknown outcome."""
        ...

    async def load(self, scope: Scope, request_id: str) -> DataRequest | None:
        """Return a request as last committed, or None."""
        ...

    async def owners(self, scope: Scope, kind: IdKind, value: str) -> Sequence[str]:
        """Return the ids of the requests that this id names or named."""
        ...

    async def buried(self, scope: Scope, kind: IdKind, value: str) -> bool:
        """Return whether the id named a request that was purged or erased (a tombstone, 90 days)."""
        ...

    async def find(self, scope: Scope, query: Query) -> Sequence[DataRequest]:
        """Return what the query asks for, in the order of ids."""
        ...

    async def history(self, scope: Scope, request_id: str) -> Sequence[HistoryEntry]:
        """Return a request's history, oldest first, in the order of commits."""
        ...

    async def pages(self, scope: Scope, request_id: str, *, first: int = 0, limit: int = 100) -> Sequence[Page]:
        """Return the stored pages, by number, from the `first`-th on."""
        ...

    # claims

    async def claim(
        self, scope: Scope, *, owner: str, now: datetime, lease: float, limit: int, request_id: str | None = None
    ) -> Sequence[Claimed]:
        """Claim due requests, the longest due first: raise `call_no`, write owner and lease (seconds), durably.

        Due: `due_at` is at or before the store's clock (or `now`) and no lease is running. No two claimers ever hold
        one lease. `request_id`: that one alone, and then whether it is due or not.
        """
        ...

    async def renew(self, scope: Scope, request_id: str, *, owner: str, now: datetime, lease: float) -> bool:
        """Prolong a lease; False if it is no longer this owner's."""
        ...

    async def release(self, scope: Scope, request_id: str, *, owner: str) -> None:
        """End a lease without a step; nothing happens if it is no longer this owner's."""
        ...

    async def next_due(self, scope: Scope) -> datetime | None:
        """Return the least due time of requests not under a lease, the ends of leases, parked events and outbox rows."""
        ...

    # parked events

    async def parked(self, scope: Scope, kind: IdKind, value: str) -> Sequence[ParkedEvent]:
        """Return the events parked under an id, oldest first."""
        ...

    async def early(self, scope: Scope, request_id: str) -> Sequence[ParkedEvent]:
        """Return the events parked under a request, oldest first."""
        ...

    async def parked_due(self, scope: Scope, *, now: datetime, limit: int) -> Sequence[ParkedEvent]:
        """Return parked events that are due or past their life, oldest first."""
        ...

    async def repark(self, scope: Scope, key: str, *, due_at: datetime) -> None:
        """Count one more try and set when the next is due."""
        ...

    async def orphan(self, scope: Scope, key: str, announcements: tuple[Announcement, ...]) -> bool:
        """Turn a parked event into a seen one and announce that, in one transaction; False if it is not parked."""
        ...

    # announcements

    async def register(self, scope: Scope, sinks: Sequence[Sink]) -> None:
        """Store the sinks that a deployment serves; the same name again replaces its filter. From then on commits of
        every process make rows for it."""
        ...

    async def claim_outbox(
        self, scope: Scope, *, sinks: Sequence[str], owner: str, now: datetime, lease: float, limit: int
    ) -> Sequence[OutboxRow]:
        """Claim undelivered rows of these sinks, under a lease (seconds), oldest first.

        Of each request and sink only the oldest undelivered row that is not set aside is offered, so that order per
        request holds; rows without a request have no such order. A row is offered when due and not under a lease.
        """
        ...

    async def delivered(self, scope: Scope, rows: Sequence[tuple[str, str]]) -> None:
        """Remove the rows of these (key, sink): those sinks confirmed. No other row is touched."""
        ...

    async def undelivered(
        self, scope: Scope, key: str, sink: str, *, due_at: datetime, error: str, set_aside: bool
    ) -> None:
        """Count a failed try, end the lease, and set when the next is due; or set the row aside."""
        ...

    async def redeliver(self, scope: Scope, key: str, sink: str, *, now: datetime) -> bool:
        """Bring a row that was set aside back, due now, tries 0; False if there is none."""
        ...

    async def outbox(self, scope: Scope, *, set_aside: bool | None = None, limit: int = 100) -> Sequence[OutboxRow]:
        """Return undelivered rows, oldest first."""
        ...

    async def raw_event(self, scope: Scope, key: str) -> bytes | None:
        """Return the raw bytes kept with an inbox row, if any."""
        ...

    # upkeep

    async def counts(self, scope: Scope) -> Mapping[str, int]:
        """Return how many requests are in each state (states with none may be missing)."""
        ...

    async def lag(self, scope: Scope) -> Mapping[str, tuple[int, int, datetime | None]]:
        """Return for each sink: undelivered rows, rows set aside, and the oldest undelivered one's due time."""
        ...

    async def remember(self, scope: Scope, name: str, value: str | None = None) -> str | None:
        """Store a small value under a name if `value` is given; return what is stored, or None."""
        ...

    async def purge(
        self, scope: Scope, *, older_than: datetime, states: frozenset[State] | None, now: datetime, limit: int
    ) -> int:
        """Delete at most `limit` ended requests that ended before `older_than`, with history, inbox, results and
        delivered things, leaving tombstones; return how many. Live requests are never touched."""
        ...

    async def prune(self, scope: Scope, *, before: datetime) -> int:
        """Delete seen inbox rows, orphans and tombstones older than `before`; return how many."""
        ...

    async def erase(self, scope: Scope, request_id: str, *, now: datetime) -> bool:
        """Delete everything of one request (history, inbox, parked, results, undelivered announcements), live or ended,
        in one transaction, leaving a tombstone; False if there is none."""
        ...

    # the application's own transaction

    def using(self, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Return a store that works inside the application's transaction on `connection` and never commits.

        Raises:
            InvalidRequest: the connection is of a kind or to a database that this store does not share.
        """
        ...

    async def confirm(self, scope: Scope, key: str, sink: str) -> bool:
        """Remove one outbox row; True if it was there. Inside `using`, in the application's transaction."""
        ...


class Transport(Protocol):
    """Sends calls to Lean. Owns hosts and authentication. Built cold."""

    async def send(self, call: Call) -> Answer:
        """Send one call and return what came back, whatever its status.

        Raises:
            CallFailed: nothing came back; `maybe_sent` is False only when Lean certainly has not seen it.
        """
        ...

    async def token(self, customer_id: str) -> str | None:
        """Return a customer-scoped token for the Link SDK with more than 10 minutes left, or None if there are none.

        Raises:
            CallFailed: nothing came back.
        """
        ...

    async def aclose(self) -> None:
        """Close what this transport opened; what it was handed stays open."""
        ...


class Bus(Protocol):
    """Publishes announcements; outgoing only."""

    @property
    def name(self) -> str:
        """The sink's name: stable, unique within a deployment."""
        ...

    async def open(self) -> None:
        """Connect."""
        ...

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Publish a batch; return for each row None once the broker has it durably, or what went wrong."""
        ...

    async def aclose(self) -> None:
        """Close what this bus opened."""
        ...


class Clock(Protocol):
    """Tells the time and passes it."""

    def now(self) -> datetime:
        """Return the present time, aware, UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds have passed on this clock."""
        ...


class RandomSource(Protocol):
    """Where the engine's jitter comes from; `random.Random` keeps it."""

    def random(self) -> float:
        """Return a number from 0 up to, not including, 1."""
        ...


