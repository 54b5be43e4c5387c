"""Each guard, both ways."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from leanflow import _guards as when
from leanflow._due import Action
from leanflow._machine import DEFAULT_POLICY
from leanflow._policy import Policy
from leanflow._request import DataRequest, Resource, State
from leanflow._table import TABLE, Guard
from leanflow.events import ActionDue, BankReturned, Cancelled, EntityProvedLive, Event, Prompted, Renewed, Source
from leanflow.testing import examples as ex
from leanflow.testing.examples import START, example_in, example_request, take

NEW = example_request()
PENDING = example_in(State.requested)
WANTED = example_in(State.reconnect_required)
AWAITING = example_in(State.awaiting_user)
RECONNECTED = example_in(State.reconnected)
READY = example_in(State.results_ready)
FAILED = example_in(State.failed)
REFRESH = example_in(State.awaiting_user, resource=Resource.refresh)
LIVE = take(AWAITING, EntityProvedLive())
LIVE_REFRESH = take(REFRESH, EntityProvedLive())
HELD = take(NEW, ex.a_refusal(NEW, "DISABLED_BY_LEAN"))
CLOCKED = take(NEW, ex.a_reconnect(NEW, timestamp=START))
GRACE = DEFAULT_POLICY.reconnect_grace
SECOND = timedelta(seconds=1)
NO_SIBLINGS = Policy(place_siblings=False)


@attrs.frozen
class Case:
    """What a guard says."""

    guard: Guard
    expected: bool
    request: DataRequest
    event: Event
    policy: Policy = DEFAULT_POLICY


def due(action: Action, at: timedelta) -> ActionDue:
    """A due time, seen so long after the start."""
    return ActionDue(action=action, at=START + at)


def repeated(*, timestamp: bool = True) -> DataRequest:
    """A request whose second round has the ids of its first, opened by an answer with Lean's time or without."""
    other = take(WANTED, ex.a_reconnect(WANTED, results_id="other", reconnect_id="other"))
    old = ex.a_reconnect(
        other, results_id="results-1", reconnect_id="results-1", timestamp=START if timestamp else None
    )
    return take(other, old)


def tried(code: str, times: int) -> DataRequest:
    """A request refused so often."""
    request = NEW
    for _ in range(times):
        request = take(request, ex.a_refusal(request, code))
    return request


def silent(times: int) -> DataRequest:
    """A request unanswered so often."""
    request = NEW
    for _ in range(times):
        request = take(request, ex.a_silence(request))
    return request


def failed_hints(times: int) -> DataRequest:
    """A request whose Link SDK said ERROR so often in this round."""
    request = WANTED
    for _ in range(times):
        request = take(request, Prompted())
        request = take(request, ex.hinted(request, "ERROR"))
    return request


def yes(guard: Guard, request: DataRequest, event: Event, policy: Policy = DEFAULT_POLICY) -> Case:
    """The guard holds."""
    return Case(guard, expected=True, request=request, event=event, policy=policy)


def no(guard: Guard, request: DataRequest, event: Event, policy: Policy = DEFAULT_POLICY) -> Case:
    """The guard does not hold."""
    return Case(guard, expected=False, request=request, event=event, policy=policy)


