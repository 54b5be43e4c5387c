"""What Lean's webhooks say: every type that is known, and those that are not."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from leanflow._lean.webhooks import parse_webhook
from leanflow.errors import MalformedBody
from leanflow.events import (
    BankAvailability,
    ConsentUpdated,
    EntityCreated,
    EntityReconnected,
    EntityUpdated,
    OtherWebhook,
    RefreshUpdated,
    ResultsReady,
    WebhookEvent,
    event_from_dict,
    event_to_dict,
)

_TIME = "2025-09-11T19:02:04.447Z"
_EVENT_ID = "823a6f3c-8a24-4e95-9654-bfec21660c75"
_IGNORED = [
    "payment.created",
    "payment.updated",
    "payment_intent.created",
    "payment_intent.expired",
    "payment_source.created",
    "payment_source.updated",
    "payment_source.beneficiary.created",
    "payment_source.beneficiary.updated",
    "bulk_payment_intent.created",
    "bulk_payment_intent.updated",
    "payment.reconciliation.updated",
    "iban_account_verification.bank.availability.updated",
]
_KNOWN: list[tuple[str, dict[str, Any], type[WebhookEvent]]] = [
    ("results.ready", {"id": "r-1"}, ResultsReady),
    ("entity.reconnected", {"id": "e-1", "reconnect_id": "rc-1"}, EntityReconnected),
    (
        "entity.created",
        {"id": "e-1", "customer_id": "c-1", "permissions": ["identity"], "bank_details": {"name": "B"}},
        EntityCreated,
    ),
    ("entity.updated", {"id": "e-1", "customer_id": "c-1"}, EntityUpdated),
    (
        "entity.data.refresh.updated",
        {
            "entity_id": "e-1",
            "refresh_id": "rf-1",
            "customer_id": "c-1",
            "status": "FINISHED",
            "data_status": {"account_data": [{"transaction_availability": {"start": "2024-09-07"}}]},
        },
        RefreshUpdated,
    ),
    ("consent.status.updated", {"customer_id": "c-1", "status": "REVOKED"}, ConsentUpdated),
    (
        "bank.availability.updated",
        {"identifier": "LEANMB1", "availability": {"active": {"data": True}, "enabled": {"data": True}}},
        BankAvailability,
    ),
]


def _raw(kind: object, payload: object, **members: Any) -> bytes:
    return json.dumps({"type": kind, "payload": payload, **members}).encode()


def _full(kind: object, payload: object, **members: Any) -> bytes:
    return _raw(kind, payload, **{"message": "m", "timestamp": _TIME, "event_id": _EVENT_ID, **members})


@pytest.mark.parametrize(("kind", "payload", "cls"), _KNOWN)
def test_every_type_has_its_class(kind: str, payload: dict[str, Any], cls: type[WebhookEvent]) -> None:
    """The envelope and the raw bytes are kept, whatever the type."""
    raw = _full(kind, payload)
    event = parse_webhook(raw)
    assert type(event) is cls
    assert event.type == kind
    assert event.event_id == _EVENT_ID
    assert event.timestamp == datetime(2025, 9, 11, 19, 2, 4, 447000, tzinfo=UTC)
    assert event.message == "m"
    assert dict(event.payload) == payload
    assert event.raw == raw
    assert event.at is None


@pytest.mark.parametrize(("kind", "payload", "cls"), _KNOWN)
def test_event_id_timestamp_and_message_are_optional(
    kind: str, payload: dict[str, Any], cls: type[WebhookEvent]
) -> None:
    """v1 and the guides lack the id, some KSA examples the time; null and empty count as missing."""
    for raw in (
        _raw(kind, payload),
        _raw(kind, payload, event_id=None, timestamp=None, message=None),
        _raw(kind, payload, event_id=""),
    ):
        event = parse_webhook(raw)
        assert type(event) is cls
        assert (event.event_id, event.timestamp, event.message) == (None, None, None)


@pytest.mark.parametrize(("kind", "payload", "cls"), _KNOWN)
@pytest.mark.parametrize("event_id", [None, _EVENT_ID])
def test_the_key_is_the_inbox_key(
    kind: str, payload: dict[str, Any], cls: type[WebhookEvent], event_id: str | None
) -> None:
    """Lean's event id, else the digest of the bytes; the same as WebhookEvent computes."""
    raw = _raw(kind, payload, event_id=event_id)
    event = parse_webhook(raw)
    assert isinstance(event, cls)
    assert event.key == event.inbox_key
    assert event.key == (f"event:{event_id}" if event_id else "body:" + hashlib.sha256(raw).hexdigest())


