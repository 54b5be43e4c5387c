"""The adversary's side of a Mockbank."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from leanflow.mockbank import _refreshes
from leanflow.mockbank.adversary._disturbances import Disturbance
from leanflow.mockbank.adversary._faults import Fault
from leanflow.mockbank.adversary._progress import Pace
from leanflow.mockbank.adversary._storm import Storm

from ._side import Side

__all__ = ["AdversarySide"]


class AdversarySide(Side):
    """What goes wrong on demand."""

    def fault(self, fault: Fault) -> int:
        """Arm a fault of the API; return the id that disarms it.

        Raises:
            InvalidRequest: it is aimed at a bank that there is not.
        """
        self._world.bank(fault.bank)
        return self._world.adversary.arm(fault)

    def disturb(self, disturbance: Disturbance) -> int:
        """Arm a disturbance of webhooks; return the id that disarms it.

        Raises:
            InvalidRequest: it is aimed at a bank that there is not.
        """
        self._world.bank(disturbance.bank)
        return self._world.adversary.arm(disturbance)

    def pace(self, pace: Pace) -> int:
        """Set how something PENDING comes to its end; return the id that disarms it. The pace set last counts.

        Raises:
            InvalidRequest: it is aimed at a bank that there is not.
        """
        self._world.bank(pace.bank)
        return self._world.adversary.arm(pace)

    def armed(self) -> dict[int, Fault | Disturbance | Pace]:
        """Return the armed faults, disturbances and paces by id, with what is left of their `times`."""
        return self._world.adversary.armed()

    def disarm(self, armed_id: int) -> bool:
        """Disarm one fault, disturbance or pace; False if nothing is armed under that id (any more)."""
        return self._world.adversary.disarm(armed_id)

    def storm(
        self, seed: int, weight: float = 1.0, *, only: Iterable[str] | None = None, without: Iterable[str] = ()
    ) -> Storm:
        """Let everything go wrong at random, until `calm`.

        The same seed and the same calls bring the same storm. No correct client's end is made impossible: see `GUSTS`
        for what it does, how often, and the module's theory for what it takes away.

        Args:
            seed: what strikes follows from it.
            weight: multiplies all probabilities; 0: nothing strikes.
            only: the gusts to use, by their names in `GUSTS`; None: all.
            without: gusts not to use.

        Raises:
            InvalidRequest: a negative weight, or a gust that there is not.
        """
        self._world.adversary.storm = Storm(seed, weight, only=only, without=without)
        return self._world.adversary.storm

    @property
    def weather(self) -> Storm | None:
        """The storm that blows, or None."""
        return self._world.adversary.storm

    def calm(self, now: datetime | None = None) -> None:
        """Disarm everything, end the storm and release what is held; what was emitted keeps its disturbances."""
        at, world = self._at(now), self._world
        world.adversary.calm()
        for result in tuple(world.results.values()):
            if result.status == "PENDING" and result.ready_at is None:
                world.ready(result, at)
        for refresh in tuple(world.refreshes.values()):
            if refresh.status == "PENDING" and not refresh.ends_by_itself:
                _refreshes.finish(world, refresh, at)
