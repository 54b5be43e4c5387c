"""How strictly Mockbank reads: paths, methods, content types, JSON, parameters.

Every answer here is also held to Mockbank's own description (see ``conftest.py``).
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from leanflow import Call
from tests.support.bank import BankClient

UNKNOWN = "7d0b6f0a-0000-4000-8000-000000000000"


@pytest.fixture
def lean() -> BankClient:
    """A client of a fresh Mockbank."""
    return BankClient()


def raw(lean: BankClient, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    """Send exact bytes; return HTTP status and parsed body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    call = Call(method=method, path=path, headers={"lean-app-token": lean.bank.app, **named}, body=body)
    answer = lean.bank.handle(call, lean.now).answer
    assert answer is not None
    return answer.status, json.loads(answer.body)


def form(lean: BankClient, body: str, **headers: str) -> tuple[int, Any]:
    """Ask for a token with the exact text of a form."""
    return raw(lean, "POST", "/oauth2/token", body.encode(), **headers)


# --- paths and methods --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "DELETE", "get", ""])
def test_a_method_that_a_path_does_not_have_is_405(lean: BankClient, method: str) -> None:
    """The answer is Lean's envelope, and `allow` names those that it has."""
    call = Call(method=method, path="/customers/v1")
    answer = lean.bank.handle(call, lean.now).answer
    assert answer is not None
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")
    assert json.loads(answer.body)["status"] == "INVALID_HTTP_METHOD"


@pytest.mark.parametrize("path", ["", "/", "//banks/v1", "/banks//v1", "/banks/v1//", "/customers/v1//entities", "/x"])
def test_an_unknown_path_is_404(lean: BankClient, path: str) -> None:
    """An empty segment is a segment: such paths are none of Lean's."""
    assert raw(lean, "GET", path)[1]["status"] == "INVALID_URL"


@pytest.mark.parametrize("path", ["/banks/v1", "/banks/v1/", "banks/v1", "/%62anks/v1"])
def test_a_slash_at_the_end_and_quoting_change_nothing(lean: BankClient, path: str) -> None:
    """Lean's specification writes some paths with a slash at the end, its examples without."""
    assert raw(lean, "GET", path)[0] == 200


def test_a_quoted_slash_is_no_separator(lean: BankClient) -> None:
    """A customer's own id may have any characters, once they are quoted."""
    name = "a/b?c#d é%"
    made = lean.ask("POST", "/customers/v1", {"app_user_id": name})[1]
    assert lean.ask("GET", f"/customers/v1/app-user-id/{quote(name, safe='')}") == (200, made)


def test_an_id_may_be_written_in_capitals(lean: BankClient) -> None:
    """UUIDs are the same in either case (RFC 9562)."""
    entity = lean.bank.connect()
    assert lean.accounts(entity.upper())["status"] == "OK"
    results = lean.accounts(entity, **{"async": "true"})["results_id"]
    assert lean.ask("GET", f"/data/v2/results/{results.upper()}")[1]["results_id"] == results


# --- bodies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/problem+json", 200),
        ("application/x-www-form-urlencoded", 400),
        ("text/plain", 400),
        ("multipart/form-data; boundary=x", 400),
    ],
)
def test_a_body_must_call_itself_json(lean: BankClient, media: str, status: int) -> None:
    """What curl sends without being told, a form, is refused."""
    body = json.dumps({"entity_id": lean.bank.connect()}).encode()
    has, said = raw(lean, "POST", "/data/v1/accounts", body, content_type=media)
    assert has == status
    assert status == 200 or "content-type" in said["message"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"7",
        b"null",
        b"\xff\xfe{}",
        b'{"app_user_id": "\xff"}',
        b'{"app_user_id": NaN}',
        b'{"app_user_id": -Infinity}',
        b'{"app_user_id": "u", "more": 1e99999999999999999999}',
        b'{"app_user_id": "u", "more": ' + b"9" * 5000 + b"}",
        b'{"app_user_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"app_user_id": "u"} trailing',
    ],
)
def test_what_is_no_json_object_is_400(lean: BankClient, body: bytes | None) -> None:
    """Python's own dialect (NaN), numbers past every bound and nesting past every stack are no JSON either."""
    status, said = raw(lean, "POST", "/customers/v1", body)
    assert (status, said["status"]) == (400, "INVALID_PARAMETERS")


