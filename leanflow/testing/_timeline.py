"""A request's life as text: every event with its time, what it moved, what declined it, and what is due next.

One format for all who show it: failing tests, simulated runs, replays, and the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from leanflow._due import end_of, next_action
from leanflow._request import DataRequest
from leanflow.ports import HistoryEntry

__all__ = ["entry_line", "next_line", "span", "timeline"]

Row = HistoryEntry | Mapping[str, Any]
"""A history row, as `LeanFlow.history` or as `LeanFlow.export` gives it."""

_FACTS = (
    "source",
    "call_no",
    "code",
    "http_status",
    "retry_after",
    "results_id",
    "reconnect_id",
    "refresh_id",
    "prompt_number",
    "status",
    "secondary_status",
    "action",
    "delay",
    "successor_id",
    "maybe_sent",
    "reason",
)
"""What is told of an event: what decides where it leads. The whole of it is in the history."""

_PLAIN_STATUS = 200


def timeline(request: DataRequest | Mapping[str, Any], history: Sequence[Row]) -> str:
    """Return the life of a request: a heading, a line for each event in the order of the steps, and what is due next.

    Args:
        request: as last stored, or as exported.
        history: its history, oldest first, as `LeanFlow.history` or `LeanFlow.export` gives it.
    """
    record = request if isinstance(request, DataRequest) else DataRequest.from_dict(request)
    rows = [_as_dict(row) for row in history]
    wide = max((len(_outcome(row)) for row in rows), default=0)
    lines = [_heading(record)]
    for row in rows:
        at = datetime.fromisoformat(row["at"])
        version = "" if row["declined"] else f"v{row['version']}"
        since = span(at - record.created_at)
        lines.append(f"  {_moment(at)}  {since:>8}  {version:>4}  {_outcome(row):<{wide}}  {_event(row)}")
    return "\n".join([*lines, f"  {next_line(record)}"])


def entry_line(row: Row) -> str:
    """Return one history row in words: the event, what decides where it leads, and where it led or why it did not."""
    told = _as_dict(row)
    return f"{_event(told)}: {_outcome(told)}"


def next_line(request: DataRequest) -> str:
    """Return what is due next for a request, and what ends its wait."""
    if request.state.is_end:
        renewed = f"; renewed by {request.successor_id}" if request.successor_id else ""
        return f"nothing is due: {request.state} is an end{renewed}"
    if request.due_at is None:
        return "nothing is due"
    later = [
        f"{what} {_moment(moment)}"
        for what, moment in (("the wait ends", request.wait_until), ("it expires", end_of(request)))
        if moment is not None and moment != request.due_at
    ]
    action = next_action(request, request.due_at)
    return "; ".join([f"next: {action} at {_moment(request.due_at)}", *later])


def span(delta: timedelta) -> str:
    """Return a stretch of time in its two greatest units, as ``+2d 4h``; nothing for none."""
    if delta < timedelta():
        return f"-{span(-delta)[1:]}"
    seconds = round(delta.total_seconds())
    units = (("d", seconds // 86_400), ("h", seconds // 3600 % 24), ("m", seconds // 60 % 60), ("s", seconds % 60))
    first = next((place for place, (_, count) in enumerate(units) if count), None)
    if first is None:
        return ""
    return "+" + " ".join(f"{count}{unit}" for unit, count in units[first : first + 2] if count)


def _heading(request: DataRequest) -> str:
    failure = f" ({request.failure.code})" if request.failure is not None else ""
    reference = f", reference {request.reference}" if request.reference else ""
    return (
        f"request {request.id}{reference}: {request.resource} of {request.entity_id}, "
        f"now {request.state}{failure}, version {request.version}"
    )


def _event(row: Mapping[str, Any]) -> str:
    event: Mapping[str, Any] = row["event"]
    told = [f"{name}={event[name]}" for name in _FACTS if name in event and not _is_noise(event, name)]
    return " ".join([row["tag"], *told])


def _is_noise(event: Mapping[str, Any], name: str) -> bool:
    if name == "http_status":
        return bool(event[name] == _PLAIN_STATUS) or "code" not in event
    return name == "reconnect_id" and event[name] in (event.get("results_id"), event.get("refresh_id"))


def _outcome(row: Mapping[str, Any]) -> str:
    if row["declined"]:
        return f"declined: {row['declined']}"
    if row["from_state"] is None:
        return f"-> {row['to_state']}"
    if row["from_state"] == row["to_state"]:
        return f"{row['to_state']} stays"
    return f"{row['from_state']} -> {row['to_state']}"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _as_dict(row: Row) -> Mapping[str, Any]:
    if isinstance(row, HistoryEntry):
        return {**attrs.asdict(row), "at": row.at.isoformat()}
    return row
