"""leanflow: event-driven data requests for backends that ask Lean (open banking, UAE and KSA) for bank data.

Each data request is a persisted state machine; API answers, webhooks, the front end and the clock are its events.

Every name below is imported when it is first asked for: whoever signs a webhook does not load the engine, and whoever
decides does not load an event loop.
"""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from leanflow._call import Answer, Call, Reply
    from leanflow._diagram import mermaid
    from leanflow._due import Action, next_action
    from leanflow._effects import Accepted, Change, Declined
    from leanflow._flows import LeanFlow
    from leanflow._handlers import Handlers
    from leanflow._lean.answers import parse_answer
    from leanflow._lean.results import Results
    from leanflow._lean.signature import sign, verify
    from leanflow._lean.webhooks import parse_webhook
    from leanflow._machine import decide
    from leanflow._policy import Policy
    from leanflow._prompts import ConnectPrompt, ReconnectPrompt
    from leanflow._request import DataRequest, Failure, Remedy, Resource, State
    from leanflow.events import Event

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

_HOMES = {
    "_call": ("Answer", "Call", "Reply"),
    "_diagram": ("mermaid",),
    "_due": ("Action", "next_action"),
    "_effects": ("Accepted", "Change", "Declined"),
    "_flows": ("LeanFlow",),
    "_handlers": ("Handlers",),
    "_lean.answers": ("parse_answer",),
    "_lean.results": ("Results",),
    "_lean.signature": ("sign", "verify"),
    "_lean.webhooks": ("parse_webhook",),
    "_machine": ("decide",),
    "_policy": ("Policy",),
    "_prompts": ("ConnectPrompt", "ReconnectPrompt"),
    "_request": ("DataRequest", "Failure", "Remedy", "Resource", "State"),
    "events": ("Event",),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(_importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # the next look finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
