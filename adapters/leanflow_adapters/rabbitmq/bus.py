"""Announcements to RabbitMQ, confirmed; and messages from a queue of RabbitMQ."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import ClassVar

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from leanflow._request import State
from leanflow.errors import BrokerSetup, BusUnavailable, InvalidRequest, LeanflowError, MessageRefused
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
    topic_of,
)
from leanflow_adapters.rabbitmq._link import AWAY, Letter, Link, why
from leanflow_adapters.rabbitmq._source import QueueSource

__all__ = ["RabbitBus"]

_LARGE = 16 * 1024 * 1024  # bytes: RabbitMQ's own limit since 4.0, at which it closes the channel


class RabbitBus(BrokerBus):
    """Publishes to an exchange: persistent, mandatory, each message confirmed before it counts as published.

    A message that no queue takes is an error of its row, and not lost silently. A channel or a connection that is lost
    is made anew by the next batch.

    Args:
        url: ``amqp://`` or ``amqps://``.
        connection: instead of a URL, one of the application's (`aio_pika.connect_robust`); it is never closed.
        exchange: its name; empty: the default exchange, whose routing keys are names of queues.
        topic: the routing key, or a function of the `CloudEvent`; ``leanflow.flow.<state>`` and the like.
        only: the states whose entering is announced; None: all, and reports.
        webhooks: webhook types to be announced instead of changes; ``*``: all.
        name: the sink's.
        envelope: ``structured`` or ``binary``.
        source: the CloudEvents attribute.
        create: make the exchange (of type topic, durable) if there is none.
        timeout: seconds for connecting, and for a batch to be confirmed.
        max_bytes: a message of more is refused without being sent.
    """

    prefix: ClassVar[str] = "cloudEvents:"

    def __init__(
        self,
        url: str | None = None,
        *,
        connection: AbstractConnection | None = None,
        exchange: str = "leanflow",
        topic: Topic = topic_of,
        only: Collection[State | str] | None = None,
        webhooks: Collection[str] = (),
        name: str = "rabbitmq",
        envelope: Envelope = "structured",
        source: str | None = None,
        create: bool = False,
        timeout: float = ANSWERING,
        max_bytes: int = _LARGE,
    ) -> None:
        if (url is None) == (connection is None):
            raise InvalidRequest("url", "give either the URL of RabbitMQ or a connection")
        if url is not None and not url.startswith(("amqp://", "amqps://")):
            raise InvalidRequest("url", "must be like amqp://user:password@host:5672/vhost, or amqps://")
        options = Options(
            name=name,
            topic=topic,
            only=only,
            webhooks=webhooks,
            envelope=envelope,
            source=source,
            timeout=timeout,
        )
        super().__init__(options)
        self._link = Link(name, url, connection, timeout)
        self._exchange = exchange
        self._create = create
        self._max_bytes = max_bytes

    def subscribe(
        self,
        queue: str,
        receive: Receive,
        *,
        durable: str | None = None,
        max_deliver: int = DELIVERIES,
        backoff: Sequence[timedelta] = BACKOFF,
        concurrency: int = 16,
        set_aside: str | None = None,
    ) -> Subscription:
        """Return a subscription to a queue, to be entered with `async with`; the bus itself need not be open.

        The queue is there already, durable, and bound as its owner wants it. Beside it leanflow makes one for what is
        set aside, and ``<queue>.again.<seconds>s`` for messages that wait to come again.

        Args:
            queue: its name.
            receive: what messages are handed to, as `flows.receive`.
            durable: who subscribes, for the log: RabbitMQ's queues are durable by themselves.
            max_deliver: deliveries after which a message is set aside.
            backoff: waits between deliveries; the last is repeated.
            concurrency: how many messages are with the receiver at once.
            set_aside: the queue that keeps what is set aside; ``<queue>.set-aside``.
        """
        return Subscription(
            QueueSource(self, self._link, queue, aside=set_aside or f"{queue}.set-aside", prefetch=concurrency),
            receive,
            name=f"{self.name}/{durable or queue}",
            concurrency=concurrency,
            patience=Patience(max_deliver=max_deliver, backoff=backoff),
        )

    async def _connect(self) -> None:
        try:
            _ = await self._link.channel()
        except AWAY as error:
            await self._link.aclose()
            raise BusUnavailable(self.name, why(error)) from error
        except BaseException:  # cancelled, with half a connection
            await self._link.aclose()
            raise

    async def _disconnect(self) -> None:
        await self._link.aclose()

    async def _prepare(self) -> None:
        if not self._exchange:
            return
        channel = await self._link.fresh_channel()  # a question that is answered by no closes its channel
        try:
            if self._create:
                await channel.declare_exchange(self._exchange, aio_pika.ExchangeType.TOPIC, durable=True)
            else:
                await channel.get_exchange(self._exchange)
        except ChannelNotFoundEntity as error:
            cure = "declare it, or let RabbitBus do so with create=True"
            raise BrokerSetup(self.name, f"there is no exchange {self._exchange!r}", cure) from error
        except ChannelPreconditionFailed as error:
            cure = "leave create=True out, and it is used as it is"
            raise BrokerSetup(self.name, f"exchange {self._exchange!r} is there, of another type", cure) from error
        except AWAY as error:
            raise BusUnavailable(self.name, type(error).__name__) from error
        finally:
            await channel.close()

    async def _send(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        errors: list[LeanflowError | None] = [
            MessageRefused(self.name, f"{len(message.body)} bytes are more than max_bytes={self._max_bytes}")
            if len(message.body) > self._max_bytes
            else None
            for message in messages
        ]
        places = [place for place, error in enumerate(errors) if error is None]
        answers = await self._link.send([self._letter(messages[place]) for place in places])
        for place, answer in zip(places, answers, strict=True):
            errors[place] = answer
        return errors

    def _letter(self, message: Message) -> Letter:
        said = dict(message.headers)
        return Letter(
            exchange=self._exchange,
            topic=message.topic,
            message=aio_pika.Message(
                message.body,
                message_id=message.key,
                content_type=said.pop("content-type"),
                headers=dict(said),
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            ),
        )
