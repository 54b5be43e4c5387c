"""Bank data out of raw pages."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from leanflow._lean.results import Results, parse_page
from leanflow._request import Resource
from leanflow.errors import MalformedBody
from leanflow.events import Page

_LISTED = {
    Resource.identity: "identities",
    Resource.accounts: "accounts",
    Resource.balances: "balances",
    Resource.transactions: "transactions",
    Resource.identities: "identities",
    Resource.beneficiaries: "beneficiaries",
    Resource.direct_debits: "direct_debits",
    Resource.scheduled_payments: "scheduled_payments",
    Resource.standing_orders: "standing_orders",
}


def _page(body: object, number: int = 0) -> Page:
    return Page(raw=body if isinstance(body, bytes) else json.dumps(body).encode(), number=number)


def test_every_resource_is_covered() -> None:
    """A new resource cannot be forgotten here."""
    assert set(_LISTED) | {Resource.refresh} == set(Resource)


@pytest.mark.parametrize(("resource", "name"), _LISTED.items())
@pytest.mark.parametrize("key", ["data", "payload"])
def test_items_come_from_the_resources_own_list(resource: Resource, name: str, key: str) -> None:
    """In v2's data and in v1's payload."""
    page = _page({"status": "OK", key: {"type": name, name: [{"a": 1}, {"a": 2}], "page": {}}})
    assert parse_page(resource, page) == ({"a": 1}, {"a": 2})


def test_items_run_across_all_pages_and_the_pages_are_kept() -> None:
    """First to last, in Lean's order."""
    pages = [_page({"status": "OK", "data": {"transactions": [{"n": n}]}}, n) for n in range(3)]
    results = Results.from_pages(Resource.transactions, pages)
    assert results.items == ({"n": 0}, {"n": 1}, {"n": 2})
    assert results.pages == tuple(pages)
    assert Results.from_pages(Resource.transactions, []).items == ()


def test_money_is_decimal_with_every_digit() -> None:
    """As Lean wrote it: 0.10 keeps its zero, and seventeen digits stay seventeen."""
    raw = (
        b'{"data":{"transactions":'
        b'[{"amount":{"amount":1234567890123456.78}},{"amount":{"amount":-0.10}},{"amount":7}]}}'
    )
    (first, second, third) = parse_page(Resource.transactions, _page(raw))
    assert first["amount"]["amount"] == Decimal("1234567890123456.78")
    assert str(second["amount"]["amount"]) == "-0.10"
    assert third["amount"] == 7
    assert "float" not in {type(v).__name__ for item in (first, second) for v in item["amount"].values()}


def test_v1_identity_and_balance_are_one_item() -> None:
    """v1 gives the one object as the payload itself."""
    identity = {"full_name": "محمد", "type": "identity"}
    assert parse_page(Resource.identity, _page({"status": "OK", "payload": identity})) == (identity,)
    raw = b'{"status":"OK","payload":{"account_id":"a","balance":12.30,"currency_iso_code":"AED"}}'
    (balance,) = parse_page(Resource.balances, _page(raw))
    assert balance["balance"] == Decimal("12.30")


def test_a_refresh_is_its_document() -> None:
    """Failed parts included."""
    document = {"refresh_id": "r", "status": "FINISHED", "data_status": {"accounts": "FAILED"}}
    assert parse_page(Resource.refresh, _page(document)) == (document,)


def test_a_list_may_be_missing_only_from_a_page_that_says_it_is_empty() -> None:
    """No list is not the same as no items."""
    for page in ({"total_elements": 0}, {"total_elements": 0, "total_pages": 0}):
        assert parse_page(Resource.transactions, _page({"data": {"type": "transactions", "page": page}})) == ()
    for data in (
        {"type": "transactions"},
        {"page": {"total_elements": 3}},
        {"page": {"total_elements": False}},
        {"page": 5},
    ):
        with pytest.raises(MalformedBody) as caught:
            parse_page(Resource.transactions, _page({"data": data}))
        assert caught.value.path == "$.data.transactions"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"<html>", "$"),
        (b"[]", "$"),
        ({}, "$.payload"),
        ({"data": []}, "$.data"),
        ({"payload": "x"}, "$.payload"),
        ({"data": {"accounts": {}}}, "$.data.accounts"),
        ({"data": {"accounts": "none"}}, "$.data.accounts"),
        ({"data": {"accounts": [{}, 5]}}, "$.data.accounts[1]"),
        ({"payload": {"accounts": [[]]}}, "$.payload.accounts[0]"),
        ({"payload": {"type": "accounts"}}, "$.payload.accounts"),
    ],
)
def test_a_page_of_another_shape_names_the_place(body: Any, path: str) -> None:
    """It is never taken for an empty one."""
    with pytest.raises(MalformedBody) as caught:
        parse_page(Resource.accounts, _page(body))
    assert caught.value.path == path


def test_bank_data_is_in_no_repr() -> None:
    """Neither items nor raw pages."""
    results = Results.from_pages(Resource.accounts, [_page({"data": {"accounts": [{"iban": "AE07"}]}})])
    assert "AE07" not in repr(results)
