"""Builders of calls to Lean, and what each resource takes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from leanflow import calls
from leanflow._call import Call
from leanflow._request import DataRequest, Resource
from leanflow.errors import InvalidRequest

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_PAGED = {"page": "0", "size": "100"}
_V2_PATHS = {
    Resource.identity: "/data/v2/identity",
    Resource.accounts: "/data/v2/accounts",
    Resource.balances: "/data/v2/accounts/a-1/balances",
    Resource.transactions: "/data/v2/accounts/a-1/transactions",
    Resource.identities: "/data/v2/accounts/a-1/identities",
    Resource.beneficiaries: "/data/v2/accounts/a-1/beneficiaries",
    Resource.direct_debits: "/data/v2/accounts/a-1/direct-debits",
    Resource.scheduled_payments: "/data/v2/accounts/a-1/scheduled-payments",
    Resource.standing_orders: "/data/v2/accounts/a-1/standing-orders",
}
_V1_PATHS = {
    Resource.identity: "/data/v1/identity",
    Resource.accounts: "/data/v1/accounts",
    Resource.balances: "/data/v1/balance",
    Resource.transactions: "/data/v1/transactions",
}
_WHOLE = {Resource.identity, Resource.accounts, Resource.refresh}


def _account(resource: Resource) -> str | None:
    return None if resource in _WHOLE else "a-1"


def _request(resource: Resource, api: str = "v2", **fields: Any) -> DataRequest:
    return DataRequest(
        id="q-1",
        app="app",
        environment="sandbox",
        region="uae",
        api=api,
        resource=resource,
        entity_id="e-1",
        account_id=_account(resource),
        created_at=_NOW,
        updated_at=_NOW,
        **fields,
    )


def _body(call: Call) -> Any:
    assert call.body is not None
    return json.loads(call.body)


# --- bank data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("resource", "path"), _V2_PATHS.items())
def test_v2_is_asked_by_get(resource: Resource, path: str) -> None:
    """Entity and page in the query, the account in the path, no body, no meta."""
    call = calls.place(_request(resource))
    assert (call.method, call.path, call.body) == ("GET", path, None)
    assert call.query == {"entity_id": "e-1", **_PAGED}
    assert call.headers == {}


@pytest.mark.parametrize(("resource", "path"), _V1_PATHS.items())
def test_v1_is_asked_by_post(resource: Resource, path: str) -> None:
    """Everything in a JSON body."""
    call = calls.place(_request(resource, "v1"))
    assert (call.method, call.path) == ("POST", path)
    assert call.query == {}
    expected = {"entity_id": "e-1"} if resource in _WHOLE else {"entity_id": "e-1", "account_id": "a-1"}
    assert _body(call) == expected


def test_every_resource_has_a_call() -> None:
    """A new resource cannot be forgotten here."""
    assert set(_V2_PATHS) | {Resource.refresh} == set(Resource)


@pytest.mark.parametrize("resource", sorted(set(Resource) - set(_V1_PATHS)))
def test_v1_refuses_what_it_does_not_have(resource: Resource) -> None:
    """Refreshes too; the error names what v1 has."""
    with pytest.raises(InvalidRequest) as caught:
        calls.check_parameters(resource, "v1", account_id=_account(resource), params={})
    assert caught.value.parameter == "resource"
    assert "accounts, balances, identity, transactions" in caught.value.problem
    with pytest.raises(InvalidRequest):
        calls.place(_request(resource, "v1"))


def test_a_further_page_is_the_same_call() -> None:
    """Only the page number differs, so that pages join."""
    request = _request(Resource.transactions, params={"start_date": "2025-01-01", "end_date": "2025-06-30"})
    first, third = calls.place(request), calls.place(request, page=2)
    assert third.query == {**first.query, "page": "2"}
    assert third == attrs.evolve(first, query=third.query)
    assert first.query["start_date"] == "2025-01-01"
    assert calls.place(request, size=7).query["size"] == "7"


def test_v1_is_asked_for_further_pages_without_a_size() -> None:
    """The first page came without one: another size would skip or repeat items."""
    request = _request(Resource.transactions, "v1", results_id="r-1")
    assert calls.place(request, page=2).query == {"page": "2"}
    assert calls.collect(request, page=2).query == {"page": "2"}


def test_async_is_a_boolean_in_v1_and_text_in_v2() -> None:
    """As each version's schema has it."""
    params = {"async": "true"}
    assert _body(calls.place(_request(Resource.accounts, "v1", params=params)))["async"] is True
    assert _body(calls.place(_request(Resource.accounts, "v1", params={"async": "false"})))["async"] is False
    assert calls.place(_request(Resource.accounts, params=params)).query["async"] == "true"


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_the_customers_address_is_sent_only_when_it_is_given(api: str) -> None:
    """The record's address is that of somebody who may have left."""
    request = _request(Resource.accounts, api, customer_ip="203.0.113.9")
    assert calls.place(request).headers == {}
    assert calls.place(request, customer_ip="203.0.113.9").headers == {"customer-ip": "203.0.113.9"}
    assert calls.place(request, customer_ip="2001:db8::1").headers == {"customer-ip": "2001:db8::1"}


