"""The oracle: sees every commit, call, webhook and announcement, and says at once when one must not have been.

It knows what the store was asked and answered, what Lean truly said, and what the processes answered and announced.
The rules have the names of the invariants in `docs/explanation/simulation.md`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from leanflow._call import Answer, Call
from leanflow._due import end_of
from leanflow._request import DataRequest, State
from leanflow._rows import Announcement
from leanflow.ports import Claimed, Committed, Created, Creation, OutboxRow, Outcome, Step

__all__ = ["Lease", "Oracle", "Said"]

Said = tuple[str, str]
"""A webhook's type, and the id by which it names its request."""

_NAMING = {"results.ready": "id", "entity.reconnected": "reconnect_id", "entity.data.refresh.updated": "refresh_id"}
_OPENING: dict[str, tuple[State, ...]] = {
    "answered_ok": (State.fetched,),
    "entity_reconnected": (State.reconnected,),
    "results_ready": (State.results_ready,),
    "refresh_updated": (State.results_ready,),
}


@attrs.define
class Lease:
    """A lease as granted by the store.

    Attributes:
        holder: the process.
        owner: the name under which it holds it.
        until: when it ends unless it is prolonged.
        excused: whether its end is nobody's fault: the process died, was frozen, or could not reach the store.
    """

    holder: str
    owner: str
    until: datetime
    excused: bool = False


