"""Where the benchmarks on Postgres have their tables: a schema for each run, gone afterwards."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg

from benchmarks._ours import SECRET, Lean
from leanflow import LeanFlow, Policy
from leanflow_adapters.postgres import PostgresStore

__all__ = ["URL", "bulk", "do", "engine", "schema", "size_of"]

URL = os.environ.get("LEANFLOW_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")


async def do(sql: str, *arguments: Any) -> list[Any]:
    """Run SQL on a connection of its own."""
    connection = await asyncpg.connect(URL)
    try:
        return list(await connection.fetch(sql, *arguments))
    finally:
        await connection.close()


@asynccontextmanager
async def schema() -> AsyncIterator[str]:
    """Give the name of a schema with leanflow's tables."""
    name = f"leanflow_{uuid4().hex}"
    try:
        await PostgresStore(URL, schema=name).migrate()
        yield name
    finally:
        await do(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def engine(name: str, *, workers: int = 1, **options: Any) -> LeanFlow:
    """Return an engine on a schema."""
    store = PostgresStore(URL, schema=name, **options)
    return LeanFlow(store=store, transport=Lean(), webhook_secrets=[SECRET], workers=workers, policy=Policy())


async def bulk(name: str, statements: list[str]) -> None:
    """Insert many rows at once: indexes but the keys are made anew afterwards, and everything is analysed."""
    connection = await asyncpg.connect(URL)
    try:
        await connection.execute(f'SET search_path TO "{name}"')
        await connection.execute("SET maintenance_work_mem = '256MB'")
        indexes = await connection.fetch(
            """SELECT indexname, indexdef FROM pg_indexes i WHERE schemaname = $1 AND NOT EXISTS (
            SELECT FROM pg_constraint c WHERE c.conname = i.indexname AND c.connamespace = $1::text::regnamespace)""",
            name,
        )
        for index, _ in indexes:
            await connection.execute(f'DROP INDEX "{index}"')
        for sql in statements:
            await connection.execute(sql)
        for _, definition in indexes:
            await connection.execute(definition)
        await connection.execute("CHECKPOINT")
        for (table,) in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", name):
            await connection.execute(f"VACUUM ANALYZE {table}")
    finally:
        await connection.close()


async def size_of(name: str) -> dict[str, int]:
    """Return the bytes of each table with its indexes."""
    found = await do(
        """SELECT relname, pg_total_relation_size(c.oid) AS size FROM pg_class c
        WHERE relnamespace = $1::text::regnamespace AND relkind = 'r'""",
        name,
    )
    return {row["relname"]: row["size"] for row in found}
