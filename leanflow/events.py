"""What happened: a closed union of frozen values, named in the past tense.

Four origins: answers of Lean's API, Lean's webhooks, the application (the Link SDK's callback included), and
leanflow itself (a due time, or another request). An event names what was seen and, where Lean says so, Lean's own
time of it (`timestamp`); `at` is the time at which leanflow took it in and is set by `stamped`. `key` is what makes
two copies of an event one: the inbox key.

Tags are stored and are a public contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Self

import attrs

__all__ = [
    "ActionDue",
    "AnswerEvent",
    "AnsweredOk",
    "AnsweredPending",
    "AnsweredReconnect",
    "AnsweredRefused",
    "BankAvailability",
    "BankReturned",
    "CallBroke",
    "Cancelled",
    "ConsentLost",
    "ConsentUpdated",
    "EntityCreated",
    "EntityProvedLive",
    "EntityReconnected",
    "EntityUpdated",
    "Event",
    "Hinted",
    "Nudged",
    "OtherWebhook",
    "Page",
    "Prompted",
    "RefreshUpdated",
    "Renewed",
    "ResultsReady",
    "Source",
    "WebhookEvent",
    "event_from_dict",
    "event_to_dict",
]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class Source(StrEnum):
    """Which call an answer belongs to."""

    placement = "placement"  # the data call itself, or POST refreshes
    results = "results"  # GET results
    refresh = "refresh"  # GET refreshes/{id}


@attrs.frozen(kw_only=True)
class Page:
    """One page of data, as Lean sent it.

    Attributes:
        raw: the whole body.
        number: 0-based.
        correlation_id: Lean's ``lean-correlation-id`` header, for support.
        refreshed_at: when Lean got the data from the bank, if it says so.
    """

    raw: bytes = attrs.field(repr=False)
    number: int = 0
    correlation_id: str | None = None
    refreshed_at: datetime | None = None


# Without slots a stamped copy costs a tenth: the dict is copied in C.
# (Spelt out at each class: mypy does not see through an alias of the decorator.)
@attrs.frozen(kw_only=True, slots=False)
class _Event:
    tag: ClassVar[str] = ""

    at: datetime | None = None
    key: str | None = None

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.at, self.key))

    def __repr__(self) -> str:
        told = ((f.name, getattr(self, f.name)) for f in attrs.fields(type(self)) if f.repr)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in told)})"

    def stamped(self, at: datetime, key: str | None = None) -> Self:
        """Return a copy taken in at `at`, with the inbox key `key` (or the one it has)."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, at=at, key=key if key is not None else self.key)
        return copy


