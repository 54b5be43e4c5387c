"""What is kept, as rows in a neutral form: for copying from any store that tells it so to any other.

A store's `tables` module has a function ``tables(store)``: an async context manager that gives its `Tables`. Ids and
texts are `str`, times aware `datetime`s, bodies `bytes`, choices of a sink sorted lists of `str` or None. A store that
keeps no tables tells what it keeps as the rows that tables would have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import attrs

__all__ = [
    "MARK",
    "MARK_SCOPE",
    "SCOPED",
    "TABLES",
    "Row",
    "Table",
    "Tables",
    "is_mark",
    "place_of",
    "place_text",
    "scope_term",
]

Row = tuple[Any, ...]

MARK_SCOPE = 0
"""The scope under which a target notes how far a copy got: no engine's own."""

MARK = "copy"
"""The name of that note."""


@attrs.frozen
class Table:
    """A table.

    Attributes:
        columns: name and kind of each: ``int``, ``text``, ``id`` (of a request), ``time``, ``flag``, ``bytes`` or
            ``names``.
        is_scoped: whether SQL stores keep the column `scope`; otherwise it is that of the row's request.
        slice: rows copied in one transaction, if they are not heavy.
        at_once: rows read at a time: few of those that carry whole bodies.
    """

    name: str
    columns: Mapping[str, str]
    is_scoped: bool = True
    slice: int = 1000
    at_once: int = 1000

    @cached_property
    def kept(self) -> Mapping[str, str]:
        """The columns that SQL stores keep."""
        return {name: kind for name, kind in self.columns.items() if self.is_scoped or name != "scope"}

    def asked(self, requests: str) -> str:
        """Return all columns as SQL asks for them, the scope of `requests` where a row has none of its own."""
        theirs = f"(SELECT r.scope FROM {requests} r WHERE r.id = request_id)"  # noqa: S608 - our own names
        return ", ".join(name if name in self.kept else theirs for name in self.columns)


def _table(name: str, columns: str, **more: Any) -> Table:
    kinds: dict[str, str] = dict(column.split(":") for column in columns.split())
    return Table(name, MappingProxyType(kinds), **more)


# Requests come late, so that a worker that runs on half a copy finds nothing to do; who is to be told comes last.
TABLES = (
    _table("scopes", "scope:int app:text environment:text region:text"),
    _table("tombstones", "scope:int digest:bytes at:time"),
    _table("inbox", "scope:int key:text tag:text at:time"),
    _table("keys", "scope:int key:text request_id:id"),
    _table("ids", "scope:int kind:text value:text request_id:id"),
    _table(
        "history",
        "scope:int request_id:id version:int key:text at:time tag:text trigger:text from_state:text to_state:text"
        " declined:text event:text",
        is_scoped=False,
    ),
    _table(
        "pages",
        "scope:int request_id:id page:int correlation_id:text refreshed_at:time raw:bytes",
        is_scoped=False,
        at_once=20,
    ),
    _table("notes", "scope:int name:text value:text"),
    _table(
        "parked",
        "scope:int key:text tag:text at:time kind:text value:text request_id:id due_at:time expires_at:time"
        " offered_at:time tries:int raw:bytes",
        at_once=200,
    ),
    # owner and lease_until are left behind: whoever held the lease is not coming along
    _table(
        "requests",
        "id:id scope:int state:text version:int call_no:int due_at:time ended_at:time held:text failure:text"
        " created_at:time updated_at:time resource:text entity_id:text customer_id:text reference:text"
        " fingerprint:text record:text",
    ),
    _table(
        "outbox",
        "scope:int sink:text key:text kind:text about:id ordered:flag set_aside:flag tries:int at:time due_at:time"
        " error:text payload:text",
        at_once=200,
    ),
    _table("sinks", "scope:int name:text states:names resources:names webhooks:names reports:flag"),
)
"""All tables, in the order in which they are copied."""

SCOPED = tuple(table.name for table in TABLES if table.is_scoped)
"""The names of those that have a column `scope`."""


class Tables(Protocol):
    """The tables of one store, read and written as they are."""

    async def in_use(self) -> str | None:
        """Return what shows that the store is being worked with, or None if nothing does."""
        ...

    async def pulse(self) -> str:
        """Return a text that is another one after anything was done with the store."""
        ...

    async def scopes(self) -> frozenset[int]:
        """Return the scopes that have rows, but for `MARK_SCOPE`."""
        ...

    async def count(self, table: Table, scopes: Sequence[int]) -> int:
        """Return how many rows these scopes have in a table."""
        ...

    async def read(self, table: Table, after: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
        """Return rows behind a place, in an order in which they may be written, and the place of the last."""
        ...

    async def write(self, table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
        """Write rows, and the mark over the one `before` it, in one transaction; False if that one is not there."""
        ...

    async def mark(self) -> str | None:
        """Return the mark, or None."""
        ...

    async def kinds(self, scope: int) -> Sequence[tuple[str, str, int]]:
        """Return which states and resources a scope's requests have, and how many each."""
        ...

    async def conditions(self) -> Sequence[tuple[str, bool, str]]:
        """Return what is to be known of the database: which thing, whether it is as it should be, and what to do."""
        ...

    async def settle(self) -> None:
        """Do what the database likes done after many rows have come."""
        ...


def is_mark(table: Table, row: Row) -> bool:
    """Return whether a row is the note of a copy's, which is none of the store's own."""
    return table.name == "notes" and row[0] == MARK_SCOPE


def scope_term(table: Table, requests: str, scopes: Sequence[int]) -> str:
    """Return the condition, in SQL, under which a row is of one of these scopes."""
    listed = ", ".join(str(int(scope)) for scope in scopes)
    among = f"scope IN ({listed})" if scopes else "1 = 0"
    return among if table.is_scoped else f"request_id IN (SELECT id FROM {requests} WHERE {among})"  # noqa: S608


def place_text(values: Sequence[Any]) -> str:
    """Return a place, the values of the columns that rows are ordered by, as text."""
    return json.dumps(list(values), default=lambda value: {"hex": bytes(value).hex()})


def place_of(text: str) -> list[Any]:
    """Return the values that `place_text` spelled out."""
    values: list[Any] = json.loads(text, object_hook=lambda found: bytes.fromhex(found["hex"]))
    return values
