"""A store in one SQLite file, on aiosqlite: the embedded default."""

from __future__ import annotations

from leanflow_adapters.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
