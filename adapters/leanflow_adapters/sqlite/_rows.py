"""Values to columns and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from leanflow._request import IdKind
from leanflow.events import Page
from leanflow.ports import HistoryEntry, OutboxRow, ParkedEvent, Parking, Sink
from leanflow_adapters._records import digest, dump, load, record_of, request_of, scope_number

__all__ = [
    "digest",
    "history_columns",
    "history_entry",
    "micros",
    "moment",
    "outbox_row",
    "page",
    "parked_event",
    "record_of",
    "request_of",
    "scope_number",
    "sink_of",
    "sink_text",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400_000_000
_SECOND = 1_000_000


def micros(at: datetime | None) -> int | None:
    """Return microseconds since 1970: integers all the way, a float would be off by one now and then."""
    if at is None:
        return None
    passed = at - _EPOCH
    return passed.days * _DAY + passed.seconds * _SECOND + passed.microseconds


def moment(number: int | None) -> datetime | None:
    """Return the time that `micros` counted."""
    return None if number is None else _EPOCH + number * _MICROSECOND


def history_columns(entry: HistoryEntry) -> tuple[Any, ...]:
    """Return the columns of a history row."""
    return (
        entry.request_id,
        entry.version,
        entry.key,
        micros(entry.at),
        entry.tag,
        entry.trigger,
        entry.from_state,
        entry.to_state,
        entry.declined,
        dump(dict(entry.event)),
    )


def history_entry(row: Sequence[Any]) -> HistoryEntry:
    """Return the entry that `history_columns` spelled out."""
    request_id, version, key, at, tag, trigger, from_state, to_state, declined, event = row
    return HistoryEntry(
        request_id=request_id,
        version=version,
        key=key,
        at=_EPOCH + at * _MICROSECOND,
        tag=tag,
        trigger=trigger,
        from_state=from_state,
        to_state=to_state,
        declined=declined,
        event=load(event),
    )


def parked_event(row: Sequence[Any]) -> ParkedEvent:
    """Return the parked event of (key, tag, at, kind, value, request_id, due_at, expires_at, tries, raw)."""
    key, tag, at, kind, value, request_id, due_at, expires_at, tries, raw = row
    parking = Parking(
        kind=None if kind is None else IdKind(kind),
        value=value,
        request_id=request_id,
        due_at=moment(due_at),
        expires_at=_EPOCH + expires_at * _MICROSECOND,
    )
    return ParkedEvent(key=key, tag=tag, at=_EPOCH + at * _MICROSECOND, raw=bytes(raw), parking=parking, tries=tries)


def outbox_row(row: Sequence[Any]) -> OutboxRow:
    """Return the row of (key, sink, kind, about, ordered, payload, tries, set_aside, due_at, error, skipped)."""
    key, sink, kind, about, ordered, payload, tries, set_aside, due_at, error, skipped = row
    return OutboxRow(
        key=key,
        sink=sink,
        kind=kind,
        request_id=about if ordered else None,
        payload=payload,
        tries=tries,
        set_aside=bool(set_aside),
        skipped=bool(skipped),
        due_at=moment(due_at),
        error=error,
    )


def page(row: Sequence[Any]) -> Page:
    """Return the page of (number, correlation_id, refreshed_at, raw)."""
    number, correlation_id, refreshed_at, raw = row
    return Page(raw=bytes(raw), number=number, correlation_id=correlation_id, refreshed_at=moment(refreshed_at))


def sink_text(sink: Sink) -> str:
    """Return the filter column of a sink."""
    return dump(
        {
            "states": None if sink.states is None else sorted(sink.states),
            "resources": None if sink.resources is None else sorted(sink.resources),
            "webhooks": sorted(sink.webhooks),
            "reports": sink.reports,
        }
    )


def sink_of(name: str, text: str) -> Sink:
    """Return the sink that `sink_text` described."""
    raw: Mapping[str, Any] = load(text)
    return Sink(
        name=name,
        states=None if raw["states"] is None else frozenset(raw["states"]),
        resources=None if raw["resources"] is None else frozenset(raw["resources"]),
        webhooks=frozenset(raw["webhooks"]),
        reports=raw["reports"],
    )
