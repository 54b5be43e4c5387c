"""Processes of a test's own, and waiting for what they do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

__all__ = ["PATIENCE", "listens", "until"]

PATIENCE = 60.0
"""Seconds that a process may take to start, to say something or to end, on a machine that is busy with others."""

_LOOK = 0.02  # seconds from look to look: who looks all the time keeps a core from the one that he waits for


def until(happened: Callable[[], bool], why: Callable[[], str] = lambda: "it did not come to pass") -> None:
    """Wait until something has happened; `why` tells what was there instead."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, why()
        time.sleep(_LOOK)


def listens(port: int) -> bool:
    """Return whether somebody takes connections on a port of loopback."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
