"""What a transition changes beside the state. Pure; each takes (request, event, policy) and returns the fields to set.

The state itself, `version`, `updated_at` and `due_at` are set by `decide`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from leanflow._backoff import spread, wait_before
from leanflow._codes import HELD_CODES, NO_ANSWER, NOT_READY_CODES, verdict_of
from leanflow._due import end_of, is_collectable
from leanflow._policy import Policy
from leanflow._request import DataRequest, Failure, Remedy, Resource, State
from leanflow.events import (
    AnsweredRefused,
    AnswerEvent,
    BankReturned,
    CallBroke,
    EntityProvedLive,
    Event,
    Hinted,
    Nudged,
    Renewed,
    Source,
)

__all__ = [
    "await_results",
    "end",
    "fail",
    "fail_consent",
    "fail_in_a_loop",
    "fail_unanswered",
    "fail_unavailable",
    "fetch_now",
    "link",
    "look_soon",
    "note_hint",
    "note_live",
    "open_round",
    "place_later",
    "place_once_more",
    "place_revived",
    "place_soon",
    "place_unanswered",
    "prompt",
    "rearm",
    "take_back",
    "take_back_hinted",
    "wait_for_results",
]

Fields = dict[str, Any]

_LEAN_CLOCK_TOLERANCE = timedelta(minutes=5)  # Lean's clock is believed about an end when it differs by more than this
_RECHECK_END_MIN = timedelta(hours=1)
_RECHECK_END_MAX = timedelta(days=3)  # twelve of them outlive any reconnect id
_LONGEST_QUIET = timedelta(days=1)  # Lean's own limits are by the day; a longer Retry-After is a mistake
_STILL: Fields = {"place_at": None, "probe_at": None, "wait_until": None}


def _at(event: Event) -> datetime:
    assert event.at is not None, "decide has refused an event without a time"
    return event.at


# --- answers -----------------------------------------------------------------------------------------------------


def end(_request: DataRequest, _event: Event, _policy: Policy) -> Fields:
    """Nothing is waited for any more."""
    return {**_STILL, "held": None, "unsure": False}


def wait_for_results(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """PENDING: its ids replace the old ones; wait for the webhook, probe meanwhile, give up in the end."""
    assert isinstance(event, AnswerEvent)
    at = _at(event)
    ids = _new_ids(request, event)
    collectable = ids["results_id"] is not None or ids["refresh_id"] is not None
    # `attempts` stays: results that are refused and placed again are in the same budget.
    return {
        **ids,
        "reconnect_id": None,
        "expires_at": None,
        "expire_at": None,
        "grace_until": None,
        "probes": 0,
        "held": None,
        "unsure": False,
        "entity_live_at": None,
        "place_at": None,
        "probe_at": _first_probe(request, at, policy) if collectable else None,
        "wait_until": at + policy.pending_limit,
    }


def open_round(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """RECONNECT_REQUIRED: the ids of this round, its beginning by Lean's clock, and its end."""
    assert isinstance(event, AnswerEvent)
    at = _at(event)
    started = event.timestamp or at
    looked = event.source is not Source.placement
    return {
        **_new_ids(request, event),
        **_STILL,
        "round": request.round + 1,
        "round_started_at": event.timestamp,
        "expires_at": started + policy.reconnect_ttl,
        "expire_at": started + policy.reconnect_ttl + policy.expiry_grace,
        "grace_until": None,
        "attempts": 0,
        "probes": 0,
        "probed_at": at if looked else request.probed_at,
        "last_chances": 0,
        "placements": 0,
        "hint": None,
        "hint_errors": 0,
        "hinted_at": None,
        "held": None,
        "unsure": False,
        "entity_live_at": None,
    }


