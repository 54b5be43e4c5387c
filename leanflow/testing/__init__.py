"""Testing what is built on leanflow: a clock moved by hand, requests in any state, strategies, conformance suites.

Every name below is imported when it is first asked for: a test that needs a clock does not load hypothesis.
"""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from leanflow.testing._change import ChangeAt
    from leanflow.testing._clock import FakeClock, Traveller, travel
    from leanflow.testing._flows_at import FlowsAt
    from leanflow.testing._matrix import Case, Matrix, assert_matrix, matrix
    from leanflow.testing._on_demand import OnDemandFlow, WatchedFlow
    from leanflow.testing._paths import Path, paths
    from leanflow.testing._play import PathLeft, PathMoment
    from leanflow.testing._replay import Difference, assert_replays, replay
    from leanflow.testing._search import Step
    from leanflow.testing._timeline import timeline
    from leanflow.testing._transitions import Transition, impossible, transitions
    from leanflow.testing._travel import Travel
    from leanflow.testing._webhooks import SignedWebhook, Signer

__all__ = [
    "Case",
    "ChangeAt",
    "Difference",
    "FakeClock",
    "FlowsAt",
    "Matrix",
    "OnDemandFlow",
    "Path",
    "PathLeft",
    "PathMoment",
    "SignedWebhook",
    "Signer",
    "Step",
    "Transition",
    "Travel",
    "Traveller",
    "WatchedFlow",
    "assert_matrix",
    "assert_replays",
    "impossible",
    "matrix",
    "paths",
    "replay",
    "timeline",
    "transitions",
    "travel",
]

_HOMES = {
    "_change": ("ChangeAt",),
    "_clock": ("FakeClock", "Traveller", "travel"),
    "_flows_at": ("FlowsAt",),
    "_matrix": ("Case", "Matrix", "assert_matrix", "matrix"),
    "_on_demand": ("OnDemandFlow", "WatchedFlow"),
    "_paths": ("Path", "paths"),
    "_play": ("PathLeft", "PathMoment"),
    "_replay": ("Difference", "assert_replays", "replay"),
    "_search": ("Step",),
    "_timeline": ("timeline",),
    "_transitions": ("Transition", "impossible", "transitions"),
    "_travel": ("Travel",),
    "_webhooks": ("SignedWebhook", "Signer"),
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
