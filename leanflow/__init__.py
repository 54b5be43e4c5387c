"""leanflow: event-driven data requests for backends that ask Lean (open banking, UAE and KSA) for bank data.

Each data request is a persisted state machine; API answers, webhooks, the front end and the clock are its events.
"""

from __future__ import annotations

import typing as _typing

from leanflow._call import Answer, Call, Reply
from leanflow._diagram import mermaid
from leanflow._due import Action, next_action
from leanflow._effects import Accepted, Change, Declined
from leanflow._lean.answers import parse_answer
from leanflow._lean.results import Results
from leanflow._lean.signature import sign, verify
from leanflow._lean.webhooks import parse_webhook
from leanflow._machine import decide
from leanflow._policy import Policy
from leanflow._prompts import ConnectPrompt, ReconnectPrompt
from leanflow._request import DataRequest, Failure, Remedy, Resource, State
from leanflow.events import Event

if _typing.TYPE_CHECKING:
    from leanflow._flows import LeanFlow
    from leanflow._handlers import Handlers

__all__ = [
    "Accepted",
    "Action",
    "Answer",
    "Call",
    "Change",
    "ConnectPrompt",
    "DataRequest",
    "Declined",
    "Event",
    "Failure",
    "Handlers",
    "LeanFlow",
    "Policy",
    "ReconnectPrompt",
    "Remedy",
    "Reply",
    "Resource",
    "Results",
    "State",
    "decide",
    "mermaid",
    "next_action",
    "parse_answer",
    "parse_webhook",
    "sign",
    "verify",
]


def __getattr__(name: str) -> object:
    """Import the engine when it is first asked for: the pure core above needs no event loop and none of its 50 ms."""
    if name == "LeanFlow":
        from leanflow._flows import LeanFlow  # noqa: PLC0415

        return LeanFlow
    if name == "Handlers":
        from leanflow._handlers import Handlers  # noqa: PLC0415

        return Handlers
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
