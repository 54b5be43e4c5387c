"""Seeing every decision of the engines in this process: one spectator, and whoever it tells."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leanflow import DataRequest, Event, Policy
    from leanflow._effects import Decision

    Tell = Callable[[DataRequest, Event, Decision, Policy], None]

__all__ = ["begin", "end", "is_loaded"]


def is_loaded() -> bool:
    """Return whether there can be an engine to watch."""
    return "leanflow._steps" in sys.modules


def begin(tell: Tell) -> None:
    """Tell of every decision from now on."""
    _spectator().told.append(tell)


def end(tell: Tell) -> None:
    """Tell no more."""
    spectator = _spectator()
    spectator.told.remove(tell)
    if not spectator.told:
        from leanflow._steps import Steps

        Steps.spectator = None


class _Spectator:
    def __init__(self) -> None:
        self.told: list[Tell] = []

    def __call__(self, request: DataRequest, event: Event, decision: Decision, policy: Policy) -> None:
        for tell in self.told:
            tell(request, event, decision, policy)


def _spectator() -> _Spectator:
    """Return the one that watches; it begins now if there is none."""
    from leanflow._steps import Steps

    if not isinstance(Steps.spectator, _Spectator):
        Steps.spectator = _Spectator()
    return Steps.spectator
