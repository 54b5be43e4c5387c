"""Paths through the machine: every way that a request can go, generated from the table, short, and with a name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any, Literal

import attrs

from leanflow import calls
from leanflow._flows import LeanFlow
from leanflow._machine import DEFAULT_POLICY
from leanflow._new_request import resource_of
from leanflow._operations import states_of
from leanflow._policy import Policy
from leanflow._request import DataRequest, Resource, State
from leanflow._step_rows import creation_history, exported, history_of
from leanflow.errors import InvalidRequest
from leanflow.testing._acts import ACTS, MOVES
from leanflow.testing._play import Application, PathMoment, moments
from leanflow.testing._search import Node, Step, budgets, case_of, explore, follow, shape
from leanflow.testing._timeline import timeline
from leanflow.testing._transitions import Transition, impossible, transitions
from leanflow.testing.examples import example_request

__all__ = ["Covering", "Path", "paths"]

Covering = Literal["states", "rows", "transitions", "decisions"]
"""What paths cover together: each state that can be entered; each row of the table; each row from each of its states;
or these and each case that the guards tell apart, those in which an event is declined included."""

DEADLINE = timedelta(hours=2)
"""The caller's own deadline in the paths that have one: it comes before Lean's and the policy's."""


@attrs.frozen(kw_only=True, eq=False)
class Path:
    """One way that a request can go, from its creation to where nothing is due.

    Attributes:
        name: the states it goes through, and what is done; stable as long as the machine is.
        start: the request as it is made.
        steps: what happens, first to last.
    """

    name: str
    start: DataRequest = attrs.field(repr=False)
    steps: tuple[Step, ...] = attrs.field(repr=False)

    @property
    def request(self) -> DataRequest:
        """The request at its end."""
        return self.steps[-1].after

    @property
    def covers(self) -> frozenset[Transition]:
        """The transitions it takes."""
        return frozenset(step.transition for step in self.steps if step.transition is not None)

    @property
    def asks(self) -> dict[str, Any]:
        """What `LeanFlow.request` is called with."""
        start = self.start
        asked: dict[str, Any] = {"resource": start.resource, "entity_id": start.entity_id}
        if start.account_id is not None:
            asked["account_id"] = start.account_id
        if start.give_up_at is not None:
            asked["give_up_after"] = start.give_up_at - start.created_at
        return asked

    def export(self) -> dict[str, Any]:
        """Return record and history as `LeanFlow.export` would, for `replay`."""
        rows = [creation_history(self.start, f"created:{self.start.id}")]
        for step in self.steps:
            after = step.after if step.transition is not None else None
            rows.append(history_of(step.before, after, step.event, step.decision))
        return exported(self.request, rows)

    def timeline(self) -> str:
        """Return it as text: every step with its time, and what is due next."""
        told = self.export()
        return timeline(told["request"], told["history"])

    async def play(self, flows: LeanFlow, **application: Callable[..., Awaitable[Any]]) -> DataRequest:
        """Play it through a whole engine, which must come the same way; return the request at its end.

        Args:
            flows: an engine on a `FakeClock` and without workers. Its transport is asked for all but the path's own.
            application: what the application does by functions of yours: see `moments`.

        Raises:
            PathLeft: the request went another way; says where.
        """
        return [moment.request async for moment in self.moments(flows, **application)][-1]

    def moments(self, flows: LeanFlow, **application: Callable[..., Awaitable[Any]]) -> AsyncIterator[PathMoment]:
        """Play it step by step: yield what it has come to each time when nothing more is due, handlers called.

        Args:
            flows: an engine on a `FakeClock` and without workers. Its transport is asked for all but the path's own.
            application: what the application does by functions of yours, each in place of the engine's method, and
                called as that is: `ask` (for `request`; it must return the request, or its id), `prompt`, `callback`,
                `cancel`, `renew` and `receive` (which gets the webhooks).

        Raises:
            PathLeft: the request went another way; says where.
        """
        unknown = application.keys() - {field.name for field in attrs.fields(Application)}
        if unknown:
            raise InvalidRequest(min(unknown), "is none of ask, prompt, callback, cancel, renew and receive")
        own = {name: getattr(flows, name) for name in ("prompt", "callback", "cancel", "renew", "receive")}
        return moments(self, flows, Application(**{"ask": flows.request, **own, **application}))


