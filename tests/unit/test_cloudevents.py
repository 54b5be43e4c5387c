"""Announcements as CloudEvents 1.0, and back; the CloudEvents SDK is the judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings import http as binding
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as Judged

from leanflow._effects import Change
from leanflow._request import DataRequest, Resource, State
from leanflow.cloudevents import CONTENT_TYPE, CloudEvent, binary, headers, read, structured
from leanflow.errors import MalformedBody
from leanflow.ports import OutboxRow

NOW = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
REQUEST = DataRequest(
    id="019b8a00-0000-7000-8000-000000000001",
    app="our app",
    environment="sandbox",
    region="uae",
    api="v2",
    resource=Resource.accounts,
    entity_id="entity-1",
    customer_id="customer-1",
    metadata={"case": "قضية ٩"},
    fingerprint="f",
    state=State.fetched,
    version=7,
    created_at=NOW,
    updated_at=NOW,
)
CHANGE = Change(
    key=f"{REQUEST.id}:7:fetched",
    request=REQUEST,
    from_state=State.results_ready,
    to_state=State.fetched,
    at=NOW,
    cause="answered_ok",
)
ROW = OutboxRow(
    key=CHANGE.key,
    sink="bus",
    kind="change",
    request_id=REQUEST.id,
    payload=json.dumps(CHANGE.to_dict(), ensure_ascii=False, indent=1),
)
RAW = '{"type":"payment.created","event_id":"e 1","payload":{"entity_id":"entity-2","amount":1.10}}'
WEBHOOK = OutboxRow(
    key="webhook:event:e 1",
    sink="bus",
    kind="webhook",
    request_id=None,
    payload=json.dumps({"raw": RAW, "at": NOW.isoformat()}),
)
ORPHAN = OutboxRow(
    key="event:e2:orphan",
    sink="bus",
    kind="report",
    request_id=None,
    payload=json.dumps({"report": "orphan", "event": "results_ready", "at": NOW.isoformat()}),
)


def judged(event: CloudEvent, how: str) -> BaseCloudEvent:
    """Return what the SDK reads."""
    if how == "structured":
        message = binding.HTTPMessage({"content-type": CONTENT_TYPE}, event.structured())
        return binding.from_structured(message, JSONFormat(), Judged)
    message = binding.HTTPMessage(headers(event.attributes), event.data)
    return binding.from_binary(message, JSONFormat(), Judged)


@pytest.mark.parametrize("how", ["structured", "binary"])
@pytest.mark.parametrize("row", [ROW, WEBHOOK, ORPHAN, attrs.evolve(ROW, skipped=True)])
def test_the_sdk_reads_what_we_write(row: OutboxRow, how: str) -> None:
    """Every attribute and the data come out as they went in."""
    event = CloudEvent.of(row)
    seen = judged(event, how)
    found = {name: value for name, value in seen.get_attributes().items() if value is not None}
    found["time"] = found["time"].isoformat()
    assert found == dict(event.attributes)
    assert seen.get_data() == json.loads(row.payload)


@pytest.mark.parametrize("how", ["structured", "binary"])
def test_we_read_what_the_sdk_writes(how: str) -> None:
    """Others' CloudEvents are read too, in both modes."""
    attributes: dict[str, Any] = {"id": "é 1", "source": "/x", "type": "theirs", "time": NOW, "specversion": "1.0"}
    theirs = Judged(attributes={**attributes, "datacontenttype": "application/json"}, data={"a": [1]})
    to = binding.to_structured if how == "structured" else binding.to_binary
    message = to(theirs, JSONFormat())
    event = read(dict(message.headers), bytes(message.body))
    assert (event.key, event.kind, event.topic, event.request_id) == ("é 1", "other", "theirs", None)
    assert json.loads(event.payload) == {"a": [1]}


def test_a_change_says_what_it_is_without_being_opened() -> None:
    """Type, subject, time, partition key, sequence: what routers go by."""
    event = CloudEvent.of(ROW)
    assert dict(event.attributes) == {
        "specversion": "1.0",
        "id": f"{REQUEST.id}:7:fetched",
        "source": "/leanflow/our%20app/sandbox/uae",
        "type": "leanflow.flow.fetched.v1",
        "subject": REQUEST.id,
        "time": "2026-11-21T17:00:00+00:00",
        "datacontenttype": "application/json",
        "partitionkey": "entity-1",
        "sequence": "0000000007",
    }
    assert (event.key, event.kind, event.topic, event.request_id) == (ROW.key, "change", "fetched", REQUEST.id)
    assert event.partition_key == "entity-1"
    assert event.change == CHANGE
    late = CloudEvent.of(attrs.evolve(ROW, skipped=True))
    assert late.attributes["outoforder"] == "true"
    assert late.change == attrs.evolve(CHANGE, out_of_order=True)


def test_webhooks_and_reports_have_types_of_their_own() -> None:
    """Lean's own type stands in a webhook's; a report has its name; the source may be given."""
    webhook, orphan = CloudEvent.of(WEBHOOK, "/ours"), CloudEvent.of(ORPHAN)
    assert webhook.attributes["type"] == "leanflow.webhook.payment.created.v1"
    assert webhook.attributes["source"] == "/ours"
    assert (webhook.kind, webhook.topic, webhook.partition_key) == ("webhook", "payment.created", "entity-2")
    assert (webhook.webhook.type, webhook.webhook.raw, webhook.webhook.at) == ("payment.created", RAW.encode(), NOW)
    assert orphan.attributes["type"] == "leanflow.report.orphan.v1"
    assert orphan.attributes["source"] == "/leanflow"
    assert (orphan.kind, orphan.topic) == ("report", "orphan")


