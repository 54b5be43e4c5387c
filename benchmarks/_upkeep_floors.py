"""The least statements by hand that do what purging, erasing, exporting, encrypting anew and copying do to such rows.

They are told which rows, so they look for none; they check nothing, and nobody can stop them in between.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import asyncpg
from cryptography.fernet import Fernet
from redis.asyncio import Redis

from benchmarks._postgres import URL
from benchmarks._upkeep_rows import FLOOR, STEPS, entity, id_of, key_of, result_of
from leanflow_adapters._records import digest, scope_number
from leanflow_adapters.redis._rows import base_of

__all__ = ["Floor", "PostgresFloor", "RedisFloor", "SQLiteFloor", "copy"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("at", "ended_at", "created_at", "updated_at", "refreshed_at", "due_at")


class Floor(Protocol):
    """What is done to requests of the application that the floors have."""

    async def forget(self, numbers: range) -> None:
        """Delete these and all that belongs to them, in one transaction, leaving tombstones."""
        ...

    async def export(self, number: int) -> object:
        """Return one request and its history."""
        ...

    async def encrypt(self, numbers: range, key: Fernet) -> None:
        """Encrypt their results, in one transaction."""
        ...


def _stones(numbers: range) -> list[tuple[int, bytes]]:
    named = [digest(*name) for n in numbers for name in (("request", id_of(n)), ("results", result_of(n)))]
    return [(scope_number(FLOOR), stone) for stone in named]


class SQLiteFloor:
    """On the file that the store has, by a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA synchronous = FULL")

    async def forget(self, numbers: range) -> None:
        """Delete them."""
        ids = (id_of(numbers[0]), id_of(numbers[-1]))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO leanflow_tombstones VALUES (?, ?, 0)", _stones(numbers))
        self._db.execute(
            """DELETE FROM leanflow_inbox WHERE scope = ? AND key IN
            (SELECT key FROM leanflow_history WHERE request_id BETWEEN ? AND ?)""",
            (scope_number(FLOOR), *ids),
        )
        for table in ("history", "pages", "ids"):
            self._db.execute(f"DELETE FROM leanflow_{table} WHERE request_id BETWEEN ? AND ?", ids)  # noqa: S608 - ours
        self._db.execute("DELETE FROM leanflow_requests WHERE id BETWEEN ? AND ?", ids)
        self._db.execute("COMMIT")

    async def export(self, number: int) -> object:
        """Return the rows."""
        one = self._db.execute("SELECT record FROM leanflow_requests WHERE id = ?", (id_of(number),)).fetchone()
        history = self._db.execute("SELECT * FROM leanflow_history WHERE request_id = ?", (id_of(number),)).fetchall()
        return json.loads(one[0]), history

    async def encrypt(self, numbers: range, key: Fernet) -> None:
        """Read, encrypt, write."""
        ids = (id_of(numbers[0]), id_of(numbers[-1]))
        found = self._db.execute("SELECT rowid, raw FROM leanflow_pages WHERE request_id BETWEEN ? AND ?", ids)
        sealed = [(key.encrypt(raw), rowid) for rowid, raw in found.fetchall()]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("UPDATE leanflow_pages SET raw = ? WHERE rowid = ?", sealed)
        self._db.execute("COMMIT")


class PostgresFloor:
    """On the schema that the store has, by a connection of its own."""

    def __init__(self, db: asyncpg.Connection, schema: str) -> None:
        self._db = db
        self._schema = schema

    async def forget(self, numbers: range) -> None:
        """Delete them."""
        ids = (UUID(id_of(numbers[0])), UUID(id_of(numbers[-1])))
        names = f'"{self._schema}"'
        async with self._db.transaction():
            await self._db.execute(
                f"INSERT INTO {names}.tombstones SELECT $1, unnest($2::bytea[]), now()",
                scope_number(FLOOR),
                [stone for _, stone in _stones(numbers)],
            )
            await self._db.execute(
                f"""DELETE FROM {names}.inbox WHERE scope = $1 AND key IN
                (SELECT key FROM {names}.history WHERE request_id BETWEEN $2 AND $3)""",  # noqa: S608 - the same
                scope_number(FLOOR),
                *ids,
            )
            for table in ("history", "pages", "ids"):
                await self._db.execute(f"DELETE FROM {names}.{table} WHERE request_id BETWEEN $1 AND $2", *ids)  # noqa: S608
            await self._db.execute(f"DELETE FROM {names}.requests WHERE id BETWEEN $1 AND $2", *ids)  # noqa: S608

    async def export(self, number: int) -> object:
        """Return the rows."""
        names, one = f'"{self._schema}"', UUID(id_of(number))
        record = await self._db.fetchval(f"SELECT record FROM {names}.requests WHERE id = $1", one)  # noqa: S608
        return json.loads(record), await self._db.fetch(f"SELECT * FROM {names}.history WHERE request_id = $1", one)  # noqa: S608

    async def encrypt(self, numbers: range, key: Fernet) -> None:
        """Read, encrypt, write."""
        names, ids = f'"{self._schema}"', (UUID(id_of(numbers[0])), UUID(id_of(numbers[-1])))
        found = await self._db.fetch(
            f"SELECT request_id, raw FROM {names}.pages WHERE request_id BETWEEN $1 AND $2",  # noqa: S608
            *ids,
        )
        await self._db.execute(
            f"""UPDATE {names}.pages p SET raw = n.raw FROM unnest($1::uuid[], $2::bytea[]) AS n (id, raw)
            WHERE p.request_id = n.id AND p.page = 0""",  # noqa: S608
            [one for one, _ in found],
            [key.encrypt(raw) for _, raw in found],
        )