def test_of_a_name_that_is_there_twice_the_last_counts(lean: BankClient) -> None:
    """JSON leaves it open; most parsers do so."""
    said = raw(lean, "POST", "/customers/v1", b'{"app_user_id": "first", "app_user_id": "last"}')[1]
    assert said["app_user_id"] == "last"


def test_a_null_is_as_good_as_nothing_where_something_is_required(lean: BankClient) -> None:
    """And wrong where it could have been left out."""
    entity = lean.bank.connect()
    assert lean.ask("POST", "/data/v1/accounts", {"entity_id": None})[1]["status"] == "MISSING_PARAMETERS"
    said = lean.ask("POST", "/data/v1/accounts", {"entity_id": entity, "async": None})[1]
    assert said["status"] == "INVALID_PARAMETERS"


def test_what_nobody_knows_is_ignored(lean: BankClient) -> None:
    """Names that Lean does not know are let through, in queries and bodies, as older clients send them."""
    entity = lean.bank.connect()
    assert lean.accounts(entity, force_refresh="true", verbose="yes")["status"] == "OK"
    assert lean.ask("POST", "/data/v1/accounts", {"entity_id": entity, "new": [1]})[1]["status"] == "OK"


def test_a_refusal_does_not_repeat_all_that_was_sent(lean: BankClient) -> None:
    """A wrong value is shown by its first hundred characters."""
    said = lean.ask("GET", "/data/v2/accounts", entity_id="x" * 5000)[1]
    assert "x" * 100 + "…" in said["message"]
    assert len(said["message"]) < 250


# --- parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", ["2025-W01-1", "20250101", "2025-1-1", "2025-02-29", "01-01-2025", "", "2025-01-01Z"])
def test_a_date_is_written_in_one_way(lean: BankClient, day: str) -> None:
    """`YYYY-MM-DD` and nothing else that Python would take."""
    entity = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions"
    assert lean.ask("GET", path, entity_id=entity, start_date=day)[1]["status"] == "INVALID_PARAMETERS"


@pytest.mark.parametrize(
    ("query", "good"),
    [
        ({"from": "2025-09-11T19:02:04.447189646Z"}, True),
        ({"from": "2025-09-11t19:02:04z", "to": "2025-09-11T19:02:04+03:00"}, False),  # the order is wrong
        ({"from": "2025-09-11T19:02:04+03:00", "to": "2025-09-11T19:02:04Z"}, True),
        ({"from": "2025-09-11T19:02:04"}, False),  # no zone
        ({"from": "2025-09-11"}, False),
        ({"from": "2025-09-11T19:02:04 03:00"}, False),  # a "+" that was sent unquoted
        ({"to": "2025-13-11T19:02:04Z"}, False),
        ({"type": "results.ready"}, True),
        ({"type": "entity.data.refresh.updated"}, False),  # sent, but not among those one can ask for
        ({"type": ""}, False),
        ({"size": "0"}, False),
        ({"size": "101"}, False),
        ({"page": "2147483647"}, True),
        ({"page": "2147483648"}, False),
        ({"page": "9" * 400}, False),
        ({"page": "1.0"}, False),
        ({"page": "+1"}, False),
        ({"page": "٣"}, False),
    ],
)
def test_the_events_filters_are_checked(lean: BankClient, query: dict[str, str], good: bool) -> None:
    """A wrong filter is 400, and never an empty page."""
    status, said = lean.ask("GET", "/events/v1", **{"page": "0", "size": "100", **query})
    assert status == (200 if good else 400), said


def test_a_page_past_the_end_is_empty(lean: BankClient) -> None:
    """Whatever its number is, within 32 bits."""
    lean.ask("POST", "/customers/v1", {"app_user_id": "u"})
    for path in ("/customers/v1", "/customers/v1/entities"):
        days = {"start_date": "2025-01-01", "end_date": "2025-01-02"}
        status, said = lean.ask("GET", path, page_number="2147483647", page_size="100", **days)
        assert (status, said["data"]) == (200, [])


