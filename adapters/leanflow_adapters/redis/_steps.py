"""What steps and creations hand to their scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from leanflow._request import DataRequest
from leanflow.ports import Announcement, Creation, HistoryEntry, Step
from leanflow_adapters._records import digest
from leanflow_adapters.redis._rows import history_bytes, micros, page_bytes, record, written

__all__ = ["creation_arguments", "listed", "page_field", "step_arguments", "stone", "told"]

Argument = bytes | int


def stone(kind: str, value: str) -> bytes:
    """Return what a tombstone keeps of an id."""
    return digest(kind, value.encode("utf-8", "replace").decode())


def page_field(number: int) -> bytes:
    """Return under what name a page is kept: in the order of numbers."""
    return b"%06d" % number


def listed(rows: Sequence[Iterable[Argument]]) -> list[Argument]:
    """Return how many rows there are, and then what is in them."""
    return [len(rows), *(value for row in rows for value in row)]


def told(announcements: Sequence[Announcement]) -> list[Argument]:
    """Return announcements."""
    return listed(
        [
            (
                written(one.key), one.kind.encode(), written(one.topic), written(one.resource),
                written(one.request_id), written(one.payload),
            )
            for one in announcements
        ]
    )  # fmt: skip


def step_arguments(step: Step) -> list[Argument]:
    """Return the arguments of `commit`."""
    entry = step.inbox
    return [
        written(step.request_id),
        b"" if step.request_id is None else stone("request", step.request_id),
        step.version,
        step.call_no,
        written(step.release),
        written(entry.key),
        micros(entry.at),
        history_bytes(step.history),
        *_after(step.after),
        *_parking(step),
        *listed([(kind.value.encode(), written(value), stone(kind, value)) for kind, value in step.ids]),
        *listed([(page_field(page.number), page_bytes(page)) for page in step.pages]),
        *told(step.announcements),
        *listed([(written(w.key), written(w.payload), written(w.unless_alone)) for w in step.wakes]),
    ]


def _after(after: DataRequest | None) -> list[Argument]:
    if after is None:
        return [0]
    return [
        1, after.state.value.encode(), micros(after.due_at), written(after.held), _failure(after),
        int(after.state.is_end), micros(after.updated_at), record(after),
    ]  # fmt: skip


def _failure(request: DataRequest) -> bytes:
    return b"" if request.failure is None else written(request.failure.code)


def _parking(step: Step) -> list[Argument]:
    parking, raw = step.inbox.parking, step.inbox.raw
    if parking is None:
        return [0]
    kind, value = parking.kind, parking.value
    due_at, expires_at = parking.due_at, parking.expires_at
    return [
        1, written(step.inbox.tag), written(kind), written(value),
        b"" if kind is None or value is None else stone(kind, value),
        written(parking.request_id), micros(due_at), micros(expires_at),
        micros(expires_at if due_at is None else min(due_at, expires_at)), int(raw is not None), raw or b"",
    ]  # fmt: skip


def creation_arguments(creation: Creation, before: DataRequest | None) -> list[Argument]:
    """Return the arguments of `create`; `before` is the request that is renewed, as it was loaded."""
    request = creation.request
    lease_until = creation.lease_until if creation.owner is not None else None
    return [
        written(request.id), written(request.key), stone("request", request.id),
        request.state.value.encode(), request.version, request.call_no, written(creation.owner), micros(lease_until),
        micros(request.due_at), micros(request.updated_at if request.state.is_end else None), written(request.held),
        _failure(request), micros(request.created_at), request.resource.value.encode(), written(request.entity_id),
        written(request.customer_id), written(request.reference), written(request.fingerprint), record(request),
        history_bytes(creation.history), *map(written, attrs.astuple(request.scope)),
        *_predecessor(creation, before), *told(creation.announcements),
    ]  # fmt: skip


def _predecessor(creation: Creation, before: DataRequest | None) -> list[Argument]:
    """Return what becomes of the request that is renewed. Its successor is the new one: else the script says which."""
    if before is None:
        return [b"", b"", b"", b""]
    entry, successor = creation.renewal, creation.request.id
    version = before.version + 1
    at = before.updated_at if entry is None else entry.at
    after = attrs.evolve(before, successor_id=successor, version=version, updated_at=at)
    return [written(before.id), before.version, record(after), history_bytes(_renewal(entry, version, successor))]


def _renewal(entry: HistoryEntry | None, version: int, successor: str) -> HistoryEntry | None:
    if entry is None:
        return None
    return attrs.evolve(entry, version=version, event={**entry.event, "successor_id": successor})
