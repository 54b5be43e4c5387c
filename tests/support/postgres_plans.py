"""What Postgres does for each statement of the store: every plan, those in functions too, on a schema full of rows.

``python -m tests.support.postgres_plans`` writes the table of docs/reference/postgres-plans.md anew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import attrs

from leanflow_adapters.postgres import PostgresStore
from tests.support.postgres import URL, drop, fresh_schema
from tests.support.postgres_rows import fill
from tests.support.postgres_work import Work, everything

__all__ = ["GROWING", "PAGE", "Look", "Ran", "plans", "table", "told"]

GROWING = frozenset({"requests", "history", "inbox", "parked", "ids", "keys", "pages", "outbox", "tombstones"})
"""The tables that grow with what is stored, or with what waits."""

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "postgres-plans.md"

PLACE = "the place"
"""What stands for an index where another look has found out where the rows lie."""

_SETTINGS = {
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}


@attrs.frozen
class Look:
    """One look at a table.

    Attributes:
        table: at which.
        index: by which; None: at all its rows.
        bounded: whether a condition on the index says which rows.
        rows: how many rows were met, those that a filter took out again included.
    """

    table: str
    index: str | None
    bounded: bool
    rows: int


@attrs.frozen
class Ran:
    """One statement that was run.

    Attributes:
        by: the piece of work that ran it.
        sql: its text.
        looks: at which tables.
    """

    by: str
    sql: str
    looks: tuple[Look, ...]


async def plans(schema: str, mode: str, work: Callable[[Work], AsyncIterator[str]] = everything) -> Sequence[Ran]:
    """Do what a store does, in one transaction that is rolled back; return what was run for it.

    Args:
        schema: full of rows.
        mode: Postgres' `plan_cache_mode`.
        work: what is done.
    """
    seen: list[Ran] = []
    doing = ""

    def heard(_: Any, message: Any) -> None:
        _, found, plan = message.message.partition("plan:\n")
        if found:
            explained = json.loads(plan)
            seen.append(Ran(doing, explained["Query Text"], tuple(_looks(explained["Plan"]))))

    store = PostgresStore(URL, schema=schema, clock="engine", hints=False)
    await store.open()
    connection = await asyncpg.connect(URL)
    try:
        await connection.execute("LOAD 'auto_explain'")
        await connection.execute(f"SET plan_cache_mode = {mode}")
        for name, value in _SETTINGS.items():
            await connection.execute(f"SET {name} = {value}")
        connection.add_log_listener(heard)
        transaction = connection.transaction()
        await transaction.start()
        async with store.using(connection) as joined:
            async for name in work(Work(store=joined, connection=connection, schema=schema)):
                doing = name
        await transaction.rollback()
        connection.remove_log_listener(heard)
    finally:
        await connection.close()
        await store.aclose()
    return [ran for ran in seen if ran.by]


def _looks(node: Mapping[str, Any]) -> Iterator[Look]:
    rows = round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    index = node.get("Index Name")
    if node["Node Type"] == "Bitmap Heap Scan":
        index = next(_bitmaps(node))["Index Name"]
    if "Scan" in node["Node Type"] and "Relation Name" in node:
        bounded = "Index Cond" in node or "Recheck Cond" in node or "TID Cond" in node
        if node["Node Type"] == "Tid Scan":
            index = PLACE
        yield Look(node["Relation Name"], index, bounded, rows)
    for below in node.get("Plans", ()):
        yield from _looks(below)


def _bitmaps(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for below in node.get("Plans", ()):
        if below["Node Type"] == "Bitmap Index Scan":
            yield below
        yield from _bitmaps(below)


# --- the page ----------------------------------------------------------------------------------------------------


def table(ran: Sequence[Ran]) -> str:
    """Return who looks where, as Markdown."""
    found: dict[str, set[str]] = {}
    for one in ran:
        found.setdefault(one.by, set()).update(_place(look) for look in one.looks if look.table in GROWING)
    lines = ["| what the store does | how it finds its rows |", "|---|---|"]
    lines += [f"| {by} | {', '.join(sorted(places)) or 'in small tables'} |" for by, places in found.items()]
    return "\n".join(lines)


def _place(look: Look) -> str:
    if look.index is None:
        return f"all of {look.table}"
    return f"`{look.index}`" if look.index != PLACE else f"{look.index} in {look.table}"


def told(text: str, rows: str) -> str:
    """Return the page's text with the table in it."""
    head, _, tail = text.partition("<!-- plans -->\n")
    return f"{head}<!-- plans -->\n{rows}\n<!-- end of plans -->{tail.partition('<!-- end of plans -->')[2]}"


async def _write() -> None:
    schema = await fresh_schema()
    try:
        await fill(schema)
        ran = await plans(schema, "force_generic_plan")
    finally:
        await drop(schema)
    PAGE.write_text(told(PAGE.read_text(encoding="utf-8"), table(ran)), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(_write())
