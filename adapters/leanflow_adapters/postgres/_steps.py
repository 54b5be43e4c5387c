"""What steps and creations hand to the database: a batch of steps as columns, one array each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import attrs

from leanflow._request import DataRequest
from leanflow.ports import Announcement, Committed, Created, Creation, HistoryEntry, Outcome, Step
from leanflow_adapters.postgres._connection import Write
from leanflow_adapters.postgres._rows import Row, dump, record_of, request_of, row_id, scope_number, text

__all__ = [
    "COMMIT",
    "CREATE",
    "CREATE_MANY",
    "HELD",
    "KEY",
    "LINK",
    "PREDECESSOR",
    "SUCCESSOR",
    "CreationRow",
    "StepRow",
    "columns",
    "committed",
    "created",
    "creation_arguments",
    "creation_columns",
    "linked",
]

HELD = "held"
"""What the database says of a step whose request somebody else has locked, and of a creation like another's."""

_STEP = (
    "bigint", "uuid", "integer", "integer", "text",  # scope, request, version, call_no, release
    "text", "text", "timestamptz", "bytea",  # key, tag, at, raw
    "text", "timestamptz", "text", "text", "boolean", "timestamptz", "text",  # after: state, due, held, failure, …
    "text", "text", "text", "text", "integer", "text",  # history: trigger, from, to, declined, version, event
    "text", "text", "uuid", "timestamptz", "timestamptz",  # parking: kind, value, request, due, life
)  # fmt: skip
_ID = ("integer", "text", "text")
_PAGE = ("integer", "integer", "text", "timestamptz", "bytea")
_TOLD = ("integer", "text", "text", "text", "text", "boolean", "text")
_WAKE = ("integer", "text", "text", "text")
_GROUPS = (_STEP, _ID, _PAGE, _TOLD, _WAKE)

_TYPES = [kind for group in _GROUPS for kind in group]
_ARRAYS = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_TYPES, start=2))
COMMIT = Write(
    "postgres.after_commit",
    f'SELECT outcome, announced, ids_are_new FROM "leanflow".commit_steps($1, {_ARRAYS})',  # noqa: S608 - types alone
)

_CREATE = (
    "boolean", "uuid", "bigint", "text", "text", "text", "text", "integer", "integer", "text", "timestamptz",
    "timestamptz", "text", "timestamptz", "timestamptz", "text", "text", "text", "text", "text", "text", "text",
    "text", "timestamptz", "text", "text", "text", "text", "text",
    "text[]", "text[]", "text[]", "text[]", "boolean[]", "text[]",
)  # fmt: skip
_PLACES = ", ".join(f"${n}::{kind}" for n, kind in enumerate(_CREATE, start=1))
CREATE = Write(
    "postgres.after_create",
    f'SELECT id, record, call_no, is_new, by_key FROM "leanflow".create_request({_PLACES})',  # noqa: S608 - types alone
)
_MANY = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate((*_CREATE[1:-6], *_TOLD), start=1))
CREATE_MANY = Write(
    "postgres.after_create",
    f'SELECT record, call_no, is_new, by_key, outcome FROM "leanflow".create_requests({_MANY})',  # noqa: S608
)

PREDECESSOR = 'SELECT record, call_no FROM "leanflow".requests WHERE scope = $1 AND id = $2 FOR NO KEY UPDATE'
SUCCESSOR = 'SELECT record, call_no FROM "leanflow".requests WHERE scope = $1 AND id = $2'
KEY = Write(
    "postgres.after_key",
    'INSERT INTO "leanflow".keys (scope, key, request_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
)
LINK = Write(
    "postgres.after_link",
    """WITH linked AS (
        UPDATE "leanflow".requests SET version = $3, updated_at = $4, record = $5 WHERE scope = $1 AND id = $2)
    INSERT INTO "leanflow".history (request_id, version, key, at, tag, trigger, from_state, to_state, declined, event)
    SELECT $2, $3, $6, $4, $7, $8, $9, $10, $11, $12 WHERE $6::text IS NOT NULL""",
)


@attrs.frozen(eq=False)
class StepRow:
    """A step with its columns: made by the caller, outside the batch."""

    step: Step
    columns: tuple[Any, ...]

    @property
    def exclusive(self) -> tuple[Hashable, ...]:
        """What no two steps that are on their way may share: the request, and the inbox key."""
        return (self.step.request_id or self, (self.step.scope, self.step.inbox.key))

    @property
    def weight(self) -> int:
        """How many bytes of pages it brings."""
        return sum(len(page.raw) for page in self.step.pages)

    @classmethod
    def of(cls, step: Step) -> StepRow:
        """Spell out a step."""
        entry = step.inbox
        return cls(
            step,
            (
                scope_number(step.scope),
                None if step.request_id is None else row_id(step.request_id),
                step.version,
                step.call_no,
                step.release,
                text(entry.key),
                entry.tag,
                entry.at,
                entry.raw,
                *_after(step.after),
                *_history(step.history),
                *_parking(step),
            ),
        )


def _after(after: DataRequest | None) -> tuple[Any, ...]:
    if after is None:
        return (None, None, None, None, False, None, None)
    failure = None if after.failure is None else text(after.failure.code)
    return (
        after.state.value, after.due_at, text(after.held), failure, after.state.is_end, after.updated_at,
        record_of(after),
    )  # fmt: skip


