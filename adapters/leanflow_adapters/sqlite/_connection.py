"""Connections: how they are made, how work gets into their thread in one hop, and what their errors become."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import aiosqlite
import attrs

from leanflow._sites import site
from leanflow.errors import InvalidRequest, MigrationNeeded, StoreUnavailable
from leanflow_adapters.sqlite.migrations import MIGRATIONS

__all__ = ["Hop", "connect", "hop", "is_busy", "migrate", "prepare", "stop_with_the_interpreter", "translated"]

_CACHE_KIB = 32 * 1024  # pages kept per connection; SQLite's own 2 MiB makes a million requests read from disk
_WATCH_SECONDS = 1.0  # how late a store that was never closed notices that the program has ended


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ours. The reason is SQLite's own text, which names tables but no values."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            raise InvalidRequest("path", "this file is not an SQLite database") from error
        raise StoreUnavailable(str(error)) from error
    except sqlite3.Error as error:
        raise StoreUnavailable(str(error)) from error
    except (UnicodeEncodeError, OverflowError) as error:
        raise InvalidRequest("value", f"it cannot be stored ({type(error).__name__})") from error


def is_busy(error: BaseException) -> bool:
    """Return whether this came of somebody else's lock."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


# --- one hop -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Hop:
    """Work for a connection's thread, passed where aiosqlite expects a statement."""

    work: Callable[[sqlite3.Connection], list[Any]]


@attrs.frozen
class _Brought:
    """What a hop brought, in the shape of a cursor."""

    rows: list[Any]

    def fetchall(self) -> list[Any]:
        return self.rows


class _HopConnection(sqlite3.Connection):
    """A connection whose `execute` also takes a `Hop`.

    aiosqlite has no public way to run a function in its thread, and one await per statement costs five hops a step;
    its `factory` and `execute_fetchall` are public, and together they do it.
    """

    def execute(self, sql: Any, parameters: Any = (), /) -> Any:
        if isinstance(sql, Hop):
            return _Brought(sql.work(self))
        return super().execute(sql, parameters)


async def hop(connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection], list[Any]]) -> list[Any]:
    """Run `work` in the connection's thread, in one hop."""
    brought = await connection.execute_fetchall(Hop(work))
    return list(brought)


# --- opening -----------------------------------------------------------------------------------------------------


class _OwnFile(_HopConnection):
    """A connection that makes its file, if there is none, for its owner's eyes only: it will hold bank data."""

    def __init__(self, database: str, *args: Any, **kwargs: Any) -> None:
        if not os.path.exists(database):  # noqa: PTH110 - a plain look
            with _unopenable():
                _make_file(database)
        super().__init__(database, *args, **kwargs)


@attrs.frozen
class _Unopened:
    """What stands for a connection that could not be made: its first statement says why."""

    error: sqlite3.Error

    def execute(self, *_: Any) -> Any:
        raise self.error

    def close(self) -> None:
        pass


def _opened(*arguments: Any, **settings: Any) -> sqlite3.Connection | _Unopened:
    """Make a connection. None is refused here: aiosqlite would leave a thread behind that outlives the event loop."""
    try:
        return _OwnFile(*arguments, **settings)
    except sqlite3.Error as error:
        return _Unopened(error)


def _make_file(path: str) -> None:
    """Make an empty file with mode 0600 under this name, unless somebody else is faster.

    Never by opening the name itself: closing any descriptor of a database drops every lock that this process holds on
    it (POSIX), another process then takes the log for its own, and the file is destroyed. So it is made under another
    name and linked.
    """
    folder = os.path.dirname(path) or "."  # noqa: PTH120 - text, as sqlite3 takes it
    descriptor, fresh = tempfile.mkstemp(prefix=".leanflow-", dir=folder)
    os.close(descriptor)
    try:
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        os.unlink(fresh)  # noqa: PTH108 - the same


@contextmanager
def _unopenable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise sqlite3.OperationalError(f"unable to open database file: {error.strerror}") from error


async def connect(path: str, *, timeout: float, settings: Sequence[str]) -> aiosqlite.Connection:
    """Return an open connection in autocommit mode, `settings` run on it."""
    connection = await aiosqlite.connect(
        path, isolation_level=None, timeout=timeout, factory=_opened, cached_statements=256
    )
    try:
        for setting in (f"PRAGMA cache_size = -{_CACHE_KIB}", *settings):
            await connection.execute_fetchall(setting)
    except BaseException:  # cancelled, too: its thread must not outlive this
        await connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, *, path: str, synchronous: str, wal_cap: int, patience: float) -> list[Any]:
    """Make a file ours, or find that it is not, before anything in it is changed.

    Raises:
        InvalidRequest: it is another program's.
        MigrationNeeded: a newer leanflow wrote it.
    """
    with translated():
        _recognise(connection, path)
        _to_wal(connection, patience)
        for setting in (
            f"PRAGMA synchronous = {synchronous}",
            "PRAGMA wal_autocheckpoint = 0",  # another connection does it: see _checkpoint
            f"PRAGMA journal_size_limit = {wal_cap}",
            "PRAGMA secure_delete = ON",  # what is deleted is overwritten: else bank data would lie in free pages
        ):
            connection.execute(setting)
        migrate(connection, path)
    return []


def _recognise(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("BEGIN")  # both looks in one snapshot: another process may be migrating right now
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        has_tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'leanflow_requests'").fetchone()
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if has_tables and version > len(MIGRATIONS):
        raise MigrationNeeded(path, version, len(MIGRATIONS))
    if bool(version) is not bool(has_tables):
        problem = "it has leanflow's tables but no version" if has_tables else f"its user_version {version} is not ours"
        cure = "another program uses this file's user_version; give leanflow its own file"
        raise InvalidRequest("path", f"{problem}: {cure}")


def _to_wal(connection: sqlite3.Connection, patience: float) -> None:
    """Switch to WAL. Two processes that do so at once get "locked" at once, whatever the busy timeout: try again."""
    last = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > last:
                raise
            time.sleep(0.01)
        else:
            return


def migrate(connection: sqlite3.Connection, path: str, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Take the tables to the newest version, each migration in one transaction; processes that do so at once are safe.

    Raises:
        MigrationNeeded: a newer leanflow wrote them.
    """
    while True:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found > len(migrations):
            raise MigrationNeeded(path, found, len(migrations))
        if found == len(migrations):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            if connection.execute("PRAGMA user_version").fetchone() == (found,):  # else another process was faster
                for statement in migrations[found]:
                    connection.execute(statement)
                    site("sqlite.in_migration")
                connection.execute(f"PRAGMA user_version = {found + 1}")
            connection.execute("COMMIT")
        except BaseException:  # whatever it is, no migration is left half done, and none holds the file's lock
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


# --- a store that nobody closed ----------------------------------------------------------------------------------


def stop_with_the_interpreter(connections: Sequence[aiosqlite.Connection]) -> Callable[[], None]:
    """Stop the connections' threads once the main thread has ended; return how to call that off.

    aiosqlite's threads are no daemons: a program that forgets to close prints its last line and hangs. A daemon thread
    looks whether the main thread still lives, and holds the connections weakly.
    """
    called_off = threading.Event()
    weak = [weakref.ref(connection) for connection in connections]

    def watch() -> None:
        while not called_off.wait(_WATCH_SECONDS):
            if not threading.main_thread().is_alive():
                for reference in weak:
                    connection = reference()
                    if connection is not None:
                        connection.stop()
                return
            if all(reference() is None for reference in weak):
                return

    threading.Thread(target=watch, name="leanflow-sqlite-watch", daemon=True).start()
    return called_off.set
