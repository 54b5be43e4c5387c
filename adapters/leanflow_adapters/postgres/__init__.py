"""The Postgres store, on asyncpg (extra ``postgres``)."""

from __future__ import annotations

from leanflow_adapters.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
