"""What a store is handed and gives back: the values of the `Store` port. No behaviour beyond `Sink.wants`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from leanflow._request import DataRequest, IdKind, Resource, Scope, State
from leanflow.errors import LeanflowError
from leanflow.events import Page

__all__ = [
    "WAKE",
    "Announcement",
    "Body",
    "Claimed",
    "Committed",
    "Created",
    "Creation",
    "Erased",
    "HistoryEntry",
    "InboxEntry",
    "OutboxRow",
    "Outcome",
    "ParkedEvent",
    "Parking",
    "Part",
    "Query",
    "Reencrypted",
    "Sink",
    "Step",
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

    Exactly one of (`kind`, `value`) and `request_id` is set: an event whose request is not stored is parked under the
    id it names; an early one under its request.

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
        raw: its bytes; kept while it is parked.
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
        payload: JSON text, or what makes it: then it is made only if a sink wants it. No bank data beyond what a
            webhook carries.
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
        unless_alone: an entity's id: the store may leave the row out if it sees, in the same transaction, that the
            entity has no live request beside the step's own. What is made later needs no waking.
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
        by_key: whether it was found by its key.
    """

    request: DataRequest
    is_new: bool
    by_key: bool = False


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
        tries: how often the sink did not take it; an outage of a bus, or of Lean, does not count.
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


# --- upkeep ------------------------------------------------------------------------------------------------------


class Part(StrEnum):
    """The parts of a store that hold bodies."""

    pages = "pages"  # what was fetched
    parked = "parked"  # parked events, as they came
    announcements = "announcements"  # the payloads of undelivered announcements


@attrs.frozen(kw_only=True)
class Body:
    """One stored body: a page, a parked event, or the payload of an undelivered announcement.

    Attributes:
        part: of the store that holds it.
        place: where in that part: (request id, page), (inbox key, nothing) or (announcement key, sink).
        tag: a parked event's tag, an announcement's kind; ``page``.
        content: its bytes; of an announcement the JSON text in UTF-8.
        stored: the bytes that lie in the store: others than `content` if they are encrypted there.
        unreadable: why they cannot be decrypted, if they cannot: a `KeyMissing` or `MalformedBody`. Then `content` is
            empty.
    """

    part: Part
    place: tuple[str, str]
    tag: str
    content: bytes = attrs.field(repr=False)
    stored: bytes = attrs.field(repr=False)
    unreadable: LeanflowError | None = attrs.field(default=None, eq=False)


@attrs.frozen(kw_only=True)
class Reencrypted:
    """How far the bodies of a scope are encrypted anew.

    Attributes:
        looked_at: bodies that were looked at.
        written: those of them that were encrypted otherwise, or not at all, and now are with the newest key.
        unreadable: those that nobody can decrypt: altered, or encrypted with a key that is given as lost. They stay.
    """

    looked_at: int = 0
    written: int = 0
    unreadable: int = 0


@attrs.frozen(kw_only=True)
class Erased:
    """What was deleted of an entity, a customer or a request.

    Attributes:
        requests: with all that follows.
        cancelled: how many of them were live, and were cancelled first.
        history: history rows.
        pages: pages of results.
        inbox: inbox rows.
        parked: parked webhooks.
        announcements: undelivered announcements of changes, reports and wakes.
        webhooks: undelivered announcements of webhooks, which carry the webhook's body.
        unreadable: parked webhooks and announcements that stay, because nobody can decrypt them to see whom they name,
            and no request that was erased tells.
    """

    requests: int = 0
    cancelled: int = 0
    history: int = 0
    pages: int = 0
    inbox: int = 0
    parked: int = 0
    announcements: int = 0
    webhooks: int = 0
    unreadable: int = 0

    def __add__(self, other: Erased) -> Erased:
        mine, others = attrs.astuple(self), attrs.astuple(other)
        names = [field.name for field in attrs.fields(Erased)]
        return Erased(**{name: one + two for name, one, two in zip(names, mine, others, strict=True)})
