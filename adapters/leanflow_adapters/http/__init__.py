"""The transport: sends calls to Lean over HTTP, with aiohttp."""

from __future__ import annotations

from leanflow_adapters.http._transport import LeanTransport

__all__ = ["LeanTransport"]