def rearm(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """A look that found nothing: look again later, the request stays where it is."""
    at = _at(event)
    quiet = _quiet(request, event)
    fields: Fields = {**quiet, "probes": request.probes + 1}
    limit = end_of(request)
    if limit is not None and at >= limit:
        return {**fields, **_last_look(request.moved(quiet), event, limit, policy)}
    if not _unanswered(event):
        fields["probed_at"] = at
    fields["probe_at"] = _next_look(request.moved(quiet), at, limit, policy)
    return fields


def _next_look(request: DataRequest, at: datetime, limit: datetime | None, policy: Policy) -> datetime | None:
    """Return when to look again after a look that found nothing; None: not before something happens."""
    asked = request.prompted_round == request.round
    if request.state is State.awaiting_user and request.wait_until is not None:
        # One probe at the user timeout, and none between: the user is typing.
        look = request.wait_until if at < request.wait_until else None
    elif (request.state is State.reconnect_required and not asked) or request.place_at is not None:
        look = None  # nobody could have changed anything, or the next placement tells more than a look at old results
    else:
        waits = policy.idle_probes if request.state is State.reconnect_required else policy.probes
        look = at + wait_before(waits, request.probes, request.id)
    if look is None:
        # The look at the end is due of itself, unless Lean wants quiet for longer than that.
        return request.quiet_until if limit is not None and _is_quiet(request, limit) else None
    return _not_sooner(request, look if limit is None else min(look, limit))


def _last_look(request: DataRequest, event: Event, limit: datetime, policy: Policy) -> Fields:
    """At the end: Lean's word counts, and Lean's clock; silence counts only after many tries."""
    at = _at(event)
    if _unanswered(event):
        later = at + wait_before(policy.probes, request.last_chances, request.id)
        return {**_STILL, "last_chances": request.last_chances + 1, "probe_at": _not_sooner(request, later)}
    lean_time = event.timestamp if isinstance(event, AnswerEvent) else None
    if lean_time is not None and lean_time < limit - _LEAN_CLOCK_TOLERANCE:
        # Our clock has jumped: not the end yet. Counted all the same, lest a timestamp that stands still keeps it
        # for ever.
        later = at + min(max(limit - lean_time, _RECHECK_END_MIN), _RECHECK_END_MAX)
        return {"last_chances": request.last_chances + 1, "probe_at": _not_sooner(request, later)}
    return {**_STILL, "probed_at": at}


def _quiet(request: DataRequest, event: Event) -> Fields:
    """Return until when Lean wants no call, if this answer says so."""
    told = event.retry_after if isinstance(event, AnsweredRefused) else None
    if told is None or not told > 0:  # not a number is not more than nothing, either
        return {}
    until = _at(event) + timedelta(seconds=min(told, _LONGEST_QUIET.total_seconds()))
    return {"quiet_until": until if request.quiet_until is None else max(until, request.quiet_until)}


def _is_quiet(request: DataRequest, moment: datetime) -> bool:
    return request.quiet_until is not None and moment < request.quiet_until


def _not_sooner(request: DataRequest, moment: datetime) -> datetime:
    """Return `moment`, or the end of the quiet that Lean asked for if that is later."""
    return moment if request.quiet_until is None else max(moment, request.quiet_until)


def _unanswered(event: Event) -> bool:
    """Return whether the look brought no word about the results: it failed as a call."""
    if isinstance(event, CallBroke):
        return True
    return isinstance(event, AnsweredRefused) and not event.enveloped and event.code not in NOT_READY_CODES


def place_later(request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """A retryable refusal: place the call again on the code's schedule, never sooner than told."""
    assert isinstance(event, AnsweredRefused)
    later = _at(event) + wait_before(verdict_of(event).waits, request.attempts, request.id)
    quiet = _quiet(request, event)
    spent = _spent_ids(request) if event.source is not Source.placement else {}
    return {
        **_STILL,
        **quiet,
        **spent,
        "attempts": request.attempts + 1,
        "place_at": _not_sooner(request.moved(quiet), later),
        "held": event.code if event.code in HELD_CODES else None,
        # DUPLICATED_REQUEST, or a 5xx after all: Lean may be at work on one. Find it before another is placed.
        "unsure": request.resource is Resource.refresh,
    }


def place_unanswered(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """No answer: place again, and not within a minute of a call that Lean may have seen."""
    assert isinstance(event, CallBroke)
    later = wait_before(NO_ANSWER.waits, request.attempts, request.id)
    if event.maybe_sent:
        later = max(later, spread(policy.duplicate_wait, request.id))
    return {
        **_STILL,
        "attempts": request.attempts + 1,
        "place_at": _not_sooner(request, _at(event) + later),
        "unsure": event.maybe_sent or request.unsure,
    }


def fail(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """Lean's answer is final, or its budget is spent."""
    assert isinstance(event, AnsweredRefused)
    failure = Failure(
        code=event.code,
        message=event.message,
        remedy=verdict_of(event).remedy,
        info=event.info,
        http_status=event.http_status or None,
    )
    return {**end(request, event, policy), "failure": failure}


def fail_in_a_loop(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """Lean wants the user again and again."""
    message = f"the user was asked in {policy.max_rounds} rounds and Lean asks again"
    return _failed(request, event, policy, "RECONNECT_LOOP", message)


def fail_unanswered(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """No call brought an answer."""
    assert isinstance(event, CallBroke)
    return _failed(request, event, policy, "NO_ANSWER", event.reason)


def fail_unavailable(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """The results never came, the call placed twice."""
    return _failed(request, event, policy, "RESULTS_UNAVAILABLE", "Lean did not deliver the results, asked twice")


def fail_consent(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """The entity's consent is gone."""
    message = "the entity's consent was revoked or has run out"
    return {**_failed(request, event, policy, "CONSENT_EXPIRED", message, Remedy.connect)}


def _failed(
    request: DataRequest, event: Event, policy: Policy, code: str, message: str, remedy: Remedy = Remedy.renew
) -> Fields:
    return {**end(request, event, policy), "failure": Failure(code=code, message=message, remedy=remedy)}


def _spent_ids(request: DataRequest) -> Fields:
    """Return the ids of results that were refused: they are past, and what still names them is stale."""
    return {"results_id": None, "reconnect_id": None, "refresh_id": None, "past_ids": _past_ids(request)}


def _past_ids(request: DataRequest) -> tuple[str, ...]:
    """Return every id that the request ever had, those it has included."""
    past = request.past_ids
    for old in (request.results_id, request.reconnect_id, request.refresh_id):
        if old is not None and old not in past:
            past = (*past, old)
    return past


def _new_ids(request: DataRequest, event: AnswerEvent) -> Fields:
    """Return the ids of an answer, which replace those the request has."""
    past = _past_ids(request)
    results_id, reconnect_id, refresh_id = event.results_id, event.reconnect_id, event.refresh_id
    repeat = results_id in past or reconnect_id in past or refresh_id in past
    if event.source is not Source.placement:  # a GET need not repeat the ids that it asked for
        results_id = results_id or request.results_id
        reconnect_id = reconnect_id or request.reconnect_id
        refresh_id = refresh_id or request.refresh_id
    return {
        "results_id": results_id,
        "reconnect_id": reconnect_id,
        "refresh_id": refresh_id,
        "past_ids": past,
        "ids_repeat": repeat,
        "ids_call_no": event.call_no if event.call_no is not None else request.call_no,
    }


# --- webhooks ----------------------------------------------------------------------------------------------------


def fetch_now(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """The results are announced: fetch them."""
    at = _at(event)
    return {
        "place_at": None,
        "probes": 0,
        "probe_at": _not_sooner(request, at),
        "wait_until": at + policy.results_limit,
        "grace_until": request.grace_until or at + policy.reconnect_grace,
        "held": None,
    }


def await_results(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """The bank let the user in: the results are expected, announced or not."""
    at = _at(event)
    collectable = is_collectable(request)
    return {
        "place_at": None,
        "probes": 0,
        "probe_at": _first_probe(request, at, policy) if collectable else None,
        # Without an id there is nothing to probe: the call is placed again as soon as the grace is over.
        "wait_until": at + (policy.results_limit if collectable else policy.probes[0]),
        "grace_until": at + policy.reconnect_grace,
    }


def look_soon(request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """Something happened that proves nothing: probe."""
    delay = event.delay if isinstance(event, Nudged) else timedelta()
    soon = _not_sooner(request, _at(event) + delay)
    if request.probe_at is not None and request.probe_at <= soon:
        return {}
    return {"probe_at": soon}


# --- the application ---------------------------------------------------------------------------------------------


def prompt(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """The prompt is with the user: probe once when the wait for them is over."""
    at = _at(event)
    wait_until = at + policy.user_timeout
    first = request.prompted_round != request.round
    return {
        "prompt_number": request.prompt_number + 1,
        "prompted_at": at,
        "prompted_round": request.round,
        "rounds_prompted": request.rounds_prompted + 1 if first else request.rounds_prompted,
        "hint": None,
        "hinted_at": None,
        "place_at": None,
        "probe_at": _by_end(request, wait_until) if is_collectable(request) else None,
        "wait_until": wait_until,
    }


def note_hint(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """The Link SDK says that it went well: probe if no webhook comes."""
    assert isinstance(event, Hinted)
    at = _at(event)
    soon = _by_end(request, at + policy.hint_wait)
    if request.probe_at is not None:
        soon = min(soon, request.probe_at)
    return {
        "hinted_at": at,
        "hint": event.secondary_status or event.status,
        "probe_at": soon if is_collectable(request) else None,
    }


def take_back_hinted(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """The Link SDK says that the user did not get through: the prompt may be handed out again."""
    assert isinstance(event, Hinted)
    return {
        **take_back(request, event, policy),
        "hinted_at": event.at,
        "hint": event.secondary_status or event.status,
        "hint_errors": request.hint_errors + (event.status == "ERROR"),
    }


def take_back(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """The prompt is back; a reconnect may yet have gone unannounced, so look now and then."""
    look = _at(event) + wait_before(policy.idle_probes, 0, request.id)
    return {**_STILL, "probes": 1, "probe_at": _by_end(request, look) if is_collectable(request) else None}


def link(_request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """A successor was made."""
    assert isinstance(event, Renewed)
    return {"successor_id": event.successor_id}


# --- due times and wakes -----------------------------------------------------------------------------------------


def place_once_more(request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """The results did not come: ask once more."""
    return {**_STILL, "placements": request.placements + 1, "place_at": _not_sooner(request, _at(event))}


def place_revived(request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """The entity is live again: ask once more. The old ids stay until the answer replaces them."""
    place_at, live_at = _at(event), request.entity_live_at
    if isinstance(event, EntityProvedLive):
        place_at, live_at = place_at + event.delay, event.at
    return {
        **_STILL,
        "revived_round": request.round,
        "place_at": _not_sooner(request, place_at),
        "entity_live_at": live_at,
    }


def note_live(_request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """The entity is live again, but the prompt is with the user: remember it."""
    return {"entity_live_at": event.at}


def place_soon(request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """The bank is back: ask again, if that is sooner than was meant."""
    delay = event.delay if isinstance(event, BankReturned) else timedelta()
    soon = _not_sooner(request, _at(event) + delay)
    return {"held": None, "place_at": soon if request.place_at is None else min(soon, request.place_at)}


def _first_probe(request: DataRequest, at: datetime, policy: Policy) -> datetime:
    return _by_end(request, at + wait_before(policy.probes, 0, request.id))


def _by_end(request: DataRequest, moment: datetime) -> datetime:
    """Return `moment`, or the request's end if that comes first; never within the quiet that Lean asked for."""
    end = end_of(request)
    return _not_sooner(request, moment if end is None else min(moment, end))
