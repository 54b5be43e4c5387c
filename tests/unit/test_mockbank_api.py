"""Tokens, customers, entities, banks, and what a wrong call gets."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, strategies as st

from leanflow._call import Call
from leanflow.mockbank import PERMISSIONS
from tests.support.bank import BankClient


@pytest.fixture
def lean() -> BankClient:
    """A client of a fresh Mockbank."""
    return BankClient()


def token(lean: BankClient, **changes: str) -> tuple[int, Any]:
    """Ask for a token with the right form, or with changes."""
    form = {
        "client_id": lean.bank.app,
        "client_secret": lean.bank.client_secret,
        "grant_type": "client_credentials",
        "scope": "api",
    }
    call = Call(method="POST", path="/oauth2/token", body=urlencode({**form, **changes}).encode())
    answer = lean.bank.handle(call, lean.now).answer
    assert answer is not None
    return answer.status, json.loads(answer.body)


def with_token(lean: BankClient, text: str, path: str = "/banks/v1") -> int:
    """Call with a bearer token; return the HTTP status."""
    call = Call(method="GET", path=path, headers={"Authorization": f"Bearer {text}"})
    answer = lean.bank.handle(call, lean.now).answer
    assert answer is not None
    return answer.status


def test_a_token_opens_the_api_for_its_life(lean: BankClient) -> None:
    """Client credentials give a bearer token of 3599 s; afterwards it is refused with 401."""
    status, said = token(lean)
    assert (status, said["scope"], said["token_type"], said["expires_in"]) == (200, "api", "Bearer", 3599)
    assert with_token(lean, said["access_token"]) == 200
    lean.later(seconds=3598)
    assert with_token(lean, said["access_token"]) == 200
    lean.later(seconds=1)
    assert with_token(lean, said["access_token"]) == 401


def test_wrong_credentials_get_no_token(lean: BankClient) -> None:
    """A wrong secret or client is 401; a wrong grant or scope 400."""
    assert token(lean, client_secret="wrong")[0] == 401
    assert token(lean, client_id="somebody")[0] == 401
    assert token(lean, grant_type="password") == (400, {"error": "unsupported_grant_type"})
    assert token(lean, scope="everything") == (400, {"error": "invalid_scope"})
    assert token(lean, scope="customer.unknown") == (400, {"error": "invalid_scope"})


def test_a_customers_token_does_not_open_the_api(lean: BankClient) -> None:
    """A token of scope `customer.<id>` is for the Link SDK: the API answers 403."""
    entity = lean.bank.connect()
    said = token(lean, scope=f"customer.{lean.bank.customer_of(entity)}")[1]
    assert with_token(lean, said["access_token"]) == 403


def test_forged_and_revoked_tokens_are_refused(lean: BankClient) -> None:
    """A token whose claims or seal were changed, or that was revoked, is 401."""
    good = token(lean)[1]["access_token"]
    head, claims, seal = good.split(".")
    for bad in (f"{head}.{claims}.{seal[:-2]}AA", f"{head}.{claims[:-4]}AAAA.{seal}", "x", "", "é.é.é"):
        assert with_token(lean, bad) == 401
    lean.bank.revoke_tokens()
    assert with_token(lean, good) == 401
    assert with_token(lean, token(lean)[1]["access_token"]) == 200


@pytest.mark.parametrize(
    ("auth", "bearer", "app_token", "nothing"),
    [("either", 200, 200, 401), ("bearer", 200, 401, 401), ("app_token", 401, 200, 401), ("none", 200, 200, 200)],
)
def test_who_may_call_can_be_set(auth: str, bearer: int, app_token: int, nothing: int) -> None:
    """Bearer tokens and `lean-app-token` are switched on and off by a setting."""
    lean = BankClient(auth=auth)
    assert with_token(lean, lean.bank.token()) == bearer
    assert lean.ask("GET", "/banks/v1")[0] == app_token
    answer = lean.bank.handle(Call(method="GET", path="/banks/v1"), lean.now).answer
    assert answer is not None
    assert answer.status == nothing


def test_ksa_wants_a_bearer_token() -> None:
    """In KSA `lean-app-token` alone is refused, as an integrator measured."""
    lean = BankClient(region="ksa")
    assert lean.ask("GET", "/banks/v1")[0] == 401
    assert with_token(lean, lean.bank.token()) == 200


def test_a_customer_is_made_once(lean: BankClient) -> None:
    """A repeat is 409 without an id; the customer is found by the application's own id."""
    status, made = lean.ask("POST", "/customers/v1/", {"app_user_id": "user/17 é"})
    assert status == 200
    assert set(made) == {"customer_id", "app_user_id"}
    status, refused = lean.ask("POST", "/customers/v1", {"app_user_id": "user/17 é"})
    assert status == 409
    assert refused["status"] == "CUSTOMER_ALREADY_EXISTS"
    assert set(refused) == {"timestamp", "status", "message", "metadata"}
    assert lean.ask("GET", "/customers/v1/app-user-id/user%2F17%20%C3%A9") == (200, made)
    assert lean.ask("GET", f"/customers/v1/{made['customer_id']}/") == (200, made)
    assert lean.ask("GET", "/customers/v1/app-user-id/nobody")[0] == 404