def test_customers_want_page_and_size(lean: BankClient) -> None:
    """Both are required, as the specification has it."""
    assert lean.ask("GET", "/customers/v1")[1]["status"] == "MISSING_PARAMETERS"
    assert lean.ask("GET", "/customers/v1", page_number="0")[1]["status"] == "MISSING_PARAMETERS"
    assert lean.ask("GET", "/customers/v1", page_number="0", page_size="1")[0] == 200


@pytest.mark.parametrize(("start", "end"), [("2025-02-02", "2025-02-01"), ("2025-02-02", "2031-01-01")])
def test_the_days_of_entities_are_past_and_in_order(lean: BankClient, start: str, end: str) -> None:
    """So says the specification in prose."""
    said = lean.ask("GET", "/customers/v1/entities", start_date=start, end_date=end)[1]
    assert said["status"] == "INVALID_PARAMETERS"


def test_meta_comes_back_as_texts(lean: BankClient) -> None:
    """The specification gives it back as an object of texts; what can be no text is refused."""
    entity = lean.bank.connect()
    assert lean.accounts(entity, meta='{"n": 1.50, "yes": true, "t": "x"}')["meta"] == {
        "n": "1.50", "yes": "true", "t": "x"
    }  # fmt: skip
    assert len(lean.accounts(entity, meta='{"n": 1e999999999}')["meta"]["n"]) < 20
    for bad in ('{"n": null}', '{"n": {}}', '{"n": []}', "[]", "x", '{"n": NaN}'):
        assert lean.accounts(entity, meta=bad)["status"] == "INVALID_PARAMETERS"


def test_identifiers_of_refreshes_may_be_any_text(lean: BankClient) -> None:
    """The specification does not call them UUIDs: one that nobody gave is unknown, not malformed."""
    status, said = lean.ask("GET", "/data/v2/refreshes/whatever")
    assert (status, said["status"]) == (404, "UNKNOWN_REFRESH_ID")
    assert lean.ask("GET", "/data/v2/results/whatever")[0] == 400


def test_parameters_are_checked_before_anything_is_looked_up(lean: BankClient) -> None:
    """A wrong page is 400 where the entity, the result or the refresh would have been 404."""
    for path in ("/data/v2/accounts", f"/data/v2/results/{UNKNOWN}", f"/data/v2/refreshes/{UNKNOWN}"):
        assert lean.ask("GET", path, entity_id=UNKNOWN)[0] == 404
        assert lean.ask("GET", path, entity_id=UNKNOWN, page="x")[0] == 400
        assert lean.ask("GET", path, entity_id=UNKNOWN, **{"async": "1"})[0] == 400


# --- results ------------------------------------------------------------------------------------------------------


def test_pending_results_are_told_under_200(lean: BankClient) -> None:
    """A data call says PENDING under 202, its results under 200 and with their type, as the specification has it."""
    entity = lean.bank.connect()
    status, said = lean.ask("GET", "/data/v2/accounts", entity_id=entity, **{"async": "true"})
    assert (status, said["type"]) == (202, None)
    status, said = lean.ask("GET", f"/data/v2/results/{said['results_id']}")
    assert (status, said["status"], said["type"]) == (200, "PENDING", "accounts")


# --- tokens -------------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_with_a_form(lean: BankClient) -> None:
    """JSON, a field twice, a field missing and bytes that are no text are `invalid_request` (RFC 6749, 5.2)."""
    good = f"client_id={lean.bank.app}&client_secret={lean.bank.client_secret}&grant_type=client_credentials&scope=api"
    assert form(lean, good, content_type="application/x-www-form-urlencoded; charset=utf-8")[0] == 200
    assert form(lean, f"{good}&audience=lean&audience=twice")[0] == 200
    refused = (400, {"error": "invalid_request"})
    assert form(lean, good, content_type="application/json") == refused
    assert form(lean, f"{good}&scope=api") == refused
    assert form(lean, good.replace("grant_type", "grant")) == refused
    assert raw(lean, "POST", "/oauth2/token", b"\xff=1") == refused
    assert form(lean, "&".join(f"f{n}=1" for n in range(200))) == refused


