"""Mockbank: a stateful, offline stand-in for Lean's sandbox, and its adversary.

The core is pure: `Mockbank` does no I/O, reads no clock and rolls no dice. `leanflow_adapters.mockbank` has the
shells: a transport within the process and a server on a port.
"""

from __future__ import annotations

from ._bank import Mockbank
from ._control import COMMANDS, Command, control
from ._link_session import LinkView
from ._log import CallRecord, Log, WebhookRecord
from ._scenario import TIMED, Scenario, Timed
from ._settings import Login, Settings, TestUser
from ._state import PERMISSIONS
from ._webhooks import ATTEMPT_LIMIT, RETRIES, Delivery
from .adversary._disturbances import Disturbance, Subject
from .adversary._effects import EFFECTS, KINDS, Effect
from .adversary._faults import Context, Fault
from .adversary._progress import MODELS, Pace, Progress
from .adversary._storm import GUSTS, Gust, Storm
from .api._exchange import Exchange
from .link._user import LinkOutcome

__all__ = [
    "ATTEMPT_LIMIT",
    "COMMANDS",
    "EFFECTS",
    "GUSTS",
    "KINDS",
    "MODELS",
    "PERMISSIONS",
    "RETRIES",
    "TIMED",
    "CallRecord",
    "Command",
    "Context",
    "Delivery",
    "Disturbance",
    "Effect",
    "Exchange",
    "Fault",
    "Gust",
    "LinkOutcome",
    "LinkView",
    "Log",
    "Login",
    "Mockbank",
    "Pace",
    "Progress",
    "Scenario",
    "Settings",
    "Storm",
    "Subject",
    "TestUser",
    "Timed",
    "WebhookRecord",
    "control",
]
