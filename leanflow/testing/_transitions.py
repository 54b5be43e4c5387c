"""The table's transitions one by one: a row, seen from one of the states that it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from leanflow._machine import DEFAULT_POLICY, row_taken
from leanflow._new_request import resource_of
from leanflow._policy import Policy
from leanflow._request import DataRequest, Resource, State
from leanflow._table import TABLE, Row
from leanflow.events import Event

__all__ = ["Transition", "impossible", "transition_of", "transitions"]


@attrs.frozen(kw_only=True, order=True)
class Transition:
    """One row of the table, from one of its states.

    Attributes:
        row: its place in the table, from 0.
        from_state: before.
        to_state: after; the same if the request stays where it is.
        trigger: of the row.
        guard: the names of the row's guards, joined by ``+``; None: it has none.
    """

    row: int
    from_state: State
    to_state: State
    trigger: str
    guard: str | None

    def __str__(self) -> str:
        guard = f" [{self.guard}]" if self.guard else ""
        return f"{self.from_state} --{self.trigger}{guard}--> {self.to_state}"


def _of_row(number: int, row: Row, source: State) -> Transition:
    return Transition(
        row=number, from_state=source, to_state=row.dest or source, trigger=row.trigger, guard=row.guard_name
    )


_BY_PLACE: Mapping[tuple[int, State], Transition] = MappingProxyType(
    {(number, source): _of_row(number, row, source) for number, row in enumerate(TABLE) for source in row.sources}
)
_NUMBERS: Mapping[int, int] = MappingProxyType({id(row): number for number, row in enumerate(TABLE)})


def transitions() -> tuple[Transition, ...]:
    """Return every transition of the table, row by row."""
    return tuple(_BY_PLACE.values())


def transition_of(request: DataRequest, event: Event, policy: Policy = DEFAULT_POLICY) -> Transition | None:
    """Return the transition that an event takes a request on, or None if it is declined."""
    row = row_taken(request, event, policy)
    return None if row is None else _BY_PLACE[_NUMBERS[id(row)], request.state]


def impossible(resource: Resource | str, *, deadlines: bool = True) -> Mapping[Transition, str]:
    """Return the transitions that no request for a resource can take, and why. The search for paths is held to it.

    Args:
        resource: what is asked for.
        deadlines: whether requests may have a deadline of the caller's own (`give_up_after`).

    Raises:
        InvalidRequest: there is no such resource.
    """
    kind = resource_of(resource)
    reasons = ((transition, _why_not(transition, kind, deadlines=deadlines)) for transition in transitions())
    return {transition: why for transition, why in reasons if why is not None}


def _why_not(transition: Transition, resource: Resource, *, deadlines: bool) -> str | None:
    source, trigger, guard = transition.from_state, transition.trigger, transition.guard
    if trigger == "action_due" and guard == "gives_up" and source is State.reconnected:
        return "a round begins with nothing placed once more, so its first time is always left"
    if guard == "expires" and not deadlines and not source.needs_user:
        return "only the caller's own deadline ends a request that does not need its user"
    if resource is not Resource.refresh:
        return "only a refresh has a refresh id" if trigger == "refresh_updated" else None
    if trigger == "results_ready":
        return "a refresh has no results id"
    if guard in _LIVE_GUARDS:
        return "a refresh is not placed again because its entity was proved live"
    return None


_LIVE_GUARDS = frozenset({"revivable", "entity_live_since_prompt", "gives_up_with_entity_live"})
