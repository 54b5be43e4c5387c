"""The port of a store, written as promises, and what some stores can do besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from leanflow._request import DataRequest, IdKind, Scope, State
from leanflow._rows import (
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
)
from leanflow.events import Page

__all__ = ["KEYS", "REENCRYPTED", "Blocking", "Encrypting", "Hearing", "Hinting", "Store"]

KEYS = "keys"
"""The name under which an encrypting store remembers, in each scope, with which keys it is encrypted."""

REENCRYPTED = "reencrypted_to"
"""The name under which it is remembered how far encrypting anew got: a JSON array, the key first; empty: to the end."""


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

        In this order, in one transaction: the request of the same scope that was made, or returned, under the same
        `key` (if the key is not None) is returned as it is, live or ended; then a live one with the same fingerprint is
        returned as it is; then, if `renews` names a request that has a successor, that successor is returned; else the
        request is inserted, with its history row and its announcements. Racing callers get one and the same record,
        and one of them `is_new`.
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

    async def owners(self, scope: Scope, kind: IdKind, value: str) -> Sequence[DataRequest]:
        """Return the requests that this id names or named, as last committed, in the order of their ids."""
        ...

    async def buried(self, scope: Scope, kind: str, value: str) -> datetime | None:
        """Return when what the id names was purged or erased (a tombstone, 90 days), or None.

        `kind` is an `IdKind`, ``request``, or what `bury` was told.
        """
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

    async def claim(self, scope: Scope, *, owner: str, now: datetime, lease: float, limit: int) -> Sequence[Claimed]:
        """Claim due requests, the longest due first: raise `call_no`, write owner and lease (seconds), durably.

        Due: `due_at` is at or before the store's clock (or `now`) and no lease is running. No two claimers ever hold
        one lease. A request whose state or resource this version does not know is left to the newer one that made it.
        """
        ...

    async def renew(self, scope: Scope, request_id: str, *, owner: str, now: datetime, lease: float) -> bool:
        """Prolong a lease, never shorten it; False if it is no longer this owner's.

        A process that was frozen may come with a time of long ago, and have claimed the request anew since.
        """
        ...

    async def release(self, scope: Scope, request_id: str, *, owner: str) -> None:
        """End a lease without a step; nothing happens if it is no longer this owner's."""
        ...

    async def next_due(self, scope: Scope) -> datetime | None:
        """Return when the next thing can be claimed or offered, or None.

        A request under a lease counts when both its due time and the lease are over; parked events and outbox rows too.
        """
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
        """Store the sinks that a deployment serves; the same name again replaces its filter.

        From then on commits of every process make rows for it.
        """
        ...

    async def unregister(self, scope: Scope, sink: str) -> int | None:
        """Forget a sink; return how many undelivered rows went with it, or None if nothing was known of it.

        From then on commits of every process make no rows for it, until it is registered again.
        """
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
        self, scope: Scope, key: str, sink: str, *, due_at: datetime, error: str, set_aside: bool, counts: bool = True
    ) -> None:
        """Count a failed try, end the lease, and set when the next is due; or set the row aside.

        What does not count, as an outage, leaves the tries as they are.
        """
        ...

    async def redeliver(self, scope: Scope, key: str, sink: str, *, now: datetime) -> bool:
        """Bring a row that was set aside back, due now, tries 0; False if there is none."""
        ...

    async def outbox(self, scope: Scope, *, set_aside: bool | None = None, limit: int = 100) -> Sequence[OutboxRow]:
        """Return undelivered rows, oldest first."""
        ...

    # upkeep

    async def counts(self, scope: Scope) -> Mapping[str, int]:
        """Return how many requests are in each state (states with none may be missing)."""
        ...

    async def lag(self, scope: Scope) -> Mapping[str, tuple[int, int, datetime | None]]:
        """Return for each sink: undelivered rows, rows set aside, and when the oldest undelivered one was announced."""
        ...

    async def remember(self, scope: Scope, name: str, value: str | None = None) -> str | None:
        """Store a small value under a name if `value` is given; return what is stored, or None."""
        ...

    async def tally(self, scope: Scope, name: str, *, add: int = 0) -> int:
        """Add to a number kept under a name, at first 0, and return it; no addition of two at once is lost."""
        ...

    async def purge(
        self, scope: Scope, *, older_than: datetime, states: frozenset[State] | None, now: datetime, limit: int
    ) -> int:
        """Delete at most `limit` requests that ended before `older_than`, and return how many.

        History, inbox, results and delivered things go with them; tombstones stay. Live requests are never touched.
        """
        ...

    async def prune(self, scope: Scope, *, before: datetime) -> int:
        """Delete seen inbox rows, orphans and tombstones older than `before`; return how many."""
        ...

    async def purge_pages(
        self, scope: Scope, *, older_than: datetime, after: str | None = None, limit: int
    ) -> Sequence[str]:
        """Delete the pages of at most `limit` requests that ended before `older_than`; nothing else of them.

        In the order of ids, of those greater than `after` that have pages; return the ids.
        """
        ...

    async def erase(self, scope: Scope, request_id: str, *, now: datetime) -> Erased | None:
        """Delete everything of one request, live or ended, in one transaction; None if there is none.

        History, inbox, parked events, results and undelivered announcements go, and are counted; a tombstone stays.
        """
        ...

    async def bury(self, scope: Scope, kind: str, value: str, *, now: datetime) -> None:
        """Leave a tombstone for an id, of an entity or a customer; nothing else changes."""
        ...

    async def bodies(
        self, scope: Scope, part: Part, *, after: tuple[str, str] | None = None, limit: int
    ) -> Sequence[Body]:
        """Return bodies in an order of the store's own, those behind the place `after`; stored ones are not missed.

        For going through them all: each is met once, unless it came or went meanwhile. One that cannot be decrypted
        says so (`unreadable`) and stops nobody.
        """
        ...

    async def rewrite(self, scope: Scope, bodies: Sequence[tuple[Body, bytes]]) -> int:
        """Replace each body by the bytes beside it where the `stored` ones still lie there; return how many."""
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


@runtime_checkable
class Hinting(Protocol):
    """What a store may be able to do besides: hear of other processes' work before the next poll finds it."""

    async def hear(self, scope: Scope, heard: Callable[[Sequence[str]], None]) -> Hearing | None:
        """Call `heard` with the ids of requests that another process has moved, until what is returned is closed.

        Only hints: some may be lost, and none may wait for them. `heard` is called in the loop that called this, with
        no ids too, for work without a request. None: this store gives no hints.
        """
        ...


class Hearing(Protocol):
    """That hints are heard."""

    async def aclose(self) -> None:
        """Hear no more."""
        ...


@runtime_checkable
class Blocking(Protocol):
    """What a store may be able to do besides: join transactions on connections that block."""

    async def using_blocking(self) -> Callable[[Any], AbstractAsyncContextManager[Store]]:
        """Return what is `using` for connections that block. It is asked for in the engine's loop.

        What it returns is called, and what that gives is entered, used and left, in the thread of the connection. There
        is no loop there: no coroutine of it may ever wait for anything but the connection, which blocks its thread.
        """
        ...


@runtime_checkable
class Encrypting(Protocol):
    """What a store that encrypts bodies can do besides."""

    @property
    def newest(self) -> str:
        """What stands for the key that it encrypts with now."""
        ...

    def is_current(self, body: Body) -> bool:
        """Return whether it is stored as it would be stored now: with the newest key, or in the clear by right."""
        ...

    async def retire(self, scope: Scope) -> None:
        """Take note that everything of a scope is stored as it would be now: older keys are not needed for it."""
        ...
