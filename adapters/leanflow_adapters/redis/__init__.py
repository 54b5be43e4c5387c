"""The Redis store, on redis-py: any number of processes on any number of machines. It serves Valkey as well."""

from __future__ import annotations

try:
    import redis.asyncio  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow_adapters.redis needs the extra: pip install 'leanflow-openbanking[redis]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow_adapters.redis._durability import ClusteredServer, EvictingServer
from leanflow_adapters.redis.store import RedisStore

__all__ = ["ClusteredServer", "EvictingServer", "RedisStore"]
