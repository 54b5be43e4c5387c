"""What handlers are called with, for any state, made by the events that lead there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import count
from types import MappingProxyType
from typing import Any

from leanflow._due import Action
from leanflow._effects import Change
from leanflow._machine import DEFAULT_POLICY
from leanflow._new_request import new_request
from leanflow._policy import Policy
from leanflow._request import DataRequest, Resource, Scope, State
from leanflow._step_rows import announcement_of
from leanflow.errors import InvalidRequest
from leanflow.events import ActionDue, Cancelled, Event, Prompted
from leanflow.testing import examples as ex

__all__ = ["ChangeAt"]

_Make = Callable[[DataRequest], Event]
_LIVE = (
    State.requested,
    State.reconnect_required,
    State.awaiting_user,
    State.reconnected,
    State.results_ready,
)

_USUALLY: Mapping[State, State] = MappingProxyType(
    {
        State.reconnect_required: State.requested,
        State.awaiting_user: State.reconnect_required,
        State.reconnected: State.awaiting_user,
        State.results_ready: State.reconnected,
        State.fetched: State.results_ready,
        State.expired: State.awaiting_user,
        State.failed: State.requested,
        State.cancelled: State.awaiting_user,
    }
)
"""Where a request comes from when all goes its usual way."""


# --- events, made for a request as it stands ---------------------------------------------------------------------


def _prompted(_request: DataRequest) -> Event:
    return Prompted()


def _withdrawn(_request: DataRequest) -> Event:
    return Cancelled()


def _closed(request: DataRequest) -> Event:
    return ex.hinted(request, "CANCELLED")


def _announced(request: DataRequest) -> Event:
    return ex.refresh_updated(request) if request.resource is Resource.refresh else ex.results_ready(request)


def _looked_at_the_end(request: DataRequest) -> Event:
    return ex.a_pending(request).stamped(request.expire_at or request.updated_at)


def _expired(request: DataRequest) -> Event:
    assert request.expire_at is not None
    return ActionDue(action=Action.expire, at=request.expire_at)


def _pending_until_the_wait_is_over(request: DataRequest) -> Event:
    return ex.a_pending(request) if request.place_at is not None else ex.time_is_up(request)


def _wanted_again(request: DataRequest) -> Event:
    """Let the user in, and want the user again."""
    if request.state is State.reconnect_required:
        return Prompted()
    if request.state is State.awaiting_user:
        return ex.entity_reconnected(request)
    again = f"{request.results_id or request.refresh_id or 'results'}-again"
    ids = {"refresh_id": again} if request.resource is Resource.refresh else {"results_id": again}
    return ex.a_reconnect(request, **ids, reconnect_id=again)


_FAILING: Mapping[str, _Make] = MappingProxyType(
    {
        "NO_ANSWER": ex.a_silence,
        "RECONNECT_LOOP": _wanted_again,
        "RESULTS_UNAVAILABLE": _pending_until_the_wait_is_over,
    }
)
"""leanflow's own codes: what brings them about. All others are Lean's words."""

_USERS = (State.reconnect_required, State.awaiting_user)
_STEPS: Mapping[tuple[State, State], tuple[_Make, ...]] = MappingProxyType(
    {
        (State.requested, State.reconnect_required): (ex.a_reconnect,),
        (State.awaiting_user, State.reconnect_required): (_closed,),
        (State.reconnect_required, State.awaiting_user): (_prompted,),
        (State.requested, State.results_ready): (ex.a_pending, _announced),
        (State.reconnected, State.results_ready): (_announced,),
        **{(state, State.reconnected): (ex.entity_reconnected,) for state in _USERS},
        **{(state, State.results_ready): (_announced,) for state in _USERS},
        **{(state, State.expired): (_looked_at_the_end, _expired) for state in _USERS},
        **{(state, State.fetched): (ex.an_ok,) for state in _LIVE},
        **{(state, State.cancelled): (_withdrawn,) for state in _LIVE},
    }
)
"""The events that lead from one state to another."""

_LONGEST = 100  # steps to a failure: every budget is shorter


class ChangeAt:
    """Makes the `Change` that a handler is called with when a request enters a state.

    Nothing of it is made up: events are decided on, one after another, as in an engine.

    Args:
        now: tells when the request is made.
        scope: its application, environment and region.
        api: ``v1`` or ``v2``.
        policy: waits and budgets.
    """

    def __init__(
        self, now: Callable[[], datetime], *, scope: Scope, api: str = "v2", policy: Policy = DEFAULT_POLICY
    ) -> None:
        self._now = now
        self._scope = scope
        self._api = api
        self._policy = policy
        self._numbers = count(1)

    def __call__(
        self,
        state: State | str,
        *,
        code: str = "DATA_NOT_FOUND",
        from_state: State | str | None = None,
        resource: Resource | str = Resource.accounts,
        **asked: Any,
    ) -> Change:
        """Return the change by which a request entered `state`.

        Args:
            state: any of the nine.
            code: for ``failed``: Lean's, or one of leanflow's own, as ``RESULTS_UNAVAILABLE``.
            from_state: where it comes from; None: from where it usually does.
            resource: what was asked for.
            asked: further arguments of `LeanFlow.request`, as ``reference="user-17"``.

        Raises:
            InvalidRequest: no such state, no way from there, or an argument that `LeanFlow.request` refuses.
        """
        wanted = _state(state, "state")
        change = self._created(resource, asked)
        if wanted is State.requested:
            if from_state is not None:
                raise InvalidRequest("from_state", "a request begins in requested")
            return change
        came_from = _USUALLY[wanted] if from_state is None else _state(from_state, "from_state")
        for stop in _way_to(came_from):
            change = self._through(change, _STEPS[change.to_state, stop])
        if wanted is State.failed:
            return self._failed(change, came_from, code)
        steps = _STEPS.get((came_from, wanted))
        if steps is None:
            known = ", ".join(source for source, dest in _STEPS if dest is wanted)
            raise InvalidRequest("from_state", f"{came_from} does not lead to {wanted}; {known} do")
        return self._through(change, steps)

    def _created(self, resource: Resource | str, asked: Mapping[str, Any]) -> Change:
        now = self._now()
        own: dict[str, Any] = {
            "request_id": f"00000000-0000-7000-8000-{next(self._numbers):012d}",
            "now": now,
            "scope": self._scope,
            "api": self._api,
            "entity_id": "entity-1",
        }
        optional = dict.fromkeys(
            ("account_id", "start_date", "end_date", "params", "customer_id", "customer_ip", "reference", "metadata",
             "give_up_after", "key")
        )  # fmt: skip
        unknown = asked.keys() - optional.keys() - {"entity_id"}
        if unknown:
            raise InvalidRequest(min(unknown), "is no argument of LeanFlow.request")
        request = new_request(resource, **{**own, **optional, **asked}).moved({"call_no": 1})
        return _told(request, None, None)

    def _through(self, change: Change, steps: Sequence[_Make]) -> Change:
        for make in steps:
            change = self._step(change, make)
        return change

    def _step(self, change: Change, make: _Make) -> Change:
        before = change.request
        event = make(before)
        if event.at is None:  # a call is placed when it is to be; everything else happens at once
            event = event.stamped(max(before.updated_at, before.place_at or before.updated_at))
        return _told(ex.accepted(before, event, policy=self._policy).request, before.state, event)

    def _failed(self, change: Change, came_from: State, code: str) -> Change:
        make = _FAILING.get(code, lambda request: ex.a_refusal(request, code))
        for _ in range(_LONGEST):
            change = self._step(change, make)
            if change.to_state is State.failed:
                break
        if change.to_state is not State.failed or change.from_state is not came_from:
            raise InvalidRequest("code", f"{code} does not end a request in {came_from}")
        return change


def _told(request: DataRequest, came_from: State | None, event: Event | None) -> Change:
    """Return the change as a handler gets it: as it comes back out of the outbox."""
    return Change.from_dict(json.loads(announcement_of(request, came_from, event).payload))


def _way_to(state: State) -> Sequence[State]:
    """Return the states on the usual way from the first to a live one, that one included."""
    way: list[State] = []
    while state in _USUALLY and not state.is_end:
        way.insert(0, state)
        state = _USUALLY[state]
    return way


def _state(value: State | str, name: str) -> State:
    try:
        return State(value)
    except ValueError:
        raise InvalidRequest(name, f"{value!r} is none of {', '.join(State)}") from None
