"""`decide`, row by row: each cell of the table is taken by an example; what the table is never asked is declined."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import attrs
import pytest

from leanflow._due import Action
from leanflow._effects import Accepted, Announce, Reason, StorePages, Wake, WakeReason
from leanflow._machine import DEFAULT_POLICY, decide
from leanflow._policy import Policy
from leanflow._request import DataRequest, IdKind, Resource, State
from leanflow._table import LIVE, SAME, TABLE
from leanflow.events import (
    ActionDue,
    BankReturned,
    Cancelled,
    ConsentLost,
    EntityProvedLive,
    EntityUpdated,
    Event,
    Hinted,
    Nudged,
    OtherWebhook,
    Prompted,
    Renewed,
    Source,
)
from leanflow.testing import examples as ex
from leanflow.testing.examples import START, accepted, declined, example_in, example_request, take

REQUESTED, WANTED, AWAITING, RECONNECTED, READY = LIVE
FETCHED, EXPIRED, FAILED, CANCELLED = State.fetched, State.expired, State.failed, State.cancelled
USER = (WANTED, AWAITING)
OPEN = (REQUESTED, RECONNECTED, READY)
UNREADY = (REQUESTED, WANTED, AWAITING, RECONNECTED)
ONE_ROUND = Policy(max_rounds=1)
GRACE_SPENT = START + DEFAULT_POLICY.reconnect_grace
OTHER_IDS = {"results_id": "other", "reconnect_id": "other"}


@attrs.frozen
class Example:
    """One event on one request, and the row that it must take."""

    request: DataRequest
    event: Event
    dest: State | None
    guard: str | None = None
    policy: Policy = DEFAULT_POLICY

    @property
    def name(self) -> str:
        """What pytest calls it."""
        return f"{self.event.tag}-{self.request.state}-{self.dest or 'same'}-{self.guard}"


# --- requests that more than one event makes ---------------------------------------------------------------------


def revived(**fields: Any) -> DataRequest:
    """A request whose user was wanted, and which is placed again since its entity was proved live."""
    return take(example_in(WANTED, **fields), EntityProvedLive())


def asked_in_vain(policy: Policy = DEFAULT_POLICY) -> DataRequest:
    """A request whose user was asked and closed the window."""
    return take(awaiting := example_in(AWAITING), ex.hinted(awaiting, "CANCELLED"), policy=policy)


def revived_after_prompt() -> DataRequest:
    """A request whose prompt was given up after another request had proved the entity live."""
    live = take(example_in(AWAITING), EntityProvedLive())
    return take(live, ex.time_is_up(live))


def with_repeated_ids(state: State, resource: Resource = Resource.accounts) -> DataRequest:
    """A request in its second placement, which brought the id of the first one again."""
    if state is REQUESTED:
        first = example_in(REQUESTED, resource=resource)
        again = take(first, ex.time_is_up(first))
        return take(again, ex.a_pending(again), DEFAULT_POLICY.pending_limit)
    first = example_in(AWAITING, resource=resource)
    again = take(first, ex.a_reconnect(first, **OTHER_IDS, refresh_id=first.refresh_id))
    old = {"reconnect_id": first.reconnect_id, "results_id": first.results_id, "refresh_id": first.refresh_id}
    request = take(again, ex.a_reconnect(again, timestamp=START, **old))
    if state in {AWAITING, RECONNECTED}:
        request = take(request, Prompted())
    if state is RECONNECTED:
        request = take(request, ex.entity_reconnected(request, timestamp=START))
    return request


def out_of_budget() -> DataRequest:
    """A request whose placement brought no answer as often as is allowed."""
    request = example_request()
    for _ in range(5):
        request = take(request, ex.a_silence(request))
    return request


def held() -> DataRequest:
    """A request that DISABLED_BY_LEAN holds."""
    return take(request := example_request(), ex.a_refusal(request, "DISABLED_BY_LEAN"))


def at_its_end(state: State) -> tuple[DataRequest, ActionDue]:
    """A request whose deadline has come and whose last look found nothing, and that it is due to expire."""
    request = example_in(state, give_up_at=START + timedelta(minutes=5))
    end = START + timedelta(minutes=5)
    request = take(request, ex.a_pending(request), end)
    return request, ActionDue(action=Action.expire, at=end)


# --- the examples ------------------------------------------------------------------------------------------------


def answers() -> Iterator[Example]:
    """Lean answers."""
    new = example_request()
    for state in LIVE:
        request = example_in(state)
        yield Example(request, ex.an_ok(request), FETCHED)
        yield Example(request, ex.a_pending(request), SAME, "collected")
        yield Example(request, ex.a_refusal(request, "CONSENT_EXPIRED"), FAILED)
        yield Example(request, ex.a_silence(request), SAME, "collected")
    yield Example(new, ex.a_pending(new), SAME, "placed")
    yield Example(new, ex.a_reconnect(new), WANTED, "rounds_left")
    yield Example(revived(), ex.a_reconnect(revived(), source=Source.results), SAME, "collected_same_ids")
    for state in USER:
        request = example_in(state)
        yield Example(request, ex.a_reconnect(request), SAME, "collected_same_ids")
        yield Example(request, ex.a_reconnect(request, **OTHER_IDS), WANTED, "rounds_left")
        yield Example(request, ex.a_refusal(request, "BANK_ISSUE"), SAME, "collected_with_no_last_word")
    for state in (RECONNECTED, READY):
        request = example_in(state)
        again = ex.a_reconnect(request)
        yield Example(request, again, SAME, "collected_same_ids_in_grace")
        yield Example(request, again.stamped(GRACE_SPENT), WANTED, "rounds_left")
        yield Example(request, again.stamped(GRACE_SPENT), FAILED, policy=ONE_ROUND)
    for request in (asked_in_vain(), example_in(AWAITING), revived_after_prompt()):
        yield Example(request, ex.a_reconnect(request, **OTHER_IDS), FAILED, policy=ONE_ROUND)
    for state in OPEN:
        request = example_in(state)
        yield Example(request, ex.a_refusal(request, "UNKNOWN_RESULTS_ID", 404), SAME, "may_repeat_collection")
        yield Example(request, ex.a_refusal(request, "BANK_ISSUE"), REQUESTED, "budget_left")
    yield Example(new, ex.a_silence(new), SAME, "unanswered_budget_left")
    yield Example(out_of_budget(), ex.a_silence(out_of_budget()), FAILED)


def webhooks() -> Iterator[Example]:
    """Lean announces."""
    refresh = Resource.refresh
    for state in UNREADY:
        request = example_in(state)
        yield Example(request, ex.results_ready(request), READY)
        request = with_repeated_ids(state)
        yield Example(request, ex.results_ready(request), SAME, "ambiguous")
        request = example_in(state, resource=refresh)
        yield Example(request, ex.refresh_updated(request), READY, "finished")
        request = with_repeated_ids(state, refresh)
        yield Example(request, ex.refresh_updated(request), SAME, "finished+ambiguous")
    for state in USER:
        request = example_in(state)
        yield Example(request, ex.entity_reconnected(request), RECONNECTED)
        request = with_repeated_ids(state)
        yield Example(request, ex.entity_reconnected(request), SAME, "ambiguous")


def the_application() -> Iterator[Example]:
    """The application acts."""
    awaiting = example_in(AWAITING)
    live = take(awaiting, EntityProvedLive())
    for state in USER:
        yield Example(example_in(state), Prompted(), AWAITING, "may_be_prompted")
    yield Example(live, ex.hinted(live, "ERROR"), REQUESTED, "entity_live_since_prompt")
    yield Example(awaiting, ex.hinted(awaiting, "ERROR"), WANTED, "abandoned")
    yield Example(awaiting, ex.hinted(awaiting, "SUCCESS"), SAME)
    for state in LIVE:
        yield Example(example_in(state), Cancelled(), CANCELLED)
    for state in (EXPIRED, FAILED):
        yield Example(example_in(state), Renewed(successor_id="next"), SAME, "not_renewed")


def time_and_the_rest() -> Iterator[Example]:
    """Time passes, and something else happens."""
    for state in LIVE:
        yield Example(*at_its_end(state), EXPIRED, "expires")
        yield Example(example_in(state), ConsentLost(), FAILED)
    awaiting = example_in(AWAITING)
    live = take(awaiting, EntityProvedLive())
    yield Example(live, ex.time_is_up(live), REQUESTED, "gives_up_with_entity_live")
    yield Example(awaiting, ex.time_is_up(awaiting), WANTED, "gives_up")
    for state in OPEN:
        request = example_in(state)
        yield Example(request, ex.time_is_up(request), REQUESTED, "gives_up_first_time")
    for state in OPEN:
        again = placed_once_more(state)
        yield Example(again, ex.time_is_up(again), FAILED, "gives_up")
    yield Example(example_in(WANTED), EntityProvedLive(), REQUESTED, "revivable")
    yield Example(awaiting, EntityProvedLive(), SAME, "proof_is_news")
    yield Example(held(), BankReturned(), SAME, "held")
    for state in UNREADY:
        yield Example(example_in(state), Nudged(), SAME, "collectable")


def placed_once_more(state: State) -> DataRequest:
    """A request in an open state whose results did not come once already."""
    first = example_in(REQUESTED)
    again = take(first, ex.time_is_up(first))
    if state is REQUESTED:
        return take(again, ex.a_pending(again))
    if state is READY:
        return take(again, ex.results_ready(again))
    # Each round has a budget of its own and `reconnected` is entered once in it, so no history leads here.
    return example_in(RECONNECTED).moved({"placements": 1})


EXAMPLES = (*answers(), *webhooks(), *the_application(), *time_and_the_rest())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_a_row_is_taken_by_its_example(example: Example) -> None:
    """The event takes the row that the example names: its trigger, its guards, its destination."""
    done = accepted(example.request, example.event, policy=example.policy)
    assert done.trigger == example.event.tag
    assert done.request.state == (example.dest or example.request.state)
    assert _guard_of(example) == example.guard


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_each_acceptance_is_one_version_and_one_time(example: Example) -> None:
    """The version rises by one, `updated_at` is the event's time, and the old record is as it was."""
    before = example.request.to_dict()
    done = accepted(example.request, example.event, policy=example.policy)
    assert done.request.version == example.request.version + 1
    assert done.request.updated_at == (example.event.at or START)
    assert example.request.to_dict() == before


