"""The file: made, recognised, migrated, refused, and let go of."""
# ruff: noqa: ASYNC240 - nothing else runs on a test's loop

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from leanflow.errors import InvalidRequest, MigrationNeeded, NotStarted, StoreUnavailable
from leanflow.testing.conformance._samples import SCOPE, a_step, stored
from leanflow_adapters.sqlite import SQLiteStore
from leanflow_adapters.sqlite._connection import migrate
from leanflow_adapters.sqlite.migrations import MIGRATIONS, VERSION


def version_of(path: Path) -> int:
    """Return a file's user_version."""
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def run(path: Path, *statements: str) -> None:
    """Run statements on a file, as another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


async def opened(path: Path) -> SQLiteStore:
    """Return an open store."""
    store = SQLiteStore(path)
    await store.open()
    return store


async def test_nothing_is_opened_before_open(tmp_path: Path) -> None:
    """A store is built cold: no file, no thread."""
    store = SQLiteStore(tmp_path / "flows.db")
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotStarted):
        await store.load(SCOPE, "x")
    with pytest.raises(NotStarted):
        store.using(object())
    assert not store.is_open


def test_a_file_that_cannot_be_opened_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None that finds its event loop closed, and says so on stderr: of twenty runs, one would."""
    said: list[object] = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    before = set(threading.enumerate())
    for _ in range(20):
        with pytest.raises(StoreUnavailable, match="No such file or directory"):
            asyncio.run(opened(tmp_path / "nowhere" / "flows.db"))
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert not said


async def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """It will hold bank data: mode 0600, the log too; WAL, and the newest version."""
    path = tmp_path / "flows.db"
    before = os.umask(0)
    try:
        store = await opened(path)
    finally:
        os.umask(before)
    await stored(store)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    assert len(list(tmp_path.iterdir())) == 3
    await store.aclose()
    assert [file.name for file in tmp_path.iterdir()] == ["flows.db"]
    assert version_of(path) == VERSION


async def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    """A file of no bytes is version 0, and is migrated."""
    (tmp_path / "flows.db").touch()
    store = await opened(tmp_path / "flows.db")
    await stored(store)
    await store.aclose()


async def test_the_applications_own_tables_are_left_alone(tmp_path: Path) -> None:
    """The file may be the application's: its tables and rows stay."""
    path = tmp_path / "app.db"
    run(path, "CREATE TABLE users (name TEXT)", "INSERT INTO users VALUES ('Ada')")
    store = await opened(path)
    await store.aclose()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM users").fetchall() == [("Ada",)]


async def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A file of a newer version raises MigrationNeeded, which tells both versions."""
    path = tmp_path / "flows.db"
    await (await opened(path)).aclose()
    run(path, f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    store = SQLiteStore(path)
    with pytest.raises(MigrationNeeded) as refused:
        await store.open()
    assert (refused.value.found, refused.value.wanted) == (VERSION + 1, VERSION)
    assert path.read_bytes() == before
    assert not store.is_open


@pytest.mark.parametrize(
    "statements",
    [("CREATE TABLE leanflow_requests (x)",), ("PRAGMA user_version = 7", "CREATE TABLE users (x)")],
    ids=["tables without a version", "a version without tables"],
)
async def test_another_programs_file_is_refused_and_left_alone(tmp_path: Path, statements: tuple[str, ...]) -> None:
    """A file whose user_version is somebody else's is an InvalidRequest, and no byte of it changes."""
    path = tmp_path / "other.db"
    run(path, *statements)
    before = path.read_bytes()
    with pytest.raises(InvalidRequest, match="user_version"):
        await opened(path)
    assert path.read_bytes() == before


async def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A file that is not an SQLite database is an InvalidRequest, and no byte of it changes."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not a database, but somebody's notes\n" * 100)
    before = path.read_bytes()
    with pytest.raises(InvalidRequest, match="not an SQLite database"):
        await opened(path)
    assert path.read_bytes() == before


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    """A missing directory, or a directory, is StoreUnavailable with the system's reason; it may be mended."""
    for path in (tmp_path / "missing" / "flows.db", tmp_path):
        store = SQLiteStore(path)
        with pytest.raises(StoreUnavailable, match="unable to open"):
            await store.open()
    (tmp_path / "missing").mkdir()
    store = await opened(tmp_path / "missing" / "flows.db")
    await store.aclose()


@pytest.mark.parametrize("path", ["", ":memory:", "file:x?mode=memory"])
def test_memory_is_not_a_file(path: str) -> None:
    """What is kept in memory is shared by no second connection."""
    with pytest.raises(InvalidRequest, match="MemoryStore"):
        SQLiteStore(path)


