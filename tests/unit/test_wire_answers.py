"""What an answer of Lean's API means: every envelope that is known."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from leanflow import calls
from leanflow._call import Answer, Call
from leanflow._lean.answers import parse_answer, source_of
from leanflow._request import Resource
from leanflow.errors import MalformedBody
from leanflow.events import (
    AnsweredOk,
    AnsweredPending,
    AnsweredReconnect,
    AnsweredRefused,
    Source,
)

_ENTITY = "e0000000-0000-4000-8000-000000000001"
_RESULTS = "81bac9e7-e51b-45bd-b660-a7557b286642"
_RECONNECT = "6222a07e-0000-4000-8000-000000000002"
_REFRESH = "14ced864-13fa-481a-a785-7b6d84788aff"
_TIME = "2025-09-11T19:02:04.447189646Z"
_MOMENT = datetime(2025, 9, 11, 19, 2, 4, 447189, tzinfo=UTC)
_DATE = "Thu, 11 Sep 2025 19:02:05 GMT"

_V1 = calls.data(Resource.accounts, _ENTITY, api="v1")
_V2 = calls.data(Resource.accounts, _ENTITY)
_GET = calls.get_results(_RESULTS)
_GET_V1 = calls.get_results(_RESULTS, api="v1")
_START = calls.start_refresh(_ENTITY)
_LOOK = calls.get_refresh(_REFRESH)
_EVERY_CALL = [_V1, _V2, _GET, _GET_V1, _START, _LOOK]

_PAGE = {"number": 0, "size": 100, "total_elements": 1, "total_pages": 1}
_ACCOUNTS = {"type": "accounts", "accounts": [{"account_id": "a", "limit": 375.11}], "page": _PAGE}


def _envelope(**members: Any) -> dict[str, Any]:
    return {
        "results_id": _RESULTS,
        "message": "words",
        "meta": None,
        "timestamp": _TIME,
        "status_detail": None,
        **members,
    }


def _answer(body: object, status: int = 200, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=raw)


def _refused(call: Call, answer: Answer) -> AnsweredRefused:
    event = parse_answer(call, answer)
    assert isinstance(event, AnsweredRefused)
    return event


# --- which call it was -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "source"),
    [
        (_V1, Source.placement),
        (_V2, Source.placement),
        (_START, Source.placement),
        (calls.list_refreshes(_ENTITY), Source.placement),
        (_GET, Source.results),
        (_GET_V1, Source.results),
        (calls.get_results(_RESULTS, api="v1", base="/data/v1/results"), Source.results),
        (_LOOK, Source.refresh),
        (calls.data(Resource.balances, _ENTITY, account_id="results"), Source.placement),
        (calls.data(Resource.balances, _ENTITY, account_id="refreshes"), Source.placement),
        (Call(method="GET", path="/"), Source.placement),
        (Call(method="GET", path=""), Source.placement),
    ],
)
def test_the_call_tells_the_source(call: Call, source: Source) -> None:
    """GET results and GET of one refresh are told from placements, whatever an account is called."""
    assert source_of(call) is source
    assert parse_answer(call, _answer(b"")).source is source


# --- data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [_V2, _GET])
@pytest.mark.parametrize("detail", [None, {}, {"granular_status_code": None, "status_additional_info": None}])
def test_v2_data_is_ok(call: Call, detail: object) -> None:
    """The v2 envelope with any empty status_detail is data; its bytes, ids and times are kept."""
    answer = _answer(
        _envelope(
            status="OK", status_detail=detail, data=_ACCOUNTS, type="accounts", refreshed_at="2025-08-07T12:10:15.643Z"
        ),
        lean_correlation_id="corr",
    )
    event = parse_answer(call, answer)
    assert isinstance(event, AnsweredOk)
    assert event.results_id == _RESULTS
    assert event.timestamp == _MOMENT
    assert event.http_status == 200
    assert event.correlation_id == "corr"
    assert event.total_pages == 1
    (page,) = event.pages
    assert page.raw == answer.body
    assert page.number == 0
    assert page.correlation_id == "corr"
    assert page.refreshed_at == datetime(2025, 8, 7, 12, 10, 15, 643000, tzinfo=UTC)


@pytest.mark.parametrize("call", [_V1, _GET_V1, _GET])
def test_v1_data_is_ok_with_nothing_but_status_and_payload(call: Call) -> None:
    """v1's examples lack results_id, message and timestamp; KSA's v2 results have v1's payload."""
    event = parse_answer(call, _answer({"status": "OK", "payload": {"accounts": []}}, date=_DATE))
    assert isinstance(event, AnsweredOk)
    assert event.results_id is None
    assert event.timestamp == datetime(2025, 9, 11, 19, 2, 5, tzinfo=UTC)
    assert event.total_pages == 1


