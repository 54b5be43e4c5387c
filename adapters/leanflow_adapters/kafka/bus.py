"""Announcements to Kafka, acknowledged by all replicas; and messages from a topic of Kafka."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from aiokafka import AIOKafkaProducer

from leanflow._request import State
from leanflow.errors import BusUnavailable, InvalidRequest
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
from leanflow_adapters.kafka._link import AWAY, Letter, Link
from leanflow_adapters.kafka._source import Consuming, TopicSource, for_consumers

__all__ = ["KafkaBus"]


class KafkaBus(BrokerBus):
    """Publishes to a topic: idempotent, acknowledged by all replicas, keyed by entity.

    What concerns one entity goes to one partition and keeps its order. A record that the brokers refuse is an error of
    its row alone.

    Args:
        servers: ``host:port`` of some brokers, in a list or separated by commas.
        producer: instead of servers, one of the application's: started, idempotent, without serializers and
            transactions, or it is refused; it is never closed. What it has not delivered when the time is over it goes
            on with by itself, and a repeat then waits for that instead of sending again.
        topic: the topic, or a function of the `CloudEvent` that returns it.
        only: the states whose entering is announced; None: all, and reports.
        webhooks: webhook types to be announced instead of changes; ``*``: all.
        name: the sink's.
        envelope: ``structured`` or ``binary``.
        source: the CloudEvents attribute.
        timeout: seconds for connecting, and for a batch to be acknowledged.
        settings: more for aiokafka's clients: ``security_protocol``, ``ssl_context``, ``sasl_mechanism``, ….
    """

    prefix: ClassVar[str] = "ce_"

    def __init__(
        self,
        servers: Sequence[str] | str | None = None,
        *,
        producer: AIOKafkaProducer | None = None,
        topic: Topic = "leanflow",
        only: Collection[State | str] | None = None,
        webhooks: Collection[str] = (),
        name: str = "kafka",
        envelope: Envelope = "structured",
        source: str | None = None,
        timeout: float = ANSWERING,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if (servers is None) == (producer is None):
            raise InvalidRequest("servers", "give either servers of Kafka or a producer")
        if any("://" in each for each in ([servers] if isinstance(servers, str) else servers or ())):
            raise InvalidRequest("servers", "must be like host:9092, and no URLs: security goes into settings=")
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
        self._link = Link(name, servers, producer, timeout, settings or {})
        self._servers = servers
        self._timeout = timeout
        self._settings = settings or {}

    def subscribe(
        self,
        topic: str,
        receive: Receive,
        *,
        durable: str,
        max_deliver: int = DELIVERIES,
        backoff: Sequence[timedelta] = BACKOFF,
        concurrency: int = 16,
        set_aside: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Subscription:
        """Return a durable subscription, to be entered with `async with`; the bus itself need not be open.

        Messages come in the order of each partition, and an offset is committed after what its message, and all before
        it, caused. A message that is to come again is waited for by those of its key; the others go on.

        Args:
            topic: its name.
            receive: what messages are handed to, as `flows.receive`.
            durable: the consumer group. A new one begins with the oldest message that Kafka still has.
            max_deliver: deliveries after which a message is set aside; a restart begins to count anew.
            backoff: waits between deliveries; the last is repeated.
            concurrency: how many messages are with the receiver at once: one of each partition.
            set_aside: the topic that keeps what is set aside; ``<topic>.set-aside``.
            settings: more for aiokafka's consumer: ``session_timeout_ms``, ``group_instance_id``, ….
        """
        if self._servers is None:
            raise InvalidRequest("servers", "a consumer is made of servers: subscribe with a KafkaBus that has them")
        consuming = Consuming(
            name=self.name,
            servers=self._servers,
            topic=topic,
            group=durable,
            aside=set_aside or f"{topic}.set-aside",
            timeout=self._timeout,
            settings={**for_consumers(self._settings), **(settings or {})},
        )
        return Subscription(
            TopicSource(self, self._link, consuming),
            receive,
            name=f"{self.name}/{durable}",
            concurrency=concurrency,
            patience=Patience(max_deliver=max_deliver, backoff=backoff),
        )

    async def _connect(self) -> None:
        try:
            await self._link.producer()
        except AWAY as error:
            await self._link.aclose()
            raise BusUnavailable(self.name, type(error).__name__) from error

    async def _disconnect(self) -> None:
        await self._link.aclose()

    async def _send(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        return await self._link.send([_letter(message) for message in messages])


def _letter(message: Message) -> Letter:
    return Letter(
        id=message.key,
        topic=message.topic,
        key=message.partition_key.encode("utf-8", "surrogatepass"),
        value=message.body,
        headers=[(name, value.encode("utf-8", "surrogatepass")) for name, value in message.headers.items()],
    )
