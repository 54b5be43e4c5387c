"""Every path that Mockbank serves: what it takes, who answers it, and what may come back.

The table is read twice: `_routes.answer` checks calls by it, `_openapi.describe` describes the API by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from leanflow._request import Resource
from leanflow.mockbank._refreshes import DATA_TYPES
from leanflow.mockbank._state import PERMISSIONS

from . import _auth, _data_calls, _directory, _entities, _events_api, _link, _link_connect, _refreshes
from ._ask import Parameter
from ._router import Handler, Route
from ._schema import Schema

__all__ = ["routes"]

# --- what calls take ----------------------------------------------------------------------------------------------

_UUID: Schema = {"type": "string", "format": "uuid"}
_TEXT: Schema = {"type": "string", "minLength": 1}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
_DAY: Schema = {"type": "string", "format": "date"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_REASON: Schema = {"type": "string", "enum": ["USER_REQUESTED"]}
_PAGES_AT_MOST = 2**31 - 1  # answers repeat the number as a whole number of 32 bits ([S])


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _page(number: str, size: str, default: int | None) -> tuple[Parameter, Parameter]:
    """Return the parameters of a list; `default` None: both must be there."""
    first: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": _PAGES_AT_MOST}
    length: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 100}
    if default is None:
        return Parameter(number, first, required=True), Parameter(size, length, required=True)
    return Parameter(number, {**first, "default": 0}), Parameter(size, {**length, "default": default})


_PAGE = _page("page", "size", 50)
_BOOL: Schema = {"type": "boolean", "default": False}
_OF_TRANSACTIONS = (Parameter("start_date", _DAY), Parameter("end_date", _DAY), Parameter("insights", _BOOL))
_OPTIONS = (
    Parameter("async", _BOOL),
    Parameter("meta", {"type": "string", "contentMediaType": "application/json"}),
    *_PAGE,
)
_ANY_ENTITY = (Parameter("entity_id", _UUID), *_OPTIONS)
_AN_ENTITY = (Parameter("entity_id", _UUID, required=True), *_OPTIONS)
_IDENTIFIERS = _list(
    _object(
        {
            "type": {"type": "string", "enum": ["EMIRATES_ID", "TRADE_LICENSE_NUMBER"]},
            "value": {"type": "string", "minLength": 1, "pattern": r"^(?!\s*$).+"},
        }
    )
)
_PERMISSIONS = {**_list({"type": "string", "enum": list(PERMISSIONS)}), "minItems": 1}
_OPTIONS_V1 = {"async": {"type": "boolean"}, "insights": {"type": "boolean"}}
_PLACES: Mapping[str, Schema] = MappingProxyType(
    {
        "account_id": _UUID,
        "app_user_id": _NAME,
        "consent_id": _UUID,
        "customer_id": _UUID,
        "entity_id": _UUID,
        "refresh_id": _TEXT,  # the specification does not say UUID here
        "results_id": _UUID,
    }
)


def _route(spec: str, kind: str, handler: Handler, summary: str, answer: str | None, **more: Any) -> Route:
    method, _, path = spec.partition(" ")
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    places = {**_PLACES, **more.pop("places", {})}
    answers = more.pop("answers", {200: answer})
    errors = more.pop("errors", (400, 401, 403, 404))
    return Route(
        method=method,
        path=path,
        kind=kind,
        handler=handler,
        summary=summary,
        places={name: places[name] for name in names},
        answers=answers,
        errors=errors,
        **more,
    )


# --- the table ----------------------------------------------------------------------------------------------------

_OF_ACCOUNT = (
    "balances",
    "transactions",
    "identities",
    "beneficiaries",
    "direct-debits",
    "scheduled-payments",
    "standing-orders",
)
_FIRST = {
    "identity": Resource.identity,
    "accounts": Resource.accounts,
    "balance": Resource.balances,
    "transactions": Resource.transactions,
}


def _data_v2() -> list[Route]:
    paths = {
        "/data/v2/accounts": Resource.accounts,
        "/data/v2/identity": Resource.identity,
        **{f"/data/v2/accounts/{{account_id}}/{tail}": Resource(tail.replace("-", "_")) for tail in _OF_ACCOUNT},
    }
    return [
        _route(
            f"GET {path}",
            "data",
            _data_calls.data,
            f"Ask for {resource.value.replace('_', ' ')}.",
            None,
            resource=resource,
            query=(*_AN_ENTITY, *_OF_TRANSACTIONS) if resource is Resource.transactions else _AN_ENTITY,
            answers={200: f"{resource.value}_answer", 202: "pending", 403: "forbidden"},
            errors=(400, 401, 404, 429),
        )
        for path, resource in paths.items()
    ]


def _data_v1() -> list[Route]:
    made = []
    for tail, resource in _FIRST.items():
        wanted = {"entity_id": _UUID}
        if resource in (Resource.balances, Resource.transactions):
            wanted["account_id"] = _UUID
        made += [
            _route(
                f"POST {root}/{tail}",
                "data",
                _data_calls.data,
                f"Ask for {resource.value}, as v1 {when}.",
                None,
                resource=resource,
                api="v1",
                body=_object(wanted, _OPTIONS_V1),
                answers={200: f"{resource.value}_v1_answer", 403: "forbidden"},
                errors=(400, 401, 404, 429),
            )
            for root, when in (("/data/v1", "does"), ("/v1", "did in 2020"))
        ]
    return made


def _results() -> list[Route]:
    return [
        _route(
            f"GET {root}/results/{{results_id}}",
            "results",
            _data_calls.results,
            f"Fetch the results of a data call, at {where}.",
            None,
            query=_ANY_ENTITY,
            answers={200: "results", 403: "forbidden"},
            errors=(400, 401, 404),
        )
        for root, where in (
            ("/data/v2", "the address of v2"),
            ("/data/v1", "that of v1's specification"),
            ("/v1", "that of v1's guide"),
            ("", "the oldest address"),
        )
    ]


def _refresh_routes(region: str) -> list[Route]:
    types = {"data_types": _list({"type": "string", "enum": list(DATA_TYPES)})} if region == "ksa" else {}
    path = "/data/v2/refreshes"
    return [
        _route(
            f"POST {path}",
            "refresh",
            _refreshes.post_refresh,
            "Start a refresh of an entity's stored data.",
            "refresh_started",
            resource=Resource.refresh,
            query=_ANY_ENTITY,
            body=_object({"entity_id": _UUID}, types),
            errors=(400, 401, 403, 404, 429),
        ),
        _route(
            f"GET {path}",
            "refreshes",
            _refreshes.list_refreshes,
            "List an entity's refreshes, newest first.",
            "refreshes",
            resource=Resource.refresh,
            query=_AN_ENTITY,
        ),
        _route(
            f"GET {path}/{{refresh_id}}",
            "refreshes",
            _refreshes.one_refresh,
            "Look at one refresh.",
            "refresh",
            resource=Resource.refresh,
            query=_ANY_ENTITY,
        ),
    ]


def _directory_routes() -> list[Route]:
    d, e, root = _directory, _entities, "/customers/v1"
    numbered, one = _page("page_number", "page_size", None), f"{root}/{{customer_id}}"
    new = _object({"app_user_id": _NAME}, {"government_identifiers": _IDENTIFIERS})
    changed = _object({"government_identifiers": _IDENTIFIERS})
    listed = (Parameter("start_date", _DAY, required=True), Parameter("end_date", _DAY, required=True))
    text = {"customer_id": _TEXT}
    return [
        _route(f"POST {root}", "customers", d.create_customer, "Create a customer.", "customer", body=new,
               errors=(400, 401, 403, 409)),
        _route(f"GET {root}", "customers", d.customers, "List the customers.", "customers", query=numbered,
               errors=(400, 401, 403)),
        _route(f"GET {root}/entities", "entities", e.all_entities, "List the entities made between two days.",
               "entities", query=(*listed, *_page("page_number", "page_size", 100)), errors=(400, 401, 403)),
        _route(f"GET {root}/app-user-id/{{app_user_id}}", "customers", d.customer_by_app_user,
               "Find a customer by the application's own id.", "customer"),
        _route(f"GET {one}", "customers", d.customer_by_id, "Look at a customer.", "customer", places=text),
        _route(f"PUT {one}", "customers", d.change_customer, "Replace a customer's government identifiers.",
               "customer", places=text, body=changed),
        _route(f"GET {one}/entities", "entities", e.customers_entities, "List a customer's entities.", "entity_list"),
        _route(f"GET {one}/entities/{{entity_id}}", "entities", e.entity, "Look at an entity.", "entity"),
        _route(f"DELETE {one}/entities/{{entity_id}}", "entities", e.delete_entity, "Delete an entity.", "done",
               query=(Parameter("reason", _REASON),), body=_object({"reason": _REASON}), body_required=False),
        _route("GET /banks/v1", "banks", d.list_banks, "List the banks.", "banks", errors=(401, 403)),
    ]  # fmt: skip


def _consent_routes() -> list[Route]:
    e, one = _entities, "/customers/v1/{customer_id}"
    body = _object(
        {"customer_id": _UUID, "bank_identifier": _TEXT, "permissions": _PERMISSIONS},
        {"expiration_date_time": _MOMENT},
    )
    return [
        _route(f"GET {one}/consents", "entities", e.consents, "List a customer's consents.", "consents"),
        _route(f"GET {one}/consents/{{consent_id}}", "entities", e.consent, "Look at a consent.", "consent"),
        _route(f"DELETE {one}/entities/{{entity_id}}/consent/{{consent_id}}", "entities", e.revoke_consent,
               "Revoke a consent.", "done", query=(Parameter("reason", _REASON, required=True),)),
        _route("POST /v2/accounts-access-consents", "connect", e.create_consent,
               "Ask for a consent; here the user agrees at once.", "consent", body=body),
    ]  # fmt: skip


def _other_routes() -> list[Route]:
    filters = (
        Parameter("from", _MOMENT),
        Parameter("to", _MOMENT),
        Parameter("type", {"type": "string", "enum": list(_events_api.EVENT_TYPES)}),
    )
    credentials = _object(
        {"grant_type": {"type": "string", "enum": ["client_credentials"]}, "scope": _TEXT},
        {"client_id": _TEXT, "client_secret": _TEXT},
    )
    login = _object(
        {
            "bank_id": {"type": ["integer", "string"]},
            "app_user_id": _NAME,
            "username": {"type": "string"},
            "password": {"type": "string"},
            "permissions": _list({"type": "string"}),
        }
    )
    return [
        _route("GET /events/v1", "events", _events_api.events, "List the webhooks of the past 90 days.", "events",
               query=(*_page("page", "size", None), *filters), errors=(400, 401, 403)),
        _route("POST /oauth2/token", "token", _auth.token, "Get a token for client credentials.", None,
               form=credentials, answers={200: "token", 400: "no_token", 401: "no_token"}, errors=(), open=True),
        *(
            _route(f"POST {path}", "connect", _link_connect.link_connect, "Connect a test user, as in 2020.", None,
                   body=login, answers={200: "connected", 401: "not_connected"}, errors=(400, 403))
            for path in ("/link/connect", "/link-connect", "/link/v1/connect", "/v1/link/connect")
        ),
    ]  # fmt: skip


def _link_routes() -> list[Route]:
    """The stand-in for the Link SDK talks to these; Lean's own are not public. They check what they are given."""
    text = {"link_id": _TEXT, "step": _TEXT}
    common = {"places": text, "body": _object({}), "open": True}
    return [
        _route("POST /link/visits", "link", _link.link_opened, "Open the Link SDK's window.", "link",
               errors=(400, 401), **common),
        _route("POST /link/visits/{link_id}/{step}", "link", _link.link_step, "Take a step in it.", "link",
               errors=(400, 401, 404), **common),
    ]  # fmt: skip


@cache  # the same for every Mockbank of a region, and a test makes a thousand of them
def routes(region: str) -> tuple[Route, ...]:
    """Return every path of a region's API."""
    return (
        *_other_routes(),
        *_data_v2(),
        *_data_v1(),
        *_results(),
        *_refresh_routes(region),
        *_directory_routes(),
        *_link_routes(),
        *(_consent_routes() if region == "ksa" else ()),
    )
