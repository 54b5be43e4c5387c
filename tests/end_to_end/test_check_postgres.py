"""`leanflow check` and `leanflow migrate` on Postgres: what they find, and what they tell to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from leanflow.testing import FakeClock
from leanflow_adapters.postgres import PostgresStore, tables as postgres_tables
from leanflow_adapters.postgres._migrate import VERSION, statements
from tests.support.engine import engine
from tests.support.lean import Lean
from tests.support.postgres import URL, do, drop, fresh_schema
from tests.support.wire import through


@pytest.fixture
async def schema() -> AsyncIterator[str]:
    """Give a schema with two requests of app `app`."""
    name = await fresh_schema()
    clock = FakeClock(datetime.now(UTC) + timedelta(days=1))
    async with engine(PostgresStore(URL, schema=name, clock="engine"), Lean(clock), clock) as flows:
        await flows.request("accounts", entity_id="e1")
        await flows.request("identity", entity_id="e1")
    yield name
    await drop(name)


def _run(command: str, url: str, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "leanflow_adapters.cli", command, "--store", url, "--app", "app", *more]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


async def check(url: str) -> tuple[int, Mapping[str, Any]]:
    """Run the command; return its exit status and what it found."""
    done = await asyncio.to_thread(_run, "check", url, "--json")
    assert done.stdout, done.stderr
    return done.returncode, {finding["what"]: (finding["ok"], finding["words"]) for finding in json.loads(done.stdout)}


async def test_a_sound_database_is_found_sound(schema: str) -> None:
    """Clocks, durability, the way there, states and resources each have their line; exit status 0."""
    status, found = await check(f"{URL}?schema={schema}")
    assert status == 0, found
    assert found["clocks"][1].startswith("the database's and this machine's differ by 0.")
    assert found["durability"] == (True, "synchronous_commit is on")
    assert found["connection"] == (True, "to the server itself")
    assert found["states"] == found["resources"] == (True, "this version knows all")


async def test_what_this_version_does_not_know_is_told(schema: str) -> None:
    """States and resources that a newer leanflow made are counted, with what to do; exit status 1."""
    await do(f"""UPDATE "{schema}".requests SET state = 'paused', due_at = NULL WHERE resource = 'identity'""")
    await do(f"""UPDATE "{schema}".requests SET resource = 'pensions' WHERE resource = 'accounts'""")
    status, found = await check(f"{URL}?schema={schema}")
    assert status == 1
    assert not found["states"][0]
    assert found["states"][1].startswith("1 requests are paused, which this version does not know")
    assert not found["resources"][0]
    assert found["resources"][1].startswith("1 requests are pensions,")


async def test_a_database_that_forgets_is_told(schema: str) -> None:
    """synchronous_commit off, set for the connection, is bad, and the line says what to run."""
    settings = "options=-c%20synchronous_commit%3Doff"
    status, found = await check(f"{URL}?schema={schema}&{settings}")
    assert status == 1
    assert not found["durability"][0]
    assert "SET synchronous_commit = on" in found["durability"][1]


async def test_a_database_that_forgets_is_told_on_opening(schema: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what is lost, and what to set; a database that keeps its word is passed over in silence."""
    told: list[str] = []
    for settings, lines in (("", 0), ("?options=-c%20synchronous_commit%3Doff", 1)):
        store = PostgresStore(f"{URL}{settings}", schema=schema)
        await store.open()
        await store.aclose()
        told = [record.message for record in caplog.records if record.name == "leanflow.store"]
        assert len(told) == lines
    assert "synchronous_commit is off: a crash of the server loses webhooks" in told[0]


@pytest.mark.parametrize(("skew", "ok", "words"), [(1.9, True, "1.9 s"), (5, False, "5 s ahead"), (-5, False, "5 s b")])
async def test_clocks_may_differ_by_two_seconds(
    schema: str, monkeypatch: pytest.MonkeyPatch, skew: float, ok: bool, words: str
) -> None:
    """Beyond that it is told, and which of them is ahead."""
    moved = postgres_tables._SETTINGS.replace("clock_timestamp()", f"clock_timestamp() + interval '{skew} s'")
    monkeypatch.setattr(postgres_tables, "_SETTINGS", moved)
    async with postgres_tables.tables(PostgresStore(URL, schema=schema)) as tables:
        what, is_ok, said = next(iter(await tables.conditions()))
    assert (what, is_ok) == ("clocks", ok)
    assert words in said


async def test_a_pooler_in_between_is_noticed(schema: str) -> None:
    """A pooler makes up the process id that a client is told: the line says what transaction mode needs."""
    async with pooler() as port:
        status, found = await check(f"{through(URL, port)}?schema={schema}&prepared=0&hints=0")
    assert status == 0, found
    assert "?prepared=0&hints=0" in found["connection"][1]


@asynccontextmanager
async def pooler() -> AsyncIterator[int]:
    """Stand before Postgres and tell clients another process id than the server's, as PgBouncer does; give the port."""
    place = urlsplit(URL)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(place.hostname, place.port or 5432)
        up = asyncio.create_task(_pass(reader, up_writer))
        tasks.add(up)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await _tell(up_reader, writer)
        up.cancel()
        for one in (writer, up_writer):
            one.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*tasks, return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    first = await reader.readexactly(1)
    if first in b"SN":  # the answer to "do you speak TLS?"
        writer.write(first)
        first = await reader.readexactly(1)
    while True:
        size = await reader.readexactly(4)
        body = await reader.readexactly(int.from_bytes(size) - 4)
        if first == b"K":
            body = (int.from_bytes(body[:4]) ^ 1).to_bytes(4) + body[4:]
        writer.write(first + size + body)
        await writer.drain()
        first = await reader.readexactly(1)


# --- migrations --------------------------------------------------------------------------------------------------


async def test_pending_migrations_are_told(schema: str) -> None:
    """Tables of an older version are bad, and the line names the command that mends them."""
    await do(f'DELETE FROM "{schema}".migrations WHERE version = {VERSION}')
    status, found = await check(f"{URL}?schema={schema}")
    assert status == 1
    assert "`leanflow migrate`" in found["store"][1]


async def test_the_printed_sql_makes_the_same_tables() -> None:
    """What `leanflow migrate --sql` prints can be run as it is; nothing is pending after it."""
    name = f"leanflow_{uuid4().hex}"
    url = f"{URL}?schema={name}"
    printed = await asyncio.to_thread(_run, "migrate", url, "--sql")
    assert printed.returncode == 0, printed.stderr
    try:
        await do(printed.stdout)
        status, found = await check(url)
        assert status == 0, found
    finally:
        await drop(name)


async def test_a_second_version_brings_only_the_difference() -> None:
    """From version 1 on only the second file is applied, whether printed or run; a third time nothing is left to do."""
    name = f"leanflow_{uuid4().hex}"
    try:
        first, second = statements(name)
        await do(first)
        store = PostgresStore(URL, schema=name)
        assert store.migration_sql(1) == second
        assert "CREATE TABLE" not in second
        assert await store.migrate() == 1
        assert await store.migrate() == VERSION
        assert store.migration_sql(VERSION) == ""
    finally:
        await drop(name)


async def test_an_option_that_nobody_knows_is_named(schema: str) -> None:
    """As a schema that was mistyped; by whatever command."""
    for command in ("check", "migrate", "list"):
        done = await asyncio.to_thread(_run, command, f"{URL}?shema={schema}")
        assert done.returncode == 1
        said = done.stdout if command == "check" else done.stderr
        assert 'Postgres does not know an option of it: unrecognized configuration parameter "shema"' in said
