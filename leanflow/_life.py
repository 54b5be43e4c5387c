"""The life of an engine: what it opens and starts as it is entered, what it waits for and closes as it is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from leanflow._buses import BusLine, buses_of, by_name, open_all
from leanflow._caller import Caller
from leanflow._from_threads import FromThreads
from leanflow._handlers import Handlers, collect, sets_of
from leanflow._ids import new_id
from leanflow._notify import Notifier, called_off, rung_or_over
from leanflow._observed import caller_of, keep_looking, relay_of, starting, steps_of
from leanflow._placing import Placing
from leanflow._reconcile import Reconciler
from leanflow._relay import Audience
from leanflow._settings import Settings
from leanflow._store_clock import StoreClock
from leanflow._upkeep import Upkeep
from leanflow._worker import Worker
from leanflow.errors import InvalidRequest, KeyMissing, NotStarted, WrongLoop
from leanflow.ports import KEYS, Bus, Encrypting, Hinting, Query, Store, Transport

__all__ = ["Life"]

_log = logging.getLogger("leanflow.engine")


class Life(Upkeep):
    """An engine that is entered and left, on one loop. What is in flight, and who works, is here."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        time: StoreClock,
        transport: Transport,
        handlers: Iterable[Handlers],
        bus: Bus | Iterable[Bus] | None,
        workers: int,
    ) -> None:
        self._notifier = Notifier()
        super().__init__(settings, store, steps_of(settings, store, self._notifier, self._stir))
        self._time = time
        self._transport = transport
        self._sets = sets_of(handlers)
        self._handlers = collect(self._sets)
        named = by_name(buses_of(bus), self._handlers)
        self._buses = {name: BusLine(each, time, settings.policy) for name, each in named.items()}
        self._face: Any = None  # what plain handlers are called with; `leanflow.blocking` puts itself there
        self._workers_wanted = workers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: list[Any] = []
        self._busy: list[Worker | Placing] = []
        self._workers: list[Worker] = []
        self._keeping: list[asyncio.Task[None]] = []
        self._caller: Caller  # these three are of one stay: from entering to leaving
        self._idle_worker: Worker
        self._placing: Placing

    async def __aenter__(self) -> Self:
        """Open what is not open, make the handlers known, start the workers.

        Raises:
            MigrationNeeded: the store's tables are of another version.
            StoreUnavailable: it cannot be reached.
        """
        if self._loop is not None:
            raise InvalidRequest("flows", "is open already; enter it once")
        self._loop = asyncio.get_running_loop()
        self._handlers = collect(self._sets)
        for handlers in self._sets:
            handlers.taken_up()
        try:
            await self._open()
        except BaseException:  # cancelled, too: what is open and runs by now is stopped and closed
            await self._stop()
            raise
        return self

    async def _open(self) -> None:
        self._steps.forget_all()
        if not self._store.is_open:
            await self._store.open()
            self._opened.append(self._store)
        if not getattr(self._transport, "is_open", False):
            self._opened.append(self._transport)
        self._opened += self._buses.values()
        await open_all(self._buses.values())
        if not isinstance(self._store, Encrypting) and (keys := await self._store.remember(self._scope, KEYS)):
            raise KeyMissing(keys)
        sinks = [*(h.sink for h in self._handlers.values()), *(line.sink for line in self._buses.values())]
        await self._store.register(self._scope, sinks)
        await self._look_behind()
        await self._time.set()
        self._start()
        if (
            isinstance(self._store, Hinting)
            and (hearing := await self._store.hear(self._scope, self._heard)) is not None
        ):
            self._opened.append(hearing)

    async def _look_behind(self) -> None:
        """Warn of requests that this engine would see if it did not go by its transport: those of an older version."""
        overruled, scope = self._settings.overruled, self._scope
        if overruled is not None and await self._store.find(overruled, Query(limit=1)):
            _log.warning(
                "this engine is %s/%s, as its transport; it does not see what the store has of %s in %s/%s "
                "(if that is meant, give the engine its environment and region)",
                *(scope.environment, scope.region, scope.app, overruled.environment, overruled.region),
            )

    def _start(self) -> None:
        owner = new_id(self._clock.now(), self._settings.dice)
        self._caller = caller_of(self._settings, self._store, self._steps, owner)
        self._placing = Placing(self._settings, self._store, self._caller, begun=self._begun, fault=self._fault)
        self._idle_worker = self._worker(owner, self._caller)
        self._workers = [self._worker(f"{owner}.{n}") for n in range(1, self._workers_wanted + 1)]
        self._busy = [*self._workers, self._placing]
        kept = {"leases": self._caller.keep_leases(), "time": self._time.keep()}
        observer = self._settings.observer
        if observer is not None and self._workers:
            kept["observer"] = keep_looking(observer, self, self._clock)
        with starting(observer):
            self._keeping = [asyncio.create_task(each, name=f"leanflow {name}") for name, each in kept.items()]
            for worker in self._workers:
                worker.start()

    def _worker(self, owner: str, caller: Caller | None = None) -> Worker:
        if caller is None:
            caller = caller_of(self._settings, self._store, self._steps, owner)
        face = self._face or FromThreads(self, asyncio.get_running_loop())
        audience = Audience(handlers=self._handlers, buses=self._buses, engine=self, face=face)
        relay = relay_of(self._settings, self._store, self._steps, audience, owner)
        return Worker(self._settings, self._store, caller=caller, relay=relay, reconciler=self._reconciler())

    def _reconciler(self) -> Reconciler:
        return Reconciler(self._settings, self._store, self._steps)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is in flight, at most the policy's `shutdown_wait`, stop the workers, close what was opened.

        Being cancelled meanwhile shortens the wait, and nothing else: it is raised once all is stopped and closed.
        """
        await self._stop()

    async def _stop(self) -> None:
        """Stop and close, to the end, however often we are cancelled meanwhile."""
        hurry = asyncio.Event()
        leaving = asyncio.create_task(self._leave(hurry), name="leanflow leaving")
        cancelled: asyncio.CancelledError | None = None
        while not leaving.done():
            try:
                await asyncio.wait({leaving})
            except asyncio.CancelledError as error:
                hurry.set()
                cancelled = error
        if cancelled is not None:
            raise cancelled
        leaving.result()

    async def _leave(self, hurry: asyncio.Event) -> None:
        try:
            await rung_or_over(hurry, self._finish())
            await asyncio.gather(*(each.abandon() for each in self._busy))
            await called_off(self._keeping)
            self._busy, self._workers, self._keeping = [], [], []
            await self._close_opened()
        finally:
            for handlers in self._sets:
                handlers.let_go()
            self._loop = None

    async def _finish(self) -> None:
        """Wait for what is in flight, at most the policy's `shutdown_wait`."""
        wait = self._settings.policy.shutdown_wait.total_seconds()
        for error in await asyncio.gather(*(each.finish(wait) for each in self._busy), return_exceptions=True):
            if error is not None:
                _log.error("not all was waited for", exc_info=error)

    async def _close_opened(self) -> None:
        while self._opened:
            try:
                await self._opened.pop().aclose()
            except Exception:  # noqa: BLE001, RUF100 - one that does not close must not keep the others open
                _log.exception("closing failed and goes on")

    def _check(self) -> None:
        if self._loop is None:
            raise NotStarted
        if asyncio.get_running_loop() is not self._loop:
            raise WrongLoop

    def _begun(self, request_id: str) -> None:
        """Have it announced that a new request was stored, and remember whose work goes on."""
        self._idle_worker.last_request = request_id
        self._stir(announced=True, due_at=None)

    def _fault(self, request_id: str, error: BaseException) -> None:
        """Tell of a new request's call that failed in a way of its own: it is due again when its lease ends."""
        _log.error("a call failed in a way of its own", exc_info=error, extra={"request_id": request_id})

    def _stir(self, *, announced: bool, due_at: datetime | None) -> None:
        for worker in self._workers:
            worker.stir(announced=announced, due_at=due_at)

    def _heard(self, request_ids: Sequence[str]) -> None:
        """Take the hint that another process has moved these: what was known of them is old, and there may be work."""
        for request_id in request_ids:
            self._steps.forget(request_id)
            self._notifier.tell(request_id)
        self._stir(announced=True, due_at=self._clock.now())

    def _served(self) -> Collection[str]:
        return (*self._handlers, *self._buses)

    def _is_working(self) -> bool:
        return bool(self._workers) and all(worker.is_alive for worker in self._workers)