def paths(
    to: State | str | Collection[State] | None = None,
    *,
    covering: Covering = "transitions",
    resource: Resource | str | None = None,
    api: str = "v2",
    deadlines: bool = True,
    policy: Policy = DEFAULT_POLICY,
) -> list[Path]:
    """Return paths that together cover the machine, each short, found by search: nothing about them is written by hand.

    Every path ends where nothing is due. Its deadlines and retries are those of the policy.

    Args:
        to: where all of them end: a state, or several. Then they cover what can lie on the way there.
        covering: ``states``, ``rows``, ``transitions`` (the default) or ``decisions``: see `Covering`.
        resource: what the requests ask for; None: accounts, and a refresh for what only a refresh can do.
        api: ``v1`` or ``v2``.
        deadlines: whether there are requests with a deadline of their own (`give_up_after`) too.
        policy: waits and budgets. Waits are spread by up to a tenth, by the request's id: if two of yours are nearer to
            each other than that, an engine may leave a path where their order matters.

    Raises:
        InvalidRequest: an argument is none of the words above, or that version of the API has no such resource.
    """
    if covering not in _GOALS:
        raise InvalidRequest("covering", f"{covering!r} is none of {', '.join(_GOALS)}")
    ends = None if to is None else states_of(to, "to")
    kind = None if resource is None else resource_of(resource)
    return list(_paths(ends, covering, kind, api, deadlines, policy))


@lru_cache(maxsize=32)
def _paths(
    ends: frozenset[State] | None,
    covering: Covering,
    resource: Resource | None,
    api: str,
    deadlines: bool,  # noqa: FBT001 - a cache takes its key by position
    policy: Policy,
) -> tuple[Path, ...]:
    def is_there(node: Node) -> bool:
        return node.is_at_rest and (ends is None or node.request.state in ends)

    known: dict[Hashable, tuple[str, ...]] = {}
    found = _find(covering, resource, api, deadlines, policy, ends is not None)
    ends_of_ways = ((follow(node, is_there, policy, known) for node in nodes) for nodes in found)
    ways = [way for each in ends_of_ways if (way := next(filter(None, each), None)) is not None]
    chosen = _cover(ways, lambda step: _GOALS[covering](step, policy))
    return tuple(Path(name=_name(way.steps), start=way.steps[0].before, steps=way.steps) for way in chosen)


# --- what is looked for ------------------------------------------------------------------------------------------


def _states(step: Step, _policy: Policy) -> Iterator[Hashable]:
    yield step.after.state


def _rows(step: Step, _policy: Policy) -> Iterator[Hashable]:
    if step.transition is not None:
        yield step.transition.row


def _transitions(step: Step, _policy: Policy) -> Iterator[Hashable]:
    if step.transition is not None:
        yield step.transition


def _decisions(step: Step, policy: Policy) -> Iterator[Hashable]:
    yield from _transitions(step, policy)
    yield case_of(step, policy)


_GOALS: Mapping[str, Callable[[Step, Policy], Iterator[Hashable]]] = {
    "states": _states,
    "rows": _rows,
    "transitions": _transitions,
    "decisions": _decisions,
}


def _possible(covering: Covering, starts: Sequence[DataRequest]) -> frozenset[Hashable] | None:
    """Return all that can be found from these starts; None: nobody knows, and everything must be tried."""
    if covering == "decisions":
        return None
    deadlines = any(start.give_up_at is not None for start in starts)
    able = frozenset(transitions()) - frozenset.intersection(
        *(frozenset(impossible(start.resource, deadlines=deadlines)) for start in starts)
    )
    if covering == "transitions":
        return able
    if covering == "rows":
        return frozenset(transition.row for transition in able)
    return frozenset(transition.to_state for transition in able)


