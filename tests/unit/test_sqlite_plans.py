"""No statement of the hot path looks at more rows than it needs, however many are stored."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from types import MappingProxyType, ModuleType

import pytest

from leanflow._request import State
from leanflow.ports import Query
from leanflow.testing.conformance._samples import SCOPE
from leanflow_adapters.sqlite import _bodies, _claims, _outbox, _reads, _steps, _upkeep
from leanflow_adapters.sqlite._plans import Read, Write
from leanflow_adapters.sqlite.migrations import MIGRATIONS

MODULES: tuple[ModuleType, ...] = (_bodies, _claims, _outbox, _reads, _steps, _upkeep)
LONG = {"_outbox._ROWS"}  # ends at its limit, in the order of numbers


@pytest.fixture
def file() -> Iterator[sqlite3.Connection]:
    """Give an empty database with our tables."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for migration in MIGRATIONS:
            for statement in migration:
                connection.execute(statement)
        yield connection


def plan(file: sqlite3.Connection, sql: str) -> list[str]:
    """Return what SQLite means to do."""
    numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    count = max(numbered) if numbered else sql.count("?")
    return [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * count)]


def statements() -> Iterator[tuple[str, str]]:
    """Yield every statement by name."""
    for module in MODULES:
        for name, value in vars(module).items():
            for statement in _within(value):
                yield f"{module.__name__.rpartition('.')[2]}.{name}", statement.sql


def _within(value: object) -> Iterator[Read | Write]:
    """Yield the statements of a constant: itself, or those in a tuple or a mapping."""
    if isinstance(value, Read | Write):
        yield value
    elif isinstance(value, tuple | MappingProxyType):
        for each in value.values() if isinstance(value, MappingProxyType) else value:
            yield from _within(each)


def test_no_statement_scans_a_table(file: sqlite3.Connection) -> None:
    """Every statement finds its rows by a key or an index."""
    seen = 0
    for name, sql in statements():
        scans = [line for line in plan(file, sql) if line.startswith("SCAN") and "CONSTANT" not in line]
        assert not scans or name in LONG, f"{name}: {scans}"
        seen += 1
    assert seen > 60


@pytest.mark.parametrize("name", ["_ALL", "_ASIDE", "_OLDEST"])
def test_lag_reads_no_rows(file: sqlite3.Connection, name: str) -> None:
    """How far sinks are behind is told by indexes alone: the payloads that wait may be gigabytes."""
    sql = getattr(_outbox, name).sql
    (table,) = file.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'leanflow_outbox'").fetchone()
    code = file.execute(f"EXPLAIN {sql}", [None] * len(set(re.findall(r"\?\d", sql)))).fetchall()
    rows = {first for _, what, first, second, *_ in code if what == "OpenRead" and second == table}
    assert not [each for each in code if each[1] == "Column" and each[2] in rows]
    assert any(each[1] == "OpenRead" for each in code)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            Query(entity_id="e", states=frozenset({State.requested})),
            "leanflow_requests_company (scope=? AND entity_id=?)",
        ),
        (Query(entity_id="e"), "leanflow_requests_entity (scope=? AND entity_id=?)"),
        (Query(customer_id="c", after="x"), "leanflow_requests_customer (scope=? AND customer_id=? AND id>?)"),
        (Query(reference="r"), "leanflow_requests_reference (scope=? AND reference=?)"),
        (Query(held="h"), "leanflow_requests_held (scope=? AND held=?)"),
        (Query(states=frozenset({State.awaiting_user})), "leanflow_requests_live (scope=?)"),
        (Query(after="x"), "sqlite_autoindex_leanflow_requests_1 (id>?)"),
    ],
    ids=lambda value: value.partition(" ")[0] if isinstance(value, str) else "",
)
def test_queries_go_by_the_narrowest_index(file: sqlite3.Connection, query: Query, index: str) -> None:
    """What narrows a query chooses its index; what nothing narrows is read in the order of ids."""
    read, _ = _reads._query(SCOPE, query)
    assert any(line.endswith(f"INDEX {index}") for line in plan(file, read.sql)), plan(file, read.sql)


def test_the_sweep_and_the_next_due_time_go_by_their_indexes(file: sqlite3.Connection) -> None:
    """A million waiting requests cost the sweep one index, and the leases that are out another."""
    assert "leanflow_requests_due (scope=? AND due_at>? AND due_at<?)" in plan(file, _claims._DUE.sql)[0]
    assert "leanflow_requests_due" in plan(file, _claims._FIRST_DUE.sql)[0]
    assert "leanflow_requests_leased" in plan(file, _claims._FIRST_LEASE.sql)[0]
    assert any("leanflow_outbox_head" in line for line in plan(file, _claims._FIRST_OUTBOX.sql))
    assert "leanflow_outbox_head (scope=? AND sink=? AND due_at<?)" in plan(file, _outbox._READY.sql)[0]
    assert "leanflow_outbox_key (scope=? AND sink=? AND key=?)" in plan(file, _outbox._DELETE.sql)[0]
    assert any("leanflow_outbox_about (about=? AND sink=?)" in line for line in plan(file, _outbox._NEXT_HEADS.sql))
