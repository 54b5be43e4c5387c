"""Whatever bytes come in: an event or MalformedBody, never anything else, and never a success that nobody spoke of."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

from hypothesis import example, given, settings, strategies as st

from leanflow import calls
from leanflow._call import Answer
from leanflow._lean.answers import (
    consent_lost,
    parse_answer,
    parse_customer,
    parse_events_page,
    parse_page_info,
    parse_refreshes,
)
from leanflow._lean.codec import array_items, json_loads
from leanflow._lean.results import Results
from leanflow._lean.signature import sign, verify
from leanflow._lean.times import format_time, parse_http_date, parse_retry_after, parse_time
from leanflow._lean.webhooks import Webhook, parse_webhook
from leanflow._request import Resource
from leanflow.errors import MalformedBody
from leanflow.events import (
    AnsweredOk,
    AnsweredPending,
    AnsweredReconnect,
    AnsweredRefused,
    Page,
    event_to_dict,
)

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_CALLS = (
    calls.data(Resource.accounts, "e-1"),
    calls.data(Resource.accounts, "e-1", page=2),
    calls.data(Resource.accounts, "e-1", api="v1"),
    calls.get_results("r-1"),
    calls.get_results("r-1", api="v1"),
    calls.start_refresh("e-1"),
    calls.get_refresh("rf-1"),
)
_ANSWERS = (AnsweredOk, AnsweredPending, AnsweredReconnect, AnsweredRefused)
_PAGE = {"number": 0, "size": 50, "total_elements": 1, "total_pages": 1}
_ENVELOPE = {"results_id": "r-1", "message": "m", "meta": None, "timestamp": "2025-09-11T19:02:04.447189646Z"}
_BODIES: list[dict[str, Any]] = [
    {
        **_ENVELOPE,
        "status": "OK",
        "status_detail": {},
        "data": {"type": "accounts", "accounts": [{"a": 375.11}], "page": _PAGE},
    },
    {"status": "OK", "payload": {"accounts": [{"a": 1}]}},
    {**_ENVELOPE, "status": "PENDING", "data": None},
    {**_ENVELOPE, "status": "RECONNECT_REQUIRED", "data": None},
    {"status": "RECONNECT_REQUIRED", "payload": {"reconnect_id": "rc-1", "type": "reconnect"}},
    {"reconnect_id": "rf-1", "refresh_id": "rf-1", "status": "RECONNECT_REQUIRED", "metadata": None},
    {
        **_ENVELOPE,
        "status": "FAILED",
        "status_detail": {"granular_status_code": "BANK_ISSUE", "status_additional_info": "x"},
    },
    {"timestamp": "2025-09-12T08:36:15.261673121Z", "status": "DUPLICATED_REQUEST", "message": "m", "metadata": None},
    {"refresh_id": "rf-1", "status": "OK", "message": "m"},
    {"refresh_id": "rf-1", "status": "FINISHED", "data_status": {"accounts": "OK", "account_data": []}},
    {"content": [{"refresh_id": "rf-1", "entity_id": "e-1", "status": "PENDING"}], "page": _PAGE},
    {"data": [{"type": "results.ready", "payload": {"id": "r-1"}, "event_id": "ev-1"}], "page": _PAGE},
    {
        "id": "e-1",
        "customer_id": "c-1",
        "consents": [{"consent_status": "ACTIVE", "expiration_date_time": "2027-01-01T00:00:00Z"}],
    },
]
_WEBHOOKS: list[dict[str, Any]] = [
    {
        "type": "results.ready",
        "payload": {"id": "r-1"},
        "message": "m",
        "timestamp": "2025-09-11T19:02:04.447Z",
        "event_id": "ev-1",
    },
    {"type": "entity.reconnected", "payload": {"id": "e-1", "reconnect_id": "rc-1"}},
    {"type": "entity.created", "payload": {"id": "e-1", "customer_id": "c-1", "permissions": ["identity"]}},
    {"type": "entity.updated", "payload": {"id": "e-1"}},
    {
        "type": "entity.data.refresh.updated",
        "payload": {"entity_id": "e-1", "refresh_id": "rf-1", "status": "FINISHED"},
    },
    {"type": "consent.status.updated", "payload": {"customer_id": "c-1", "status": "REVOKED"}},
    {
        "type": "bank.availability.updated",
        "payload": {"identifier": "B", "availability": {"active": {"data": True}, "enabled": {"data": True}}},
    },
    {"type": "payment.created", "payload": {"amount": 1.5}},
]

_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
_values = st.recursive(
    _scalars | st.sampled_from(["OK", "PENDING", "FINISHED", "RECONNECT_REQUIRED", "FAILED", "r-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for name, member in value.items():
            found += _paths(member, (*path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            found += _paths(member, (*path, index))
    return found


def _replaced(value: Any, path: tuple[Any, ...], new: Any, *, drop: bool) -> Any:
    if not path:
        return new
    head, rest = path[0], path[1:]
    if isinstance(value, dict):
        if drop and not rest:
            return {k: v for k, v in value.items() if k != head}
        return {k: _replaced(v, rest, new, drop=drop) if k == head else v for k, v in value.items()}
    if drop and not rest:
        return [v for i, v in enumerate(value) if i != head]
    return [_replaced(v, rest, new, drop=drop) if i == head else v for i, v in enumerate(value)]


@st.composite
def _mutated(draw: st.DrawFn, originals: list[dict[str, Any]]) -> bytes:
    """Return a real body with one place of it changed or dropped, or its bytes cut, patched or doubled."""
    body: Any = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(0, 2))):
        path = draw(st.sampled_from(_paths(body)))
        body = _replaced(body, path, draw(_values), drop=draw(st.booleans()))
    raw = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 5)):
        case 0:
            return raw[: draw(st.integers(0, len(raw)))]
        case 1:
            at = draw(st.integers(0, len(raw)))
            return raw[:at] + draw(st.binary(max_size=4)) + raw[at + draw(st.integers(0, 4)) :]
        case _:
            return raw


def _event_or_malformed(read: Callable[[], Any]) -> Any:
    """Return what was read, or None if it was refused as it may be."""
    try:
        return read()
    except MalformedBody as malformed:
        problem = malformed
    assert problem.path.startswith("$")
    assert problem.expected
    assert problem.__context__ is None
    return None


_anything = st.binary(max_size=200) | _values.map(lambda v: json.dumps(v).encode())
_bodies = _anything | _mutated(_BODIES) | _mutated(_WEBHOOKS)
_statuses = st.sampled_from([200, 200, 200, 201, 202, 204, 302, 400, 401, 403, 404, 408, 409, 429, 500, 502, 503])
_headers = st.dictionaries(st.sampled_from(["date", "retry-after", "lean-correlation-id"]), st.text(max_size=40))


@settings(max_examples=1500)
@given(raw=_bodies, status=_statuses, call=st.sampled_from(_CALLS), headers=_headers)
@example(raw=b"[" * 100_000, status=200, call=_CALLS[0], headers={})
@example(raw=b'{"status":"OK","data":' + b'{"a":' * 100_000, status=200, call=_CALLS[0], headers={})
def test_any_answer_is_an_event_or_malformed(raw: bytes, status: int, call: Any, headers: dict[str, str]) -> None:
    """And if it is an event, it can be stored, and success was spoken in so many words."""
    event = _event_or_malformed(lambda: parse_answer(call, Answer(status=status, headers=headers, body=raw)))
    if event is None:
        assert 200 <= status < 300 or 400 <= status < 500
        return
    assert isinstance(event, _ANSWERS)
    json.dumps(event_to_dict(event), ensure_ascii=False).encode()
    if isinstance(event, AnsweredOk):
        said = json.loads(raw)
        assert 200 <= status < 300
        assert said["status"] in ("OK", "FINISHED")
        assert said["status"] == "OK" or call.path.startswith("/data/v2/refreshes/")
        assert said.get("data") or said.get("payload") or call.path.startswith("/data/v2/refreshes/")
        assert [page.raw for page in event.pages] == [raw]
        assert event.total_pages >= 1
    if isinstance(event, AnsweredReconnect):
        assert event.reconnect_id
    if isinstance(event, AnsweredPending):
        assert 200 <= status < 300
    if isinstance(event, AnsweredRefused):
        assert event.code
        assert event.raw == raw
        assert event.retry_after is None or (event.retry_after >= 0 and math.isfinite(event.retry_after))


@settings(max_examples=1000)
@given(status=st.text(max_size=30), body=st.sampled_from(_BODIES), call=st.sampled_from(_CALLS), http=_statuses)
def test_an_unknown_status_is_never_success(status: str, body: dict[str, Any], call: Any, http: int) -> None:
    """Whatever else the body has."""
    if status in ("OK", "FINISHED", "PENDING", "PROCESSING_STARTED", "RECONNECT_REQUIRED"):
        return
    raw = json.dumps({**body, "status": status}).encode()
    event = _event_or_malformed(lambda: parse_answer(call, Answer(status=http, body=raw)))
    assert event is None or isinstance(event, AnsweredRefused)


@settings(max_examples=1500)
@given(raw=_anything | _mutated(_WEBHOOKS))
@example(raw=b"[" * 100_000)
@example(raw=b'{"type":"x","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
@example(raw=b'{"type":"x","payload":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001)
@example(raw=b'{"type":"x","payload":{"n":' + b"1" * 100_000 + b"}}")
@example(raw=b'{"type":"x","payload":{"n":1e' + b"9" * 50 + b"}}")
def test_any_webhook_is_an_event_or_malformed(raw: bytes) -> None:
    """And if it is an event, it has a key, its bytes, and can be stored."""
    event = _event_or_malformed(lambda: parse_webhook(raw))
    if event is not None:
        assert isinstance(event, Webhook)
        assert event.raw == raw
        assert event.key == event.inbox_key
        assert parse_webhook(raw) == event
        json.dumps(event_to_dict(event), ensure_ascii=False).encode()


@settings(max_examples=800)
@given(raw=_bodies, status=_statuses)
def test_any_document_is_read_or_malformed(raw: bytes, status: int) -> None:
    """Lists, entities and customers."""
    answer = Answer(status=status, body=raw)
    for read in (parse_page_info, parse_refreshes, parse_events_page, parse_customer):
        _event_or_malformed(partial(read, answer))
    assert _event_or_malformed(lambda: consent_lost(answer, _NOW)) in (True, False, None)


@settings(max_examples=500)
@given(raw=_bodies, resource=st.sampled_from(list(Resource)))
def test_any_page_is_items_or_malformed(raw: bytes, resource: Resource) -> None:
    """Items are plain dicts without a float in them."""
    results = _event_or_malformed(lambda: Results.from_pages(resource, [Page(raw=raw)]))
    if results is not None:
        pending: list[Any] = list(results.items)
        while pending:
            value = pending.pop()
            assert type(value) in (dict, list, str, int, bool, type(None), Decimal)
            if isinstance(value, dict | list):
                pending.extend(value.values() if isinstance(value, dict) else value)


@given(value=_values, space=st.sampled_from([None, 2]))
def test_json_is_read_as_the_standard_library_reads_it(value: Any, space: int | None) -> None:
    """But for floats, which become Decimal."""
    raw = json.dumps(value, indent=space).encode()
    read = _event_or_malformed(lambda: json_loads(raw))
    if read is not None:
        assert read == json.loads(raw, parse_float=Decimal)


@given(items=st.lists(_values, max_size=4), other=_values, space=st.sampled_from([None, 1]))
def test_array_items_are_what_json_has_there(items: list[Any], other: Any, space: int | None) -> None:
    """Values, bytes that read as those values, and the other members."""
    raw = json.dumps({"x": other, "data": items, "y": other}, indent=space).encode()
    found = _event_or_malformed(lambda: array_items(raw, "data"))
    if found is not None:
        others, parts = found
        whole = json.loads(raw, parse_float=Decimal)
        assert [value for value, _ in parts] == whole["data"]
        assert [json.loads(part, parse_float=Decimal) for _, part in parts] == whole["data"]
        assert others == {"x": whole["x"], "y": whole["y"]}


@given(raw=_bodies)
def test_array_items_are_as_strict_as_the_parser(raw: bytes) -> None:
    """What the one refuses, the other does not take."""
    if _event_or_malformed(lambda: array_items(raw, "data")) is not None:
        assert json_loads(raw) is not None


# --- times -------------------------------------------------------------------------------------------------------

_zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_moments = st.datetimes(datetime(1900, 1, 1), datetime(2199, 1, 1), timezones=_zones)  # noqa: DTZ001


@given(moment=_moments, digits=st.integers(6, 9), separator=st.sampled_from("T "))
def test_a_time_survives_being_written_and_read(moment: datetime, digits: int, separator: str) -> None:
    """In our own form, and in Lean's with more digits, an offset or a space."""
    assert parse_time(format_time(moment)) == moment
    local = moment.replace(tzinfo=None).isoformat(sep=separator, timespec="microseconds")
    assert parse_time(local + "7" * (digits - 6) + moment.strftime("%z")) == moment
    in_utc = moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    assert parse_time(in_utc) == moment