def test_no_cell_of_the_table_is_left_out() -> None:
    """Each row is taken in each of its states by some example."""
    cells = {(row.trigger, state, row.dest, row.guard_name) for row in TABLE for state in row.sources}
    taken = {(e.event.tag, e.request.state, e.dest, e.guard) for e in EXAMPLES}
    assert cells - taken == set()
    assert taken - cells == set()


def _guard_of(example: Example) -> str | None:
    event = example.event if example.event.at else example.event.stamped(START)
    for row in TABLE:
        asked = row.trigger == event.tag and example.request.state in row.sources
        if asked and all(guard(example.request, event, example.policy) for guard in row.guards):
            return row.guard_name
    pytest.fail("no row")


# --- what the table is never asked -------------------------------------------------------------------------------


def test_an_event_without_a_time_is_a_mistake() -> None:
    """The core reads no clock, so an event that has no time is refused by name."""
    with pytest.raises(ValueError, match="stamped"):
        decide(example_request(), Cancelled())


EVERY_EVENT: list[tuple[str, Event]] = [
    *sorted({e.event.tag: e.event for e in EXAMPLES}.items()),
    ("entity_updated", EntityUpdated(type="entity.updated", entity_id="entity-1")),
    ("other_webhook", OtherWebhook(type="payment.created")),
]


