"""No statement of the Postgres store looks at more rows than it needs, however many are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import asyncpg
import pytest

from leanflow_adapters.postgres import _sql, _steps
from leanflow_adapters.postgres._connection import named
from tests.support.postgres import URL, do, drop, fresh_schema
from tests.support.postgres_plans import GROWING, Ran, plans
from tests.support.postgres_rows import fill
from tests.support.postgres_work import the_first

MOST = 600  # rows: more than any limit that the work asks for, and a fraction of what is stored
LONG = {
    "count everything": "it tells of all of them; nothing in the engine's own work asks it",
    "find live requests in a state": "in the order of ids, until its page is full",
}
MODES = ("force_generic_plan", "force_custom_plan")


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """Give a schema that is full."""
    name = asyncio.run(fresh_schema())
    try:
        asyncio.run(fill(name))
        yield name
    finally:
        asyncio.run(drop(name))


@pytest.fixture(scope="module", params=MODES)
def ran(schema: str, request: pytest.FixtureRequest) -> Sequence[Ran]:
    """Give everything that was run, with plans that are kept and with plans for the values at hand."""
    return asyncio.run(plans(schema, request.param))


def too_long(ran: Sequence[Ran]) -> list[str]:
    """Return what looks at all rows of a table that grows, or at too many."""
    return [
        f"{one.by}: {look} in {' '.join(one.sql.split())}"
        for one in ran
        for look in one.looks
        if look.table in GROWING and (look.index is None or look.rows > MOST)
    ]


def test_no_statement_looks_at_more_than_it_needs(ran: Sequence[Ran]) -> None:
    """Every statement, those in functions too, finds its rows by an index, and meets few others."""
    assert not [found for found in too_long(ran) if found.partition(":")[0] not in LONG]


def test_the_sweep_meets_only_what_is_due(ran: Sequence[Ran]) -> None:
    """Of 20,000 requests, 2,000 of them live and 40 due, claiming 20 meets the 20 that were due first.

    Postgres sorts what is due at one moment by ids, 32 rows at a time.
    """
    [due, taken] = [look for one in ran if one.by == "claim what is due" for look in one.looks]
    assert (due.index, taken.index) == ("requests_due", "requests_pkey")
    assert due.rows <= 20 + 32
    assert taken.rows == 20


def test_looking_when_nothing_is_due_meets_nothing(ran: Sequence[Ran]) -> None:
    """Polls of an idle store meet a row or two."""
    idle = [one for one in ran if one.by == "prune when nothing is old"]
    assert idle
    assert sum(look.rows for one in idle for look in one.looks) == 0


def test_the_next_due_time_is_found_behind_what_is_leased(ran: Sequence[Ran]) -> None:
    """Nineteen requests under a lease stand before the first that nobody has: both looks meet those, and no others."""
    [free, leased] = [
        look for one in ran if one.by == "when the next thing is due" for look in one.looks if look.table == "requests"
    ]
    assert (free.index, leased.index) == ("requests_due", "requests_due")
    assert (free.rows, leased.rows) == (20, 19)


def test_every_statement_is_among_them(ran: Sequence[Ran], schema: str) -> None:
    """The store has no statement whose plan nobody has seen."""
    seen = {one.sql for one in ran}
    constants = [
        (name, sql)
        for module in (_sql, _steps)
        for name in module.__all__
        for sql in _statements(getattr(module, name))
    ]
    assert len(constants) > 50
    assert [name for name, sql in constants if named(sql, schema) not in seen] == []


def _statements(value: object) -> Iterator[str]:
    if isinstance(value, str) and " " in value:
        yield value
    elif isinstance(value, Mapping):
        yield from value.values()


async def test_every_function_is_among_them(ran: Sequence[Ran], schema: str) -> None:
    """Each function of the schema was run: what stands in it was explained, too."""
    functions = await do("SELECT proname FROM pg_proc WHERE pronamespace = $1::text::regnamespace", schema)
    texts = "\n".join(one.sql for one in ran)
    inside = {"is_buried": "digest = sha256", "park": "parked AS p"}  # these are called in expressions
    assert [name for (name,) in functions if f".{name}(" not in texts and inside.get(name, "?") not in texts] == []


async def test_a_lost_index_is_found(schema: str) -> None:
    """The judge can fail: without the index of what is due, the sweep looks at everything."""
    await do(f'DROP INDEX "{schema}".requests_due')
    try:
        ran = await plans(schema, MODES[0])
    finally:
        await do(f'CREATE INDEX requests_due ON "{schema}".requests (scope, due_at) WHERE due_at IS NOT NULL')
    assert {found.partition(":")[0] for found in too_long(ran)} > set(LONG)


@pytest.mark.parametrize("mode", [*MODES, "auto"])
async def test_a_new_database_finds_its_rows_as_well(mode: str) -> None:
    """Before anybody has analysed it, with plans made when it was empty: no statement goes through all of a scope."""
    name = await fresh_schema()
    try:
        ran = await plans(name, mode, the_first)
    finally:
        await drop(name)
    looks = [(one.by, look) for one in ran if one.by != "begin" for look in one.looks if look.table in GROWING]
    assert len(looks) > 12
    assert [found for found in looks if found[1].rows > 3] == []


@pytest.mark.parametrize("mode", MODES)
async def test_where_nothing_has_ended_the_next_due_time_is_found_by_its_index_as_well(schema: str, mode: str) -> None:
    """The index of what is due holds all requests then, and no number of them tempts Postgres to read the table."""
    connection = await asyncpg.connect(URL)
    try:
        await connection.execute(f'BEGIN; SET LOCAL search_path TO "{schema}"; SET LOCAL plan_cache_mode = {mode}')
        await connection.execute("UPDATE requests SET ended_at = NULL, due_at = updated_at + interval '90 days'")
        await connection.execute(f"ANALYZE requests; PREPARE next_due (bigint) AS {named(_sql.NEXT_DUE, schema)}")
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN EXECUTE next_due (1)"))
        assert plan.count("Scan using requests_due on requests") == 2, plan
        assert "Seq Scan on requests" not in plan
    finally:
        await connection.close()  # and with it the transaction
