"""What happened: the events as values, their keys, and how they are written down."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given, strategies as st

from leanflow import events
from leanflow._effects import Accepted, Change, Declined, Reason, WakeReason
from leanflow.events import (
    AnsweredOk,
    Cancelled,
    Event,
    OtherWebhook,
    Page,
    ResultsReady,
    Source,
    event_from_dict,
    event_to_dict,
)
from leanflow.testing import examples as ex
from leanflow.testing.examples import START, example_request

CLASSES: tuple[Any, ...] = get_args(Event)
UNTOLD = {"raw", "pages", "payload", "at", "key"}


def test_stored_tags_are_a_public_contract() -> None:
    """Tags, sources, reasons and what wakes are stored: these very strings, for ever."""
    assert {cls.__name__: cls.tag for cls in CLASSES} == {
        "AnsweredOk": "answered_ok",
        "AnsweredPending": "answered_pending",
        "AnsweredReconnect": "answered_reconnect",
        "AnsweredRefused": "answered_refused",
        "CallBroke": "call_broke",
        "ResultsReady": "results_ready",
        "EntityReconnected": "entity_reconnected",
        "RefreshUpdated": "refresh_updated",
        "EntityCreated": "entity_created",
        "EntityUpdated": "entity_updated",
        "ConsentUpdated": "consent_updated",
        "BankAvailability": "bank_availability",
        "OtherWebhook": "other_webhook",
        "Prompted": "prompted",
        "Hinted": "hinted",
        "Cancelled": "cancelled",
        "Renewed": "renewed",
        "ActionDue": "action_due",
        "EntityProvedLive": "entity_proved_live",
        "BankReturned": "bank_returned",
        "Nudged": "nudged",
        "ConsentLost": "consent_lost",
    }
    assert [s.value for s in Source] == ["placement", "results", "refresh"]
    assert [r.value for r in Reason] == ["duplicate", "early", "late", "stale", "guard"]
    assert [w.value for w in WakeReason] == ["live", "bank", "nudge", "check"]


def test_every_event_is_public() -> None:
    """The union is closed, and each of its classes can be imported by name."""
    assert {cls.__name__ for cls in CLASSES} <= set(events.__all__)


def test_a_stamp_gives_the_time_and_keeps_the_key() -> None:
    """`stamped` copies; a key that the event has stays unless another is given."""
    event = Cancelled(key="mine")
    stamped = event.stamped(START)
    assert (stamped.at, stamped.key) == (START, "mine")
    assert event.at is None
    assert event.stamped(START, "other").key == "other"
    assert stamped == attrs.evolve(event, at=START)


def test_a_webhooks_key_is_leans_id_or_the_digest_of_its_body() -> None:
    """Two copies of one event have one key; without an id the bytes decide, since retries repeat the body."""
    named = OtherWebhook(type="x", event_id="e-1", raw=b"a")
    assert named.inbox_key == "event:e-1"
    bare = OtherWebhook(type="x", raw=b"body")
    assert bare.inbox_key == "body:" + hashlib.sha256(b"body").hexdigest()
    assert OtherWebhook(type="x", event_id="", raw=b"body").inbox_key == bare.inbox_key


def test_bank_data_is_not_shown() -> None:
    """The repr of an event goes into logs; bodies, pages and payloads do not."""
    page = Page(raw=b"secret-body")
    shown = repr((AnsweredOk(pages=(page,)), page, OtherWebhook(type="x", raw=b"secret-body", payload={"a": "secret"})))
    assert "secret" not in shown


def test_a_decline_reads_as_it_is_recorded() -> None:
    """The reason, and for a guard its name."""
    assert str(Declined(reason=Reason.stale)) == "stale"
    assert str(Declined(reason=Reason.guard, guard="held")) == "guard:held"


def test_decisions_are_values() -> None:
    """Two equal decisions are equal: nothing in them depends on when they were made."""
    request = example_request()
    assert ex.accepted(request, Cancelled()) == ex.accepted(request, Cancelled())
    assert isinstance(ex.accepted(request, Cancelled()), Accepted)


# --- written down ------------------------------------------------------------------------------------------------

texts = st.text(max_size=20)
times = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=3))]),
)


def _strategy(field: attrs.Attribute[Any]) -> st.SearchStrategy[Any]:
    kind = str(field.type)
    base: st.SearchStrategy[Any] = {
        "datetime": times,
        "str": texts,
        "int": st.integers(0, 2**40),
        "bool": st.booleans(),
        "float": st.floats(0, 1e9),
        "timedelta": st.timedeltas(timedelta(), timedelta(days=99)),
        "Source": st.sampled_from(Source),
    }[kind.split(" | ", maxsplit=1)[0]]
    return st.none() | base if kind.endswith("None") else base


def _events_of(cls: Any) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{f.name: _strategy(f) for f in attrs.fields(cls) if f.name not in UNTOLD})


@given(st.one_of([_events_of(cls) for cls in CLASSES]), times, st.none() | texts)
def test_an_event_survives_being_written_down(event: Any, at: datetime, key: str | None) -> None:
    """To JSON and back it is the same, with the time and key of its history row."""
    again = event_from_dict(json.loads(json.dumps(event_to_dict(event))), at=at, key=key)
    assert type(again) is type(event)
    assert again == attrs.evolve(event, at=at, key=key)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.tag)
def test_no_bank_data_is_written_down(cls: Any) -> None:
    """History and exports hold no bodies, pages or payloads, whatever the event."""
    told = set(event_to_dict(_example(cls)))
    assert not told & UNTOLD


def _example(cls: Any) -> Any:
    by_kind: dict[str, Any] = {"str": "x", "int": 1}
    fields = {f.name: by_kind[str(f.type)] for f in attrs.fields(cls) if f.default is attrs.NOTHING}
    bank_data: dict[str, Any] = {"raw": b"x", "pages": (Page(raw=b"x"),), "payload": {"a": "b"}}
    fields |= {f.name: bank_data[f.name] for f in attrs.fields(cls) if f.name in bank_data}
    return cls(**fields).stamped(START, "key")


def test_an_unknown_tag_is_refused_with_the_known_ones() -> None:
    """A history written by somebody else says what it could have been."""
    with pytest.raises(ValueError, match="unknown event 'fell_over'; known: action_due, answered_ok"):
        event_from_dict({"event": "fell_over"}, at=START)
    with pytest.raises(ValueError, match="unknown event None"):
        event_from_dict({}, at=START)


def test_what_a_later_version_wrote_is_passed_over() -> None:
    """Unknown names in an event are no error."""
    assert event_from_dict({"event": "cancelled", "of_the_future": 1}, at=START) == Cancelled(at=START)


def test_an_event_without_its_bytes_keeps_its_ids() -> None:
    """What decides is written down: ids, times, codes."""
    event = ResultsReady(type="results.ready", results_id="r", timestamp=START, raw=b"body")
    assert event_to_dict(event) == {
        "event": "results_ready",
        "type": "results.ready",
        "timestamp": START.isoformat(),
        "results_id": "r",
    }


def test_a_change_holds_no_bank_data() -> None:
    """What buses get names the record and the move; the results are asked for."""
    change = Change(
        key="k", request=example_request(), from_state=None, to_state=example_request().state, at=START, cause="created"
    )
    assert set(change.to_dict()) == {"key", "request", "from_state", "to_state", "at", "cause", "out_of_order"}
