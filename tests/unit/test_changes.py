"""What each transition changes beside the state: every field, and every time to the microsecond."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from leanflow._backoff import spread, wait_before
from leanflow._due import Action
from leanflow._machine import DEFAULT_POLICY
from leanflow._policy import Policy
from leanflow._request import DataRequest, Failure, Remedy, Resource, State
from leanflow.events import (
    ActionDue,
    BankReturned,
    Cancelled,
    ConsentLost,
    EntityProvedLive,
    Event,
    Nudged,
    Prompted,
    Source,
)
from leanflow.testing import examples as ex
from leanflow.testing.examples import START, example_in, example_request, take

POLICY = DEFAULT_POLICY
LATER = START + timedelta(minutes=3)
LEANS_TIME = START - timedelta(seconds=7)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=s) for s in (1, 60, 3600, 86_400))
NEW = example_request()
ID = NEW.id
FIRST_PROBE = wait_before(POLICY.probes, 0, ID)


def change(request: DataRequest, event: Event, at: datetime = LATER, policy: Policy = POLICY) -> dict[str, Any]:
    """Return the fields that an event changes a little later."""
    return ex.changed_by(request, event, at, policy)


# --- the end -----------------------------------------------------------------------------------------------------


def test_an_end_waits_for_nothing() -> None:
    """Every due time goes, and with it what it was for."""
    request = take(r := example_request(), ex.a_refusal(r, "DISABLED_BY_LEAN"))
    assert change(request, Cancelled()) == {"state": State.cancelled, "place_at": None, "held": None}
    waiting = example_in(State.results_ready)
    gone = change(waiting, ex.an_ok(waiting))
    assert gone == {"state": State.fetched, "probe_at": None, "wait_until": None}


def test_an_expired_request_waits_for_nothing() -> None:
    """What was still waited for is let go: the user's timeout, and a placement that was due."""
    awaiting = example_in(State.awaiting_user, give_up_at=START + MINUTE)
    looked = take(awaiting, ex.a_pending(awaiting), START + MINUTE)
    waiting = looked.moved({"wait_until": START + HOUR, "probe_at": START + HOUR, "held": "DISABLED_BY_LEAN"})
    assert change(waiting, ActionDue(action=Action.expire), START + MINUTE) == {
        "state": State.expired,
        "wait_until": None,
        "probe_at": None,
        "held": None,
    }


# --- answers -----------------------------------------------------------------------------------------------------


def test_pending_stores_its_id_probes_soon_and_gives_up_after_a_day() -> None:
    """PENDING: the id, the call that brought it, a probe in half a minute, a day's patience."""
    assert change(NEW, ex.a_pending(NEW)) == {
        "results_id": "results-1",
        "ids_call_no": 1,
        "place_at": None,
        "probe_at": LATER + FIRST_PROBE,
        "wait_until": LATER + DAY,
    }


def test_pending_has_nothing_for_the_link_sdk() -> None:
    """Whatever the answer holds, there is no reconnect id while the user is not wanted."""
    assert take(NEW, ex.a_pending(NEW, reconnect_id="odd")).reconnect_id is None


def test_pending_without_an_id_is_not_probed() -> None:
    """Where Lean names no id there is nothing to look at: only the limit is waited for."""
    assert change(NEW, ex.a_pending(NEW, results_id=None)) == {
        "ids_call_no": 1,
        "place_at": None,
        "wait_until": LATER + DAY,
    }


def test_pending_after_a_round_forgets_the_round_and_keeps_the_budget() -> None:
    """A new PENDING replaces the ids, the end of the old reconnect id and the grace; `attempts` are in one budget."""
    ready = example_in(State.results_ready)
    refused = take(ready, ex.a_refusal(ready, "BANK_ISSUE"))
    pending = take(refused, ex.a_pending(refused, results_id="results-2"), LATER)
    assert (pending.results_id, pending.reconnect_id, pending.past_ids) == ("results-2", None, ("results-1",))
    assert (pending.expires_at, pending.expire_at, pending.grace_until) == (None, None, None)
    assert pending.attempts == 1
    assert pending.ids_repeat is False


