"""Mockbank's shells: a `Transport` within the process, and a server on a port."""

from __future__ import annotations

from ._clocks import HandClock, ScaledClock
from ._server import MockbankServer, serve
from ._transport import MockbankTransport, Receiver, deliver

__all__ = ["HandClock", "MockbankServer", "MockbankTransport", "Receiver", "ScaledClock", "deliver", "serve"]
