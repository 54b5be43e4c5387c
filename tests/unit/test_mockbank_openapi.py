"""Mockbank's description of itself: whole, valid, and held against what is served."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import jsonschema_rs
import pytest

from leanflow import Call
from leanflow.mockbank import Fault, Mockbank
from leanflow.mockbank.api._answers import Refused
from leanflow.mockbank.api._route_table import routes
from leanflow.mockbank.api._schema import check, read
from tests.support.bank import BankClient
from tests.support.described import hold_to_description

REGIONS = pytest.mark.parametrize("region", ["uae", "ksa"])


def schemas_in(node: Any) -> list[Any]:
    """Return every schema below a part of the description."""
    if isinstance(node, list):
        return [found for one in node for found in schemas_in(one)]
    if not isinstance(node, dict):
        return []
    own = [node["schema"]] if "schema" in node else []
    return own + [found for one in node.values() for found in schemas_in(one)]


@REGIONS
def test_every_route_is_described_and_every_description_is_served(region: str) -> None:
    """The operations of the description are those that are answered, one by one."""
    bank = Mockbank(region=region)
    described = {(method.upper(), path) for path, methods in bank.openapi()["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in routes(region)}
    for method, path in described:
        call = Call(method=method, path=re.sub(r"{\w+}", "x", path))
        answer = bank.handle(call, bank.now).answer
        assert answer is not None
        assert answer.status != 405, (method, path)
        assert json.loads(answer.body).get("status") != "INVALID_URL", (method, path)


@REGIONS
def test_the_description_holds_together(region: str) -> None:
    """Its schemas are JSON Schema, refer to what is there, and none is there for nothing."""
    document = Mockbank(region=region).openapi()
    json.dumps(document)  # JSON values all the way
    named = document["components"]["schemas"]
    for schema in [*schemas_in(document["paths"]), *named.values()]:
        assert jsonschema_rs.meta.is_valid(schema), schema
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert referred <= named.keys()
    if region == "ksa":  # all paths are served there
        assert named.keys() == referred


@REGIONS
def test_operations_say_what_they_take_and_give(region: str) -> None:
    """Placeholders are parameters, each operation has an id of its own and a summary, 200, and its errors."""
    seen = set()
    for path, methods in Mockbank(region=region).openapi()["paths"].items():
        for operation in methods.values():
            places = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert places == set(re.findall(r"{(\w+)}", path))
            assert operation["operationId"] not in seen
            seen.add(operation["operationId"])
            assert operation["summary"].endswith(".")
            assert "200" in operation["responses"]


def test_a_region_describes_what_it_serves() -> None:
    """Consents and `data_types` are KSA's; who may call follows from the settings."""
    uae, ksa = Mockbank().openapi(), Mockbank(region="ksa").openapi()
    assert ksa["paths"].keys() - uae["paths"].keys() == {
        "/customers/v1/{customer_id}/consents",
        "/customers/v1/{customer_id}/consents/{consent_id}",
        "/customers/v1/{customer_id}/entities/{entity_id}/consent/{consent_id}",
        "/v2/accounts-access-consents",
    }
    assert not uae["paths"].keys() - ksa["paths"].keys()
    assert "data_types" in json.dumps(ksa["paths"]["/data/v2/refreshes"])
    assert "data_types" not in json.dumps(uae["paths"]["/data/v2/refreshes"])
    assert uae["paths"]["/banks/v1"]["get"]["security"] == [{"bearer": []}, {"app_token": []}]
    assert ksa["paths"]["/banks/v1"]["get"]["security"] == [{"bearer": []}]
    assert uae["paths"]["/oauth2/token"]["post"]["security"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"status": "SPLENDID"},
        {"results_id": "x"},
        {"timestamp": "yesterday"},
        {"more": 1},
        {"data": {"type": "accounts", "accounts": []}},
        {"data": None},
    ],
)
def test_an_answer_that_is_not_as_described_is_found(change: dict[str, Any]) -> None:
    """What all other tests rely on: a wrong word, id, time, an addition and a lack are each noticed."""
    lean = BankClient()
    query = {"entity_id": lean.bank.connect()}
    call = Call(method="GET", path="/data/v2/accounts", query=query, headers={"lean-app-token": lean.bank.app})
    answer = lean.bank.handle(call, lean.now).answer
    assert answer is not None
    hold_to_description(lean.bank, call, answer)
    changed = attrs.evolve(answer, body=json.dumps({**json.loads(answer.body), **change}).encode())
    with pytest.raises(AssertionError, match="is no accounts_answer"):
        hold_to_description(lean.bank, call, changed)
    with pytest.raises(AssertionError, match="undescribed"):
        hold_to_description(lean.bank, call, attrs.evolve(answer, status=418))


