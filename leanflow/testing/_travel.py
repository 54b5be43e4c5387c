"""Travelling on the fixtures' clock."""

from __future__ import annotations

from datetime import timedelta

from leanflow._flows import LeanFlow
from leanflow.testing._clock import FakeClock, Traveller, travel
from leanflow.testing._on_demand import WatchedFlow

__all__ = ["Travel"]


class Travel:
    """Passes time as production would, stopping at each due moment of an engine and of its simulated Lean."""

    def __init__(self, flows: LeanFlow, clock: FakeClock, lean: Traveller) -> None:
        self._flows = flows
        self._clock = clock
        # A WatchedFlow does by itself what is due at its Lean.
        self._also: Traveller = _Stops(lean) if isinstance(flows, WatchedFlow) else lean

    async def __call__(self, delta: timedelta | None = None, /, **span: float) -> int:
        """Pass so much time; return how many things were done.

        Args:
            delta: how much.
            span: the same in words, as ``days=3`` (what `timedelta` takes); added to `delta`.

        Raises:
            Livelock: something does not come to rest at one moment.
        """
        return await travel(self._flows, self._clock, (delta or timedelta()) + timedelta(**span), also=[self._also])


class _Stops:
    """The due moments of the simulated Lean, and nothing of what it does."""

    def __init__(self, lean: Traveller) -> None:
        self.next_due = lean.next_due

    async def tick(self) -> int:
        """Do nothing."""
        return 0