def test_customers_are_listed_in_pages(lean: BankClient) -> None:
    """The list pages by `page_number` and `page_size`."""
    for number in range(5):
        lean.ask("POST", "/customers/v1/", {"app_user_id": f"user-{number}"})
    status, said = lean.ask("GET", "/customers/v1/", page_number="1", page_size="2")
    assert status == 200
    assert [one["app_user_id"] for one in said["data"]] == ["user-2", "user-3"]
    assert said["page"] == {"number": 1, "size": 2, "total_elements": 5, "total_pages": 3}


@pytest.mark.parametrize("body", [{}, {"app_user_id": ""}, {"app_user_id": 7}, {"app_user_id": "x" * 256}, [], "x"])
def test_a_customer_needs_a_text_of_1_to_255(lean: BankClient, body: object) -> None:
    """Anything else is 400 in Lean's envelope."""
    status, said = lean.ask("POST", "/customers/v1/", body)
    assert status == 400
    assert said["status"] in ("INVALID_PARAMETERS", "MISSING_PARAMETERS")


def test_a_customers_identifiers_can_be_changed(lean: BankClient) -> None:
    """PUT replaces the government identifiers; wrong ones are refused."""
    customer = lean.bank.customer_of(lean.bank.connect())
    good = {"government_identifiers": [{"type": "EMIRATES_ID", "value": "784-1"}]}
    assert (
        lean.ask("PUT", f"/customers/v1/{customer}/", good)[1]["government_identifiers"]
        == good["government_identifiers"]
    )
    bad = {"government_identifiers": [{"type": "PASSPORT", "value": "784-1"}]}
    assert lean.ask("PUT", f"/customers/v1/{customer}/", bad)[0] == 400


def test_entities_come_in_three_listings(lean: BankClient) -> None:
    """A customer's are a bare array, one is an object, and all are paged with a status."""
    entity = lean.bank.connect(permissions=["accounts", "balance"])
    customer = lean.bank.customer_of(entity)
    _, mine = lean.ask("GET", f"/customers/v1/{customer}/entities")
    assert isinstance(mine, list)
    assert lean.ask("GET", f"/customers/v1/{customer}/entities/{entity}") == (200, mine[0])
    required = {"id", "customer_id", "bank_identifier", "permissions", "bank_type", "created_at", "consents"}
    assert required <= set(mine[0])
    assert mine[0]["permissions"] == {name: name in ("accounts", "balance") for name in PERMISSIONS}
    assert mine[0]["consents"][0]["consent_status"] == "ACTIVE"
    day = lean.now.date().isoformat()
    _, listed = lean.ask("GET", "/customers/v1/entities", start_date=day, end_date=day, page_number="0", page_size="10")
    assert listed["data"][0]["status"] == "ACTIVE"
    assert "updated_at" in listed["data"][0]
    assert lean.ask("GET", "/customers/v1/entities")[1]["status"] == "MISSING_PARAMETERS"