def test_data_counts_before_payload_and_null_is_not_there() -> None:
    """A null beside the other key changes nothing."""
    body = _envelope(status="OK", data=None, payload={"accounts": []})
    assert isinstance(parse_answer(_V2, _answer(body)), AnsweredOk)
    body = _envelope(status="OK", data={"accounts": []}, payload=None)
    assert isinstance(parse_answer(_V1, _answer(body)), AnsweredOk)


def test_further_pages_are_counted() -> None:
    """total_pages comes from data.page; an empty result has none, and that is one page."""
    data = {"accounts": [], "page": {**_PAGE, "total_pages": 7}}
    event = parse_answer(_V2, _answer(_envelope(status="OK", data=data)))
    assert isinstance(event, AnsweredOk)
    assert event.total_pages == 7
    data = {"accounts": [], "page": {**_PAGE, "total_pages": 0}}
    event = parse_answer(_V2, _answer(_envelope(status="OK", data=data)))
    assert isinstance(event, AnsweredOk)
    assert event.total_pages == 1


def test_the_page_that_was_asked_for_is_taken() -> None:
    """Page 3 of a call for page 3 has that number."""
    call = calls.data(Resource.accounts, _ENTITY, page=3)
    data = {"accounts": [], "page": {**_PAGE, "number": 3, "total_pages": 7}}
    event = parse_answer(call, _answer(_envelope(status="OK", data=data)))
    assert isinstance(event, AnsweredOk)
    assert event.pages[0].number == 3


@pytest.mark.parametrize(
    ("page", "path"),
    [
        ({**_PAGE, "number": 0, "total_pages": 7}, "$.data.page.number"),
        ({"total_pages": 7}, "$.data.page.number"),
        (None, "$.data.page"),
    ],
)
def test_another_page_than_the_one_asked_for_is_refused(page: object, path: str) -> None:
    """Storing the first page again and again would look like success."""
    call = calls.data(Resource.accounts, _ENTITY, page=3)
    with pytest.raises(MalformedBody) as caught:
        parse_answer(call, _answer(_envelope(status="OK", data={"accounts": [], "page": page})))
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"status": "OK", "data": []}, "$.data"),
        ({"status": "OK", "data": "none"}, "$.data"),
        ({"status": "OK", "payload": [1]}, "$.payload"),
        ({"status": "OK", "data": {"page": []}}, "$.data.page"),
        ({"status": "OK", "data": {"page": {"total_pages": "2"}}}, "$.data.page.total_pages"),
        ({"status": "OK", "data": {"page": {"total_pages": True}}}, "$.data.page.total_pages"),
        ({"status": "OK", "data": {"page": {"total_pages": -1}}}, "$.data.page.total_pages"),
        ({"status": "OK", "data": {"page": {"total_pages": 10**9}}}, "$.data.page.total_pages"),
        ({"status": "OK", "data": {"page": {"number": 1}}}, "$.data.page.number"),
        ({"status": "OK", "data": {"page": {"number": False}}}, "$.data.page.number"),
        ({"status": "OK", "data": {"a": 1}, "results_id": 12345}, "$.results_id"),
        ({"status": "PENDING", "results_id": {"x": 1}}, "$.results_id"),
        ({"status": "PENDING", "refresh_id": ["x"]}, "$.refresh_id"),
        ({"status": "RECONNECT_REQUIRED", "reconnect_id": 1}, "$.reconnect_id"),
        ({"status": "RECONNECT_REQUIRED", "payload": {"reconnect_id": 1}}, "$.payload.reconnect_id"),
        ({"status": "RECONNECT_REQUIRED", "data": {"reconnect_id": False}}, "$.data.reconnect_id"),
        ({"status": "RECONNECT_REQUIRED", "payload": "x"}, "$.payload"),
        ({"status": 200}, "$.status"),
        ({"status": None}, "$.status"),
        ({"status": ""}, "$.status"),
        ({"status": {"code": "200"}}, "$.status"),
        ({}, "$.status"),
    ],
)
def test_what_would_have_to_be_acted_on_must_be_of_its_type(body: dict[str, Any], path: str) -> None:
    """Under HTTP 2xx a status, id, data or page count of another type is an error that names it."""
    with pytest.raises(MalformedBody) as caught:
        parse_answer(_V2, _answer(body))
    assert caught.value.path == path


