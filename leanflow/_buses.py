"""The buses as an engine uses them: opened when that can be, left alone while they are away, never waited for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from leanflow._backoff import wait_before
from leanflow._policy import Policy
from leanflow.errors import BusUnavailable, CallerError, InvalidRequest, SetupError
from leanflow.ports import WAKE, Bus, Clock, Filtering, OutboxRow, Sink

__all__ = ["BusLine", "buses_of", "by_name", "is_away", "open_all"]

_log = logging.getLogger("leanflow.outbox")
T = TypeVar("T")

STARTING = timedelta(seconds=2)
"""How long the start of an engine waits for its buses; those that are not there by then are opened later."""

RESTS = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 30))
"""Waits before a bus that was away is tried again; the last is repeated."""


def buses_of(given: Bus | Iterable[Bus] | None) -> list[Bus]:
    """Return one bus, several or none as a list.

    Raises:
        InvalidRequest: something is no bus.
    """
    buses: list[Bus]
    if given is None:
        buses = []
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes):
        buses = list(given)
    else:
        buses = [given]
    for bus in buses:
        if isinstance(bus, type) or not callable(getattr(bus, "publish", None)):
            kind = "a class" if isinstance(bus, type) else type(bus).__name__
            raise InvalidRequest("bus", f"must be a bus, as NatsBus('nats://…'), or several of them, not {kind}")
    return buses


def by_name(buses: Iterable[Bus], others: Iterable[str]) -> dict[str, Bus]:
    """Return buses by their names.

    Args:
        buses: of one engine.
        others: the names of its other sinks.

    Raises:
        InvalidRequest: two sinks have one name.
    """
    found: dict[str, Bus] = {}
    taken = {WAKE, *others}
    for bus in buses:
        if bus.name in taken:
            raise InvalidRequest("bus", f"{bus.name!r} is the name of another sink; choose another")
        taken.add(bus.name)
        found[bus.name] = bus
    return found


def is_away(error: BaseException) -> bool:
    """Return whether the broker is away or does not answer, which is no announcement's fault: it is tried for ever."""
    return isinstance(error, BusUnavailable | ConnectionError | TimeoutError)


class BusLine:
    """One bus, for all workers of an engine.

    Nothing is claimed for it while it rests, so that a broker's outage counts against no announcement and costs the
    store nothing.
    """

    def __init__(self, bus: Bus, clock: Clock, policy: Policy) -> None:
        self._bus = bus
        self._clock = clock
        self._timeout = policy.bus_timeout
        self._is_open = False
        self._is_ours = False
        self._opening = False
        self._failures = 0
        self._again_at: datetime | None = None
        self._rest_until: datetime | None = None
        self._stuck: set[asyncio.Future[None]] = set()

    @property
    def name(self) -> str:
        """The sink's name."""
        return self._bus.name

    @property
    def sink(self) -> Sink:
        """What it wants, as kept in the store."""
        return self._bus.sink if isinstance(self._bus, Filtering) else Sink(name=self.name, reports=True)

    async def open(self) -> None:
        """Open the bus, unless it is: what was open already stays open.

        Raises:
            CallerError: it is used wrongly.
            SetupError: something is missing that no waiting brings. For anything else it is tried again later.
        """
        if getattr(self._bus, "is_open", False):
            self._is_open = True
            return
        self._opening = True
        try:
            await self._within(self._open(), min(self._timeout, STARTING))
        except (CallerError, SetupError):
            raise
        except Exception as error:  # noqa: BLE001 - a bus may raise anything; nothing else waits for it
            self._rest(error)
        finally:
            self._opening = False

    async def _open(self) -> None:
        await self._bus.open()
        self._is_open = self._is_ours = True  # though nobody may wait for it any more

    async def is_ready(self) -> bool:
        """Return whether it can be published to: open, or to be opened now, and not resting."""
        now = self._clock.now()
        if self._opening or self._stuck or (self._rest_until is not None and now < self._rest_until):
            return False
        if not self._is_open:
            try:
                await self.open()
            except (CallerError, SetupError) as error:
                self._rest(error)
        return self._is_open

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Publish a batch; return for each row None, or what went wrong. It never takes longer than the policy says."""
        errors: Sequence[BaseException | None]
        try:
            errors = await self._within(self._bus.publish(batch), self._timeout)
        except Exception as error:  # noqa: BLE001 - a bus may raise anything; nothing of the batch is taken as published
            errors = [error] * len(batch)
        if len(errors) != len(batch):
            wrong = BusUnavailable(self.name, f"it answered for {len(errors)} of {len(batch)}")
            errors = [wrong] * len(batch)
        self._learn(errors)
        return errors

    @property
    def again_at(self) -> datetime:
        """When what met an outage is to be tried again: now, if there is none any more."""
        return self._again_at or self._clock.now()

    @property
    def resting_until(self) -> datetime | None:
        """Until when it is left alone, if it is."""
        return self._rest_until

    async def aclose(self) -> None:
        """Close what was opened here."""
        ours, self._is_ours, self._is_open = self._is_ours, False, False
        self._recover()
        if ours:
            await self._within(self._bus.aclose(), self._timeout)

    def _learn(self, errors: Sequence[BaseException | None]) -> None:
        """Take note of what became of a batch: all, some or none of it met an outage."""
        away = [error for error in errors if error is not None and is_away(error)]
        if away and len(away) == len(errors):
            self._rest(away[0])
        elif away:  # as those for a partition without a leader: the others need not wait
            self._rest_until = None
            self._put_off(away[0], f" for {len(away)} of {len(errors)} announcements")
        elif self._clock.now() >= self.again_at:  # before that, only others than those that were away got through
            self._recover()

    def _recover(self) -> None:
        self._failures, self._again_at, self._rest_until = 0, None, None

    def _rest(self, error: BaseException) -> None:
        self._rest_until = self._put_off(error)

    def _put_off(self, error: BaseException, what_for: str = "") -> datetime:
        """Tell of an outage; return when what met it is tried again, which is later each time."""
        wait = wait_before(RESTS, self._failures, self.name)
        self._again_at = self._clock.now() + wait
        self._failures += 1
        level = logging.ERROR if isinstance(error, CallerError | SetupError) else logging.WARNING
        what = str(error) if isinstance(error, CallerError | SetupError | BusUnavailable) else type(error).__name__
        facts = (self.name, what_for, wait.total_seconds(), what)
        _log.log(level, "%s is away%s and is tried again in %.0f s: %s", *facts)
        return self._again_at

    async def _within(self, doing: Awaitable[T], limit: timedelta) -> T:
        """Wait so long for the bus and no longer, even if it does not let itself be cancelled.

        Raises:
            BusUnavailable: it took longer. It is asked for nothing more before it has ended.
        """
        task = asyncio.ensure_future(doing)
        try:
            await asyncio.wait({task}, timeout=limit.total_seconds())
        finally:
            if not task.done():
                task.cancel()
                ended = asyncio.ensure_future(_ended(task))
                self._stuck.add(ended)
                ended.add_done_callback(self._stuck.discard)
        if not task.done():
            raise BusUnavailable(self.name, f"it took longer than {limit.total_seconds():g} s")
        return task.result()


async def open_all(lines: Iterable[BusLine]) -> None:
    """Open buses at once, and wait a little for them.

    Raises:
        CallerError: one is used wrongly.
        SetupError: one lacks something that no waiting brings.
    """
    ended = await asyncio.gather(*(line.open() for line in lines), return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error


async def _ended(task: asyncio.Future[T]) -> None:
    """Return once it has, however that was."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
