"""The connection to RabbitMQ and one channel of it that confirms: made when needed, made anew when it was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import aio_pika
import attrs
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    ChannelClosed,
    DeliveryError,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
    PublishError,
)

from leanflow.errors import BusUnavailable, LeanflowError, MessageRefused

__all__ = ["AWAY", "Letter", "Link", "Unroutable", "why"]

AWAY = (AMQPError, ConnectionError, OSError, TimeoutError, RuntimeError)
"""What aio-pika raises when the broker, the connection or the channel is gone (RuntimeError: "Connection closed")."""


class Unroutable(MessageRefused):
    """No queue is bound to the exchange for this routing key: the broker would have dropped the message."""

    def __init__(self, bus: str, exchange: str, topic: str) -> None:
        where = f"exchange {exchange!r}" if exchange else "the default exchange"
        super().__init__(bus, f"{where} has no queue for routing key {topic!r}: bind one, or mend `topic`")


@attrs.frozen(kw_only=True)
class Letter:
    """One message to publish.

    Attributes:
        exchange: its name; empty: the default one, whose routing keys are names of queues.
        topic: the routing key.
        message: body and properties.
    """

    exchange: str
    topic: str
    message: aio_pika.Message = attrs.field(repr=False)


class Link:
    """A connection, its own or handed, and its confirming channel.

    Args:
        bus: the bus's name, for errors.
        url: where to connect to; not for a handed connection.
        connection: of the application's; never closed.
        timeout: seconds for connecting, and for a batch to be confirmed.
    """

    def __init__(self, bus: str, url: str | None, connection: AbstractConnection | None, timeout: float) -> None:
        self.bus = bus
        self.timeout = timeout
        self._url = url
        self._handed = connection
        self._own: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._lock: asyncio.Lock | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def channel(self) -> AbstractChannel:
        """Return the channel that the publisher uses, open."""
        if self._channel is None or self._channel.is_closed:
            async with self._gate():
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._fresh()
        return self._channel

    async def fresh_channel(self) -> AbstractChannel:
        """Return a channel of the caller's own; it confirms and returns what cannot be routed, too."""
        async with self._gate():
            return await self._fresh()

    def _gate(self) -> asyncio.Lock:
        if self._lock is None:
            self._lock = asyncio.Lock()  # of the loop that opens it
        return self._lock

    async def _fresh(self) -> AbstractChannel:
        async with asyncio.timeout(self.timeout):
            try:
                return await self._open_channel()
            except AWAY:
                if self._own is None:
                    raise
                await self.drop()  # a connection does not always know that it was lost
                return await self._open_channel()

    async def _open_channel(self) -> AbstractChannel:
        connection = self._handed or self._own
        if connection is None or (connection is self._own and connection.is_closed):
            connection = self._own = await self._connect()
        return await connection.channel(publisher_confirms=True, on_return_raises=True)

    async def _connect(self) -> AbstractConnection:
        """Return a new connection.

        When aio-pika is cancelled while it connects, it may leave a connection behind that nobody can close. So it goes
        on to its end, and what comes of it is closed then.
        """
        connecting = asyncio.create_task(aio_pika.connect(self._url, timeout=self.timeout))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            closing = asyncio.create_task(_close_once_made(connecting))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            raise

    async def send(self, letters: Sequence[Letter]) -> list[LeanflowError | None]:
        """Publish in order, persistently; return for each letter None once it is confirmed, or what went wrong.

        A letter at which the broker closes the channel (one too large) takes those beside it along: then each of them
        is sent once more, alone.
        """
        if not letters:
            return []
        errors = await self._send(letters)
        if len(letters) > 1:
            for place, error in enumerate(errors):
                if isinstance(error, ChannelClosed):
                    (errors[place],) = await self._send([letters[place]])
        return [self._told(error, letter) for error, letter in zip(errors, letters, strict=True)]

    async def _send(self, letters: Sequence[Letter]) -> list[BaseException | None]:
        try:
            channel = await self.channel()
            pipe = await channel.get_underlay_channel()
        except AWAY as error:
            await self.drop()
            return [error] * len(letters)
        # Tasks start in the order they were made, and the channel writes in the order in which they come to it.
        tasks = [asyncio.create_task(_publish(pipe, letter)) for letter in letters]
        try:
            _, late = await asyncio.wait(tasks, timeout=self.timeout)
        finally:
            for task in tasks:
                task.cancel()
        if late:  # a broker that is silent may still take what it has got: nothing more of it is to go out
            await self.drop()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        if any(isinstance(error, ConnectionError) for error in errors):
            await self.drop()
        return errors

    def _told(self, error: BaseException | None, letter: Letter) -> LeanflowError | None:
        match error:
            case None:
                return None
            case PublishError():
                return Unroutable(self.bus, letter.exchange, letter.topic)
            case ChannelClosed() | DeliveryError():
                return MessageRefused(self.bus, str(error.args[-1] if error.args else type(error).__name__))
            case ValueError() | TypeError():  # what AMQP cannot say
                return MessageRefused(self.bus, "routing key or message id of more than 255 bytes, or no text")
            case asyncio.CancelledError():
                return BusUnavailable(self.bus, "it did not confirm in time")
            case _:
                return BusUnavailable(self.bus, type(error).__name__)

    async def drop(self) -> None:
        """Let go of what does not answer; the next use begins anew."""
        channel, self._channel = self._channel, None
        own, self._own = self._own, None
        for thing in (channel, own):
            if thing is not None and not thing.is_closed:
                with suppress(*AWAY):
                    async with asyncio.timeout(1.0):  # closing asks the broker, which may be silent
                        await thing.close()

    async def aclose(self) -> None:
        """Close the channel, and the connection unless it was handed."""
        await self.drop()
        self._lock = None


def why(error: BaseException) -> str:
    """Return why there is no connection, in words where its name alone leads nowhere."""
    hint = ""
    match error:
        case ProbableAuthenticationError():
            hint = ": it refuses this user, or the password"
        case ProtocolSyntaxError():  # its word for a goodbye where a welcome was due
            hint = ": it hung up; perhaps there is no such vhost, or not for this user"
    return f"{type(error).__name__}{hint}"


async def _close_once_made(connecting: asyncio.Task[AbstractConnection]) -> None:
    with suppress(*AWAY):
        await (await connecting).close()


async def _publish(pipe: Any, letter: Letter) -> None:
    await pipe.basic_publish(
        letter.message.body,
        exchange=letter.exchange,
        routing_key=letter.topic,
        properties=letter.message.properties,
        mandatory=True,
        wait=False,  # for the socket: the confirmation tells
    )
