"""The page of Postgres' plans shows them as they are."""

from __future__ import annotations

from tests.support.postgres import drop, fresh_schema
from tests.support.postgres_plans import PAGE, plans, table, told
from tests.support.postgres_rows import fill


async def test_the_page_shows_the_plans_as_they_are() -> None:
    """docs/reference/postgres-plans.md has what is seen here; `python -m tests.support.postgres_plans` writes it."""
    schema = await fresh_schema()
    try:
        await fill(schema)
        page = PAGE.read_text(encoding="utf-8")
        assert page == told(page, table(await plans(schema, "force_generic_plan")))
    finally:
        await drop(schema)
