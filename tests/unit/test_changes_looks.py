"""When the results are looked at: ever more slowly, never sooner than Lean said, and once more at the end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from leanflow._backoff import wait_before
from leanflow._machine import DEFAULT_POLICY
from leanflow._policy import Policy
from leanflow._request import DataRequest, State
from leanflow.events import (
    BankReturned,
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
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=s) for s in (1, 60, 3600, 86_400))
NEW = example_request()
ID = NEW.id
FIRST_PROBE = wait_before(POLICY.probes, 0, ID)


def change(request: DataRequest, event: Event, at: datetime = LATER, policy: Policy = POLICY) -> dict[str, Any]:
    """Return the fields that an event changes a little later."""
    return ex.changed_by(request, event, at, policy)


@pytest.mark.parametrize("state", [State.requested, State.reconnected, State.results_ready])
def test_an_open_wait_is_probed_ever_more_slowly(state: State) -> None:
    """Each look that finds nothing is followed by the next longer wait, and stays within the limit of the wait."""
    request = example_in(state)
    for number in range(12):
        at = request.probe_at or START
        tries = request.probes
        assert tries == number
        before = request.wait_until
        request = take(request, ex.a_pending(request), at)
        assert request.probe_at == at + wait_before(POLICY.probes, tries, ID)
        assert request.probed_at == at
        assert request.wait_until == before


def test_retry_after_is_kept_whatever_comes_meanwhile() -> None:
    """`Retry-After` on a GET puts off the next look, and neither a webhook nor a nudge makes it sooner."""
    request = example_in(State.requested)
    request = take(request, ex.a_refusal(request, "RATE_LIMIT_EXCEEDED", 429, retry_after=7200.0), LATER)
    quiet = LATER + 2 * HOUR
    assert request.probe_at == request.quiet_until == quiet
    assert take(request, Nudged(), LATER).probe_at == quiet
    assert take(request, ex.results_ready(request), LATER).probe_at == quiet
    assert take(request, ex.time_is_up(request)).place_at == request.wait_until  # a day later: long over


def test_quiet_holds_for_every_kind_of_call() -> None:
    """A bank that is back, a silence after it, and the look at a prompt's timeout: none comes before it is over."""
    quiet = LATER + 12 * HOUR
    held = take(NEW, ex.a_refusal(NEW, "DISABLED_BY_LEAN", retry_after=43_200.0), LATER)
    assert held.quiet_until == quiet
    assert take(held, BankReturned(), LATER).place_at == quiet
    assert take(held, ex.a_silence(held), LATER).place_at == quiet
    wanted = example_in(State.reconnect_required)
    wanted = take(wanted, ex.a_refusal(wanted, "RATE_LIMIT_EXCEEDED", 429, retry_after=43_200.0), LATER)
    assert take(wanted, Prompted(), LATER).probe_at == quiet
    assert take(wanted, EntityProvedLive(), LATER).place_at == quiet
    pending = example_in(State.requested)
    end = START + DAY
    pending = take(pending, ex.a_refusal(pending, "RATE_LIMIT_EXCEEDED", 429, retry_after=43_200.0), end)
    assert take(pending, ex.time_is_up(pending)).place_at == end + 12 * HOUR


def test_quiet_that_is_over_is_over() -> None:
    """It makes no look due where none was to be."""
    wanted = example_in(State.reconnect_required).moved({"quiet_until": START})
    assert take(wanted, ex.a_pending(wanted), LATER).probe_at is None


@pytest.mark.parametrize("told", [0.0, -5.0, float("nan")])
def test_a_retry_after_of_nothing_is_nothing(told: float) -> None:
    """What is no time to wait changes nothing."""
    request = take(NEW, ex.a_refusal(NEW, "RATE_LIMIT_EXCEEDED", 429, retry_after=told), LATER)
    assert request.quiet_until is None
    assert request.place_at == LATER + wait_before((30 * SECOND,), 0, ID)


@pytest.mark.parametrize("told", [1e9, 1e300, float("inf")])
def test_a_retry_after_beyond_reason_is_a_day(told: float) -> None:
    """A header that asks for years is a mistake; a day is waited for."""
    request = take(NEW, ex.a_refusal(NEW, "RATE_LIMIT_EXCEEDED", 429, retry_after=told), LATER)
    assert request.place_at == LATER + DAY


def test_a_shorter_retry_after_does_not_shorten_an_earlier_one() -> None:
    """Of two the later counts."""
    request = example_in(State.requested)
    request = take(request, ex.a_refusal(request, "TIMEOUT", 408, retry_after=7200.0), START)
    request = take(request, ex.a_refusal(request, "TIMEOUT", 408, retry_after=1.0), START)
    assert request.quiet_until == START + 2 * HOUR


