"""What is due and when, and that every wait comes to an end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from leanflow._due import LAST_CHANCES, Action, due_time, end_of, is_collectable, next_action, wants_last_probe
from leanflow._machine import DEFAULT_POLICY
from leanflow._request import DataRequest, Resource, State
from leanflow._table import LIVE
from leanflow.events import ActionDue, EntityProvedLive, Event, Nudged, Prompted
from leanflow.testing import examples as ex
from leanflow.testing.examples import START, example_in, example_request, take

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=s) for s in (1, 60, 3600, 86_400))
USER = (State.reconnect_required, State.awaiting_user)


# --- what is due -------------------------------------------------------------------------------------------------


def test_what_is_due_is_named_in_a_fixed_order() -> None:
    """Of all that is due the first is done: expire, fetch or probe, place, give up."""
    now = START
    request = example_request(place_at=now, probe_at=now, wait_until=now, give_up_at=now)
    assert next_action(request, now) is Action.expire
    request = example_request(place_at=now, probe_at=now, wait_until=now, results_id="r")
    assert next_action(request, now) is Action.probe
    assert next_action(request.moved({"state": State.results_ready}), now) is Action.fetch
    assert next_action(request.moved({"probe_at": None}), now) is Action.place
    assert next_action(request.moved({"probe_at": None, "place_at": None}), now) is Action.give_up
    assert [a.value for a in Action] == ["expire", "fetch", "probe", "place", "give_up"]


@pytest.mark.parametrize("field", ["place_at", "probe_at", "wait_until", "give_up_at"])
def test_nothing_is_due_before_its_time(field: str) -> None:
    """Each time counts from its own moment on, and not a microsecond earlier."""
    request = example_request(**{"place_at": None, field: START})
    assert next_action(request, START - timedelta(microseconds=1)) is None
    assert next_action(request, START) is not None
    assert due_time(request) == START


@pytest.mark.parametrize("state", sorted(State.ends()))
def test_nothing_is_ever_due_for_an_end(state: State) -> None:
    """An end has no due time, whatever its fields say."""
    request = example_in(state).moved({"place_at": START, "give_up_at": START})
    assert next_action(request, START + 400 * DAY) is None
    assert due_time(request) is None
    assert example_in(state).due_at is None


@pytest.mark.parametrize("state", LIVE)
def test_every_wait_has_a_due_time(state: State) -> None:
    """There is no live request that nothing will ever look after, and `due_at` is its time."""
    request = example_in(state)
    assert request.due_at is not None
    assert request.due_at == due_time(request)
    assert next_action(request, request.due_at) is not None


def test_a_request_with_an_id_can_be_looked_at() -> None:
    """A results id or a refresh id is something to GET; a reconnect id is not."""
    assert not is_collectable(example_request(reconnect_id="r"))
    assert is_collectable(example_request(results_id="r"))
    assert is_collectable(example_request(refresh_id="r"))


# --- the end -----------------------------------------------------------------------------------------------------


def test_a_reconnect_id_ends_a_request_only_while_the_user_is_wanted() -> None:
    """Once the bank let the user in, or the call is placed again, the age of the id is nobody's end."""
    wanted = example_in(State.reconnect_required)
    assert end_of(wanted) == START + 30 * DAY + 4 * HOUR
    assert end_of(take(wanted, EntityProvedLive())) is None
    assert end_of(example_in(State.reconnected)) is None


def test_of_two_ends_the_first_counts() -> None:
    """The caller's own deadline ends a request in any live state, the id's end if it is sooner."""
    for state in LIVE:
        assert end_of(example_in(state, give_up_at=START + DAY)) == START + DAY
    assert end_of(example_in(State.awaiting_user, give_up_at=START + 99 * DAY)) == START + 30 * DAY + 4 * HOUR


@pytest.mark.parametrize("state", USER)
def test_a_request_is_not_expired_without_a_last_look(state: State) -> None:
    """At the end of the grace the results are probed once more, then `expired` is due."""
    wanted = example_in(state)
    end = end_of(wanted)
    assert end is not None
    wanted = settle(wanted, end - SECOND)
    assert next_action(wanted, end) is Action.probe
    looked = take(wanted, ex.a_pending(wanted), end)
    assert next_action(looked, end) is Action.expire
    assert take(looked, ActionDue(action=Action.expire), end).state is State.expired


