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
_RECHECK_END = timedelta(hours=1)
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
    return {
        **_new_ids(request, event),
        "reconnect_id": None,
        "expires_at": None,
        "expire_at": None,
        "attempts": 0,
        "probes": 0,
        "held": None,
        "unsure": False,
        "entity_live_at": None,
        "place_at": None,
        "probe_at": _first_probe(request, at, policy),
        "wait_until": at + policy.pending_limit,
    }


def open_round(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """RECONNECT_REQUIRED: the ids of this round, its beginning by Lean's clock, and its end."""
    assert isinstance(event, AnswerEvent)
    started = event.timestamp or _at(event)
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
    waits = policy.idle_probes if request.state is State.reconnect_required else policy.probes
    later = wait_before(waits, request.probes, request.id)
    if isinstance(event, AnsweredRefused) and event.retry_after is not None:
        later = max(later, timedelta(seconds=event.retry_after))
    fields: Fields = {"probes": request.probes + 1, "probe_at": at + later}
    limit = end_of(request)
    if limit is not None and at >= limit:
        return {**fields, **_last_look(request, event, limit)}
    if request.state is State.awaiting_user and request.wait_until is not None:
        # One probe at the user timeout, and none between: the user is typing.
        fields["probe_at"] = request.wait_until if at < request.wait_until else None
    elif request.state is State.reconnect_required and request.prompted_round != request.round:
        fields["probe_at"] = None
    if not _unanswered(event):
        fields["probed_at"] = at
    if limit is not None and fields["probe_at"] is not None:
        fields["probe_at"] = min(fields["probe_at"], limit)
    return fields


def _last_look(request: DataRequest, event: Event, limit: datetime) -> Fields:
    """At the end: Lean's word counts, and Lean's clock; silence counts only after many tries."""
    if _unanswered(event):
        return {"last_chances": request.last_chances + 1}
    lean_time = event.timestamp if isinstance(event, AnswerEvent) else None
    if lean_time is not None and lean_time < limit - _LEAN_CLOCK_TOLERANCE:
        return {"probe_at": _at(event) + _RECHECK_END}  # our clock has jumped: not the end yet
    return {"probed_at": _at(event), "probe_at": None}


def _unanswered(event: Event) -> bool:
    """Return whether the look brought no word about the results: it failed as a call."""
    if isinstance(event, CallBroke):
        return True
    return isinstance(event, AnsweredRefused) and not event.enveloped and event.code not in NOT_READY_CODES


def place_later(request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """A retryable refusal: place the call again on the code's schedule, never sooner than told."""
    assert isinstance(event, AnsweredRefused)
    later = wait_before(verdict_of(event).waits, request.attempts, request.id)
    if event.retry_after is not None:
        later = max(later, timedelta(seconds=event.retry_after))
    duplicate = event.code == "DUPLICATED_REQUEST" and request.resource is Resource.refresh
    spent = _spent_ids(request) if event.enveloped and event.source is not event.source.placement else {}
    return {
        **_STILL,
        **spent,
        "attempts": request.attempts + 1,
        "place_at": _at(event) + later,
        "held": event.code if event.code in HELD_CODES else None,
        "unsure": duplicate,  # Lean is at work on one that we do not know: find it before placing another
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
        "place_at": _at(event) + later,
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
    return _failed(
        request, event, policy, "RECONNECT_LOOP", f"the user was asked in {policy.max_rounds} rounds and Lean asks again"
    )


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
    old = {i for i in (request.results_id, request.reconnect_id, request.refresh_id) if i is not None}
    past = dict.fromkeys((*request.past_ids, *sorted(old)))
    return {"results_id": None, "reconnect_id": None, "refresh_id": None, "past_ids": tuple(past)}


def _new_ids(request: DataRequest, event: AnswerEvent) -> Fields:
    """Return the ids of an answer, which replace those the request has."""
    new = (event.results_id, event.reconnect_id, event.refresh_id)
    past = _spent_ids(request)["past_ids"]
    fresh = {i for i in new if i is not None}
    results_id = event.results_id
    refresh_id = event.refresh_id
    if event.source is not event.source.placement:  # a GET need not repeat the id that it asked for
        results_id = results_id or request.results_id
        refresh_id = refresh_id or request.refresh_id
    return {
        "results_id": results_id,
        "reconnect_id": event.reconnect_id,
        "refresh_id": refresh_id,
        "past_ids": past,
        "ids_repeat": not fresh.isdisjoint(past),
        "ids_call_no": event.call_no if event.call_no is not None else request.call_no,
    }


# --- webhooks ----------------------------------------------------------------------------------------------------


def fetch_now(request: DataRequest, event: Event, policy: Policy) -> Fields:
    """The results are announced: fetch them."""
    at = _at(event)
    return {
        "place_at": None,
        "probes": 0,
        "probe_at": at,
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
        "hinted_at": request.hinted_at,
    }


def look_soon(request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """Something happened that proves nothing: probe."""
    delay = event.delay if isinstance(event, Nudged) else timedelta()
    soon = _at(event) + delay
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
    return {**_STILL, "placements": request.placements + 1, "place_at": _at(event)}


def place_revived(request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """The entity is live again: ask once more. The old ids stay until the answer replaces them."""
    delay = event.delay if isinstance(event, EntityProvedLive) else timedelta()
    return {**_STILL, "revived_round": request.round, "place_at": _at(event) + delay, "entity_live_at": event.at}


def note_live(_request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """The entity is live again, but the prompt is with the user: remember it."""
    return {"entity_live_at": event.at}


def place_soon(_request: DataRequest, event: Event, _policy: Policy) -> Fields:
    """The bank is back: ask again."""
    delay = event.delay if isinstance(event, BankReturned) else timedelta()
    return {"held": None, "place_at": _at(event) + delay}


def _first_probe(request: DataRequest, at: datetime, policy: Policy) -> datetime:
    return _by_end(request, at + wait_before(policy.probes, 0, request.id))


def _by_end(request: DataRequest, moment: datetime) -> datetime:
    """Return `moment`, or the request's end if that comes first."""
    limits = [t for t in (request.give_up_at, request.expire_at if request.state.needs_user else None) if t is not None]
    return min([moment, *limits])
