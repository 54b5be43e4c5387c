"""Announcements: who is told, and what was not delivered yet.

`head` marks the rows that may be offered: of each request and sink the oldest that is not set aside, and every row
that keeps no order. Only they are in the index that relays look at, so a million rows waiting behind others cost them
nothing. A lease is a due time in the future.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from leanflow._request import Scope
from leanflow._sites import site
from leanflow.ports import WAKE, OutboxRow, Sink
from leanflow_adapters.sqlite._plans import Plan, Read, Tx, Write
from leanflow_adapters.sqlite._rows import micros, moment, outbox_row, scope_number, sink_text

__all__ = ["claim_outbox", "delivered", "lag", "outbox", "redeliver", "register", "undelivered", "unregister"]

_COLUMNS = """key, sink, kind, about, ordered, payload, tries, set_aside, due_at, error, ordered AND EXISTS (
    SELECT 1 FROM leanflow_outbox AS earlier INDEXED BY leanflow_outbox_about WHERE earlier.about = here.about AND
    earlier.sink = here.sink AND earlier.scope = here.scope AND earlier.ordered = 1 AND earlier.set_aside = 1 AND
    earlier.number < here.number)"""

_AT_ONCE = 100
"""Rows in one statement at most: what a relay claims, and confirms, at a time unless much has piled up."""


def _some(first: int) -> str:
    """Return as many places for values, numbered from `first`."""
    # No JSON array instead: SQLite ends a text in one at a NUL, which keys made of what Lean sent may have.
    return ", ".join(f"?{first + place}" for place in range(_AT_ONCE))


def _by_some(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Return the values for `_some`, in slices; the last is filled up with NULL, which equals nothing."""
    for first in range(0, len(values), _AT_ONCE):
        some = values[first : first + _AT_ONCE]
        yield (*some, *(None,) * (_AT_ONCE - len(some)))


_REGISTER = Write(
    "sqlite.after_register",
    "INSERT INTO leanflow_sinks VALUES (?1, ?2, ?3) ON CONFLICT (scope, name) DO UPDATE SET filter = ?3",
)
_UNREGISTER = Write("sqlite.after_unregister", "DELETE FROM leanflow_sinks WHERE scope = ?1 AND name = ?2")
_DROP = Write(
    "sqlite.after_unregister",
    """DELETE FROM leanflow_outbox WHERE number IN (
    SELECT number FROM leanflow_outbox WHERE scope = ?1 AND sink = ?2 LIMIT ?3)""",
)
_READY = Read(
    f"""SELECT number, {_COLUMNS} FROM leanflow_outbox AS here
    WHERE scope = ?1 AND sink = ?2 AND head = 1 AND due_at <= ?3 ORDER BY due_at, number LIMIT ?4"""  # noqa: S608
)
_LEASE = Write(
    "sqlite.after_outbox_claim",
    f"UPDATE leanflow_outbox SET due_at = ?1, owner = ?2 WHERE number IN ({_some(3)})",  # noqa: S608
)
_DELETE = Write(
    "sqlite.after_outbox_delete",
    f"""DELETE FROM leanflow_outbox WHERE scope = ?1 AND sink = ?2 AND key IN ({_some(3)})
    RETURNING about, ordered""",  # noqa: S608
    rows=True,
)
_NEXT_HEADS = Write(
    "sqlite.after_outbox_head",
    f"""UPDATE leanflow_outbox SET head = 1 WHERE head = 0 AND number IN (SELECT min(number) FROM leanflow_outbox
    WHERE about IN ({_some(3)}) AND sink = ?2 AND +scope = ?1 AND ordered = 1 AND set_aside = 0 GROUP BY about)""",  # noqa: S608
)
_ONE_HEAD = Write(
    "sqlite.after_outbox_head",
    """UPDATE leanflow_outbox SET head = (number = (SELECT min(number) FROM leanflow_outbox
        WHERE about = ?2 AND sink = ?3 AND scope = ?1 AND ordered = 1 AND set_aside = 0))
    WHERE about = ?2 AND sink = ?3 AND scope = ?1 AND ordered = 1""",
)
_FAILED = Write(
    "sqlite.after_undelivered",
    """UPDATE leanflow_outbox SET tries = tries + ?7, due_at = ?4, error = ?5, owner = NULL, set_aside = ?6,
    head = head AND NOT ?6 WHERE scope = ?1 AND sink = ?2 AND key = ?3 RETURNING about, ordered""",
    rows=True,
)
_REDELIVER = Write(
    "sqlite.after_redeliver",
    """UPDATE leanflow_outbox SET set_aside = 0, tries = 0, due_at = ?4, head = NOT ordered
    WHERE scope = ?1 AND sink = ?2 AND key = ?3 AND set_aside = 1 RETURNING about, ordered""",
    rows=True,
)
_ROWS = Read(
    # The plus keeps SQLite to the order of numbers, which ends at the limit; by an index it would sort all rows first.
    f"""SELECT {_COLUMNS} FROM leanflow_outbox AS here
    WHERE +scope = ?1 AND set_aside <= ?2 ORDER BY number LIMIT ?3"""  # noqa: S608
)
_ROWS_ASIDE = Read(
    f"""SELECT {_COLUMNS} FROM leanflow_outbox AS here INDEXED BY leanflow_outbox_aside
    WHERE scope = ?1 AND set_aside = 1 ORDER BY number LIMIT ?2"""  # noqa: S608
)
# Each is answered by an index alone: the rows of a bus that was away for days are gigabytes.
_ALL = Read("SELECT sink, count(*) FROM leanflow_outbox INDEXED BY leanflow_outbox_key WHERE scope = ?1 GROUP BY sink")
_ASIDE = Read(
    """SELECT sink, count(*) FROM leanflow_outbox INDEXED BY leanflow_outbox_aside
    WHERE scope = ?1 AND set_aside = 1 GROUP BY sink"""
)
_OLDEST = Read(
    """SELECT min(at) FROM leanflow_outbox INDEXED BY leanflow_outbox_head
    WHERE scope = ?1 AND sink = ?2 AND head = 1"""
)
_NAMES = Read("SELECT name FROM leanflow_sinks WHERE scope = ?1")