def test_data_found_by_the_last_look_wins() -> None:
    """OK at the very end fetches."""
    wanted = example_in(State.reconnect_required)
    assert take(wanted, ex.an_ok(wanted), wanted.expire_at).state is State.fetched


def test_a_webhook_wins_until_expired_is_entered() -> None:
    """An event that was delivered late, in the grace, still moves the request."""
    wanted = example_in(State.reconnect_required)
    assert take(wanted, ex.entity_reconnected(wanted), wanted.expire_at).state is State.reconnected


def test_a_look_before_the_end_is_not_the_last_look() -> None:
    """What was seen before the end says nothing about the end."""
    wanted = example_in(State.reconnect_required)
    end = wanted.expire_at
    assert end is not None
    early = take(wanted, ex.a_pending(wanted), end - SECOND)
    assert wants_last_probe(early, end)
    assert next_action(early, end) is Action.probe


def test_a_request_with_nothing_to_look_at_expires_at_once() -> None:
    """Without an id there is no last look."""
    request = example_request(give_up_at=START + MINUTE, place_at=START + HOUR)
    assert next_action(request, START + MINUTE) is Action.expire


def test_our_clock_alone_expires_nothing() -> None:
    """While Lean's own time, in the answer to the last look, is before the end, the end has not come."""
    wanted = example_in(State.reconnect_required)
    end = wanted.expire_at
    assert end is not None
    jumped = take(wanted, ex.a_pending(wanted, timestamp=end - 10 * DAY), end)
    assert next_action(jumped, end) is None
    assert jumped.due_at == end + 3 * DAY
    agreed = take(jumped, ex.a_pending(jumped, timestamp=end - 4 * MINUTE), end + 3 * DAY)
    assert next_action(agreed, end + 3 * DAY) is Action.expire


def test_a_clock_that_stands_still_keeps_nothing_for_ever() -> None:
    """Were Lean's timestamp that of the first answer and not of this one, the request still ends."""
    request = example_in(State.reconnect_required)
    request, steps = left_alone(request, lambda r: ex.a_pending(r, timestamp=START))
    assert request.state is State.expired
    assert steps < 30
    assert request.updated_at < START + 75 * DAY


def test_last_looks_that_nobody_answers_are_twelve_in_about_a_day() -> None:
    """Silence at the end is tried again, ever more slowly, and then taken for an answer."""
    request = example_in(State.reconnect_required)
    end = request.expire_at
    assert end is not None
    request, _ = left_alone(request, ex.a_silence)
    assert request.state is State.expired
    assert request.last_chances == LAST_CHANCES
    assert DAY < request.updated_at - end < 2 * DAY


def test_after_the_last_of_them_it_expires_at_once() -> None:
    """The twelfth look without an answer is the last: nothing waits for its backoff any more."""
    request = example_in(State.reconnect_required)
    end = request.expire_at
    assert end is not None
    for _ in range(LAST_CHANCES):
        assert next_action(request, end + 9 * DAY) is not Action.expire
        request = take(request, ex.a_silence(request), end + 9 * DAY)
    assert next_action(request, end + 9 * DAY) is Action.expire
    assert request.due_at is not None
    assert request.due_at <= end + 9 * DAY


def test_a_new_demand_at_the_callers_deadline_is_not_looked_at_for_ever() -> None:
    """Were each look at the end answered by a new demand, one look is enough all the same."""
    request = example_in(State.requested, give_up_at=START + MINUTE)
    ids = iter(range(100))

    def again(r: DataRequest) -> Event:
        new = f"new-{next(ids)}"
        return ex.a_reconnect(r, results_id=new, reconnect_id=new)

    request, steps = left_alone(request, again)
    assert request.state is State.expired
    assert steps < 5


def test_time_going_backwards_gives_no_end_back() -> None:
    """An expired request stays so when the clock is set back, and so does what a step was refused for."""
    request = example_in(State.expired)
    assert next_action(request, START - 40 * DAY) is None
    assert due_time(request) is None


# --- left alone --------------------------------------------------------------------------------------------------

Answering = Callable[[DataRequest], Event]