# --- answers of Lean's API ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class AnswerEvent(_Event):
    """What an answer has whatever it says.

    Attributes:
        source: which call it answers.
        call_no: the number of that call.
        timestamp: Lean's own time of the answer (envelope, else the HTTP Date header).
        results_id: as in the body.
        reconnect_id: by the rule of Lean's three shapes: top level, in ``payload``, else the results id.
        refresh_id: as in the body.
        http_status: of the answer; 0 when there was none.
        correlation_id: Lean's ``lean-correlation-id`` header.
    """

    source: Source = Source.placement
    call_no: int | None = None
    timestamp: datetime | None = None
    results_id: str | None = None
    reconnect_id: str | None = None
    refresh_id: str | None = None
    http_status: int = 0
    correlation_id: str | None = None

    def numbered(self, call_no: int) -> Self:
        """Return a copy that belongs to the call of this number."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, call_no=call_no)
        return copy


@attrs.frozen(kw_only=True, slots=False)
class AnsweredOk(AnswerEvent):
    """The data is here.

    Attributes:
        pages: the pages collected, first to last; `parse_answer` gives the one of its answer.
        total_pages: how many there are, as that answer says; 1 when it does not say.
    """

    tag = "answered_ok"

    pages: tuple[Page, ...] = attrs.field(default=(), repr=False)
    total_pages: int = 1


@attrs.frozen(kw_only=True, slots=False)
class AnsweredPending(AnswerEvent):
    """Lean asks for patience: PENDING, PROCESSING_STARTED, or a refresh that was taken on."""

    tag = "answered_pending"


@attrs.frozen(kw_only=True, slots=False)
class AnsweredReconnect(AnswerEvent):
    """The bank wants the user again: RECONNECT_REQUIRED."""

    tag = "answered_reconnect"


@attrs.frozen(kw_only=True, slots=False)
class AnsweredRefused(AnswerEvent):
    """Anything that is neither data nor a wait: FAILED, an error envelope, or something leanflow does not know.

    Attributes:
        code: the granular code, else the status; ``NOT_JSON`` for a body that is none; ``UNKNOWN_STATUS`` is never
            invented: an unknown status is its own code.
        message: Lean's words.
        info: ``status_additional_info``: text meant for the user.
        enveloped: True when Lean's data envelope says so (a ``status`` of FAILED, CONSENT_EXPIRED or an unknown one
            under HTTP 2xx): the *results* are refused. False for an HTTP error: the *call* is refused.
        retry_after: seconds, from the ``Retry-After`` header.
        raw: the body, kept for people to look at.
    """

    tag = "answered_refused"

    code: str
    message: str = ""
    info: str | None = None
    enveloped: bool = False
    retry_after: float | None = None
    raw: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen(kw_only=True, slots=False)
class CallBroke(AnswerEvent):
    """No answer came back.

    Attributes:
        maybe_sent: False only when it is certain that Lean has not seen the call.
        reason: what went wrong, without secrets.
    """

    tag = "call_broke"

    maybe_sent: bool = True
    reason: str = ""


# --- Lean's webhooks ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class WebhookEvent(_Event):
    """What a webhook has whatever its type.

    Attributes:
        type: Lean's own, as ``results.ready``.
        event_id: Lean's id of the event, if it has one.
        timestamp: Lean's time of the event, if it has one.
        message: Lean's words.
        payload: the parsed payload, read-only.
        raw: the body as it came.
    """

    tag = "webhook"

    type: str
    event_id: str | None = None
    timestamp: datetime | None = None
    message: str | None = None
    payload: Mapping[str, Any] = attrs.field(default=_EMPTY, repr=False)
    raw: bytes = attrs.field(default=b"", repr=False)

    @property
    def inbox_key(self) -> str:
        """What makes two copies one: Lean's event id, else the digest of the body."""
        if self.event_id:
            return f"event:{self.event_id}"
        return "body:" + hashlib.sha256(self.raw).hexdigest()


@attrs.frozen(kw_only=True, slots=False)
class ResultsReady(WebhookEvent):
    """``results.ready``: says nothing about success; the GET decides."""

    tag = "results_ready"

    results_id: str


@attrs.frozen(kw_only=True, slots=False)
class EntityReconnected(WebhookEvent):
    """``entity.reconnected``: the bank let the user in again."""

    tag = "entity_reconnected"

    entity_id: str
    reconnect_id: str


@attrs.frozen(kw_only=True, slots=False)
class RefreshUpdated(WebhookEvent):
    """``entity.data.refresh.updated``; FINISHED and OK both mean done."""

    tag = "refresh_updated"

    refresh_id: str
    entity_id: str | None = None
    customer_id: str | None = None
    status: str = ""


@attrs.frozen(kw_only=True, slots=False)
class EntityCreated(WebhookEvent):
    """``entity.created``: the first connection of a customer to a bank."""

    tag = "entity_created"

    entity_id: str
    customer_id: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class EntityUpdated(WebhookEvent):
    """``entity.updated``: the consent was renewed or revoked; it does not say which."""

    tag = "entity_updated"

    entity_id: str
    customer_id: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class ConsentUpdated(WebhookEvent):
    """``consent.status.updated``."""

    tag = "consent_updated"

    customer_id: str | None = None
    entity_id: str | None = None
    status: str = ""


@attrs.frozen(kw_only=True, slots=False)
class BankAvailability(WebhookEvent):
    """``bank.availability.updated``.

    Attributes:
        bank_id: Lean's bank identifier.
        usable: True only if both ``active.data`` and ``enabled.data``.
    """

    tag = "bank_availability"

    bank_id: str = ""
    usable: bool = False


@attrs.frozen(kw_only=True, slots=False)
class OtherWebhook(WebhookEvent):
    """Any other type, those that leanflow does not know included."""

    tag = "other_webhook"


# --- the application ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class Prompted(_Event):
    """The application handed the prompt to the user."""

    tag = "prompted"