@pytest.mark.parametrize("address", ["", "1.2.3.4\r\nx: y", "localhost", "1.2.3.4, 5.6.7.8", "٣.٣.٣.٣", 5])
def test_an_address_that_is_none_is_refused(address: Any) -> None:
    """It goes into a header."""
    with pytest.raises(InvalidRequest) as caught:
        calls.check_parameters(Resource.accounts, "v2", account_id=None, params={}, customer_ip=address)
    assert caught.value.parameter == "customer_ip"


# --- refreshes and results ---------------------------------------------------------------------------------------


def test_a_refresh_is_posted_and_looked_at() -> None:
    """KSA's data_types become a list."""
    call = calls.place(_request(Resource.refresh))
    assert (call.method, call.path, call.query) == ("POST", "/data/v2/refreshes", {})
    assert _body(call) == {"entity_id": "e-1"}
    call = calls.place(_request(Resource.refresh, params={"data_types": "accounts, balance"}))
    assert _body(call) == {"entity_id": "e-1", "data_types": ["accounts", "balance"]}
    assert calls.start_refresh("e-1", data_types=["accounts", "balance"]) == call
    look = calls.collect(_request(Resource.refresh, refresh_id="rf-1"))
    assert (look.method, look.path, look.query) == ("GET", "/data/v2/refreshes/rf-1", {})
    listed = calls.list_refreshes("e-1", page=1, size=10)
    assert (listed.method, listed.path) == ("GET", "/data/v2/refreshes")
    assert listed.query == {"entity_id": "e-1", "page": "1", "size": "10"}


def test_results_are_collected_by_version() -> None:
    """v1's guide and v2's schema; the path can be another."""
    call = calls.collect(_request(Resource.accounts, results_id="r-1"), page=1)
    assert (call.method, call.path, call.query) == ("GET", "/data/v2/results/r-1", {"page": "1", "size": "100"})
    call = calls.collect(_request(Resource.accounts, "v1", results_id="r-1"))
    assert (call.method, call.path, call.query) == ("GET", "/v1/results/r-1", {})
    assert calls.get_results("r-1", api="v1", base="/data/v1/results").path == "/data/v1/results/r-1"


@pytest.mark.parametrize(("resource", "name"), [(Resource.accounts, "results_id"), (Resource.refresh, "refresh_id")])
def test_nothing_is_collected_without_an_id(resource: Resource, name: str) -> None:
    """The error names the one that is missing."""
    with pytest.raises(InvalidRequest) as caught:
        calls.collect(_request(resource))
    assert caught.value.parameter == name


# --- parameters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("resource", list(Resource))
def test_the_table_and_the_check_agree(resource: Resource, api: str) -> None:
    """What parameters() says is needed is needed, what it says is not taken is not taken."""
    if api == "v1" and resource not in _V1_PATHS:
        return
    takes = calls.parameters(resource, api)
    assert takes.needs_account is (resource not in _WHOLE)
    calls.check_parameters(resource, api, account_id=_account(resource), params={})
    with pytest.raises(InvalidRequest) as caught:
        calls.check_parameters(resource, api, account_id=None if takes.needs_account else "a-1", params={})
    assert caught.value.parameter == "account_id"


