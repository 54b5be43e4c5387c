"""`RedisStreamsBus`: announcements to Redis streams, and subscriptions to others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from leanflow._request import State
from leanflow.errors import InvalidRequest, LeanflowError
from leanflow_adapters._bus import (
    ANSWERING,
    BACKOFF,
    DELIVERIES,
    BrokerBus,
    Envelope,
    Message,
    Options,
    Patience,
    Receive,
    Subscription,
    Topic,
)
from leanflow_adapters.redis_streams._incoming import GroupSource
from leanflow_adapters.redis_streams._link import Link, translate, translated

__all__ = ["RedisStreamsBus"]


class RedisStreamsBus(BrokerBus):
    """Publishes announcements to Redis streams: the headers are an entry's fields, beside ``id`` and ``data``.

    Built cold. What Redis confirms is as durable as its `appendonly` and `appendfsync` make it. It drops no repeats:
    consumers do, by ``id``.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Redis | None = None,
        topic: Topic = "leanflow",
        only: Collection[State | str] | None = None,
        webhooks: Collection[str] = (),
        name: str = "redis-streams",
        envelope: Envelope = "structured",
        source: str | None = None,
        maxlen: int | None = None,
        timeout: float = ANSWERING,
    ) -> None:
        """Put a bus together.

        Args:
            url: ``redis://127.0.0.1:6379/0`` and the like.
            client: a `redis.asyncio.Redis` of your own instead; it is never closed.
            topic: the stream's key, or a function of the `CloudEvent`.
            only: the states whose entering is announced; None: all, and reports.
            webhooks: webhook types to be announced instead of changes; ``*``: all.
            name: by which deliveries are remembered.
            envelope: ``structured`` (one JSON document) or ``binary`` (attributes as fields).
            source: the CloudEvents attribute.
            maxlen: about how many entries a stream keeps: older ones go, read or not. None: all, for ever.
            timeout: seconds within which the server is to answer; a client of your own has its own.

        Raises:
            InvalidRequest: an argument is wrong.
        """
        super().__init__(
            Options(
                name=name,
                topic=topic,
                only=only,
                webhooks=webhooks,
                envelope=envelope,
                source=source,
                timeout=timeout,
            )
        )
        if maxlen is not None and maxlen < 1:
            raise InvalidRequest("maxlen", "must be at least 1, or None")
        self._maxlen = maxlen
        self._link = Link(name, url, client, timeout)

    def subscribe(
        self,
        stream: str,
        receive: Receive,
        *,
        durable: str,
        max_deliver: int = DELIVERIES,
        backoff: Sequence[timedelta] = BACKOFF,
        concurrency: int = 16,
        set_aside: str | None = None,
    ) -> Subscription:
        """Return a durable subscription, to be entered with `async with`; the bus itself need not be open.

        Args:
            stream: its key; made if it is not there. An entry has its body in the field ``data``, headers beside it.
            receive: what they are handed to, as `flows.receive`.
            durable: the consumer group: what was acknowledged is remembered under it, by the server.
            max_deliver: deliveries after which a message is set aside.
            backoff: waits between deliveries; the last is repeated.
            concurrency: how many messages are with the receiver at once.
            set_aside: the stream that keeps what is set aside; ``<stream>:<durable>:set-aside``.
        """
        aside = set_aside or f"{stream}:{durable}:set-aside"
        source = GroupSource(self, self._link, stream=stream, group=durable, aside=aside)
        patience = Patience(max_deliver=max_deliver, backoff=backoff)
        name = f"{self.name}/{durable}"
        return Subscription(source, receive, name=name, concurrency=concurrency, patience=patience)

    async def _connect(self) -> None:
        await self._link.open()

    async def _disconnect(self) -> None:
        await self._link.aclose()

    async def _send(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        """Write all in one round trip, in order."""
        try:
            with translated(self.name):
                answers = await self._link.ask([_packed(message, self._maxlen) for message in messages])
        except LeanflowError as error:
            return [error] * len(messages)
        return [self._outcome(answer) for answer in answers]

    def _outcome(self, answer: Any) -> BaseException | None:
        if not isinstance(answer, BaseException):
            return None
        return translate(self.name, answer) or answer


def _packed(message: Message, maxlen: int | None) -> bytes:
    """Return the command that adds an entry, as it is sent: an array of byte strings, each behind its length."""
    fields = {**message.headers, "id": message.key}
    said = [_bytes(word) for field in fields.items() for word in field]
    limit = [] if maxlen is None else [b"MAXLEN", b"~", b"%d" % maxlen]
    words = [b"XADD", _bytes(message.topic), *limit, b"*", *said, b"data", message.body]
    return b"".join([b"*%d\r\n" % len(words), *[b"$%d\r\n%b\r\n" % (len(word), word) for word in words]])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
