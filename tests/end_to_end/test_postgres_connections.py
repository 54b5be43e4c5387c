"""The Postgres store's connections: how they are had, shared, lost and given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from leanflow.errors import InvalidRequest, StoreUnavailable
from leanflow.ports import Outcome
from leanflow.testing.conformance._samples import SCOPE, a_creation, a_request, a_step, at, stored
from leanflow_adapters import _hearing
from leanflow_adapters.postgres import PostgresStore, _connection, _hints
from leanflow_adapters.postgres._migrate import VERSION, found_version
from tests.support.postgres import URL, do, drop, empty, fresh_schema
from tests.support.ways import Swallowing
from tests.support.wire import through

PATIENCE = 20.0  # seconds


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """Give a schema with the tables."""
    name = asyncio.run(fresh_schema())
    yield name
    asyncio.run(drop(name))


@asynccontextmanager
async def opened(schema: str, url: str = URL, **settings: Any) -> AsyncIterator[PostgresStore]:
    """Give an open store."""
    store = PostgresStore(url, schema=schema, clock="engine", **settings)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def transaction() -> AsyncIterator[Any]:
    """Give an application's connection in a transaction, which is rolled back."""
    connection = await asyncpg.connect(URL)
    await connection.execute("BEGIN")
    try:
        yield connection
    finally:
        await connection.close()


async def test_however_many_requests_an_application_holds_others_go_on(schema: str) -> None:
    """More held requests than the pool has connections: their steps wait, and no other step or claim does."""
    await empty(schema)
    async with opened(schema, hints=False) as store:
        *held, free = [await stored(store, number) for number in range(1, 42)]
        async with transaction() as connection:
            ids = [each.id for each in held]
            await connection.execute(f'SELECT FROM "{schema}".requests WHERE id = ANY ($1) FOR UPDATE', ids)
            waiting = [asyncio.create_task(store.commit(a_step(each, f"event-{each.id}"))) for each in held]
            async with asyncio.timeout(PATIENCE):
                while not await _locked(schema):
                    pass  # until the first of them waits for the lock
            assert (await store.commit(a_step(free, "free"))).outcome is Outcome.committed
            assert len(await store.claim(SCOPE, owner="w", now=at(1), lease=60, limit=9)) == 1
            assert not any(task.done() for task in waiting), "nobody waited for what the application holds"
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(one, StoreUnavailable) for one in ended)
        again = await asyncio.gather(*(store.commit(a_step(each, f"event-{each.id}")) for each in held))
        assert {one.outcome for one in again} == {Outcome.committed}


async def test_however_many_requests_an_application_makes_others_are_made(schema: str) -> None:
    """Twins of more requests than the pool has connections: they wait for the application, and no other creation."""
    await empty(schema)
    async with opened(schema, hints=False) as store, transaction() as connection:
        await store.register(SCOPE, [])
        wanted = [a_request(number) for number in range(1, 31)]
        async with store.using(connection) as tx:
            for each in wanted:
                assert (await tx.create(a_creation(each))).is_new
        twins = [a_request(100 + n, fingerprint=each.fingerprint) for n, each in enumerate(wanted)]
        waiting = [asyncio.create_task(store.create(a_creation(twin))) for twin in twins]
        async with asyncio.timeout(PATIENCE):
            while not await _locked(schema):
                pass
            for number in range(200, 220):  # while the twins come to wait, one after the other
                assert (await store.create(a_creation(a_request(number)))).is_new
            assert not any(task.done() for task in waiting)
            await connection.execute("COMMIT")
            ended = await asyncio.gather(*waiting)
    assert [one.request.id for one in ended] == [each.id for each in wanted]


async def _locked(schema: str) -> bool:
    waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND position($1 IN query) > 0"
    return bool(await do(waits, schema))


async def test_a_twin_that_cannot_be_read_costs_only_its_like(schema: str) -> None:
    """Of creations in one statement, one finds a request that a newer leanflow has moved: the others are made."""
    await empty(schema)
    async with opened(schema, hints=False) as store:
        strange = await stored(store, 1)
        moved = """UPDATE "{}".requests SET record = replace(record, '{{"id"', '{{"state":"paused","id"')"""
        await do(moved.format(schema))
        twin = a_request(2, fingerprint=strange.fingerprint)
        wanted = [a_request(3), a_request(4), twin, a_request(5), a_request(6)]  # the first two go at once, each alone
        ended = await asyncio.gather(*(store.create(a_creation(each)) for each in wanted), return_exceptions=True)
        refused = ended.pop(2)
        assert isinstance(refused, StoreUnavailable)
        assert "newer leanflow" in refused.reason
        assert [getattr(one, "is_new", one) for one in ended] == [True] * 4


