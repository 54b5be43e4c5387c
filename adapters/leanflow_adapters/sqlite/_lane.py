"""Lanes: callers' work queues up, and whatever is queued goes to a connection's thread together, in one hop.

The write lane is group commit: one transaction for the batch, durable before anyone hears of it. Nobody waits for a
batch to fill: while one is being written the next gathers by itself.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any

import aiosqlite
import attrs

from leanflow._sites import site
from leanflow.errors import LeanflowError, StoreUnavailable
from leanflow_adapters.sqlite._connection import hop, is_busy, translated
from leanflow_adapters.sqlite._plans import Plan, Tx, run

__all__ = ["Job", "Lane", "Work", "read_batch", "write_batch"]

BATCH = 256
"""Jobs in one transaction at most: beyond that a batch gains nothing and its first caller waits for its last."""

_LOOKAHEAD = 1024  # how many jobs that must wait for the next batch are passed over while one is gathered

Work = Callable[[Tx], Plan[Any]]
Settled = tuple[Any, BaseException | None]


@attrs.define(eq=False)
class Job:
    """One caller's work. `exclusive`: what no two jobs of one batch may share (a request, an inbox key)."""

    work: Work
    exclusive: tuple[Hashable, ...]
    future: asyncio.Future[Any]
    since: float


# --- in the connection's thread ----------------------------------------------------------------------------------


def write_batch(connection: sqlite3.Connection, works: Sequence[Work]) -> list[Settled]:
    """Run works in one durable transaction; return each one's value or error. Raises if the transaction failed.

    Works look before they write, so the usual losers have nothing to roll back and savepoints would be paid for
    nothing. Only when one breaks in the middle is the batch begun again, this time with a savepoint each.
    """
    with translated():
        settled = _transaction(connection, works, guarded=False)
        return settled if settled is not None else _transaction(connection, works, guarded=True) or []


def _transaction(connection: sqlite3.Connection, works: Sequence[Work], *, guarded: bool) -> list[Settled] | None:
    execute = connection.execute
    if connection.in_transaction:  # left by a rollback that failed
        execute("ROLLBACK")
    site("sqlite.before_begin")
    execute("BEGIN IMMEDIATE")
    try:
        site("sqlite.after_begin")
        cursor, tx = connection.cursor(), Tx()
        if guarded:
            settled = [_guarded(cursor, work, tx) for work in works]
        else:
            try:
                settled = [(run(cursor, work(tx)), None) for work in works]
            except Exception:  # whosever work it was: each is done again behind a savepoint of its own
                if not connection.in_transaction:  # SQLite itself gave up: disk full, I/O error
                    raise
                execute("ROLLBACK")
                return None
        site("sqlite.before_commit")
        execute("COMMIT")
        site("sqlite.after_commit")
    except BaseException:  # whatever it is, the next batch finds no transaction
        if connection.in_transaction:
            execute("ROLLBACK")
        raise
    return settled


def _guarded(cursor: sqlite3.Cursor, work: Work, tx: Tx) -> Settled:
    cursor.execute("SAVEPOINT leanflow_step")
    try:
        with translated():
            value = run(cursor, work(tx))
    except Exception as error:  # it is handed to the caller whose work it was
        if not cursor.connection.in_transaction:
            raise
        tx.sinks.clear()
        cursor.execute("ROLLBACK TO leanflow_step")
        cursor.execute("RELEASE leanflow_step")
        return None, error
    cursor.execute("RELEASE leanflow_step")
    return value, None


def read_batch(connection: sqlite3.Connection, works: Sequence[Work]) -> list[Settled]:
    """Run works that only look, in one snapshot."""
    settled: list[Settled] = []
    with translated():
        connection.execute("BEGIN")
        try:
            cursor, tx = connection.cursor(), Tx()
            for work in works:
                try:
                    with translated():
                        settled.append((run(cursor, work(tx)), None))
                except Exception as error:  # noqa: BLE001 - it is handed to the caller whose work it was
                    settled.append((None, error))
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")  # nothing was written: this ends the snapshot
    return settled


