"""Locks, full disks, read-only files, failed commits: the caller hears of it, nothing is half done, it works again."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import aiosqlite
import pytest

from leanflow.errors import InvalidRequest, StoreUnavailable
from leanflow.events import Page
from leanflow.ports import Outcome
from leanflow.testing.conformance._samples import (
    ALL,
    SCOPE,
    START,
    a_change,
    a_creation,
    a_request,
    a_step,
    stored,
)
from leanflow_adapters.sqlite import SQLiteStore


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Give the path of a file that has tables."""
    store = SQLiteStore(tmp_path / "flows.db")
    await store.open()
    await store.register(SCOPE, [ALL])
    await store.aclose()
    return tmp_path / "flows.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    """Give a store that waits for locks for half a second."""
    store = SQLiteStore(path, busy_timeout=0.5)
    await store.open()
    yield store
    await store.aclose()


def writer_of(store: SQLiteStore) -> aiosqlite.Connection:
    """Return the connection that writes."""
    assert store._opened is not None
    return store._opened.writer


@contextmanager
def locked(path: Path) -> Iterator[threading.Event]:
    """Hold the write lock as another program would, until the event is set."""
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            held.set()
            let_go.wait(30)
            connection.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        yield let_go
    finally:
        let_go.set()
        thread.join()


async def test_a_step_waits_for_another_programs_lock(path: Path) -> None:
    """A step that meets a lock is committed once that is let go."""
    store = SQLiteStore(path, busy_timeout=20)
    await store.open()
    request = await stored(store)
    with locked(path) as let_go:
        step = asyncio.ensure_future(store.commit(a_step(request, "event-1")))
        assert await store.load(SCOPE, request.id) == request  # reads do not wait
        assert not step.done()
        let_go.set()
        assert (await step).outcome is Outcome.committed
    await store.aclose()


async def test_a_lock_beyond_the_timeout_is_unavailable(store: SQLiteStore, path: Path) -> None:
    """A database that stays locked is StoreUnavailable for everyone in the batch, never an end; afterwards it works."""
    requests = [await stored(store, number) for number in range(1, 6)]
    steps = [a_step(request, f"event-{request.id}") for request in requests]
    with locked(path):
        failed = await asyncio.gather(*(store.commit(step) for step in steps), return_exceptions=True)
        assert all(isinstance(error, StoreUnavailable) for error in failed)
        assert len({id(error) for error in failed}) == 5
    assert not any([await store.seen(SCOPE, step.inbox.key) for step in steps])
    assert {(await store.commit(step)).outcome for step in steps} == {Outcome.committed}


async def test_nobody_waits_for_two_timeouts(path: Path) -> None:
    """Who waited behind a batch that found the store locked hears of it soon after that batch."""
    patience = 2.0  # seconds: a busy machine does not hold up the second for so long
    store = SQLiteStore(path, busy_timeout=patience)
    await store.open()
    request, other = await stored(store, 1), await stored(store, 2)
    with locked(path):
        first = asyncio.ensure_future(store.commit(a_step(request, "event-1")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first is in the thread by now
        second = asyncio.ensure_future(store.commit(a_step(other, "event-2")))
        with pytest.raises(StoreUnavailable):
            await first
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(second, 0.9 * patience)
    await store.aclose()


async def test_a_readers_snapshot_holds_up_no_step(store: SQLiteStore, path: Path) -> None:
    """A program that holds an old snapshot goes on seeing that, and steps are committed meanwhile."""
    request = await stored(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT version FROM leanflow_requests").fetchall() == [(0,)]
        step = a_step(request, "event-1")
        assert (await store.commit(step)).outcome is Outcome.committed
        assert store._opened is not None
        await store._opened.checkpointer._once()
        assert reader.execute("SELECT version FROM leanflow_requests").fetchall() == [(0,)]
        assert await store.load(SCOPE, request.id) == step.after
        reader.execute("COMMIT")


async def test_a_full_disk_is_unavailable_and_nothing_is_half_done(store: SQLiteStore) -> None:
    """When the file cannot grow the whole batch fails; with room again the same step is committed."""
    request = await stored(store)
    (pages,), *_ = await writer_of(store).execute_fetchall("PRAGMA page_count")
    await writer_of(store).execute_fetchall(f"PRAGMA max_page_count = {pages + 2}")
    step = a_step(request, "event-1", pages=(Page(raw=b"x" * 500_000),), announcements=(a_change(request),))
    with pytest.raises(StoreUnavailable, match="full"):
        await store.commit(step)
    assert await store.load(SCOPE, request.id) == request
    assert not await store.seen(SCOPE, "event-1")
    assert not await store.pages(SCOPE, request.id)
    await writer_of(store).execute_fetchall("PRAGMA max_page_count = 1000000")
    assert (await store.commit(step)).outcome is Outcome.committed
    assert len(await store.pages(SCOPE, request.id)) == 1
    assert list(await writer_of(store).execute_fetchall("PRAGMA integrity_check")) == [("ok",)]


async def test_a_read_only_database_is_unavailable(store: SQLiteStore) -> None:
    """When nothing may be written steps fail, reads go on, and afterwards it works again."""
    request = await stored(store)
    await writer_of(store).execute_fetchall("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match="readonly"):
        await store.commit(a_step(request, "event-1"))
    assert await store.load(SCOPE, request.id) == request
    await writer_of(store).execute_fetchall("PRAGMA query_only = OFF")
    assert (await store.commit(a_step(request, "event-1"))).outcome is Outcome.committed


async def test_a_failed_commit_fails_the_whole_batch(store: SQLiteStore) -> None:
    """Nobody is told `committed` when COMMIT itself failed, and the next batch works."""
    requests = [await stored(store, number) for number in range(1, 4)]
    for statement in (
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        """CREATE TRIGGER poison AFTER INSERT ON leanflow_inbox WHEN new.key = 'poison'
        BEGIN INSERT INTO child VALUES (1); END""",
        "PRAGMA foreign_keys = ON",
    ):
        await writer_of(store).execute_fetchall(statement)
    steps = [a_step(request, key) for request, key in zip(requests, ("event-1", "poison", "event-3"), strict=True)]
    failed = await asyncio.gather(*(store.commit(step) for step in steps), return_exceptions=True)
    assert [type(error) for error in failed] == [StoreUnavailable] * 3
    assert [await store.load(SCOPE, request.id) for request in requests] == requests
    assert not await store.seen(SCOPE, "event-1")
    assert (await store.commit(steps[0])).outcome is Outcome.committed
    assert (await store.commit(steps[2])).outcome is Outcome.committed


async def test_one_that_breaks_does_not_cost_the_others(store: SQLiteStore) -> None:
    """When one work of a batch breaks in the middle, it alone fails, and what it wrote is undone."""
    requests = [await stored(store, number) for number in range(1, 4)]
    await writer_of(store).execute_fetchall(
        """CREATE TRIGGER poison BEFORE INSERT ON leanflow_history WHEN new.key = 'poison'
        BEGIN SELECT raise(ABORT, 'poisoned'); END"""
    )
    steps = [a_step(request, key) for request, key in zip(requests, ("event-1", "poison", "event-3"), strict=True)]
    done = await asyncio.gather(*(store.commit(step) for step in steps), return_exceptions=True)
    assert isinstance(done[1], StoreUnavailable)
    assert [getattr(d, "outcome", None) for d in done] == [Outcome.committed, None, Outcome.committed]
    assert not await store.seen(SCOPE, "poison")
    assert await store.load(SCOPE, requests[1].id) == requests[1]
    assert await store.load(SCOPE, requests[2].id) == steps[2].after


async def test_text_that_cannot_be_stored_is_the_callers_fault(store: SQLiteStore) -> None:
    """Half a surrogate pair in a column is an InvalidRequest, not a store to try again; in the record it is kept."""
    request = await stored(store, metadata={"half": "\ud800"})
    assert await store.load(SCOPE, request.id) == request
    broken, whole = a_request(2, reference="\ud800"), a_request(3)
    done = await asyncio.gather(*(store.create(a_creation(r)) for r in (broken, whole)), return_exceptions=True)
    assert isinstance(done[0], InvalidRequest)
    assert not isinstance(done[1], BaseException)
    with pytest.raises(InvalidRequest):
        await store.load(SCOPE, "\ud800")
    assert await store.load(SCOPE, whole.id) == whole


async def test_errors_tell_no_values(store: SQLiteStore) -> None:
    """The reason is SQLite's own: no SQL, no payload."""
    await stored(store, 1)
    with pytest.raises(StoreUnavailable) as failed:
        await store.create(a_creation(a_request(1, fingerprint="other", reference="secret-17")))
    assert "secret-17" not in str(failed.value)
    assert "INSERT" not in str(failed.value)
    assert isinstance(failed.value.__cause__, sqlite3.IntegrityError)


async def test_a_connection_left_inside_a_transaction_recovers(store: SQLiteStore) -> None:
    """Whatever a failed rollback left behind is rolled back before the next batch."""
    request = await stored(store)
    await writer_of(store).execute_fetchall("BEGIN IMMEDIATE")
    await writer_of(store).execute_fetchall("DELETE FROM leanflow_requests")
    assert (await store.commit(a_step(request, "event-1"))).outcome is Outcome.committed
    assert await store.claim(SCOPE, owner="w", now=START, lease=1, limit=1)
