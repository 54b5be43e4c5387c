"""What an answer of Lean's API means that neither brings data nor asks for patience, and what is no answer at all."""

from __future__ import annotations

from typing import Any

import pytest

from leanflow._call import Answer
from leanflow._lean.answers import parse_answer
from tests.support.answers import (
    ACCOUNTS,
    DATE,
    EVERY_CALL,
    GET,
    GET_V1,
    MOMENT,
    RECONNECT,
    RESULTS,
    TIME,
    V1,
    V2,
    answer_of,
    envelope,
    refusal_of,
)


def test_a_failed_envelope_is_refused_by_its_granular_code() -> None:
    """FAILED under HTTP 200, with no data key at all: Lean's words are kept."""
    body = envelope(
        status="FAILED",
        message="m",
        status_detail={"granular_status_code": "BANK_ISSUE", "status_additional_info": "try later"},
    )
    answer = answer_of(body)
    for call in (V1, V2, GET):
        event = refusal_of(call, answer)
        assert (event.code, event.message, event.info) == ("BANK_ISSUE", "m", "try later")
        assert event.enveloped
        assert event.results_id == RESULTS
        assert event.raw == answer.body


@pytest.mark.parametrize("detail", [None, {}, {"granular_status_code": None}, {"granular_status_code": 7}, "x", 5])
def test_without_a_granular_code_the_status_is_the_code(detail: object) -> None:
    """status_detail may be null, empty, or have null members."""
    assert refusal_of(V2, answer_of(envelope(status="FAILED", status_detail=detail))).code == "FAILED"


@pytest.mark.parametrize(
    ("body", "http_status", "enveloped"),
    [
        ({"timestamp": TIME, "status": "CONSENT_EXPIRED", "message": "m", "metadata": None}, 403, False),
        (envelope(status="CONSENT_EXPIRED"), 200, True),
        (envelope(status="FAILED", status_detail={"granular_status_code": "CONSENT_EXPIRED"}), 403, False),
        (envelope(status="FAILED", status_detail={"granular_status_code": "CONSENT_EXPIRED"}), 200, True),
        (envelope(status="CONSENT_EXPIRED", status_detail={"granular_status_code": "REVOKED"}), 200, True),
    ],
)
def test_the_shapes_of_consent_expired_are_one_code(body: dict[str, Any], http_status: int, enveloped: bool) -> None:
    """Top level under 403, in the envelope, or granular."""
    for call in EVERY_CALL:
        event = refusal_of(call, answer_of(body, http_status))
        assert event.code == "CONSENT_EXPIRED"
        assert event.enveloped is enveloped


@pytest.mark.parametrize(
    ("body", "http_status"),
    [
        ({"timestamp": TIME, "status": "DUPLICATED_REQUEST", "message": "m", "metadata": None}, 429),
        (envelope(status="FAILED", status_detail={"granular_status_code": "DUPLICATED_REQUEST"}), 200),
    ],
)
def test_the_shapes_of_duplicated_request_are_one_code(body: dict[str, Any], http_status: int) -> None:
    """Top level under 429, or granular under 200."""
    for call in EVERY_CALL:
        assert refusal_of(call, answer_of(body, http_status)).code == "DUPLICATED_REQUEST"


@pytest.mark.parametrize(
    ("http_status", "code"),
    [
        (400, "INVALID_PARAMETERS"),
        (401, "CERTIFICATE_TOKEN_MISMATCH"),
        (403, "USER_PERMISSIONS_NOT_GRANTED"),
        (404, "UNKNOWN_ENTITY"),
        (404, "UNKNOWN_RESULTS_ID"),
        (408, "TIMEOUT"),
        (429, "RATE_LIMIT_EXCEEDED"),
        (500, "INTERNAL_SERVER_ERROR"),
        (503, "SOMETHING_NEW"),
    ],
)
def test_an_error_envelope_is_refused_by_its_status(http_status: int, code: str) -> None:
    """The call is refused, not the results."""
    body = {"timestamp": TIME, "status": code, "message": "m", "metadata": None}
    for call in EVERY_CALL:
        event = refusal_of(call, answer_of(body, http_status))
        assert (event.code, event.message, event.http_status) == (code, "m", http_status)
        assert not event.enveloped
        assert event.timestamp == MOMENT


