"""Old workers beside a newer version: its rows are left alone and told of, its columns disturb nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner

from leanflow import LeanFlow, State
from leanflow._request import Scope
from leanflow.errors import StoreUnavailable
from leanflow.testing import FakeClock
from leanflow_adapters.cli._app import app
from leanflow_adapters.cli._condition import condition
from leanflow_adapters.postgres import PostgresStore, _migrate
from tests.support.engine import deliver, engine
from tests.support.lean import Lean, webhook
from tests.support.postgres import URL, do, drop, fresh_schema

NEWER = """UPDATE "{0}".requests SET state = $2, resource = $3, due_at = created_at,
    record = jsonb_set(jsonb_set(record::jsonb, '{{state}}', to_jsonb($2::text)),
        '{{resource}}', to_jsonb($3::text))::text WHERE id = $1::text::uuid"""
COLUMNS = "id::text, state, version, call_no, owner, due_at, record"


@pytest.fixture
async def schema() -> AsyncIterator[str]:
    """Give a schema with the tables."""
    name = await fresh_schema()
    yield name
    await drop(name)


async def rows(schema: str, *ids: str) -> list[Any]:
    """Return the rows of requests."""
    return await do(f'SELECT {COLUMNS} FROM "{schema}".requests WHERE id = ANY ($1::uuid[]) ORDER BY id', ids)


async def a_newer_version_comes(schema: str, state_of: str, resource_of: str) -> list[Any]:
    """Do what its migration and its workers do: another column, a state and a resource that nobody here knows."""
    await do(f'ALTER TABLE "{schema}".requests ADD COLUMN mood text')
    await do(f'ALTER TABLE "{schema}".history ADD COLUMN mood text')
    await do(NEWER.format(schema), state_of, "paused", "accounts")
    await do(NEWER.format(schema), resource_of, "requested", "pensions")
    await do(f'INSERT INTO "{schema}".migrations (version) VALUES ($1)', _migrate.VERSION + 1)
    return await rows(schema, state_of, resource_of)


async def _pending(flows: LeanFlow, lean: Lean, entity: str) -> str:
    lean.will(entity, "pending")
    return (await flows.request("accounts", entity_id=entity)).id


async def test_an_old_worker_goes_on_with_its_own_and_leaves_the_newer_ones_alone(schema: str) -> None:
    """Its requests are probed and fetched; rows in states or of resources that it does not know stay as they are."""
    clock = FakeClock(datetime.now(UTC))
    lean = Lean(clock)
    async with engine(PostgresStore(URL, schema=schema, clock="engine"), lean, clock) as flows:
        strange = [await _pending(flows, lean, f"e{number}") for number in range(2)]
        own = await _pending(flows, lean, "mine")
        before = await a_newer_version_comes(schema, *strange)
    async with engine(PostgresStore(URL, schema=schema, clock="engine"), lean, clock) as flows:
        clock.advance(timedelta(days=2))
        await flows.tick()
        assert (await flows.get(own)).version > 1
        new = await flows.request("accounts", entity_id="another")
        assert (await flows.get(new.id)).state is not State.failed
        for request_id in strange:
            with pytest.raises(StoreUnavailable, match=f"{request_id} cannot be read: .* a newer leanflow made it"):
                await flows.get(request_id)
    assert await rows(schema, *strange) == before


async def test_what_lean_says_about_them_is_asked_for_again(schema: str) -> None:
    """A webhook that names a newer version's request is answered 503: Lean sends it again, to a worker that knows."""
    clock = FakeClock(datetime.now(UTC))
    lean = Lean(clock)
    async with engine(PostgresStore(URL, schema=schema, clock="engine"), lean, clock) as flows:
        request = await flows.get(await _pending(flows, lean, "e1"))
        other = await _pending(flows, lean, "e2")
        await a_newer_version_comes(schema, request.id, other)
    async with engine(PostgresStore(URL, schema=schema, clock="engine"), lean, clock) as flows:
        assert request.results_id is not None
        [reply] = await deliver(flows, webhook("results.ready", {"id": request.results_id}))
    assert reply.status == 503
    assert not await do(f"""SELECT 1 FROM "{schema}".inbox WHERE key LIKE 'event:%'""")


async def test_check_tells_of_them(schema: str) -> None:
    """`leanflow check` of the old version counts the requests that it does not know."""
    clock = FakeClock(datetime.now(UTC))
    lean = Lean(clock)
    async with engine(PostgresStore(URL, schema=schema, clock="engine"), lean, clock) as flows:
        strange = [await _pending(flows, lean, f"e{number}") for number in range(2)]
        scope: Scope = flows.scope
    await a_newer_version_comes(schema, *strange)
    found = {one.what: one for one in await condition(PostgresStore(URL, schema=schema), scope)}
    assert not found["states"].ok
    assert "1 requests are paused" in found["states"].words
    assert "1 requests are pensions" in found["resources"].words


async def test_copy_refuses_what_it_may_not_know_all_of(schema: str) -> None:
    """A newer version may keep things in tables and columns that an older `leanflow copy` would leave behind."""
    clock = FakeClock(datetime.now(UTC))
    lean = Lean(clock)
    async with engine(PostgresStore(URL, schema=schema, clock="engine"), lean, clock) as flows:
        strange = [await _pending(flows, lean, f"e{number}") for number in range(2)]
    await a_newer_version_comes(schema, *strange)
    other = await fresh_schema()
    try:
        for source, target in ((schema, other), (other, schema)):
            places = [f"{URL}?schema={name}" for name in (source, target)]
            done = await asyncio.to_thread(CliRunner().invoke, app, ["copy", *places])
            assert done.exit_code == 1, done.output
            assert "newer leanflow" in done.output
    finally:
        await drop(other)


async def test_a_migration_that_waits_says_for_whom(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives up after a while, has changed nothing, and names the server process that holds what it needs."""
    monkeypatch.setattr(_migrate, "_TURN", "100ms")
    connection = await asyncpg.connect(URL)
    try:
        async with connection.transaction():
            await connection.fetchval(_migrate._LOCK, schema)
            with pytest.raises(StoreUnavailable, match=rf"held by server process {connection.get_server_pid()} \("):
                await PostgresStore(URL, schema=schema).migrate()
        async with asyncio.timeout(30):
            assert await PostgresStore(URL, schema=schema).migrate() == _migrate.VERSION
    finally:
        await connection.close()


async def test_a_migration_does_not_wait_long_for_a_table(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes behind a migration that waits for a table waits, too: it gives up, and says who has the table."""
    monkeypatch.setattr(_migrate, "_PATIENCE", "100ms")
    monkeypatch.setattr(_migrate, "statements", lambda name, _: [f'ALTER TABLE "{name}".requests ADD mood text'])
    connection = await asyncpg.connect(URL)
    try:
        async with connection.transaction():
            await connection.execute(f'SELECT FROM "{schema}".requests')
            with pytest.raises(StoreUnavailable, match=rf"held by server process {connection.get_server_pid()} \("):
                await PostgresStore(URL, schema=schema).migrate()
    finally:
        await connection.close()
    added = "SELECT 1 FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = 'mood'"
    assert not await do(added, f'"{schema}".requests')
