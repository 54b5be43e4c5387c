"""The whole loop without I/O: Lean, its webhooks in any order, and a driver that does what the engine does.

The driver is the engine's promise in miniature: an event seen twice is one, an event whose request is not known is
parked, what was early is offered again after each accepted step, what is due is done, and a proof wakes the others.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import attrs
from hypothesis import given, strategies as st

from leanflow._due import Action, next_action
from leanflow._effects import Accepted, Announce, Declined, Reason, StorePages, Wake
from leanflow._machine import decide
from leanflow._request import DataRequest, Resource, State
from leanflow.events import (
    ActionDue,
    EntityProvedLive,
    EntityReconnected,
    Prompted,
    RefreshUpdated,
    ResultsReady,
    WebhookEvent,
)
from leanflow.testing import examples as ex
from leanflow.testing.examples import START, example_request

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@attrs.frozen(kw_only=True)
class Schedule:
    """What happens outside, and when: all times after the start.

    Attributes:
        demands: whether Lean wants the user, or only patience.
        one_id: whether the reconnect id is the results id, as in v2.
        answer_after: how long the answer to a placement is under way.
        live_after: when the user lets the bank in; None: never.
        ready_after: when the results are there, after that.
        reconnected: when each copy of `entity.reconnected` is delivered, after it happened; none: it is lost.
        ready: the same for `results.ready`.
        not_found: whether results that are not there yet are a 404.
        asked: whether the application hands the prompt out.
        hints: what the Link SDK calls back with, after each prompt.
        resource: what is asked for.
        siblings: how many requests of the entity there are.
    """

    demands: bool = True
    one_id: bool = True
    answer_after: timedelta = timedelta()
    live_after: timedelta | None = HOUR
    ready_after: timedelta = timedelta()
    reconnected: tuple[timedelta, ...] = (timedelta(),)
    ready: tuple[timedelta, ...] = (timedelta(),)
    not_found: bool = False
    asked: bool = True
    hints: tuple[str, ...] = ()
    resource: Resource = Resource.accounts
    siblings: int = 1


class Lean:
    """Lean's side: answers by the time they are asked at."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.placed: dict[str, int] = {}
        self.calls = 0

    @property
    def live_at(self) -> datetime | None:
        """When the bank lets the entity in."""
        after = self.schedule.live_after
        return None if after is None else START + after

    @property
    def ready_at(self) -> datetime | None:
        """When the results are there."""
        return None if self.live_at is None else self.live_at + self.schedule.ready_after

    def first_ids(self, request: DataRequest) -> dict[str, str]:
        """The ids that the first placement will bring."""
        return self._ids(request, 1)

    def _ids(self, request: DataRequest, number: int) -> dict[str, str]:
        own = f"{request.id}-{number}"
        if request.resource is Resource.refresh:
            return {"refresh_id": own, "reconnect_id": own}
        return {"results_id": own, "reconnect_id": own if self.schedule.one_id else f"reconnect-{own}"}

    def place(self, request: DataRequest, now: datetime) -> Any:
        """Answer the data call: with data if the bank lets the entity in, else with what the schedule says."""
        self.calls += 1
        self.placed[request.id] = self.placed.get(request.id, 0) + 1
        ids = self._ids(request, self.placed[request.id])
        later = self.placed[request.id] > 1
        if later and self.ready_at is not None and now >= self.ready_at and request.resource is not Resource.refresh:
            return ex.an_ok(request, timestamp=now)
        if self.schedule.demands:
            return ex.a_reconnect(request, **ids, timestamp=now)
        del ids["reconnect_id"]
        return ex.a_pending(request, **ids, timestamp=now)

    def collect(self, request: DataRequest, now: datetime) -> Any:
        """Answer a GET: a demand until the bank lets the entity in, patience until the results are there, then data."""
        self.calls += 1
        if self.ready_at is not None and now >= self.ready_at:
            return ex.an_ok(request, timestamp=now)
        if self.schedule.demands and (self.live_at is None or now < self.live_at):
            return ex.a_reconnect(request, reconnect_id=request.reconnect_id, timestamp=now)
        if self.schedule.not_found:
            return ex.a_refusal(request, "UNKNOWN_RESULTS_ID", 404, timestamp=now)
        return ex.a_pending(request, timestamp=now)