def test_an_http_error_with_a_granular_code_is_refused_by_that() -> None:
    """Insights say 408 with FAILED and TIMEOUT."""
    body = envelope(status="FAILED", status_detail={"granular_status_code": "TIMEOUT"})
    assert refusal_of(V2, answer_of(body, 408)).code == "TIMEOUT"


@pytest.mark.parametrize(
    "body",
    [
        {"status": 503, "error": "Service Unavailable", "results_id": 5, "timestamp": 5},
        {"status": "OK", "data": ACCOUNTS},
        {"status": "PENDING"},
        {"status": "FINISHED"},
        {"status": None},
        {"error": "x"},
        {},
    ],
)
@pytest.mark.parametrize("http_status", [302, 401, 404, 503])
def test_an_http_error_is_never_success_nor_lost(body: dict[str, Any], http_status: int) -> None:
    """Whatever a gateway writes, and whatever success the body claims, it is a refusal with the HTTP status."""
    for call in EVERY_CALL:
        event = refusal_of(call, answer_of(body, http_status))
        assert event.code == f"HTTP_{http_status}"
        assert not event.enveloped


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html><title>502 Bad Gateway</title></html>",
        b'{"status":"OK","data":{"accounts":[',
        b"null",
        b"[]",
        b'"OK"',
        b"200",
        b"\xff\xfe",
        b'{"status":"OK","status":"OK","data":{"a":1}}',
        b'{"status":"OK","data":{"a":NaN}}',
        b'{"status":"OK","data":' + b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("http_status", [200, 202, 204, 404, 502])
def test_what_is_no_json_object_is_refused_and_kept(raw: bytes, http_status: int) -> None:
    """HTML, cut bodies, lists and nesting without end are NOT_JSON under every HTTP status."""
    for call in EVERY_CALL:
        event = refusal_of(call, answer_of(raw, http_status, date=DATE))
        assert event.code == "NOT_JSON"
        assert event.raw == raw
        assert event.timestamp is not None
        assert not event.enveloped


@pytest.mark.parametrize("status", ["ok", "Ok", "OK ", "SUCCESS", "DONE", "READY", "COMPLETED", "PARTIAL", "حسنا"])
def test_an_unknown_status_is_its_own_code_and_never_success(status: str) -> None:
    """Even with data beside it."""
    for call in EVERY_CALL:
        event = refusal_of(call, answer_of(envelope(status=status, data=ACCOUNTS)))
        assert event.code == status
        assert event.enveloped


@pytest.mark.parametrize(
    "body",
    [
        {"status": "OK"},
        {"status": "OK", "data": None, "payload": None},
        {"status": "OK", "data": {}},
        {"status": "OK", "payload": {"type": "reconnect", "reconnect_id": RECONNECT}},
    ],
)
def test_ok_without_data_is_refused(body: dict[str, Any]) -> None:
    """Taking it for data would be "no accounts"."""
    for call in (V1, V2, GET, GET_V1):
        event = refusal_of(call, answer_of(body))
        assert event.code == "OK_WITHOUT_DATA"
        assert event.enveloped


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "Thu, 11 Sep 2025 19:03:05 GMT", "date": DATE}, 60.0),
        ({"retry-after": "Thu, 11 Sep 2025 19:03:05 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """As seconds, or as a date counted from the answer's own; also on an answer that is no JSON."""
    for raw in (b'{"status":"RATE_LIMIT_EXCEEDED"}', b"<html>"):
        assert refusal_of(V2, Answer(status=429, headers=headers, body=raw)).retry_after == seconds


def test_long_and_unstorable_words_are_cut() -> None:
    """Messages go into rows; a code goes into an index."""
    raw = (
        b'{"status":"'
        + b"X" * 5000
        + b'","message":"'
        + b"y" * 9000
        + b'","status_detail":{"status_additional_info":"a\\u0000\\ud800"}}'
    )
    event = refusal_of(V2, answer_of(raw))
    assert len(event.code) == 200
    assert len(event.message) == 2000
    assert event.info == "a??"


def test_an_answers_bytes_are_in_no_repr() -> None:
    """Bank data stays out of logs."""
    event = parse_answer(V2, answer_of(envelope(status="OK", data=ACCOUNTS)))
    assert "375.11" not in repr(event)
    assert "375.11" not in repr(refusal_of(V2, answer_of(envelope(status="NEW", data=ACCOUNTS))))
