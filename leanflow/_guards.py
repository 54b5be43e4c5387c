"""The predicates that the table names. Pure; each takes (request, event, policy) and returns a real bool."""

from __future__ import annotations

from leanflow._codes import CONSENT_CODES, NO_ANSWER, NOT_READY_CODES, verdict_of
from leanflow._due import Action, is_collectable, next_action
from leanflow._policy import Policy
from leanflow._request import DataRequest, Resource, State
from leanflow.events import (
    ActionDue,
    AnsweredReconnect,
    AnsweredRefused,
    AnswerEvent,
    EntityProvedLive,
    Event,
    Hinted,
    RefreshUpdated,
    Source,
    WebhookEvent,
)

__all__ = [
    "abandoned",
    "ambiguous",
    "budget_left",
    "collectable",
    "collected",
    "collected_same_ids",
    "collected_same_ids_in_grace",
    "collected_with_no_last_word",
    "entity_live_since_prompt",
    "expires",
    "finished",
    "gives_up",
    "gives_up_first_time",
    "gives_up_with_entity_live",
    "held",
    "may_be_prompted",
    "may_repeat_collection",
    "not_renewed",
    "placed",
    "proof_is_news",
    "revivable",
    "rounds_left",
    "unanswered_budget_left",
]

_ABANDONED = frozenset({"CANCELLED", "LINK_CLOSED_PROGRAMMATICALLY", "ERROR"})
_FINISHED = frozenset({"FINISHED", "OK"})  # documented, and captured


# --- answers -----------------------------------------------------------------------------------------------------


def placed(_request: DataRequest, event: Event, _policy: Policy) -> bool:
    """The answer is to the placement."""
    return isinstance(event, AnswerEvent) and event.source is Source.placement


def collected(_request: DataRequest, event: Event, _policy: Policy) -> bool:
    """The answer is to a GET of results or of a refresh."""
    return isinstance(event, AnswerEvent) and event.source is not Source.placement


def collected_same_ids(request: DataRequest, event: Event, policy: Policy) -> bool:
    """A GET repeats the demand of this round."""
    if not (isinstance(event, AnsweredReconnect) and collected(request, event, policy)):
        return False
    return event.reconnect_id is None or event.reconnect_id == request.reconnect_id


def collected_same_ids_in_grace(request: DataRequest, event: Event, policy: Policy) -> bool:
    """The same, and so soon after the reconnect that it is no news."""
    in_grace = event.at is not None and request.grace_until is not None and event.at < request.grace_until
    return in_grace and collected_same_ids(request, event, policy)


def rounds_left(request: DataRequest, _event: Event, policy: Policy) -> bool:
    """The user may be asked once more; only rounds in which this request asked count."""
    return request.rounds_prompted < policy.max_rounds


def may_repeat_collection(request: DataRequest, event: Event, policy: Policy) -> bool:
    """The GET failed as a GET, or the results are not there yet."""
    if not (isinstance(event, AnsweredRefused) and collected(request, event, policy)):
        return False
    if event.code in NOT_READY_CODES:
        return True
    if event.enveloped or event.code in CONSENT_CODES:
        return False
    # While the outcome is open, a refused GET (bad certificate, wrong access level) is ours to mend, and no end.
    return request.state is State.reconnected or not verdict_of(event).is_final


def collected_with_no_last_word(request: DataRequest, event: Event, policy: Policy) -> bool:
    """While the user is wanted, only a final answer about the results themselves ends the request."""
    if not (isinstance(event, AnsweredRefused) and collected(request, event, policy)):
        return False
    if event.code in CONSENT_CODES:
        return False
    return not event.enveloped or not verdict_of(event).is_final


def budget_left(request: DataRequest, event: Event, _policy: Policy) -> bool:
    """The code is worth another try, and its budget is not spent; a final code has none."""
    return isinstance(event, AnsweredRefused) and request.attempts < len(verdict_of(event).waits)


