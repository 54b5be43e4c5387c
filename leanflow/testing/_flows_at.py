"""Requests that are in a given state already, brought there by Lean, the user and the clock."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

from leanflow import calls
from leanflow._flows import LeanFlow
from leanflow._request import DataRequest, Resource, State
from leanflow.errors import InvalidRequest
from leanflow.mockbank import Disturbance, Fault, Mockbank, Progress
from leanflow.testing._clock import FakeClock, Traveller, travel

__all__ = ["FlowsAt"]

_LONGEST = 200  # due moments on the way to an end; every budget has fewer
_AT_ONCE, _A_MINUTE = timedelta(), timedelta(minutes=1)
_PROMPTED = (State.awaiting_user, State.reconnected, State.results_ready)
_READY = frozenset({"results.ready"})


class FlowsAt:
    """Makes requests that are in a state already, as an engine and a Mockbank bring them there.

    Each is for an entity of its own. What has to pass, as 30 days until it is ``expired``, passes on the clock.
    """

    def __init__(self, flows: LeanFlow, clock: FakeClock, bank: Mockbank, lean: Traveller) -> None:
        self._flows = flows
        self._clock = clock
        self._bank = bank
        self._lean = lean
        self._users = count(1)

    async def __call__(
        self,
        state: State | str,
        *,
        code: str = "DATA_NOT_FOUND",
        resource: Resource | str = Resource.accounts,
        **asked: Any,
    ) -> DataRequest:
        """Return a request in `state`.

        Args:
            state: any of the nine.
            code: for ``failed``: what Lean says.
            resource: what is asked for.
            asked: further arguments of `LeanFlow.request`. Without an `entity_id` a new user connects a bank; an
                account is chosen where one is needed.

        Raises:
            InvalidRequest: no such state, or the request does not come to it, as when `entity_id` has a live one.
        """
        try:
            wanted = State(state)
        except ValueError:
            raise InvalidRequest("state", f"{state!r} is none of {', '.join(State)}") from None
        asked = self._completed(Resource(resource), asked)
        entity_id = asked["entity_id"]
        if wanted not in (State.requested, State.fetched, State.failed):
            self._bank.expire_session(entity_id)
        if wanted is State.requested:
            self._bank.fault(Fault.pending(Progress.held(), entity_id=entity_id))
        if wanted is State.failed:
            self._bank.fault(_refusal(Resource(resource), code, entity_id))
        request = await self._flows.request(resource, **asked)
        await self._lead(request.id, wanted, code)
        request = await self._flows.get(request.id)
        if request.state is not wanted:
            raise InvalidRequest("state", f"this request does not come to {wanted}: it is {request.state}")
        return request

    def _completed(self, resource: Resource, asked: dict[str, Any]) -> dict[str, Any]:
        entity_id = asked.get("entity_id") or self._bank.connect(f"flows-at-{next(self._users)}")
        completed = {"customer_id": self._bank.customer_of(entity_id), **asked, "entity_id": entity_id}
        if calls.parameters(resource).needs_account:
            completed.setdefault("account_id", self._bank.accounts_of(entity_id)[0])
        return completed

    async def _lead(self, request_id: str, wanted: State, code: str) -> None:
        request = await self._flows.get(request_id)
        if wanted in _PROMPTED:
            prompt = await self._flows.prompt(request_id)
            if wanted is not State.awaiting_user:
                await self._let_in(request, prompt.reconnect_id, wanted)
        elif wanted is State.cancelled:
            await self._flows.cancel(request_id)
        elif wanted.is_end:
            await self._until_it_ends(request, wanted, code)

    async def _let_in(self, request: DataRequest, reconnect_id: str, wanted: State) -> None:
        """Let the user through, and Lean's webhooks in. What they make due is left for the test to do."""
        if wanted is State.reconnected:  # the results are announced a minute later
            self._bank.disturb(Disturbance(types=_READY, entity_id=request.entity_id, delay=_A_MINUTE, times=1))
        self._bank.submit_otp(reconnect_id, self._bank.settings.otp, self._clock.now())
        await self._lean.tick()
        for _ in range(_LONGEST):
            due = self._lean.next_due()
            if due is None or (await self._flows.get(request.id)).state is wanted:
                return
            self._clock.advance(max(due - self._clock.now(), _AT_ONCE))
            await self._lean.tick()

    async def _until_it_ends(self, request: DataRequest, wanted: State, code: str) -> None:
        for _ in range(_LONGEST):
            if request.state.is_end or request.due_at is None:
                return
            if wanted is State.failed:
                self._bank.fault(_refusal(request.resource, code, request.entity_id))
            ahead = max(request.due_at - self._clock.now(), _AT_ONCE)
            await travel(self._flows, self._clock, ahead, also=[self._lean])
            request = await self._flows.get(request.id)


def _refusal(resource: Resource, code: str, entity_id: str) -> Fault:
    if resource is Resource.refresh:
        return Fault.http(403, code, entity_id=entity_id, on="refresh")
    return Fault.failed(code, entity_id=entity_id)