@pytest.mark.parametrize("in_body", [True, False])
def test_a_deleted_entity_is_unknown(lean: BankClient, in_body: bool) -> None:
    """DELETE wants a reason, in body or query; afterwards data calls answer 404, and the paged list says DELETED."""
    entity = lean.bank.connect()
    path = f"/customers/v1/{lean.bank.customer_of(entity)}/entities/{entity}"
    assert lean.ask("DELETE", path)[1]["status"] == "MISSING_PARAMETERS"
    assert lean.ask("DELETE", path, reason="BORED")[1]["status"] == "INVALID_PARAMETERS"
    if in_body:
        assert lean.ask("DELETE", path, {"reason": "USER_REQUESTED"})[0] == 200
    else:
        assert lean.ask("DELETE", path, reason="USER_REQUESTED")[0] == 200
    assert lean.accounts(entity)["status"] == "UNKNOWN_ENTITY"
    assert lean.ask("GET", path)[0] == 404
    day = lean.now.date().isoformat()
    assert lean.ask("GET", "/customers/v1/entities", start_date=day, end_date=day)[1]["data"][0]["status"] == "DELETED"


@pytest.mark.parametrize(("region", "code"), [("uae", "ARE"), ("ksa", "SAU")])
def test_banks_are_the_sandboxs(region: str, code: str) -> None:
    """The array of banks has Lean's identifiers and the required fields."""
    lean = BankClient(region=region, auth="either")
    _, banks = lean.ask("GET", "/banks/v1")
    assert [bank["identifier"] for bank in banks] == list(lean.bank.banks)
    assert {bank["country_code"] for bank in banks} == {code}
    for bank in banks:
        assert set(bank["availability"]) == {"active", "enabled"}
        assert {"name", "arabic_name", "logo", "traits", "transfer_limits", "active"} <= set(bank)


def test_link_connect_is_as_documented(lean: BankClient) -> None:
    """The call of 2020 has an object for `status`, a text for its code, and `entity_uuid`."""
    body = {"bank_id": 1, "app_user_id": "u", "username": "mockbank_user_1", "password": "mockbank_user_1",
            "permissions": ["identity", "accounts", "balance", "transactions"]}  # fmt: skip
    status, said = lean.ask("POST", "/link/connect", body)
    assert status == 200
    assert said["status"]["code"] == "200"
    entity = said["data"]["entity"]["entity_uuid"]
    assert lean.ask("POST", "/v1/accounts", {"entity_id": entity})[1]["status"] == "OK"
    status, said = lean.ask("POST", "/link/connect", {**body, "password": "1234"})
    assert status == 401
    assert said["status"]["code"] == "401"
    assert lean.ask("POST", "/link/connect", {**body, "bank_id": 99})[0] == 400


def test_unknown_paths_and_methods_get_leans_envelope(lean: BankClient) -> None:
    """An unknown path is 404, a known one with another method 405."""
    assert lean.ask("GET", "/data/v9/accounts")[:2][1]["status"] == "INVALID_URL"
    status, said = lean.ask("DELETE", "/data/v2/accounts")
    assert (status, said["status"]) == (405, "INVALID_HTTP_METHOD")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 400, "MISSING_PARAMETERS"),
        ({"entity_id": "not-a-uuid"}, 400, "INVALID_PARAMETERS"),
        ({"entity_id": "7d0b6f0a-0000-4000-8000-000000000000"}, 404, "UNKNOWN_ENTITY"),
        ({"entity_id": "ENTITY", "size": "0"}, 400, "INVALID_PARAMETERS"),
        ({"entity_id": "ENTITY", "size": "101"}, 400, "INVALID_PARAMETERS"),
        ({"entity_id": "ENTITY", "page": "-1"}, 400, "INVALID_PARAMETERS"),
        ({"entity_id": "ENTITY", "page": "٣"}, 400, "INVALID_PARAMETERS"),
        ({"entity_id": "ENTITY", "async": "maybe"}, 400, "INVALID_PARAMETERS"),
        ({"entity_id": "ENTITY", "meta": "[]"}, 400, "INVALID_PARAMETERS"),
        ({"entity_id": "ENTITY", "start_date": "2025-13-01"}, 400, "INVALID_PARAMETERS"),
        ({"entity_id": "ENTITY", "start_date": "2025-03-02", "end_date": "2025-03-01"}, 400, "INVALID_PARAMETERS"),
        ({"entity_id": "ENTITY", "end_date": "2031-01-01"}, 400, "INVALID_PARAMETERS"),
    ],
)
def test_wrong_parameters_get_leans_envelope(lean: BankClient, query: dict[str, str], status: int, code: str) -> None:
    """A parameter that is missing, wrong or unknown is refused in the error envelope."""
    entity = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions"
    has, said = lean.ask("GET", path, **{name: entity if value == "ENTITY" else value for name, value in query.items()})
    assert (has, said["status"]) == (status, code)
    assert {"timestamp", "message", "metadata"} <= set(said)