def unanswered_budget_left(request: DataRequest, _event: Event, _policy: Policy) -> bool:
    """Calls that bring no answer have a budget too."""
    return request.attempts < len(NO_ANSWER.waits)


# --- webhooks ----------------------------------------------------------------------------------------------------


def ambiguous(request: DataRequest, event: Event, _policy: Policy) -> bool:
    """The id stood for an earlier round too, and Lean's clock does not tell the rounds apart."""
    if not (request.ids_repeat and isinstance(event, WebhookEvent)):
        return False
    return event.timestamp is None or request.round_started_at is None


def finished(_request: DataRequest, event: Event, _policy: Policy) -> bool:
    """The refresh is done, whether or not all its parts are good."""
    return isinstance(event, RefreshUpdated) and event.status in _FINISHED


# --- the application ---------------------------------------------------------------------------------------------


def may_be_prompted(request: DataRequest, event: Event, policy: Policy) -> bool:
    """There is a living reconnect id, time is left, and the Link SDK has not failed too often with it."""
    if request.reconnect_id is None or event.at is None or request.hint_errors >= policy.max_hint_errors:
        return False
    return all(end is None or event.at < end for end in (request.expires_at, request.give_up_at))


def abandoned(_request: DataRequest, event: Event, _policy: Policy) -> bool:
    """The Link SDK says that the user did not get through. A hint."""
    return isinstance(event, Hinted) and event.status in _ABANDONED


def entity_live_since_prompt(request: DataRequest, event: Event, policy: Policy) -> bool:
    """The user did not get through here, but another request proved the entity live meanwhile."""
    return abandoned(request, event, policy) and _live_since_round(request, policy)


# --- due times and wakes -----------------------------------------------------------------------------------------


def gives_up(request: DataRequest, event: Event, _policy: Policy) -> bool:
    """This wait is over."""
    return (
        isinstance(event, ActionDue)
        and event.action == Action.give_up
        and event.at is not None
        and request.wait_until is not None
        and request.wait_until <= event.at
    )


def gives_up_with_entity_live(request: DataRequest, event: Event, policy: Policy) -> bool:
    """This wait for the user is over, and another request proved the entity live meanwhile."""
    return gives_up(request, event, policy) and _live_since_round(request, policy)


def gives_up_first_time(request: DataRequest, event: Event, policy: Policy) -> bool:
    """This wait is over, and the call has not been placed once more for that yet."""
    return gives_up(request, event, policy) and request.placements < 1


def expires(request: DataRequest, event: Event, _policy: Policy) -> bool:
    """The end has come, and the last probe is done."""
    return (
        isinstance(event, ActionDue)
        and event.action == Action.expire
        and event.at is not None
        and next_action(request, event.at) is Action.expire
    )


def revivable(request: DataRequest, event: Event, policy: Policy) -> bool:
    """The proof is not older than this round, and this round has not been answered by it yet. Never a refresh."""
    return (
        policy.place_siblings
        and request.resource is not Resource.refresh
        and request.revived_round != request.round
        and proof_is_news(request, event, policy)
    )


def proof_is_news(request: DataRequest, event: Event, _policy: Policy) -> bool:
    """The entity was proved live after this round began, as far as Lean's clock tells."""
    if not isinstance(event, EntityProvedLive):
        return False
    if event.proved_at is None or request.round_started_at is None:
        return True
    return event.proved_at >= request.round_started_at


def held(request: DataRequest, _event: Event, _policy: Policy) -> bool:
    """The request waits for a bank."""
    return request.held is not None


def collectable(request: DataRequest, _event: Event, _policy: Policy) -> bool:
    """There are results that a look could find."""
    return is_collectable(request)


def not_renewed(request: DataRequest, _event: Event, _policy: Policy) -> bool:
    """It has no successor yet."""
    return request.successor_id is None


def _live_since_round(request: DataRequest, policy: Policy) -> bool:
    return policy.place_siblings and request.entity_live_at is not None and request.resource is not Resource.refresh
