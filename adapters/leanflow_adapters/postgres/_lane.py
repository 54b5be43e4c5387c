"""What callers of one process want at the same time, in one statement: one round trip, and one sync to disk.

Nobody waits for a batch to fill: while one is on its way the next gathers by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import attrs

from leanflow.errors import StoreUnavailable

__all__ = ["Lane", "Wish"]

BATCH = 64
"""Wishes in one statement at most: beyond that a batch gains nothing and its first caller waits for its last."""

HEAVIEST = 32 * 2**20
"""Bytes of bodies in one statement, from the second wish on: Postgres takes a gigabyte at most, memory a few copies."""

_LOOKAHEAD = 1024  # how many that must wait for the next batch are passed over while one is gathered


class Wish(Protocol):
    """What one caller wants."""

    @property
    def exclusive(self) -> tuple[Hashable, ...]:
        """What no two that are on their way may share."""
        ...

    @property
    def weight(self) -> int:
        """How many bytes of bodies it brings."""
        ...


W = TypeVar("W", bound=Wish)
E = TypeVar("E")


@attrs.define(eq=False)
class _Job(Generic[W, E]):
    row: W
    future: asyncio.Future[E]


class Lane(Generic[W, E]):
    """Wishes on their way to the database."""

    def __init__(
        self,
        run: Callable[[Sequence[W]], Awaitable[Sequence[E | StoreUnavailable | None]]],
        alone: Callable[[W], Awaitable[E]],
        *,
        width: int,
    ) -> None:
        """Make a lane.

        Args:
            run: fulfils a batch; for each its end, what went wrong with it alone, or None if it is to be tried alone.
                Raises if what became of the batch is unknown.
            alone: fulfils one, waiting for whoever stands in its way.
            width: batches on their way at a time.
        """
        self._run = run
        self._alone = alone
        self._width = width
        self._queue: deque[_Job[W, E]] = deque()
        self._taken: set[Hashable] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._batches = 0

    async def ask(self, row: W) -> E:
        """Queue a wish, and return how it ended. A caller that is cancelled leaves it on its way."""
        job: _Job[W, E] = _Job(row, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        self._go()
        return await asyncio.shield(job.future)

    async def drain(self) -> None:
        """Return once nothing is queued or on its way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _go(self) -> None:
        while self._batches < self._width and (batch := self._take()):
            self._batches += 1
            self._start(self._work(batch))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[_Job[W, E]]:
        batch: list[_Job[W, E]] = []
        later: list[_Job[W, E]] = []
        barred, weight = set(self._taken), 0
        while self._queue and len(batch) < BATCH and len(later) < _LOOKAHEAD:
            job = self._queue.popleft()
            if not barred.isdisjoint(job.row.exclusive):
                later.append(job)
            elif batch and weight + job.row.weight > HEAVIEST:
                self._queue.appendleft(job)
                break
            else:
                batch.append(job)
                weight += job.row.weight
            barred.update(job.row.exclusive)  # of those put off too: whoever shares something keeps order of arrival
        self._queue.extendleft(reversed(later))
        for job in batch:
            self._taken.update(job.row.exclusive)
        return batch

    async def _work(self, batch: Sequence[_Job[W, E]]) -> None:
        try:
            ended: Sequence[E | BaseException | None] = await self._run([job.row for job in batch])
        except Exception as error:  # noqa: BLE001 - every caller of the batch gets it
            ended = [error] * len(batch)
        finally:
            self._batches -= 1
        for job, end in zip(batch, ended, strict=True):
            if end is None:
                self._start(self._work_alone(job))
            else:
                self._settle(job, end)
        self._go()

    async def _work_alone(self, job: _Job[W, E]) -> None:
        try:
            self._settle(job, await self._alone(job.row))
        except BaseException as error:  # noqa: BLE001 - its caller gets it
            self._settle(job, error)
        self._go()

    def _settle(self, job: _Job[W, E], end: E | BaseException) -> None:
        self._taken.difference_update(job.row.exclusive)
        if job.future.done():
            return
        if isinstance(end, BaseException):
            job.future.set_exception(_same(end))
            job.future.exception()  # a caller that was cancelled does not come for it
        else:
            job.future.set_result(end)


def _same(error: BaseException) -> BaseException:
    """Return an error that says the same: one exception raised in many tasks would collect all their tracebacks."""
    if not isinstance(error, StoreUnavailable):
        return error
    copy = StoreUnavailable(error.reason)
    copy.__cause__ = error.__cause__
    return copy
