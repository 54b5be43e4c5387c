"""Builders of calls to Lean: each returns a `Call`, relative to Lean's base. Send one with ``flows.send(call)``.

Paths and parameters are those of Lean's published API. What a resource takes is data (`parameters`), checked before
anything is stored (`check_parameters`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from leanflow._call import Call
from leanflow._lean.answers import source_of
from leanflow._lean.times import format_time
from leanflow._parameters import REFRESHES, Parameters, check_api, check_dates, check_parameters, parameters, segment
from leanflow._request import DataRequest, Resource
from leanflow.errors import InvalidRequest

__all__ = [
    "Parameters",
    "check_parameters",
    "collect",
    "create_customer",
    "data",
    "delete_entity",
    "find_customer",
    "get_customer",
    "get_entity",
    "get_refresh",
    "get_results",
    "link_connect",
    "list_banks",
    "list_customer_entities",
    "list_customers",
    "list_entities",
    "list_events",
    "list_refreshes",
    "parameters",
    "place",
    "source_of",
    "start_refresh",
]

MAX_SIZE = 100
"""Items a page that Lean allows (its default is 50)."""

_CUSTOMERS = "/customers/v1"
_EMPTY: Mapping[str, str] = MappingProxyType({})


# --- bank data ---------------------------------------------------------------------------------------------------


def data(
    resource: Resource,
    entity_id: str,
    *,
    api: str = "v2",
    account_id: str | None = None,
    params: Mapping[str, str] = _EMPTY,
    page: int = 0,
    size: int = MAX_SIZE,
    customer_ip: str | None = None,
) -> Call:
    """Return the call that asks for bank data (for `Resource.refresh`: that starts a refresh).

    Args:
        resource: what is asked for.
        entity_id: whose.
        api: ``v1`` (POST) or ``v2`` (GET).
        account_id: for resources that are asked for per account.
        params: as `check_parameters` allows.
        page: from 0.
        size: items a page, 1 to 100.
        customer_ip: the customer's address, if the customer is present: without it Lean counts a background refresh,
            which banks limit per day.

    Raises:
        InvalidRequest: names the parameter that is wrong.
    """
    check_parameters(resource, api, account_id=account_id, params=params, customer_ip=customer_ip)
    segment("entity_id", entity_id)
    takes = parameters(resource, api)
    headers = {"customer-ip": customer_ip} if customer_ip else {}
    if resource is Resource.refresh:
        kinds = params.get("data_types")
        extra = {"data_types": [part.strip() for part in kinds.split(",")]} if kinds else {}
        return Call(method="POST", path=REFRESHES, headers=headers, body=_json({"entity_id": entity_id, **extra}))
    if api == "v1":
        body: dict[str, Any] = {"entity_id": entity_id}
        if account_id is not None:
            body["account_id"] = account_id
        if "async" in params:
            body["async"] = params["async"] == "true"
        return Call(method="POST", path=takes.path, query=_v1_page(page), headers=headers, body=_json(body))
    path = takes.path
    if account_id is not None:
        path = path.format(account_id=segment("account_id", account_id))
    return Call(method="GET", path=path, query={"entity_id": entity_id, **params, **_page(page, size)}, headers=headers)


def place(request: DataRequest, *, page: int = 0, size: int = MAX_SIZE, customer_ip: str | None = None) -> Call:
    """Return the call that places a request, or gets a further page of what it answered at once.

    Args:
        request: what is to be placed.
        page: from 0.
        size: items a page, 1 to 100; the same for all pages of one answer.
        customer_ip: sent only if given here: the address in the record is that of a customer who may have left.

    Raises:
        InvalidRequest: names the parameter that is wrong.
    """
    return data(
        request.resource,
        request.entity_id,
        api=request.api,
        account_id=request.account_id,
        params=request.params,
        page=page,
        size=size,
        customer_ip=customer_ip,
    )


def collect(request: DataRequest, *, page: int = 0, size: int = MAX_SIZE) -> Call:
    """Return the GET of a request's results; for `Resource.refresh`, of the refresh.

    Raises:
        InvalidRequest: the request has no such id yet.
    """
    if request.resource is Resource.refresh:
        if request.refresh_id is None:
            raise InvalidRequest("refresh_id", f"request {request.id} has none yet")
        return get_refresh(request.refresh_id)
    if request.results_id is None:
        raise InvalidRequest("results_id", f"request {request.id} has none yet")
    return get_results(request.results_id, api=request.api, page=page, size=size)


def get_results(
    results_id: str, *, api: str = "v2", page: int = 0, size: int = MAX_SIZE, base: str | None = None
) -> Call:
    """Return the GET of results.

    Args:
        results_id: from an answer.
        api: ``v1`` or ``v2``.
        page: from 0.
        size: items a page, 1 to 100.
        base: the path before the id, if it is to be another: for v1 Lean's guide has ``/v1/results``, which is used
            here, its schema ``/data/v1/results``.

    Raises:
        InvalidRequest: names the parameter that is wrong.
    """
    check_api(api)
    root = base or ("/v1/results" if api == "v1" else "/data/v2/results")
    query = _v1_page(page) if api == "v1" else _page(page, size)
    return Call(method="GET", path=f"{root}/{segment('results_id', results_id)}", query=query)


def start_refresh(entity_id: str, *, data_types: Sequence[str] = ()) -> Call:
    """Return the call that starts a refresh of an entity's data (about two a day are allowed)."""
    params = {"data_types": ",".join(data_types)} if data_types else {}
    return data(Resource.refresh, entity_id, params=params)


def get_refresh(refresh_id: str) -> Call:
    """Return the GET of one refresh."""
    return Call(method="GET", path=f"{REFRESHES}/{segment('refresh_id', refresh_id)}")


