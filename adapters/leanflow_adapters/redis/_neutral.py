"""What Redis keeps as rows that any store can take, and such rows as the script `copy` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from leanflow.events import Page
from leanflow.ports import HistoryEntry, Sink
from leanflow_adapters._records import dump, load
from leanflow_adapters._tables import Row, Table
from leanflow_adapters.redis import _rows
from leanflow_adapters.redis._rows import history_bytes, micros, page_bytes, sink_bytes, text, time, written
from leanflow_adapters.redis._steps import Argument, page_field, stone

__all__ = [
    "OUTBOX",
    "PARKED",
    "REQUEST",
    "TALLY",
    "arguments",
    "history_row",
    "id_row",
    "outbox_row",
    "page_row",
    "parked_row",
    "request_row",
    "sink_row",
]

REQUEST = (
    "state", "version", "call_no", "due", "ended", "held", "failure", "created", "resource", "entity", "customer",
    "reference", "print", "record",
)  # fmt: skip
"""The fields that `request_row` takes."""

PARKED = ("tag", "at", "kind", "value", "request", "due", "expires", "tries", "raw")
"""The fields that `parked_row` takes, behind when it is offered."""

OUTBOX = ("sink", "key", "kind", "about", "ordered", "aside", "tries", "at", "due", "error", "payload")
"""The fields that `outbox_row` takes."""

TALLY = "tally:"
"""Before the names of numbers, which other stores keep among the notes."""

Fields = Sequence[bytes]


# --- as rows -----------------------------------------------------------------------------------------------------


def request_row(scope: int, request_id: bytes, fields: Fields) -> Row:
    """Return the row of a request."""
    state, version, call_no, due, ended, held, failure, created, resource, *names, record = fields
    values = record.decode()
    return (
        text(request_id), scope, text(state), int(version), int(call_no), time(due), time(ended), _some(held),
        _some(failure), time(created), datetime.fromisoformat(load(values)["updated_at"]), text(resource),
        text(names[0]), *map(_some, names[1:]), values,
    )  # fmt: skip


def id_row(scope: int, request_id: bytes, place: bytes) -> Row:
    """Return the row of an id."""
    kind, _, value = text(place).partition(":")
    return scope, kind, value, text(request_id)


def history_row(scope: int, request_id: bytes, stored: bytes) -> Row:
    """Return the row of an entry of a history."""
    one = _rows.history_entry(text(request_id), stored)
    return (
        scope, one.request_id, one.version, one.key, one.at, one.tag, one.trigger, one.from_state, one.to_state,
        one.declined, dump(one.event),
    )  # fmt: skip


def page_row(scope: int, request_id: bytes, stored: bytes) -> Row:
    """Return the row of a page."""
    one = _rows.page(stored)
    return scope, text(request_id), one.number, one.correlation_id, one.refreshed_at, one.raw


def parked_row(scope: int, key: bytes, offered: bytes, fields: Fields) -> Row:
    """Return the row of a parked event."""
    tag, at, kind, value, request_id, due, expires, tries, raw = fields
    named = text(value) if kind else None
    return (
        scope, text(key), text(tag), time(at), _some(kind), named, _some(request_id), time(due), time(expires),
        time(b"%d" % float(offered)), int(tries), raw,
    )  # fmt: skip


def outbox_row(scope: int, fields: Fields) -> Row:
    """Return the row of an announcement."""
    sink, key, kind, about, ordered, aside, tries, at, due, error, payload = fields
    return (
        scope, text(sink), text(key), text(kind), _some(about), ordered == b"1", aside == b"1", int(tries), time(at),
        time(due), _some(error), text(payload),
    )  # fmt: skip


def sink_row(scope: int, name: bytes, stored: bytes) -> Row:
    """Return the row of a sink."""
    choices = load(text(stored))
    return (scope, text(name), *(choices[one] for one in ("states", "resources", "webhooks", "reports")))


def _some(value: bytes) -> str | None:
    return text(value) if value else None


# --- as arguments ------------------------------------------------------------------------------------------------


def arguments(table: Table, row: Row) -> Sequence[Argument]:
    """Return what the script `copy` takes of a row, but for its scope."""
    values = dict(zip(table.columns, row, strict=True))
    del values["scope"]
    if table.name in _WHOLE:
        return _WHOLE[table.name](values)
    plain = [_argument(value) for value in values.values()]
    return [*plain, *_MORE[table.name](values)] if table.name in _MORE else plain


def _argument(value: Any) -> Argument:
    if isinstance(value, datetime):
        return micros(value)
    return int(value) if isinstance(value, int) else value if isinstance(value, bytes) else written(value)


def _history(values: dict[str, Any]) -> Sequence[Argument]:
    entry = HistoryEntry(**{**values, "event": load(values["event"])})
    return written(entry.request_id), history_bytes(entry)


def _page(values: dict[str, Any]) -> Sequence[Argument]:
    request_id, number = values.pop("request_id"), values.pop("page")
    return written(request_id), page_field(number), page_bytes(Page(number=number, **values))


def _note(values: dict[str, Any]) -> Sequence[Argument]:
    name, value = values["name"], values["value"]
    place = b"tallies" if name.startswith(TALLY) else b"notes"
    return place, written(name.removeprefix(TALLY)), written(value)


def _sink(values: dict[str, Any]) -> Sequence[Argument]:
    states, resources = (None if values[one] is None else frozenset(values[one]) for one in ("states", "resources"))
    webhooks = frozenset(values["webhooks"])
    sink = Sink(name=values["name"], states=states, resources=resources, webhooks=webhooks, reports=values["reports"])
    return written(sink.name), sink_bytes(sink)


_WHOLE: Mapping[str, Callable[[dict[str, Any]], Sequence[Argument]]] = MappingProxyType(
    {"history": _history, "pages": _page, "notes": _note, "sinks": _sink}
)
"""What is kept in another form."""

_MORE: Mapping[str, Callable[[dict[str, Any]], Sequence[Argument]]] = MappingProxyType(
    {
        "ids": lambda values: [stone(values["kind"], values["value"])],
        "requests": lambda values: [
            stone("request", values["id"]),
            written(load(values["record"]).get("successor_id")),
        ],
    }
)
"""What Redis keeps beside the columns."""