@pytest.mark.parametrize("state", sorted(State.ends()))
@pytest.mark.parametrize(("tag", "event"), EVERY_EVENT, ids=[tag for tag, _ in EVERY_EVENT])
def test_ends_absorb(state: State, tag: str, event: Event) -> None:
    """No event moves an end; only `renewed` is accepted, and only sets the link."""
    request = example_in(state)
    decision = decide(request, event.stamped(START + timedelta(days=400)))
    if isinstance(decision, Accepted):
        assert tag == "renewed"
        assert state in {EXPIRED, FAILED}
        assert decision.request.state is state
        assert decision.request.due_at is None
        assert decision.effects == ()
    else:
        assert decision.reason is not Reason.early


def test_an_end_is_renewed_once() -> None:
    """A second successor is declined by name; `cancelled` and `fetched` have none."""
    once = take(example_in(FAILED), Renewed(successor_id="next"))
    assert once.successor_id == "next"
    assert str(declined(once, Renewed(successor_id="another"))) == "guard:not_renewed"
    assert str(declined(example_in(CANCELLED), Renewed(successor_id="next"))) == "guard:state"
    assert str(declined(example_in(FETCHED), Renewed(successor_id="next"))) == "guard:state"


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("kind", ["results", "reconnect", "refresh"])
def test_an_id_of_another_round_is_stale(state: State, kind: str) -> None:
    """A webhook whose id is not the request's present one is stale, whatever the state."""
    request = example_in(state)
    events: dict[str, Event] = {
        "results": ex.results_ready(request, results_id="not-mine"),
        "reconnect": ex.entity_reconnected(request, reconnect_id="not-mine"),
        "refresh": ex.refresh_updated(request, refresh_id="not-mine"),
    }
    assert declined(request, events[kind]).reason is Reason.stale


