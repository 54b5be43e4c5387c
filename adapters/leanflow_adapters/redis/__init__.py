"""The Redis store, on redis-py: any number of processes on any number of machines. It serves Valkey as well."""

from __future__ import annotations

from leanflow_adapters.redis._durability import ClusteredServer, EvictingServer
from leanflow_adapters.redis.store import RedisStore

__all__ = ["ClusteredServer", "EvictingServer", "RedisStore"]