class Driver:
    """What the engine does, without a store, a transport and a clock."""

    def __init__(self, schedule: Schedule) -> None:
        self.lean = Lean(schedule)
        self.schedule = schedule
        self.now = START
        self.requests = {
            f"request-{n}": example_request(id=f"request-{n}", resource=schedule.resource, call_no=0)
            for n in range(schedule.siblings)
        }
        self.aliases: dict[str, str] = {}
        self.busy: set[str] = set()
        self.parked: list[WebhookEvent] = []
        self.seen: set[str] = set()
        self.stored: dict[str, int] = dict.fromkeys(self.requests, 0)
        self.visited: set[State] = set()
        self.prompts = 0
        self._order = itertools.count()
        self._queue: list[tuple[datetime, int, Callable[[], object]]] = []

    def at(self, moment: datetime, do: Callable[[], object]) -> None:
        """Have something done later."""
        heapq.heappush(self._queue, (moment, next(self._order), do))

    def run(self) -> None:
        """Let time pass until every request has ended and everything was delivered."""
        self._send_webhooks()
        for _ in range(3000):
            due = [(r.due_at, r.id) for r in self.requests.values() if r.due_at is not None and r.id not in self.busy]
            first = min(due, default=None)
            if self._queue and (first is None or self._queue[0][0] <= first[0]):
                moment, _, do = heapq.heappop(self._queue)
                self.now = max(self.now, moment)
                do()
            elif first is not None:
                self.now = max(self.now, first[0])
                self._do_due(self.requests[first[1]])
            else:
                return
        raise AssertionError(f"no rest after 3000 steps: {self.requests}")

    def _send_webhooks(self) -> None:
        """Put every copy of every webhook on its way. They name the ids of the first placement."""
        if self.lean.live_at is None or self.lean.ready_at is None:
            return
        # One OTP names one reconnect id: of several requests of the entity only the first is announced.
        request = self.requests["request-0"]
        ids = self.lean.first_ids(request)
        if self.schedule.demands:
            event = ex.entity_reconnected(request, reconnect_id=ids["reconnect_id"], timestamp=self.lean.live_at)
            for after in self.schedule.reconnected:
                self.at(self.lean.live_at + after, lambda: self.receive(event))
        done: WebhookEvent
        if request.resource is Resource.refresh:
            done = ex.refresh_updated(request, refresh_id=ids["refresh_id"], timestamp=self.lean.ready_at)
        else:
            done = ex.results_ready(request, results_id=ids["results_id"], timestamp=self.lean.ready_at)
        for after in self.schedule.ready:
            self.at(self.lean.ready_at + after, lambda: self.receive(done))

    # what the engine does

    def receive(self, event: WebhookEvent) -> None:
        """One webhook: duplicates are dropped, what nobody owns is parked."""
        if event.inbox_key in self.seen:
            return
        self.seen.add(event.inbox_key)
        self._offer(event)

    def _offer(self, event: WebhookEvent) -> None:
        owner = self.aliases.get(_named_by(event))
        if owner is None:
            self.parked.append(event)
            return
        decision = self.step(owner, event)
        if isinstance(decision, Declined) and decision.reason is Reason.early:
            self.parked.append(event)

    def step(self, request_id: str, event: Any) -> Any:
        """Decide, store, follow the effects, and offer again what is parked."""
        request = self.requests[request_id]
        decision = decide(request, event.stamped(self.now))
        self.aliases.update({value: request_id for _, value in decision.ids})
        if isinstance(decision, Accepted):
            self.requests[request_id] = decision.request
            self.visited.add(decision.request.state)
            for effect in decision.effects:
                self._follow(decision.request, effect)
            parked, self.parked = self.parked, []
            for waiting in parked:
                self._offer(waiting)
        return decision

    def _follow(self, request: DataRequest, effect: Any) -> None:
        if isinstance(effect, StorePages):
            self.stored[request.id] += 1
        elif isinstance(effect, Wake):
            for other in self.requests:
                if other != request.id:
                    event = EntityProvedLive(proved_at=effect.proved_at)
                    self.at(self.now, partial(self.step, other, event))
        elif isinstance(effect, Announce) and effect.to_state is State.reconnect_required and self.schedule.asked:
            self.at(self.now + MINUTE, lambda: self._prompt(request.id))

    def _prompt(self, request_id: str) -> None:
        if request_id != "request-0" or self.prompts > len(self.schedule.hints):
            return
        if not isinstance(self.step(request_id, Prompted()), Accepted):
            return
        self.prompts += 1
        number = self.requests[request_id].prompt_number
        if number <= len(self.schedule.hints):
            hint = ex.hinted(self.requests[request_id], self.schedule.hints[number - 1])
            self.at(self.now + MINUTE, lambda: self.step(request_id, hint))

    def _do_due(self, request: DataRequest) -> None:
        action = next_action(request, self.now)
        assert action is not None
        if action in {Action.expire, Action.give_up}:
            self.step(request.id, ActionDue(action=action))
            return
        claimed = request.moved({"call_no": request.call_no + 1})
        self.requests[request.id] = claimed
        if action is Action.place:
            answer = self.lean.place(claimed, self.now)
            self.busy.add(request.id)
            self.at(self.now + self.schedule.answer_after, lambda: self._answered(request.id, answer))
        else:
            self.step(request.id, self.lean.collect(claimed, self.now))

    def _answered(self, request_id: str, answer: Any) -> None:
        self.busy.discard(request_id)
        self.step(request_id, answer)