def left_alone(request: DataRequest, answer: Answering, most: int = 400) -> tuple[DataRequest, int]:
    """Let time pass from due time to due time, every call answered alike, until the request ends."""
    now = request.updated_at
    for step in range(most):
        if request.state.is_end:
            return request, step
        due = request.due_at
        assert due is not None, f"nobody will ever look after it: {request}"
        now = max(now, due)
        request = one_due_step(request, now, answer)
    pytest.fail(f"no end after {most} steps: {request}")


def one_due_step(request: DataRequest, now: datetime, answer: Answering) -> DataRequest:
    """Do what is due."""
    action = next_action(request, now)
    assert action is not None, f"due, and nothing to do at {now}: {request}"
    if action in {Action.expire, Action.give_up}:
        return take(request, ActionDue(action=action), now)
    request = request.moved({"call_no": request.call_no + 1})
    return take(request, answer(request), now)


def settle(request: DataRequest, until: datetime) -> DataRequest:
    """Let time pass up to `until`, every call answered PENDING."""
    while request.due_at is not None and request.due_at <= until:
        request = one_due_step(request, request.due_at, ex.a_pending)
    return request


def demand(r: DataRequest) -> Event:
    """RECONNECT_REQUIRED, always with the same id."""
    return ex.a_reconnect(r)


def refused(code: str, http_status: int = 200, **fields: Any) -> Answering:
    """An answer that is always the same refusal."""
    return lambda r: ex.a_refusal(r, code, http_status, **fields)


WORLDS: dict[str, Answering] = {
    "pending": ex.a_pending,
    "pending without ids": lambda r: ex.a_pending(r, results_id=None, refresh_id=None),
    "silence": ex.a_silence,
    "never sent": lambda r: ex.a_silence(r, maybe_sent=False),
    "the same demand": demand,
    "demand without ids": lambda r: ex.a_reconnect(r, results_id=None, refresh_id=None, reconnect_id="x"),
    "not there yet": refused("UNKNOWN_RESULTS_ID", 404),
    "server error": refused("INTERNAL_SERVER_ERROR", 500),
    "not JSON": refused("NOT_JSON", 502),
    "rate limit": refused("RATE_LIMIT_EXCEEDED", 429, retry_after=3600.0),
    "rate limit for ever": refused("RATE_LIMIT_EXCEEDED", 429, retry_after=1e12),
    "bank issue": refused("BANK_ISSUE"),
    "disabled": refused("DISABLED_BY_LEAN"),
    "duplicate": refused("DUPLICATED_REQUEST", 429),
    "wrong certificate": refused("INVALID_CERTIFICATE", 403),
    "unknown code": refused("SOMETHING_NEW"),
    "final": refused("EU_ACCOUNT_LOCKED"),
}


@pytest.mark.parametrize("give_up_after", [None, timedelta(seconds=20), timedelta(hours=30), timedelta(days=60)])
@pytest.mark.parametrize("resource", [Resource.accounts, Resource.refresh])
@pytest.mark.parametrize("world", WORLDS)
def test_a_request_that_is_left_alone_ends(world: str, resource: Resource, give_up_after: timedelta | None) -> None:
    """From any live state, with no webhook and no user, and every call answered alike, an end is reached."""
    give_up_at = None if give_up_after is None else START + give_up_after
    starts = [example_in(state, resource=resource, give_up_at=give_up_at) for state in LIVE]
    starts.append(example_request(resource=resource, give_up_at=give_up_at))
    starts.append(take(starts[2], ex.hinted(starts[2])))
    starts.append(take(starts[2], ex.hinted(starts[2], "ERROR")))
    starts.append(take(starts[2], EntityProvedLive()))
    for request in starts:
        ended, steps = left_alone(request, WORLDS[world])
        assert steps <= 80
        assert ended.updated_at - START < timedelta(days=80)
        if give_up_at is not None and world in {"pending", "the same demand", "not there yet"}:
            assert ended.updated_at <= max(give_up_at, START) + timedelta(seconds=1)


@pytest.mark.parametrize("world", ["pending", "silence", "the same demand", "not there yet"])
def test_a_waiting_request_is_polite(world: str) -> None:
    """A request that waits makes at most twelve calls a day (RELIABILITY, R28), whatever it waits for."""
    for state in LIVE:
        request = example_in(state)
        calls: list[datetime] = []
        now = START
        while not request.state.is_end:
            assert request.due_at is not None
            now = max(now, request.due_at)
            if next_action(request, now) in {Action.probe, Action.fetch, Action.place}:
                calls.append(now)
            request = one_due_step(request, now, WORLDS[world])
        busiest = max(sum(1 for other in calls if call <= other < call + DAY) for call in calls)
        assert busiest <= 12, (state, busiest)