# --- on the loop -------------------------------------------------------------------------------------------------


class Lane:
    """Work queued for one connection."""

    def __init__(
        self,
        connection: aiosqlite.Connection,
        batch: Callable[[sqlite3.Connection, Sequence[Work]], list[Settled]],
        *,
        patience: float = 0.0,
        written: Callable[[], None] | None = None,
    ) -> None:
        """Make a lane.

        Args:
            connection: whose thread does the work.
            batch: does a batch in that thread.
            patience: seconds a batch waits for a lock. When that was in vain, those who waited half as long behind it
                fail as well, so that nobody waits longer than one and a half times that.
            written: called after each batch.
        """
        self._connection = connection
        self._batch = batch
        self._patience = patience
        self._written = written
        self._queue: deque[Job] = deque()
        self._runner: asyncio.Task[None] | None = None
        self.gate = asyncio.Lock()
        """Held while a batch is in the thread; whoever takes it keeps batches out."""

    async def do(self, work: Work, exclusive: tuple[Hashable, ...] = ()) -> Any:
        """Queue work, and return what it returns once its batch is through."""
        loop = asyncio.get_running_loop()
        job = Job(work, exclusive, loop.create_future(), loop.time())
        self._queue.append(job)
        if self._runner is None:
            self._runner = loop.create_task(self._run())
        return await job.future

    async def drain(self) -> None:
        """Return once nothing is queued or in the thread."""
        while self._runner is not None:
            await asyncio.wait({self._runner})

    async def _run(self) -> None:
        batch: list[Job] = []
        try:
            while self._queue:
                async with self.gate:
                    batch = self._take()
                    if batch:
                        await self._do(batch)
        finally:
            self._runner = None
            for job in (*batch, *self._queue):  # only if this task was ended from outside
                job.future.cancel()
            self._queue.clear()

    def _take(self) -> list[Job]:
        """Take what is queued: at most `BATCH`, nothing cancelled, nothing that shares what is exclusive."""
        batch: list[Job] = []
        taken: set[Hashable] = set()
        later: list[Job] = []
        while self._queue and len(batch) < BATCH and len(later) < _LOOKAHEAD:
            job = self._queue.popleft()
            if job.future.done():
                continue
            (batch if taken.isdisjoint(job.exclusive) else later).append(job)
            taken.update(job.exclusive)  # of those put off too: whoever shares something keeps the order of arrival
        self._queue.extendleft(reversed(later))
        return batch

    async def _do(self, batch: Sequence[Job]) -> None:
        works = [job.work for job in batch]
        try:
            settled = await hop(self._connection, lambda connection: self._batch(connection, works))
        except Exception as error:  # noqa: BLE001 - every caller of the batch gets it
            self._fail(batch, error)
            if is_busy(error):
                self._fail_the_patient(error)
            return
        if self._written is not None:
            self._written()
        for job, (value, problem) in zip(batch, settled, strict=True):
            if job.future.done():
                continue
            if problem is None:
                job.future.set_result(value)
            else:
                job.future.set_exception(problem)

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(_same(error))

    def _fail_the_patient(self, error: Exception) -> None:
        before = asyncio.get_running_loop().time() - self._patience / 2
        tired = [job for job in self._queue if job.since < before]
        for job in tired:
            with suppress(ValueError):
                self._queue.remove(job)
        self._fail(tired, error)


def _same(error: Exception) -> Exception:
    """Return an error that says the same: one exception raised in many tasks would collect all their tracebacks."""
    cause = error.__cause__ or error
    if isinstance(error, LeanflowError):
        copy: Exception = type(error)(*error.args)
    else:
        copy = StoreUnavailable(f"{type(error).__name__}: {error}")
    copy.__cause__ = cause
    return copy
