"""Any history at all: random events at random times, and what must hold after each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st
from transitions import Machine, MachineError

from leanflow._due import LAST_CHANCES, Action, due_time, end_of, next_action
from leanflow._effects import Accepted, Announce, Decision, Declined, Reason, StorePages
from leanflow._machine import DEFAULT_POLICY, _misplaced, build_machine, decide
from leanflow._policy import Policy
from leanflow._request import DataRequest, Resource, State
from leanflow._table import TABLE
from leanflow.events import (
    ActionDue,
    AnsweredRefused,
    AnswerEvent,
    BankReturned,
    Cancelled,
    ConsentLost,
    EntityProvedLive,
    EntityReconnected,
    EntityUpdated,
    Event,
    Hinted,
    Nudged,
    Prompted,
    Renewed,
    Source,
    WebhookEvent,
)
from leanflow.testing import examples as ex
from leanflow.testing.examples import START, example_request

# --- a walk: what is drawn, and what it means for the request as it then is --------------------------------------

JUMPS = tuple(
    timedelta(seconds=s) for s in (0, 0, 1, 31, 61, 700, 1000, 7200, 90_000, 700_000, 2_700_000, -1, -3600, -3_500_000)
)
CODES = (
    ("BANK_ISSUE", 200),
    ("LEAN_ERROR", 200),
    ("DISABLED_BY_LEAN", 200),
    ("DUPLICATED_REQUEST", 429),
    ("UNKNOWN_RESULTS_ID", 404),
    ("INTERNAL_SERVER_ERROR", 500),
    ("INVALID_CERTIFICATE", 403),
    ("EU_ACCOUNT_LOCKED", 200),
    ("CONSENT_EXPIRED", 403),
    ("SOMETHING_NEW", 200),
)
RETRY_AFTER = (None, None, None, 5.0, 7200.0, 1e12)
HINTS = ("SUCCESS", "ERROR", "CANCELLED", "REDIRECT", "SOMETHING_NEW")
POLICIES = (DEFAULT_POLICY, Policy(place_siblings=False, max_rounds=1, max_hint_errors=1, expiry_grace=timedelta()))


@attrs.frozen
class Walk:
    """A request, a policy, and numbers that pick its events."""

    request: DataRequest
    policy: Policy
    picks: tuple[tuple[int, int, int, int], ...]


requests = st.builds(
    lambda resource, patience: example_request(
        resource=resource, give_up_at=None if patience is None else START + timedelta(hours=patience)
    ),
    st.sampled_from([Resource.accounts, Resource.transactions, Resource.refresh]),
    st.sampled_from([None, None, 1, 30, 2000]),
)
digits = st.integers(0, 59)
walks = st.builds(
    Walk,
    requests,
    st.sampled_from(POLICIES),
    st.lists(st.tuples(digits, digits, digits, digits), max_size=25).map(tuple),
)


def lean_time(request: DataRequest, at: datetime, n: int) -> datetime | None:
    """One of the times that Lean may give."""
    return (None, at, at - timedelta(days=20), request.round_started_at)[n % 4]


def an_id(request: DataRequest, own: str | None, n: int) -> str:
    """The present id, one of the past, or one that nobody knows."""
    past = request.past_ids[-1] if request.past_ids else "unknown"
    return (own or "id-0", own or "id-1", past, f"id-{n % 7}")[n % 4]


def an_answer(request: DataRequest, at: datetime, b: int, c: int) -> AnswerEvent:
    """An answer to the present call, or to another."""
    common: dict[str, Any] = {
        "timestamp": lean_time(request, at, b),
        "call_no": max(request.call_no - (c % 5 == 0), 0),
    }
    if c % 4 == 0:
        common["source"] = (Source.placement, Source.results, Source.refresh)[b % 3]
    kind = c % 6
    if kind == 0:
        return ex.an_ok(request, **common)
    if kind == 1:
        return ex.a_silence(request, maybe_sent=b % 2 == 0, **common)
    if kind == 2:
        code, http_status = CODES[b % len(CODES)]
        told = RETRY_AFTER[c % len(RETRY_AFTER)]
        return ex.a_refusal(request, code, http_status, retry_after=told, **common)
    new = an_id(request, request.results_id or request.refresh_id, b)
    ids = {"refresh_id": new} if request.resource is Resource.refresh else {"results_id": new}
    if kind == 3:
        return ex.a_pending(request, **(ids if b % 5 else {}), **common)
    return ex.a_reconnect(request, **ids, reconnect_id=new, **common)


def a_webhook(request: DataRequest, at: datetime, b: int, c: int) -> WebhookEvent:
    """A webhook for the present round, or for another."""
    time = lean_time(request, at, c)
    if b % 3 == 0:
        return ex.results_ready(request, results_id=an_id(request, request.results_id, c), timestamp=time)
    if b % 3 == 1:
        return ex.entity_reconnected(request, reconnect_id=an_id(request, request.reconnect_id, c), timestamp=time)
    status = ("FINISHED", "OK", "PENDING")[b % 7 % 3]
    return ex.refresh_updated(request, status, refresh_id=an_id(request, request.refresh_id, c), timestamp=time)


def an_event(request: DataRequest, at: datetime, a: int, b: int, c: int) -> Any:
    """The event that three numbers mean for a request."""
    makes: tuple[Callable[[], Any], ...] = (
        lambda: an_answer(request, at, b, c),
        lambda: an_answer(request, at, b, c),
        lambda: an_answer(request, at, b, c),
        lambda: a_webhook(request, at, b, c),
        lambda: a_webhook(request, at, b, c),
        Prompted,
        Prompted,
        lambda: Hinted(prompt_number=request.prompt_number - (b % 4 == 0), status=HINTS[c % len(HINTS)]),
        lambda: ActionDue(action=(Action.give_up, Action.expire)[b % 2]),
        lambda: ActionDue(action=(Action.give_up, Action.expire)[b % 2]),
        lambda: EntityProvedLive(proved_at=lean_time(request, at, b), delay=timedelta(seconds=c)),
        lambda: Nudged(delay=timedelta(seconds=c)),
        lambda: BankReturned(delay=timedelta(seconds=c)),
        lambda: (
            (Cancelled(), ConsentLost(), EntityUpdated(type="entity.updated", entity_id="e"))[b % 3]
            if c % 3 == 0
            else Renewed(successor_id=f"next-{b}")
        ),
    )
    return makes[a % len(makes)]()


def steps(walk: Walk) -> Iterator[tuple[DataRequest, Event, Decision, DataRequest]]:
    """Take the walk: each request, what happened, what was decided, and the request after it."""
    request, at = walk.request, START
    for a, b, c, jump in walk.picks:
        at += JUMPS[jump % len(JUMPS)]
        if jump % 3 == 0 and request.due_at is not None:
            at = max(at, request.due_at)
        if jump % 2 == 0:
            request = request.moved({"call_no": request.call_no + 1})  # a claim
        event = an_event(request, at, a, b, c).stamped(at)
        decision = decide(request, event, walk.policy)
        after = decision.request if isinstance(decision, Accepted) else request
        yield request, event, decision, after
        request = after


# --- what holds --------------------------------------------------------------------------------------------------


@given(walks)
def test_the_machine_is_the_one_that_transitions_would_build(walk: Walk) -> None:
    """A stock `Machine` built from the same table accepts what ours accepts and ends up where ours does."""
    stock = build_machine(TABLE, Machine)

    class Model:
        state: Any = State.requested

    model = Model()
    stock.add_model(model)
    for before, event, decision, after in steps(walk):
        assert model.state is before.state
        if _misplaced(before, event) is not None:
            assert isinstance(decision, Declined)
            continue
        try:
            accepted = event.tag in stock.events and stock.events[event.tag].trigger(model, before, event, walk.policy)
        except MachineError:  # the stock machine has no row at all for this trigger in this state
            accepted = False
        assert accepted == isinstance(decision, Accepted)
        assert model.state is after.state


@given(walks)
def test_the_version_rises_by_one_with_each_acceptance(walk: Walk) -> None:
    """Once per accepted event and not at all otherwise; what is declined leaves no trace on the record."""
    version = walk.request.version
    for before, event, decision, after in steps(walk):
        accepted = isinstance(decision, Accepted)
        version += accepted
        assert after.version == version
        assert (after is before) is not accepted
        assert not accepted or after.updated_at == event.at


@given(walks)
def test_deciding_twice_decides_the_same(walk: Walk) -> None:
    """No clock and no dice: the loser of a race that decides again gets the same times."""
    for before, event, decision, _ in steps(walk):
        assert decide(before, event, walk.policy) == decision


@given(walks)
def test_due_time_is_when_something_is_first_due(walk: Walk) -> None:
    """`due_time <= t` exactly when `next_action(t)` names something, at any `t`: no spinning, and nobody forgotten."""
    for _, event, _, after in steps(walk):
        assert event.at is not None
        marks = [after.due_at, after.probe_at, after.place_at, after.wait_until, after.quiet_until, end_of(after)]
        tick = timedelta(microseconds=1)
        for mark in (event.at, *(m for m in marks if m is not None)):
            for t in (mark - tick, mark, mark + tick, mark - timedelta(days=50), mark + timedelta(days=50)):
                is_due = after.due_at is not None and after.due_at <= t
                assert is_due == (next_action(after, t) is not None)
        assert after.due_at == due_time(after)
        assert (after.due_at is None) == after.state.is_end


@given(walks)
def test_ends_absorb(walk: Walk) -> None:
    """An end is never left; nothing but the link to a successor changes, once."""
    for before, event, decision, after in steps(walk):
        if before.state.is_end:
            assert after.state is before.state
            if isinstance(decision, Accepted):
                assert event.tag == "renewed"
                assert before.successor_id is None
                assert decision.effects == ()


@given(walks)
def test_only_a_matching_id_moves_a_request(walk: Walk) -> None:
    """No webhook with any other id than the present one changes anything."""
    named = {"results_ready": "results_id", "entity_reconnected": "reconnect_id", "refresh_updated": "refresh_id"}
    for before, event, decision, _ in steps(walk):
        if isinstance(event, WebhookEvent) and isinstance(decision, Accepted):
            name = named[event.tag]
            assert getattr(event, name) == getattr(before, name)
        if isinstance(event, WebhookEvent) and event.tag in named:
            name = named[event.tag]
            if getattr(event, name) != getattr(before, name):
                assert isinstance(decision, Declined)
                assert decision.reason in {Reason.stale, Reason.late}


@given(walks)
def test_only_the_banks_word_reaches_reconnected(walk: Walk) -> None:
    """`reconnected` is entered by `entity.reconnected` alone, `results_ready` by an announcement alone."""
    for before, event, _, after in steps(walk):
        if after.state is not before.state:
            if after.state is State.reconnected:
                assert isinstance(event, EntityReconnected)
            if after.state is State.results_ready:
                assert event.tag in {"results_ready", "refresh_updated"}
            if after.state is State.fetched:
                assert event.tag == "answered_ok"
            if after.state is State.expired:
                assert event.tag == "action_due"


@given(walks)
def test_a_hint_moves_a_request_only_back(walk: Walk) -> None:
    """From `awaiting_user` to `reconnect_required`, or to a placement that another request's proof has earned."""
    for before, event, decision, after in steps(walk):
        if isinstance(event, Hinted) and isinstance(decision, Accepted):
            assert before.state is State.awaiting_user
            assert after.state in {State.awaiting_user, State.reconnect_required, State.requested}
            assert after.state is not State.requested or before.entity_live_at is not None


