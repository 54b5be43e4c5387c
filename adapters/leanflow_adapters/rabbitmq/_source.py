"""Messages from a queue: acknowledged by hand, made to wait in queues beside it, set aside in one more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from leanflow._call import Reply
from leanflow.errors import BrokerSetup, BusUnavailable
from leanflow_adapters._bus import BrokerBus, Delivery, SetAside
from leanflow_adapters.rabbitmq._link import AWAY, Letter, Link, Unroutable, why

__all__ = ["QueueSource"]

TRIES = "x-leanflow-tries"
REASON = "x-leanflow-reason"
_OURS = (TRIES, REASON, "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason")

WAITS = (1, 5, 30, 300, 1800)
"""Seconds: a queue for each, so that a message that waits long is not before one that waits a little.

RabbitMQ looks at a message's expiry only when it is at the head of its queue.
"""

GIVEN_BACK = 1.0
"""Seconds before a message is given back that could not be moved: it comes again at once."""


class QueueSource:
    """What a subscription fetches from.

    Args:
        bus: whose connection it uses.
        link: that connection.
        queue: its name.
        aside: the queue of what is set aside.
        prefetch: how many messages RabbitMQ hands over before the first of them is acknowledged.
    """

    def __init__(self, bus: BrokerBus, link: Link, queue: str, *, aside: str, prefetch: int) -> None:
        self.link = link
        self.queue = queue
        self.aside = aside
        self._bus = bus
        self._prefetch = prefetch
        self._is_held = False
        self._channel: AbstractChannel | None = None
        self._tag = ""
        self._came: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()  # None: no more is wanted
        self._made: set[str] = set()

    async def open(self) -> None:
        """Connect and consume; what an earlier channel had goes back to the queue."""
        if not self._is_held:
            await self._bus.hold()
            self._is_held = True
        await self._close_channel()
        self._came = asyncio.Queue()
        self._made.clear()
        try:
            channel = self._channel = await self.link.fresh_channel()
            await channel.set_qos(prefetch_count=self._prefetch)
            there = await channel.get_queue(self.queue)
            await channel.declare_queue(self.aside, durable=True)
            self._made.add(self.aside)
            self._tag = await there.consume(self._came.put)
        except ChannelNotFoundEntity as error:
            cure = "declare it, durable, and bind it to where the webhooks are published"
            raise BrokerSetup(self._bus.name, f"there is no queue {self.queue!r}", cure) from error
        except AWAY as error:
            raise BusUnavailable(self._bus.name, why(error)) from error

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """Wait for one, and return what came with it, at most so many."""
        found: list[AbstractIncomingMessage | None] = []
        if self._came.empty():
            await self._check()
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    found.append(await self._came.get())
        while len(found) < limit and not self._came.empty():
            found.append(self._came.get_nowait())
        return [_Delivery(self, message) for message in found if message is not None]

    def stop(self) -> None:
        """Let a fetch end: what comes after it goes back to the queue."""
        self._came.put_nowait(None)

    async def _check(self) -> None:
        """Find out whether anything can still come: a lost channel and a deleted queue do not say so by themselves."""
        if self._channel is None or self._channel.is_closed:
            raise BusUnavailable(self._bus.name, "the channel was lost")
        pipe: Any = await self._channel.get_underlay_channel()
        if self._tag not in pipe.consumers:
            raise BusUnavailable(self._bus.name, "RabbitMQ ended the consumer")

    async def set_aside(self, limit: int) -> Sequence[SetAside]:
        """Look at what was set aside; it stays there, in its order."""
        async with self._bus.held():
            try:
                channel = await self.link.fresh_channel()
            except AWAY as error:
                raise BusUnavailable(self._bus.name, type(error).__name__) from error
            found: list[SetAside] = []
            try:
                there = await channel.declare_queue(self.aside, durable=True)
                while len(found) < limit and (message := await there.get(fail=False)) is not None:
                    found.append(_told(self.aside, message))
            finally:
                await channel.close()  # what was not acknowledged goes back to where it was
        return found

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._close_channel()
        if self._is_held:
            self._is_held = False
            await self._bus.let_go()

    async def _close_channel(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and not channel.is_closed:
            with suppress(*AWAY):
                async with asyncio.timeout(self.link.timeout):
                    await channel.close()

    async def post(self, queue: str, message: aio_pika.Message) -> None:
        """Put a message into a queue, confirmed."""
        (error,) = await self.link.send([Letter(exchange="", topic=queue, message=message)])
        if error is not None:
            raise error

    async def waiting(self, delay: float) -> str:
        """Return the queue in which a message waits so long, made if need be."""
        wait = next((wait for wait in WAITS if delay <= wait), WAITS[-1])
        name = f"{self.queue}.again.{wait}s"
        await self._make(name, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.queue})
        return name

    async def kept(self) -> str:
        """Return the queue of what is set aside, made if need be."""
        await self._make(self.aside, {})
        return self.aside

    async def _make(self, queue: str, arguments: Mapping[str, Any]) -> None:
        if queue in self._made:
            return
        channel = await self.link.fresh_channel()
        try:
            await channel.declare_queue(queue, durable=True, arguments=dict(arguments))
        finally:
            await channel.close()
        self._made.add(queue)

    def look_again(self) -> None:
        """Look anew whether the queues are there: one did not take what was put into it."""
        self._made.clear()


class _Delivery:
    def __init__(self, source: QueueSource, message: AbstractIncomingMessage) -> None:
        self._source = source
        self._message = message

    @property
    def headers(self) -> Mapping[str, str]:
        return _headers(self._message)

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def tries(self) -> int:
        """As leanflow counts, and what a quorum queue counts of consumers that died with it."""
        return 1 + _number(self._message, TRIES) + _number(self._message, "x-delivery-count")

    @property
    def reply_to(self) -> str | None:
        return self._message.reply_to

    async def respond(self, reply: Reply) -> None:
        answer = aio_pika.Message(
            reply.body,
            headers={**reply.headers, "leanflow-status": str(reply.status)},
            content_type="application/json",
            correlation_id=self._message.correlation_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        with suppress(Unroutable):  # who asked has gone: nobody waits for the answer
            await self._source.post(self._message.reply_to or "", answer)

    async def ack(self) -> None:
        await self._message.ack()

    async def again(self, delay: float) -> None:
        async with self._moving():
            queue = await self._source.waiting(delay)
            await self._source.post(queue, self._copy({TRIES: self.tries}, expiration=delay))
            await self._message.ack()

    async def set_aside(self, reason: str) -> None:
        async with self._moving():
            copy = self._copy({TRIES: self.tries, REASON: reason})
            await self._source.post(await self._source.kept(), copy)
            await self._message.ack()

    @asynccontextmanager
    async def _moving(self) -> AsyncIterator[None]:
        """Give it back to its queue if that fails: for as long as its channel lives RabbitMQ would wait for a word."""
        try:
            yield
        except Exception:  # not cancelled: whoever cancels closes the channel, which gives it back
            self._source.look_again()
            await asyncio.sleep(GIVEN_BACK)
            with suppress(*AWAY):
                await self._message.nack(requeue=True)
            raise

    def _copy(self, more: Mapping[str, Any], expiration: float | None = None) -> aio_pika.Message:
        message = self._message
        kept = {name: value for name, value in message.headers.items() if name not in _OURS}
        return aio_pika.Message(
            message.body,
            headers={**kept, **more},
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            expiration=expiration,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )


def _headers(message: AbstractIncomingMessage) -> dict[str, str]:
    """Return the headers that are text, as whoever sent the message gave them."""
    found = {}
    for name, value in message.headers.items():
        if isinstance(value, bytes):
            found[name] = value.decode("utf-8", "surrogateescape")
        elif isinstance(value, str) and name not in _OURS:
            found[name] = value
    if message.content_type:
        found.setdefault("content-type", message.content_type)
    return found


def _number(message: AbstractIncomingMessage, name: str) -> int:
    value = message.headers.get(name)
    return value if isinstance(value, int) else 0


def _told(place: str, message: AbstractIncomingMessage) -> SetAside:
    return SetAside(
        place=place,
        reason=str(message.headers.get(REASON, "")),
        tries=_number(message, TRIES),
        headers=_headers(message),
        body=message.body,
    )
