"""What creates and steps write.

A step asks everything that can refuse it before it writes anything: whoever loses has nothing to roll back, and the
inbox row of a loser never exists. (Writing the inbox row before the version is compared loses the event of everyone
who loses a race, for ever.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from leanflow._request import DataRequest, Scope
from leanflow.ports import (
    WAKE,
    Announcement,
    Committed,
    Created,
    Creation,
    HistoryEntry,
    Outcome,
    Step,
    WakeRow,
)
from leanflow_adapters.sqlite._plans import Plan, Read, Tx, Write
from leanflow_adapters.sqlite._rows import (
    digest,
    history_columns,
    micros,
    record_of,
    request_of,
    scope_number,
    sink_of,
)

__all__ = ["StepRows", "announce", "commit", "create", "orphan"]

SEEN = Read("SELECT 1 FROM leanflow_inbox WHERE scope = ?1 AND key = ?2")
TOMBSTONE = Read("SELECT at FROM leanflow_tombstones WHERE scope = ?1 AND digest = ?2")

_TARGET = Read(
    """SELECT number, version, call_no, due_at, held, ended_at, owner,
    EXISTS (SELECT 1 FROM leanflow_parked WHERE scope = ?1 AND key = ?3)
    FROM leanflow_requests WHERE id = ?2 AND scope = ?1"""
)
_INBOX = Write("sqlite.after_inbox", "INSERT INTO leanflow_inbox VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")
_UNPARK = Write("sqlite.after_parked", "DELETE FROM leanflow_parked WHERE scope = ?1 AND key = ?2")
_PARK = Write(
    "sqlite.after_parked",
    """INSERT INTO leanflow_parked VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, ifnull(?11, x''))
    ON CONFLICT (scope, key) DO UPDATE SET kind = ?5, value = ?6, request_id = ?7, due_at = ?8, expires_at = ?9,
    offered_at = ?10, raw = ifnull(?11, raw)""",
)

# due_at and the other indexed columns are named only when they change: naming them costs their indexes.
_SAME = "state = ?2, version = ?3, updated_at = ?4, record = ?5"
_DUE = f"{_SAME}, due_at = ?6"
_MOVED = f"{_DUE}, held = ?7, failure = ?8, ended_at = ?9"
_FREED = "owner = NULL, lease_until = NULL"
_UPDATE = Write("sqlite.after_request", f"UPDATE leanflow_requests SET {_SAME} WHERE number = ?1")  # noqa: S608
_UPDATE_FREE = Write("sqlite.after_request", f"UPDATE leanflow_requests SET {_SAME}, {_FREED} WHERE number = ?1")  # noqa: S608
_RESET = Write("sqlite.after_request", f"UPDATE leanflow_requests SET {_DUE} WHERE number = ?1")  # noqa: S608
_RESET_FREE = Write("sqlite.after_request", f"UPDATE leanflow_requests SET {_DUE}, {_FREED} WHERE number = ?1")  # noqa: S608
_MOVE = Write("sqlite.after_request", f"UPDATE leanflow_requests SET {_MOVED} WHERE number = ?1")  # noqa: S608
_MOVE_FREE = Write("sqlite.after_request", f"UPDATE leanflow_requests SET {_MOVED}, {_FREED} WHERE number = ?1")  # noqa: S608
_FREE = Write("sqlite.after_release", f"UPDATE leanflow_requests SET {_FREED} WHERE number = ?1")  # noqa: S608

_HISTORY = Write(
    "sqlite.after_history", "INSERT INTO leanflow_history VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
)
_ID = Write("sqlite.after_ids", "INSERT INTO leanflow_ids VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")
_OTHERS = Read(
    """SELECT 1 FROM leanflow_ids WHERE scope = ?1 AND kind = ?2 AND value = ?3 AND request_id <> ?4
    UNION ALL SELECT 1 FROM leanflow_parked WHERE scope = ?1 AND kind = ?2 AND value = ?3 LIMIT 1"""
)
_COMPANY = Read(
    """SELECT 1 FROM leanflow_requests INDEXED BY leanflow_requests_company
    WHERE scope = ?1 AND entity_id = ?2 AND ended_at IS NULL AND id <> ?3 LIMIT 1"""
)
_PAGE = Write("sqlite.after_results", "INSERT INTO leanflow_pages VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING")
_SINKS = Read("SELECT name, filter FROM leanflow_sinks WHERE scope = ?1 ORDER BY name")
_OUTBOX = Write(
    "sqlite.after_outbox",
    """INSERT INTO leanflow_outbox (scope, sink, key, kind, about, ordered, at, due_at, payload, head)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, NOT (?6 AND EXISTS (
        SELECT 1 FROM leanflow_outbox WHERE about = ?5 AND sink = ?2 AND ordered = 1 AND set_aside = 0 AND scope = ?1)))
    ON CONFLICT DO NOTHING""",
)

_BY_KEY = Read(
    """SELECT record, call_no FROM leanflow_requests
    WHERE id = (SELECT request_id FROM leanflow_keys WHERE scope = ?1 AND key = ?2)"""
)
_KEY = Write("sqlite.after_key", "INSERT INTO leanflow_keys VALUES (?1, ?2, ?3)")
_BY_FINGERPRINT = Read(
    "SELECT record, call_no FROM leanflow_requests WHERE scope = ?1 AND fingerprint = ?2 AND ended_at IS NULL"
)
_BY_ID = Read("SELECT record, call_no, number FROM leanflow_requests WHERE id = ?2 AND scope = ?1")
_SCOPE = Write("sqlite.after_scope", "INSERT INTO leanflow_scopes VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")
_INSERT = Write(
    "sqlite.after_insert",
    """INSERT INTO leanflow_requests VALUES
    (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)""",
)
_SUCCESSOR = Write(
    "sqlite.after_successor",
    "UPDATE leanflow_requests SET version = ?2, updated_at = ?3, record = ?4 WHERE number = ?1",
)
_ORPHAN = Read("SELECT tag, at, request_id FROM leanflow_parked WHERE scope = ?1 AND key = ?2")


@attrs.frozen
class StepRows:
    """A step with what it writes already spelled out: made by the caller, outside the transaction."""

    step: Step
    scope: int
    at: int | None
    record: str | None
    history: tuple[Any, ...] | None

    @classmethod
    def of(cls, step: Step) -> StepRows:
        """Spell out a step."""
        return cls(
            step,
            scope_number(step.scope),
            micros(step.inbox.at),
            None if step.after is None else record_of(step.after),
            None if step.history is None else history_columns(step.history),
        )


# --- steps -------------------------------------------------------------------------------------------------------


def commit(rows: StepRows, tx: Tx) -> Plan[Committed]:
    """Commit one step."""
    step = rows.step
    target: Sequence[Any] | None = None
    if step.request_id is not None:
        found = yield _TARGET, (rows.scope, step.request_id, step.inbox.key)
        if not found or found[0][1] != step.version or found[0][2] != step.call_no:
            return Committed(outcome=(yield from _why_not(rows, is_there=bool(found))))
        target = found[0]
    refused = yield from _take_in(rows, may_be_parked=target is None or target[7])
    if refused is not None:
        return Committed(outcome=refused)
    if target is not None:
        yield from _apply(rows, target)
    made = 0
    if step.announcements or step.wakes:
        wakes = (yield from _needed(rows)) if step.wakes else ()
        made = yield from announce(step.scope, step.announcements, wakes, rows.at, step.request_id, tx)
    return Committed(outcome=Outcome.committed, announced=made, ids_are_new=(yield from _ids_are_new(rows)))


def _needed(rows: StepRows) -> Plan[tuple[WakeRow, ...]]:
    """Return the wakes but those of an entity that has no other live request: with one writer that is certain."""
    needed = []
    for wake in rows.step.wakes:
        if wake.unless_alone is None or (yield _COMPANY, (rows.scope, wake.unless_alone, rows.step.request_id)):
            needed.append(wake)  # noqa: PERF401 - a comprehension cannot yield
    return tuple(needed)


def _ids_are_new(rows: StepRows) -> Plan[bool]:
    """Return whether nobody else has the step's ids. Parking is written by the same one writer: it cannot slip past."""
    for kind, value in rows.step.ids:
        if (yield _OTHERS, (rows.scope, kind.value, value, rows.step.request_id)):
            return False
    return bool(rows.step.ids)


