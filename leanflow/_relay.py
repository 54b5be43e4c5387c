"""Relaying the outbox: to handlers, to buses, and, for the internal sink `wake`, to what wakes requests."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from leanflow._backoff import wait_before
from leanflow._buses import BusLine, is_away
from leanflow._effects import Change
from leanflow._handlers import Handler
from leanflow._lean.webhooks import parse_webhook
from leanflow._settings import Settings
from leanflow._sites import site
from leanflow._steps import Steps
from leanflow._wakes import Wakes, asks_lean
from leanflow.errors import CallFailed, LeanflowError
from leanflow.ports import WAKE, Bus, OutboxRow, Store

__all__ = ["CHECKS", "Audience", "Relay"]

_log = logging.getLogger("leanflow.outbox")

BATCH = 100
MANY = 500
"""Rows of what piled up that go to a bus at once: fewer and larger transactions, but none that a step must feel."""
QUICK = 0.2
"""Seconds: a bus that takes longer for a batch gets no larger one at once, lest that never ends within its timeout."""
RUN = 2500
"""Rows that are relayed to a quick bus in one go at most: the end of it is waited for when a worker stops."""
CHECKS = ":checks"
"""The lane of wakes that ask Lean: a name that no sink may have."""
LOOKS = 4
"""How many wakes ask Lean at a time: there is no hurry, and while it hangs each waits as long as a call may take."""


@attrs.frozen(kw_only=True)
class Audience:
    """Who is told in this process.

    Attributes:
        handlers: by name.
        buses: by name.
        engine: what handlers get as their second argument.
        face: the same for those that are no coroutines, and run in a thread.
    """

    handlers: Mapping[str, Handler]
    buses: Mapping[str, BusLine]
    engine: Any
    face: Any


class Relay:
    """Delivers what is in the outbox, at least once, in order per request and sink; no sink waits for another."""

    def __init__(self, settings: Settings, store: Store, steps: Steps, audience: Audience, owner: str) -> None:
        self._store = store
        self._scope = settings.scope
        self._clock = settings.clock
        self._policy = settings.policy
        self._handlers = audience.handlers
        self._buses = audience.buses
        self._engine = audience.engine
        self._face = audience.face
        self._owner = owner
        self._wakes = Wakes(settings, store, steps)
        self._checks: dict[str, OutboxRow] = {}  # claimed, by key

    @property
    def lanes(self) -> tuple[str, ...]:
        """What is relayed one beside the other: each sink that this process serves, and `CHECKS`."""
        return (WAKE, CHECKS, *self._handlers, *self._buses)

    async def relay(self, lane: str) -> int:
        """Deliver a batch in one lane; return how many rows were claimed or tried.

        What piled up for a quick bus is delivered up to `RUN` rows, and claimed together with the confirmation of the
        batch before: on SQLite in one transaction.
        """
        if lane == WAKE:
            return await self._relay_wakes()
        if lane == CHECKS:
            return await self._relay_checks()
        return await self._relay(lane)

    async def _relay(self, sink: str) -> int:
        line = self._buses.get(sink)
        if line is not None and not await line.is_ready():
            return 0
        loop = asyncio.get_running_loop()
        tried, limit = 0, BATCH
        rows = await self._claim(sink)
        while rows:
            began = loop.time()
            errors = await self._deliver(sink, rows)
            is_quick = loop.time() - began < QUICK
            site("before_outbox_ack")
            tried += len(rows)
            settling = self._settle(rows, errors)
            is_over = len(rows) < limit or tried >= RUN or not is_quick
            if is_over or line is None or line.resting_until is not None:
                await settling
                break
            limit = min(MANY, RUN - tried)
            _, rows = await asyncio.gather(settling, self._claim(sink, limit))
        return tried

    async def _claim(self, sink: str, limit: int = BATCH) -> Sequence[OutboxRow]:
        return await self._store.claim_outbox(
            self._scope,
            sinks=[sink],
            owner=self._owner,
            now=self._clock.now(),
            lease=self._policy.lease.total_seconds(),
            limit=limit,
        )

    async def _deliver(self, sink: str, rows: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        if (line := self._buses.get(sink)) is not None:
            return await self._publish(line, rows)
        return await asyncio.gather(*(self._try(self._handle, row) for row in rows))

    async def _settle(self, rows: Sequence[OutboxRow], errors: Sequence[BaseException | None]) -> None:
        """Store what became of each row: first what is done, so that a claim beside it finds what that sets free.

        What failed comes right behind it, in the same transaction where a store makes one of what comes together.
        """
        outcomes = list(zip(rows, errors, strict=True))
        failed = (self._undelivered(row, error) for row, error in outcomes if error is not None)
        storing = [asyncio.create_task(each) for each in failed]  # which begin once this waits
        try:
            if done := [(row.key, row.sink) for row, error in outcomes if error is None]:
                await self._store.delivered(self._scope, done)
        except BaseException:  # cancelled, too: nothing is left behind where what is done could not be stored
            for each in storing:
                each.cancel()
            raise
        finally:
            problems = await asyncio.gather(*storing, return_exceptions=True)
        for problem in problems:
            if problem is not None:
                raise problem

    async def _undelivered(self, row: OutboxRow, error: BaseException) -> None:
        again_at = self._after_outage(row, error)
        if again_at is not None:  # not the row's fault, and told of by now
            await self._put_off(row, error, due_at=again_at, counts=False)
            return
        set_aside = self._is_last(row)
        due_at = self._clock.now() + wait_before(self._policy.announce_backoff, row.tries, row.key)
        level = logging.ERROR if set_aside else logging.WARNING
        what = "set aside; redeliver() brings it back" if set_aside else "will be tried again"
        name = type(error).__name__
        facts = {**_facts(row), "error": name, "due_at": None if set_aside else due_at}
        words, trace = (str(error), None) if isinstance(error, LeanflowError) else (name, error)
        if row.sink not in self._buses or not self._is_news(row, name):  # a handler's is told of as it raises
            trace = None
        _log.log(level, "%s did not take an announcement (%s): %s", row.sink, words, what, extra=facts, exc_info=trace)
        await self._put_off(row, error, due_at=due_at, set_aside=set_aside)

    def _after_outage(self, row: OutboxRow, error: BaseException) -> datetime | None:
        """Return when what met an outage of a bus, or of Lean, is tried again; None: it met none."""
        line = self._buses.get(row.sink)
        if line is not None:
            return line.again_at if is_away(error) else None
        return self._wakes.again_at(row) if row.sink == WAKE and isinstance(error, CallFailed) else None

    async def _put_off(
        self, row: OutboxRow, error: BaseException, *, due_at: datetime, set_aside: bool = False, counts: bool = True
    ) -> None:
        name = type(error).__name__
        await self._store.undelivered(
            self._scope, row.key, row.sink, due_at=due_at, error=name, set_aside=set_aside, counts=counts
        )

    async def _try(self, deliver: Callable[[OutboxRow], Awaitable[None]], row: OutboxRow) -> BaseException | None:
        try:
            await deliver(row)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # we are being stopped
            return self._raised(row, error)  # what the handler waited for was cancelled: the handler's own failure
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; it is told, counted and tried again
            return self._raised(row, error)
        return None

    def _raised(self, row: OutboxRow, error: BaseException) -> BaseException:
        """Tell of an outage of Lean; of another error with its traceback, unless that is as it was the last time."""
        if row.sink == WAKE and isinstance(error, CallFailed):
            facts = {"key": row.key}
            _log.warning("Lean is away, and is asked about a consent again later: %s", error.reason, extra=facts)
            return error
        name = type(error).__name__
        if self._is_news(row, name):
            _log.warning("%s raised %s", row.sink, name, exc_info=error, extra=_facts(row))
        return error

    def _is_news(self, row: OutboxRow, name: str) -> bool:
        """Return whether an error is not as it was the last time, or the last."""
        return row.tries == 0 or row.error != name or self._is_last(row)

    def _is_last(self, row: OutboxRow) -> bool:
        return row.tries + 1 >= self._policy.announce_tries

    # handlers and buses

    async def _handle(self, row: OutboxRow) -> None:
        site("before_handler")
        handler = self._handlers[row.sink]
        subject = _subject(row)
        if inspect.iscoroutinefunction(handler.function):
            await handler.function(subject, self._engine)
        else:
            returned = await asyncio.to_thread(handler.function, subject, self._face)
            if inspect.isawaitable(returned):
                await returned
        site("after_handler")

    async def _publish(self, bus: Bus, rows: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        site("before_publish")
        errors = await bus.publish(rows)
        site("after_publish")
        return errors

    # wakes

    async def _relay_wakes(self) -> int:
        """Deliver a batch of wakes; leave those that ask Lean to the lane `CHECKS`, as it may leave them waiting."""
        if len(self._checks) >= BATCH:
            return 0  # so many under a lease are enough
        rows = await self._claim(WAKE)
        self._checks |= {row.key: row for row in rows if asks_lean(row)}
        others = [row for row in rows if not asks_lean(row)]
        if others:
            errors = [await self._try(self._wakes.deliver, row) for row in others]
            site("before_outbox_ack")
            await self._settle(others, errors)
        return len(rows)

    async def _relay_checks(self) -> int:
        rows, self._checks = list(self._checks.values()), {}
        if rows:
            errors = await self._look_all(rows)
            site("before_outbox_ack")
            await self._settle(rows, errors)
        return 0  # they were counted when they were claimed

    async def _look_all(self, rows: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Deliver wakes that ask Lean, `LOOKS` at a time. Once one has found it away none begins: each would wait."""
        errors: dict[str, BaseException | None] = {}
        left = iter(rows)
        away: CallFailed | None = None

        async def look() -> None:
            nonlocal away
            for row in left:  # of which each takes the next
                errors[row.key] = away or await self._try(self._wakes.deliver, row)
                if isinstance(error := errors[row.key], CallFailed):
                    away = error

        await asyncio.gather(*(look() for _ in rows[:LOOKS]))
        return [errors[row.key] for row in rows]


def _facts(row: OutboxRow) -> dict[str, Any]:
    """Return what is logged of a delivery that failed."""
    return {"key": row.key, "request_id": row.request_id, "tries": row.tries + 1}


def _subject(row: OutboxRow) -> Any:
    """Return what a handler is called with: a change, or a webhook event."""
    payload = json.loads(row.payload)
    if row.kind == "webhook":
        event = parse_webhook(payload["raw"].encode("utf-8", "surrogateescape"))
        at = datetime.fromisoformat(payload["at"]) if payload["at"] else None
        return event if at is None else event.stamped(at, row.key.removeprefix("webhook:"))
    return attrs.evolve(Change.from_dict(payload), out_of_order=row.skipped)