@pytest.mark.parametrize("state", sorted(State.ends()))
def test_a_webhook_to_an_end_is_late(state: State) -> None:
    """On an end a webhook is late, with the present id or with another."""
    request = example_in(state)
    assert declined(request, ex.results_ready(request)).reason is Reason.late
    assert declined(request, ex.entity_reconnected(request, reconnect_id="old")).reason is Reason.late


@pytest.mark.parametrize("state", USER)
def test_where_ids_repeat_leans_clock_tells_the_rounds_apart(state: State) -> None:
    """An older timestamp than the round's is stale; the round's own is of this round; without one it is ambiguous."""
    request = with_repeated_ids(state)
    for make in (ex.results_ready, ex.entity_reconnected):
        old = make(request, timestamp=START - timedelta(seconds=1))
        assert declined(request, old).reason is Reason.stale
        assert take(request, make(request, timestamp=START)).state in {READY, RECONNECTED}
        unclear = take(request, make(request))
        assert unclear.state is state
        assert unclear.probe_at == START


def test_where_ids_differ_no_clock_is_asked() -> None:
    """An event whose id is this round's alone is believed, however old its timestamp: Lean's clock may be off."""
    request = take(r := example_request(), ex.a_reconnect(r, timestamp=START))
    assert take(request, ex.entity_reconnected(request, timestamp=START - timedelta(days=1))).state is RECONNECTED


def test_ids_of_results_that_were_refused_are_past() -> None:
    """Results refused with a retryable code are placed again, and what names the old ones is stale."""
    ready = example_in(READY)
    again = take(ready, ex.a_refusal(ready, "BANK_ISSUE"))
    assert again.results_id is None
    assert again.past_ids == ("results-1",)
    assert declined(again, ex.results_ready(ready)).reason is Reason.stale


def test_results_ready_before_entity_reconnected_is_normal() -> None:
    """The results may be announced first; the reconnect that comes after is only recorded, as late."""
    awaiting = example_in(AWAITING)
    ready = take(awaiting, ex.results_ready(awaiting))
    assert ready.state is READY
    assert declined(ready, ex.entity_reconnected(ready)).reason is Reason.late
    assert declined(ready, ex.results_ready(ready)).reason is Reason.late


def test_a_refresh_that_is_not_done_is_only_recorded() -> None:
    """`entity.data.refresh.updated` with any other status than FINISHED or OK changes nothing."""
    request = example_in(REQUESTED, resource=Resource.refresh)
    assert str(declined(request, ex.refresh_updated(request, "PENDING"))) == "guard:finished"
    assert take(request, ex.refresh_updated(request, "OK")).state is READY


# --- effects -----------------------------------------------------------------------------------------------------


def test_a_move_is_announced_and_a_stay_is_not() -> None:
    """Each state entered is announced; what leaves the request where it is has no effect."""
    request = example_in(AWAITING)
    done = accepted(request, ex.hinted(request, "CANCELLED"))
    assert done.effects == (Announce(from_state=AWAITING, to_state=WANTED),)
    assert accepted(request, ex.hinted(request)).effects == ()