def test_an_answer_that_was_meant_to_be_broken_is_let_pass() -> None:
    """A fault on the way out breaks the promise on purpose; one that decides what is said does not."""
    lean = BankClient()
    entity = lean.bank.connect()
    lean.bank.fault(Fault.missing("results_id", times=1))
    assert "results_id" not in lean.accounts(entity)
    lean.bank.fault(Fault.failed("BANK_ISSUE"))
    assert lean.accounts(entity)["status"] == "FAILED"


@pytest.mark.parametrize(
    ("value", "schema", "good"),
    [
        ("x", {"type": "string"}, True),
        (7, {"type": "string"}, False),
        (True, {"type": "integer"}, False),
        (7, {"type": ["integer", "string"]}, True),
        (None, {"type": "object"}, False),
        ("b", {"enum": ["a", "b"]}, True),
        ("c", {"enum": ["a", "b"]}, False),
        ("", {"type": "string", "minLength": 1}, False),
        ("xxx", {"type": "string", "maxLength": 2}, False),
        (" ", {"type": "string", "pattern": r"^(?!\s*$).+"}, False),
        (" x", {"type": "string", "pattern": r"^(?!\s*$).+"}, True),
        (5, {"minimum": 5, "maximum": 5}, True),
        (4, {"minimum": 5}, False),
        (6, {"maximum": 5}, False),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}, False),
        ([], {"type": "array", "minItems": 1}, False),
        ({"a": {"b": 1}}, {"properties": {"a": {"required": ["b"], "properties": {"b": {"type": "integer"}}}}}, True),
        ({"a": {"b": "1"}}, {"properties": {"a": {"properties": {"b": {"type": "integer"}}}}}, False),
        ({"a": {}}, {"properties": {"a": {"required": ["b"]}}}, False),
        ("2025-02-28", {"type": "string", "format": "date"}, True),
        ("2025-02-29", {"type": "string", "format": "date"}, False),
        ("00000000-0000-0000-0000-000000000000", {"type": "string", "format": "uuid"}, True),
        ("{00000000-0000-0000-0000-000000000000}", {"type": "string", "format": "uuid"}, False),
        ("00000000000000000000000000000000", {"type": "string", "format": "uuid"}, False),
        ("2025-02-28T10:00:00.123456789Z", {"type": "string", "format": "date-time"}, True),
        ("2025-02-28T10:00:00", {"type": "string", "format": "date-time"}, False),
    ],
)
def test_values_are_checked_as_json_schema_says(value: Any, schema: dict[str, Any], good: bool) -> None:
    """Our own small reader of schemas agrees with the whole one, where it has an opinion."""
    assert jsonschema_rs.Draft202012Validator(schema, validate_formats=True).is_valid(value) is good
    if good:
        check("it", value, schema)
        return
    with pytest.raises(Refused) as refused:
        check("it", value, schema)
    assert refused.value.status == 400
    assert refused.value.message is not None
    assert "field: it" in refused.value.message


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("007", {"type": "integer"}, 7),
        ("-1", {"type": "integer"}, -1),
        ("true", {"type": "boolean"}, True),
        ("false", {"type": "boolean"}, False),
        ('{"a": "b"}', {"type": "string", "contentMediaType": "application/json"}, {"a": "b"}),
        ("1", {"type": "string"}, "1"),
    ],
)
def test_texts_are_read_as_their_schema_says(text: str, schema: dict[str, Any], value: object) -> None:
    """What stands in a query is text; the schema says what it means."""
    assert read("it", text, schema) == value


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("1e3", {"type": "integer"}),
        ("", {"type": "integer"}),
        ("True", {"type": "boolean"}),
        ("1", {"type": "boolean"}),
    ],
)
def test_texts_that_mean_nothing_are_refused(text: str, schema: dict[str, Any]) -> None:
    """No guess is made."""
    with pytest.raises(Refused):
        read("it", text, schema)
