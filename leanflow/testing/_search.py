"""The search for paths: every act is tried on every kind of request that acts lead to, until nothing new turns up.

Two requests are of one kind if they agree in what `shape`, or `budgets`, tells of them. The shape leads nearly
everywhere by the shortest way; what a spent budget alone makes possible, the second search finds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import attrs

from leanflow._due import is_collectable
from leanflow._effects import Accepted, Decision, Declined, Reason
from leanflow._machine import decide
from leanflow._policy import Policy
from leanflow._request import DataRequest, State
from leanflow._table import TABLE, Guard
from leanflow.events import Event
from leanflow.testing._acts import ACTS, MOVES, Act, Actor
from leanflow.testing._transitions import Transition, transition_of

__all__ = ["Case", "Kind", "Node", "Step", "budgets", "case_of", "explore", "follow", "shape", "tries"]


@attrs.frozen(kw_only=True)
class Step:
    """One step of a path.

    Attributes:
        act: what is done, by its name.
        actor: who does it: ``answer``, ``webhook``, ``application``, ``leanflow`` or ``clock``.
        before: the request as the event finds it.
        event: what happened, stamped with its time.
        decision: what comes of it.
        transition: the transition it takes; None if it is declined.
    """

    act: str
    actor: Actor
    before: DataRequest = attrs.field(repr=False)
    event: Event
    decision: Decision = attrs.field(repr=False)
    transition: Transition | None

    @property
    def at(self) -> datetime:
        """When it happens."""
        assert self.event.at is not None
        return self.event.at

    @property
    def after(self) -> DataRequest:
        """The request after it."""
        return self.decision.request if isinstance(self.decision, Accepted) else self.before


@attrs.frozen(kw_only=True)
class Case:
    """One of the cases that the table tells apart.

    Attributes:
        state: of the request.
        tag: of the event.
        answers: what each guard says that any row of this trigger has; None if the table was not asked.
        declined: why it was declined, or None.
    """

    state: State
    tag: str
    answers: tuple[bool, ...] | None
    declined: str | None


@attrs.frozen
class Node:
    """A request that acts have led to."""

    request: DataRequest
    now: datetime
    steps: tuple[Step, ...] = ()

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is due at its time."""
        return self.request.due_at is None or self.request.due_at > self.now


def shape(request: DataRequest, now: datetime) -> Hashable:
    """Return which kind of request it is: what guards look at, the budgets left out. More would only take longer."""
    return (
        request.state,
        request.ids_repeat,
        request.wait_until is None,
        request.entity_live_at is None,
        request.held is None,
        request.successor_id is None,
        request.placements,
        is_collectable(request),
        request.grace_until is not None and now < request.grace_until,
        request.due_at is not None and request.due_at <= now,
    )


def budgets(request: DataRequest, now: datetime) -> Hashable:
    """Return which kind of request it is, by what is left of its budgets."""
    return (
        request.state,
        request.rounds_prompted,
        request.attempts,
        request.prompted_round == request.round,
        request.place_at is None,
        request.due_at is not None and request.due_at <= now,
    )


Kind = Callable[[DataRequest, datetime], Hashable]
Goal = Callable[[Node], bool]


def tries(node: Node, policy: Policy, acts: Sequence[Act] = ACTS) -> Iterator[Step]:
    """Yield what each act does to a request."""
    for act in acts:
        at = act.at(node.request, node.now)
        if at is None:
            continue
        request = _claimed(node.request) if act.actor in (Actor.answer, Actor.clock) else node.request
        event = act.event(request, at)
        if event is None:
            continue
        stamped = event.stamped(at, f"{act.name}:{request.version}")
        decision = decide(request, stamped, policy)
        taken = transition_of(request, stamped, policy) if isinstance(decision, Accepted) else None
        yield Step(act=act.name, actor=act.actor, before=request, event=stamped, decision=decision, transition=taken)


def _claimed(request: DataRequest) -> DataRequest:
    """Return it as a worker claims it; a new request is made claimed."""
    return request if request.version == 0 else request.moved({"call_no": request.call_no + 1})


def explore(start: DataRequest, policy: Policy, *, kind_of: Kind = shape, acts: Sequence[Act] = ACTS) -> Iterator[Node]:
    """Yield what each act leads to, the shortest ways first: each node's last step is one try.

    Args:
        start: a new request.
        policy: waits and budgets.
        kind_of: tells which requests are of one kind; one of a kind that was seen before is not gone on from.
        acts: what is tried.
    """
    seen = {kind_of(start, start.created_at)}
    front = deque([Node(start, start.created_at)])
    while front:
        node = front.popleft()
        for step in tries(node, policy, acts):
            found = Node(step.after, step.at, (*node.steps, step))
            yield found
            kind = kind_of(found.request, found.now)
            if step.transition is not None and kind not in seen:
                seen.add(kind)
                front.append(found)


def follow(node: Node, goal: Goal, policy: Policy, known: dict[Hashable, tuple[str, ...]]) -> Node | None:
    """Return the shortest way on from a node to one that meets the goal, or None.

    Args:
        node: where it begins.
        goal: what is looked for.
        policy: waits and budgets.
        known: how the goal was reached from requests of the same kind: tried first, and added to.
    """
    kind = shape(node.request, node.now)
    if kind in known:
        found = _along(node, known[kind], policy)
        if found is not None and goal(found):
            return found
    found = _nearest(node, goal, policy)
    if found is not None:
        known[kind] = tuple(step.act for step in found.steps[len(node.steps) :])
    return found


def _along(node: Node, names: Sequence[str], policy: Policy) -> Node | None:
    for name in names:
        step = next(tries(node, policy, [_BY_NAME[name]]), None)
        if step is None or step.transition is None:
            return None
        node = Node(step.after, step.at, (*node.steps, step))
    return node


def _nearest(node: Node, goal: Goal, policy: Policy) -> Node | None:
    seen = {shape(node.request, node.now)}
    front = deque([node])
    while front:
        here = front.popleft()
        if goal(here):
            return here
        for step in tries(here, policy, MOVES):
            found = Node(step.after, step.at, (*here.steps, step))
            kind = shape(found.request, found.now)
            if step.transition is not None and kind not in seen:
                seen.add(kind)
                front.append(found)
    return None


_BY_NAME = {act.name: act for act in ACTS}


def case_of(step: Step, policy: Policy) -> Case:
    """Return which case a step is."""
    declined = str(step.decision) if isinstance(step.decision, Declined) else None
    answers = None
    if declined is None or step.decision == Declined(reason=Reason.guard, guard=declined.removeprefix("guard:")):
        guards = _GUARDS.get(step.event.tag, ())
        answers = tuple(guard(step.before, step.event, policy) for guard in guards)
    return Case(state=step.before.state, tag=step.event.tag, answers=answers, declined=declined)


_GUARDS: Mapping[str, tuple[Guard, ...]] = MappingProxyType(
    {
        row.trigger: tuple(
            dict.fromkeys(guard for other in TABLE if other.trigger == row.trigger for guard in other.guards)
        )
        for row in TABLE
    }
)
