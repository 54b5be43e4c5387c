"""Answers that are no events: lists, entities, customers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leanflow._call import Answer
from leanflow._lean.answers import (
    PageInfo,
    consent_lost,
    parse_customer,
    parse_entity,
    parse_events_page,
    parse_page_info,
    parse_refreshes,
)
from leanflow._lean.webhooks import parse_webhook
from leanflow.errors import MalformedBody
from leanflow.events import EntityReconnected, OtherWebhook, ResultsReady

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_PAGE = {"number": 0, "size": 50, "total_elements": 4, "total_pages": 3, "sort": ["x"]}
_READERS = [parse_page_info, parse_refreshes, parse_events_page, parse_entity, parse_customer]


def _answer(body: object, status: int = 200) -> Answer:
    return Answer(status=status, body=body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize("read", _READERS)
@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"null", b'"x"', b"[" * 100_000, b'{"a":1,"a":1}', b"\xff"])
def test_what_is_no_object_is_malformed(read: Any, raw: bytes) -> None:
    """Each reader says so in the same way, and chains nothing that holds the body."""
    with pytest.raises(MalformedBody) as caught:
        read(_answer(raw))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("read", _READERS)
@pytest.mark.parametrize("status", [302, 401, 404, 500])
def test_an_http_error_is_no_document(read: Any, status: int) -> None:
    """Nothing is read out of an error, whatever it holds."""
    body = {"id": "e", "customer_id": "c", "content": [], "data": [], "status": "UNKNOWN_ENTITY"}
    with pytest.raises(MalformedBody) as caught:
        read(_answer(body, status))
    assert str(status) in caught.value.expected


# --- pages -------------------------------------------------------------------------------------------------------


def test_page_counts_are_read_at_the_top_level_or_in_data() -> None:
    """Lists have them at the top, data calls in data; none means one page."""
    expected = PageInfo(number=0, size=50, total_elements=4, total_pages=3)
    assert parse_page_info(_answer({"content": [], "page": _PAGE})) == expected
    assert parse_page_info(_answer({"status": "OK", "data": {"page": _PAGE}})) == expected
    assert parse_page_info(_answer({"data": [1], "page": _PAGE})) == expected
    assert parse_page_info(_answer({"data": None})) == PageInfo()
    assert parse_page_info(_answer({"page": None})) == PageInfo()


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"page": []}, "$.page"),
        ({"page": {"total_pages": "3"}}, "$.page.total_pages"),
        ({"page": {"total_pages": True}}, "$.page.total_pages"),
        ({"page": {"total_pages": 1.0}}, "$.page.total_pages"),
        ({"page": {"number": -1}}, "$.page.number"),
        ({"data": {"page": {"size": {}}}}, "$.data.page.size"),
    ],
)
def test_page_counts_must_be_whole_numbers(body: object, path: str) -> None:
    """Nothing is turned into a number."""
    with pytest.raises(MalformedBody) as caught:
        parse_page_info(_answer(body))
    assert caught.value.path == path


# --- refreshes ---------------------------------------------------------------------------------------------------


def test_refreshes_are_listed_in_leans_order() -> None:
    """The list is called content, not data; unknown members are passed over."""
    content = [
        {
            "refresh_id": "b",
            "entity_id": "e",
            "customer_id": "c",
            "status": "PENDING",
            "created_at": "2025-09-12T08:41:30.279Z",
            "new": 1,
        },
        {"refresh_id": "a", "entity_id": "e", "status": "FINISHED"},
    ]
    found = parse_refreshes(_answer({"content": content, "page": _PAGE}))
    assert [(r.refresh_id, r.entity_id, r.status) for r in found] == [("b", "e", "PENDING"), ("a", "e", "FINISHED")]
    assert parse_refreshes(_answer({"content": []})) == ()


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$.content"),
        ({"content": None}, "$.content"),
        ({"content": {}}, "$.content"),
        ({"content": "ab"}, "$.content"),
        ({"content": [[]]}, "$.content[0]"),
        ({"content": [{"refresh_id": "a"}, {}]}, "$.content[1].refresh_id"),
        ({"content": [{"refresh_id": 12345}]}, "$.content[0].refresh_id"),
        ({"content": [{"refresh_id": "a", "status": {"x": 1}}]}, "$.content[0].status"),
    ],
)
def test_a_wrong_list_of_refreshes_names_the_place(body: object, path: str) -> None:
    """Left to itself, cattrs would turn 12345 into "12345" and an empty object into an empty list."""
    with pytest.raises(MalformedBody) as caught:
        parse_refreshes(_answer(body))
    assert caught.value.path == path


# --- the Events API ----------------------------------------------------------------------------------------------


def test_events_have_the_key_of_their_webhook() -> None:
    """The same event told twice, by webhook and by the Events API, is one."""
    webhook = (
        b'{"event_id":"ev-1","type":"results.ready","payload":{"id":"r"},"message":"m",'
        b'"timestamp":"2022-08-10T10:18:39.182841Z"}'
    )
    listed = (
        b'{"payload": {"id": "r"}, "type": "results.ready", "message": "m", '
        b'"timestamp": "2022-08-10T10:18:39.182841Z", "event_id": "ev-1"}'
    )
    events, pages = parse_events_page(_answer(b'{"data": [' + listed + b'], "page": {"number": 0, "total_pages": 46}}'))
    assert pages == 46
    (event,) = events
    assert isinstance(event, ResultsReady)
    assert event.key == parse_webhook(webhook).key == "event:ev-1"
    assert event.raw == listed
    assert event.timestamp == datetime(2022, 8, 10, 10, 18, 39, 182841, tzinfo=UTC)


def test_every_event_can_be_parsed_again_from_its_own_bytes() -> None:
    """What is kept of an event is enough to offer it again."""
    body = (
        b'{"page":{"total_pages":1},"data":[{"type":"entity.reconnected","payload":{"id":"e","reconnect_id":"r"}} ,'
        b' {"type":"payment.created","payload":{"amount":375.10}}]}'
    )
    events, _ = parse_events_page(_answer(body))
    assert [type(e) for e in events] == [EntityReconnected, OtherWebhook]
    assert events[1].raw == b'{"type":"payment.created","payload":{"amount":375.10}}'
    for event in events:
        assert parse_webhook(event.raw) == event


def test_an_event_that_cannot_be_read_holds_up_no_other() -> None:
    """It is left out, and whoever wants to know is told where it stands."""
    body = {"data": [{"type": "a"}, 5, {"type": "results.ready", "payload": {}}, {"payload": {}}, {"type": "b"}]}
    told: list[MalformedBody] = []
    events, pages = parse_events_page(_answer(body), malformed=told.append)
    assert [e.type for e in events] == ["a", "b"]
    assert pages == 1
    assert [m.path for m in told] == ["$.data[1]", "$.data[2].payload.id", "$.data[3].type"]
    assert parse_events_page(_answer(body))[0] == events


@pytest.mark.parametrize("body", [{"data": {}}, {"data": "x"}, {"data": [], "page": 5}])
def test_a_page_of_events_that_is_none_is_malformed(body: object) -> None:
    """The page as a whole must be what it must be."""
    with pytest.raises(MalformedBody):
        parse_events_page(_answer(body))


# --- customers ---------------------------------------------------------------------------------------------------


def test_a_customers_id_is_read() -> None:
    """Of the answer that creates one, and of the one that looks it up."""
    for status in (200, 201):
        assert parse_customer(_answer({"customer_id": "c", "app_user_id": "001"}, status)) == "c"


@pytest.mark.parametrize("body", [{}, {"customer_id": None}, {"customer_id": 5}, {"customer_id": ""}])
def test_a_customer_without_an_id_is_malformed(body: object) -> None:
    """Nothing is turned into an id."""
    with pytest.raises(MalformedBody) as caught:
        parse_customer(_answer(body))
    assert caught.value.path == "$.customer_id"


# --- consents ----------------------------------------------------------------------------------------------------


def _ends(delta: timedelta) -> str:
    return (_NOW + delta).isoformat()


_SOON, _PAST = _ends(timedelta(seconds=1)), _ends(timedelta(0))
_LIVE = {"id": "k", "consent_status": "ACTIVE", "standard_consent_status": None, "expiration_date_time": _SOON}


@pytest.mark.parametrize(
    ("consent", "lost"),
    [
        (_LIVE, False),
        ({**_LIVE, "expiration_date_time": _PAST}, True),
        # Lean's own example: expired in August, called AUTHORISED still, and REVOKED half a day late.
        ({"consent_status": "REVOKED", "standard_consent_status": "AUTHORISED", "expiration_date_time": _PAST}, True),
        ({"consent_status": "ACTIVE", "standard_consent_status": "AUTHORISED", "expiration_date_time": _PAST}, True),
        ({"consent_status": "REVOKED", "expiration_date_time": _SOON}, True),
        ({"consent_status": "REJECTED"}, True),
        ({"standard_consent_status": "EXPIRED"}, True),
        ({"consent_status": "ACTIVE", "standard_consent_status": "EXPIRED", "expiration_date_time": _SOON}, False),
        ({"consent_status": "ACTIVE"}, False),
        ({"standard_consent_status": "AUTHORISED"}, False),
        ({"consent_status": "SOMETHING_NEW"}, False),
        ({"consent_status": "ACTIVE", "expiration_date_time": "soon"}, False),
        ({}, False),
    ],
)
def test_a_consent_is_lost_past_its_end_or_when_revoked(consent: dict[str, Any], lost: bool) -> None:
    """The end of its time counts first; unknown and contradictory statuses prove nothing."""
    assert consent_lost(_answer({"id": "e", "consents": [consent]}), _NOW) is lost


def test_one_live_consent_is_enough() -> None:
    """After a renewal the old consent stays listed; consents to payments count for nothing."""
    gone = {**_LIVE, "consent_status": "REVOKED"}
    assert consent_lost(_answer({"id": "e", "consents": [gone, _LIVE]}), _NOW) is False
    assert consent_lost(_answer({"id": "e", "consents": [gone, gone]}), _NOW) is True
    assert consent_lost(_answer({"id": "e", "consents": [gone, {}]}), _NOW) is False
    payments = {**_LIVE, "consent_type": "MULTI_PAYMENTS"}
    assert consent_lost(_answer({"id": "e", "consents": [gone, payments]}), _NOW) is True


@pytest.mark.parametrize("body", [{"id": "e"}, {"id": "e", "consents": []}, {"id": "e", "consents": None}])
def test_an_entity_that_lists_no_consent_shows_no_loss(body: object) -> None:
    """Lean's own example of an entity has none."""
    assert consent_lost(_answer(body), _NOW) is False


