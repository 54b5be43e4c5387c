"""Kafka: announcements out, and messages in from a topic. Needs the extra `kafka`."""

from __future__ import annotations

try:
    import aiokafka  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow_adapters.kafka needs the extra: pip install 'leanflow-openbanking[kafka]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow_adapters.kafka.bus import KafkaBus

__all__ = ["KafkaBus"]
