"""The buses to the brokers of `tests.torture.brokers`, by name; imported singly, because children start with them."""

from __future__ import annotations

from leanflow_adapters._bus import BrokerBus

__all__ = ["IN", "OUT", "bus_of"]

OUT, IN = "torture.out", "torture.in"


def bus_of(broker: str, at: str) -> BrokerBus:
    """Return a bus named ``bus`` to a broker of this kind at this URL."""
    match broker:
        case "nats":
            from leanflow_adapters.nats import NatsBus

            return NatsBus(servers=at, stream="out", topic=OUT, name="bus")
        case "redis":
            from leanflow_adapters.redis_streams import RedisStreamsBus

            return RedisStreamsBus(at, topic=OUT, name="bus")
        case "rabbit" | "rabbit-wire":
            from leanflow_adapters.rabbitmq import RabbitBus

            url, _, mine = at.partition("#")
            return RabbitBus(url, exchange="", topic=mine + OUT, name="bus")
        case "kafka":
            from leanflow_adapters.kafka import KafkaBus

            return KafkaBus(at, topic=OUT, name="bus", settings={"retry_backoff_ms": 50})
        case _:
            raise LookupError(broker)
