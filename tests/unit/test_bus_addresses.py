"""Where a broker is: an address of the wrong kind is refused, and not waited for like a broker that is away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leanflow.errors import InvalidRequest
from leanflow_adapters.kafka import KafkaBus
from leanflow_adapters.rabbitmq import RabbitBus
from leanflow_adapters.redis_streams import RedisStreamsBus


@pytest.mark.parametrize(
    ("bus", "address", "said"),
    [
        (RedisStreamsBus, "127.0.0.1:6379", "url: must be like redis://"),
        (RedisStreamsBus, "http://:s3cret@127.0.0.1", "url: must be like redis://"),
        (RedisStreamsBus, "redis://:s3cret@127.0.0.1:port/0", "url: must be like redis://"),
        (RabbitBus, "127.0.0.1:5672", "url: must be like amqp://"),
        (RabbitBus, "http://guest:s3cret@127.0.0.1/", "url: must be like amqp://"),
        (KafkaBus, "kafka://127.0.0.1:9092", "servers: must be like host:9092"),
        (KafkaBus, ["127.0.0.1:9092", "SASL://x:s3cret@127.0.0.1:9093"], "servers: must be like host:9092"),
    ],
)
def test_what_is_no_address_of_the_broker_is_refused(bus: Callable[[object], object], address: str, said: str) -> None:
    """When the bus is made, and without a word of the password."""
    with pytest.raises(InvalidRequest, match=said) as caught:
        bus(address)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("bus", "address"),
    [
        (RedisStreamsBus, "redis://127.0.0.1"),
        (RedisStreamsBus, "rediss://user:word@host:6380/2?protocol=3"),
        (RedisStreamsBus, "unix:///run/redis.sock"),
        (RedisStreamsBus, "valkey://127.0.0.1:6379/0"),
        (RedisStreamsBus, "valkeys://127.0.0.1:6379/0"),
        (RabbitBus, "amqp://guest:guest@127.0.0.1/"),
        (RabbitBus, "amqps://host/vhost?heartbeat=10"),
        (KafkaBus, "127.0.0.1:9092"),
        (KafkaBus, ["one:9092", "two:9092"]),
    ],
)
def test_an_address_of_the_broker_is_taken(bus: Callable[[object], object], address: object) -> None:
    """Cold: nobody is asked."""
    assert "closed" in repr(bus(address))
