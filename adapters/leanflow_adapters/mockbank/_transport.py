"""Mockbank within the process: a `Transport` without sockets, and delivery of webhooks to a callable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import attrs

from leanflow._call import Answer, Call, Reply
from leanflow.errors import CallFailed, InvalidRequest
from leanflow.mockbank import ATTEMPT_LIMIT, Delivery, Mockbank
from leanflow.ports import Clock

__all__ = ["MockbankTransport", "Receiver", "deliver"]

Receiver = Callable[[Mapping[str, str], bytes], Awaitable[Reply]]

_RENEW_BEFORE = timedelta(minutes=10)  # the Link SDK refuses a token with less (Lean docs, Link SDK)


async def deliver(bank: Mockbank, receive: Receiver, now: datetime) -> int:
    """Deliver what is due to `receive`, one after the other, until nothing is; return how many were delivered.

    Args:
        bank: whose webhooks.
        receive: takes headers and raw body, as `LeanFlow.receive` does.
        now: the time of the attempts and of their answers.

    Raises:
        Exception: what `receive` raised; the attempt counts as unanswered.
    """
    return await _deliver(bank, receive, lambda: now)


async def _deliver(bank: Mockbank, receive: Receiver, now: Callable[[], datetime]) -> int:
    count = 0
    while due := bank.deliveries_due(now()):
        for number, delivery in enumerate(due):
            try:
                await _attempt(bank, receive, delivery, now)
            except BaseException:  # those behind it were handed out, too: they count as unanswered, and come again
                for rest in due[number + 1 :]:
                    bank.delivered(rest.id, None, now())
                raise
            count += 1
    return count


async def _attempt(bank: Mockbank, receive: Receiver, delivery: Delivery, now: Callable[[], datetime]) -> None:
    began, status = now(), None
    try:
        reply = await receive(delivery.headers, delivery.body)
        status = reply.status if now() - began <= ATTEMPT_LIMIT else None
    finally:
        bank.delivered(delivery.id, status, now())


@attrs.frozen
class _Token:
    text: str
    ends: datetime


class MockbankTransport:
    """The `Transport` port on a Mockbank in the same process. Also a traveller for `leanflow.testing.travel`.

    A call that is slow sleeps on `clock`: on a clock moved by hand, somebody must move it meanwhile. `next_due` tells
    how far, and `travel` does it. A webhook's receiver has 10 s on the same clock.

    Args:
        bank: the simulated Lean.
        clock: the one that the engine runs on.
        auth: ``bearer`` (OAuth client credentials) or ``app_token`` (``lean-app-token``, as v1).
        receive: where its webhooks go; `tick` sends what is due.
        api_delay: seconds that each call takes.
        timeout: seconds after which a call is given up.

    Raises:
        InvalidRequest: `auth` is neither.
    """

    def __init__(
        self,
        bank: Mockbank,
        clock: Clock,
        *,
        auth: str = "bearer",
        receive: Receiver | None = None,
        api_delay: float = 0.0,
        timeout: float = 60.0,
    ) -> None:
        if auth not in ("bearer", "app_token"):
            raise InvalidRequest("auth", f"is {auth!r}; must be bearer or app_token")
        self.bank = bank
        self.receive = receive
        self._clock = clock
        self._auth = auth
        self._api_delay = api_delay
        self._timeout = timeout
        self._wakes: list[datetime] = []  # when the calls that sleep will wake
        self._slept = asyncio.Event()
        self._tokens: dict[str, _Token] = {}
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # one asks, the others wait

    def __repr__(self) -> str:
        return f"MockbankTransport({self.bank!r}, auth={self._auth!r})"

    @property
    def app(self) -> str:
        """The application that it calls as: the bank's."""
        return self.bank.app

    @property
    def environment(self) -> str:
        """What it calls: always ``sandbox``."""
        return "sandbox"

    @property
    def region(self) -> str:
        """Where it calls: the bank's region."""
        return self.bank.settings.region

    async def send(self, call: Call) -> Answer:
        """Send one call and return what came back.

        Raises:
            CallFailed: a fault cut the connection, or it took too long. A client cannot tell: `maybe_sent` is True, but
                for a token that was not to be had.
        """
        if self._auth == "app_token":
            return await self._exchange(call, {"lean-app-token": self.bank.app})
        token = await self._token("api", timedelta())
        answer = await self._exchange(call, {"authorization": f"Bearer {token.text}"})
        if answer.status != 401:
            return answer
        if self._tokens.get("api") is token:  # else another call that was refused has a fresh one already
            del self._tokens["api"]
        token = await self._token("api", timedelta())
        return await self._exchange(call, {"authorization": f"Bearer {token.text}"})

    async def token(self, customer_id: str) -> str | None:
        """Return a customer-scoped token with more than 10 minutes left, or None under ``lean-app-token``.

        Raises:
            CallFailed: Mockbank gave none.
        """
        if self._auth == "app_token":
            return None
        return (await self._token(f"customer.{customer_id}", _RENEW_BEFORE)).text

    async def aclose(self) -> None:
        """Close nothing: there is nothing open."""

    # the traveller's side

    def next_due(self) -> datetime | None:
        """Return when Mockbank next has something to do, the answer of a slow call included."""
        now = self._clock.now()
        times = [self.bank.next_due(), *(wake for wake in self._wakes if wake > now)]
        return min((time for time in times if time is not None), default=None)

    async def asleep(self) -> None:
        """Return once a call waits for the clock to be moved."""
        while not any(wake > self._clock.now() for wake in self._wakes):
            self._slept.clear()
            await self._slept.wait()

    async def tick(self) -> int:
        """Let happen what is due, and deliver it if there is a receiver; return how many webhooks were delivered."""
        now = self._clock.now()
        self.bank.pass_time(now)
        return await _deliver(self.bank, self.receive, self._clock.now) if self.receive is not None else 0

    async def _exchange(self, call: Call, credentials: Mapping[str, str]) -> Answer:
        dressed = attrs.evolve(call, headers={**call.headers, **credentials})
        exchange = self.bank.handle(dressed, self._clock.now())
        if self.receive is not None:
            for delivery in self.bank.deliveries_due(self._clock.now(), early=True):
                await _attempt(self.bank, self.receive, delivery, self._clock.now)
        delay = self._api_delay + exchange.delay
        await self._sleep(min(delay, self._timeout))
        if delay > self._timeout:
            raise CallFailed(f"no answer within {self._timeout:g} s", maybe_sent=True)
        if exchange.answer is None or exchange.cut_after is not None:
            raise CallFailed("the simulated connection was cut", maybe_sent=True)
        return exchange.answer

    async def _sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        wake = self._clock.now() + timedelta(seconds=seconds)
        self._wakes.append(wake)
        self._slept.set()
        try:
            await self._clock.sleep(seconds)
        finally:
            self._wakes.remove(wake)

    async def _token(self, scope: str, spare: timedelta) -> _Token:
        async with self._asking.setdefault(scope, asyncio.Lock()):
            known = self._tokens.get(scope)
            if known is None or known.ends - self._clock.now() <= spare:
                known = self._tokens[scope] = await self._ask(scope)
            return known

    async def _ask(self, scope: str) -> _Token:
        asked = self._clock.now()
        form = {
            "client_id": self.bank.app,
            "client_secret": self.bank.client_secret,
            "grant_type": "client_credentials",
            "scope": scope,
        }
        call = Call(method="POST", path="/oauth2/token", body=urlencode(form).encode())
        try:
            answer = await self._exchange(call, {"content-type": "application/x-www-form-urlencoded"})
        except CallFailed as failed:
            raise CallFailed(f"asking for a token: {failed.reason}", maybe_sent=False) from failed
        if answer.status != 200:
            raise CallFailed(f"the token endpoint answered {answer.status}", maybe_sent=False)
        try:
            said = json.loads(answer.body)
            return _Token(said["access_token"], asked + timedelta(seconds=said["expires_in"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CallFailed("the token endpoint's answer holds no token", maybe_sent=False) from error