@settings(max_examples=500)
@given(text=st.text(max_size=40) | st.text(alphabet="0123456789-:T.Z+ ", max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    """Never an error; what is read is UTC."""
    for read in (parse_time, parse_http_date):
        moment = read(text)
        assert moment is None or moment.utcoffset() == timedelta(0)
    seconds = parse_retry_after(text, text)
    assert seconds is None or seconds >= 0


# --- signatures --------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(raw=st.binary(max_size=300), secrets=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=3))
def test_what_was_signed_is_accepted(raw: bytes, secrets: list[str]) -> None:
    """By any of the secrets, in either case."""
    for secret in secrets:
        header = sign(secret, raw)
        assert verify(raw, header, secrets)
        assert verify(raw, "sha512=" + header.removeprefix("sha512=").upper(), secrets)


@settings(max_examples=2000)
@given(
    header=st.text(max_size=200)
    | st.text(alphabet="0123456789abcdef", min_size=128, max_size=128).map("sha512=".__add__)
)
def test_no_other_header_is_accepted(header: str) -> None:
    """Any text at all: False, never an error."""
    raw = b'{"type":"results.ready"}'
    assert verify(raw, header, ["secret"]) is (header.lower() == sign("secret", raw) and header.startswith("sha512="))


def test_no_single_change_of_body_or_header_is_accepted() -> None:
    """Every bit of the body flipped, every digit of the header replaced by every other: thousands, none accepted."""
    raw = json.dumps(_WEBHOOKS[0]).encode()
    header = sign("secret", raw)
    tried = 0
    for at in range(len(raw)):
        for bit in range(8):
            changed = raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]
            assert not verify(changed, header, ["secret"])
            tried += 1
    for at in range(len("sha512="), len(header)):
        for digit in "0123456789abcdefABCDEF gé":
            changed_header = header[:at] + digit + header[at + 1 :]
            if digit.lower() != header[at]:
                assert not verify(raw, changed_header, ["secret"])
                tried += 1
    for end in range(len(raw)):
        assert not verify(raw[:end], header, ["secret"])
        tried += 1
    assert tried > 4000