def test_a_client_may_name_itself_in_the_header(lean: BankClient) -> None:
    """HTTP Basic works as well; who is refused is told how to do it."""
    known = base64.b64encode(f"{lean.bank.app}:{lean.bank.client_secret}".encode()).decode()
    body = "grant_type=client_credentials&scope=api"
    assert form(lean, body, authorization=f"Basic {known}")[0] == 200
    assert form(lean, body, authorization="Basic é")[0] == 401
    call = Call(method="POST", path="/oauth2/token", body=body.encode())
    answer = lean.bank.handle(call, lean.now).answer
    assert answer is not None
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Basic")


def test_who_comes_without_credentials_is_told_which(lean: BankClient) -> None:
    """401 carries the challenge that HTTP wants."""
    answer = lean.bank.handle(Call(method="GET", path="/banks/v1"), lean.now).answer
    assert answer is not None
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


# --- the oldest call ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"username": "mockbank_user_2", "password": "mockbank_user_2"}, 200),
        ({"bank_id": "MOCK_UAE", "permissions": ["balances"]}, 200),
        ({"username": "mockbank_user_9"}, 401),
        ({"password": "mockbank_user_2"}, 401),
        ({"password": None}, 400),
        ({"username": 7}, 400),
        ({"bank_id": 0}, 400),
        ({"bank_id": True}, 400),
        ({"bank_id": "NOBODY"}, 400),
        ({"permissions": []}, 400),
        ({"permissions": ["payments"]}, 400),
        ({"permissions": "accounts"}, 400),
    ],
)
def test_link_connect_takes_what_is_documented(lean: BankClient, changes: dict[str, Any], status: int) -> None:
    """A wrong user or password is 401 in its own shape, anything else 400 in the usual envelope."""
    body = {"bank_id": 1, "app_user_id": "u", "username": "mockbank_user_1", "password": "mockbank_user_1",
            "permissions": ["accounts", "balance"], **changes}  # fmt: skip
    has, said = lean.ask("POST", "/link/connect", body)
    assert has == status, said
    if status == 401:
        assert said["status"] == {"code": "401", "message": "Wrong username or password."}


# --- KSA ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ksa() -> BankClient:
    """A client of a Mockbank for KSA, which is let in with `lean-app-token` to keep the tests short."""
    return BankClient(region="ksa", auth="either")


def test_a_refresh_in_ksa_may_name_its_data(ksa: BankClient) -> None:
    """Only the parts that were asked for are fetched anew; wrong ones are refused; the UAE does not know the name."""
    entity = ksa.bank.connect()
    body = {"entity_id": entity, "data_types": ["accounts", "balance"]}
    assert ksa.ask("POST", "/data/v2/refreshes", {**body, "data_types": ["gold"]})[0] == 400
    assert ksa.ask("POST", "/data/v2/refreshes", {**body, "data_types": "accounts"})[0] == 400
    refresh = ksa.ask("POST", "/data/v2/refreshes", body)[1]["refresh_id"]
    has = ksa.ask("GET", f"/data/v2/refreshes/{refresh}")[1]["data_status"]
    assert (has["accounts"], has["identity"]) == ("PENDING", "OK")
    assert (has["account_data"][0]["balance"], has["account_data"][0]["transactions"]) == ("PENDING", "OK")
    uae = BankClient()
    body["entity_id"] = uae.bank.connect()
    refresh = uae.ask("POST", "/data/v2/refreshes", {**body, "data_types": "ignored"})[1]["refresh_id"]
    assert uae.ask("GET", f"/data/v2/refreshes/{refresh}")[1]["data_status"]["identity"] == "PENDING"


def test_consents_are_things_of_their_own_in_ksa(ksa: BankClient) -> None:
    """They are listed, looked at and revoked; after that data calls say so, and `entity.updated` is sent."""
    entity = ksa.bank.connect()
    root = f"/customers/v1/{ksa.bank.customer_of(entity)}"
    (consent,) = ksa.ask("GET", f"{root}/consents")[1]
    assert (consent["entity_id"], consent["consent_status"]) == (entity, "ACTIVE")
    assert ksa.ask("GET", f"{root}/consents/{consent['id']}") == (200, consent)
    assert ksa.ask("GET", f"{root}/consents/{UNKNOWN}")[1]["status"] == "UNKNOWN_CONSENT"
    path = f"{root}/entities/{entity}/consent/{consent['id']}"
    assert ksa.ask("DELETE", path)[1]["status"] == "MISSING_PARAMETERS"
    assert ksa.ask("DELETE", path.replace(consent["id"], UNKNOWN), reason="USER_REQUESTED")[0] == 404
    assert ksa.accounts(entity)["status"] == "OK"
    ksa.webhooks()
    assert ksa.ask("DELETE", path, reason="USER_REQUESTED") == (200, {})
    assert ksa.accounts(entity)["status"] == "CONSENT_EXPIRED"
    assert ksa.ask("GET", f"{root}/consents/{consent['id']}")[1]["standard_consent_status"] == "REVOKED"