@given(walks)
def test_expired_is_entered_at_the_end_and_not_before(walk: Walk) -> None:
    """Never before the request's end by our clock, and after a last look, or as many as nobody answered."""
    for before, event, _, after in steps(walk):
        if after.state is State.expired and before.state is not State.expired:
            end = end_of(before)
            assert end is not None
            assert event.at is not None
            assert event.at >= end
            looked = before.probed_at is not None and before.probed_at >= end
            nothing = before.results_id is None and before.refresh_id is None
            assert looked or nothing or before.last_chances >= LAST_CHANCES


@given(walks)
def test_lean_is_never_called_sooner_than_it_said(walk: Walk) -> None:
    """After a `Retry-After` nothing makes a call due before it is over, unless the answer was of an overtaken call."""
    quiet: datetime | None = None
    for _, event, decision, after in steps(walk):
        told = event.retry_after if isinstance(event, AnsweredRefused) else None
        if told is not None and isinstance(decision, Accepted) and not after.state.is_end:
            assert event.at is not None
            until = event.at + timedelta(seconds=min(told, 86_400))
            quiet = until if quiet is None else max(quiet, until)
        if quiet is not None:
            just_before = quiet - timedelta(microseconds=1)
            assert next_action(after, just_before) not in {Action.place, Action.probe, Action.fetch}


