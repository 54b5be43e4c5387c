"""Replaying recorded histories against today's machine: the check before a changed table meets rows in flight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from leanflow._effects import Declined
from leanflow._machine import DEFAULT_POLICY, RULES, Rules, decide_by
from leanflow._policy import Policy
from leanflow._request import DataRequest, Failure, State
from leanflow.errors import InvalidRequest
from leanflow.events import AnswerEvent, Event, event_from_dict
from leanflow.testing._timeline import entry_line, timeline

__all__ = ["Difference", "assert_replays", "replay", "replay_by"]

FORMAT = 1
"""Of `LeanFlow.export`."""

# What a request has from its making on. The rest comes of its events, and is compared in the end.
_MADE_WITH = (
    "id",
    "app",
    "environment",
    "region",
    "api",
    "resource",
    "entity_id",
    "account_id",
    "customer_id",
    "params",
    "reference",
    "metadata",
    "key",
    "fingerprint",
    "give_up_at",
    "created_at",
    "predecessor_id",
)
_UNTOLD = frozenset({"call_no", "customer_ip"})  # claims leave no history, and an export has no address


@attrs.frozen(kw_only=True, repr=False)
class Difference:
    """The first thing that comes out otherwise than it did.

    Attributes:
        request_id: whose history it is.
        row: of the history, from 0; None: all rows come out the same, and the record in the end does not.
        version: that the request has there.
        what: ``decision``, ``version``, ``from_state``, or a field of the record.
        recorded: what it was.
        today: what it is now.
        timeline: the history.
    """

    request_id: str
    row: int | None
    version: int
    what: str
    recorded: str
    today: str
    timeline: str

    def __str__(self) -> str:
        where = "the record in the end" if self.row is None else f"row {self.row}"
        return (
            f"request {self.request_id}, {where} (version {self.version}), {self.what}\n"
            f"  recorded: {self.recorded}\n"
            f"  today:    {self.today}\n{self.timeline}"
        )

    __repr__ = __str__


def replay(history: Mapping[str, Any], *, policy: Policy = DEFAULT_POLICY) -> Difference | None:
    """Run a recorded history against today's table and policy; return the first difference, or None.

    Every row is decided again, declined ones too: it must be declined for the same reason, or accepted by the same
    trigger to the same state. The record that comes of them must be the recorded one, its times included; Lean's words
    about a failure are not compared, as an export may lack them.

    Args:
        history: as `LeanFlow.export` gives it, read from JSON or not.
        policy: that the engine is to have.

    Raises:
        InvalidRequest: it is not such an export, or of a later version.
    """
    return replay_by(RULES, history, policy=policy)


def assert_replays(history: Mapping[str, Any], *, policy: Policy = DEFAULT_POLICY) -> None:
    """Fail with the difference if there is one: see `replay`.

    Raises:
        AssertionError: something comes out otherwise; says what, and shows the history.
        InvalidRequest: it is no export.
    """
    difference = replay(history, policy=policy)
    if difference is not None:
        raise AssertionError(str(difference))


def replay_by(rules: Rules, history: Mapping[str, Any], *, policy: Policy) -> Difference | None:
    """Run a recorded history by the rules of any table: see `replay`."""
    recorded, rows = _read(history)

    def differs(row: int | None, version: int, what: str, was: object, now: object) -> Difference:
        told = timeline(recorded, rows)
        return Difference(
            request_id=recorded.id,
            row=row,
            version=version,
            what=what,
            recorded=str(was),
            today=str(now),
            timeline=told,
        )

    request = _as_made(recorded)
    for number, row in enumerate(rows[1:], start=1):
        event = _event_of(row)
        request = request.moved({"call_no": row["event"].get("overtaken_by", _call_no(event, request))})
        if row["from_state"] != request.state:
            return differs(number, row["version"], "from_state", row["from_state"], request.state)
        decision = decide_by(rules, request, event, policy)
        after = request if isinstance(decision, Declined) else decision.request
        declined = str(decision) if isinstance(decision, Declined) else None
        trigger = None if isinstance(decision, Declined) else decision.trigger
        today = {**row, "declined": declined, "trigger": trigger, "to_state": after.state.value}
        if today != {**row, "to_state": str(row["to_state"])}:
            return differs(number, row["version"], "decision", entry_line(row), entry_line(today))
        if row["version"] != after.version:
            return differs(number, row["version"], "version", row["version"], after.version)
        request = after
    return next((differs(None, request.version, name, was, now) for name, was, now in _unlike(recorded, request)), None)


def _read(history: Mapping[str, Any]) -> tuple[DataRequest, Sequence[Mapping[str, Any]]]:
    """Return record and rows of an export."""
    if not isinstance(history, Mapping) or "request" not in history or "history" not in history:
        raise InvalidRequest("history", "must be what LeanFlow.export gives: leanflow, request and history")
    if history.get("leanflow") != FORMAT:
        raise InvalidRequest("history", f"is of format {history.get('leanflow')!r}; this leanflow reads {FORMAT}")
    rows: Sequence[Mapping[str, Any]] = history["history"]
    try:
        recorded = DataRequest.from_dict(history["request"])
        for row in rows:
            _ = (row["version"], row["tag"], row["from_state"], State(row["to_state"]), row["declined"], row["event"])
            datetime.fromisoformat(row["at"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest("history", f"is no whole export: {error!r}") from error
    if not rows or rows[0]["tag"] != "created":
        raise InvalidRequest("history", "does not begin with the making of the request")
    return recorded, rows


def _as_made(recorded: DataRequest) -> DataRequest:
    """Return the request as it was made."""
    made = {name: getattr(recorded, name) for name in _MADE_WITH}
    at = recorded.created_at
    return DataRequest(**made, updated_at=at, place_at=at, due_at=at)


def _event_of(row: Mapping[str, Any]) -> Event:
    try:
        return event_from_dict(row["event"], at=datetime.fromisoformat(row["at"]), key=row.get("key"))
    except (TypeError, ValueError) as error:
        raise InvalidRequest("history", f"has an event that this leanflow cannot read: {error}") from error


def _call_no(event: Event, request: DataRequest) -> int:
    """Return which call was the last: an answer's own, unless its row says that it was overtaken."""
    if isinstance(event, AnswerEvent) and event.call_no is not None:
        return max(event.call_no, request.call_no)
    return request.call_no


def _unlike(recorded: DataRequest, request: DataRequest) -> list[tuple[str, object, object]]:
    """Return the fields in which two records differ: name, recorded, today. What follows from the others comes last."""
    names = [name for name in request.__dict__ if name not in _UNTOLD and name != "due_at"]
    pairs = ((name, _bare(getattr(recorded, name)), _bare(getattr(request, name))) for name in (*names, "due_at"))
    return [(name, was, now) for name, was, now in pairs if was != now]


def _bare(value: object) -> object:
    """Return a failure without the words for people."""
    return attrs.evolve(value, message="", info=None) if isinstance(value, Failure) else value
