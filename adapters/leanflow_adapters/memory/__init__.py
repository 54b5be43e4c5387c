"""A store and a bus in memory, for tests and for trying things out."""

from __future__ import annotations

from leanflow_adapters.memory.bus import MemoryBus
from leanflow_adapters.memory.store import MemoryStore

__all__ = ["MemoryBus", "MemoryStore"]