ANSWERS = [
    yes(when.placed, NEW, ex.a_pending(NEW)),
    no(when.placed, PENDING, ex.a_pending(PENDING)),
    no(when.placed, NEW, Cancelled()),
    yes(when.collected, PENDING, ex.a_pending(PENDING)),
    yes(when.collected, PENDING, ex.a_pending(PENDING, source=Source.refresh)),
    no(when.collected, NEW, ex.a_pending(NEW)),
    no(when.collected, NEW, Cancelled()),
    yes(when.collected_same_ids, WANTED, ex.a_reconnect(WANTED)),
    yes(when.collected_same_ids, WANTED, ex.a_reconnect(WANTED, reconnect_id=None)),
    no(when.collected_same_ids, WANTED, ex.a_reconnect(WANTED, reconnect_id="other")),
    no(when.collected_same_ids, WANTED, ex.a_reconnect(WANTED, source=Source.placement)),
    no(when.collected_same_ids, WANTED, ex.a_pending(WANTED)),
    yes(when.collected_same_ids_in_grace, READY, ex.a_reconnect(READY).stamped(START + GRACE - SECOND)),
    no(when.collected_same_ids_in_grace, READY, ex.a_reconnect(READY).stamped(START + GRACE)),
    no(when.collected_same_ids_in_grace, READY, ex.a_reconnect(READY, reconnect_id="other").stamped(START)),
    no(when.collected_same_ids_in_grace, WANTED, ex.a_reconnect(WANTED)),
    yes(when.rounds_left, AWAITING, ex.a_reconnect(AWAITING)),
    no(when.rounds_left, AWAITING, ex.a_reconnect(AWAITING), Policy(max_rounds=1)),
    yes(when.rounds_left, WANTED, ex.a_reconnect(WANTED), Policy(max_rounds=1)),
]

REFUSALS = [
    yes(when.may_repeat_collection, READY, ex.a_refusal(READY, "UNKNOWN_RESULTS_ID", 404)),
    yes(when.may_repeat_collection, READY, ex.a_refusal(READY, "INTERNAL_SERVER_ERROR", 500)),
    yes(when.may_repeat_collection, READY, ex.a_refusal(READY, "RATE_LIMIT_EXCEEDED", 429)),
    yes(when.may_repeat_collection, READY, ex.a_refusal(READY, "TIMEOUT", 408)),
    yes(when.may_repeat_collection, READY, ex.a_refusal(READY, "NOT_JSON", 200, enveloped=False)),
    no(when.may_repeat_collection, READY, ex.a_refusal(READY, "BANK_ISSUE")),
    no(when.may_repeat_collection, READY, ex.a_refusal(READY, "INVALID_CERTIFICATE", 403)),
    yes(when.may_repeat_collection, RECONNECTED, ex.a_refusal(RECONNECTED, "INVALID_CERTIFICATE", 403)),
    no(when.may_repeat_collection, RECONNECTED, ex.a_refusal(RECONNECTED, "CONSENT_EXPIRED", 403)),
    no(when.may_repeat_collection, NEW, ex.a_refusal(NEW, "INTERNAL_SERVER_ERROR", 500)),
    no(when.may_repeat_collection, READY, ex.a_pending(READY)),
    yes(when.collected_with_no_last_word, WANTED, ex.a_refusal(WANTED, "BANK_ISSUE")),
    yes(when.collected_with_no_last_word, WANTED, ex.a_refusal(WANTED, "INVALID_CERTIFICATE", 403)),
    yes(when.collected_with_no_last_word, WANTED, ex.a_refusal(WANTED, "UNKNOWN_RESULTS_ID", 404)),
    no(when.collected_with_no_last_word, WANTED, ex.a_refusal(WANTED, "EU_ACCOUNT_LOCKED")),
    no(when.collected_with_no_last_word, WANTED, ex.a_refusal(WANTED, "CONSENT_EXPIRED", 403)),
    no(when.collected_with_no_last_word, WANTED, ex.a_refusal(WANTED, "BANK_ISSUE", source=Source.placement)),
    no(when.collected_with_no_last_word, WANTED, ex.a_pending(WANTED)),
    yes(when.budget_left, tried("LEAN_ERROR", 3), ex.a_refusal(NEW, "LEAN_ERROR")),
    no(when.budget_left, tried("LEAN_ERROR", 4), ex.a_refusal(NEW, "LEAN_ERROR")),
    no(when.budget_left, NEW, ex.a_refusal(NEW, "DATA_NOT_FOUND", 404)),
    no(when.budget_left, NEW, ex.a_pending(NEW)),
    yes(when.unanswered_budget_left, silent(4), ex.a_silence(NEW)),
    no(when.unanswered_budget_left, silent(5), ex.a_silence(NEW)),
]

