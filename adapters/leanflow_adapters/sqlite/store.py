"""The SQLite store: one file, any number of processes on one machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

import aiosqlite
import attrs

from leanflow.errors import InvalidRequest, NotStarted
from leanflow.ports import Store
from leanflow_adapters.sqlite._checkpoint import PERIOD, Checkpointer
from leanflow_adapters.sqlite._connection import (
    connect,
    hop,
    prepare,
    stop_with_the_interpreter,
    translated,
)
from leanflow_adapters.sqlite._joined import joined, joined_blocking
from leanflow_adapters.sqlite._lane import Lane, read_batch, write_batch
from leanflow_adapters.sqlite._methods import Methods
from leanflow_adapters.sqlite._plans import Plan, Tx
from leanflow_adapters.sqlite._recent import Recent

__all__ = ["SQLiteStore"]

T = TypeVar("T")

_SYNCHRONOUS = ("NORMAL", "FULL", "EXTRA")
_PASSING = 0.1  # seconds a checkpoint waits for readers: the next one is near


@attrs.frozen
class _Open:
    """What an open store has."""

    writer: aiosqlite.Connection
    reader: aiosqlite.Connection
    side: aiosqlite.Connection
    writes: Lane
    reads: Lane
    long_reads: Lane
    checkpointer: Checkpointer
    call_off: Callable[[], None]


class SQLiteStore(Methods):
    """Keeps everything in one SQLite file, on aiosqlite.

    Writes of all callers go through one connection, many in one transaction; reads go through another, so that they do
    not wait for writes; checkpoints and reads of many rows through a third.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: str = "FULL",
        busy_timeout: float = 5.0,
        wal_cap: int = 64 * 1024 * 1024,
        checkpoint_period: float = PERIOD,
    ) -> None:
        """Make a store; nothing is opened yet.

        Args:
            path: of the file; made with mode 0600 if there is none. It may be the application's own, as long as the
                application leaves ``PRAGMA user_version`` and tables named ``leanflow_…`` alone.
            synchronous: ``FULL`` syncs every commit. ``NORMAL`` may lose the last commits when power fails, answered
                webhooks among them; group commit leaves little to gain by it.
            busy_timeout: seconds to wait for another process's lock before `StoreUnavailable`.
            wal_cap: bytes of write-ahead log above which it is reset.
            checkpoint_period: seconds between checkpoints while something is written.

        Raises:
            InvalidRequest: an argument is wrong.
        """
        name = os.fspath(path)
        if not name or name == ":memory:" or name.startswith("file:"):
            raise InvalidRequest("path", "must be a file's path; for a store in memory use MemoryStore")
        if synchronous.upper() not in _SYNCHRONOUS:
            raise InvalidRequest("synchronous", f"must be one of {', '.join(_SYNCHRONOUS)}")
        self._path = os.path.abspath(name)  # noqa: PTH100 - resolve() would look at the disk
        self._synchronous = synchronous.upper()
        self._busy_timeout = busy_timeout
        self._wal_cap = wal_cap
        self._checkpoint_period = checkpoint_period
        self._opened: _Open | None = None
        self._recent = Recent()
        self._is_opening = False

    def __repr__(self) -> str:
        return f"SQLiteStore({self._path!r})"

    @property
    def path(self) -> str:
        """Its file, as an absolute path; there may be none before the store is opened for the first time."""
        return self._path

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._opened is not None

    async def open(self) -> None:
        """Open the file, make or migrate its tables.

        Raises:
            InvalidRequest: it is open already, or the file is no database or another program's.
            MigrationNeeded: a newer leanflow wrote it.
            StoreUnavailable: it cannot be opened or is locked.
        """
        if self._opened is not None or self._is_opening:
            raise InvalidRequest("store", "it is open already; open it once, or ask `is_open`")
        self._is_opening = True
        connections: list[aiosqlite.Connection] = []
        try:
            with translated():
                self._opened = await self._open(connections)
        except BaseException:  # cancelled, too: what is open by then is closed
            for connection in connections:
                await connection.close()
            raise
        finally:
            self._is_opening = False

    async def _open(self, connections: list[aiosqlite.Connection]) -> _Open:
        writer = await connect(self._path, timeout=self._busy_timeout, settings=())
        connections.append(writer)
        await hop(
            writer,
            lambda connection: prepare(
                connection,
                path=self._path,
                synchronous=self._synchronous,
                wal_cap=self._wal_cap,
                patience=self._busy_timeout,
            ),
        )
        looking = ("PRAGMA query_only = ON", f"PRAGMA synchronous = {self._synchronous}")
        reader = await connect(self._path, timeout=self._busy_timeout, settings=looking)
        connections.append(reader)
        side = await connect(self._path, timeout=_PASSING, settings=looking)
        connections.append(side)
        writes = Lane(writer, write_batch, patience=self._busy_timeout, written=self._wrote)
        return _Open(
            writer,
            reader,
            side,
            writes,
            Lane(reader, read_batch),
            Lane(side, read_batch),
            Checkpointer(side, writes.gate, cap=self._wal_cap, period=self._checkpoint_period),
            stop_with_the_interpreter(connections),
        )

    def _wrote(self) -> None:
        if self._opened is not None:
            self._opened.checkpointer.wrote()

    async def aclose(self) -> None:
        """Finish what is in flight and close. Closing a closed store does nothing."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        try:
            for lane in (opened.writes, opened.reads, opened.long_reads):
                await lane.drain()
            await opened.checkpointer.aclose()
        finally:
            opened.call_off()
            # The writer last: whoever closes a file last checkpoints it and removes the log.
            for connection in (opened.side, opened.reader, opened.writer):
                with translated():
                    await connection.close()

    def using(self, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Return a store that works inside the application's transaction on its connection.

        That is an aiosqlite connection, or SQLAlchemy's AsyncConnection or AsyncSession over aiosqlite. A transaction
        is begun (immediate) if none is open; none is ever committed or rolled back. Do not call the outer store's
        writing methods inside: they would wait for the transaction that you hold.

        Raises:
            InvalidRequest: the connection is of another kind, or to another database.
            NotStarted: this store is not open, so that its tables may not be there.
        """
        self._lanes()
        return joined(self._path, connection)

    async def using_blocking(self) -> Callable[[Any], AbstractAsyncContextManager[Store]]:
        """Return the same for connections that block: sqlite3's, SQLAlchemy's, Django's.

        Raises:
            NotStarted: this store is not open, so that its tables may not be there.
        """
        self._lanes()
        return partial(joined_blocking, self._path)

    def _lanes(self) -> _Open:
        if self._opened is None:
            raise NotStarted("store")
        return self._opened

    async def _write(self, work: Callable[[Tx], Plan[T]], exclusive: tuple[Hashable, ...] = ()) -> T:
        value: T = await self._lanes().writes.do(work, exclusive)
        return value

    async def _read(self, work: Callable[[Tx], Plan[T]], *, is_long: bool = False) -> T:
        opened = self._lanes()
        value: T = await (opened.long_reads if is_long else opened.reads).do(work)
        return value