def _named_by(event: WebhookEvent) -> str:
    match event:
        case ResultsReady():
            return event.results_id
        case EntityReconnected():
            return event.reconnect_id
        case RefreshUpdated():
            return event.refresh_id
        case _:
            raise AssertionError(event)


def run(schedule: Schedule) -> Driver:
    """Return the driver after everything has happened."""
    driver = Driver(schedule)
    driver.run()
    return driver


delays = st.lists(
    st.sampled_from([timedelta(), timedelta(seconds=1), MINUTE, 10 * MINUTE, 3 * HOUR, 25 * HOUR]), max_size=3
).map(tuple)
schedules = st.builds(
    Schedule,
    demands=st.booleans(),
    one_id=st.booleans(),
    answer_after=st.sampled_from([timedelta(), timedelta(seconds=50), 2 * HOUR]),
    live_after=st.sampled_from([timedelta(seconds=10), 5 * MINUTE, HOUR, 3 * DAY, 29 * DAY]),
    ready_after=st.sampled_from([timedelta(), timedelta(seconds=5), 5 * MINUTE, 3 * HOUR]),
    reconnected=delays,
    ready=delays,
    not_found=st.booleans(),
    asked=st.booleans(),
    hints=st.lists(st.sampled_from(["SUCCESS", "ERROR", "CANCELLED", "REDIRECT"]), max_size=3).map(tuple),
    resource=st.sampled_from([Resource.accounts, Resource.refresh]),
)


@given(schedules)
def test_any_order_duplication_and_loss_ends_with_the_data_fetched_once(schedule: Schedule) -> None:
    """Answer, `entity.reconnected` and `results.ready` in any order, twice, late or never: fetched, once."""
    if not schedule.demands:
        schedule = attrs.evolve(schedule, live_after=min(schedule.live_after or HOUR, HOUR))
    driver = run(schedule)
    (request,) = driver.requests.values()
    assert request.state is State.fetched, request
    assert driver.stored == {request.id: 1}
    assert request.placements <= 1


@given(schedules)
def test_a_user_who_never_comes_lets_the_request_expire(schedule: Schedule) -> None:
    """Whatever the SDK said, without the bank's word the request ends of age, and nothing was stored."""
    driver = run(attrs.evolve(schedule, demands=True, live_after=None))
    (request,) = driver.requests.values()
    assert request.state is State.expired
    assert driver.stored == {request.id: 0}
    assert not driver.visited & {State.reconnected, State.results_ready, State.fetched}
    assert driver.lean.calls < 60


@given(schedules, st.integers(2, 6))
def test_one_otp_brings_every_request_of_the_entity(schedule: Schedule, siblings: int) -> None:
    """Only the first request's user is asked; the proof places the others again, and all are fetched, each once."""
    driver = run(
        attrs.evolve(
            schedule,
            demands=True,
            siblings=siblings,
            resource=Resource.accounts,
            ready_after=timedelta(),
            live_after=5 * MINUTE,
            answer_after=timedelta(),
            asked=True,
            hints=(),
            reconnected=(timedelta(),),
        )
    )
    assert {r.state for r in driver.requests.values()} == {State.fetched}
    assert set(driver.stored.values()) == {1}
    assert {r.rounds_prompted for r in driver.requests.values() if r.id != "request-0"} == {0}


def test_every_order_of_the_three_messages_ends_alike() -> None:
    """All six orders of answer, `entity.reconnected` and `results.ready`, each event once or twice, v1 ids and v2."""
    for order in itertools.permutations(range(3)):
        for copies in (1, 2):
            for one_id in (True, False):
                answer, reconnected, ready = (timedelta(seconds=10 * (place + 1)) for place in order)
                driver = run(
                    Schedule(
                        one_id=one_id,
                        answer_after=answer,
                        live_after=timedelta(seconds=1),
                        reconnected=(reconnected,) * copies,
                        ready=(ready,) * copies,
                        asked=False,
                    )
                )
                (request,) = driver.requests.values()
                assert request.state is State.fetched
                assert driver.stored == {request.id: 1}
                assert driver.now < START + MINUTE
