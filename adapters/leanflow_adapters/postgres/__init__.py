"""The Postgres store, on asyncpg (extra ``postgres``)."""

from __future__ import annotations

try:
    import asyncpg  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow_adapters.postgres needs the extra: pip install 'leanflow-openbanking[postgres]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow_adapters.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