class Oracle:
    """What must be true, and what is.

    Args:
        violate: told the rule and what broke it.
        now: the simulated time.
        lease: how long a lease is; one that is granted late, after a slow look at the clock, is nobody's fault.
    """

    def __init__(self, violate: Callable[[str, str], None], now: Callable[[], datetime], lease: timedelta) -> None:
        self._violate = violate
        self._now = now
        self._lease = lease
        self.records: dict[str, DataRequest] = {}
        self.pages: dict[str, list[bytes]] = {}
        self.acknowledged: dict[str, None] = {}
        self.taken: dict[str, tuple[bytes, datetime]] = {}
        self.refused: set[str] = set()
        self.leases: dict[str, Lease] = {}
        self.due_told: dict[str, dict[str, int]] = {}
        self.told: dict[str, dict[str, None]] = {}
        self.said: set[Said] = set()
        self._keys: dict[str, set[str]] = {}
        self._inbox: set[str] = set()
        self._parked: set[str] = set()
        self._claims: dict[str, Counter[tuple[str, str]]] = {}
        self._bodies: set[bytes] = set()
        self._last: dict[tuple[str, str], int] = {}

    # the store

    def created(self, holder: str, done: Created, creation: Creation) -> None:
        """See a request inserted, or found."""
        made = done.request
        if not done.is_new:
            if made.id not in self.records:
                self._violate("I1", f"the store returned request {made.id}, which nobody made")
        else:
            twin = self._live_twin(made)
            if twin is not None:
                self._violate("I5", f"two live requests for the same: {twin} and {made.id}")
            self.records[made.id] = made
            self._keys[made.id] = {creation.history.key}
            self._announced(made.id, creation.announcements, made.version)
            if creation.owner is not None and creation.lease_until is not None:
                self._granted(holder, made.id, creation.owner, creation.lease_until)
        if creation.renews is not None and not done.by_key:
            self._linked(creation, made.id)

    def _live_twin(self, made: DataRequest) -> str | None:
        for known in self.records.values():
            if known.fingerprint == made.fingerprint and not known.state.is_end:
                return known.id
        return None

    def _linked(self, creation: Creation, successor_id: str) -> None:
        old = self.records.get(creation.renews or "")
        if old is None or old.successor_id is not None or creation.renewal is None:
            return
        self.records[old.id] = old.moved(
            {"successor_id": successor_id, "version": old.version + 1, "updated_at": creation.renewal.at}
        )
        self._keys[old.id].add(creation.renewal.key)

    def committed(self, holder: str, done: Committed, step: Step) -> None:
        """See a step committed, or not."""
        key = step.inbox.key
        if done.outcome is Outcome.duplicate and key not in self._inbox:
            self._violate("I2", f"the store calls {key} a duplicate, and it was never taken in: the event is lost")
        if done.outcome is not Outcome.committed:
            return
        if key in self._inbox:
            self._violate("I5", f"{key} was taken in twice")
        if step.inbox.parking is None:
            self._inbox.add(key)
            self._parked.discard(key)
        else:
            self._parked.add(key)
        if step.request_id is not None:
            self._stepped(holder, step.request_id, step)

    def _stepped(self, holder: str, request_id: str, step: Step) -> None:
        before = self.records.get(request_id)
        if before is None:
            self._violate("I1", f"a step was committed for request {request_id}, which nobody made")
            return
        if (before.version, before.call_no) != (step.version, step.call_no):
            decided, found = (f"version {one.version}, call {one.call_no}" for one in (step, before))
            self._violate("I3", f"a step decided on {decided} was committed on {found}")
        if step.history is not None and step.history.key in self._keys[request_id]:
            if step.inbox.parking is None:
                self._violate("I5", f"a second history row for {step.history.key}")
        elif step.inbox.parking is None:
            self._keys[request_id].add(step.inbox.key)
        if step.release is not None:
            call_no = step.history.event.get("call_no") if step.history is not None else None
            held = self.leases.get(request_id)
            if call_no is not None and call_no < before.call_no and held is not None and held.owner == step.release:
                self._violate("I6", f"the answer to call {call_no} ends the lease of call {before.call_no}")
            self._released(holder, request_id, step.release)
        if step.after is not None:
            self._moved(before, step.after, step)

    def _moved(self, before: DataRequest, after: DataRequest, step: Step) -> None:
        self.records[before.id] = after.moved({"call_no": before.call_no})
        if after.version != before.version + 1:
            self._violate("I3", f"version {after.version} follows version {before.version}")
        if before.state.is_end and after.state is not before.state:
            self._violate("ends absorb", f"{before.state} was left for {after.state} by {step.inbox.tag}")
        if after.state is not before.state:
            self._entered(before, after, step)
        self._announced(before.id, step.announcements, after.version)
        if step.pages:
            if before.id in self.pages:
                self._violate("stored once", "data was stored a second time")
            self.pages[before.id] = [page.raw for page in step.pages]

    def _entered(self, before: DataRequest, after: DataRequest, step: Step) -> None:
        state, tag = after.state, step.inbox.tag
        if not any(told.key == f"{after.id}:{after.version}:{state}" for told in step.announcements):
            self._violate("I4", f"{state} was entered and is announced to nobody")
        if (state in (State.reconnected, State.results_ready, State.fetched)) and state not in _OPENING.get(tag, ()):
            self._violate("proof", f"{state} was entered because of {tag}, which proves nothing")
        elif tag == "entity_reconnected":
            self._was_said(("entity.reconnected", before.reconnect_id or ""), state)
        elif tag == "results_ready":
            self._was_said(("results.ready", before.results_id or ""), state)
        elif tag == "refresh_updated":
            self._was_said(("entity.data.refresh.updated", before.refresh_id or ""), state)
        if state is State.fetched and not (step.pages and all(page.raw in self._bodies for page in step.pages)):
            self._violate("proof", "what was stored as fetched is not what Lean answered")
        end = end_of(before)
        if state is State.expired and (end is None or end > step.inbox.at):
            self._violate("deadlines", f"it expired at {step.inbox.at}, and its end is {end}")

    def _was_said(self, said: Said, state: State) -> None:
        if said not in self.said:
            self._violate("proof", f"{state} was entered, and Lean never said {said[0]} of {said[1]}")

    def _announced(self, request_id: str, announcements: Iterable[Announcement], version: int) -> None:
        for told in announcements:
            if told.kind == "change":
                self.due_told.setdefault(request_id, {})[told.key] = version

    # leases and calls

    def claimed(self, holder: str, done: Sequence[Claimed], owner: str) -> None:
        """See requests claimed."""
        for claimed in done:
            now = claimed.now
            request_id = claimed.request.id
            held = self.leases.get(request_id)
            if held is not None and held.until > now:
                self._violate("one lease", f"{owner} was granted the lease that {held.owner} has until {held.until}")
            elif held is not None and not held.excused and now <= self._now():  # else read before the clock went back
                self._violate("I6", f"the lease of {held.holder}, which was well, ran out: its call is made twice")
            known = self.records.get(request_id)
            if known is None or known.call_no + 1 != claimed.request.call_no:
                self._violate("I6", f"a claim gave the call number {claimed.request.call_no} a second time")
            self.records[request_id] = claimed.request
            self._granted(holder, request_id, owner, claimed.lease_until)

    def _granted(self, holder: str, request_id: str, owner: str, until: datetime) -> None:
        by_another_clock = until != self._now() + self._lease  # its time was read before the clock moved
        self.leases[request_id] = Lease(holder, owner, until, excused=by_another_clock)
        self._claims.setdefault(holder, Counter())[owner, request_id] += 1

    def renewed(self, _holder: str, done: bool, request_id: str, *, owner: str, now: datetime, lease: float) -> None:  # noqa: FBT001
        """See a lease prolonged, or not."""
        held = self.leases.get(request_id)
        if done and (held is None or held.owner != owner):
            self._violate("one lease", f"{owner} prolonged a lease that is not its own")
        if done and held is not None:
            held.until = max(held.until, now + timedelta(seconds=lease))

    def released(self, holder: str, _done: object, request_id: str, *, owner: str) -> None:
        """See a lease let go."""
        self._released(holder, request_id, owner)

    def _released(self, holder: str, request_id: str, owner: str) -> None:
        held = self.leases.get(request_id)
        if held is not None and held.owner == owner:
            del self.leases[request_id]
        mine = self._claims.get(holder)
        if mine is not None and mine[owner, request_id] > 0:
            mine[owner, request_id] -= 1  # a process may have claimed it twice, having lost it in between

    def excuse(self, holder: str | None = None) -> None:
        """Note that a process (None: every one) cannot be blamed if its leases run out."""
        for lease in self.leases.values():
            if holder is None or lease.holder == holder:
                lease.excused = True

    @property
    def calls_under_way(self) -> bool:
        """Whether somebody who is well holds a lease."""
        return any(not lease.excused for lease in self.leases.values())

    def buried(self, holder: str) -> None:
        """Forget what a dead process held."""
        self.excuse(holder)
        self._claims.pop(holder, None)

    def sent(self, holder: str, call: Call) -> None:
        """See a call leave for Lean."""
        if not _is_for_data(call):
            return
        mine = [request_id for (_, request_id), times in self._claims.get(holder, {}).items() if times]
        if not any(_names(self.records[request_id], call) for request_id in mine if request_id in self.records):
            self._violate("claim first", f"{call.method} {call.path} was sent for no request that {holder} had claimed")

    def answered(self, call: Call, answer: Answer) -> None:
        """See Lean's answer, whether or not it arrives."""
        if not 200 <= answer.status < 300:
            return
        if call.path.startswith("/events/"):
            self._listed(answer.body)
        elif _is_for_data(call):
            self._bodies.add(answer.body)

    def _listed(self, body: bytes) -> None:
        try:
            listed = json.loads(body)["data"]
        except (ValueError, KeyError, TypeError):
            return  # spoilt by the storm
        for event in listed:
            self.lean_said(event)

    # webhooks

    def lean_said(self, event: Any) -> None:
        """Note that Lean itself says something."""
        if isinstance(event, dict) and isinstance(event.get("payload"), dict) and event.get("type") in _NAMING:
            self.said.add((event["type"], str(event["payload"].get(_NAMING[event["type"]]))))

    def replied(self, key: str, raw: bytes, status: int, *, genuine: bool) -> None:
        """See what a process answered to a webhook."""
        if not genuine:
            if status != 401:
                self._violate("forgery", f"a badly signed webhook was answered {status}")
        elif status == 200:
            self.taken[key] = raw, self._now()
            if key not in self._inbox and key not in self._parked:
                self._violate("I2", f"{key} was answered 200, and is not stored")
        elif status != 503:
            self._violate("I2", f"a webhook of Lean's was answered {status}")

    def orphaned(self, _holder: str, done: bool, _scope: object, key: str, *_: object) -> None:  # noqa: FBT001
        """See a parked event given up."""
        if done:
            self._parked.discard(key)
            self._inbox.add(key)

    def acknowledge(self, request_id: str) -> None:
        """Note that a caller was given this request."""
        self.acknowledged[request_id] = None
        if request_id not in self.records:
            self._violate("I1", f"request {request_id} was returned to its caller, and is not stored")

    # announcements

    def delivered(self, sink: str, row: OutboxRow, *, skipped: bool) -> None:
        """See a sink told of a change of state."""
        if row.kind != "change" or row.request_id is None:
            return
        self.heard(sink, row.key, row.request_id, skipped=skipped)

    def heard(self, sink: str, key: str, request_id: str, *, skipped: bool) -> None:
        """See one change arrive at one sink."""
        version = self.due_told.get(request_id, {}).get(key)
        if version is None:
            self._violate("I4", f"{sink} was told {key}, which was never committed")
            return
        told = self.told.setdefault(sink, {})
        if key in told:
            return
        told[key] = None
        if version < self._last.get((sink, request_id), -1) and not skipped:
            self._violate("I4", f"{sink} was told {key} after a later version")
        self._last[sink, request_id] = max(version, self._last.get((sink, request_id), -1))


def _is_for_data(call: Call) -> bool:
    """Return whether a call is one that only the holder of a lease may make."""
    lists = call.method == "GET" and call.path == "/data/v2/refreshes"
    return call.path.startswith(("/data/", "/v1/results/")) and not lists


def _names(request: DataRequest, call: Call) -> bool:
    """Return whether a call is one that this request could be due for."""
    names = (request.results_id, request.refresh_id, *request.past_ids)  # a slow process asks by what it knew
    if any(name is not None and call.path.endswith(name) for name in names):
        return True
    return request.entity_id == call.query.get("entity_id") or request.entity_id.encode() in (call.body or b"")
