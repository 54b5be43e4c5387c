"""What each of Lean's resources takes, as data, and the checks of it: before anything is stored or sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from urllib.parse import quote

import attrs

from leanflow._request import Resource
from leanflow.errors import InvalidRequest

__all__ = [
    "REFRESHES",
    "Parameters",
    "check_api",
    "check_dates",
    "check_parameters",
    "parameters",
    "segment",
]

REFRESHES = "/data/v2/refreshes"

_API = ("v1", "v2")
_DATES = ("start_date", "end_date")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_IP = re.compile(r"[0-9A-Fa-f.:]{2,45}", re.ASCII)
_FLAGS = ("true", "false")


@attrs.frozen(kw_only=True)
class Parameters:
    """What a resource takes in one version of Lean's API.

    Attributes:
        path: of the call; ``{account_id}`` where the account goes.
        needs_account: whether it is asked for per account; then the account must be given, else it must not.
        optional: names that `params` may have.
    """

    path: str
    needs_account: bool = False
    optional: frozenset[str] = frozenset()


def _table() -> Mapping[tuple[str, Resource], Parameters]:
    common = frozenset({"async"})
    rows = {
        ("v1", Resource.identity): Parameters(path="/data/v1/identity", optional=common),
        ("v1", Resource.accounts): Parameters(path="/data/v1/accounts", optional=common),
        ("v1", Resource.balances): Parameters(path="/data/v1/balance", needs_account=True, optional=common),
        ("v1", Resource.transactions): Parameters(path="/data/v1/transactions", needs_account=True, optional=common),
        ("v2", Resource.identity): Parameters(path="/data/v2/identity", optional=common),
        ("v2", Resource.accounts): Parameters(path="/data/v2/accounts", optional=common),
        # KSA only: which kinds of data to refresh, here separated by commas.
        ("v2", Resource.refresh): Parameters(path=REFRESHES, optional=frozenset({"data_types"})),
    }
    for resource, tail in (
        (Resource.balances, "balances"),
        (Resource.transactions, "transactions"),
        (Resource.identities, "identities"),
        (Resource.beneficiaries, "beneficiaries"),
        (Resource.direct_debits, "direct-debits"),
        (Resource.scheduled_payments, "scheduled-payments"),
        (Resource.standing_orders, "standing-orders"),
    ):
        rows["v2", resource] = Parameters(
            path=f"/data/v2/accounts/{{account_id}}/{tail}",
            needs_account=True,
            optional=common | frozenset(_DATES) if resource is Resource.transactions else common,
        )
    return MappingProxyType(rows)


_PARAMETERS = _table()


def check_api(api: str) -> None:
    """Check a version of the API.

    Raises:
        InvalidRequest: Lean has no such version.
    """
    if api not in _API:
        raise InvalidRequest("api", f"{api!r} is none of Lean's; use {' or '.join(_API)}")


def parameters(resource: Resource, api: str = "v2") -> Parameters:
    """Return what a resource takes.

    Raises:
        InvalidRequest: that version of the API does not have it.
    """
    check_api(api)
    found = _PARAMETERS.get((api, resource))
    if found is None:
        has = ", ".join(sorted(r.value for a, r in _PARAMETERS if a == api))
        raise InvalidRequest("resource", f"{str(resource)!r} is not in Lean's {api}, which has {has}")
    return found


def check_parameters(
    resource: Resource,
    api: str,
    *,
    account_id: str | None,
    params: Mapping[str, str],
    entity_id: str | None = None,
    customer_ip: str | None = None,
) -> None:
    """Check what a request asks with, before anything is stored or sent.

    Args:
        resource: what is asked for.
        api: ``v1`` or ``v2``.
        account_id: the account, for resources that have one.
        params: further parameters; dates as ``YYYY-MM-DD``.
        entity_id: checked if given.
        customer_ip: checked if given.

    Raises:
        InvalidRequest: names the parameter and what is wrong with it.
    """
    takes = parameters(resource, api)
    _check_account(resource, api, account_id, needed=takes.needs_account)
    if entity_id is not None:
        segment("entity_id", entity_id)
    if customer_ip is not None:
        _check_ip(customer_ip)
    _check_names(resource, api, params, takes.optional)
    if params.get("async", "false") not in _FLAGS:
        raise InvalidRequest("async", f"must be {' or '.join(_FLAGS)}")
    if "data_types" in params and not all(part.strip() for part in params["data_types"].split(",")):
        raise InvalidRequest("data_types", "must be names separated by commas")
    check_dates(params)


def _check_account(resource: Resource, api: str, account_id: str | None, *, needed: bool) -> None:
    if not needed:
        if account_id is not None:
            raise InvalidRequest("account_id", f"{resource.value} takes none in {api}")
    elif account_id is None:
        raise InvalidRequest("account_id", f"{resource.value} is asked for per account; give the account's id")
    else:
        segment("account_id", account_id)


def _check_names(resource: Resource, api: str, params: Mapping[str, str], optional: frozenset[str]) -> None:
    for name, value in params.items():
        if name not in optional:
            known = ", ".join(sorted(optional)) or "none"
            raise InvalidRequest(str(name), f"{resource.value} does not take it in {api}; it takes {known}")
        if not isinstance(value, str):
            raise InvalidRequest(name, f"must be text, is {type(value).__name__}")


def check_dates(params: Mapping[str, str]) -> None:
    """Check the first and the last day, where they are given.

    Raises:
        InvalidRequest: one is no day, or they are in the wrong order.
    """
    start, end = (_date(name, params.get(name)) for name in _DATES)
    if start is not None and end is not None and start > end:
        raise InvalidRequest("start_date", f"{start.isoformat()} is after end_date {end.isoformat()}")


def _date(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    if _DATE.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise InvalidRequest(name, f"{text[:40]!r} is no day; write it as YYYY-MM-DD")


def _check_ip(address: str) -> None:
    if not isinstance(address, str) or not _IP.fullmatch(address):
        raise InvalidRequest("customer_ip", "must be an IPv4 or IPv6 address")


def segment(name: str, value: str) -> str:
    """Return a quoted path segment. ``.`` and ``..`` are refused: quoting leaves them, and they climb the path.

    Raises:
        InvalidRequest: names the parameter whose value is none.
    """
    if not isinstance(value, str) or not value or len(value) > 255 or value in {".", ".."}:
        raise InvalidRequest(name, "must be text of 1 to 255 characters, and no path")
    if not value.isprintable():
        raise InvalidRequest(name, "must have printable characters only")
    return quote(value, safe="")