WEBHOOKS = [
    yes(when.ambiguous, repeated(), ex.results_ready(repeated())),
    no(when.ambiguous, repeated(), ex.results_ready(repeated(), timestamp=START)),
    yes(when.ambiguous, repeated(timestamp=False), ex.results_ready(repeated(), timestamp=START)),
    no(when.ambiguous, WANTED, ex.results_ready(WANTED)),
    no(when.ambiguous, repeated(), Cancelled()),
    yes(when.finished, REFRESH, ex.refresh_updated(REFRESH, "FINISHED")),
    yes(when.finished, REFRESH, ex.refresh_updated(REFRESH, "OK")),
    no(when.finished, REFRESH, ex.refresh_updated(REFRESH, "FAILED")),
    no(when.finished, AWAITING, ex.results_ready(AWAITING)),
]

ID_DIES = DEFAULT_POLICY.reconnect_ttl
IMPATIENT = take(example_request(give_up_at=START + 3 * SECOND), ex.a_reconnect(NEW))
APPLICATION = [
    yes(when.may_be_prompted, WANTED, Prompted(at=START + ID_DIES - SECOND)),
    no(when.may_be_prompted, WANTED, Prompted(at=START + ID_DIES)),
    yes(when.may_be_prompted, IMPATIENT, Prompted(at=START + 2 * SECOND)),
    no(when.may_be_prompted, IMPATIENT, Prompted(at=START + 3 * SECOND)),
    yes(when.may_be_prompted, failed_hints(4), Prompted(at=START)),
    no(when.may_be_prompted, failed_hints(5), Prompted(at=START)),
    no(when.may_be_prompted, PENDING, Prompted(at=START)),
    yes(when.abandoned, AWAITING, ex.hinted(AWAITING, "ERROR")),
    yes(when.abandoned, AWAITING, ex.hinted(AWAITING, "CANCELLED")),
    yes(when.abandoned, AWAITING, ex.hinted(AWAITING, "LINK_CLOSED_PROGRAMMATICALLY")),
    no(when.abandoned, AWAITING, ex.hinted(AWAITING, "SUCCESS")),
    no(when.abandoned, AWAITING, ex.hinted(AWAITING, "REDIRECT")),
    no(when.abandoned, AWAITING, ex.hinted(AWAITING, "SOMETHING_NEW")),
    no(when.abandoned, AWAITING, Prompted()),
    yes(when.entity_live_since_prompt, LIVE, ex.hinted(LIVE, "ERROR")),
    no(when.entity_live_since_prompt, LIVE, ex.hinted(LIVE, "SUCCESS")),
    no(when.entity_live_since_prompt, AWAITING, ex.hinted(AWAITING, "ERROR")),
    no(when.entity_live_since_prompt, LIVE_REFRESH, ex.hinted(LIVE_REFRESH, "ERROR")),
    no(when.entity_live_since_prompt, LIVE, ex.hinted(LIVE, "ERROR"), NO_SIBLINGS),
    yes(when.not_renewed, FAILED, Renewed(successor_id="next")),
    no(when.not_renewed, take(FAILED, Renewed(successor_id="next")), Renewed(successor_id="next")),
]

