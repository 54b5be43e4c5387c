"""Mockbank's shells: a `Transport` within the process, and a server on a port."""

from __future__ import annotations

from ._beside import lean_or_mockbank
from ._clocks import HandClock, ScaledClock
from ._scenarios import load_scenario
from ._server import MockbankServer, serve
from ._transport import MockbankTransport, Receiver, deliver

__all__ = [
    "HandClock",
    "MockbankServer",
    "MockbankTransport",
    "Receiver",
    "ScaledClock",
    "deliver",
    "lean_or_mockbank",
    "load_scenario",
    "serve",
]