@pytest.mark.parametrize(
    ("status", "lost"), [("DELETED", True), ("REMOVED", True), ("ACTIVE", False), ("DISABLED", False)]
)
def test_a_deleted_entity_has_lost_its_consent(status: str, lost: bool) -> None:
    """Whatever its consents say."""
    assert consent_lost(_answer({"id": "e", "status": status, "consents": [_LIVE]}), _NOW) is lost


@pytest.mark.parametrize(("status", "lost"), [(404, False), (410, False), (401, None), (429, None), (500, None)])
def test_an_http_error_shows_no_loss(status: int, lost: bool | None) -> None:
    """An entity that is not there is for the data call to tell; anything else is to be asked again."""
    assert consent_lost(_answer(b"<html>", status), _NOW) is lost


def test_an_entity_is_read_strictly() -> None:
    """Its id and its consents must be what they must be; permissions are an object here and not looked at."""
    entity = parse_entity(
        _answer(
            {
                "id": "e",
                "customer_id": "c",
                "bank_identifier": "B",
                "permissions": {"identity": True},
                "consents": [_LIVE],
            }
        )
    )
    assert (entity.id, entity.customer_id, entity.bank_identifier) == ("e", "c", "B")
    assert entity.consents is not None
    assert entity.consents[0].expiration_date_time == _SOON
    for body, path in (
        ({"consents": []}, "$.id"),
        ({"id": 5}, "$.id"),
        ({"id": "e", "consents": {}}, "$.consents"),
        ({"id": "e", "consents": ["x"]}, "$.consents[0]"),
        ({"id": "e", "consents": [{"consent_status": 1}]}, "$.consents[0].consent_status"),
    ):
        with pytest.raises(MalformedBody) as caught:
            parse_entity(_answer(body))
        assert caught.value.path == path
