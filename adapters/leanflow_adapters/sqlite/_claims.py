"""Leases on requests, and when anything is next due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from leanflow._request import Resource, Scope, State
from leanflow._sites import site
from leanflow.ports import WAKE, Claimed
from leanflow_adapters.sqlite._plans import Plan, Read, Write
from leanflow_adapters.sqlite._recent import Recent
from leanflow_adapters.sqlite._rows import micros, moment, request_of, scope_number

__all__ = ["claim", "next_due", "release", "renew"]


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_DUE = Read(  # states and resources that are not listed are a newer version's
    f"""SELECT number, record, call_no, owner, id, version FROM leanflow_requests
    WHERE scope = ?1 AND due_at IS NOT NULL AND due_at <= ?2
    AND (owner IS NULL OR lease_until IS NULL OR lease_until <= ?2)
    AND state IN ({_listed(state for state in State if not state.is_end)}) AND resource IN ({_listed(Resource)})
    ORDER BY due_at, number LIMIT ?3"""  # noqa: S608 - words of our own alone
)
_CLAIM = Write(
    "sqlite.after_claim", "UPDATE leanflow_requests SET call_no = ?2, owner = ?3, lease_until = ?4 WHERE number = ?1"
)
_RENEW = Write(
    "sqlite.after_renew",
    """UPDATE leanflow_requests SET lease_until = max(?4, coalesce(lease_until, 0))
    WHERE id = ?2 AND scope = ?1 AND owner = ?3""",
)
_RELEASE = Write(
    "sqlite.after_release",
    "UPDATE leanflow_requests SET owner = NULL, lease_until = NULL WHERE id = ?2 AND scope = ?1 AND owner = ?3",
)

_FIRST_DUE = Read(
    """SELECT due_at FROM leanflow_requests WHERE scope = ?1 AND due_at IS NOT NULL AND owner IS NULL
    ORDER BY due_at LIMIT 1"""
)
_FIRST_LEASE = Read(
    # Said outright: without statistics SQLite takes the index of all that is due, a million rows for a handful.
    """SELECT min(max(due_at, ifnull(lease_until, due_at))) FROM leanflow_requests INDEXED BY leanflow_requests_leased
    WHERE scope = ?1 AND owner IS NOT NULL AND due_at IS NOT NULL"""
)
_FIRST_PARKED = Read("SELECT min(offered_at) FROM leanflow_parked WHERE scope = ?1")
_FIRST_OUTBOX = Read(  # one seek per sink: a million rows of one that is down cost nothing here
    """SELECT min(first) FROM (
    SELECT (SELECT min(due_at) FROM leanflow_outbox WHERE scope = ?1 AND sink = names.name AND head = 1) AS first
    FROM (SELECT name FROM leanflow_sinks WHERE scope = ?1 UNION SELECT ?2) AS names)"""
)


def claim(
    scope: Scope,
    owner: str,
    now: datetime,
    lease: float,
    limit: int,
    *,
    recent: Recent | None,
) -> Plan[Sequence[Claimed]]:
    """Claim due requests; those that are known in `recent` need not be read from text."""
    found = yield _DUE, (scope_number(scope), micros(now), limit)
    until = now + timedelta(seconds=lease)
    claimed = []
    site("sqlite.before_claim")
    for row, record, call_no, before, named, version in found:
        yield _CLAIM, (row, call_no + 1, owner, micros(until))
        known = recent.get(named, version, call_no) if recent is not None else None
        request = request_of(record, call_no + 1) if known is None else known.moved({"call_no": call_no + 1})
        claimed.append(Claimed(request=request, now=now, lease_until=until, taken_over=before is not None))
    return claimed


def renew(scope: Scope, request_id: str, owner: str, until: datetime) -> Plan[bool]:
    """Prolong a lease, never shorten it."""
    changed = yield _RENEW, (scope_number(scope), request_id, owner, micros(until))
    return bool(changed)


def release(scope: Scope, request_id: str, owner: str) -> Plan[None]:
    """End a lease."""
    yield _RELEASE, (scope_number(scope), request_id, owner)


def next_due(scope: Scope) -> Plan[datetime | None]:
    """Return when the next thing can be claimed or offered."""
    number = scope_number(scope)
    times = [
        *(yield _FIRST_DUE, (number,)),
        *(yield _FIRST_LEASE, (number,)),
        *(yield _FIRST_PARKED, (number,)),
        *(yield _FIRST_OUTBOX, (number, WAKE)),
    ]
    return moment(min((at for (at,) in times if at is not None), default=None))