async def test_closing_that_is_cut_short_leaves_no_connection_behind(schema: str) -> None:
    """Whoever is cancelled while a store closes has given its connections back all the same."""
    await empty(schema)
    url = f"{URL}?application_name={schema[:40]}"
    store = PostgresStore(url, schema=schema, clock="engine", hints=False)
    await store.open()
    request = await stored(store)
    async with transaction() as connection:
        await connection.execute(f'SELECT FROM "{schema}".requests WHERE id = $1 FOR UPDATE', request.id)
        waiting = asyncio.create_task(store.commit(a_step(request, "event-1")))
        async with asyncio.timeout(PATIENCE):
            while not await _locked(schema):
                pass
        closing = asyncio.create_task(store.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert closing.cancelled()
        async with asyncio.timeout(PATIENCE):
            while await do("SELECT FROM pg_stat_activity WHERE application_name = $1", schema[:40]):
                pass
    with pytest.raises(StoreUnavailable):
        await waiting


@pytest.mark.parametrize("dsn", ["postgresql://user:sec/ret@localhost/test", "postgresql://user@localhost:port/test"])
async def test_a_dsn_that_is_not_understood_is_refused_and_not_repeated(dsn: str) -> None:
    """A password with a slash that is not escaped is taken for a port by some: no part of it is shown."""
    store = PostgresStore(dsn)
    for act in (store.open, store.migrate):
        with pytest.raises(InvalidRequest, match="dsn") as caught:
            await act()
        assert "sec" not in str(caught.value)
        assert caught.value.__suppress_context__


async def test_a_password_that_cannot_be_had_makes_it_unavailable(schema: str) -> None:
    """Where passwords come from may be away, too: told as the database's own absence is, and tried again."""

    class Vault:
        is_away = False

        async def password(self) -> str:
            if self.is_away:
                raise LookupError("secret-path")
            return "anything"

    vault = Vault()
    vault.is_away = True
    store = PostgresStore(URL, schema=schema, password=vault.password)
    with pytest.raises(StoreUnavailable, match="LookupError") as caught:
        await store.open()
    assert "secret-path" not in str(caught.value)
    vault.is_away = False
    await store.open()
    await store.aclose()


async def test_opening_waits_for_the_migration_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take longer than a statement of leanflow's ever should."""
    monkeypatch.setattr(_connection, "_STATEMENT_TIMEOUT", 0.2)
    name = await fresh_schema()
    await drop(name)
    lock = "SELECT pg_advisory_xact_lock(hashtextextended('leanflow:' || $1, 0))"
    async with transaction() as connection:
        await connection.execute(f"SET application_name = '{name}'")
        await connection.fetch(lock, name)
        store = PostgresStore(URL, schema=name, migrate=True)
        opening = asyncio.create_task(store.open())
        _, pending = await asyncio.wait({opening}, timeout=0.6)
        assert pending, opening.exception()
    await opening
    await store.aclose()
    connection = await asyncpg.connect(URL)
    assert await found_version(connection, name) == VERSION
    await connection.close()
    await drop(name)


def _way() -> Swallowing:
    there = urlsplit(URL)
    return Swallowing(there.hostname or "127.0.0.1", there.port or 5432)


async def test_closing_over_a_way_that_is_dead_ends_soon(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in flight: that the server does not hear the goodbye is neither waited for long nor an error."""
    await empty(schema)
    monkeypatch.setattr(_connection, "_GOODBYE", 0.2)
    way = _way()
    async with way.listening() as port:
        store = PostgresStore(through(URL, port), schema=schema, clock="engine", hints=False)
        await store.open()
        await stored(store)
        way.lose()
        async with asyncio.timeout(PATIENCE):
            await store.aclose()


async def test_hints_come_again_after_a_connection_died_without_a_word(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that forgot the connection that listens sends no word of it: looking finds out."""
    await empty(schema)
    for module, name, seconds in ((_hints, "_LOOK", 0.05), (_hearing, "_AGAIN", 0.05), (_hints, "_REPLY", 0.2)):
        monkeypatch.setattr(module, name, seconds)
    way = _way()
    heard = asyncio.Event()
    async with way.listening() as port, opened(schema) as other, opened(schema, through(URL, port)) as store:
        hearing = await store.hear(SCOPE, lambda _: heard.set())
        assert hearing is not None
        async with asyncio.timeout(PATIENCE):
            await heard.wait()  # that it listens
            heard.clear()
            way.lose()
            await heard.wait()  # that it listens again
            heard.clear()
            await stored(other)
            await heard.wait()
        await hearing.aclose()
