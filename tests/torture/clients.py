"""The buses to the brokers of `tests.torture.brokers`, by name; imported singly, because children start with them."""

from __future__ import annotations

from leanflow_adapters._bus import BrokerBus, Topic

__all__ = ["IN", "NOWHERE", "OUT", "bus_of"]

OUT, IN = "torture.out", "torture.in"
NOWHERE = "torture.nowhere"
"""What a broker takes no announcement for until it is mended."""


def bus_of(broker: str, at: str, topic: Topic = OUT) -> BrokerBus:
    """Return a bus named ``bus`` to a broker of this kind at this URL; `topic` says which announcement goes where."""
    match broker:
        case "nats":
            from leanflow_adapters.nats import NatsBus

            return NatsBus(servers=at, stream="out", topic=topic, name="bus")
        case "redis":
            from leanflow_adapters.redis_streams import RedisStreamsBus

            return RedisStreamsBus(at, topic=topic, name="bus")
        case "rabbit" | "rabbit-wire":
            from leanflow_adapters.rabbitmq import RabbitBus

            url, _, mine = at.partition("#")
            routed = mine + topic if isinstance(topic, str) else lambda event: mine + topic(event)
            return RabbitBus(url, exchange="", topic=routed, name="bus")
        case "kafka":
            from leanflow_adapters.kafka import KafkaBus

            return KafkaBus(at, topic=topic, name="bus", settings={"retry_backoff_ms": 50})
        case _:
            raise LookupError(broker)
