"""What an answer of Lean's API means: every envelope that is known, but refusals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from leanflow import calls
from leanflow._call import Call
from leanflow._lean.answers import parse_answer, source_of
from leanflow._request import Resource
from leanflow.errors import MalformedBody
from leanflow.events import (
    AnsweredOk,
    AnsweredPending,
    AnsweredReconnect,
    Source,
)
from tests.support.answers import (
    ACCOUNTS,
    DATE,
    ENTITY,
    EVERY_CALL,
    GET,
    GET_V1,
    LOOK,
    MOMENT,
    PAGE,
    RECONNECT,
    REFRESH,
    RESULTS,
    START,
    TIME,
    V1,
    V2,
    answer_of,
    envelope,
    refusal_of,
)

# --- which call it was -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "source"),
    [
        (V1, Source.placement),
        (V2, Source.placement),
        (START, Source.placement),
        (calls.list_refreshes(ENTITY), Source.placement),
        (GET, Source.results),
        (GET_V1, Source.results),
        (calls.get_results(RESULTS, api="v1", base="/data/v1/results"), Source.results),
        (LOOK, Source.refresh),
        (calls.data(Resource.balances, ENTITY, account_id="results"), Source.placement),
        (calls.data(Resource.balances, ENTITY, account_id="refreshes"), Source.placement),
        (Call(method="GET", path="/"), Source.placement),
        (Call(method="GET", path=""), Source.placement),
    ],
)
def test_the_call_tells_the_source(call: Call, source: Source) -> None:
    """GET results and GET of one refresh are told from placements, whatever an account is called."""
    assert source_of(call) is source
    assert parse_answer(call, answer_of(b"")).source is source


# --- data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [V2, GET])
@pytest.mark.parametrize("detail", [None, {}, {"granular_status_code": None, "status_additional_info": None}])
def test_v2_data_is_ok(call: Call, detail: object) -> None:
    """The v2 envelope with any empty status_detail is data; its bytes, ids and times are kept."""
    answer = answer_of(
        envelope(
            status="OK", status_detail=detail, data=ACCOUNTS, type="accounts", refreshed_at="2025-08-07T12:10:15.643Z"
        ),
        lean_correlation_id="corr",
    )
    event = parse_answer(call, answer)
    assert isinstance(event, AnsweredOk)
    assert event.results_id == RESULTS
    assert event.timestamp == MOMENT
    assert event.http_status == 200
    assert event.correlation_id == "corr"
    assert event.total_pages == 1
    (page,) = event.pages
    assert page.raw == answer.body
    assert page.number == 0
    assert page.correlation_id == "corr"
    assert page.refreshed_at == datetime(2025, 8, 7, 12, 10, 15, 643000, tzinfo=UTC)


@pytest.mark.parametrize("call", [V1, GET_V1, GET])
def test_v1_data_is_ok_with_nothing_but_status_and_payload(call: Call) -> None:
    """v1's examples lack results_id, message and timestamp; KSA's v2 results have v1's payload."""
    event = parse_answer(call, answer_of({"status": "OK", "payload": {"accounts": []}}, date=DATE))
    assert isinstance(event, AnsweredOk)
    assert event.results_id is None
    assert event.timestamp == datetime(2025, 9, 11, 19, 2, 5, tzinfo=UTC)
    assert event.total_pages == 1


def test_data_counts_before_payload_and_null_is_not_there() -> None:
    """A null beside the other key changes nothing."""
    body = envelope(status="OK", data=None, payload={"accounts": []})
    assert isinstance(parse_answer(V2, answer_of(body)), AnsweredOk)
    body = envelope(status="OK", data={"accounts": []}, payload=None)
    assert isinstance(parse_answer(V1, answer_of(body)), AnsweredOk)


def test_further_pages_are_counted() -> None:
    """total_pages comes from data.page; an empty result has none, and that is one page."""
    data = {"accounts": [], "page": {**PAGE, "total_pages": 7}}
    event = parse_answer(V2, answer_of(envelope(status="OK", data=data)))
    assert isinstance(event, AnsweredOk)
    assert event.total_pages == 7
    data = {"accounts": [], "page": {**PAGE, "total_pages": 0}}
    event = parse_answer(V2, answer_of(envelope(status="OK", data=data)))
    assert isinstance(event, AnsweredOk)
    assert event.total_pages == 1