def test_a_round_begins_by_leans_clock() -> None:
    """RECONNECT_REQUIRED: ids as two fields, the life of the id from Lean's own time, the grace after it."""
    expires = LEANS_TIME + timedelta(days=30)
    assert change(NEW, ex.a_reconnect(NEW, timestamp=LEANS_TIME)) == {
        "state": State.reconnect_required,
        "results_id": "results-1",
        "reconnect_id": "results-1",
        "ids_call_no": 1,
        "round": 1,
        "round_started_at": LEANS_TIME,
        "expires_at": expires,
        "expire_at": expires + 4 * HOUR,
        "place_at": None,
    }


def test_a_round_without_leans_time_begins_by_ours() -> None:
    """Without a timestamp the id's life is counted from when we heard; the round has no beginning to compare with."""
    request = take(NEW, ex.a_reconnect(NEW), LATER, Policy(reconnect_ttl=7 * DAY, expiry_grace=HOUR))
    assert request.round_started_at is None
    assert request.expires_at == LATER + 7 * DAY
    assert request.expire_at == LATER + 7 * DAY + HOUR


def test_a_new_round_starts_with_clean_budgets() -> None:
    """Hints, probes, placements, last chances and proofs are the old round's; what counts the user's rounds stays."""
    old = example_in(State.awaiting_user)
    old = take(old, EntityProvedLive(), LATER)
    old = take(old, ex.hinted(old), LATER)
    new = take(old, ex.a_reconnect(old, results_id="r2", reconnect_id="r2"), LATER)
    assert (new.round, new.rounds_prompted, new.prompted_round, new.prompt_number) == (2, 1, 1, 1)
    assert (new.hint, new.hinted_at, new.hint_errors, new.entity_live_at) == (None, None, 0, None)
    assert (new.probes, new.placements, new.attempts, new.last_chances, new.grace_until) == (0, 0, 0, 0, None)
    assert (new.probe_at, new.wait_until, new.place_at) == (None, None, None)
    assert new.probed_at == LATER
    assert (new.past_ids, new.ids_repeat) == (("results-1",), False)


def test_ids_that_come_again_are_known_to_repeat() -> None:
    """An id that an earlier answer had too makes the round one where Lean's clock decides."""
    first = example_in(State.reconnect_required)
    again = take(take(first, EntityProvedLive()), ex.a_reconnect(first, source=Source.placement))
    assert (again.round, again.ids_repeat, again.past_ids) == (2, True, ("results-1",))


def test_a_get_need_not_repeat_the_ids_it_asked_for() -> None:
    """A demand found by a GET keeps the results id, and where none is named the reconnect id too."""
    ready = example_in(State.results_ready)
    demand = ex.a_reconnect(ready, results_id=None, reconnect_id=None)
    again = take(ready, demand, START + POLICY.reconnect_grace)
    assert (again.results_id, again.reconnect_id, again.round) == ("results-1", "results-1", 2)
    refresh = example_in(State.results_ready, resource=Resource.refresh)
    demand = ex.a_reconnect(refresh, refresh_id=None)
    assert take(refresh, demand, START + POLICY.reconnect_grace).refresh_id == "refresh-1"


def test_a_retryable_refusal_is_placed_on_its_codes_schedule() -> None:
    """Each refusal waits for the next of its code's times and uses one of the budget."""
    request = NEW
    for tries, wait in enumerate((15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR)):
        request = take(request, ex.a_refusal(request, "BANK_ISSUE"), LATER)
        assert request.place_at == LATER + spread(wait, f"{ID}:{tries}")
        assert request.attempts == tries + 1
    assert take(request, ex.a_refusal(request, "BANK_ISSUE"), LATER).state is State.failed


def test_a_duplicate_waits_at_least_a_minute() -> None:
    """DUPLICATED_REQUEST is not placed again within a minute, and never sooner than `Retry-After`."""
    request = take(NEW, ex.a_refusal(NEW, "DUPLICATED_REQUEST", 429, retry_after=5.0), LATER)
    assert (request.place_at or LATER) >= LATER + MINUTE
    request = take(NEW, ex.a_refusal(NEW, "DUPLICATED_REQUEST", 429, retry_after=600.0), LATER)
    assert request.place_at == LATER + 10 * MINUTE


