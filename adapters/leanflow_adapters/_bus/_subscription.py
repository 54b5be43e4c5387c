"""Messages in: fetched, handed to their receiver so many at a time, ended by what it says; through every outage."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from leanflow._backoff import wait_before
from leanflow.errors import BusUnavailable, InvalidRequest, SetupError
from leanflow_adapters._bus._delivery import Delivery, Patience, Receive, SetAside, Verdict, settle

__all__ = ["Source", "Subscription"]

_log = logging.getLogger("leanflow.webhook")

STOPPING = 8.0
"""Seconds that leaving waits for what is in flight; what is cut off then is delivered again."""
SOON = 0.01
"""Seconds for which a fetch waits until a quarter of all places is free: little to a slow receiver."""


class Source(Protocol):
    """Where a subscription's messages come from: what an adapter writes."""

    async def open(self) -> None:
        """Connect, and see to it that a durable consumer is there. Called again after each fault: then it mends.

        Raises:
            BrokerSetup: something is missing at the broker.
            BusUnavailable: it does not answer.
        """
        ...

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """Return at most so many messages; wait for one for a second at most, and return none if none came."""
        ...

    def stop(self) -> None:
        """Let a fetch that waits end at once, if that loses nothing: no more is wanted."""
        ...

    async def set_aside(self, limit: int) -> Sequence[SetAside]:
        """Return messages that were set aside, oldest first."""
        ...

    async def aclose(self) -> None:
        """Give the connection back; the durable consumer stays. Called once, whether or not it was ever open."""
        ...


class Subscription:
    """A durable subscription: `async with` starts it, leaving it stops it once what is in flight is ended.

    A broker that is away, at the start too, is told in the log and waited for. Only what no waiting mends
    (`BrokerSetup`) is raised, and only at the start.

    Attributes:
        counts: how many messages were ``taken``, come ``again``, were ``set_aside``.
    """

    def __init__(
        self, source: Source, receive: Receive, *, name: str, concurrency: int = 16, patience: Patience | None = None
    ) -> None:
        """Put one together; no I/O.

        Args:
            source: where messages come from.
            receive: what they are handed to.
            name: for the log: the bus's and the durable's.
            concurrency: how many messages are with the receiver at once.
            patience: how often and when a message comes again; by default 20 times over five hours.

        Raises:
            InvalidRequest: an argument is wrong.
        """
        if concurrency < 1:
            raise InvalidRequest("concurrency", "must be at least 1")
        if not callable(receive) or (inspect.ismethod(receive) and not inspect.iscoroutinefunction(receive)):
            raise InvalidRequest("receive", "must be a coroutine function, as `flows.receive` of an asyncio engine")
        self.counts: Counter[str] = Counter()
        self._source = source
        self._receive = receive
        self._name = name
        self._concurrency = concurrency
        self._patience = patience or Patience()
        self._stopping = False
        self._fetching: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Subscription({self._name!r}, {dict(self.counts)})"

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            BrokerSetup: something is missing at the broker.
        """
        if self._fetching is not None:
            raise InvalidRequest("subscription", f"{self._name} is entered already; make another with `subscribe`")
        is_open = True
        try:
            await self._source.open()
        except (SetupError, asyncio.CancelledError):
            await self._source.aclose()
            raise
        except Exception as error:  # noqa: BLE001 - whatever the client raises: it is tried again
            self._tell(error)
            is_open = False
        self._fetching = asyncio.create_task(self._fetch(is_open=is_open), name=f"leanflow {self._name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Fetch no more, end what is in flight, close."""
        assert self._fetching is not None
        self._stopping = True
        self._source.stop()
        try:
            await asyncio.wait({self._fetching, *self._under_way}, timeout=STOPPING)
            if self._under_way:  # the last fetch may have brought some
                await asyncio.wait(self._under_way, timeout=STOPPING)
        finally:
            late = [task for task in (self._fetching, *self._under_way) if not task.done()]
            for task in late:
                task.cancel()
            try:
                await asyncio.gather(*late, return_exceptions=True)
            finally:  # cancelled once more: no reason to leave connections
                await self._source.aclose()

    async def set_aside(self, limit: int = 100) -> Sequence[SetAside]:
        """Return messages that were set aside, oldest first."""
        return await self._source.set_aside(limit)

    async def _fetch(self, *, is_open: bool) -> None:
        """Fetch while there is room; a fault is told and waited out."""
        faults = 0
        while not self._stopping:
            try:
                if not is_open:
                    await self._source.open()
                    is_open = True
                    continue  # unless it is left by now
                await self._fetch_some()
            except Exception as error:  # noqa: BLE001 - whatever the client raises: it is tried again
                self._tell(error)
                is_open = False
                await self._pause(faults)
                faults += 1
            else:
                faults = 0

    async def _fetch_some(self) -> None:
        room = await self._room()
        if self._stopping:
            return
        for delivery in await self._source.fetch(room):
            task = asyncio.create_task(self._settle(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _room(self) -> int:
        """Wait until there is room, and a moment for more of it if it is little; return for how many.

        A fetch costs as much for one message as for many. Those that are taken end together, in one commit; without
        the moment one that failed meanwhile would have each fetch behind it bring one or two.
        """
        clock = asyncio.get_running_loop().time
        end = None
        while 4 * (free := self._concurrency - len(self._under_way)) < self._concurrency:
            if free and end is None:
                end = clock() + SOON
            left = None if end is None else end - clock()
            if left is not None and left <= 0:
                break
            await asyncio.wait(self._under_way, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return free

    async def _settle(self, delivery: Delivery) -> None:
        try:
            verdict: Verdict = await settle(delivery, self._receive, self._patience, name=self._name)
        except Exception as error:  # noqa: BLE001 - the broker is away: it delivers again what it did not hear of
            self._tell(error)
        else:
            self.counts[verdict.value] += 1

    async def _pause(self, faults: int) -> None:
        """Wait a little, at most a second at a time, so that leaving is not held up."""
        left = wait_before(self._patience.backoff[:3], faults, self._name).total_seconds()
        while left > 0 and not self._stopping:
            await asyncio.sleep(min(left, 0.5))
            left -= 0.5

    def _tell(self, error: Exception) -> None:
        words = error.reason if isinstance(error, BusUnavailable) else type(error).__name__
        _log.warning("%s: the broker does not answer, and is tried again: %s", self._name, words)
