"""Mockbank within the process: a `Transport` without sockets, and delivery of webhooks to a callable."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

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
    count = 0
    while due := bank.deliveries_due(now):
        for number, delivery in enumerate(due):
            try:
                await _attempt(bank, receive, delivery, lambda: now)
            except BaseException:
                for rest in due[number + 1 :]:
                    bank.delivered(rest.id, None, now)
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


@attrs.define
class _Token:
    text: str
    ends: datetime


class MockbankTransport:
    """The `Transport` port on a Mockbank in the same process. Also a traveller for `leanflow.testing.travel`.

    A delay that a fault asks for is slept on `clock`: on a clock moved by hand, somebody must move it meanwhile.

    Args:
        bank: the simulated Lean.
        clock: the one that the engine runs on.
        auth: ``bearer`` (OAuth client credentials) or ``app_token`` (``lean-app-token``, as v1).
        receive: where its webhooks go; `tick` sends what is due.
        api_delay: seconds that each call takes.

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
    ) -> None:
        if auth not in ("bearer", "app_token"):
            raise InvalidRequest("auth", f"is {auth!r}; must be bearer or app_token")
        self.bank = bank
        self.receive = receive
        self._clock = clock
        self._auth = auth
        self._api_delay = api_delay
        self._tokens: dict[str, _Token] = {}

    def __repr__(self) -> str:
        return f"MockbankTransport({self.bank!r}, auth={self._auth!r})"

    async def send(self, call: Call) -> Answer:
        """Send one call and return what came back.

        Raises:
            CallFailed: a fault cut the connection; `maybe_sent` is True, as a client cannot tell.
        """
        if self._auth == "app_token":
            return await self._exchange(call, {"lean-app-token": self.bank.app})
        answer = await self._exchange(call, {"authorization": f"Bearer {await self._token('api', timedelta())}"})
        if answer.status == 401:
            self._tokens.pop("api", None)
            answer = await self._exchange(call, {"authorization": f"Bearer {await self._token('api', timedelta())}"})
        return answer

    async def token(self, customer_id: str) -> str | None:
        """Return a customer-scoped token with more than 10 minutes left, or None under ``lean-app-token``.

        Raises:
            CallFailed: Mockbank gave none.
        """
        if self._auth == "app_token":
            return None
        return await self._token(f"customer.{customer_id}", _RENEW_BEFORE)

    async def aclose(self) -> None:
        """Close nothing: there is nothing open."""

    # the traveller's side

    def next_due(self) -> datetime | None:
        """Return when Mockbank next has something to do."""
        return self.bank.next_due()

    async def tick(self) -> int:
        """Let happen what is due, and deliver it if there is a receiver; return how many webhooks were delivered."""
        now = self._clock.now()
        self.bank.pass_time(now)
        return await deliver(self.bank, self.receive, now) if self.receive is not None else 0

    async def _exchange(self, call: Call, credentials: Mapping[str, str]) -> Answer:
        dressed = attrs.evolve(call, headers={**call.headers, **credentials})
        exchange = self.bank.handle(dressed, self._clock.now())
        if self.receive is not None:
            for delivery in self.bank.deliveries_due(self._clock.now(), early=True):
                await _attempt(self.bank, self.receive, delivery, self._clock.now)
        if self._api_delay + exchange.delay > 0:
            await self._clock.sleep(self._api_delay + exchange.delay)
        if exchange.answer is None or exchange.cut_after is not None:
            raise CallFailed("the simulated connection was cut", maybe_sent=True)
        return exchange.answer

    async def _token(self, scope: str, spare: timedelta) -> str:
        now, known = self._clock.now(), self._tokens.get(scope)
        if known is not None and known.ends - now > spare:
            return known.text
        form = {
            "client_id": self.bank.app,
            "client_secret": self.bank.client_secret,
            "grant_type": "client_credentials",
            "scope": scope,
        }
        call = Call(method="POST", path="/oauth2/token", body=urlencode(form).encode())
        answer = await self._exchange(call, {"content-type": "application/x-www-form-urlencoded"})
        if answer.status != 200:
            raise CallFailed(f"the token endpoint answered {answer.status}", maybe_sent=False)
        said = json.loads(answer.body)
        self._tokens[scope] = _Token(said["access_token"], now + timedelta(seconds=said["expires_in"]))
        return self._tokens[scope].text
