"""Values to columns and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from leanflow._request import DataRequest, IdKind
from leanflow.events import Page
from leanflow.ports import HistoryEntry, OutboxRow, ParkedEvent, Parking
from leanflow_adapters._records import dump, load, record_of, request_of, scope_number

__all__ = [
    "dump",
    "history_entry",
    "outbox_row",
    "page",
    "parked_event",
    "record_of",
    "request_of",
    "row_id",
    "scope_number",
    "text",
]

Row = Mapping[str, Any]

_NUL = "\u2400"  # the sign for NUL: Postgres has no text with the character itself


def text(value: str | None) -> str | None:
    """Return a text as Postgres can keep it. Lean and applications send no NUL; an attacker's must not fail a batch."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", _NUL).encode("utf-8", "replace").decode()


def row_id(request_id: str) -> UUID | None:
    """Return a request's id as its column has it; None for a text that is none, and so names no request."""
    try:
        return UUID(request_id)
    except ValueError:
        return None


def request(row: Row) -> DataRequest:
    """Return the stored request of (record, call_no)."""
    return request_of(row["record"], row["call_no"])


def history_entry(row: Row) -> HistoryEntry:
    """Return a history row."""
    return HistoryEntry(
        request_id=str(row["request_id"]),
        version=row["version"],
        key=row["key"],
        at=row["at"],
        tag=row["tag"],
        trigger=row["trigger"],
        from_state=row["from_state"],
        to_state=row["to_state"],
        declined=row["declined"],
        event=load(row["event"]),
    )


def parked_event(row: Row) -> ParkedEvent:
    """Return a parked event."""
    parking = Parking(
        kind=None if row["kind"] is None else IdKind(row["kind"]),
        value=row["value"],
        request_id=None if row["request_id"] is None else str(row["request_id"]),
        due_at=row["due_at"],
        expires_at=row["expires_at"],
    )
    return ParkedEvent(
        key=row["key"], tag=row["tag"], at=row["at"], raw=row["raw"], parking=parking, tries=row["tries"]
    )


def outbox_row(row: Row) -> OutboxRow:
    """Return an outbox row."""
    return OutboxRow(
        key=row["key"],
        sink=row["sink"],
        kind=row["kind"],
        request_id=str(row["about"]) if row["ordered"] else None,
        payload=row["payload"],
        tries=row["tries"],
        set_aside=row["set_aside"],
        skipped=row["skipped"],
        due_at=row["due_at"],
        error=row["error"],
    )


def page(row: Row) -> Page:
    """Return a stored page."""
    return Page(
        raw=row["raw"], number=row["page"], correlation_id=row["correlation_id"], refreshed_at=row["refreshed_at"]
    )
