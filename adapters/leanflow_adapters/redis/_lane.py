"""Commands of many callers on few connections: what is asked for while one batch is under way is the next batch.

Nobody waits for a batch to fill. Each command is a step of its own, done or not done whatever becomes of the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs

from leanflow.errors import StoreUnavailable

__all__ = ["Command", "Lane"]

BATCH = 64
"""Commands in one batch at most: beyond that a batch gains nothing and its first caller waits for its last."""

HEAVIEST = 32 * 2**20
"""Bytes of bodies in one batch, from the second command on: redis-py copies them several times."""

Command = tuple[Any, ...]
Run = Callable[[Sequence[Command]], Awaitable[Sequence[Any]]]


@attrs.define(eq=False)
class _Job:
    command: Command
    weight: int
    future: asyncio.Future[Any]


class Lane:
    """Commands on their way to the server."""

    def __init__(self, run: Run, *, width: int) -> None:
        """Make a lane.

        Args:
            run: sends commands in one round trip; returns for each its reply, or what went wrong. Raises if what became
                of them is unknown.
            width: batches under way at a time.
        """
        self._run = run
        self._width = width
        self._queue: deque[_Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, command: Command, weight: int = 0) -> Any:
        """Send a command, with so many bytes of bodies, and return its reply.

        A caller that is cancelled leaves it on its way.
        """
        job = _Job(command, weight, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        if len(self._tasks) < self._width:
            task = asyncio.ensure_future(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(job.future)

    async def drain(self) -> None:
        """Return once nothing is queued or under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def give_up(self) -> None:
        """Let nobody wait any more: whoever is queued or under way gets `StoreUnavailable`."""
        for job in self._queue:
            _settle(job.future, StoreUnavailable("closed before it was sent"))
        self._queue.clear()
        for task in self._tasks:
            task.cancel()

    def _take(self) -> list[_Job]:
        batch = [self._queue.popleft()]
        weight = batch[0].weight
        while self._queue and len(batch) < BATCH and weight + self._queue[0].weight <= HEAVIEST:
            batch.append(self._queue.popleft())
            weight += batch[-1].weight
        return batch

    async def _work(self) -> None:
        while self._queue:
            batch = self._take()
            try:
                replies = await self._run([job.command for job in batch])
            except Exception as error:  # noqa: BLE001 - every caller of the batch gets it
                replies = [error] * len(batch)
            except asyncio.CancelledError:
                for job in batch:
                    _settle(job.future, StoreUnavailable("closed before it was answered"))
                raise
            for job, reply in zip(batch, replies, strict=True):
                _settle(job.future, reply)


def _settle(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, Exception):
        future.set_exception(_same(reply))
        future.exception()  # a caller that was cancelled does not come for it
    else:
        future.set_result(reply)


def _same(error: Exception) -> Exception:
    """Return an error that says the same: one exception raised in many tasks would collect all their tracebacks."""
    if not isinstance(error, StoreUnavailable):
        return error
    copy = StoreUnavailable(error.reason)
    copy.__cause__ = error.__cause__
    return copy