@pytest.mark.parametrize(
    "members", [{"message": 5}, {"timestamp": 5}, {"refreshed_at": []}, {"status_detail": "x"}, {"meta": 5}]
)
def test_words_and_times_of_another_type_are_left_out(members: dict[str, Any]) -> None:
    """What is for people to read cannot cost the data."""
    event = parse_answer(_V2, _answer(_envelope(status="OK", data=_ACCOUNTS) | members))
    assert isinstance(event, AnsweredOk)


# --- waiting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http_status", [200, 202])
@pytest.mark.parametrize("status", ["PENDING", "PROCESSING_STARTED"])
@pytest.mark.parametrize("call", [_V1, _V2, _GET, _GET_V1])
def test_pending_is_decided_by_the_body(call: Call, status: str, http_status: int) -> None:
    """Lean's guides never say under which HTTP status it comes."""
    event = parse_answer(call, _answer(_envelope(status=status, data=None), http_status))
    assert isinstance(event, AnsweredPending)
    assert event.results_id == _RESULTS
    assert event.timestamp == _MOMENT


@pytest.mark.parametrize("call", _EVERY_CALL)
def test_pending_without_ids_is_still_pending(call: Call) -> None:
    """The machine decides what to do with a wait that has no name."""
    event = parse_answer(call, _answer({"status": "PENDING"}))
    assert isinstance(event, AnsweredPending)
    assert event.results_id is None
    assert event.refresh_id is None


# --- the user is wanted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "body", "reconnect_id", "results_id"),
    [
        (
            _V1,
            {
                "status": "RECONNECT_REQUIRED",
                "payload": {"reconnect_id": _RECONNECT, "type": "reconnect"},
                "results_id": _RESULTS,
            },
            _RECONNECT,
            _RESULTS,
        ),
        (_V1, {"status": "RECONNECT_REQUIRED", "payload": {"reconnect_id": _RECONNECT}}, _RECONNECT, None),
        (_V1, {"status": "RECONNECT_REQUIRED", "reconnect_id": _RECONNECT}, _RECONNECT, None),
        (_V2, _envelope(status="RECONNECT_REQUIRED", data=None), _RESULTS, _RESULTS),
        (_V2, _envelope(status="RECONNECT_REQUIRED"), _RESULTS, _RESULTS),
        (_V2, _envelope(status="RECONNECT_REQUIRED", data={"reconnect_id": _RECONNECT}), _RECONNECT, _RESULTS),
        (
            _V2,
            _envelope(status="RECONNECT_REQUIRED", reconnect_id=_RECONNECT, payload={"reconnect_id": "x"}),
            _RECONNECT,
            _RESULTS,
        ),
        (_V2, _envelope(status="RECONNECT_REQUIRED", reconnect_id="", payload={}), _RESULTS, _RESULTS),
        (_GET, _envelope(status="RECONNECT_REQUIRED", data=None), _RESULTS, _RESULTS),
    ],
)
def test_the_reconnect_id_is_found_in_each_of_its_places(
    call: Call, body: dict[str, Any], reconnect_id: str, results_id: str | None
) -> None:
    """Top level, then v1's payload, then data, then v2's results id; both ids are kept as two fields."""
    event = parse_answer(call, _answer(body))
    assert isinstance(event, AnsweredReconnect)
    assert event.reconnect_id == reconnect_id
    assert event.results_id == results_id


@pytest.mark.parametrize("extra", [{"reconnect_id": _REFRESH}, {}])
def test_a_refresh_that_wants_the_user_has_one_id_for_both(extra: dict[str, str]) -> None:
    """POST refreshes gives the refresh id a second time; if it does not, the refresh id is it."""
    body = {
        "refresh_id": _REFRESH,
        "status": "RECONNECT_REQUIRED",
        "message": "m",
        "timestamp": _TIME,
        "metadata": None,
    }
    event = parse_answer(_START, _answer(body | extra))
    assert isinstance(event, AnsweredReconnect)
    assert event.reconnect_id == event.refresh_id == _REFRESH
    assert event.results_id is None


@pytest.mark.parametrize("body", [{"status": "RECONNECT_REQUIRED"}, {"status": "RECONNECT_REQUIRED", "payload": {}}])
def test_reconnect_without_any_id_is_refused(body: dict[str, Any]) -> None:
    """A prompt needs an id: without one there is nothing to ask the user with."""
    event = _refused(_V2, _answer(body))
    assert event.code == "RECONNECT_REQUIRED_WITHOUT_ID"
    assert event.enveloped


