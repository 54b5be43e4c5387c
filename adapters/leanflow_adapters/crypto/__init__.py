"""A store that encrypts bank data and webhooks before another store keeps them. Needs the extra ``crypto``."""

from __future__ import annotations

from leanflow_adapters.crypto.store import EncryptedStore

__all__ = ["EncryptedStore"]