PATIENCE = DEFAULT_POLICY.user_timeout
LOOKED = take(WANTED, ex.a_pending(WANTED), WANTED.expire_at)
WAITED_TWICE = take(take(PENDING, ex.time_is_up(PENDING)), ex.a_pending(NEW))
TIMES = [
    yes(when.gives_up, AWAITING, due(Action.give_up, PATIENCE)),
    no(when.gives_up, AWAITING, due(Action.give_up, PATIENCE - SECOND)),
    no(when.gives_up, AWAITING, due(Action.expire, PATIENCE)),
    no(when.gives_up, WANTED, due(Action.give_up, PATIENCE)),
    no(when.gives_up, AWAITING, Cancelled(at=START + PATIENCE)),
    yes(when.gives_up_with_entity_live, LIVE, due(Action.give_up, PATIENCE)),
    no(when.gives_up_with_entity_live, LIVE, due(Action.give_up, PATIENCE - SECOND)),
    no(when.gives_up_with_entity_live, AWAITING, due(Action.give_up, PATIENCE)),
    no(when.gives_up_with_entity_live, LIVE, due(Action.give_up, PATIENCE), NO_SIBLINGS),
    no(when.gives_up_with_entity_live, LIVE_REFRESH, due(Action.give_up, PATIENCE)),
    yes(when.gives_up_first_time, PENDING, ex.time_is_up(PENDING)),
    no(when.gives_up_first_time, PENDING, due(Action.give_up, SECOND)),
    no(when.gives_up_first_time, WAITED_TWICE, ex.time_is_up(WAITED_TWICE)),
    yes(when.expires, LOOKED, ActionDue(action=Action.expire, at=LOOKED.expire_at)),
    no(when.expires, LOOKED, ActionDue(action=Action.expire, at=(LOOKED.expire_at or START) - SECOND)),
    no(when.expires, LOOKED, ActionDue(action=Action.give_up, at=LOOKED.expire_at)),
    no(when.expires, WANTED, ActionDue(action=Action.expire, at=WANTED.expire_at)),
    no(when.expires, LOOKED, Cancelled(at=LOOKED.expire_at)),
]

WAKES = [
    yes(when.revivable, WANTED, EntityProvedLive()),
    yes(when.revivable, CLOCKED, EntityProvedLive(proved_at=START)),
    no(when.revivable, CLOCKED, EntityProvedLive(proved_at=START - SECOND)),
    no(when.revivable, WANTED, EntityProvedLive(), NO_SIBLINGS),
    no(when.revivable, REFRESH, EntityProvedLive()),
    no(when.revivable, WANTED.moved({"revived_round": WANTED.round}), EntityProvedLive()),
    yes(when.proof_is_news, AWAITING, EntityProvedLive()),
    yes(when.proof_is_news, AWAITING, EntityProvedLive(proved_at=START - SECOND)),
    yes(when.proof_is_news, CLOCKED, EntityProvedLive()),
    yes(when.proof_is_news, CLOCKED, EntityProvedLive(proved_at=START)),
    no(when.proof_is_news, CLOCKED, EntityProvedLive(proved_at=START - SECOND)),
    no(when.proof_is_news, CLOCKED, Cancelled()),
    yes(when.held, HELD, BankReturned()),
    no(when.held, NEW, BankReturned()),
    yes(when.collectable, PENDING, Cancelled()),
    yes(when.collectable, REFRESH, Cancelled()),
    no(when.collectable, NEW, Cancelled()),
]

CASES = (*ANSWERS, *REFUSALS, *WEBHOOKS, *APPLICATION, *TIMES, *WAKES)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.guard.__name__}-{c.expected}-{c.request.state}")
def test_a_guard_says(case: Case) -> None:
    """The guard says what the case says, as a real bool."""
    event = case.event if case.event.at else case.event.stamped(START)
    assert case.guard(case.request, event, case.policy) is case.expected


def test_each_guard_is_seen_both_ways() -> None:
    """Each public guard has a case where it holds and one where it does not."""
    seen = {(case.guard.__name__, case.expected) for case in CASES}
    assert seen == {(name, expected) for name in when.__all__ for expected in (True, False)}


def test_the_table_uses_every_guard() -> None:
    """No guard is there for nothing."""
    used = {guard.__name__ for row in TABLE for guard in row.guards}
    assert set(when.__all__) == used


@pytest.mark.parametrize("guard", [getattr(when, name) for name in when.__all__], ids=lambda g: g.__name__)
def test_a_guard_answers_any_question_with_a_bool(guard: Guard) -> None:
    """Whatever the request and the event, a guard returns True or False, and raises nothing."""
    for request in {case.request.state: case.request for case in CASES}.values():
        for case in CASES:
            assert type(guard(request, case.event.stamped(START), case.policy)) is bool