@pytest.mark.parametrize(("kind", "payload", "cls"), _KNOWN)
def test_an_event_survives_history(kind: str, payload: dict[str, Any], cls: type[WebhookEvent]) -> None:
    """Its dict form gives it back, without payload and bytes."""
    event = parse_webhook(_full(kind, payload))
    told = json.loads(json.dumps(event_to_dict(event)))
    again = event_from_dict(told, at=datetime(2026, 1, 1, tzinfo=UTC))
    assert type(again) is cls
    assert event_to_dict(again) == event_to_dict(event)


def test_ids_are_read_from_where_each_type_has_them() -> None:
    """payload.id is the results id here, the entity id there, and for refreshes there is none."""
    by_class = {cls: parse_webhook(_full(kind, payload)) for kind, payload, cls in _KNOWN}
    ready = by_class[ResultsReady]
    assert isinstance(ready, ResultsReady)
    assert ready.results_id == "r-1"
    reconnected = by_class[EntityReconnected]
    assert isinstance(reconnected, EntityReconnected)
    assert (reconnected.entity_id, reconnected.reconnect_id) == ("e-1", "rc-1")
    created = by_class[EntityCreated]
    assert isinstance(created, EntityCreated)
    assert (created.entity_id, created.customer_id) == ("e-1", "c-1")
    updated = by_class[EntityUpdated]
    assert isinstance(updated, EntityUpdated)
    assert (updated.entity_id, updated.customer_id) == ("e-1", "c-1")
    refreshed = by_class[RefreshUpdated]
    assert isinstance(refreshed, RefreshUpdated)
    assert (refreshed.refresh_id, refreshed.entity_id, refreshed.customer_id) == ("rf-1", "e-1", "c-1")
    assert refreshed.status == "FINISHED"
    consent = by_class[ConsentUpdated]
    assert isinstance(consent, ConsentUpdated)
    assert (consent.customer_id, consent.entity_id, consent.status) == ("c-1", None, "REVOKED")


@pytest.mark.parametrize(
    "kind", [*_IGNORED, "something.new", "Results.Ready", "results.ready ", "xresults.ready", "RESULTS.READY"]
)
@pytest.mark.parametrize("payload", [{"id": "x"}, {}, None, [], "text", 5])
def test_any_other_type_is_a_value(kind: str, payload: object) -> None:
    """Types are matched whole and exactly; a payload of any shape is taken, because the bytes are kept."""
    event = parse_webhook(_full(kind, payload))
    assert type(event) is OtherWebhook
    assert event.type == kind
    assert dict(event.payload) == (payload if isinstance(payload, dict) else {})


def test_a_webhook_without_a_payload_is_a_value_if_its_type_needs_none() -> None:
    """The key may be missing altogether."""
    assert dict(parse_webhook(b'{"type":"x"}').payload) == {}


@pytest.mark.parametrize("kind", ["bank.availability.updated", "banks.availability.updated"])
@pytest.mark.parametrize(
    ("active", "enabled", "usable"),
    [
        ({"data": True, "payments": False}, {"data": True, "payments": False}, True),
        ({"data": True}, {"data": False}, False),
        ({"data": False}, {"data": True}, False),
        ({"data": False, "payments": True}, {"data": False, "payments": True}, False),
        ({"payments": True}, {"data": True}, False),
        ({"data": None}, {"data": True}, False),
        (None, {"data": True}, False),
    ],
)
def test_a_bank_is_usable_only_if_active_and_enabled_for_data(
    kind: str, active: object, enabled: object, usable: bool
) -> None:
    """Both switches, both spellings of the type; what is missing is off."""
    event = parse_webhook(_raw(kind, {"identifier": "LEANMB1", "availability": {"active": active, "enabled": enabled}}))
    assert isinstance(event, BankAvailability)
    assert event.bank_id == "LEANMB1"
    assert event.usable is usable


