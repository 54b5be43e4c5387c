"""Redis (Valkey) Streams: announcements out, webhooks and commands in. Extra: ``redis``."""

from __future__ import annotations

try:
    import redis.asyncio  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow_adapters.redis_streams needs the extra: pip install 'leanflow-openbanking[redis]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow_adapters.redis_streams.bus import RedisStreamsBus

__all__ = ["RedisStreamsBus"]