def register(scope: Scope, sinks: Sequence[Sink], tx: Tx) -> Plan[None]:
    """Store sinks."""
    for sink in sinks:
        yield _REGISTER, (scope_number(scope), sink.name, sink_text(sink))
    tx.sinks.pop(scope, None)


def unregister(scope: Scope, sink: str, limit: int, tx: Tx) -> Plan[tuple[bool, int]]:
    """Forget a sink and a slice of its rows; return whether it was registered, and how many rows went."""
    number = scope_number(scope)
    known = yield _UNREGISTER, (number, sink)
    tx.sinks.pop(scope, None)
    gone = yield _DROP, (number, sink, limit)
    return bool(known), gone


def claim_outbox(
    scope: Scope, sinks: Sequence[str], owner: str, now: datetime, lease: float, limit: int
) -> Plan[Sequence[OutboxRow]]:
    """Claim rows of these sinks."""
    number, at = scope_number(scope), micros(now)
    found = []
    for sink in dict.fromkeys(sinks):
        found += yield _READY, (number, sink, at, limit)
    if len(found) > limit:  # the longest due of all sinks, so that a busy one does not starve the others
        found = sorted(found, key=lambda row: (row[9], row[0]))[:limit]
    until = micros(now + timedelta(seconds=lease))
    for numbers in _by_some([row[0] for row in found]):
        yield _LEASE, (until, owner, *numbers)
    return [outbox_row(row[1:]) for row in sorted(found)]


def delivered(scope: Scope, rows: Sequence[tuple[str, str]]) -> Plan[int]:
    """Remove rows; return how many there were."""
    number = scope_number(scope)
    removed = 0
    site("sqlite.before_outbox_delete")
    for sink in dict.fromkeys(sink for _, sink in rows):
        for keys in _by_some([key for key, its in rows if its == sink]):
            gone = yield _DELETE, (number, sink, *keys)
            removed += len(gone)
            yield from _next_heads(number, sink, gone)
    return removed


def _next_heads(scope: int, sink: str, moved: Sequence[tuple[str, int]]) -> Plan[None]:
    """Offer what is next of those of whom a row went or was set aside; `moved` has (about, ordered)."""
    for abouts in _by_some([about for about, ordered in moved if ordered]):
        yield _NEXT_HEADS, (scope, sink, *abouts)


def undelivered(
    scope: Scope, key: str, sink: str, *, due_at: datetime, error: str, set_aside: bool, counts: bool
) -> Plan[None]:
    """Count a failed try, if it counts."""
    number = scope_number(scope)
    changed = yield _FAILED, (number, sink, key, micros(due_at), error, int(set_aside), int(counts))
    if set_aside:
        yield from _next_heads(number, sink, changed)


def redeliver(scope: Scope, key: str, sink: str, now: datetime) -> Plan[bool]:
    """Bring back a row that was set aside."""
    number = scope_number(scope)
    changed = yield _REDELIVER, (number, sink, key, micros(now))
    for about, ordered in changed:
        if ordered:
            yield _ONE_HEAD, (number, about, sink)
    return bool(changed)


def outbox(scope: Scope, set_aside: bool | None, limit: int) -> Plan[Sequence[OutboxRow]]:  # noqa: FBT001
    """Return undelivered rows."""
    number = scope_number(scope)
    if set_aside:
        rows = yield _ROWS_ASIDE, (number, limit)
    else:
        rows = yield _ROWS, (number, int(set_aside is None), limit)
    return [outbox_row(row) for row in rows]


def lag(scope: Scope) -> Plan[dict[str, tuple[int, int, datetime | None]]]:
    """Return for each sink what waits, what is set aside, and when the oldest waiting row is due."""
    number = scope_number(scope)
    names = yield _NAMES, (number,)
    out: dict[str, tuple[int, int, datetime | None]] = {name: (0, 0, None) for (name,) in [(WAKE,), *names]}
    aside = dict((yield _ASIDE, (number,)))
    for sink, rows in (yield _ALL, (number,)):
        ((oldest,),) = yield _OLDEST, (number, sink)
        out[sink] = (rows - aside.get(sink, 0), aside.get(sink, 0), moment(oldest))
    return dict(sorted(out.items()))