def test_disabled_by_lean_holds() -> None:
    """The code is kept so that the bank's return can lift the hold; any other refusal lifts it too."""
    request = take(NEW, ex.a_refusal(NEW, "DISABLED_BY_LEAN"), LATER)
    assert request.held == "DISABLED_BY_LEAN"
    assert take(request, ex.a_refusal(request, "BANK_ISSUE"), LATER).held is None


@pytest.mark.parametrize("code", ["DUPLICATED_REQUEST", "INTERNAL_SERVER_ERROR", "BANK_ISSUE"])
def test_a_refused_refresh_is_looked_for_before_it_is_placed_again(code: str) -> None:
    """Lean may be at work on it for all that: `unsure` has the refreshes listed first."""
    refresh = example_request(resource=Resource.refresh)
    assert take(refresh, ex.a_refusal(refresh, code)).unsure is True
    assert take(NEW, ex.a_refusal(NEW, code)).unsure is False


def test_refused_results_are_past() -> None:
    """Results that are refused with a retryable code lose their ids; a refused placement loses none."""
    ready = example_in(State.results_ready)
    changed = change(ready, ex.a_refusal(ready, "LEAN_ERROR"))
    assert changed == {
        "state": State.requested,
        "results_id": None,
        "reconnect_id": None,
        "past_ids": ("results-1",),
        "attempts": 1,
        "place_at": LATER + spread(MINUTE, f"{ID}:0"),
        "probe_at": None,
        "wait_until": None,
    }
    revived = take(example_in(State.reconnect_required), EntityProvedLive())
    assert take(revived, ex.a_refusal(revived, "LEAN_ERROR")).results_id == "results-1"
    refresh = example_in(State.results_ready, resource=Resource.refresh)
    refused = take(refresh, ex.a_refusal(refresh, "LEAN_ERROR"))
    assert (refused.refresh_id, refused.past_ids) == (None, ("refresh-1",))


def test_a_silence_that_may_have_been_heard_waits_a_minute() -> None:
    """Lean calls a repeat within a minute a duplicate, so a call that may have been sent waits that long."""
    heard = take(NEW, ex.a_silence(NEW), LATER)
    assert heard.place_at == LATER + spread(MINUTE, ID)
    assert heard.unsure is True
    unheard = take(NEW, ex.a_silence(NEW, maybe_sent=False), LATER)
    assert unheard.place_at == LATER + spread(5 * SECOND, f"{ID}:0")
    assert unheard.unsure is False
    assert take(heard, ex.a_silence(heard, maybe_sent=False), LATER).unsure is True
    assert (heard.attempts, heard.wait_until, heard.probe_at) == (1, None, None)


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_refusal_is_the_failure() -> None:
    """Lean's code, words, text for the user and HTTP status, and what would help."""
    event = ex.a_refusal(NEW, "EU_ACCOUNT_LOCKED", info="Unlock it at the bank")
    assert take(NEW, event).failure == Failure(
        code="EU_ACCOUNT_LOCKED",
        message="eu_account_locked",
        remedy=Remedy.user,
        info="Unlock it at the bank",
        http_status=200,
    )


def test_a_lost_consent_wants_connect() -> None:
    """Consent gone, said by an answer or found at the entity: another SDK call is the way out."""
    for event in (ConsentLost(), ex.a_refusal(NEW, "CONSENT_EXPIRED", 403)):
        failure = take(NEW, event).failure
        assert failure is not None
        assert (failure.code, failure.remedy) == ("CONSENT_EXPIRED", Remedy.connect)


