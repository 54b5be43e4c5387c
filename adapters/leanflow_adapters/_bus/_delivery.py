"""One message in: what its receiver said, and what becomes of it by that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

import attrs

from leanflow._backoff import wait_before
from leanflow._call import Reply
from leanflow.errors import InvalidRequest

__all__ = ["BACKOFF", "DELIVERIES", "Delivery", "Patience", "Receive", "SetAside", "Verdict", "settle"]

_log = logging.getLogger("leanflow.webhook")

Receive = Callable[[Mapping[str, str], bytes], Awaitable[Reply]]
"""What messages are handed to: `LeanFlow.receive`, or whatever has its signature."""

_SECOND, _MINUTE = timedelta(seconds=1), timedelta(minutes=1)

DELIVERIES = 20
BACKOFF: Sequence[timedelta] = (_SECOND, 5 * _SECOND, 30 * _SECOND, 5 * _MINUTE, 20 * _MINUTE)
"""With so many deliveries and these waits a store may be down for five hours before anything is set aside."""


class Verdict(StrEnum):
    """What becomes of a message."""

    taken = "taken"  # its receiver committed it: acknowledged
    again = "again"  # it comes again, later
    set_aside = "set_aside"  # no use in trying: kept where it can be looked at, and never delivered again


class Delivery(Protocol):
    """One message as it was delivered, and what can be done with it. Exactly one of the three endings is called."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Names to values."""
        ...

    @property
    def body(self) -> bytes:
        """Its bytes, as they were put there."""
        ...

    @property
    def tries(self) -> int:
        """How often it was delivered, this time included."""
        ...

    @property
    def reply_to(self) -> str | None:
        """Where an answer is wanted, if one is."""
        ...

    async def respond(self, reply: Reply) -> None:
        """Publish an answer to `reply_to`."""
        ...

    async def ack(self) -> None:
        """End it: it is not delivered again."""
        ...

    async def again(self, delay: float) -> None:
        """End it: it is delivered again after so many seconds, and until then holds up no other."""
        ...

    async def set_aside(self, reason: str) -> None:
        """End it: keep it, durably, where set aside messages are, with the reason; only then acknowledge it."""
        ...


@attrs.frozen(kw_only=True)
class Patience:
    """How often and when a message comes again that could not be taken.

    Attributes:
        max_deliver: deliveries; after the last it is set aside.
        backoff: waits between them; the last is repeated.
    """

    max_deliver: int = DELIVERIES
    backoff: Sequence[timedelta] = BACKOFF

    def __attrs_post_init__(self) -> None:
        if self.max_deliver < 1:
            raise InvalidRequest("max_deliver", "must be at least 1")
        if not self.backoff or min(self.backoff) < timedelta():
            raise InvalidRequest("backoff", "needs at least one wait, none of them less than nothing")

    def delay(self, tries: int, key: str) -> float:
        """Return the seconds before the next delivery, after so many."""
        return wait_before(self.backoff, tries - 1, key).total_seconds()


@attrs.frozen(kw_only=True)
class SetAside:
    """A message that was set aside.

    Attributes:
        place: where it is kept, as its broker names places.
        reason: ``status 401``, ``raised KeyError``, ….
        tries: how often it had been delivered.
        headers: as they came.
        body: as it came.
    """

    place: str
    reason: str
    tries: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


async def settle(delivery: Delivery, receive: Receive, patience: Patience, *, name: str = "") -> Verdict:
    """Hand a message to its receiver and end it by what that says: return what became of it.

    200: acknowledged, after whatever the receiver committed. `Reply.retry`, and an exception: again, later, until
    `patience` is spent. Anything else, and then too: set aside. A reply whose verdict is final goes to the message's
    reply address first, so that a crash in between repeats the answer and never swallows it.

    Args:
        delivery: the message.
        receive: the receiver.
        patience: for how long it is tried.
        name: of the subscription, for the log.

    Raises:
        Exception: what the broker's client raises when the message cannot be ended; the broker delivers it again.
    """
    reply, reason = await _received(delivery, receive)
    verdict = _verdict(reply, delivery.tries, patience)
    if verdict is not Verdict.again and reply is not None and delivery.reply_to:
        try:
            await delivery.respond(reply)
        except Exception as error:  # noqa: BLE001 - whatever the client raises: no answer, so it is done again
            reason = f"no answer could be sent: {type(error).__name__}"
            spent = delivery.tries >= patience.max_deliver
            verdict = Verdict.set_aside if spent else Verdict.again
    if verdict is not Verdict.taken:
        level = logging.ERROR if verdict is Verdict.set_aside else logging.WARNING
        _log.log(level, "%s: a message was not taken (%s): %s", name, reason, verdict.value)
    await _end(delivery, verdict, reason, patience)
    return verdict


async def _received(delivery: Delivery, receive: Receive) -> tuple[Reply | None, str]:
    try:
        reply = await receive(delivery.headers, delivery.body)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # we are being stopped
        return None, "raised CancelledError"  # what the receiver waited for was cancelled: its own failure
    except Exception as error:  # noqa: BLE001 - a receiver may raise anything; it is tried again, and bounded
        return None, f"raised {type(error).__name__}"
    return reply, f"status {reply.status}: {reply.reason}" if reply.reason else f"status {reply.status}"


def _verdict(reply: Reply | None, tries: int, patience: Patience) -> Verdict:
    if reply is not None and reply.status == 200:
        return Verdict.taken
    if reply is None or reply.retry:
        return Verdict.again if tries < patience.max_deliver else Verdict.set_aside
    return Verdict.set_aside


async def _end(delivery: Delivery, verdict: Verdict, reason: str, patience: Patience) -> None:
    match verdict:
        case Verdict.taken:
            await delivery.ack()
        case Verdict.again:
            await delivery.again(patience.delay(delivery.tries, delivery.headers.get("lean-signature", "")))
        case Verdict.set_aside:
            await delivery.set_aside(reason)