def list_refreshes(entity_id: str, *, page: int = 0, size: int = MAX_SIZE) -> Call:
    """Return the GET of an entity's refreshes, the latest first."""
    segment("entity_id", entity_id)
    return Call(method="GET", path=REFRESHES, query={"entity_id": entity_id, **_page(page, size)})


# --- webhooks that were sent -------------------------------------------------------------------------------------


def list_events(
    *, page: int = 0, size: int = MAX_SIZE, start: datetime | None = None, end: datetime | None = None
) -> Call:
    """Return the GET of the Events API: every webhook of the past 90 days.

    Never asked by type: Lean's list of types lacks some that it sends.

    Args:
        page: from 0.
        size: events a page, 1 to 100.
        start: aware; events made after it.
        end: aware; events made before it.

    Raises:
        InvalidRequest: a time has no zone, or they are in the wrong order.
    """
    query = _page(page, size)
    for name, parameter, moment in (("start", "from", start), ("end", "to", end)):
        if moment is not None:
            if moment.tzinfo is None:
                raise InvalidRequest(name, "has no time zone; give an aware datetime")
            query[parameter] = format_time(moment)
    if start is not None and end is not None and start > end:
        raise InvalidRequest("start", "is after end")
    return Call(method="GET", path="/events/v1", query=query)


# --- customers, entities, banks ----------------------------------------------------------------------------------


def create_customer(app_user_id: str) -> Call:
    """Return the call that creates a customer; one who is there already gives 409 without an id."""
    if not isinstance(app_user_id, str) or not 1 <= len(app_user_id) <= 255:
        raise InvalidRequest("app_user_id", "must be text of 1 to 255 characters")
    return Call(method="POST", path=f"{_CUSTOMERS}/", body=_json({"app_user_id": app_user_id}))


def get_customer(customer_id: str) -> Call:
    """Return the GET of one customer."""
    return Call(method="GET", path=f"{_CUSTOMERS}/{segment('customer_id', customer_id)}")


def find_customer(app_user_id: str) -> Call:
    """Return the GET of the customer who has the application's own id."""
    return Call(method="GET", path=f"{_CUSTOMERS}/app-user-id/{segment('app_user_id', app_user_id)}")


def list_customers(*, page: int = 0, size: int = MAX_SIZE) -> Call:
    """Return the GET of a page of all customers."""
    return Call(method="GET", path=_CUSTOMERS, query=_numbered_page(page, size))


def list_customer_entities(customer_id: str) -> Call:
    """Return the GET of a customer's entities (a bare list)."""
    return Call(method="GET", path=_entities_path(customer_id))


def get_entity(customer_id: str, entity_id: str) -> Call:
    """Return the GET of one entity, its consents included."""
    return Call(method="GET", path=f"{_entities_path(customer_id)}/{segment('entity_id', entity_id)}")


def list_entities(*, start_date: str, end_date: str, page: int = 0, size: int = MAX_SIZE) -> Call:
    """Return the GET of a page of all entities made between two days (``YYYY-MM-DD``).

    Raises:
        InvalidRequest: a date is none, or they are in the wrong order.
    """
    days = {"start_date": start_date, "end_date": end_date}
    check_dates(days)
    return Call(method="GET", path=f"{_CUSTOMERS}/entities", query={**days, **_numbered_page(page, size)})


def delete_entity(customer_id: str, entity_id: str, *, reason: str = "USER_REQUESTED") -> Call:
    """Return the call that deletes an entity. The reason goes into query and body: UAE reads one, KSA the other."""
    return Call(
        method="DELETE",
        path=f"{_entities_path(customer_id)}/{segment('entity_id', entity_id)}",
        query={"reason": reason},
        body=_json({"reason": reason}),
    )


def list_banks() -> Call:
    """Return the GET of all banks that the application may use."""
    return Call(method="GET", path="/banks/v1")


def link_connect(
    *, app_user_id: str, username: str, password: str, permissions: Sequence[str], bank_id: int = 1
) -> Call:
    """Return the sandbox's old shortcut that connects a test user without the Link SDK.

    The answer's ``data.entity.entity_uuid`` is the entity's id; its ``status`` is an object.

    Args:
        app_user_id: the application's own id of the user.
        username: ``mockbank_user_1`` or ``mockbank_user_2``.
        password: the same as the name.
        permissions: as ``identity``, ``accounts``, ``balance``, ``transactions``.
        bank_id: a number of the sandbox's.
    """
    body = {
        "bank_id": bank_id,
        "app_user_id": app_user_id,
        "username": username,
        "password": password,
        "permissions": list(permissions),
    }
    return Call(method="POST", path="/link/connect", body=_json(body))


# --- parts -------------------------------------------------------------------------------------------------------


def _entities_path(customer_id: str) -> str:
    return f"{_CUSTOMERS}/{segment('customer_id', customer_id)}/entities"


def _page(page: int, size: int) -> dict[str, str]:
    _check_page(page, size)
    return {"page": str(page), "size": str(size)}


def _numbered_page(page: int, size: int) -> dict[str, str]:
    _check_page(page, size)
    return {"page_number": str(page), "page_size": str(size)}


def _v1_page(page: int) -> dict[str, str]:
    # v1 documents no pages. Should it ever speak of several, they are asked for without a size, as the first one was.
    _check_page(page, MAX_SIZE)
    return {"page": str(page)} if page else {}


def _check_page(page: int, size: int) -> None:
    if page < 0:
        raise InvalidRequest("page", "is counted from 0")
    if not 1 <= size <= MAX_SIZE:
        raise InvalidRequest("size", f"must be from 1 to {MAX_SIZE}")


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
