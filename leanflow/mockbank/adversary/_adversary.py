"""All that is armed: faults of the API, disturbances of webhooks, the pace of what is PENDING, and a storm.

Rules. What is armed strikes in the order in which it was armed. One fault strikes at each stage of a call; all
disturbances that match a webhook strike it together. A storm arms faults and disturbances of its own for the one call
or webhook at hand; what of them does not strike is gone afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs

from ._disturbances import Disturbance, Subject
from ._effects import STAGES
from ._faults import Context, Fault
from ._progress import Pace
from ._storm import Storm

__all__ = ["Adversary"]

T = TypeVar("T", Fault, Disturbance)


@attrs.define(kw_only=True)
class _Armed:
    """Attributes: `left` and `skip` count down; `gust`: of a storm, for one call or webhook."""

    thing: Fault | Disturbance | Pace
    left: int | None
    skip: int
    gust: bool = False

    def rest(self) -> Fault | Disturbance | Pace:
        """Return it with what is left of its `times` and `skip`."""
        match self.thing:
            case Fault() as fault:
                return attrs.evolve(fault, times=self.left, skip=self.skip)
            case Disturbance() as disturbance:
                return attrs.evolve(disturbance, times=self.left, skip=self.skip)
            case pace:
                return pace


class Adversary:
    """What goes wrong on demand.

    Attributes:
        storm: what goes wrong at random; None: nothing does.
        struck: the effects that struck the call at hand, in order.
    """

    def __init__(self) -> None:
        self.storm: Storm | None = None
        self.struck: list[str] = []
        self._armed: dict[int, _Armed] = {}
        self._last_id = 0
        self._calls = 0
        self._webhooks = 0

    # arming

    def arm(self, thing: Fault | Disturbance | Pace) -> int:
        """Arm something and return the id under which it can be disarmed."""
        return self._add(thing, gust=False)

    def disarm(self, armed_id: int) -> bool:
        """Disarm one thing; False if nothing is armed under that id (any more)."""
        return self._armed.pop(armed_id, None) is not None

    def calm(self) -> None:
        """Disarm everything and end the storm."""
        self._armed.clear()
        self.storm = None

    def armed(self) -> dict[int, Fault | Disturbance | Pace]:
        """Return what is armed, by id, with what is left of its `times` and `skip`."""
        return {number: one.rest() for number, one in self._armed.items()}

    def _add(self, thing: Fault | Disturbance | Pace, *, gust: bool) -> int:
        self._last_id += 1
        left, skip = (None, 0) if isinstance(thing, Pace) else (thing.times, thing.skip)
        self._armed[self._last_id] = _Armed(thing=thing, left=left, skip=skip, gust=gust)
        return self._last_id

    # striking

    def before(self, context: Context) -> Fault | None:
        """Begin a call, and take the fault that strikes before it is looked at."""
        self._calls += 1
        self.struck = []
        self._drop_gusts()
        if self.storm is not None:
            for fault in self.storm.faults(context, self._calls):
                self._add(fault, gust=True)
        return self._fault(STAGES["before"], context)

    def slow(self, context: Context) -> float:
        """Take the fault that makes the call slow; return the seconds that it takes."""
        fault = self._fault(STAGES["slow"], context)
        return fault.details["seconds"] if fault else 0.0

    def deciding(self, context: Context, *effects: str) -> Fault | None:
        """Take the fault that decides what Lean says; of these effects only, if any are named."""
        return self._fault(frozenset(effects) or STAGES["deciding"], context)

    def leaving(self, context: Context) -> Fault | None:
        """Take the fault that strikes the answer on its way out."""
        return self._fault(STAGES["leaving"], context)

    def pace(self, model: str, resource: str, entity_id: str, bank: str) -> Pace | None:
        """Return the pace that was set last for such a thing."""
        for one in reversed(self._armed.values()):
            if isinstance(one.thing, Pace) and one.thing.sets(model, resource, entity_id, bank):
                return one.thing
        return None

    def webhook(self, kind: str, subject: Subject) -> list[Disturbance]:
        """Take everything that strikes one webhook of a type about a subject."""
        self._webhooks += 1
        if self.storm is not None:
            for disturbance in self.storm.disturbances(kind, self._webhooks):
                self._add(disturbance, gust=True)
        return self._take(Disturbance, lambda one: one.strikes(kind, subject, self._webhooks), at_most=None)

    def _fault(self, effects: frozenset[str], context: Context) -> Fault | None:
        if not self._armed:  # nearly always: calls are counted in thousands per second
            return None
        found = self._take(Fault, lambda one: one.effect in effects and one.strikes(context, self._calls), at_most=1)
        if not found:
            return None
        self.struck.append(found[0].effect)
        return found[0]

    def _take(self, sort: type[T], matches: Callable[[T], bool], *, at_most: int | None) -> list[T]:
        taken: list[T] = []
        for number, one in tuple(self._armed.items()):
            thing = one.thing
            if not isinstance(thing, sort) or not matches(thing):
                continue
            if one.skip:
                one.skip -= 1
                continue
            if one.left is not None:
                one.left -= 1
                if one.left == 0:
                    del self._armed[number]
            if one.gust and self.storm is not None:
                self.storm.struck(thing)
            taken.append(thing)
            if len(taken) == at_most:
                break
        return taken

    def _drop_gusts(self) -> None:
        """Disarm what the storm armed for the last call and did not strike; what it arms for a webhook always does."""
        for number in [number for number, one in self._armed.items() if one.gust]:
            del self._armed[number]
