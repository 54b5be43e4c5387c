"""Announcements through the broker of a FastStream application."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from leanflow._request import State
from leanflow.errors import BusUnavailable, LeanflowError, MessageRefused
from leanflow_adapters._bus import ANSWERING, BrokerBus, Envelope, Message, Options, Topic
from leanflow_adapters.faststream._doors import door_of

__all__ = ["FastStreamBus"]

_REFUSALS = {
    "ValueError",  # what a protocol has no room for, as a routing key of more than 255 bytes
    "TypeError",
    "UnicodeEncodeError",
    "BadSubjectError",  # NATS
    "MaxPayloadError",
    "DeliveryError",  # RabbitMQ
    "ChannelPreconditionFailed",
    "DataError",  # Redis
    "ResponseError",
    "InvalidTopicError",  # Kafka
    "MessageSizeTooLargeError",
    "RecordListTooLargeError",
    "TopicAuthorizationFailedError",
}
"""Names of the clients' errors that are a message's fault; any other is taken as the broker's, which is waited for."""


class FastStreamBus(BrokerBus):
    """Publishes through a broker of FastStream's, which the application starts and stops; it is never closed.

    Args:
        broker: of NATS (JetStream), RabbitMQ, Redis (streams) or Kafka.
        topic: a subject, routing key (or queue), stream or topic; or a function of the `CloudEvent` that returns it.
        stream: of JetStream, which takes the subjects. NATS only, and there it is needed.
        exchange: its name. RabbitMQ only; the default exchange if it is not given.
        only: the states whose entering is announced; None: all, and reports.
        webhooks: webhook types to be announced instead of changes; ``*``: all.
        name: the sink's.
        envelope: ``structured`` or ``binary``.
        source: the CloudEvents attribute.
        timeout: seconds for a batch to be confirmed.
    """

    def __init__(
        self,
        broker: Any,
        *,
        topic: Topic,
        stream: str | None = None,
        exchange: str | None = None,
        only: Collection[State | str] | None = None,
        webhooks: Collection[str] = (),
        name: str = "faststream",
        envelope: Envelope = "structured",
        source: str | None = None,
        timeout: float = ANSWERING,
    ) -> None:
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
        self._door = door_of(broker, name=name, stream=stream, exchange=exchange, timeout=timeout)
        self._checked = False
        self.prefix = self._door.prefix  # type: ignore[misc] # of this broker

    async def _connect(self) -> None:
        """Leave that to the application, which may start its broker after the engine."""

    async def _disconnect(self) -> None:
        """Leave that to the application."""

    async def _send(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        """Publish: in order for what is kept together, at once for the rest; what takes too long is called off."""
        errors: list[BaseException | None] = [
            BusUnavailable(self.name, f"no confirmation within {self._options.timeout:g} s") for _ in messages
        ]
        lanes: dict[str, list[int]] = {}
        for place, message in enumerate(messages):
            lanes.setdefault(message.partition_key, []).append(place)

        async def publish(places: Sequence[int]) -> None:
            for place in places:
                errors[place] = await self._try(messages[place])

        publishing = [asyncio.create_task(publish(places)) for places in lanes.values()]
        try:
            await asyncio.wait(publishing, timeout=self._options.timeout)
        finally:
            for task in publishing:
                task.cancel()
        return list(errors)  # as it is now: a client may not let itself be called off

    async def _try(self, message: Message) -> Exception | None:
        try:
            if not self._checked:
                self._door.check()
                self._checked = True
            await self._door.publish(message)
        except LeanflowError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever the client of that broker raises
            name = type(error).__name__
            return (MessageRefused if name in _REFUSALS else BusUnavailable)(self.name, name)
        return None