def _why_not(rows: StepRows, *, is_there: bool) -> Plan[Outcome]:
    if (yield SEEN, (rows.scope, rows.step.inbox.key)):
        return Outcome.duplicate
    if not is_there and (yield TOMBSTONE, (rows.scope, digest("request", rows.step.request_id or ""))):
        return Outcome.buried
    return Outcome.conflict


def _take_in(rows: StepRows, *, may_be_parked: bool) -> Plan[Outcome | None]:
    """Write the inbox row, or the parked one; return why not, and then nothing is written."""
    entry, scope = rows.step.inbox, rows.scope
    parking = entry.parking
    if parking is None:
        if not (yield _INBOX, (scope, entry.key, entry.tag, rows.at)):
            return Outcome.duplicate
        if may_be_parked:
            yield _UNPARK, (scope, entry.key)
        return None
    if (yield SEEN, (scope, entry.key)):
        return Outcome.duplicate
    if parking.kind is not None and (yield TOMBSTONE, (scope, digest(parking.kind, parking.value or ""))):
        return Outcome.buried
    offered = parking.expires_at if parking.due_at is None else min(parking.due_at, parking.expires_at)
    place = (parking.kind, parking.value, parking.request_id)
    times = (micros(parking.due_at), micros(parking.expires_at), micros(offered))
    yield _PARK, (scope, entry.key, entry.tag, rows.at, *place, *times, entry.raw)
    return None


