"""Mockbank's webhooks, sent: what is due when it is due, the deliveries of one lane one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import aiohttp

from leanflow.errors import InvalidRequest
from leanflow.mockbank import Delivery, Mockbank
from leanflow.ports import Clock

from ._clocks import Advancing

__all__ = ["Sender"]


class Sender:
    """Sends a bank's webhooks on a clock, while it is entered with ``async with``.

    Args:
        bank: whose deliveries it sends; after each change of the bank call `wake`.
        clock: says what is due.
        answer_in: real time a receiver has for its whole answer; on a faster clock, too, or none would make it.
    """

    def __init__(self, bank: Mockbank, clock: Clock, answer_in: timedelta) -> None:
        self._bank = bank
        self._clock = clock
        self._answer_in = answer_in.total_seconds()
        self._session: aiohttp.ClientSession | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._awaited: datetime | None = None
        self._lanes: dict[str, deque[Delivery]] = {}
        self._drains: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._answer_in))
        self._loop_task = asyncio.create_task(self._send_when_due())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [task for task in (self._loop_task, *self._drains) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        self._session = self._loop_task = None

    def wake(self) -> None:
        """Look again what is due. After most calls nothing is sooner than what is waited for, and nothing happens."""
        due = self._next_due()
        if due is not None and (self._awaited is None or due < self._awaited or due <= self._clock.now()):
            self._woken.set()

    def _next_due(self) -> datetime | None:
        return self._bank.next_due() if self._bank.webhook_url else None

    async def send_early(self) -> None:
        """Send what is to arrive before the answer of the call just handled, and wait for it."""
        if self._bank.webhook_url:
            for delivery in self._bank.deliveries_due(self._clock.now(), early=True):
                await self._post(delivery)

    async def settle(self) -> None:
        """Send what is due and wait until it has been answered, and what that made due."""
        while self._send_due() or self._drains:
            await asyncio.wait(self._drains)
        self.wake()

    async def advance(self, delta: timedelta) -> None:
        """Move the clock, stopping at each moment at which something is due, and wait for its deliveries.

        Raises:
            InvalidRequest: the clock cannot be moved.
        """
        if not isinstance(self._clock, Advancing):
            raise InvalidRequest("clock", "this server's clock cannot be advanced")
        end = self._clock.now() + delta
        await self.settle()
        while (
            (due := self._bank.next_due()) is not None
            and due <= end
            and (ahead := due - self._clock.now()) > timedelta()
        ):
            self._clock.advance(ahead)
            await self.settle()
        if (rest := end - self._clock.now()) > timedelta():
            self._clock.advance(rest)
        await self.settle()

    # when

    async def _send_when_due(self) -> None:
        while True:
            self._woken.clear()
            self._send_due()
            self._awaited = self._next_due()
            await self._until(self._awaited)

    async def _until(self, due: datetime | None) -> None:
        """Return when it is time, or when woken."""
        if due is None:
            await self._woken.wait()
            return
        waits = {
            asyncio.create_task(self._woken.wait()),
            asyncio.create_task(self._sleep((due - self._clock.now()).total_seconds())),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    # what

    def _send_due(self) -> bool:
        """Begin to send what is due; return whether there was something. One lane sends one after the other."""
        now = self._clock.now()
        self._bank.pass_time(now)
        if not self._bank.webhook_url:
            return False
        due = self._bank.deliveries_due(now)
        for delivery in due:
            lane = self._lanes.get(delivery.lane)
            if lane is not None:
                lane.append(delivery)
                continue
            self._lanes[delivery.lane] = deque([delivery])
            task = asyncio.create_task(self._drain(delivery.lane))
            self._drains.add(task)
            task.add_done_callback(self._drains.discard)
        return bool(due)

    async def _drain(self, name: str) -> None:
        lane = self._lanes[name]
        try:
            while lane:
                await self._post(lane.popleft())
        finally:
            del self._lanes[name]
            self.wake()  # an attempt that failed is due again later

    async def _post(self, delivery: Delivery) -> None:
        """Send one attempt. A receiver that is late, gone or speaks no HTTP has not answered."""
        if self._session is None:
            return
        status: int | None = None
        try:
            async with self._session.post(
                delivery.url, data=delivery.body, headers=delivery.headers, allow_redirects=False
            ) as response:
                async for _ in response.content.iter_any():
                    pass  # an answer is all of it; nothing of it is kept
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            status = None
        finally:
            self._bank.delivered(delivery.id, status, self._clock.now())
