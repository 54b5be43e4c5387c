"""A store in memory, for tests and for trying things out."""

from __future__ import annotations

from leanflow_adapters.memory.store import MemoryStore

__all__ = ["MemoryStore"]
