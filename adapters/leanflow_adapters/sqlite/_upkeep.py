"""Small values, and what is deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from leanflow._request import Scope, State
from leanflow._sites import site
from leanflow.ports import Erased
from leanflow_adapters.sqlite._plans import Plan, Read, Write
from leanflow_adapters.sqlite._rows import digest, micros, moment, scope_number

__all__ = [
    "BURIED", "SLICE", "TALLY", "bury", "bury_requests", "erase", "forget", "old_ends", "old_keys", "old_stones",
    "recall", "remember", "repark", "tally",
]  # fmt: skip

SLICE = 100
"""Deletions go in transactions of this size, so that steps get in between."""

BURIED = 20
"""Requests buried in one transaction: each takes a dozen deletions, and steps wait for all of them."""

TALLY = "tally:"

_REPARK = Write(
    "sqlite.after_repark",
    """UPDATE leanflow_parked SET tries = tries + 1, due_at = ?3, offered_at = min(?3, expires_at)
    WHERE scope = ?1 AND key = ?2""",
)
_REMEMBER = Write(
    "sqlite.after_remember",
    "INSERT INTO leanflow_notes VALUES (?1, ?2, ?3) ON CONFLICT (scope, name) DO UPDATE SET value = ?3",
)
_TALLY = Write(
    "sqlite.after_remember",
    """INSERT INTO leanflow_notes VALUES (?1, ?2, ?3)
    ON CONFLICT (scope, name) DO UPDATE SET value = CAST(value AS INTEGER) + ?3 RETURNING value""",
    rows=True,
)
_RECALL = Read("SELECT value FROM leanflow_notes WHERE scope = ?1 AND name = ?2")
_THERE = Read("SELECT id FROM leanflow_requests WHERE id = ?2 AND scope = ?1")
_NAMES = Read("SELECT kind, value FROM leanflow_ids WHERE request_id = ?2 AND scope = ?1")
_TOMBSTONE = Write(
    "sqlite.after_tombstone",
    "INSERT INTO leanflow_tombstones VALUES (?1, ?2, ?3) ON CONFLICT (scope, digest) DO UPDATE SET at = ?3",
)
_UNPARK_NAMED = Write("sqlite.after_bury", "DELETE FROM leanflow_parked WHERE scope = ?1 AND kind = ?2 AND value = ?3")
_KEYS = "SELECT key FROM leanflow_history WHERE request_id = ?2"
_BURY = (
    ("parked", Write("sqlite.after_bury", "DELETE FROM leanflow_parked WHERE scope = ?1 AND request_id = ?2")),
    ("inbox", Write("sqlite.after_bury", f"DELETE FROM leanflow_inbox WHERE scope = ?1 AND key IN ({_KEYS})")),  # noqa: S608
    ("history", Write("sqlite.after_bury", "DELETE FROM leanflow_history WHERE request_id = ?2 AND ?1 IS NOT NULL")),
    ("pages", Write("sqlite.after_bury", "DELETE FROM leanflow_pages WHERE request_id = ?2 AND ?1 IS NOT NULL")),
    ("", Write("sqlite.after_bury", "DELETE FROM leanflow_keys WHERE request_id = ?2 AND scope = ?1")),
    ("", Write("sqlite.after_bury", "DELETE FROM leanflow_ids WHERE request_id = ?2 AND scope = ?1")),
    ("requests", Write("sqlite.after_bury", "DELETE FROM leanflow_requests WHERE id = ?2 AND scope = ?1")),
)
_UNANNOUNCE = (
    (
        "webhooks",
        Write("sqlite.after_bury", "DELETE FROM leanflow_outbox WHERE about = ?2 AND scope = ?1 AND kind = 'webhook'"),
    ),
    ("announcements", Write("sqlite.after_bury", "DELETE FROM leanflow_outbox WHERE about = ?2 AND scope = ?1")),
)
_OLD_KEYS = Read("SELECT key FROM leanflow_inbox WHERE scope = ?1 AND key > ?2 AND at < ?3 ORDER BY key LIMIT ?4")
_OLD_STONES = Read(
    "SELECT digest FROM leanflow_tombstones WHERE scope = ?1 AND digest > ?2 AND at < ?3 ORDER BY digest LIMIT ?4"
)
_FORGET_KEY = Write("sqlite.after_prune", "DELETE FROM leanflow_inbox WHERE scope = ?1 AND key = ?2 AND at < ?3")
_FORGET_STONE = Write(
    "sqlite.after_prune", "DELETE FROM leanflow_tombstones WHERE scope = ?1 AND digest = ?2 AND at < ?3"
)


def repark(scope: Scope, key: str, due_at: datetime) -> Plan[None]:
    """Count one more try of a parked event."""
    yield _REPARK, (scope_number(scope), key, micros(due_at))


def remember(scope: Scope, name: str, value: str) -> Plan[str]:
    """Store a small value."""
    yield _REMEMBER, (scope_number(scope), name, value)
    return value


def recall(scope: Scope, name: str) -> Plan[str | None]:
    """Return a small value."""
    found = yield _RECALL, (scope_number(scope), name)
    return found[0][0] if found else None


def tally(scope: Scope, name: str, add: int) -> Plan[int]:
    """Add to a number."""
    [(value,)] = yield _TALLY, (scope_number(scope), TALLY + name, add)
    return int(value)


def old_ends(
    scope: Scope, older_than: datetime, states: frozenset[State] | None, since: datetime | None, limit: int
) -> Plan[tuple[Sequence[str], datetime | None]]:
    """Return requests that ended before `older_than`, of those that ended from `since` on; and when the last ended."""
    chosen = [] if states is None else sorted(state.value for state in states)
    term = "" if states is None else f"AND state IN ({', '.join('?' * len(chosen))})"
    old = Read(
        f"""SELECT id, ended_at FROM leanflow_requests WHERE scope = ? AND ended_at IS NOT NULL AND ended_at < ?
        AND ended_at >= ? {term} ORDER BY ended_at LIMIT ?"""  # noqa: S608 - only placeholders are put together
    )
    first = -(2**63) if since is None else micros(since)
    found = yield old, (scope_number(scope), micros(older_than), first, *chosen, limit)
    return [request_id for request_id, _ in found], moment(found[-1][1]) if found else since


def bury_requests(scope: Scope, request_ids: Sequence[str], now: datetime) -> Plan[int]:
    """Delete ended requests, leaving tombstones, and announcements that wait; return how many there were."""
    gone = 0
    for request_id in request_ids:
        gone += (yield from _bury(scope, request_id, now, _BURY)).requests
    return gone


def erase(scope: Scope, request_id: str, now: datetime) -> Plan[Erased | None]:
    """Delete everything of one request, undelivered announcements too."""
    if not (yield _THERE, (scope_number(scope), request_id)):
        return None
    return (yield from _bury(scope, request_id, now, (*_UNANNOUNCE, *_BURY)))


def bury(scope: Scope, kind: str, value: str, now: datetime) -> Plan[None]:
    """Leave a tombstone."""
    yield _TOMBSTONE, (scope_number(scope), digest(kind, value), micros(now))


def _bury(scope: Scope, request_id: str, now: datetime, deletions: Sequence[tuple[str, Write]]) -> Plan[Erased]:
    number = scope_number(scope)
    gone = Counter[str]()
    site("sqlite.before_bury")
    yield from bury(scope, "request", request_id, now)
    for kind, value in (yield _NAMES, (number, request_id)):
        yield from bury(scope, kind, value, now)
        gone["parked"] += yield _UNPARK_NAMED, (number, kind, value)
    for what, deletion in deletions:
        gone[what] += yield deletion, (number, request_id)
    del gone[""]
    return Erased(**gone)


def old_keys(scope: Scope, before: datetime, after: str) -> Plan[Sequence[str]]:
    """Return a slice of the inbox keys older than `before`."""
    found = yield _OLD_KEYS, (scope_number(scope), after, micros(before), SLICE)
    return [key for (key,) in found]


def old_stones(scope: Scope, before: datetime, after: bytes) -> Plan[Sequence[bytes]]:
    """Return a slice of the tombstones older than `before`."""
    found = yield _OLD_STONES, (scope_number(scope), after, micros(before), SLICE)
    return [bytes(stone) for (stone,) in found]


def forget(scope: Scope, before: datetime, keys: Sequence[str], stones: Sequence[bytes]) -> Plan[int]:
    """Delete these inbox keys and tombstones if they are still older than `before`; return how many."""
    number, at = scope_number(scope), micros(before)
    gone: Any = 0
    for key in keys:
        gone += yield _FORGET_KEY, (number, key, at)
    for stone in stones:
        gone += yield _FORGET_STONE, (number, stone, at)
    return int(gone)