def test_reconnect_under_a_client_error_is_believed() -> None:
    """Under which HTTP status it comes on data calls is documented nowhere."""
    event = parse_answer(_V2, _answer(_envelope(status="RECONNECT_REQUIRED"), 403))
    assert isinstance(event, AnsweredReconnect)
    assert _refused(_V2, _answer(_envelope(status="RECONNECT_REQUIRED"), 502)).code == "HTTP_502"


# --- refreshes ---------------------------------------------------------------------------------------------------


def test_a_refresh_that_was_taken_on_is_pending() -> None:
    """OK to POST refreshes means begun, not done."""
    body = {"refresh_id": _REFRESH, "status": "OK", "message": "m", "timestamp": _TIME}
    event = parse_answer(_START, _answer(body))
    assert isinstance(event, AnsweredPending)
    assert event.refresh_id == _REFRESH
    assert event.timestamp == _MOMENT


def _refresh_document(status: str) -> dict[str, Any]:
    return {
        "refresh_id": _REFRESH,
        "entity_id": _ENTITY,
        "customer_id": "c",
        "status": status,
        "data_status": {
            "accounts": "OK",
            "identity": "FAILED",
            "account_data": [{"account_id": "a", "balance": "UNSUPPORTED"}],
        },
        "created_at": _TIME,
        "updated_at": _TIME,
    }


@pytest.mark.parametrize("status", ["FINISHED", "OK"])
def test_a_finished_refresh_is_its_document_failed_parts_included(status: str) -> None:
    """FINISHED is documented, OK was captured; both are done."""
    answer = _answer(_refresh_document(status))
    event = parse_answer(_LOOK, answer)
    assert isinstance(event, AnsweredOk)
    assert event.refresh_id == _REFRESH
    assert event.pages[0].raw == answer.body
    assert event.total_pages == 1


def test_a_refresh_at_work_is_pending_and_another_status_is_refused() -> None:
    """What is neither at work nor finished is its own code."""
    event = parse_answer(_LOOK, _answer(_refresh_document("PENDING")))
    assert isinstance(event, AnsweredPending)
    assert event.refresh_id == _REFRESH
    refused = _refused(_LOOK, _answer(_refresh_document("ABORTED")))
    assert refused.code == "ABORTED"
    assert refused.enveloped
    assert isinstance(parse_answer(_LOOK, _answer(_refresh_document("RECONNECT_REQUIRED"))), AnsweredReconnect)


@pytest.mark.parametrize("call", [_V1, _V2, _GET, _START])
def test_finished_is_success_for_a_refresh_only(call: Call) -> None:
    """No other call is answered so."""
    assert _refused(call, _answer(_envelope(status="FINISHED", data=_ACCOUNTS))).code == "FINISHED"


# --- refusals ----------------------------------------------------------------------------------------------------


def test_a_failed_envelope_is_refused_by_its_granular_code() -> None:
    """FAILED under HTTP 200, with no data key at all: Lean's words are kept."""
    body = _envelope(
        status="FAILED",
        message="m",
        status_detail={"granular_status_code": "BANK_ISSUE", "status_additional_info": "try later"},
    )
    answer = _answer(body)
    for call in (_V1, _V2, _GET):
        event = _refused(call, answer)
        assert (event.code, event.message, event.info) == ("BANK_ISSUE", "m", "try later")
        assert event.enveloped
        assert event.results_id == _RESULTS
        assert event.raw == answer.body


@pytest.mark.parametrize("detail", [None, {}, {"granular_status_code": None}, {"granular_status_code": 7}, "x", 5])
def test_without_a_granular_code_the_status_is_the_code(detail: object) -> None:
    """status_detail may be null, empty, or have null members."""
    assert _refused(_V2, _answer(_envelope(status="FAILED", status_detail=detail))).code == "FAILED"


@pytest.mark.parametrize(
    ("body", "http_status", "enveloped"),
    [
        ({"timestamp": _TIME, "status": "CONSENT_EXPIRED", "message": "m", "metadata": None}, 403, False),
        (_envelope(status="CONSENT_EXPIRED"), 200, True),
        (_envelope(status="FAILED", status_detail={"granular_status_code": "CONSENT_EXPIRED"}), 403, False),
        (_envelope(status="FAILED", status_detail={"granular_status_code": "CONSENT_EXPIRED"}), 200, True),
        (_envelope(status="CONSENT_EXPIRED", status_detail={"granular_status_code": "REVOKED"}), 200, True),
    ],
)
def test_the_shapes_of_consent_expired_are_one_code(body: dict[str, Any], http_status: int, enveloped: bool) -> None:
    """Top level under 403, in the envelope, or granular."""
    for call in _EVERY_CALL:
        event = _refused(call, _answer(body, http_status))
        assert event.code == "CONSENT_EXPIRED"
        assert event.enveloped is enveloped