def test_commits_cannot_be_left_unsynced(tmp_path: Path) -> None:
    """`synchronous=OFF` would lose answered webhooks with the next power cut."""
    with pytest.raises(InvalidRequest):
        SQLiteStore(tmp_path / "flows.db", synchronous="OFF")


async def test_every_commit_is_synced(tmp_path: Path) -> None:
    """The writer runs with synchronous FULL (2) in WAL, unless it is told otherwise."""
    for chosen, number in (("FULL", 2), ("normal", 1)):
        store = SQLiteStore(tmp_path / "flows.db", synchronous=chosen)
        await store.open()
        assert store._opened is not None
        for connection in (store._opened.writer, store._opened.side):
            assert list(await connection.execute_fetchall("PRAGMA synchronous")) == [(number,)]
        assert list(await store._opened.writer.execute_fetchall("PRAGMA journal_mode")) == [("wal",)]
        await store.aclose()


async def test_an_older_file_is_migrated(tmp_path: Path) -> None:
    """A file of version n - 1 is taken to version n with what it holds."""
    path = tmp_path / "flows.db"
    store = await opened(path)
    request = await stored(store)
    await store.aclose()
    newer = (*MIGRATIONS, ("ALTER TABLE leanflow_notes ADD COLUMN more TEXT", "CREATE TABLE leanflow_more (x)"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, str(path), newer)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
        connection.execute("SELECT more FROM leanflow_notes")
        assert connection.execute("SELECT id FROM leanflow_requests").fetchall() == [(request.id,)]
        migrate(connection, str(path), newer)


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Each migration is one transaction: after a failure the file is as it was, and opens."""
    path = tmp_path / "flows.db"
    await (await opened(path)).aclose()
    broken = (*MIGRATIONS, ("CREATE TABLE leanflow_more (x)", "CREATE TABLE leanflow_notes (twice)"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, str(path), broken)
        assert not connection.in_transaction
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'leanflow_more'").fetchall()
    assert version_of(path) == VERSION
    await (await opened(path)).aclose()


OPENER = """
import asyncio, sys
from leanflow_adapters.sqlite import SQLiteStore
async def main():
    store = SQLiteStore(sys.argv[1])
    sys.stdin.readline()
    await store.open()
    await store.aclose()
asyncio.run(main())
"""


def test_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Several processes that migrate one file at the same moment all open it."""
    path = tmp_path / "flows.db"
    children = [
        subprocess.Popen([sys.executable, "-c", OPENER, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors.decode()
    assert version_of(path) == VERSION


LEAKS = {
    "a store that nobody closed": """
import asyncio, sys
from leanflow_adapters.sqlite import SQLiteStore
async def main():
    global store
    store = SQLiteStore(sys.argv[1])
    await store.open()
    print("last line", flush=True)
asyncio.run(main())
""",
    "a loop that nobody closed": """
import asyncio, sys
from leanflow_adapters.sqlite import SQLiteStore
loop = asyncio.new_event_loop()
store = SQLiteStore(sys.argv[1])
loop.run_until_complete(store.open())
from leanflow._request import Scope
loop.run_until_complete(store.remember(Scope(app="a", environment="b", region="c"), "x", "y"))
print("last line", flush=True)
""",
    "an error on the way": """
import asyncio, sys
from leanflow_adapters.sqlite import SQLiteStore
async def main():
    store = SQLiteStore(sys.argv[1])
    await store.open()
    print("last line", flush=True)
    raise SystemExit(0)
asyncio.run(main())
""",
}


@pytest.mark.parametrize("code", LEAKS.values(), ids=LEAKS)
def test_a_store_that_was_never_closed_lets_the_program_end(tmp_path: Path, code: str) -> None:
    """The driver's threads are no daemons, yet the interpreter exits, and what was stored is there."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "flows.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "last line\n"
    assert done.returncode == 0, done.stderr


async def test_an_interrupted_opening_leaves_the_store_closed(tmp_path: Path) -> None:
    """A caller that gives up while the store opens may try again."""
    store = SQLiteStore(tmp_path / "flows.db")
    for turns in range(12):
        opening = asyncio.ensure_future(store.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert not store.is_open
    await store.open()
    request = await stored(store)
    await store.commit(a_step(request, "event-1"))
    await store.aclose()


async def test_opening_a_file_again_drops_no_lock_of_this_process(tmp_path: Path) -> None:
    """A second handle must not make others believe that nobody has the file: they would remove the log in use."""
    path = tmp_path / "flows.db"
    first, second = SQLiteStore(path), SQLiteStore(path)
    await first.open()
    await second.open()
    log = path.with_name("flows.db-wal")
    before = log.stat().st_ino
    passer_by = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA user_version'); db.close()"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", passer_by, str(path))
    assert await child.wait() == 0
    assert log.exists()
    assert log.stat().st_ino == before
    await first.aclose()
    await second.aclose()