def _history(entry: HistoryEntry | None) -> tuple[Any, ...]:
    if entry is None:
        return (None, None, None, None, None, None)
    return (
        entry.trigger, entry.from_state, entry.to_state, text(entry.declined), entry.version, dump(dict(entry.event)),
    )  # fmt: skip


def _parking(step: Step) -> tuple[Any, ...]:
    parking = step.inbox.parking
    if parking is None:
        return (None, None, None, None, None)
    request = None if parking.request_id is None else row_id(parking.request_id)
    kind = None if parking.kind is None else parking.kind.value
    return (kind, text(parking.value), request, parking.due_at, parking.expires_at)


def columns(rows: Sequence[StepRow]) -> list[Any]:
    """Return the arguments of `COMMIT` after the first: one array per column."""
    ids: list[tuple[Any, ...]] = []
    pages: list[tuple[Any, ...]] = []
    told: list[tuple[Any, ...]] = []
    wakes: list[tuple[Any, ...]] = []
    for number, row in enumerate(rows, start=1):
        step = row.step
        ids += [(number, kind.value, text(value)) for kind, value in step.ids]
        pages += [(number, p.number, text(p.correlation_id), p.refreshed_at, p.raw) for p in step.pages]
        told += [(number, *_told(one)) for one in step.announcements]
        wakes += [(number, text(w.key), text(w.payload), text(w.unless_alone)) for w in step.wakes]
    arguments: list[Any] = []
    for found, kinds in zip(([r.columns for r in rows], ids, pages, told, wakes), _GROUPS, strict=True):
        arguments += zip(*found, strict=True) if found else [()] * len(kinds)
    return arguments


def _told(one: Announcement) -> tuple[Any, ...]:
    return (text(one.key), one.kind, text(one.topic), one.resource, one.request_id is not None, text(one.payload))


def committed(row: Row) -> Committed:
    """Return how a step ended."""
    return Committed(outcome=Outcome(row["outcome"]), announced=row["announced"], ids_are_new=row["ids_are_new"])


# --- creation ----------------------------------------------------------------------------------------------------


def creation_arguments(creation: Creation, *, only_look: bool = False) -> list[Any]:
    """Return the arguments of `CREATE`."""
    request, entry = creation.request, creation.history
    told = [_told(one) for one in creation.announcements]
    return [
        only_look, row_id(request.id), scope_number(request.scope),
        text(request.app), text(request.environment), text(request.region),
        request.state.value, request.version, request.call_no, creation.owner,
        creation.lease_until if creation.owner is not None else None,
        request.due_at, text(request.held), request.created_at, request.updated_at, request.resource.value,
        text(request.entity_id), text(request.customer_id), text(request.reference), text(request.key),
        request.fingerprint or None, record_of(request),
        text(entry.key), entry.at, entry.tag, entry.trigger, entry.from_state, entry.to_state, dump(dict(entry.event)),
        *(zip(*told, strict=True) if told else [()] * 6),
    ]  # fmt: skip


@attrs.frozen(eq=False)
class CreationRow:
    """A creation with its columns."""

    creation: Creation
    columns: tuple[Any, ...]

    @property
    def exclusive(self) -> tuple[Hashable, ...]:
        """What no two creations that are on their way may share: the fingerprint, and the caller's key."""
        request = self.creation.request
        key = self if request.key is None else ("key", request.key)
        return ((request.scope, request.fingerprint), (request.scope, key))

    @property
    def weight(self) -> int:
        """It brings no bodies."""
        return 0

    @classmethod
    def of(cls, creation: Creation) -> CreationRow:
        """Spell out a creation."""
        return cls(creation, tuple(creation_arguments(creation)[1:-6]))


def creation_columns(rows: Sequence[CreationRow]) -> list[Any]:
    """Return the arguments of `CREATE_MANY`: one array per column."""
    told = [(n, *_told(one)) for n, row in enumerate(rows, start=1) for one in row.creation.announcements]
    columns: list[Any] = list(zip(*(row.columns for row in rows), strict=True))
    return [*columns, *(zip(*told, strict=True) if told else [()] * len(_TOLD))]


def created(row: Row) -> Created:
    """Return what was found or made."""
    return Created(request=request_of(row["record"], row["call_no"]), is_new=row["is_new"], by_key=row["by_key"])


def linked(before: DataRequest, successor_id: str, renewal: HistoryEntry | None) -> list[Any]:
    """Return the arguments of `LINK`: the successor's name on the request that was renewed."""
    version = before.version + 1
    at = renewal.at if renewal is not None else before.updated_at
    after = attrs.evolve(before, successor_id=successor_id, version=version, updated_at=at)
    row: tuple[Any, ...] = (None,) * 7
    if renewal is not None:
        event = {**renewal.event, "successor_id": successor_id}
        row = (
            text(renewal.key), renewal.tag, renewal.trigger, renewal.from_state, renewal.to_state, renewal.declined,
            dump(event),
        )  # fmt: skip
    return [scope_number(before.scope), row_id(before.id), version, at, record_of(after), *row]
