"""OAuth2 client-credentials tokens: kept, renewed early, asked for once however many callers wait.

Lean docs, "Authentication": ``POST {auth}/oauth2/token``, form-encoded, answers ``access_token`` and ``expires_in``
(3599 seconds). Scope ``api`` is for the backend, ``customer.<customer id>`` for the Link SDK in one customer's browser.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import attrs

from leanflow._call import Answer
from leanflow.errors import CallFailed, InvalidRequest
from leanflow.ports import Clock
from leanflow_adapters.http._secret import Secret

__all__ = ["Reserve", "Tokens", "parse_token"]

_KEPT = 1024  # tokens kept; customers beyond that are asked for again: memory must not grow with the customer base
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")  # the shape of OAuth2's error codes (RFC 6749, 5.2): safe to repeat


@attrs.frozen(kw_only=True)
class Reserve:
    """How much life a token must have left.

    Attributes:
        renew: with less than this it is renewed; meanwhile callers still get the old one.
        least: with this or less it is not handed out.
        strict: if True, `least` holds for fresh tokens too; if False, a token with a short life is used for most of it.
    """

    renew: timedelta
    least: timedelta
    strict: bool = False


@attrs.frozen(kw_only=True)
class _Kept:
    """A token: its text, when it ends, and how long it lived when it was fresh."""

    secret: Secret
    ends: datetime
    life: timedelta


class Tokens:
    """Keeps tokens by scope. Belongs to one event loop.

    The request for a token runs in a task of its own: a caller that is cancelled does not take it away from the
    others who wait for it.
    """

    def __init__(self, fetch: Callable[[str], Awaitable[Answer]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._flights: dict[str, asyncio.Task[_Kept]] = {}

    async def get(self, scope: str, reserve: Reserve) -> Secret:
        """Return a token of this scope with enough life left.

        Raises:
            CallFailed: there is none to be had; nothing was sent to Lean's API.
        """
        kept = self._kept.get(scope)
        if kept is not None:
            left = kept.ends - self._clock.now()
            # A token that lives 60 seconds must not be renewed all the time because it has less than 5 minutes left.
            share = 1.0 if reserve.strict else min(1.0, kept.life / (4 * reserve.renew))
            if left > reserve.renew * share:
                return kept.secret
            if left > reserve.least * share:
                _ = self._flight(scope)  # nobody waits for it
                return kept.secret
        fresh = await self._wait(scope)
        if reserve.strict and fresh.ends - self._clock.now() <= reserve.least:
            raise CallFailed(
                f"the token endpoint's tokens live {fresh.life.total_seconds():g} s, "
                f"more than {reserve.least.total_seconds():g} s are needed",
                maybe_sent=False,
            )
        return fresh.secret

    def refused(self, scope: str, secret: Secret) -> None:
        """Drop a token that was answered 401, unless another one has taken its place."""
        kept = self._kept.get(scope)
        if kept is not None and kept.secret is secret:
            del self._kept[scope]

    async def aclose(self) -> None:
        """Forget all tokens and end what is in flight."""
        flights = tuple(self._flights.values())
        for task in flights:
            task.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._flights.clear()
        self._kept.clear()

    async def _wait(self, scope: str) -> _Kept:
        """Wait for the one request in flight, starting it if there is none."""
        task = self._flight(scope)
        try:
            return await asyncio.shield(task)
        except CallFailed as exc:
            # One exception object raised in many tasks would grow a traceback of them all.
            raise CallFailed(exc.reason, maybe_sent=False) from exc
        except asyncio.CancelledError:
            if task.cancelled():  # not the caller: the transport was closed under it
                raise CallFailed("the transport was closed", maybe_sent=False) from None
            raise

    def _flight(self, scope: str) -> asyncio.Task[_Kept]:
        """Return the task that asks for a token of this scope."""
        task = self._flights.get(scope)
        if task is None:
            task = asyncio.create_task(self._renew(scope), name="leanflow-token")
            self._flights[scope] = task
            task.add_done_callback(lambda done: self._landed(scope, done))
        return task

    def _landed(self, scope: str, task: asyncio.Task[_Kept]) -> None:
        """Keep what came; a failed renewal that nobody waits for leaves the old token in use."""
        self._flights.pop(scope, None)
        if task.cancelled() or task.exception() is not None:
            return
        self._kept.pop(scope, None)
        self._kept[scope] = task.result()
        self._discard()

    def _discard(self) -> None:
        """Drop what has ended, and the oldest beyond the limit."""
        if len(self._kept) <= _KEPT:
            return
        now = self._clock.now()
        for scope in [scope for scope, kept in self._kept.items() if kept.ends <= now]:
            del self._kept[scope]
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]

    async def _renew(self, scope: str) -> _Kept:
        """Ask for a token. Its life counts from before the asking, so that it is never taken for longer than it is."""
        asked = self._clock.now()
        secret, seconds = parse_token(await self._fetch(scope))
        life = timedelta(seconds=seconds)
        return _Kept(secret=secret, ends=asked + life, life=life)


def parse_token(answer: Answer) -> tuple[Secret, float]:
    """Return the token and its life in seconds.

    Raises:
        CallFailed: the answer has none. What it says instead is not repeated, but for OAuth2's error code.
    """
    body = _object(answer.body)
    if answer.status != 200:
        code = body.get("error")
        shown = f" ({code})" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
        raise CallFailed(f"the token endpoint answered {answer.status}{shown}", maybe_sent=False)
    try:
        secret = Secret("access_token", body.get("access_token", ""))
    except InvalidRequest as exc:
        raise CallFailed(f"the token endpoint's access_token {exc.problem}", maybe_sent=False) from None
    seconds = _seconds(body.get("expires_in"))
    if seconds is None:
        raise CallFailed("the token endpoint's expires_in is not a number of seconds", maybe_sent=False)
    return secret, seconds


def _object(body: bytes) -> dict[str, Any]:
    """Return a JSON object, or an empty one for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(value: object) -> float | None:
    """Return a sane number of seconds (up to ten years), or None. Some servers quote it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < 3.2e8 else None