def test_revoking_a_consent_is_announced(ksa: BankClient) -> None:
    """The webhook is the one that a revocation by the user sends."""
    ksa.bank.webhook_url = "http://127.0.0.1:1/"
    entity = ksa.bank.connect()
    root = f"/customers/v1/{ksa.bank.customer_of(entity)}"
    consent = ksa.ask("GET", f"{root}/consents")[1][0]["id"]
    ksa.webhooks()
    ksa.ask("DELETE", f"{root}/entities/{entity}/consent/{consent}", reason="USER_REQUESTED")
    assert [(one["type"], one["payload"]["id"]) for one in ksa.webhooks()] == [("entity.updated", entity)]


def test_a_consent_can_be_asked_for_in_ksa(ksa: BankClient) -> None:
    """It makes an entity with the permissions that were asked for, for as long as was asked for, a year at most."""
    customer = ksa.ask("POST", "/customers/v1", {"app_user_id": "u"})[1]["customer_id"]
    ends = (ksa.now + timedelta(days=30)).isoformat()
    body = {"customer_id": customer, "bank_identifier": "MOCK_KSA", "permissions": ["accounts"],
            "expiration_date_time": ends}  # fmt: skip
    status, made = ksa.ask("POST", "/v2/accounts-access-consents", body)
    assert (status, made["customer_id"], made["bank_identifier"]) == (200, customer, "MOCK_KSA")
    assert ksa.accounts(made["entity_id"])["status"] == "OK"
    assert ksa.ask("GET", "/data/v2/identity", entity_id=made["entity_id"])[0] == 403
    ksa.later(days=30, seconds=-1)
    assert ksa.accounts(made["entity_id"])["status"] == "OK"
    ksa.later(seconds=1)
    assert ksa.accounts(made["entity_id"])["status"] == "CONSENT_EXPIRED"
    far, past = (ksa.now + timedelta(days=366)).isoformat(), (ksa.now - timedelta(days=1)).isoformat()
    wrong: tuple[dict[str, Any], ...] = (
        {"expiration_date_time": far},
        {"expiration_date_time": past},
        {"bank_identifier": "LEANMB1"},
        {"permissions": []},
        {"permissions": ["payments"]},
    )
    for change in wrong:
        assert ksa.ask("POST", "/v2/accounts-access-consents", {**body, **change})[0] == 400
    assert ksa.ask("POST", "/v2/accounts-access-consents", {**body, "customer_id": UNKNOWN})[0] == 404


def test_the_uae_has_no_consents_of_their_own(lean: BankClient) -> None:
    """Those paths are KSA's."""
    customer = lean.bank.customer_of(lean.bank.connect())
    assert lean.ask("GET", f"/customers/v1/{customer}/consents")[1]["status"] == "INVALID_URL"
    assert lean.ask("POST", "/v2/accounts-access-consents", {})[1]["status"] == "INVALID_URL"


@pytest.mark.parametrize(("region", "life"), [("uae", timedelta(days=365)), ("ksa", timedelta(hours=24))])
def test_a_consent_lives_as_long_as_in_the_regions_sandbox(region: str, life: timedelta) -> None:
    """A day in KSA, a year in the UAE; the entity says until when."""
    lean = BankClient(region=region, auth="either")
    entity = lean.bank.connect()
    lean.now += life - timedelta(seconds=1)
    assert lean.accounts(entity)["status"] == "OK"
    lean.later(seconds=1)
    assert lean.accounts(entity)["status"] == "CONSENT_EXPIRED"
    short = BankClient(region=region, auth="either", consent_life=timedelta(minutes=1))
    entity = short.bank.connect()
    short.later(minutes=1)
    assert short.accounts(entity)["status"] == "CONSENT_EXPIRED"