def test_leanflows_own_failures_have_codes() -> None:
    """A loop, a silence and results that never come: each has a code of its own, and renewing may help."""
    awaiting = example_in(State.awaiting_user)
    loop = take(awaiting, ex.a_reconnect(awaiting, reconnect_id="other"), policy=Policy(max_rounds=1))
    assert loop.failure == Failure(
        code="RECONNECT_LOOP", message="the user was asked in 1 rounds and Lean asks again", remedy=Remedy.renew
    )
    silent = NEW
    while not silent.state.is_end:
        silent = take(silent, ex.a_silence(silent))
    assert silent.failure == Failure(code="NO_ANSWER", message="timed out", remedy=Remedy.renew)
    ready = example_in(State.requested)
    ready = take(ready, ex.time_is_up(ready))
    ready = take(ready, ex.a_pending(ready))
    ready = take(ready, ex.time_is_up(ready))
    assert ready.failure == Failure(
        code="RESULTS_UNAVAILABLE", message="Lean did not deliver the results, asked twice", remedy=Remedy.renew
    )


# --- webhooks ----------------------------------------------------------------------------------------------------


def test_announced_results_are_fetched_at_once() -> None:
    """Now, with a day's patience; a reconnect that was only inferred has its grace all the same."""
    awaiting = example_in(State.awaiting_user)
    assert change(awaiting, ex.results_ready(awaiting)) == {
        "state": State.results_ready,
        "probe_at": LATER,
        "wait_until": LATER + DAY,
        "grace_until": LATER + 10 * MINUTE,
    }
    reconnected = example_in(State.reconnected)
    assert take(reconnected, ex.results_ready(reconnected), LATER).grace_until == START + 10 * MINUTE


def test_a_finished_refresh_is_fetched_at_once() -> None:
    """As announced results are; where its id repeats and no clock tells, it is looked at, and where it is it stays."""
    refresh = example_in(State.requested, resource=Resource.refresh)
    assert change(refresh, ex.refresh_updated(refresh)) == {
        "state": State.results_ready,
        "probe_at": LATER,
        "wait_until": LATER + DAY,
        "grace_until": LATER + 10 * MINUTE,
    }
    again = take(refresh, ex.time_is_up(refresh))
    again = take(again, ex.a_pending(again), LATER)
    assert again.ids_repeat is True
    assert change(again, ex.refresh_updated(again)) == {"probe_at": LATER}


def test_a_reconnect_expects_results() -> None:
    """They are looked for after half a minute, announced or not, for a day."""
    awaiting = example_in(State.awaiting_user)
    assert change(awaiting, ex.entity_reconnected(awaiting)) == {
        "state": State.reconnected,
        "probe_at": LATER + FIRST_PROBE,
        "wait_until": LATER + DAY,
        "grace_until": LATER + 10 * MINUTE,
    }


def test_a_reconnect_with_nothing_to_look_at_is_placed_again_soon() -> None:
    """Where the answer had no results id there is no probe, and the wait is short."""
    wanted = take(NEW, ex.a_reconnect(NEW, results_id=None, reconnect_id="reconnect-1"))
    reconnected = take(wanted, ex.entity_reconnected(wanted), LATER)
    assert reconnected.probe_at is None
    assert reconnected.wait_until == LATER + 30 * SECOND
    assert take(reconnected, ex.time_is_up(reconnected)).place_at == LATER + 30 * SECOND


def test_a_nudge_only_brings_the_next_look_forward() -> None:
    """A look that was due sooner stays."""
    request = example_in(State.requested)
    assert take(request, Nudged(delay=SECOND)).probe_at == START + SECOND
    assert take(request, Nudged(delay=HOUR)).probe_at == START + FIRST_PROBE
    wanted = example_in(State.reconnect_required)
    assert take(wanted, Nudged(delay=HOUR)).probe_at == START + HOUR


# --- the application ---------------------------------------------------------------------------------------------


def test_a_prompt_is_numbered_and_counts_its_round_once() -> None:
    """Handed out twice in a round it is the next number, and the same round."""
    wanted = example_in(State.reconnect_required)
    timeout = LATER + 15 * MINUTE
    assert change(wanted, Prompted()) == {
        "state": State.awaiting_user,
        "prompt_number": 1,
        "prompted_at": LATER,
        "prompted_round": 1,
        "rounds_prompted": 1,
        "probe_at": timeout,
        "wait_until": timeout,
    }
    awaiting = take(wanted, Prompted(), LATER)
    awaiting = take(awaiting, ex.hinted(awaiting), LATER)
    assert change(awaiting, Prompted(), LATER + MINUTE) == {
        "prompt_number": 2,
        "prompted_at": LATER + MINUTE,
        "probe_at": timeout + MINUTE,
        "wait_until": timeout + MINUTE,
        "hint": None,
        "hinted_at": None,
    }


