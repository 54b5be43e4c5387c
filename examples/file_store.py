"""A toy store: `MemoryStore`, made durable by a journal of what was done to it.

Each call that changes something is appended to a file, under a lock that processes share; each call first repeats
what others have appended since. It keeps every promise of a store, and is for reading: everything stays in memory, the
file only grows, every call of every process takes one lock and holds up its event loop meanwhile, and a file that
another version of leanflow has written may not be understood. It needs `fcntl`, which Windows lacks.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import io
import os
import pickle
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar

import attrs

from leanflow import DataRequest
from leanflow.errors import NotStarted, StoreUnavailable
from leanflow.ports import Announcement, Committed, Outcome, Store
from leanflow_adapters.memory import MemoryStore

__all__ = ["FileStore"]

P = ParamSpec("P")
T = TypeVar("T")
Method = Callable[Concatenate[MemoryStore, P], Coroutine[Any, Any, T]]
Ours = Callable[Concatenate["FileStore", P], Coroutine[Any, Any, T]]

NOTHING = ([], *(Committed(outcome=outcome) for outcome in Outcome if outcome is not Outcome.committed))
"""What calls return that have changed nothing: a claim that got nothing, a step that lost."""


def reads(method: Method[P, T]) -> Ours[P, T]:
    """Make a method of `MemoryStore` one that sees what other processes did before."""

    @functools.wraps(method)
    async def call(self: FileStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._up_to_date() as memory:
            return await method(memory, *args, **kwargs)

    return call


def writes(method: Method[P, T]) -> Ours[P, T]:
    """Make a method of `MemoryStore` one that other processes, and later ones, will see."""

    @functools.wraps(method)
    async def call(self: FileStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._up_to_date() as memory:
            done = await method(memory, *args, **kwargs)
            if done not in NOTHING:
                self._append((method.__name__, args, kwargs))
            return done

    return call


class FileStore:
    """Keeps everything in one file.

    Args:
        path: of the file; made if it is not there, its directory is not.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._memory = MemoryStore()
        self._file: BinaryIO | None = None
        self._end = 0  # of what was read or written here

    # life

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._memory.is_open

    async def open(self) -> None:
        """Open the file.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        await self._memory.open()
        try:
            self._file = self._path.open("a+b", buffering=0)
        except OSError as error:
            await self._memory.aclose()
            raise StoreUnavailable(type(error).__name__) from error

    async def aclose(self) -> None:
        """Close the file. Nothing is in flight: no call is suspended while it works."""
        await self._memory.aclose()
        if self._file is not None:
            self._file.close()
            self._file = None

    async def now(self) -> datetime | None:
        """Return None: a file has no clock."""
        return None

    def using(self, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Refuse: there are no transactions to join."""
        return self._memory.using(connection)

    # the journal

    @asynccontextmanager
    async def _up_to_date(self) -> AsyncIterator[MemoryStore]:
        """Take the lock, and repeat what others have done since.

        `MemoryStore` never suspends. So no other task of this loop runs before the lock is given back, and no call can
        be cancelled half way.
        """
        if self._file is None:
            raise NotStarted("store")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                await self._catch_up(self._file)
                yield self._memory
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError as error:  # the one place where the driver's errors are translated
            self._memory, self._end = MemoryStore(), 0  # it may be ahead of the file: the next call reads all of it
            await self._memory.open()
            raise StoreUnavailable(type(error).__name__) from error

    async def _catch_up(self, file: BinaryIO) -> None:
        file.seek(self._end)
        while (record := _read(file)) is not None:
            name, args, kwargs = pickle.loads(record)  # noqa: S301 - whoever can write the file is trusted
            await getattr(self._memory, name)(*args, **kwargs)
            self._end += len(record) + 8

    def _append(self, call: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
        assert self._file is not None
        written = io.BytesIO()
        _Pickler(written).dump(call)
        record = written.getvalue()
        whole = len(record).to_bytes(4, "big") + zlib.crc32(record).to_bytes(4, "big") + record
        self._file.truncate(self._end)  # what a crash has left half written
        if self._file.write(whole) != len(whole):
            raise OSError(errno.ENOSPC, "written in part")
        os.fsync(self._file.fileno())
        self._end += len(whole)

    # the port: what reads, and what writes

    create = writes(MemoryStore.create)
    commit = writes(MemoryStore.commit)
    seen = reads(MemoryStore.seen)
    load = reads(MemoryStore.load)
    owners = reads(MemoryStore.owners)
    buried = reads(MemoryStore.buried)
    find = reads(MemoryStore.find)
    history = reads(MemoryStore.history)
    pages = reads(MemoryStore.pages)
    claim = writes(MemoryStore.claim)
    renew = writes(MemoryStore.renew)
    release = writes(MemoryStore.release)
    next_due = reads(MemoryStore.next_due)
    parked = reads(MemoryStore.parked)
    early = reads(MemoryStore.early)
    parked_due = reads(MemoryStore.parked_due)
    repark = writes(MemoryStore.repark)
    orphan = writes(MemoryStore.orphan)
    register = writes(MemoryStore.register)
    unregister = writes(MemoryStore.unregister)
    claim_outbox = writes(MemoryStore.claim_outbox)
    delivered = writes(MemoryStore.delivered)
    undelivered = writes(MemoryStore.undelivered)
    redeliver = writes(MemoryStore.redeliver)
    outbox = reads(MemoryStore.outbox)
    confirm = writes(MemoryStore.confirm)
    counts = reads(MemoryStore.counts)
    lag = reads(MemoryStore.lag)
    remember = writes(MemoryStore.remember)
    tally = writes(MemoryStore.tally)
    purge = writes(MemoryStore.purge)
    prune = writes(MemoryStore.prune)
    purge_pages = writes(MemoryStore.purge_pages)
    erase = writes(MemoryStore.erase)
    bury = writes(MemoryStore.bury)
    bodies = reads(MemoryStore.bodies)
    rewrite = writes(MemoryStore.rewrite)


def _read(file: BinaryIO) -> bytes | None:
    """Return the next record, or None where there is no whole one."""
    head = file.read(8)
    size, check = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
    record = file.read(size)
    return record if size and len(record) == size and zlib.crc32(record) == check else None


class _Pickler(pickle.Pickler):
    """Pickles what pickle does not: records, as JSON values, and announcements, whose payload may be yet to be made."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, DataRequest):
            return DataRequest.from_dict, (value.to_dict(),)
        if isinstance(value, Announcement):
            names = [str(field.alias) for field in attrs.fields(Announcement)]
            return functools.partial(Announcement, **{name: getattr(value, name) for name in names}), ()
        return NotImplemented
