"""Webhooks from the subscribers of a FastStream application into an engine."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from faststream import Context, Response
from faststream.message import StreamMessage

from leanflow._call import Reply
from leanflow_adapters._bus import Message, Patience, Receive, settle
from leanflow_adapters.faststream._checks import check_subscribers, kind_of
from leanflow_adapters.faststream._doors import Door, door_of

__all__ = ["plug"]

_log = logging.getLogger("leanflow.webhook")
_WAITS = (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=20))


def plug(
    broker: Any,
    receive: Receive,
    *,
    webhooks: Any,
    set_aside: str,
    stream: str | None = None,
    max_deliver: int = 20,
    backoff: Sequence[timedelta] = _WAITS,
    name: str = "faststream",
) -> None:
    """Hand what subscribers get to an engine: acknowledged after its commit, tried again, or set aside.

    What the engine says goes to the address for a reply that a message names, as those of `Commands.receive` do.
    Subscribers that would lose messages are refused where they are plugged in, each with how to make it.

    Args:
        broker: through which messages that are set aside are published.
        receive: `flows.receive`, or whatever has its signature.
        webhooks: what `broker.subscriber(…)` returned (or a router's); one, or several.
        set_aside: a subject, queue, stream or topic for messages that no trying helps; it must be there.
        stream: of JetStream, which takes `set_aside`. NATS only, and there it is needed.
        max_deliver: tries after which a message is set aside.
        backoff: waits between tries, while the message is held; the last is repeated. What is behind it waits, too,
            where the broker or the subscriber takes one message at a time.
        name: for the log.

    Raises:
        InvalidRequest: a subscriber, or the broker, would lose messages.
    """
    subscribers: list[Any] = [*webhooks] if isinstance(webhooks, list | tuple) else [webhooks]
    check_subscribers(subscribers)
    door = door_of(broker, name=name, stream=stream)
    patience = Patience(max_deliver=max_deliver, backoff=backoff)
    for subscriber in subscribers:

        async def take(message: Annotated[StreamMessage[Any], Context("message")]) -> Any:  # FastStream sends it
            return await _take(message, receive, patience, _Aside(door, set_aside), name)

        subscriber(take, parser=_parsed if kind_of(subscriber) == "redis" else None, decoder=_undecoded)


async def _undecoded(message: StreamMessage[Any]) -> Any:
    """Leave the body as it came: the signature is over its bytes."""
    return message.body


async def _parsed(raw: Any, parse: Callable[[Any], Awaitable[StreamMessage[Any]]]) -> StreamMessage[Any]:
    """Parse an entry of a Redis stream; one put there without FastStream has its body in ``data``, beside headers.

    FastStream would make JSON of such a one, and fail over a body that is no text.
    """
    fields = raw["data"]
    if b"__data__" in fields or b"data" not in fields:
        return await parse(raw)
    message = await parse({**raw, "data": {b"__data__": b""}})
    message.body = fields[b"data"]
    message.headers = {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for name, value in fields.items()
        if name != b"data"
    }
    return message


class _Aside:
    def __init__(self, door: Door, place: str) -> None:
        self._door = door
        self._place = place

    async def put(self, delivery: _Held, reason: str) -> None:
        told = {**delivery.headers, "leanflow-reason": reason, "leanflow-tries": str(delivery.tries)}
        key = str(delivery.message.message_id)
        body = Message(key=key, topic=self._place, headers=told, body=delivery.body, partition_key=key)
        await self._door.publish(body)


class _Held:
    """A message that is held while it is tried again: not every broker can bring it back later."""

    def __init__(self, message: StreamMessage[Any], aside: _Aside) -> None:
        self.message = message
        self.reply_to = message.reply_to or None
        self.answer: Response | None = None
        self.tries = 1
        self.wait: float | None = None
        self.headers, self.body = _opened(message)
        self._aside = aside

    async def respond(self, reply: Reply) -> None:
        """Keep the answer: FastStream sends what its handler returns, when all is done."""
        told = {"content-type": "application/json", **reply.headers, "leanflow-status": str(reply.status)}
        self.answer = Response(reply.body, headers=told)

    async def ack(self) -> None:
        await self.message.ack()

    async def again(self, delay: float) -> None:
        self.wait = delay

    async def set_aside(self, reason: str) -> None:
        await self._aside.put(self, reason)
        await self.message.ack()


async def _take(
    message: StreamMessage[Any], receive: Receive, patience: Patience, aside: _Aside, name: str
) -> Response | None:
    """Return the answer, where somebody waits for one."""
    held = _Held(message, aside)
    while True:
        held.wait = None
        try:
            await settle(held, receive, patience, name=name)
        except Exception as error:  # noqa: BLE001 - whatever the client raises: nothing is let go of that is not kept
            _log.warning("%s: the broker does not answer, and is tried again: %s", name, type(error).__name__)
            await asyncio.sleep(patience.delay(1, name))
            await message.nack()
            return None
        if held.wait is None:
            return held.answer
        held.tries += 1
        await _keep(message, held.wait)


async def _keep(message: StreamMessage[Any], seconds: float) -> None:
    """Wait, and tell a broker that wants to know that the message is still worked on."""
    told: Callable[[], Awaitable[None]] | None = getattr(message, "in_progress", None)
    left = seconds
    while left > 0:
        if told is not None and inspect.iscoroutinefunction(told):
            await told()
        await asyncio.sleep(min(left, 5.0))
        left -= 5.0


def _opened(message: StreamMessage[Any]) -> tuple[Mapping[str, str], bytes]:
    headers = {name: str(value) for name, value in message.headers.items()}
    body = message.body
    return headers, body if isinstance(body, bytes) else str(body).encode()
