"""Bodies, whichever part of the store holds them: deleting pages alone, looking through all, writing them anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from leanflow._request import Scope
from leanflow.ports import Body, Part
from leanflow_adapters.sqlite._plans import Plan, Read, Write
from leanflow_adapters.sqlite._rows import micros, scope_number

__all__ = ["bodies", "delete_pages", "old_pages", "rewrite"]

_OLD_PAGES = Read(
    """SELECT DISTINCT p.request_id FROM leanflow_pages AS p CROSS JOIN leanflow_requests AS r ON r.id = p.request_id
    WHERE p.request_id > ?3 AND r.scope = ?1 AND r.ended_at < ?2 ORDER BY p.request_id LIMIT ?4"""
)
_DELETE_PAGES = Write(
    "sqlite.after_bury",
    """DELETE FROM leanflow_pages
    WHERE request_id = (SELECT id FROM leanflow_requests WHERE id = ?2 AND scope = ?1)""",
)
# A page's place ends in its number with zeros before it: texts are in the same order as numbers are.
_BODIES: Mapping[Part, Read] = MappingProxyType(
    {
        Part.pages: Read(
            """SELECT p.request_id, printf('%06d', p.page), 'page', p.raw
            FROM leanflow_pages AS p CROSS JOIN leanflow_requests AS r ON r.id = p.request_id
            WHERE (p.request_id, p.page) > (?2, CAST(?3 AS INTEGER)) AND r.scope = ?1
            ORDER BY p.request_id, p.page LIMIT ?4"""
        ),
        Part.parked: Read(
            """SELECT key, '', tag, raw FROM leanflow_parked WHERE scope = ?1 AND key > ?2 AND ?3 IS NOT NULL
            ORDER BY key LIMIT ?4"""
        ),
        Part.announcements: Read(
            """SELECT key, sink, kind, CAST(payload AS BLOB) FROM leanflow_outbox
            WHERE scope = ?1 AND (sink, key) > (?3, ?2) ORDER BY sink, key LIMIT ?4"""
        ),
    }
)
_REWRITE: Mapping[Part, Write] = MappingProxyType(
    {
        Part.pages: Write(
            "sqlite.after_rewrite",
            """UPDATE leanflow_pages SET raw = ?5 WHERE page = CAST(?3 AS INTEGER) AND raw = ?4
            AND request_id = (SELECT id FROM leanflow_requests WHERE id = ?2 AND scope = ?1)""",
        ),
        Part.parked: Write(
            "sqlite.after_rewrite",
            "UPDATE leanflow_parked SET raw = ?5 WHERE scope = ?1 AND key = ?2 AND ?3 = '' AND raw = ?4",
        ),
        Part.announcements: Write(
            "sqlite.after_rewrite",
            """UPDATE leanflow_outbox SET payload = CAST(?5 AS TEXT)
            WHERE scope = ?1 AND key = ?2 AND sink = ?3 AND payload = CAST(?4 AS TEXT)""",
        ),
    }
)


def old_pages(scope: Scope, older_than: datetime, after: str | None, limit: int) -> Plan[Sequence[str]]:
    """Return requests that ended before `older_than` and have pages."""
    found = yield _OLD_PAGES, (scope_number(scope), micros(older_than), after or "", limit)
    return [request_id for (request_id,) in found]


def delete_pages(scope: Scope, request_ids: Sequence[str]) -> Plan[None]:
    """Delete all pages of these requests."""
    for request_id in request_ids:
        yield _DELETE_PAGES, (scope_number(scope), request_id)


def bodies(scope: Scope, part: Part, after: tuple[str, str] | None, limit: int) -> Plan[Sequence[Body]]:
    """Return bodies behind a place."""
    found: Sequence[Any] = yield _BODIES[part], (scope_number(scope), *(after or ("", "")), limit)
    return [
        Body(part=part, place=(first, second), tag=tag, content=bytes(raw), stored=bytes(raw))
        for first, second, tag, raw in found
    ]


def rewrite(scope: Scope, wanted: Sequence[tuple[Body, bytes]]) -> Plan[int]:
    """Write bodies anew that are still what they were."""
    written = 0
    for body, content in wanted:
        written += yield _REWRITE[body.part], (scope_number(scope), *body.place, body.stored, content)
    return written
