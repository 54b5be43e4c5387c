"""`LeanFlow`: the engine, and the public face of everything that can be done with requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import attrs

from leanflow import calls
from leanflow._buses import BusLine, by_name, open_all
from leanflow._call import Answer, Call, Reply
from leanflow._caller import Caller
from leanflow._handlers import Handlers, collect
from leanflow._ids import new_id
from leanflow._lean.documents import parse_customer
from leanflow._notify import Notifier, rung_or_over
from leanflow._observed import caller_of, keep_looking, receiver_of, relay_of, starting, steps_of, transport_of
from leanflow._operations import states_of
from leanflow._policy import Policy
from leanflow._prompts import ConnectPrompt
from leanflow._reconcile import Reconciler
from leanflow._relay import Audience
from leanflow._request import DataRequest, Scope, State
from leanflow._settings import Settings, check_settings
from leanflow._sites import site
from leanflow._store_clock import StoreClock
from leanflow._system import SystemClock, system_random
from leanflow._transaction import Transaction
from leanflow._upkeep import Upkeep
from leanflow._worker import Worker
from leanflow.errors import (
    CallFailed,
    InvalidRequest,
    KeyMissing,
    Livelock,
    NotStarted,
    WrongLoop,
)
from leanflow.observing import Observer
from leanflow.ports import (
    KEYS,
    Bus,
    Claimed,
    Clock,
    Created,
    Encrypting,
    Hinting,
    HistoryEntry,
    RandomSource,
    Store,
    Transport,
)

__all__ = ["LeanFlow"]

_log = logging.getLogger("leanflow.engine")

LOOKS_PER_SECOND = 100
"""At the store, for all who wait: about a hundredth of what it can do."""

TICK_ROUNDS = 1000
"""Rounds of `tick` without rest that are taken for a livelock."""


class LeanFlow(Upkeep):
    """The engine: holds the reconnect loop for many data requests on one store.

    Built cold: no I/O, no event loop. `async with` opens what is not open, starts the workers, and closes again what it
    opened. It belongs to the loop that entered it.
    """

    def __init__(
        self,
        *,
        store: Store,
        transport: Transport,
        webhook_secrets: Sequence[str],
        handlers: Iterable[Handlers] = (),
        bus: Bus | Iterable[Bus] | None = None,
        app: str = "default",
        environment: str = "sandbox",
        region: str = "uae",
        api: str = "v2",
        clock: Clock | None = None,
        policy: Policy | None = None,
        workers: int = 1,
        dice: RandomSource | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Put an engine together.

        Args:
            store: where everything is kept.
            transport: how Lean is called.
            webhook_secrets: newest first; each signs on its own.
            handlers: who is to hear of what.
            bus: one or several, outgoing only.
            app: Lean's application id.
            environment: ``sandbox`` or ``production``.
            region: ``uae`` or ``ksa``.
            api: ``v1`` or ``v2``, for new requests; a stored one keeps its own.
            clock: the system's unless given; not asked for the time where the store has a clock of its own.
            policy: waits, budgets and limits.
            workers: background workers; 0 for tests, which call `tick`.
            dice: for ids and jitter; the operating system's unless given.
            observer: sees what is done, as `leanflow_adapters.otel.Telemetry`.

        Raises:
            InvalidRequest: an argument is wrong, as an empty secret.
        """
        check_settings(
            app=app, environment=environment, region=region, api=api, workers=workers, secrets=webhook_secrets
        )
        self._time = StoreClock(clock or SystemClock(), store)
        settings = Settings(
            scope=Scope(app=app, environment=environment, region=region),
            api=api,
            policy=policy or Policy(),
            clock=self._time,
            dice=dice or system_random(),
            transport=transport_of(transport, observer),
            observer=observer,
        )
        self._notifier = Notifier()
        steps = steps_of(settings, store, self._notifier, self._stir)
        super().__init__(settings, store, steps)
        self._transport = transport
        self._secrets = tuple(webhook_secrets)
        self._receiver = receiver_of(settings, steps, self._secrets)
        self._policy = settings.policy
        self._dice = settings.dice
        self._sets = [handlers] if isinstance(handlers, Handlers) else list(handlers)
        self._handlers = collect(self._sets)
        buses = [] if bus is None else bus if isinstance(bus, Iterable) else [bus]
        named = by_name(buses, self._handlers)
        self._buses = {name: BusLine(each, self._time, settings.policy) for name, each in named.items()}
        self._face: Any = self  # what handlers that block are called with; `leanflow.blocking` puts itself there
        self._workers_wanted = workers
        self._workers: list[Worker] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: list[Any] = []
        self._creating: set[asyncio.Task[Created]] = set()
        self._placing: dict[str, asyncio.Task[None]] = {}
        self._owner = ""
        self._caller: Caller
        self._idle_worker: Worker
        self._keeping: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        scope = self._scope
        return f"LeanFlow(app={scope.app!r}, environment={scope.environment!r}, region={scope.region!r})"

    @property
    def policy(self) -> Policy:
        """Its waits, budgets and limits."""
        return self._policy

    @property
    def scope(self) -> Scope:
        """What confines it: application, environment and region."""
        return self._scope

    @property
    def store(self) -> Store:
        """Where everything is kept."""
        return self._store

    @property
    def transport(self) -> Transport:
        """How Lean is called."""
        return self._transport

    # life

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
        except BaseException:
            await self._stop()
            raise
        return self

    async def _open(self) -> None:
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
        await self._time.set()
        owner = new_id(self._clock.now(), self._dice)
        self._owner = owner
        self._caller = caller_of(self._settings, self._store, self._steps, owner)
        self._idle_worker = self._worker(owner, self._caller)
        self._workers = [self._worker(f"{owner}.{n}") for n in range(1, self._workers_wanted + 1)]
        kept = [self._caller.keep_leases(), self._time.keep()]
        observer = self._settings.observer
        if observer is not None and self._workers:
            kept.append(keep_looking(observer, self, self._clock))
        with starting(observer):
            self._keeping = [asyncio.create_task(each) for each in kept]
            for worker in self._workers:
                worker.start()
        if (
            isinstance(self._store, Hinting)
            and (hearing := await self._store.hear(self._scope, self._heard)) is not None
        ):
            self._opened.append(hearing)

    def _worker(self, owner: str, caller: Caller | None = None) -> Worker:
        if caller is None:
            caller = caller_of(self._settings, self._store, self._steps, owner)
        audience = Audience(handlers=self._handlers, buses=self._buses, engine=self, face=self._face)
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
            for worker in self._workers:
                await worker.abandon()
            others = [*self._placing.values(), *self._keeping]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self._workers, self._keeping = [], []
            await self._close_opened()
        finally:
            for handlers in self._sets:
                handlers.let_go()
            self._loop = None

    async def _finish(self) -> None:
        """Wait for what is in flight, at most the policy's `shutdown_wait`."""
        wait = self._policy.shutdown_wait.total_seconds()
        if self._creating:
            await asyncio.wait(self._creating, timeout=wait)
        finishing = [worker.finish(wait) for worker in self._workers]
        if placing := list(self._placing.values()):
            finishing.append(_ended(placing, wait))
        await asyncio.gather(*finishing, return_exceptions=True)

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

    # placing new requests

    async def _create(
        self, made: DataRequest, renews: str | None = None, renewal: HistoryEntry | None = None
    ) -> Created:
        """Insert it claimed by this engine, which places it at once: no worker takes it as well."""
        creation = attrs.evolve(
            self._creation(made.moved({"call_no": 1}), renews=renews, renewal=renewal),
            owner=self._owner,
            lease_until=self._clock.now() + self._policy.lease,
        )
        creating = asyncio.create_task(self._store.create(creation), name=f"leanflow create {made.id}")
        self._creating.add(creating)
        creating.add_done_callback(self._creating.discard)
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:  # nobody waits any more, but what is stored and claimed must be placed
            creating.add_done_callback(self._place_unwaited)
            raise

    def _place_unwaited(self, creating: asyncio.Task[Created]) -> None:
        if not creating.cancelled() and creating.exception() is None and creating.result().is_new:
            self._place(creating.result().request)

    def _place(self, request: DataRequest) -> None:
        """Place a new request in a task of the engine."""
        site("created")
        self._idle_worker.last_request = request.id
        self._stir(announced=True, due_at=None)
        now = self._clock.now()
        claimed = Claimed(request=request, now=now, lease_until=now + self._policy.lease, taken_over=False)
        task = asyncio.create_task(self._caller.run(claimed), name=f"leanflow place {request.id}")
        self._placing[request.id] = task
        task.add_done_callback(lambda _: self._placing.pop(request.id, None))

    async def _created(self, created: Created) -> DataRequest:
        """Place a new request and wait a little for Lean's answer; for one that is being placed here, wait too."""
        request = created.request
        if created.is_new:
            self._place(request)
        placing = self._placing.get(request.id)
        if placing is None:
            return request
        await self._wait_for({placing}, self._policy.place_wait.total_seconds())
        return await self._steps.load(request.id) or request  # what this process committed last is new enough

    async def _wait_for(self, tasks: set[asyncio.Task[None]], seconds: float) -> None:
        """Wait for tasks so long on our clock; neither a timeout nor a cancelled caller stops them."""
        if seconds <= 0:
            return
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({*tasks, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()

    # webhooks

    async def receive(self, headers: Mapping[str, str], raw_body: bytes) -> Reply:
        """Take in one webhook: verify, step, commit, then say what to answer.

        Args:
            headers: names in any case.
            raw_body: the bytes as they came.

        Returns:
            200 once it is durably stored, or was before; 401 without a valid signature, and nothing is stored; 400 for
            a signed body that is no webhook; 413 over the policy's `max_body`; 503 with `retry` when the store cannot
            commit.
        """
        self._check()
        return await self._receiver.receive(headers, raw_body)

    async def reconcile(self, since: datetime | None = None) -> int:
        """Hear every event that Lean sent since `since` (its Events API has 90 days); return how many were news.

        Raises:
            CallFailed: Lean did not list them all; what was heard stays heard.
            StoreUnavailable: the same.
        """
        self._check()
        return await self._reconciler().reconcile(since)

    # waiting

    async def wait(
        self,
        request_id: str,
        *,
        until: Collection[State] | None = None,
        after: int | None = None,
        timeout: float | timedelta | None = None,
    ) -> DataRequest:
        """Wait until the request has ended or the user is wanted; or until it is in one of `until`, or has ended.

        What this process commits is noticed at once. For what others commit the store is asked every `policy.poll`;
        with many waiting less often, a hundred times a second for all of them together.

        Args:
            request_id: which.
            until: other states to wait for.
            after: a version that is known: wait for a later one, in any state, or in one of `until` if that is given.
            timeout: seconds, or a timedelta, on the engine's clock; None: for ever.

        Raises:
            InvalidRequest: `until` names no state.
            RequestNotFound: there is none.
            TimeoutError: it took longer.
        """
        self._check()
        wanted = states_of(tuple(State) if until is None and after is not None else until, "until")
        known = -1 if after is None else after
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        deadline = None if seconds is None else self._clock.now() + timedelta(seconds=seconds)
        with self._notifier.listen(request_id) as told:
            while True:
                # Told: by a commit of this process, whose record is known. Not told: perhaps another process moved it.
                request = await (self._known(request_id) if told.is_set() else self.get(request_id))
                told.clear()
                is_wanted = request.state.needs_user if wanted is None else request.state in wanted
                if request.state.is_end or (is_wanted and request.version > known):
                    return request
                left = max(self._policy.poll.total_seconds(), self._notifier.listeners / LOOKS_PER_SECOND)
                if deadline is not None:
                    left = min(left, (deadline - self._clock.now()).total_seconds())
                    if left <= 0:
                        raise TimeoutError(f"request {request_id} is still in {request.state}")
                await rung_or_over(told, self._clock.sleep(left))

    async def tick(self) -> int:
        """Do all that is due at the clock's present time, and what comes of it; return how many things were done.

        Raises:
            Livelock: it does not come to rest; names the request.
        """
        self._check()
        total = 0
        for _ in range(TICK_ROUNDS):
            placing = set(self._placing.values())
            if placing:
                await asyncio.wait(placing)
            done = await self._idle_worker.sweep() + len(placing)
            if done == 0:
                return total
            total += done
        raise Livelock(self._idle_worker.last_request, TICK_ROUNDS)

    # Lean

    async def connect_prompt(self, *, customer_id: str, permissions: Sequence[str]) -> ConnectPrompt:
        """Return the argument of `Lean.connect`: the way out of `Remedy.connect`. Stores nothing.

        Raises:
            InvalidRequest: no permissions.
            CallFailed: no access token could be got.
        """
        self._check()
        if isinstance(permissions, str) or not permissions:
            raise InvalidRequest("permissions", "name at least one, in a list, as ['identity', 'accounts']")
        return ConnectPrompt(
            app_token=self._scope.app,
            customer_id=customer_id,
            permissions=tuple(permissions),
            sandbox=self._scope.environment == "sandbox",
            access_token=await self._transport.token(customer_id),
        )

    async def customer(self, *, app_user_id: str) -> str:
        """Return Lean's customer id for the application's user: created, or looked up if it was there (409).

        Raises:
            InvalidRequest: `app_user_id` is empty or too long.
            CallFailed: Lean did not answer, or refused; the reason says what.
            MalformedBody: Lean's answer is no customer.
        """
        self._check()
        answer = await self._settings.transport.send(calls.create_customer(app_user_id))
        if answer.status == 409:
            answer = await self._settings.transport.send(calls.find_customer(app_user_id))
        if not 200 <= answer.status < 300:
            raise CallFailed(f"Lean answered HTTP {answer.status} for the customer", maybe_sent=True)
        return parse_customer(answer)

    async def send(self, call: Call) -> Answer:
        """Send any other call to Lean; builders are in `leanflow.calls`.

        Raises:
            CallFailed: no answer came back.
        """
        self._check()
        return await self._settings.transport.send(call)

    # the application's own transaction

    @asynccontextmanager
    async def using(self, connection: Any) -> AsyncIterator[Transaction]:
        """Yield the same operations inside the application's transaction on `connection`. Never commits.

        Requests made there are placed by the workers once the application has committed; a rollback leaves nothing.

        Raises:
            InvalidRequest: the connection is of a kind, or to a database, that the store does not share.
        """
        self._check()
        async with self._store.using(connection) as store:
            yield Transaction(self._settings, store, self._check)


async def _ended(tasks: Collection[asyncio.Task[None]], wait: float) -> None:
    await asyncio.wait(tasks, timeout=wait)
