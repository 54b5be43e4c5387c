"""Joining a transaction on the application's own aiosqlite connection."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from leanflow.errors import InvalidRequest, StoreUnavailable
from leanflow.ports import Outcome
from leanflow.testing.conformance._samples import SCOPE, a_creation, a_request, a_step, stored
from leanflow_adapters.sqlite import SQLiteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    """Give an open store."""
    store = SQLiteStore(tmp_path / "flows.db", busy_timeout=0.2)
    await store.open()
    yield store
    await store.aclose()


@pytest.fixture
async def connection(store: SQLiteStore, tmp_path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """Give the application's connection to the same file."""
    async with aiosqlite.connect(tmp_path / "flows.db") as connection:
        yield connection


async def test_another_database_is_refused(store: SQLiteStore, tmp_path: Path) -> None:
    """A connection to another file, to memory, or to nothing is refused before anything is done."""
    for target in (str(tmp_path / "other.db"), ":memory:", ""):
        async with aiosqlite.connect(target) as stranger:
            with pytest.raises(InvalidRequest, match="connection"):
                async with store.using(stranger):
                    pass
            assert not stranger.in_transaction


async def test_a_closed_or_foreign_connection_is_refused(store: SQLiteStore, tmp_path: Path) -> None:
    """A connection that is closed, or not aiosqlite's, or returns bytes for text is refused."""
    closed = await aiosqlite.connect(tmp_path / "flows.db")
    await closed.close()
    plain = sqlite3.connect(tmp_path / "flows.db")
    bytes_for_text = await aiosqlite.connect(tmp_path / "flows.db")
    bytes_for_text.text_factory = bytes
    for stranger in (closed, plain, bytes_for_text):
        with pytest.raises(InvalidRequest, match="connection"):
            async with store.using(stranger):
                pass
    plain.close()
    await bytes_for_text.close()


async def test_another_name_of_the_same_file_is_accepted(store: SQLiteStore, tmp_path: Path) -> None:
    """Files are compared, not paths."""
    (tmp_path / "link.db").symlink_to(tmp_path / "flows.db")
    async with aiosqlite.connect(tmp_path / "flows.db") as connection, store.using(connection) as joined:
        assert await joined.load(SCOPE, "x") is None
        await connection.rollback()


def in_a_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    """Make a row that has no order."""
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


async def test_the_applications_rows_and_ours_are_committed_together(
    store: SQLiteStore, connection: aiosqlite.Connection
) -> None:
    """Whatever the application's rows look like, its changes and ours are one transaction."""
    connection.row_factory = in_a_dict  # type: ignore[assignment]  # aiosqlite says a class
    await connection.execute("CREATE TABLE orders (number INTEGER)")
    await connection.commit()
    for ending in (connection.rollback, connection.commit):
        await connection.execute("INSERT INTO orders VALUES (1)")
        async with store.using(connection) as joined:
            created = await joined.create(a_creation(a_request(1)))
        assert created.is_new
        assert connection.in_transaction
        await ending()
    assert await store.load(SCOPE, a_request(1).id) == a_request(1)
    assert list(await connection.execute_fetchall("SELECT count(*) AS n FROM orders")) == [{"n": 1}]


async def test_a_transaction_is_begun_if_none_is_open(store: SQLiteStore, connection: aiosqlite.Connection) -> None:
    """It is begun at once, taking the write lock, and again when the application ended it inside the block."""
    async with store.using(connection) as joined:
        assert connection.in_transaction
        with pytest.raises(StoreUnavailable):
            await store.create(a_creation(a_request(9)))  # the lock is the application's
        await connection.commit()
        await joined.create(a_creation(a_request(1)))
        assert connection.in_transaction
        await connection.rollback()
    assert await store.load(SCOPE, a_request(1).id) is None


async def test_a_transaction_begun_without_the_lock_takes_it(
    store: SQLiteStore, connection: aiosqlite.Connection
) -> None:
    """Joined before it has looked, a transaction has the write lock, so that no step of it can come too late."""
    await connection.execute("BEGIN")  # as Django begins
    async with store.using(connection) as joined:
        with pytest.raises(StoreUnavailable):
            await store.create(a_creation(a_request(9)))  # the lock is the application's
        assert (await joined.create(a_creation(a_request(1)))).is_new
    await connection.commit()
    assert await store.load(SCOPE, a_request(1).id) == a_request(1)


async def test_a_snapshot_that_is_too_old_is_a_retryable_error(
    store: SQLiteStore, connection: aiosqlite.Connection
) -> None:
    """A transaction that read before somebody else wrote cannot write any more: StoreUnavailable, try it anew."""
    request = await stored(store)
    await connection.execute("BEGIN")
    await connection.execute_fetchall("SELECT * FROM leanflow_requests")
    await store.commit(a_step(request, "event-1"))
    async with store.using(connection) as joined:
        with pytest.raises(StoreUnavailable) as failed:
            await joined.commit(a_step(request, "event-2"))
        assert failed.value.retryable
    await connection.rollback()


async def test_what_breaks_in_the_middle_is_undone_alone(store: SQLiteStore, connection: aiosqlite.Connection) -> None:
    """A step that fails leaves the application's transaction as it was before the step."""
    first, second = await stored(store, 1), await stored(store, 2)
    await connection.execute(
        """CREATE TEMP TRIGGER poison BEFORE INSERT ON leanflow_history WHEN new.key = 'poison'
        BEGIN SELECT raise(ABORT, 'poisoned'); END"""
    )
    async with store.using(connection) as joined:
        await joined.commit(a_step(first, "event-1"))
        with pytest.raises(StoreUnavailable, match="poisoned"):
            await joined.commit(a_step(second, "poison"))
        assert not await joined.seen(SCOPE, "poison")
        assert await joined.load(SCOPE, second.id) == second
    await connection.commit()
    assert await store.seen(SCOPE, "event-1")
    assert await store.load(SCOPE, second.id) == second


async def test_a_cancelled_step_is_whole_or_undone(store: SQLiteStore, connection: aiosqlite.Connection) -> None:
    """Wherever a caller is cancelled, its step is in the transaction whole or not at all, and its key tells."""
    request = await stored(store)
    cancelled = 0
    async with store.using(connection) as joined:
        for turns in range(0, 40, 2):
            task = asyncio.ensure_future(joined.commit(a_step(request, f"event-{turns}")))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            loaded = await joined.load(SCOPE, request.id)
            assert loaded is not None
            assert loaded.version - request.version == int(await joined.seen(SCOPE, f"event-{turns}"))
            cancelled += task.cancelled()
            request = loaded
        assert cancelled > 5
        assert connection.in_transaction
        history = await joined.history(SCOPE, request.id)
        assert [entry.version for entry in history] == list(range(request.version + 1))
        step = a_step(request, "last")
        assert (await joined.commit(step)).outcome is Outcome.committed
    await connection.commit()
    assert await store.load(SCOPE, request.id) == step.after


async def test_tasks_of_one_block_take_turns(store: SQLiteStore, connection: aiosqlite.Connection) -> None:
    """Concurrent calls on one joined store do not undo each other's savepoints."""
    async with store.using(connection) as joined:
        made = await asyncio.gather(*(joined.create(a_creation(a_request(n))) for n in range(1, 21)))
        assert all(created.is_new for created in made)
        assert not await joined.purge(
            SCOPE, older_than=a_request(1).created_at, states=None, now=made[0].request.created_at, limit=5
        )
    await connection.commit()
    assert await store.counts(SCOPE) == {"requested": 20}
