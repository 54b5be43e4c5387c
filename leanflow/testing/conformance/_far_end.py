"""The far end of a transport's tests: a Mockbank that remembers what came, and answers as a test plans."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import parse_qsl

from leanflow._call import Answer, Call
from leanflow.mockbank import Exchange, Mockbank
from leanflow.ports import Transport

__all__ = ["CALL", "CUT", "PATIENCE", "POST", "Build", "FarEnd", "difference", "said", "until"]

PATIENCE = 10.0
"""Seconds after which a test takes what it waits for as never to come."""

CALL = Call(method="GET", path="/banks/v1/")
POST = Call(method="POST", path="/customers/v1/", body=b'{"app_user_id":"user-1"}')

CUT = Exchange(answer=None)
"""The connection is cut before the first byte of the answer."""


class Build(Protocol):
    """Returns a new transport to the far end."""

    def __call__(self, *, timeout: float = 60.0) -> Transport:
        """Return one that gives a call up after so many seconds."""
        ...


class FarEnd(Mockbank):
    """A Mockbank that remembers the calls that reach it, and gives the next ones the answers that a test plans.

    Attributes:
        came: the calls to the API, with their credentials, in the order of their arrival.
        statuses: what each was answered; None: it was cut.
        forms: what the token endpoint was asked, as fields of the form.
        ends: when each token that it gave ends.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.came: list[Call] = []
        self.statuses: list[int | None] = []
        self.forms: list[dict[str, str]] = []
        self.ends: dict[str, datetime] = {}
        self._plan: deque[Exchange] = deque()

    def plan(self, *exchanges: Exchange) -> None:
        """Answer the next calls like this, those without good credentials excepted."""
        self._plan.extend(exchanges)

    def handle(self, call: Call, now: datetime) -> Exchange:
        """Answer one call."""
        exchange = super().handle(call, now)
        if call.path == "/oauth2/token":
            self.forms.append(dict(parse_qsl((call.body or b"").decode())))
            self._note_token(exchange.answer, now)
            return exchange
        refused = exchange.answer is not None and exchange.answer.status == 401
        if self._plan and not refused:
            exchange = self._plan.popleft()
        self.came.append(call)
        self.statuses.append(None if exchange.answer is None else exchange.answer.status)
        return exchange

    def _note_token(self, answer: Answer | None, now: datetime) -> None:
        if answer is None or answer.status != 200:
            return
        try:
            given = json.loads(answer.body)
            self.ends[given["access_token"]] = now + timedelta(seconds=given["expires_in"])
        except (ValueError, KeyError):
            return  # a test has spoilt it


def said(status: int = 200, body: bytes = b"{}", headers: Mapping[str, str] | None = None, **more: Any) -> Exchange:
    """Return an answer to plan; `delay` and `cut_after` as of `Exchange`."""
    return Exchange(answer=Answer(status=status, body=body, headers=headers or {}), **more)


def difference(came: bytes, sent: bytes) -> str:
    """Return where two bodies part; empty if they do not.

    ``assert came == sent`` would take hours of megabytes that differ: with ``CI`` set, or ``-vv``, pytest compares
    them line by line.
    """
    if came == sent:
        return ""
    at = next((at for at, (one, other) in enumerate(zip(came, sent, strict=False)) if one != other), None)
    if at is None:
        return f"{len(came):,} bytes came of {len(sent):,}"
    return f"byte {at:,} of {len(sent):,} came as {came[at : at + 16]!r}, not as {sent[at : at + 16]!r}"


async def until(happened: Callable[[], bool], what: str) -> None:
    """Let everybody else run until something has happened.

    Raises:
        AssertionError: it does not.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not happened():
        assert asyncio.get_running_loop().time() < deadline, f"not within {PATIENCE:g} s: {what}"
        await asyncio.sleep(0)
