"""Making a failing run shorter: the fewest steps that still break a rule."""

from __future__ import annotations

from collections.abc import Callable

from leanflow.testing.simulation._run import Run, SimulationFailed

__all__ = ["shortest"]

_TRIES = 16
"""Runs at most: enough to halve 250 steps down to one, and to look a little further."""


def shortest(failed: SimulationFailed, play: Callable[[int], Run]) -> SimulationFailed:
    """Return the failure with the fewest steps that can be found by halving.

    A run with fewer steps begins as the longer one did and stops its faults sooner, so what went wrong early goes wrong
    in it too, with less around it.

    Args:
        failed: as it was found.
        play: plays the same run with so many steps, on an empty store.
    """
    best, passes = failed, -1
    for _ in range(_TRIES):
        if best.run.steps - passes <= 1:
            break
        middle = (passes + best.run.steps) // 2
        try:
            play(middle)
        except SimulationFailed as shorter:
            best = shorter
        else:
            passes = middle
    return best
