"""What is only looked at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from leanflow._request import DataRequest, IdKind, Scope
from leanflow.events import Page
from leanflow.ports import HistoryEntry, ParkedEvent, Query
from leanflow_adapters._records import sought
from leanflow_adapters.sqlite._plans import Plan, Read
from leanflow_adapters.sqlite._recent import Recent
from leanflow_adapters.sqlite._rows import (
    digest,
    history_entry,
    micros,
    moment,
    page,
    parked_event,
    request_of,
    scope_number,
)
from leanflow_adapters.sqlite._steps import SEEN, TOMBSTONE

__all__ = [
    "buried",
    "counts",
    "early",
    "find",
    "history",
    "is_narrow",
    "load",
    "owners",
    "pages",
    "parked",
    "parked_due",
    "seen",
]

_LOAD = Read("SELECT record, call_no, version FROM leanflow_requests WHERE id = ?2 AND scope = ?1")
_OWNERS = Read(
    """SELECT r.id, r.record, r.call_no, r.version FROM leanflow_ids i JOIN leanflow_requests r ON r.id = i.request_id
    WHERE i.scope = ?1 AND i.kind = ?2 AND i.value = ?3 ORDER BY i.request_id"""
)
_HISTORY = Read(
    """SELECT request_id, version, key, at, tag, trigger, from_state, to_state, declined, event FROM leanflow_history
    WHERE request_id = (SELECT id FROM leanflow_requests WHERE id = ?2 AND scope = ?1) ORDER BY number"""
)
_PAGES = Read(
    """SELECT page, correlation_id, refreshed_at, raw FROM leanflow_pages
    WHERE request_id = (SELECT id FROM leanflow_requests WHERE id = ?2 AND scope = ?1) AND page >= ?3
    ORDER BY page LIMIT ?4"""
)
_PARKED = """SELECT key, tag, at, kind, value, request_id, due_at, expires_at, tries, raw
    FROM leanflow_parked WHERE scope = ?1"""
_NAMED = Read(f"{_PARKED} AND kind = ?2 AND value = ?3 ORDER BY at, rowid")
_EARLY = Read(f"{_PARKED} AND request_id = ?2 ORDER BY at, rowid")
_OFFERED = Read(f"{_PARKED} AND offered_at <= ?2 ORDER BY at, rowid LIMIT ?3")
_COUNTS = Read(
    """SELECT state, count(*) FROM leanflow_requests WHERE scope = ?1 AND ended_at IS NOT NULL GROUP BY state
    UNION ALL SELECT state, count(*) FROM leanflow_requests WHERE scope = ?1 AND ended_at IS NULL GROUP BY state"""
)


def seen(scope: Scope, key: str) -> Plan[bool]:
    """Return whether the key is in the inbox."""
    found = yield SEEN, (scope_number(scope), key)
    return bool(found)


def buried(scope: Scope, kind: str, value: str) -> Plan[datetime | None]:
    """Return from when the tombstone is that covers the id."""
    found = yield TOMBSTONE, (scope_number(scope), digest(kind, value))
    return moment(found[0][0]) if found else None


def load(scope: Scope, request_id: str, recent: Recent | None) -> Plan[DataRequest | None]:
    """Return one request."""
    found = yield _LOAD, (scope_number(scope), request_id)
    return _known_or_read(recent, request_id, *found[0]) if found else None


def owners(scope: Scope, kind: IdKind, value: str, recent: Recent | None) -> Plan[Sequence[DataRequest]]:
    """Return the requests of an id."""
    found = yield _OWNERS, (scope_number(scope), kind.value, value)
    return [_known_or_read(recent, *row) for row in found]


def _known_or_read(recent: Recent | None, request_id: str, record: str, call_no: int, version: int) -> DataRequest:
    known = recent.get(request_id, version, call_no) if recent is not None else None
    return request_of(record, call_no) if known is None else known


def find(scope: Scope, query: Query) -> Plan[Sequence[DataRequest]]:
    """Return the requests that a query asks for."""
    found = yield _query(scope, query)
    return [request_of(*row) for row in found]


def is_narrow(query: Query) -> bool:
    """Return whether an index leads to the few requests that a query asks for."""
    return any(
        value is not None for value in (query.entity_id, query.customer_id, query.reference, query.held, query.failure)
    )


def _query(scope: Scope, query: Query) -> tuple[Read, Sequence[Any]]:
    """Spell out a query: only columns' names are put together here, every value is bound.

    Numbers are looked for first and records fetched for those alone: a sort would carry all records. The plus keeps
    SQLite to the order of ids where no index is narrow, which ends at the limit.
    """
    is_live = query.states is not None and all(not state.is_end for state in query.states)
    terms = ["scope = ?" if is_live or is_narrow(query) else "+scope = ?"]
    bound: list[Any] = [scope_number(scope)]
    for column, value in sought(query).items():
        terms.append(f"{column} = ?")
        bound.append(value)
    source = "leanflow_requests"
    if query.states is not None:
        terms.append(f"state IN ({', '.join('?' * len(query.states))})")
        bound += sorted(state.value for state in query.states)
        if is_live:
            terms.append("ended_at IS NULL")
            if query.entity_id is not None:  # left to itself SQLite walks through all that ended, too
                source += " INDEXED BY leanflow_requests_company"
    if query.older_than is not None:
        terms.append("created_at < ?")
        bound.append(micros(query.older_than))
    if query.after is not None:
        terms.append("id > ?")
        bound.append(query.after)
    bound.append(query.limit)
    chosen = f"SELECT number FROM {source} WHERE {' AND '.join(terms)} ORDER BY id LIMIT ?"  # noqa: S608
    return Read(f"SELECT record, call_no FROM leanflow_requests WHERE number IN ({chosen}) ORDER BY id"), bound  # noqa: S608


def history(scope: Scope, request_id: str) -> Plan[Sequence[HistoryEntry]]:
    """Return a history."""
    found = yield _HISTORY, (scope_number(scope), request_id)
    return [history_entry(row) for row in found]


def pages(scope: Scope, request_id: str, first: int, limit: int) -> Plan[Sequence[Page]]:
    """Return stored pages."""
    found = yield _PAGES, (scope_number(scope), request_id, first, limit)
    return [page(row) for row in found]


def parked(scope: Scope, kind: IdKind, value: str) -> Plan[Sequence[ParkedEvent]]:
    """Return the events parked under an id."""
    found = yield _NAMED, (scope_number(scope), kind.value, value)
    return [parked_event(row) for row in found]


def early(scope: Scope, request_id: str) -> Plan[Sequence[ParkedEvent]]:
    """Return the events parked under a request."""
    found = yield _EARLY, (scope_number(scope), request_id)
    return [parked_event(row) for row in found]


def parked_due(scope: Scope, now: datetime, limit: int) -> Plan[Sequence[ParkedEvent]]:
    """Return parked events to offer again."""
    found = yield _OFFERED, (scope_number(scope), micros(now), limit)
    return [parked_event(row) for row in found]


def counts(scope: Scope) -> Plan[dict[str, int]]:
    """Return how many requests are in each state."""
    found = yield _COUNTS, (scope_number(scope),)
    return dict(found)
