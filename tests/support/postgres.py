"""A Postgres for tests: where it is, and schemas that are gone afterwards."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.postgres._migrate import holders

__all__ = ["TABLES", "URL", "do", "drop", "empty", "fresh_schema"]

URL = os.environ.get("LEANFLOW_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")
TABLES = (
    "requests", "history", "inbox", "parked", "ids", "keys", "pages", "sinks", "outbox", "tombstones",
    "notes", "scopes",
)  # fmt: skip


async def do(sql: str, *arguments: Any) -> list[Any]:
    """Run SQL on a connection of its own."""
    connection = await asyncpg.connect(URL)
    try:
        if arguments:
            return list(await connection.fetch(sql, *arguments))
        await connection.execute(sql)
        return []
    finally:
        await connection.close()


async def fresh_schema() -> str:
    """Return the name of a schema with empty tables.

    Where no Postgres answers, the test is skipped by name; with ``LEANFLOW_REQUIRE_SERVICES=1`` it fails.
    """
    await _require()
    name = f"leanflow_{uuid4().hex}"
    store = PostgresStore(URL, schema=name, migrate=True)
    await store.open()
    await store.aclose()
    return name


async def _require() -> None:
    try:
        connection = await asyncpg.connect(URL, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        said = f"no Postgres at {urlsplit(URL).hostname} ({type(error).__name__}); see LEANFLOW_POSTGRES_URL"
        if os.environ.get("LEANFLOW_REQUIRE_SERVICES") == "1":
            pytest.fail(said)
        pytest.skip(said)
    await connection.close()


async def empty(schema: str) -> None:
    """Delete every row."""
    await do(";".join(f'DELETE FROM "{schema}".{table}' for table in TABLES))


async def drop(schema: str) -> None:
    """Remove a schema. What a failed test has left in a transaction fails by name, and does not hang."""
    connection = await asyncpg.connect(URL)
    try:
        await connection.execute("SET lock_timeout = '30s'")
        await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    except asyncpg.LockNotAvailableError:
        pytest.fail(f"{schema} cannot be removed: it is held by {await holders(connection, schema)}")
    finally:
        await connection.close()