@attrs.frozen(kw_only=True, slots=False)
class Hinted(_Event):
    """The Link SDK called back: a hint, never proof.

    Attributes:
        prompt_number: of the prompt it belongs to.
        status: ``SUCCESS``, ``ERROR``, ``CANCELLED``, ``REDIRECT``, ``LINK_CLOSED_PROGRAMMATICALLY``, or another.
        secondary_status: an open set, as ``MFA_ATTEMPTS_EXHAUSTED``.
    """

    tag = "hinted"

    prompt_number: int
    status: str
    secondary_status: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class Cancelled(_Event):
    """The application withdrew the request."""

    tag = "cancelled"


@attrs.frozen(kw_only=True, slots=False)
class Renewed(_Event):
    """A successor was made."""

    tag = "renewed"

    successor_id: str


# --- leanflow itself ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class ActionDue(_Event):
    """A deadline of the request passed.

    Attributes:
        action: ``expire`` or ``give_up``.
    """

    tag = "action_due"

    action: str


@attrs.frozen(kw_only=True, slots=False)
class EntityProvedLive(_Event):
    """Another request proved that the bank lets this entity in.

    Attributes:
        proved_at: Lean's time of the proof, if it has one.
        delay: jitter before placing again.
    """

    tag = "entity_proved_live"

    proved_at: datetime | None = None
    delay: timedelta = timedelta()


@attrs.frozen(kw_only=True, slots=False)
class BankReturned(_Event):
    """A bank is available again.

    Attributes:
        delay: jitter before placing again.
    """

    tag = "bank_returned"

    delay: timedelta = timedelta()


@attrs.frozen(kw_only=True, slots=False)
class Nudged(_Event):
    """Something happened to the entity that proves nothing: look soon.

    Attributes:
        delay: jitter before looking.
    """

    tag = "nudged"

    delay: timedelta = timedelta()


@attrs.frozen(kw_only=True, slots=False)
class ConsentLost(_Event):
    """A look at the entity showed its consent revoked or past its end."""

    tag = "consent_lost"


Event = (
    AnsweredOk
    | AnsweredPending
    | AnsweredReconnect
    | AnsweredRefused
    | CallBroke
    | ResultsReady
    | EntityReconnected
    | RefreshUpdated
    | EntityCreated
    | EntityUpdated
    | ConsentUpdated
    | BankAvailability
    | OtherWebhook
    | Prompted
    | Hinted
    | Cancelled
    | Renewed
    | ActionDue
    | EntityProvedLive
    | BankReturned
    | Nudged
    | ConsentLost
)

_BY_TAG: dict[str, type[_Event]] = {cls.tag: cls for cls in Event.__args__}
_UNTOLD = frozenset({"raw", "pages", "payload", "at", "key"})  # bank data and what the history row has of its own
_FIELDS: dict[str, tuple[tuple[str, object], ...]] = {
    tag: tuple((f.name, f.default) for f in attrs.fields(cls) if f.name not in _UNTOLD) for tag, cls in _BY_TAG.items()
}


def event_to_dict(event: Event) -> dict[str, Any]:
    """Return the event as a dict of JSON values for history and export: no bank data, no bytes, no `at` and `key`."""
    out: dict[str, Any] = {"event": event.tag}
    for name, default in _FIELDS[event.tag]:
        value = getattr(event, name)
        if value != default:
            if isinstance(value, datetime):
                value = value.isoformat()
            elif isinstance(value, timedelta):
                value = value.total_seconds()
            out[name] = value
    return out


def event_from_dict(raw: Mapping[str, Any], *, at: datetime, key: str | None = None) -> Event:
    """Return the event that `event_to_dict` described, without its bytes.

    Raises:
        ValueError: the tag is not one of ours.
    """
    cls = _BY_TAG.get(raw.get("event", ""))
    if cls is None:
        msg = f"unknown event {raw.get('event')!r}; known: {', '.join(sorted(_BY_TAG))}"
        raise ValueError(msg)
    fields = {name: raw[name] for name, _ in _FIELDS[cls.tag] if name in raw}
    for name in ("timestamp", "proved_at"):
        if isinstance(fields.get(name), str):
            fields[name] = datetime.fromisoformat(fields[name])
    if "delay" in fields:
        fields["delay"] = timedelta(seconds=fields["delay"])
    if "source" in fields:
        fields["source"] = Source(fields["source"])
    return cls(at=at, key=key, **fields)  # type: ignore[return-value]  # its classes are those of `Event`