@pytest.mark.parametrize("odd", ['"\\ud83d"', "12345678901234567890123", "NaN"])
def test_what_json_readers_differ_on_hides_no_attribute(odd: str) -> None:
    """Half a surrogate pair, a long integer or NaN in an announcement changes nothing of its envelope."""
    payload = ROW.payload.rstrip()[:-1] + f', "odd": {odd}}}'
    event = CloudEvent.of(attrs.evolve(ROW, payload=payload))
    assert event.attributes == CloudEvent.of(ROW).attributes
    assert odd.encode() in event.data


def test_a_trace_context_is_told() -> None:
    """Whoever traces a request finds its announcements."""
    told = CHANGE.to_dict()
    told["request"]["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = CloudEvent.of(attrs.evolve(ROW, payload=json.dumps(told)))
    assert event.attributes["traceparent"] == told["request"]["traceparent"]


@pytest.mark.parametrize("payload", ['{"a" :\n "\\ud83d تم"}', "[1, 2]", '"text"', "no JSON"])
@pytest.mark.parametrize("prefix", ["ce-", "ce_", "cloudEvents:"])
def test_kind_request_and_payload_come_back_as_they_are(payload: str, prefix: str) -> None:
    """In binary mode under every protocol's headers, and in structured mode wherever the data is JSON."""
    row = attrs.evolve(ROW, payload=payload)
    attributes, data = binary(row)
    events = [read(headers(attributes, prefix=prefix), data)]
    if payload != "no JSON":
        events.append(read({"Content-Type": CONTENT_TYPE}, structured(row)))
    for event in events:
        assert (event.key, event.kind, event.request_id) == (row.key, row.kind, row.request_id)
        assert event.payload == payload


def test_half_a_surrogate_pair_becomes_an_escape() -> None:
    """UTF-8 has no bytes for it; the JSON says the same."""
    row = attrs.evolve(ROW, payload='{"a":"\ud83d"}')
    for event in (read({"content-type": CONTENT_TYPE}, structured(row)), CloudEvent.of(row)):
        assert event.data == b'{"a":"\\ud83d"}'


def test_packed_data_and_other_values_are_read() -> None:
    """data_base64, and attributes that are no text."""
    body = b'{"n":1,"b":true,"z":null,"data_base64":"e30=","specversion":"1.0","id":"1","source":"/","type":"t"}'
    event = read({"content-type": "application/cloudevents+json"}, body)
    assert event.payload == "{}"
    assert (event.attributes["n"], event.attributes["b"], "z" in event.attributes) == ("1", "true", False)


GOOD = {"specversion": "1.0", "id": "1", "source": "/", "type": "t"}


@pytest.mark.parametrize(
    ("told", "body", "path"),
    [
        ({}, b"{}", "$"),
        ({"content-type": CONTENT_TYPE}, b"[]", "$"),
        ({"content-type": CONTENT_TYPE}, b"{", "$"),
        ({"content-type": CONTENT_TYPE}, b"{}", "$.specversion"),
        ({"content-type": CONTENT_TYPE}, json.dumps({**GOOD, "specversion": "2.0"}).encode(), "$.specversion"),
        ({"content-type": CONTENT_TYPE}, json.dumps({**GOOD, "id": ""}).encode(), "$.id"),
        ({"content-type": CONTENT_TYPE}, json.dumps({**GOOD, "data_base64": "?"}).encode(), "$.data_base64"),
        ({f"ce-{name}": value for name, value in GOOD.items() if name != "type"}, b"", "$.type"),
        ({f"ce-{name}": value for name, value in GOOD.items()}, b"\xff", "$"),
    ],
)
def test_what_is_no_cloud_event_is_refused(told: Mapping[str, str], body: bytes, path: str) -> None:
    """The error names the place."""
    with pytest.raises(MalformedBody) as caught:
        read(told, body)
    assert caught.value.path == path


def test_what_is_neither_change_nor_webhook_is_said_to_be_none() -> None:
    """Asking for what is not there is an error of ours, with nothing of the body in it."""
    event = CloudEvent.of(ORPHAN)
    for ask in ("change", "webhook"):
        with pytest.raises(MalformedBody):
            getattr(event, ask)
    broken = CloudEvent.of(attrs.evolve(WEBHOOK, payload='{"raw": "[]", "at": null}'))
    assert (broken.topic, broken.partition_key) == ("unknown", WEBHOOK.key)


@pytest.mark.parametrize(
    "payload",
    [
        "[" * 100_000,
        '{"raw": "{\\"type\\": \\"x\\"}", "at": "soon"}',
        '{"raw": "{\\"type\\": \\"x\\"}", "at": 5}',
        '{"raw": "\\ud800", "at": null}',
    ],
    ids=["nested", "no time", "a number", "half a surrogate pair"],
)
def test_what_others_wrote_in_binary_mode_is_read_with_care(payload: str) -> None:
    """Its body is nobody's but the sender's: whatever it is, the error is ours."""
    event = read({f"ce-{name}": value for name, value in GOOD.items()}, payload.encode())
    for ask in ("change", "webhook"):
        with pytest.raises(MalformedBody):
            getattr(event, ask)