def test_a_good_hint_is_checked_after_two_minutes() -> None:
    """What the SDK said is noted, and the results are looked at if no webhook comes; never later than was meant."""
    awaiting = example_in(State.awaiting_user)
    event = ex.hinted(awaiting, "SUCCESS", secondary_status="ACTIVE")
    assert change(awaiting, event) == {"hinted_at": LATER, "hint": "ACTIVE", "probe_at": LATER + 2 * MINUTE}
    late = START + 14 * MINUTE
    assert take(awaiting, ex.hinted(awaiting), late).probe_at == START + 15 * MINUTE
    assert take(awaiting, ex.hinted(awaiting), late).hint == "SUCCESS"


def test_a_bad_hint_takes_the_prompt_back() -> None:
    """The prompt may be handed out again; ERRORs are counted, windows that were closed are not."""
    awaiting = example_in(State.awaiting_user)
    assert change(awaiting, ex.hinted(awaiting, "ERROR", secondary_status="INVALID_MFA")) == {
        "state": State.reconnect_required,
        "hinted_at": LATER,
        "hint": "INVALID_MFA",
        "hint_errors": 1,
        "probes": 1,
        "probe_at": LATER + wait_before(POLICY.idle_probes, 0, ID),
        "wait_until": None,
    }
    assert take(awaiting, ex.hinted(awaiting, "CANCELLED")).hint_errors == 0


# --- wakes -------------------------------------------------------------------------------------------------------


def test_a_sibling_is_placed_again_and_keeps_its_ids() -> None:
    """The old ids stay until the answer replaces them; the round knows that it was answered by a proof."""
    wanted = example_in(State.reconnect_required)
    assert change(wanted, EntityProvedLive(delay=4 * SECOND)) == {
        "state": State.requested,
        "revived_round": 1,
        "place_at": LATER + 4 * SECOND,
        "entity_live_at": LATER,
    }


def test_a_sibling_with_its_user_only_notes_the_proof() -> None:
    """It is placed again only when its prompt is given up or abandoned, and knows then since when the entity lives."""
    awaiting = example_in(State.awaiting_user)
    assert change(awaiting, EntityProvedLive()) == {"entity_live_at": LATER}
    live = take(awaiting, EntityProvedLive(), LATER)
    revived = take(live, ex.time_is_up(live))
    assert (revived.state, revived.place_at) == (State.requested, START + 15 * MINUTE)
    assert (revived.entity_live_at, revived.revived_round, revived.round) == (LATER, 1, 1)


def test_a_prompt_that_is_abandoned_after_a_proof_is_placed_again() -> None:
    """The user did not get through here, and need not: another request proved the entity live."""
    live = take(example_in(State.awaiting_user), EntityProvedLive())
    assert change(live, ex.hinted(live, "ERROR")) == {
        "state": State.requested,
        "revived_round": 1,
        "place_at": LATER,
        "probe_at": None,
        "wait_until": None,
    }


def test_a_bank_that_is_back_is_asked_soon() -> None:
    """The hold is lifted; a placement that was due sooner stays."""
    request = take(NEW, ex.a_refusal(NEW, "DISABLED_BY_LEAN"))
    assert change(request, BankReturned(delay=4 * SECOND)) == {"held": None, "place_at": LATER + 4 * SECOND}
    assert take(request, BankReturned(delay=DAY)).place_at == request.place_at


def test_a_spent_wait_is_placed_once_more() -> None:
    """It is counted, so that the next one is the last."""
    request = example_in(State.requested)
    end = START + DAY
    assert change(request, ex.time_is_up(request), end) == {
        "placements": 1,
        "place_at": end,
        "probe_at": None,
        "wait_until": None,
    }
