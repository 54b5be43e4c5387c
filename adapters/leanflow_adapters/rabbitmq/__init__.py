"""RabbitMQ: announcements out, confirmed, and messages in from a queue. Needs the extra `rabbitmq`."""

from __future__ import annotations

try:
    import aio_pika  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow_adapters.rabbitmq needs the extra: pip install 'leanflow-openbanking[rabbitmq]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow_adapters.rabbitmq._link import Unroutable
from leanflow_adapters.rabbitmq.bus import RabbitBus

__all__ = ["RabbitBus", "Unroutable"]