@pytest.mark.parametrize(
    ("resource", "api", "params", "parameter"),
    [
        (Resource.accounts, "v2", {"start_date": "2025-01-01"}, "start_date"),
        (Resource.balances, "v2", {"end_date": "2025-01-01"}, "end_date"),
        (Resource.transactions, "v1", {"start_date": "2025-01-01"}, "start_date"),
        (Resource.transactions, "v2", {"start_date": "2025-1-1"}, "start_date"),
        (Resource.transactions, "v2", {"start_date": "20250101"}, "start_date"),
        (Resource.transactions, "v2", {"start_date": "2025-02-30"}, "start_date"),
        (Resource.transactions, "v2", {"start_date": "2025-W01-1"}, "start_date"),
        (Resource.transactions, "v2", {"start_date": ""}, "start_date"),
        (Resource.transactions, "v2", {"end_date": "2025-01-01T00:00:00Z"}, "end_date"),
        (Resource.transactions, "v2", {"start_date": "2025-01-02", "end_date": "2025-01-01"}, "start_date"),
        (Resource.transactions, "v2", {"start_date": datetime(2025, 1, 1, tzinfo=UTC)}, "start_date"),
        (Resource.transactions, "v2", {"page": "3"}, "page"),
        (Resource.transactions, "v2", {"entity_id": "other"}, "entity_id"),
        (Resource.transactions, "v2", {"meta": "{}"}, "meta"),
        (Resource.accounts, "v2", {"async": "yes"}, "async"),
        (Resource.accounts, "v2", {"async": True}, "async"),
        (Resource.refresh, "v2", {"async": "true"}, "async"),
        (Resource.refresh, "v2", {"data_types": "a,,b"}, "data_types"),
        (Resource.refresh, "v2", {"data_types": ""}, "data_types"),
        (Resource.accounts, "v3", {}, "api"),
    ],
)
def test_a_wrong_parameter_is_named(resource: Resource, api: str, params: Any, parameter: str) -> None:
    """Before anything is stored or sent."""
    with pytest.raises(InvalidRequest) as caught:
        calls.check_parameters(resource, api, account_id=_account(resource), params=params)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"start_date": "2025-01-01"},
        {"end_date": "2025-01-01"},
        {"start_date": "2025-01-01", "end_date": "2025-01-01"},
        {"start_date": "2024-02-29", "end_date": "2025-01-01", "async": "false"},
    ],
)
def test_dates_are_for_transactions(params: dict[str, str]) -> None:
    """One, both or none, and one day is a range."""
    calls.check_parameters(Resource.transactions, "v2", account_id="a-1", params=params)


@pytest.mark.parametrize("value", ["", ".", "..", "a\nb", "\ud800", "x" * 256, 5, None])
def test_an_id_that_would_bend_the_path_is_refused(value: Any) -> None:
    """Quoting leaves dots alone, and dots climb."""
    builders: tuple[Callable[[], Call], ...] = (
        lambda: calls.data(Resource.accounts, value),
        lambda: calls.data(Resource.balances, "e-1", account_id=value),
        lambda: calls.get_results(value),
        lambda: calls.get_refresh(value),
        lambda: calls.get_customer(value),
        lambda: calls.find_customer(value),
        lambda: calls.get_entity("c-1", value),
        lambda: calls.get_entity(value, "e-1"),
        lambda: calls.list_customer_entities(value),
        lambda: calls.delete_entity("c-1", value),
        lambda: calls.list_refreshes(value),
    )
    for build in builders:
        with pytest.raises(InvalidRequest):
            build()


def test_path_segments_are_quoted() -> None:
    """Slashes, spaces, percent signs and Arabic stay within their segment."""
    assert calls.find_customer("a/b ?#%é").path == "/customers/v1/app-user-id/a%2Fb%20%3F%23%25%C3%A9"
    assert calls.data(Resource.balances, "e", account_id="a/../b").path == "/data/v2/accounts/a%2F..%2Fb/balances"


@pytest.mark.parametrize(("page", "size", "name"), [(-1, 50, "page"), (0, 0, "size"), (0, 101, "size")])
def test_pages_have_leans_bounds(page: int, size: int, name: str) -> None:
    """Sizes from 1 to 100, pages from 0."""
    builders: tuple[Callable[[], Call], ...] = (
        lambda: calls.data(Resource.accounts, "e", page=page, size=size),
        lambda: calls.get_results("r", page=page, size=size),
        lambda: calls.list_events(page=page, size=size),
        lambda: calls.list_customers(page=page, size=size),
        lambda: calls.list_refreshes("e", page=page, size=size),
    )
    for build in builders:
        with pytest.raises(InvalidRequest) as caught:
            build()
        assert caught.value.parameter == name