@lru_cache(maxsize=32)
def _find(
    covering: Covering,
    resource: Resource | None,
    api: str,
    deadlines: bool,  # noqa: FBT001 - the same
    policy: Policy,
    thorough: bool,  # noqa: FBT001 - the same
) -> tuple[tuple[Node, ...], ...]:
    """Return for each goal the ways to it, the shortest first, no two of which end with requests of one kind.

    One way is enough to reach a goal. To go on from it to somewhere, another may be needed: these are found if the
    search is `thorough`.
    """
    starts = list(_starts(resource, api, deadlines=deadlines))
    acts = ACTS if covering == "decisions" else MOVES
    goals = _GOALS[covering]
    left = None if thorough else _possible(covering, starts)
    found: dict[Hashable, dict[Hashable, Node]] = {}
    for kind_of in (shape, budgets):
        for start in starts:
            for node in explore(start, policy, kind_of=kind_of, acts=acts):
                kind = (shape(node.request, node.now), budgets(node.request, node.now)) if thorough else None
                for goal in goals(node.steps[-1], policy):
                    found.setdefault(goal, {}).setdefault(kind, node)
                if left is not None and left <= found.keys():
                    return _nodes(found)
    return _nodes(found)


def _nodes(found: Mapping[Hashable, Mapping[Hashable, Node]]) -> tuple[tuple[Node, ...], ...]:
    return tuple(tuple(nodes.values()) for nodes in found.values())


def _starts(resource: Resource | None, api: str, *, deadlines: bool) -> Iterator[DataRequest]:
    """Yield new requests: those asked for, the plain ones first."""
    first = resource or Resource.accounts
    yield _start(first, api)
    if deadlines:
        yield _start(first, api, give_up_after=DEADLINE)
    if resource is None and api != "v1":  # v1 has no refreshes
        yield _start(Resource.refresh, api)


def _start(resource: Resource, api: str, give_up_after: timedelta | None = None) -> DataRequest:
    needs_account = calls.parameters(resource, api).needs_account
    start = example_request(resource=resource, api=api, account_id="account-1" if needs_account else None)
    return start if give_up_after is None else start.moved({"give_up_at": start.created_at + give_up_after})


# --- which of them, and their names --------------------------------------------------------------------------------


def _cover(ways: Sequence[Node], goals: Callable[[Step], Iterator[Hashable]]) -> list[Node]:
    """Return few of the ways that together reach all that all of them reach; the longest reach first."""
    reach = [frozenset(goal for step in way.steps for goal in goals(step)) for way in ways]
    left = frozenset[Hashable]().union(*reach)
    chosen: list[int] = []
    while left:
        best = max(range(len(ways)), key=lambda number: (len(reach[number] & left), -len(ways[number].steps), -number))
        chosen.append(best)
        left -= reach[best]
    return [ways[number] for number in sorted(chosen)]


def _name(steps: Sequence[Step]) -> str:
    """Return the states it goes through, and in brackets what is done, repeated acts counted."""
    states = [State.requested, *(step.after.state for step in steps)]
    acts = [f"{count}x-{act}" if count > 1 else act for act, count in _counted(step.act for step in steps)]
    start = steps[0].before
    if start.give_up_at is not None:
        acts.insert(0, "deadline")
    if start.resource is Resource.refresh:
        acts.insert(0, "refresh")
    return f"{'-'.join(state for state, _ in groupby(states))}({','.join(acts)})"


def _counted(names: Iterator[str]) -> Iterator[tuple[str, int]]:
    for name, same in groupby(names):
        yield name, sum(1 for _ in same)
