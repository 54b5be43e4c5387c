"""What `decide` returns: a decision, and what must be done next, as data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import attrs

from leanflow._request import DataRequest, IdKind, State
from leanflow.events import Page

__all__ = [
    "Accepted",
    "Announce",
    "Change",
    "Decision",
    "Declined",
    "Effect",
    "Reason",
    "StorePages",
    "Wake",
    "WakeReason",
    "change_with",
]


class Reason(StrEnum):
    """Why an event was declined."""

    duplicate = "duplicate"  # its inbox key was seen before
    early = "early"  # its round is not that far yet: it is parked and offered again
    late = "late"  # its round is past it, or the request has ended
    stale = "stale"  # it belongs to another round, or to an older prompt or call
    guard = "guard"  # a guard said no, or the state has no use for it


class WakeReason(StrEnum):
    """Why requests are woken."""

    live = "live"  # the entity was proved live: place its other requests again
    bank = "bank"  # a bank is back: place what its absence held
    nudge = "nudge"  # something happened that proves nothing: look at the results soon
    check = "check"  # the consent may have changed: look at the entity


@attrs.frozen(kw_only=True)
class Announce:
    """Tell the sinks that the request entered a state."""

    from_state: State
    to_state: State


@attrs.frozen(kw_only=True)
class StorePages:
    """Store what was fetched, in the same step."""

    pages: tuple[Page, ...]


@attrs.frozen(kw_only=True)
class Wake:
    """Wake other requests. Exactly one of entity, customer and code says which.

    Attributes:
        reason: why.
        entity_id: the live requests of this entity.
        customer_id: the live requests of this customer; beside `entity_id` only to find the entity at Lean.
        held: the requests held by this code.
        proved_at: Lean's time of what was proved.
    """

    reason: WakeReason
    entity_id: str | None = None
    customer_id: str | None = None
    held: str | None = None
    proved_at: datetime | None = None


Effect = Announce | StorePages | Wake


@attrs.frozen(kw_only=True)
class Accepted:
    """The event moved or changed the request.

    Attributes:
        request: the new record, its version one more.
        trigger: of the transition taken.
        effects: what must be done, in the same step.
        ids: ids by which Lean may name the request from now on, but those that it has.
    """

    request: DataRequest
    trigger: str
    effects: tuple[Effect, ...] = ()
    ids: tuple[tuple[IdKind, str], ...] = ()


@attrs.frozen(kw_only=True)
class Declined:
    """The event changed nothing.

    Attributes:
        reason: why.
        guard: the guard that said no, for `Reason.guard`.
        ids: ids to remember all the same, so that their webhooks are stale and not orphans.
    """

    reason: Reason
    guard: str | None = None
    ids: tuple[tuple[IdKind, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.reason}:{self.guard}" if self.guard else str(self.reason)


Decision = Accepted | Declined


@attrs.frozen(kw_only=True)
class Change:
    """What handlers and buses get. No bank data.

    Attributes:
        key: the idempotency key: the same for every delivery of the same change.
        request: as of this change.
        from_state: before; None at creation.
        to_state: after.
        at: when.
        cause: the tag of the event that caused it, or the name of a report (``late``).
        out_of_order: True if an earlier announcement of this request to the same sink was set aside.
    """

    key: str
    request: DataRequest
    from_state: State | None
    to_state: State
    at: datetime
    cause: str
    out_of_order: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of JSON values."""
        return {**change_with(self, self.request.to_dict()), "at": self.at.isoformat()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return what `to_dict` described."""
        return cls(
            key=raw["key"],
            request=DataRequest.from_dict(raw["request"]),
            from_state=State(raw["from_state"]) if raw["from_state"] else None,
            to_state=State(raw["to_state"]),
            at=datetime.fromisoformat(raw["at"]),
            cause=raw["cause"],
            out_of_order=raw.get("out_of_order", False),
        )


def change_with(change: Change, request: dict[str, Any]) -> dict[str, Any]:
    """Return what `Change.to_dict` does, but with the time as it is, and the request as it is told here."""
    return {
        "key": change.key,
        "request": request,
        "from_state": change.from_state,
        "to_state": change.to_state.value,
        "at": change.at,
        "cause": change.cause,
        "out_of_order": change.out_of_order,
    }
