"""A store that encrypts bank data and webhooks before another store keeps them. Needs the extra ``crypto``."""

from __future__ import annotations

try:
    import cryptography  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow_adapters.crypto needs the extra: pip install 'leanflow-openbanking[crypto]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow_adapters.crypto.store import EncryptedStore

__all__ = ["EncryptedStore"]