# --- the other calls ---------------------------------------------------------------------------------------------


def test_events_are_asked_without_a_type_and_in_utc() -> None:
    """Lean's list of types lacks some that it sends."""
    assert calls.list_events() == Call(method="GET", path="/events/v1", query=_PAGED)
    dubai = timezone(timedelta(hours=4))
    call = calls.list_events(page=2, size=50, start=datetime(2026, 1, 1, 4, tzinfo=dubai), end=_NOW + timedelta(days=1))
    assert call.query == {
        "page": "2",
        "size": "50",
        "from": "2026-01-01T00:00:00.000000Z",
        "to": "2026-01-02T00:00:00.000000Z",
    }


def test_events_need_times_with_a_zone_and_in_order() -> None:
    """A naive time would be read as the wrong hour."""
    for name in ("start", "end"):
        with pytest.raises(InvalidRequest) as caught:
            calls.list_events(**{name: datetime(2026, 1, 1)})  # type: ignore[arg-type]  # noqa: DTZ001
        assert caught.value.parameter == name
    with pytest.raises(InvalidRequest):
        calls.list_events(start=_NOW, end=_NOW - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("call", "method", "path", "query"),
    [
        (calls.create_customer("user-17"), "POST", "/customers/v1/", {}),
        (calls.get_customer("c-1"), "GET", "/customers/v1/c-1", {}),
        (calls.find_customer("user-17"), "GET", "/customers/v1/app-user-id/user-17", {}),
        (calls.list_customers(page=1, size=50), "GET", "/customers/v1", {"page_number": "1", "page_size": "50"}),
        (calls.list_customer_entities("c-1"), "GET", "/customers/v1/c-1/entities", {}),
        (calls.get_entity("c-1", "e-1"), "GET", "/customers/v1/c-1/entities/e-1", {}),
        (
            calls.list_entities(start_date="2025-03-01", end_date="2025-03-31"),
            "GET",
            "/customers/v1/entities",
            {"start_date": "2025-03-01", "end_date": "2025-03-31", "page_number": "0", "page_size": "100"},
        ),
        (calls.delete_entity("c-1", "e-1"), "DELETE", "/customers/v1/c-1/entities/e-1", {"reason": "USER_REQUESTED"}),
        (calls.list_banks(), "GET", "/banks/v1", {}),
    ],
)
def test_customers_entities_and_banks(call: Call, method: str, path: str, query: dict[str, str]) -> None:
    """Methods, paths and queries are Lean's."""
    assert (call.method, call.path, dict(call.query)) == (method, path, query)


def test_bodies_of_the_other_calls() -> None:
    """A customer's own id, and the reason of a deletion a second time."""
    assert _body(calls.create_customer("user-17")) == {"app_user_id": "user-17"}
    assert _body(calls.delete_entity("c-1", "e-1")) == {"reason": "USER_REQUESTED"}
    for wrong in ("", "x" * 256, None):
        with pytest.raises(InvalidRequest):
            calls.create_customer(wrong)  # type: ignore[arg-type]  # None is


@pytest.mark.parametrize(
    ("start", "end"), [("2025-03-31", "2025-03-01"), ("2025-3-1", "2025-03-31"), ("2025-03-01", "")]
)
def test_entities_are_listed_between_two_days(start: str, end: str) -> None:
    """Both must be days, in order."""
    with pytest.raises(InvalidRequest):
        calls.list_entities(start_date=start, end_date=end)


def test_link_connect_keeps_its_password_out_of_reprs() -> None:
    """It is the sandbox's, and still nobody's business."""
    call = calls.link_connect(
        app_user_id="u", username="mockbank_user_1", password="hidden-1", permissions=("identity",)
    )
    assert (call.method, call.path) == ("POST", "/link/connect")
    assert _body(call) == {
        "bank_id": 1,
        "app_user_id": "u",
        "username": "mockbank_user_1",
        "password": "hidden-1",
        "permissions": ["identity"],
    }
    assert "hidden-1" not in repr(call)


def test_every_public_builder_is_listed() -> None:
    """__all__ is complete."""
    defined = {
        name
        for name, value in vars(calls).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == calls.__name__ and callable(value)
    }
    assert defined | {"source_of", "Parameters", "check_parameters", "parameters"} == set(calls.__all__)
    assert all(inspect.getdoc(getattr(calls, name)) for name in calls.__all__)
