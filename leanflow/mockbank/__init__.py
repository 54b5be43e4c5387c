"""Mockbank: a stateful, offline stand-in for Lean's sandbox, and its adversary.

The core is pure: `Mockbank` does no I/O, reads no clock and rolls no dice. `leanflow_adapters.mockbank` has the
shells: a transport within the process and a server on a port.
"""

from __future__ import annotations

from ._bank import Mockbank
from ._control import COMMANDS, control
from ._disturbances import Disturbance
from ._faults import Context, Fault
from ._log import CallRecord, Log, WebhookRecord
from ._routes import Exchange
from ._settings import Login, Settings, TestUser
from ._state import PERMISSIONS
from ._user import LinkOutcome
from ._webhooks import ATTEMPT_LIMIT, RETRIES, Delivery

__all__ = [
    "ATTEMPT_LIMIT",
    "COMMANDS",
    "PERMISSIONS",
    "RETRIES",
    "CallRecord",
    "Context",
    "Delivery",
    "Disturbance",
    "Exchange",
    "Fault",
    "LinkOutcome",
    "Log",
    "Login",
    "Mockbank",
    "Settings",
    "TestUser",
    "WebhookRecord",
    "control",
]
