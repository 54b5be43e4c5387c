"""Each transition sets a whole set of fields: from a record in which nothing has its default, these and no other."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from leanflow._backoff import spread, wait_before
from leanflow._due import Action
from leanflow._machine import DEFAULT_POLICY
from leanflow._policy import Policy
from leanflow._request import DataRequest, Failure, Remedy, State
from leanflow.events import (
    ActionDue,
    BankReturned,
    Cancelled,
    EntityProvedLive,
    Event,
    Prompted,
)
from leanflow.testing import examples as ex
from leanflow.testing.examples import START, example_request

POLICY = DEFAULT_POLICY
LATER = START + timedelta(minutes=3)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=s) for s in (1, 60, 3600, 86_400))
NEW = example_request()
ID = NEW.id
FIRST_PROBE = wait_before(POLICY.probes, 0, ID)


def change(request: DataRequest, event: Event, at: datetime = LATER, policy: Policy = POLICY) -> dict[str, Any]:
    """Return the fields that an event changes a little later."""
    return ex.changed_by(request, event, at, policy)


UNSET = object()
UNAVAILABLE = Failure(
    code="RESULTS_UNAVAILABLE", message="Lean did not deliver the results, asked twice", remedy=Remedy.renew
)
LONG_AGO = START - 99 * DAY
DIRT: dict[str, Any] = {
    "round": 7,
    "rounds_prompted": 1,
    "prompted_round": 6,
    "attempts": 2,
    "probes": 5,
    "placements": 1,
    "call_no": 9,
    "place_at": LONG_AGO,
    "probe_at": LONG_AGO,
    "probed_at": LONG_AGO,
    "last_chances": 3,
    "wait_until": LONG_AGO,
    "quiet_until": LONG_AGO,
    "expires_at": START + DAY,
    "expire_at": START + 2 * DAY,
    "results_id": "old-results",
    "reconnect_id": "old-reconnect",
    "refresh_id": None,
    "ids_call_no": 4,
    "past_ids": ("older", "old-results"),
    "round_started_at": LONG_AGO,
    "ids_repeat": True,
    "grace_until": LONG_AGO,
    "revived_round": 5,
    "prompt_number": 3,
    "prompted_at": LONG_AGO,
    "hinted_at": LONG_AGO,
    "hint": "ACTIVE",
    "hint_errors": 2,
    "entity_live_at": LONG_AGO,
    "held": "DISABLED_BY_LEAN",
    "unsure": True,
}


def dirty(state: State) -> DataRequest:
    """A request whose every field is set, so that what a transition sets and what it leaves both show."""
    return example_request(**DIRT).moved({"state": state})


STILL = {"place_at": None, "probe_at": None, "wait_until": None}


FREE = {"held": None, "unsure": False}


NEW_IDS = {"results_id": "r", "reconnect_id": "r", "past_ids": ("older", "old-results", "old-reconnect")}


WHOLE: dict[str, tuple[State, Event, dict[str, Any]]] = {
    "an end": (State.awaiting_user, Cancelled(), {"state": State.cancelled, **STILL, **FREE}),
    "pending": (
        State.requested,
        ex.a_pending(dirty(State.requested), results_id="r"),
        {
            **NEW_IDS,
            **FREE,
            "reconnect_id": None,
            "ids_repeat": False,
            "ids_call_no": 9,
            "expires_at": None,
            "expire_at": None,
            "grace_until": None,
            "probes": 0,
            "entity_live_at": None,
            "place_at": None,
            "probe_at": LATER + FIRST_PROBE,
            "wait_until": LATER + DAY,
        },
    ),
    "a demand": (
        State.requested,
        ex.a_reconnect(dirty(State.requested), results_id="r", reconnect_id="r"),
        {
            **NEW_IDS,
            **STILL,
            **FREE,
            "state": State.reconnect_required,
            "ids_repeat": False,
            "ids_call_no": 9,
            "round": 8,
            "round_started_at": None,
            "expires_at": LATER + 30 * DAY,
            "expire_at": LATER + 30 * DAY + 4 * HOUR,
            "grace_until": None,
            "attempts": 0,
            "probes": 0,
            "last_chances": 0,
            "placements": 0,
            "hint": None,
            "hint_errors": 0,
            "hinted_at": None,
            "entity_live_at": None,
        },
    ),
    "a refusal": (
        State.requested,
        ex.a_refusal(dirty(State.requested), "LEAN_ERROR"),
        {
            **STILL,
            **FREE,
            "attempts": 3,
            "place_at": LATER + spread(15 * MINUTE, f"{ID}:2"),
        },
    ),
    "a final refusal": (
        State.awaiting_user,
        ex.a_refusal(dirty(State.awaiting_user), "DATA_NOT_FOUND"),
        {
            **STILL,
            **FREE,
            "state": State.failed,
            "failure": Failure(code="DATA_NOT_FOUND", message="data_not_found", http_status=200),
        },
    ),
    "a silence": (
        State.requested,
        ex.a_silence(dirty(State.requested), maybe_sent=False),
        {**STILL, "attempts": 3, "place_at": LATER + spread(MINUTE, f"{ID}:2")},
    ),
    "an announcement": (
        State.awaiting_user,
        ex.results_ready(dirty(State.awaiting_user), timestamp=START),
        {
            "state": State.results_ready,
            "place_at": None,
            "probes": 0,
            "probe_at": LATER,
            "wait_until": LATER + DAY,
            "held": None,
        },
    ),
    "a reconnect": (
        State.awaiting_user,
        ex.entity_reconnected(dirty(State.awaiting_user), timestamp=START),
        {
            "state": State.reconnected,
            "place_at": None,
            "probes": 0,
            "probe_at": LATER + FIRST_PROBE,
            "wait_until": LATER + DAY,
            "grace_until": LATER + 10 * MINUTE,
        },
    ),
    "a prompt": (
        State.reconnect_required,
        Prompted(),
        {
            "state": State.awaiting_user,
            "prompt_number": 4,
            "prompted_at": LATER,
            "prompted_round": 7,
            "rounds_prompted": 2,
            "hint": None,
            "hinted_at": None,
            "place_at": None,
            "probe_at": LATER + 15 * MINUTE,
            "wait_until": LATER + 15 * MINUTE,
        },
    ),
    "a prompt abandoned after a proof": (
        State.awaiting_user,
        ex.hinted(dirty(State.awaiting_user), "CANCELLED"),
        {
            **STILL,
            "state": State.requested,
            "revived_round": 7,
            "place_at": LATER,
        },
    ),
    "a proof": (
        State.reconnect_required,
        EntityProvedLive(),
        {**STILL, "state": State.requested, "revived_round": 7, "place_at": LATER, "entity_live_at": LATER},
    ),
    "a spent wait": (
        State.reconnected,
        ActionDue(action=Action.give_up),
        {"failure": UNAVAILABLE, "state": State.failed, **STILL, **FREE},
    ),
    "a bank that is back": (State.requested, BankReturned(), {"held": None}),
}


@pytest.mark.parametrize("what", WHOLE)
def test_a_transition_sets_these_fields_and_no_other(what: str) -> None:
    """Starting from a record in which nothing has its default, exactly these fields change."""
    state, event, expected = WHOLE[what]
    assert change(dirty(state), event) == {k: v for k, v in expected.items() if DIRT.get(k, UNSET) != v}