def test_while_the_user_is_typing_there_is_one_probe_at_the_timeout() -> None:
    """A look in `awaiting_user` puts the next one at the user timeout, and after that there is none."""
    awaiting = example_in(State.awaiting_user)
    timeout = START + POLICY.user_timeout
    assert take(awaiting, ex.a_pending(awaiting), LATER).probe_at == timeout
    assert take(awaiting, ex.a_pending(awaiting), timeout).probe_at is None
    told = ex.a_refusal(awaiting, "RATE_LIMIT_EXCEEDED", 429, retry_after=7200.0)
    assert take(awaiting, told, LATER).probe_at == LATER + 2 * HOUR


def test_a_prompt_that_nobody_got_is_not_looked_after() -> None:
    """Where nobody was asked nothing can have changed; once somebody was, the results are looked at now and then."""
    wanted = example_in(State.reconnect_required)
    assert take(wanted, ex.a_pending(wanted), LATER).probe_at is None
    awaiting = example_in(State.awaiting_user)
    asked = take(awaiting, ex.hinted(awaiting, "CANCELLED"))
    for tries, at in enumerate((LATER, LATER + DAY, LATER + 2 * DAY), start=1):
        asked = take(asked, ex.a_pending(asked), at)
        assert asked.probe_at == at + wait_before(POLICY.idle_probes, tries, ID)


def test_quiet_at_the_end_is_quiet_for_the_last_look_too() -> None:
    """Where Lean wants quiet beyond the request's end, the look at the end waits for it."""
    wanted = example_in(State.reconnect_required, give_up_at=START + HOUR)
    told = ex.a_refusal(wanted, "RATE_LIMIT_EXCEEDED", 429, retry_after=7200.0)
    assert take(wanted, told).probe_at == START + 2 * HOUR


def test_a_last_look_that_is_answered_is_the_last() -> None:
    """PENDING, 404, the same demand or refused results: Lean has spoken, and nothing else is due but the end."""
    end = START + MINUTE
    awaiting = example_in(State.awaiting_user, give_up_at=end).moved({"wait_until": START})
    for answer in (
        ex.a_pending(awaiting),
        ex.a_reconnect(awaiting),
        ex.a_refusal(awaiting, "UNKNOWN_RESULTS_ID", 404),
        ex.a_refusal(awaiting, "BANK_ISSUE"),
    ):
        assert change(awaiting, answer, end) == {"probes": 1, "probed_at": end, "probe_at": None, "wait_until": None}


def test_a_last_look_that_is_not_answered_is_repeated() -> None:
    """Silence and a refused call say nothing about the results; `Retry-After` counts here too."""
    end = START + MINUTE
    awaiting = example_in(State.awaiting_user, give_up_at=end)
    again = {"probes": 1, "last_chances": 1, "probe_at": end + FIRST_PROBE, "wait_until": None}
    assert change(awaiting, ex.a_silence(awaiting), end) == again
    assert change(awaiting, ex.a_refusal(awaiting, "INTERNAL_SERVER_ERROR", 503), end) == again
    quiet = end + HOUR
    told = ex.a_refusal(awaiting, "RATE_LIMIT_EXCEEDED", 429, retry_after=3600.0)
    assert change(awaiting, told, end) == {**again, "probe_at": quiet, "quiet_until": quiet}


def test_leans_clock_may_differ_by_five_minutes() -> None:
    """A time of Lean's that is less than five minutes before the end is the end; what is due goes on until then."""
    end = START + HOUR
    request = example_in(State.requested, give_up_at=end)
    close = ex.a_pending(request, timestamp=end - 5 * MINUTE)
    assert take(request, close, end).probed_at == end
    far = ex.a_pending(request, timestamp=end - 5 * MINUTE - SECOND)
    assert change(request, far, end) == {"probes": 1, "last_chances": 1, "probe_at": end + HOUR}


def test_a_look_never_passes_the_end() -> None:
    """The next look comes at the request's end if that is sooner."""
    request = example_in(State.requested, give_up_at=START + 10 * SECOND)
    assert request.probe_at == START + 10 * SECOND
    request = take(request, ex.a_pending(request), START + SECOND)
    assert request.probe_at == START + 10 * SECOND


def test_a_look_at_old_results_does_not_go_on_while_a_placement_is_due() -> None:
    """In a request that is to be placed again a look is made once, if something asks for it."""
    revived = take(example_in(State.reconnect_required), EntityProvedLive(delay=5 * SECOND))
    assert revived.place_at == START + 5 * SECOND
    looked = take(take(revived, Nudged()), ex.a_pending(revived, source=Source.results))
    assert looked.probe_at is None
    assert looked.place_at == START + 5 * SECOND


def test_quiet_that_was_asked_for_before_the_end_holds_after_it() -> None:
    """Neither a look that is repeated nor one that Lean's clock puts off comes sooner than an earlier answer said."""
    end = START + HOUR
    quiet = end + 5 * HOUR
    request = example_in(State.requested, give_up_at=end).moved({"quiet_until": quiet})
    assert take(request, ex.a_silence(request), end).probe_at == quiet
    assert take(request, ex.a_pending(request, timestamp=START), end).probe_at == quiet