def _apply(rows: StepRows, target: Sequence[Any]) -> Plan[None]:
    step = rows.step
    number, _, _, due_at, held, ended_at, owner, _ = target
    is_free = step.release is not None and owner == step.release
    after = step.after
    if after is not None:
        light = (number, after.state.value, after.version, micros(after.updated_at), rows.record)
        due = micros(after.due_at)
        if after.held == held and not after.state.is_end:
            if due == due_at:
                yield (_UPDATE_FREE if is_free else _UPDATE), light
            else:
                yield (_RESET_FREE if is_free else _RESET), (*light, due)
        else:
            ended = ended_at
            if ended is None and after.state.is_end:
                ended = micros(after.updated_at)
            failure = None if after.failure is None else after.failure.code
            yield (_MOVE_FREE if is_free else _MOVE), (*light, due, after.held, failure, ended)
    elif is_free:
        yield _FREE, (number,)
    if rows.history is not None:
        yield _HISTORY, rows.history
    for kind, value in step.ids:
        yield _ID, (rows.scope, kind.value, value, step.request_id)
    for page in step.pages:
        yield _PAGE, (step.request_id, page.number, page.correlation_id, micros(page.refreshed_at), page.raw)


def announce(
    scope: Scope,
    announcements: Sequence[Announcement],
    wakes: Sequence[WakeRow],
    at: int | None,
    about: str | None,
    tx: Tx,
) -> Plan[int]:
    """Make one row for each sink that wants to be told; return how many were made."""
    number = scope_number(scope)
    made = 0
    for wake in wakes:
        made += yield _OUTBOX, (number, WAKE, wake.key, WAKE, None, 0, at, wake.payload)
    if not announcements:
        return made
    sinks = tx.sinks.get(scope)
    if sinks is None:
        sinks = tx.sinks[scope] = tuple(sink_of(*row) for row in (yield _SINKS, (number,)))
    for told in announcements:
        ordered = told.request_id is not None
        source = told.request_id if ordered else about
        payload: str | None = None  # made when the first sink wants it, and once
        for sink in sinks:
            if sink.wants(told):
                payload = told.payload if payload is None else payload
                made += yield _OUTBOX, (number, sink.name, told.key, told.kind, source, int(ordered), at, payload)
    return made


