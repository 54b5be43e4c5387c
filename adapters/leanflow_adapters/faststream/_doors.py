"""Publishing durably through each of FastStream's brokers: confirmed by the broker, or an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from leanflow.errors import BrokerSetup, InvalidRequest, MessageRefused
from leanflow_adapters._bus import ANSWERING, Message
from leanflow_adapters._kafka_producer import check_producer
from leanflow_adapters.faststream._checks import kind_of

__all__ = ["Door", "door_of"]


class Door(Protocol):
    """Publishes one message."""

    prefix: str
    """Of the CloudEvents attributes among the headers."""

    def check(self) -> None:
        """Refuse a broker that does not say whether it has a message; once it is connected.

        Raises:
            BrokerSetup: how it is to be made.
        """
        ...

    async def publish(self, message: Message) -> None:
        """Return once the broker has it durably."""
        ...


def door_of(
    broker: Any, *, name: str, stream: str | None = None, exchange: str | None = None, timeout: float = ANSWERING
) -> Door:
    """Return the way out through a broker, which is to confirm a message within so many seconds.

    Raises:
        InvalidRequest: it is of no kind known here, or would lose what is published.
    """
    kind = kind_of(broker)
    if kind == "nats":
        if not stream:
            raise InvalidRequest("stream", 'core NATS drops what nobody listens for: name the stream, stream="…"')
        return _NatsDoor(broker, name, timeout, stream)
    if stream is not None:
        raise InvalidRequest("stream", f"is for NATS; a {kind} broker takes `topic`")
    if kind == "rabbit":
        return _RabbitDoor(broker, name, timeout, exchange or "")
    if exchange is not None:
        raise InvalidRequest("exchange", f"is for RabbitMQ; a {kind} broker takes `topic`")
    if (make := _DOORS.get(kind)) is None:
        raise InvalidRequest("broker", f"{type(broker).__name__} is none of nats, rabbit, {', '.join(_DOORS)}")
    return make(broker, name, timeout)


class _Through:
    prefix = "ce-"

    def __init__(self, broker: Any, name: str, timeout: float) -> None:
        self._broker = broker
        self._name = name
        self._timeout = timeout

    def check(self) -> None:
        """Nothing is to be checked."""


class _NatsDoor(_Through):
    def __init__(self, broker: Any, name: str, timeout: float, stream: str) -> None:
        super().__init__(broker, name, timeout)
        self._stream = stream

    async def publish(self, message: Message) -> None:
        headers = {**message.headers, "Nats-Msg-Id": message.key}
        await self._broker.publish(
            message.body, message.topic, headers=headers, stream=self._stream, timeout=self._timeout
        )


class _RabbitDoor(_Through):
    prefix = "cloudEvents:"

    def __init__(self, broker: Any, name: str, timeout: float, exchange: str) -> None:
        super().__init__(broker, name, timeout)
        self._exchange = exchange

    async def publish(self, message: Message) -> None:
        from faststream.rabbit import RabbitExchange  # noqa: PLC0415 - only where RabbitMQ is

        headers = dict(message.headers)
        content_type = headers.pop("content-type", None)
        exchange = RabbitExchange(self._exchange, declare=False) if self._exchange else None
        answer = await self._broker.publish(
            message.body,
            routing_key=message.topic,
            exchange=exchange,
            headers=headers,
            content_type=content_type,
            message_id=message.key,
            mandatory=True,
            persist=True,
            timeout=self._timeout,
        )
        if answer is None:
            cure = "make it with default_channel=Channel(publisher_confirms=True)"
            raise BrokerSetup(self._name, "the broker's channel does not confirm", cure)
        if type(answer).__name__ != "Ack":
            where = f"exchange {self._exchange!r}" if self._exchange else "the default exchange"
            raise MessageRefused(self._name, f"{where} has no queue for routing key {message.topic!r}")


class _RedisDoor(_Through):
    async def publish(self, message: Message) -> None:
        async with asyncio.timeout(self._timeout):
            await self._broker.publish(message.body, stream=message.topic, headers=_with_id(message))


class _KafkaDoor(_Through):
    prefix = "ce_"

    def check(self) -> None:
        """Look at the producer, which FastStream keeps to itself, as it does its settings."""
        held = getattr(getattr(self._broker.config, "producer", None), "_producer", None)
        try:
            check_producer(getattr(held, "producer", None))
        except InvalidRequest as error:
            cure = 'make it KafkaBroker(…, acks="all", enable_idempotence=True)'
            raise BrokerSetup(self._name, f"the broker's producer: {error.problem}", cure) from error

    async def publish(self, message: Message) -> None:
        async with asyncio.timeout(self._timeout):
            await self._broker.publish(
                message.body,
                message.topic,
                key=message.partition_key.encode("utf-8", "surrogatepass"),
                headers=_with_id(message),
            )


class _ConfluentDoor(_KafkaDoor):
    def check(self) -> None:
        """Look at what librdkafka was told."""
        producer = getattr(getattr(self._broker.config, "producer", None), "_producer", None)
        settings: Any = getattr(getattr(producer, "producer", None), "config", None) or {}
        if settings.get("acks") not in {"all", -1, "-1"} or not settings.get("enable.idempotence"):
            cure = 'make it KafkaBroker(…, acks="all", enable_idempotence=True)'
            raise BrokerSetup(self._name, "the broker's producer is not idempotent, acknowledged by all", cure)


def _with_id(message: Message) -> dict[str, str]:
    return {**message.headers, "message-id": message.key}


_DOORS: Mapping[str, Callable[[Any, str, float], Door]] = MappingProxyType(
    {"redis": _RedisDoor, "kafka": _KafkaDoor, "confluent": _ConfluentDoor}
)
