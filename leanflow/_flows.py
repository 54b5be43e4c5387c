"""`LeanFlow`: the engine, and the public face of everything that can be done with requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from leanflow import calls
from leanflow._call import Answer, Call, Reply
from leanflow._handlers import Handlers
from leanflow._lean.documents import parse_customer
from leanflow._life import Life
from leanflow._notify import rung_or_over
from leanflow._observed import receiver_of, transport_of
from leanflow._operations import check_id, states_of
from leanflow._policy import Policy
from leanflow._prompts import ConnectPrompt
from leanflow._request import DataRequest, Scope, State
from leanflow._settings import Settings, caller_app, check_settings, overruled_scope, scope_of
from leanflow._store_clock import StoreClock
from leanflow._system import SystemClock, system_random
from leanflow._transaction import Transaction, joined
from leanflow.errors import (
    CallFailed,
    InvalidRequest,
    Livelock,
)
from leanflow.observing import Observer
from leanflow.ports import (
    Bus,
    Clock,
    Created,
    HistoryEntry,
    RandomSource,
    Store,
    Transport,
)

__all__ = ["LeanFlow"]

LOOKS_PER_SECOND = 100
"""At the store, for all who wait: about a hundredth of what it can do."""

TICK_ROUNDS = 1000
"""Rounds of `tick` without rest that are taken for a livelock."""


class LeanFlow(Life):
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
        app: str | None = None,
        environment: str | None = None,
        region: str | None = None,
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
            app: Lean's application id, as in prompts. Without it ``default``, in the sandbox alone; prompts then carry
                the transport's if it knows that.
            environment: ``sandbox`` or ``production``; the transport's if it knows, else ``sandbox``.
            region: ``uae`` or ``ksa``; the transport's if it knows, else ``uae``.
            api: ``v1`` or ``v2``, for new requests; a stored one keeps its own.
            clock: the system's unless given; not asked for the time where the store has a clock of its own.
            policy: waits, budgets and limits.
            workers: background workers; 0 for tests, which call `tick`.
            dice: for ids and jitter; the operating system's unless given.
            observer: sees what is done, as `leanflow_adapters.otel.Telemetry`.

        Raises:
            InvalidRequest: an argument is wrong, as an empty secret, or an environment that is not the transport's.
        """
        parts = {"store": store, "transport": transport, "clock": clock, "dice": dice, "observer": observer}
        check_settings(parts, policy=policy, api=api, workers=workers, secrets=webhook_secrets)
        scope = scope_of(transport, app=app, environment=environment, region=region)
        time = StoreClock(clock or SystemClock(), store)
        settings = Settings(
            scope=scope,
            api=api,
            policy=policy or Policy(),
            clock=time,
            dice=dice or system_random(),
            transport=transport_of(transport, observer),
            observer=observer,
            caller_app=caller_app(transport),
            overruled=overruled_scope(scope, environment=environment, region=region),
        )
        super().__init__(settings, store, time=time, transport=transport, handlers=handlers, bus=bus, workers=workers)
        self._secrets = tuple(webhook_secrets)
        self._receiver = receiver_of(settings, self._steps, self._secrets)

    def __repr__(self) -> str:
        scope = self._scope
        return f"LeanFlow(app={scope.app!r}, environment={scope.environment!r}, region={scope.region!r})"

    @property
    def policy(self) -> Policy:
        """Its waits, budgets and limits."""
        return self._settings.policy

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

    # new requests

    async def _create(
        self, made: DataRequest, renews: str | None = None, renewal: HistoryEntry | None = None
    ) -> Created:
        """Insert it claimed by this engine, which places it at once."""
        creation = self._creation(made.moved({"call_no": 1}), renews=renews, renewal=renewal)
        return await self._placing.create(creation)

    async def _created(self, created: Created) -> DataRequest:
        """Place it if it is new, and wait a little for Lean's answer."""
        if not await self._placing.placed(created):
            return created.request
        # What this process committed last is new enough.
        return await self._steps.load(created.request.id) or created.request

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
            timeout: seconds, or a timedelta, on the engine's clock; None: for ever. On one that stands still, as in
                tests, it never ends unless the clock is moved meanwhile.

        Raises:
            InvalidRequest: `until` names no state.
            RequestNotFound: there is none.
            TimeoutError: it took longer.
        """
        self._check()
        check_id(request_id)
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
                left = max(self._settings.policy.poll.total_seconds(), self._notifier.listeners / LOOKS_PER_SECOND)
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
            done = await self._placing.settled() + await self._idle_worker.sweep()
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
            app_token=self._app_token,
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
            with joined(self._settings, store, self._check) as transaction:
                yield transaction