def orphan(scope: Scope, key: str, announcements: tuple[Announcement, ...], tx: Tx) -> Plan[bool]:
    """Turn a parked event into a seen one."""
    number = scope_number(scope)
    found = yield _ORPHAN, (number, key)
    if not found:
        return False
    tag, at, request_id = found[0]
    yield _INBOX, (number, key, tag, at)
    yield _UNPARK, (number, key)
    if announcements:
        yield from announce(scope, announcements, (), at, request_id, tx)
    return True


# --- creation ----------------------------------------------------------------------------------------------------


def create(creation: Creation, tx: Tx) -> Plan[Created]:
    """Insert a request, unless one like it is there."""
    request = creation.request
    scope = scope_number(request.scope)
    if request.key is not None:
        same = yield _BY_KEY, (scope, request.key)
        if same:
            return attrs.evolve(_found(same[0]), by_key=True)
    created = yield from _create(creation, scope, tx)
    if request.key is not None:
        yield _KEY, (scope, request.key, created.request.id)
    return created


def _create(creation: Creation, scope: int, tx: Tx) -> Plan[Created]:
    request = creation.request
    before = yield from _renewed(scope, creation)
    if request.fingerprint:
        twins = yield _BY_FINGERPRINT, (scope, request.fingerprint)
        if twins:
            twin = _found(twins[0])
            if before is not None:
                yield from _link(scope, before, twin.request.id, creation.renewal)
            return twin
    if before is not None and before[0].successor_id is not None:
        successor = yield _BY_ID, (scope, before[0].successor_id)
        if successor:
            return _found(successor[0])
    yield from _insert(creation, scope, tx)
    if before is not None:
        yield from _link(scope, before, request.id, creation.renewal)
    return Created(request=request, is_new=True)


def _found(row: Sequence[Any]) -> Created:
    return Created(request=request_of(row[0], row[1]), is_new=False)


def _renewed(scope: int, creation: Creation) -> Plan[tuple[DataRequest, int] | None]:
    if creation.renews is None:
        return None
    found = yield _BY_ID, (scope, creation.renews)
    return (request_of(found[0][0], found[0][1]), found[0][2]) if found else None


def _insert(creation: Creation, scope: int, tx: Tx) -> Plan[None]:
    request = creation.request
    yield _SCOPE, (scope, request.app, request.environment, request.region)
    created, updated = micros(request.created_at), micros(request.updated_at)
    lease_until = micros(creation.lease_until) if creation.owner is not None else None
    yield (
        _INSERT,
        (
            request.id,
            scope,
            request.state.value,
            request.version,
            request.call_no,
            creation.owner,
            lease_until,
            micros(request.due_at),
            updated if request.state.is_end else None,
            request.held,
            None if request.failure is None else request.failure.code,
            created,
            updated,
            request.resource.value,
            request.entity_id,
            request.customer_id,
            request.reference,
            request.fingerprint or None,
            record_of(request),
        ),
    )
    yield _HISTORY, history_columns(creation.history)
    yield from announce(request.scope, creation.announcements, (), created, request.id, tx)


def _link(scope: int, before: tuple[DataRequest, int], successor_id: str, renewal: HistoryEntry | None) -> Plan[None]:
    """Name the successor on the request that was renewed; a successor that is gone is replaced."""
    request, number = before
    if successor_id == request.id:
        return
    if request.successor_id is not None and (yield _BY_ID, (scope, request.successor_id)):
        return
    version = request.version + 1
    at = renewal.at if renewal is not None else request.updated_at
    after = attrs.evolve(request, successor_id=successor_id, version=version, updated_at=at)
    yield _SUCCESSOR, (number, version, micros(at), record_of(after))
    if renewal is not None:
        event = {**renewal.event, "successor_id": successor_id}
        yield _HISTORY, history_columns(attrs.evolve(renewal, version=version, event=event))