# --- the limits of each wait -------------------------------------------------------------------------------------


def test_pending_is_believed_for_a_day_then_placed_once_more_then_it_fails() -> None:
    """A day, one more placement, a day, RESULTS_UNAVAILABLE."""
    request = example_in(State.requested)
    seen = []
    now = START
    while not request.state.is_end:
        assert request.due_at is not None
        now = max(now, request.due_at)
        action = next_action(request, now)
        if action in {Action.place, Action.give_up}:
            seen.append((action, now - START))
        request = one_due_step(request, now, ex.a_pending)
    assert seen == [(Action.give_up, DAY), (Action.place, DAY), (Action.give_up, 2 * DAY)]
    assert request.failure is not None
    assert request.failure.code == "RESULTS_UNAVAILABLE"


@pytest.mark.parametrize("state", [State.reconnected, State.results_ready])
def test_results_are_waited_for_a_day_then_placed_once_more(state: State) -> None:
    """The same where the results were announced, or expected."""
    request = settle(example_in(state), START + DAY)
    assert (request.state, request.placements) == (State.requested, 1)
    ended, _ = left_alone(request, ex.a_pending)
    assert ended.failure is not None
    assert ended.failure.code == "RESULTS_UNAVAILABLE"
    assert ended.updated_at == START + 2 * DAY


def test_a_prompt_is_given_up_after_a_probe() -> None:
    """At the user timeout the results are probed first, then the prompt is taken back."""
    awaiting = example_in(State.awaiting_user)
    timeout = START + DEFAULT_POLICY.user_timeout
    assert awaiting.due_at == timeout
    assert next_action(awaiting, timeout) is Action.probe
    looked = take(awaiting, ex.a_pending(awaiting), timeout)
    assert next_action(looked, timeout) is Action.give_up
    assert take(looked, ActionDue(action=Action.give_up), timeout).state is State.reconnect_required


def test_refused_results_and_refused_placements_share_one_budget() -> None:
    """Results refused again and again, each placement taken on: the codes' budget is not filled up by PENDING."""
    request = example_request()
    placements = 0
    now = START
    while not request.state.is_end:
        assert request.due_at is not None
        now = max(now, request.due_at)
        request = request.moved({"call_no": request.call_no + 1})
        if next_action(request, now) is Action.place:
            placements += 1
            request = take(request, ex.a_pending(request, results_id=f"results-{placements}"), now)
            request = take(request, ex.results_ready(request), now)
        else:
            request = take(request, ex.a_refusal(request, "LEAN_ERROR"), now)
    assert placements == 5
    assert request.failure is not None
    assert request.failure.code == "LEAN_ERROR"


def test_the_user_is_asked_in_three_rounds_and_no_more() -> None:
    """The fourth demand after three prompted rounds fails as a loop; rounds that nobody was asked in do not count."""
    request = example_request()
    for number in range(3):
        new = f"id-{number}"
        request = take(request, ex.a_reconnect(request, results_id=new, reconnect_id=new))
        unasked = f"unasked-{number}"
        request = take(request, ex.a_reconnect(request, results_id=unasked, reconnect_id=unasked))
        request = take(request, Prompted())
    assert (request.round, request.rounds_prompted) == (6, 3)
    request = take(request, ex.a_reconnect(request, results_id="last", reconnect_id="last"))
    assert request.failure is not None
    assert request.failure.code == "RECONNECT_LOOP"


def test_due_times_hold_while_the_last_look_is_put_off() -> None:
    """What was due before the end stays due when the last look has to wait, so that no worker spins on it."""
    request = example_in(State.reconnect_required, give_up_at=START + MINUTE)
    request = take(request, EntityProvedLive(delay=30 * SECOND))
    request = take(request, Nudged(delay=2 * MINUTE))
    for seconds in range(0, 200, 10):
        now = START + timedelta(seconds=seconds)
        assert request.due_at is not None
        assert (next_action(request, now) is not None) == (request.due_at <= now)