def test_the_page_that_was_asked_for_is_taken() -> None:
    """Page 3 of a call for page 3 has that number."""
    call = calls.data(Resource.accounts, ENTITY, page=3)
    data = {"accounts": [], "page": {**PAGE, "number": 3, "total_pages": 7}}
    event = parse_answer(call, answer_of(envelope(status="OK", data=data)))
    assert isinstance(event, AnsweredOk)
    assert event.pages[0].number == 3


@pytest.mark.parametrize(
    ("page", "path"),
    [
        ({**PAGE, "number": 0, "total_pages": 7}, "$.data.page.number"),
        ({"total_pages": 7}, "$.data.page.number"),
        (None, "$.data.page"),
    ],
)
def test_another_page_than_the_one_asked_for_is_refused(page: object, path: str) -> None:
    """Storing the first page again and again would look like success."""
    call = calls.data(Resource.accounts, ENTITY, page=3)
    with pytest.raises(MalformedBody) as caught:
        parse_answer(call, answer_of(envelope(status="OK", data={"accounts": [], "page": page})))
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
        parse_answer(V2, answer_of(body))
    assert caught.value.path == path


@pytest.mark.parametrize(
    "members", [{"message": 5}, {"timestamp": 5}, {"refreshed_at": []}, {"status_detail": "x"}, {"meta": 5}]
)
def test_words_and_times_of_another_type_are_left_out(members: dict[str, Any]) -> None:
    """What is for people to read cannot cost the data."""
    event = parse_answer(V2, answer_of(envelope(status="OK", data=ACCOUNTS) | members))
    assert isinstance(event, AnsweredOk)


# --- waiting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http_status", [200, 202])
@pytest.mark.parametrize("status", ["PENDING", "PROCESSING_STARTED"])
@pytest.mark.parametrize("call", [V1, V2, GET, GET_V1])
def test_pending_is_decided_by_the_body(call: Call, status: str, http_status: int) -> None:
    """Lean's guides never say under which HTTP status it comes."""
    event = parse_answer(call, answer_of(envelope(status=status, data=None), http_status))
    assert isinstance(event, AnsweredPending)
    assert event.results_id == RESULTS
    assert event.timestamp == MOMENT


@pytest.mark.parametrize("call", EVERY_CALL)
def test_pending_without_ids_is_still_pending(call: Call) -> None:
    """The machine decides what to do with a wait that has no name."""
    event = parse_answer(call, answer_of({"status": "PENDING"}))
    assert isinstance(event, AnsweredPending)
    assert event.results_id is None
    assert event.refresh_id is None


# --- the user is wanted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "body", "reconnect_id", "results_id"),
    [
        (
            V1,
            {
                "status": "RECONNECT_REQUIRED",
                "payload": {"reconnect_id": RECONNECT, "type": "reconnect"},
                "results_id": RESULTS,
            },
            RECONNECT,
            RESULTS,
        ),
        (V1, {"status": "RECONNECT_REQUIRED", "payload": {"reconnect_id": RECONNECT}}, RECONNECT, None),
        (V1, {"status": "RECONNECT_REQUIRED", "reconnect_id": RECONNECT}, RECONNECT, None),
        (V2, envelope(status="RECONNECT_REQUIRED", data=None), RESULTS, RESULTS),
        (V2, envelope(status="RECONNECT_REQUIRED"), RESULTS, RESULTS),
        (V2, envelope(status="RECONNECT_REQUIRED", data={"reconnect_id": RECONNECT}), RECONNECT, RESULTS),
        (
            V2,
            envelope(status="RECONNECT_REQUIRED", reconnect_id=RECONNECT, payload={"reconnect_id": "x"}),
            RECONNECT,
            RESULTS,
        ),
        (V2, envelope(status="RECONNECT_REQUIRED", reconnect_id="", payload={}), RESULTS, RESULTS),
        (GET, envelope(status="RECONNECT_REQUIRED", data=None), RESULTS, RESULTS),
    ],
)
def test_the_reconnect_id_is_found_in_each_of_its_places(
    call: Call, body: dict[str, Any], reconnect_id: str, results_id: str | None
) -> None:
    """Top level, then v1's payload, then data, then v2's results id; both ids are kept as two fields."""
    event = parse_answer(call, answer_of(body))
    assert isinstance(event, AnsweredReconnect)
    assert event.reconnect_id == reconnect_id
    assert event.results_id == results_id