def test_a_bank_without_availability_is_not_usable() -> None:
    """Nothing said is off."""
    event = parse_webhook(_raw("bank.availability.updated", {"identifier": "B"}))
    assert isinstance(event, BankAvailability)
    assert not event.usable


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"", "$"),
        (b"not json", "$"),
        (b"\xff\xfe{}", "$"),
        (b"[]", "$"),
        (b"null", "$"),
        (b'"results.ready"', "$"),
        (b"{}", "$.type"),
        (b'{"type":null}', "$.type"),
        (b'{"type":""}', "$.type"),
        (b'{"type":5}', "$.type"),
        (b'{"type":["results.ready"]}', "$.type"),
        (_raw("results.ready", None), "$.payload"),
        (_raw("results.ready", []), "$.payload"),
        (_raw("results.ready", "r-1"), "$.payload"),
        (_raw("results.ready", {}), "$.payload.id"),
        (_raw("results.ready", {"id": None}), "$.payload.id"),
        (_raw("results.ready", {"id": ""}), "$.payload.id"),
        (_raw("results.ready", {"id": 5}), "$.payload.id"),
        (_raw("results.ready", {"id": {"x": 1}}), "$.payload.id"),
        (_raw("results.ready", {"id": "a\nb"}), "$.payload.id"),
        (_raw("results.ready", {"id": "x" * 256}), "$.payload.id"),
        (_raw("results.ready", {"id": "r"}, event_id=5), "$.event_id"),
        (_raw("something.new", {}, event_id=["x"]), "$.event_id"),
        (_raw("entity.reconnected", {"id": "e"}), "$.payload.reconnect_id"),
        (_raw("entity.reconnected", {"reconnect_id": "r"}), "$.payload.id"),
        (_raw("entity.created", {"id": "e", "customer_id": 5}), "$.payload.customer_id"),
        (_raw("entity.updated", {}), "$.payload.id"),
        (_raw("entity.data.refresh.updated", {"id": "rf"}), "$.payload.refresh_id"),
        (_raw("entity.data.refresh.updated", {"refresh_id": "rf", "status": 1}), "$.payload.status"),
        (_raw("consent.status.updated", {"status": {}}), "$.payload.status"),
        (_raw("bank.availability.updated", {}), "$.payload.identifier"),
        (_raw("bank.availability.updated", {"identifier": "B", "availability": []}), "$.payload.availability"),
        (
            _raw("bank.availability.updated", {"identifier": "B", "availability": {"active": 1}}),
            "$.payload.availability.active",
        ),
        (
            _raw("bank.availability.updated", {"identifier": "B", "availability": {"active": {"data": "true"}}}),
            "$.payload.availability.active.data",
        ),
        (
            _raw("bank.availability.updated", {"identifier": "B", "availability": {"enabled": {"data": 1}}}),
            "$.payload.availability.enabled.data",
        ),
        (b'{"type":"x","type":"results.ready"}', "$..type"),
        (b'{"type":"results.ready","payload":{"id":"a","id":"b"}}', "$..id"),
        (b'{"type":"x","payload":{"n":NaN}}', "$"),
        (b'{"type":"x","payload":{"n":' + b"9" * 5000 + b"}}", "$"),
        (b'{"type":"x","payload":{"a":"\\ud800"}}', "$.payload.a"),
        (b'{"type":"x","payload":' + b"[" * 100_000, "$"),
        (b'{"type":"x","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "$"),
        (b'{"type":"x","payload":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "$"),
    ],
)
def test_a_wrong_shape_is_an_error_that_names_the_place(raw: bytes, path: str) -> None:
    """Nothing is guessed, and no value of the body is in the error."""
    with pytest.raises(MalformedBody) as caught:
        parse_webhook(raw)
    assert caught.value.path == path


@pytest.mark.parametrize("members", [{"timestamp": 5}, {"timestamp": "soon"}, {"message": ["x"]}, {"extra": {"a": 1}}])
def test_unreadable_words_and_times_do_not_cost_the_webhook(members: dict[str, Any]) -> None:
    """They are left out; so is what Lean may add."""
    event = parse_webhook(_raw("results.ready", {"id": "r"}, **members))
    assert isinstance(event, ResultsReady)
    assert event.timestamp is None
    assert event.message is None


def test_the_payload_is_read_only_and_in_no_repr() -> None:
    """An event is a value, and payloads stay out of logs."""
    event = parse_webhook(_full("entity.created", {"id": "e", "app_user_id": "secret-person"}))
    with pytest.raises(TypeError):
        event.payload["id"] = "other"  # type: ignore[index]  # that is the point
    assert "secret-person" not in repr(event)


def test_money_in_a_payload_is_decimal() -> None:
    """Webhooks of payments have amounts."""
    event = parse_webhook(b'{"type":"payment.created","payload":{"amount":0.10}}')
    assert str(event.payload["amount"]) == "0.10"