def test_a_new_round_is_announced_where_it_is() -> None:
    """A demand with a new id while the user is wanted is a new round, and announced though the state is the same."""
    request = example_in(WANTED)
    done = accepted(request, ex.a_reconnect(request, **OTHER_IDS))
    assert done.effects == (Announce(from_state=WANTED, to_state=WANTED),)
    assert done.ids == ((IdKind.results, "other"), (IdKind.reconnect, "other"))


def test_what_was_fetched_is_stored_in_the_step_that_fetches() -> None:
    """OK carries its pages to the store."""
    done = accepted(r := example_in(REQUESTED), ex.an_ok(r))
    assert done.effects == (Announce(from_state=REQUESTED, to_state=FETCHED), StorePages(pages=(ex.PAGE,)))


def _wakes(request: DataRequest, event: Event) -> list[Wake]:
    return [effect for effect in accepted(request, event).effects if isinstance(effect, Wake)]


def test_a_proof_wakes_the_entitys_other_requests() -> None:
    """`entity.reconnected`, and results or their announcement out of a reconnect state, prove the entity live."""
    wake = [Wake(reason=WakeReason.live, entity_id="entity-1", proved_at=START)]
    for state in USER:
        request = example_in(state)
        assert _wakes(request, ex.entity_reconnected(request, timestamp=START)) == wake
        assert _wakes(request, ex.results_ready(request, timestamp=START)) == wake
        assert _wakes(request, ex.an_ok(request, timestamp=START)) == wake
    request = example_in(RECONNECTED)
    assert _wakes(request, ex.an_ok(request, timestamp=START)) == wake


def test_what_proves_nothing_wakes_nobody() -> None:
    """Not results of a request whose user was never wanted, not a refresh's, not what is ambiguous, not a hint."""
    plain = example_in(REQUESTED)
    refresh = example_in(AWAITING, resource=Resource.refresh)
    unclear = with_repeated_ids(AWAITING)
    awaiting = example_in(AWAITING)
    assert _wakes(plain, ex.an_ok(plain)) == []
    assert _wakes(plain, ex.results_ready(plain)) == []
    assert _wakes(refresh, ex.an_ok(refresh)) == []
    assert _wakes(unclear, ex.entity_reconnected(unclear)) == []
    assert _wakes(awaiting, ex.hinted(awaiting)) == []
    assert len(_wakes(refresh, ex.entity_reconnected(refresh))) == 1


# --- hints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["SUCCESS", "REDIRECT", "ERROR", "CANCELLED", "LINK_CLOSED_PROGRAMMATICALLY", "NEW"])
@pytest.mark.parametrize("state", list(State))
def test_a_hint_reaches_neither_reconnected_nor_an_end(state: State, status: str) -> None:
    """The Link SDK's word moves a request at most back to `reconnect_required`."""
    request = example_in(state)
    decision = decide(request, ex.hinted(request, status).stamped(START))
    if isinstance(decision, Accepted):
        assert state is AWAITING
        assert decision.request.state in USER


@pytest.mark.parametrize("state", list(State))
def test_a_hint_for_another_prompt_is_stale(state: State) -> None:
    """Each prompt has a number, and a callback that names another is stale in any state."""
    request = example_in(state)
    assert declined(request, Hinted(prompt_number=request.prompt_number + 1, status="ERROR")).reason is Reason.stale


def test_a_hint_after_the_prompt_was_taken_back_is_late() -> None:
    """The number is the last prompt's, but nobody waits for it any more."""
    request = asked_in_vain()
    assert declined(request, ex.hinted(request, "ERROR")).reason is Reason.late


def test_an_event_that_a_state_has_no_use_for_names_the_state() -> None:
    """What is not Lean's word, nor the SDK's, is declined by the guard that says no, or by the state."""
    assert str(declined(example_in(READY), Nudged())) == "guard:state"
    assert str(declined(example_request(), Nudged())) == "guard:collectable"
    assert str(declined(example_request(), Prompted())) == "guard:state"
    assert str(declined(example_request(), BankReturned())) == "guard:held"
