"""NATS JetStream: announcements out, webhooks and commands in. Extra: ``nats``."""

from __future__ import annotations

try:
    import nats.js  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow_adapters.nats needs the extra: pip install 'leanflow-openbanking[nats]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow_adapters.nats.bus import NatsBus

__all__ = ["NatsBus"]
