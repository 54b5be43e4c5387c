"""Values to what Redis keeps, and back. Everything there is bytes; nothing at all stands for None."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from leanflow._request import DataRequest, IdKind, Scope
from leanflow.events import Page
from leanflow.ports import HistoryEntry, OutboxRow, ParkedEvent, Parking, Sink
from leanflow_adapters._records import dump, load, record_of, request_of, scope_number

__all__ = [
    "base_at",
    "base_of",
    "history_bytes",
    "history_entry",
    "micros",
    "outbox_row",
    "page",
    "page_bytes",
    "parked_event",
    "record",
    "request",
    "sink_bytes",
    "text",
    "time",
    "written",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = datetime.resolution
_plain = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LOSSLESS = "surrogatepass"  # half a surrogate pair, from an attacker's JSON, is kept as it is


def written(value: str | None) -> bytes:
    """Return a text as bytes; nothing for None."""
    return b"" if value is None else value.encode("utf-8", _LOSSLESS)


def text(value: bytes) -> str:
    """Return the text that `written` spelled out."""
    return value.decode("utf-8", _LOSSLESS)


def micros(at: datetime | None) -> bytes:
    """Return a time as whole microseconds since 1970; nothing for None."""
    return b"" if at is None else b"%d" % ((at - _EPOCH) // _TICK)


def time(value: bytes) -> datetime | None:
    """Return the time that `micros` spelled out."""
    return _EPOCH + int(value) * _TICK if value else None


def _sure(value: bytes) -> datetime:
    return _EPOCH + int(value) * _TICK


def base_of(prefix: str, scope: Scope) -> bytes:
    """Return what all keys of a scope begin with: a hash tag, so that a cluster keeps them in one slot."""
    return base_at(prefix, scope_number(scope))


def base_at(prefix: str, number: int) -> bytes:
    """Return the same of the scope that this number stands for."""
    return b"{%s:%016x}:" % (written(prefix), number % 2**64)


def record(value: DataRequest) -> bytes:
    """Return a request as it is kept."""
    return record_of(value).encode()


def request(stored: bytes, call_no: bytes | int) -> DataRequest:
    """Return the stored request; claims raise the call number without touching the record."""
    return request_of(stored.decode(), int(call_no))


def history_bytes(entry: HistoryEntry | None) -> bytes:
    """Return a history row: its inbox key, with the key's length before it, and the rest as JSON."""
    if entry is None:
        return b""
    key = written(entry.key)
    rest = [
        entry.version, int(micros(entry.at)), entry.tag, entry.trigger, entry.from_state, entry.to_state,
        entry.declined, dict(entry.event),
    ]  # fmt: skip
    return b"%d:%s%s" % (len(key), key, dump(rest).encode())


def history_entry(request_id: str, stored: bytes) -> HistoryEntry:
    """Return the row that `history_bytes` spelled out."""
    size, _, rest = stored.partition(b":")
    version, at, tag, trigger, from_state, to_state, declined, event = load(rest[int(size) :].decode())
    return HistoryEntry(
        request_id=request_id,
        version=version,
        key=text(rest[: int(size)]),
        at=_EPOCH + at * _TICK,
        tag=tag,
        trigger=trigger,
        from_state=from_state,
        to_state=to_state,
        declined=declined,
        event=event,
    )


def page_bytes(value: Page) -> bytes:
    """Return a page: one line of JSON, then its bytes as they came."""
    head = dump([value.number, value.correlation_id, micros(value.refreshed_at).decode()])
    return b"%s\n%s" % (head.encode(), value.raw)


def page(stored: bytes) -> Page:
    """Return the page that `page_bytes` spelled out."""
    head, _, raw = stored.partition(b"\n")
    number, correlation_id, refreshed_at = load(head.decode())
    return Page(raw=raw, number=number, correlation_id=correlation_id, refreshed_at=time(refreshed_at.encode()))


def parked_event(row: Sequence[Any]) -> ParkedEvent:
    """Return a parked event."""
    key, tag, at, _, kind, value, request_id, due_at, expires_at, tries, raw = row
    parking = Parking(
        kind=IdKind(text(kind)) if kind else None,
        value=text(value) if kind else None,
        request_id=text(request_id) if request_id else None,
        due_at=time(due_at),
        expires_at=_sure(expires_at),
    )
    return ParkedEvent(key=text(key), tag=text(tag), at=_sure(at), raw=raw, parking=parking, tries=int(tries))


def outbox_row(row: Sequence[Any]) -> OutboxRow:
    """Return an outbox row."""
    key, sink, kind, about, payload, tries, aside, skipped, due_at, error = row[:10]
    return OutboxRow(
        key=text(key),
        sink=text(sink),
        kind=text(kind),
        request_id=text(about) if about else None,
        payload=text(payload),
        tries=int(tries),
        set_aside=bool(aside),
        skipped=bool(skipped),
        due_at=time(due_at),
        error=text(error) if error else None,
    )


def sink_bytes(sink: Sink) -> bytes:
    """Return a sink's filter as JSON, which the scripts read; not in ASCII, for they know no half surrogate pairs."""
    choices: Mapping[str, Any] = {
        "states": None if sink.states is None else sorted(sink.states),
        "resources": None if sink.resources is None else sorted(sink.resources),
        "webhooks": sorted(sink.webhooks),
        "reports": sink.reports,
    }
    return written(_plain(choices))