class RedisFloor:
    """On the server that the store has, by pipelines in a transaction."""

    def __init__(self, client: Redis, prefix: str, customer_size: int) -> None:
        self._client = client
        self._base = base_of(prefix, FLOOR)
        self._size = customer_size

    async def forget(self, numbers: range) -> None:
        """Delete them."""
        ids = [id_of(n) for n in numbers]
        stones = [part for _, stone in _stones(numbers) for part in (0, stone)]
        keys = [key_of(n, step) for n in numbers for step in range(STEPS)]
        own = [kind + one for one in ids for kind in ("r:", "h:", "pages:", "names:", "named:")]
        named = [kind + name(n) for n in numbers for kind, name in (("entity:", entity), ("id:results:", result_of))]
        await self._do(
            ("ZADD", self._at("stones"), *stones),
            ("ZREM", self._at("inbox"), *keys),
            *(("ZREM", self._at(index), *ids) for index in ("all", "paged", "s:fetched", "ended:fetched")),
            *(("ZREM", self._at(f"customer:c{(n - 1) // self._size}"), id_of(n)) for n in numbers),
            ("DEL", *map(self._at, (*own, *named))),
            ("HINCRBY", self._at("counts"), "fetched", -len(ids)),
        )

    async def export(self, number: int) -> object:
        """Return the values."""
        one = id_of(number)
        record, history = await self._do(
            ("HGET", self._at("r:" + one), "record"), ("LRANGE", self._at("h:" + one), 0, -1)
        )
        return json.loads(record), history

    async def encrypt(self, numbers: range, key: Fernet) -> None:
        """Read, encrypt, write."""
        places = [self._at("pages:" + id_of(n)) for n in numbers]
        found = await self._do(*(("HGET", place, "000000") for place in places))
        parts = [stored.partition(b"\n") for stored in found]
        await self._do(
            *(
                ("HSET", place, "000000", head + b"\n" + key.encrypt(raw))
                for place, (head, _, raw) in zip(places, parts, strict=True)
            )
        )

    def _at(self, name: str) -> bytes:
        return self._base + name.encode()

    async def _do(self, *commands: tuple[Any, ...]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=True)
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute())


async def copy(path: Path, schema: str, count: int) -> int:
    """Copy the first so many requests of a file and what they have into a schema; return how many rows those are."""
    db = sqlite3.connect(path)
    target = await asyncpg.connect(URL)
    total = 0
    for table, limit in (("inbox", STEPS), ("ids", 1), ("history", STEPS), ("pages", 1), ("requests", 1)):
        columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info(leanflow_{table})")]
        columns = [name for name in columns if name not in ("number", "key") or table == "inbox"]
        columns += ["key"] if table == "history" else []
        found = db.execute(f"SELECT {', '.join(columns)} FROM leanflow_{table} LIMIT {limit * count}")  # noqa: S608 - ours
        while rows := found.fetchmany(1000):
            records = [_own(columns, row) for row in rows]
            await target.copy_records_to_table(table, schema_name=schema, columns=columns, records=records)
            total += len(rows)
    await target.close()
    db.close()
    return total


def _own(columns: Sequence[str], row: Sequence[Any]) -> list[Any]:
    return [_value(name, value) for name, value in zip(columns, row, strict=True)]


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return _EPOCH + timedelta(microseconds=value)
    return UUID(value) if name in ("id", "request_id") else value
