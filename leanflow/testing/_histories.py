"""Histories: what may happen to one request, in its order, and out of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs
from hypothesis import strategies as st

from leanflow import calls
from leanflow._effects import Accepted, Decision
from leanflow._machine import DEFAULT_POLICY, decide
from leanflow._policy import Policy
from leanflow._request import DataRequest, Resource
from leanflow.events import Event
from leanflow.testing._acts import ACTS
from leanflow.testing.examples import START, example_request

__all__ = ["History", "disturbed", "histories"]

_RESOURCES = (Resource.accounts, Resource.transactions, Resource.identity, Resource.refresh)
_GAPS = tuple(timedelta(seconds=s) for s in (0, 1, 60, 3600, 90_000))


@attrs.frozen(kw_only=True)
class History:
    """What happens to one request.

    Attributes:
        request: as it was made.
        events: in the order in which they come, each stamped with its time.
        policy: waits and budgets.
    """

    request: DataRequest
    events: tuple[Event, ...]
    policy: Policy = DEFAULT_POLICY

    def steps(self) -> Iterator[tuple[DataRequest, Event, Decision]]:
        """Yield each event with the request that it came to, and what was decided."""
        request = self.request
        for event in self.events:
            decision = decide(request, event, self.policy)
            yield request, event, decision
            if isinstance(decision, Accepted):
                request = decision.request


@st.composite
def histories(
    draw: st.DrawFn,
    *,
    resource: Resource | str | None = None,
    api: str | None = None,
    policy: Policy = DEFAULT_POLICY,
    max_events: int = 12,
) -> History:
    """Return valid histories: each event is one that the machine accepts where it comes.

    Args:
        draw: hypothesis gives it.
        resource: what is asked for; None: any.
        api: ``v1`` or ``v2``; None: either that has the resource.
        policy: waits and budgets.
        max_events: how long a history may be.
    """
    kind = draw(st.sampled_from(_RESOURCES)) if resource is None else Resource(resource)
    version = api or ("v2" if kind is Resource.refresh else draw(st.sampled_from(["v2", "v1"])))
    account_id = "account-1" if calls.parameters(kind, version).needs_account else None
    made = request = example_request(resource=kind, api=version, account_id=account_id)
    events: list[Event] = []
    at = START
    for _ in range(draw(st.integers(0, max_events))):
        moves = list(_moves(request, at, policy))
        if not moves:
            break
        event, at, request = moves[draw(st.integers(0, len(moves) - 1))]
        events.append(event)
    return History(request=made, events=tuple(events), policy=policy)


def _moves(request: DataRequest, now: datetime, policy: Policy) -> Iterator[tuple[Event, datetime, DataRequest]]:
    """Yield all that may happen next and is accepted: the event, when it comes, the request after it."""
    for act in ACTS:
        at = act.at(request, now)
        event = None if at is None else act.event(request, at)
        if at is None or event is None:
            continue
        stamped = event.stamped(at, f"{act.name}:{request.version}" if event.key is None else event.key)
        decision = decide(request, stamped, policy)
        if isinstance(decision, Accepted):
            yield stamped, at, decision.request


@st.composite
def disturbed(draw: st.DrawFn, from_: st.SearchStrategy[History] | None = None) -> History:
    """Return histories whose events come twice, out of order, late, or not at all. Time still goes forward."""
    history = draw(histories() if from_ is None else from_)
    copies = [event for event in history.events for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3, 0])))]
    at = history.request.created_at
    events: list[Event] = []
    for event in draw(st.permutations(copies)):
        at += draw(st.sampled_from(_GAPS))
        events.append(event.stamped(at, event.key))
    return attrs.evolve(history, events=tuple(events))