def test_an_unknown_account_is_404(lean: BankClient) -> None:
    """An account of another entity is unknown to this one."""
    entity, other = lean.bank.connect("a"), lean.bank.connect("b")
    path = f"/data/v2/accounts/{lean.bank.accounts_of(other)[0]}/balances"
    status, said = lean.ask("GET", path, entity_id=entity)
    assert (status, said["status"]) == (404, "UNKNOWN_ACCOUNT")
    assert "results_id" in said


def test_a_permission_that_was_not_granted_is_403(lean: BankClient) -> None:
    """Data calls need their permission; that of balances is called `balance`."""
    entity = lean.bank.connect(permissions=["accounts"])
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/balances"
    assert lean.accounts(entity)["status"] == "OK"
    assert lean.ask("GET", path, entity_id=entity)[1]["status"] == "USER_PERMISSIONS_NOT_GRANTED"


PATHS = [
    "/oauth2/token",
    "/data/v2/accounts",
    "/data/v2/accounts/ACCOUNT/transactions",
    "/data/v1/accounts",
    "/data/v1/balance",
    "/data/v2/refreshes",
    "/data/v2/refreshes/ENTITY",
    "/data/v2/results/ENTITY",
    "/v1/results/x",
    "/events/v1",
    "/customers/v1",
    "/customers/v1/entities",
    "/customers/v1/ENTITY",
    "/customers/v1/app-user-id/%ff",
    "/banks/v1",
    "/link/connect",
    "/",
    "",
]
NAMES = [
    "entity_id",
    "account_id",
    "page",
    "size",
    "page_number",
    "page_size",
    "async",
    "meta",
    "start_date",
    "end_date",
    "from",
    "to",
    "type",
    "reason",
    "app_user_id",
    "username",
    "password",
    "bank_id",
    "permissions",
    "government_identifiers",
    "grant_type",
    "scope",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.just("ENTITY"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=4),
)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    path=st.sampled_from(PATHS),
    query=st.dictionaries(
        st.sampled_from(NAMES), st.text(st.characters(), max_size=20) | st.just("ENTITY"), max_size=4
    ),
    body=st.binary(max_size=40) | JSON.map(json.dumps).map(str.encode),
    app=st.sampled_from(["right", "wrong", "\udcff", ""]),
)
def test_no_call_breaks_it(method: str, path: str, query: dict[str, str], body: bytes, app: str) -> None:
    """Whatever is sent, the answer is JSON in UTF-8 with a status below 500."""
    lean = BankClient()
    entity = lean.bank.connect()

    def named(text: str) -> str:
        return text.replace("ENTITY", entity).replace("ACCOUNT", lean.bank.accounts_of(entity)[0])

    call = Call(
        method=method,
        path=named(path),
        query={name: named(value) for name, value in query.items()},
        headers={"lean-app-token": lean.bank.app if app == "right" else app},
        body=body.replace(b"ENTITY", entity.encode()) or None,
    )
    answer = lean.bank.handle(call, lean.now).answer
    assert answer is not None
    assert 200 <= answer.status < 500
    json.loads(answer.body.decode())


def test_half_a_surrogate_pair_is_answered(lean: BankClient) -> None:
    """JSON can name what UTF-8 cannot write: the answer and the webhook are UTF-8 all the same."""
    status, said = lean.ask("POST", "/customers/v1/", {"app_user_id": "\ud800"})
    assert (status, said["app_user_id"]) == (200, "?")
    lean.bank.connect("\ud800")
    assert lean.webhooks()[0]["payload"]["app_user_id"] == "?"


def test_meta_is_echoed(lean: BankClient) -> None:
    """`meta` comes back as it was sent."""
    assert lean.accounts(lean.bank.connect(), meta='{"case":"9"}')["meta"] == {"case": "9"}