@given(walks)
def test_rounds_count_only_where_somebody_was_asked(walk: Walk) -> None:
    """At most as many prompted rounds as the policy allows, and a round is one more at a time."""
    for before, event, _, after in steps(walk):
        assert after.rounds_prompted <= walk.policy.max_rounds
        assert after.rounds_prompted <= after.round
        assert after.round - before.round in {0, 1}
        assert after.round == before.round or event.tag == "answered_reconnect"
        assert after.rounds_prompted == before.rounds_prompted or event.tag == "prompted"


@given(walks)
def test_effects_follow_from_the_move(walk: Walk) -> None:
    """Each state entered is announced once, pages are stored exactly once, and only by what enters `fetched`."""
    stored = 0
    for before, _, decision, after in steps(walk):
        if isinstance(decision, Accepted):
            announced = [e for e in decision.effects if isinstance(e, Announce)]
            moved = after.state is not before.state or after.round != before.round
            assert announced == ([Announce(from_state=before.state, to_state=after.state)] if moved else [])
            stored += sum(isinstance(e, StorePages) for e in decision.effects)
            assert (after.failure is not None) == (after.state is State.failed)
    assert stored <= 1


@given(walks)
def test_a_record_survives_being_stored_between_any_two_steps(walk: Walk) -> None:
    """Written down and read again after each event, the request decides the same."""
    for before, event, decision, _ in steps(walk):
        assert decide(DataRequest.from_dict(before.to_dict()), event, walk.policy) == decision


@given(walks)
def test_what_a_request_knew_it_still_knows(walk: Walk) -> None:
    """Every id that a request ever had is its present one or one of its past: no webhook of its own is an orphan."""
    known: set[str] = set()
    for _, _, _, after in steps(walk):
        present = {i for i in (after.results_id, after.reconnect_id, after.refresh_id) if i is not None}
        assert known <= present | set(after.past_ids)
        known |= present


@given(walks, st.integers(1, 10**6))
def test_a_clock_set_back_gives_nothing_back(walk: Walk, seconds: int) -> None:
    """After an end, whatever the time, there is nothing due and no event that moves it."""
    last: DataRequest | None = None
    for _, _, _, after in steps(walk):
        last = after
    if last is not None and last.state.is_end:
        earlier = START - timedelta(seconds=seconds)
        assert next_action(last, earlier) is None
        for action in Action:
            assert isinstance(decide(last, ActionDue(action=action, at=earlier)), Declined)


@pytest.mark.parametrize("state", list(State))
def test_walks_reach_every_state(state: State) -> None:
    """The walks above would mean little if they stayed at home: each state is reached by some numbers."""
    from hypothesis import find

    found = find(walks, lambda walk: any(after.state is state for _, _, _, after in steps(walk)))
    assert found is not None