@pytest.mark.parametrize(
    ("body", "http_status"),
    [
        ({"timestamp": _TIME, "status": "DUPLICATED_REQUEST", "message": "m", "metadata": None}, 429),
        (_envelope(status="FAILED", status_detail={"granular_status_code": "DUPLICATED_REQUEST"}), 200),
    ],
)
def test_the_shapes_of_duplicated_request_are_one_code(body: dict[str, Any], http_status: int) -> None:
    """Top level under 429, or granular under 200."""
    for call in _EVERY_CALL:
        assert _refused(call, _answer(body, http_status)).code == "DUPLICATED_REQUEST"


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
    body = {"timestamp": _TIME, "status": code, "message": "m", "metadata": None}
    for call in _EVERY_CALL:
        event = _refused(call, _answer(body, http_status))
        assert (event.code, event.message, event.http_status) == (code, "m", http_status)
        assert not event.enveloped
        assert event.timestamp == _MOMENT


def test_an_http_error_with_a_granular_code_is_refused_by_that() -> None:
    """Insights say 408 with FAILED and TIMEOUT."""
    body = _envelope(status="FAILED", status_detail={"granular_status_code": "TIMEOUT"})
    assert _refused(_V2, _answer(body, 408)).code == "TIMEOUT"


@pytest.mark.parametrize(
    "body",
    [
        {"status": 503, "error": "Service Unavailable", "results_id": 5, "timestamp": 5},
        {"status": "OK", "data": _ACCOUNTS},
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
    for call in _EVERY_CALL:
        event = _refused(call, _answer(body, http_status))
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
    for call in _EVERY_CALL:
        event = _refused(call, _answer(raw, http_status, date=_DATE))
        assert event.code == "NOT_JSON"
        assert event.raw == raw
        assert event.timestamp is not None
        assert not event.enveloped


@pytest.mark.parametrize("status", ["ok", "Ok", "OK ", "SUCCESS", "DONE", "READY", "COMPLETED", "PARTIAL", "حسنا"])
def test_an_unknown_status_is_its_own_code_and_never_success(status: str) -> None:
    """Even with data beside it."""
    for call in _EVERY_CALL:
        event = _refused(call, _answer(_envelope(status=status, data=_ACCOUNTS)))
        assert event.code == status
        assert event.enveloped


@pytest.mark.parametrize(
    "body",
    [
        {"status": "OK"},
        {"status": "OK", "data": None, "payload": None},
        {"status": "OK", "data": {}},
        {"status": "OK", "payload": {"type": "reconnect", "reconnect_id": _RECONNECT}},
    ],
)
def test_ok_without_data_is_refused(body: dict[str, Any]) -> None:
    """Taking it for data would be "no accounts"."""
    for call in (_V1, _V2, _GET, _GET_V1):
        event = _refused(call, _answer(body))
        assert event.code == "OK_WITHOUT_DATA"
        assert event.enveloped


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "Thu, 11 Sep 2025 19:03:05 GMT", "date": _DATE}, 60.0),
        ({"retry-after": "Thu, 11 Sep 2025 19:03:05 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """As seconds, or as a date counted from the answer's own; also on an answer that is no JSON."""
    for raw in (b'{"status":"RATE_LIMIT_EXCEEDED"}', b"<html>"):
        assert _refused(_V2, Answer(status=429, headers=headers, body=raw)).retry_after == seconds


def test_long_and_unstorable_words_are_cut() -> None:
    """Messages go into rows; a code goes into an index."""
    raw = (
        b'{"status":"'
        + b"X" * 5000
        + b'","message":"'
        + b"y" * 9000
        + b'","status_detail":{"status_additional_info":"a\\u0000\\ud800"}}'
    )
    event = _refused(_V2, _answer(raw))
    assert len(event.code) == 200
    assert len(event.message) == 2000
    assert event.info == "a??"


def test_an_answers_bytes_are_in_no_repr() -> None:
    """Bank data stays out of logs."""
    event = parse_answer(_V2, _answer(_envelope(status="OK", data=_ACCOUNTS)))
    assert "375.11" not in repr(event)
    assert "375.11" not in repr(_refused(_V2, _answer(_envelope(status="NEW", data=_ACCOUNTS))))