@pytest.mark.parametrize("extra", [{"reconnect_id": REFRESH}, {}])
def test_a_refresh_that_wants_the_user_has_one_id_for_both(extra: dict[str, str]) -> None:
    """POST refreshes gives the refresh id a second time; if it does not, the refresh id is it."""
    body = {
        "refresh_id": REFRESH,
        "status": "RECONNECT_REQUIRED",
        "message": "m",
        "timestamp": TIME,
        "metadata": None,
    }
    event = parse_answer(START, answer_of(body | extra))
    assert isinstance(event, AnsweredReconnect)
    assert event.reconnect_id == event.refresh_id == REFRESH
    assert event.results_id is None


@pytest.mark.parametrize("body", [{"status": "RECONNECT_REQUIRED"}, {"status": "RECONNECT_REQUIRED", "payload": {}}])
def test_reconnect_without_any_id_is_refused(body: dict[str, Any]) -> None:
    """A prompt needs an id: without one there is nothing to ask the user with."""
    event = refusal_of(V2, answer_of(body))
    assert event.code == "RECONNECT_REQUIRED_WITHOUT_ID"
    assert event.enveloped


def test_reconnect_under_a_client_error_is_believed() -> None:
    """Under which HTTP status it comes on data calls is documented nowhere."""
    event = parse_answer(V2, answer_of(envelope(status="RECONNECT_REQUIRED"), 403))
    assert isinstance(event, AnsweredReconnect)
    assert refusal_of(V2, answer_of(envelope(status="RECONNECT_REQUIRED"), 502)).code == "HTTP_502"


# --- refreshes ---------------------------------------------------------------------------------------------------


def test_a_refresh_that_was_taken_on_is_pending() -> None:
    """OK to POST refreshes means begun, not done."""
    body = {"refresh_id": REFRESH, "status": "OK", "message": "m", "timestamp": TIME}
    event = parse_answer(START, answer_of(body))
    assert isinstance(event, AnsweredPending)
    assert event.refresh_id == REFRESH
    assert event.timestamp == MOMENT


def _refresh_document(status: str) -> dict[str, Any]:
    return {
        "refresh_id": REFRESH,
        "entity_id": ENTITY,
        "customer_id": "c",
        "status": status,
        "data_status": {
            "accounts": "OK",
            "identity": "FAILED",
            "account_data": [{"account_id": "a", "balance": "UNSUPPORTED"}],
        },
        "created_at": TIME,
        "updated_at": TIME,
    }


@pytest.mark.parametrize("status", ["FINISHED", "OK"])
def test_a_finished_refresh_is_its_document_failed_parts_included(status: str) -> None:
    """FINISHED is documented, OK was captured; both are done."""
    answer = answer_of(_refresh_document(status))
    event = parse_answer(LOOK, answer)
    assert isinstance(event, AnsweredOk)
    assert event.refresh_id == REFRESH
    assert event.pages[0].raw == answer.body
    assert event.total_pages == 1


def test_a_refresh_at_work_is_pending_and_another_status_is_refused() -> None:
    """What is neither at work nor finished is its own code."""
    event = parse_answer(LOOK, answer_of(_refresh_document("PENDING")))
    assert isinstance(event, AnsweredPending)
    assert event.refresh_id == REFRESH
    refused = refusal_of(LOOK, answer_of(_refresh_document("ABORTED")))
    assert refused.code == "ABORTED"
    assert refused.enveloped
    assert isinstance(parse_answer(LOOK, answer_of(_refresh_document("RECONNECT_REQUIRED"))), AnsweredReconnect)


@pytest.mark.parametrize("call", [V1, V2, GET, START])
def test_finished_is_success_for_a_refresh_only(call: Call) -> None:
    """No other call is answered so."""
    assert refusal_of(call, answer_of(envelope(status="FINISHED", data=ACCOUNTS))).code == "FINISHED"
