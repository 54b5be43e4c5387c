"""Making a new record out of what the caller said, or saying what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any

from leanflow import calls
from leanflow._ids import fingerprint_of
from leanflow._request import DataRequest, Resource, Scope
from leanflow.errors import InvalidRequest

__all__ = ["check_text", "new_request", "resource_of", "successor_of"]

REFERENCE_MAX = 255
METADATA_MAX = 4096
KEY_MAX = 255


def new_request(
    resource: Resource | str,
    *,
    request_id: str,
    now: datetime,
    scope: Scope,
    api: str,
    entity_id: str,
    account_id: str | None,
    start_date: date | str | None,
    end_date: date | str | None,
    params: Mapping[str, Any] | None,
    customer_id: str | None,
    customer_ip: str | None,
    reference: str | None,
    metadata: Mapping[str, str] | None,
    give_up_after: timedelta | None,
    key: str | None,
) -> DataRequest:
    """Return a record to be stored.

    Raises:
        InvalidRequest: the first thing that is wrong, by its parameter's name.
    """
    kind = resource_of(resource)
    for name, text, longest in (
        ("entity_id", entity_id, REFERENCE_MAX),
        ("account_id", account_id, REFERENCE_MAX),
        ("customer_id", customer_id, REFERENCE_MAX),
        ("customer_ip", customer_ip, REFERENCE_MAX),
        ("reference", reference, REFERENCE_MAX),
        ("key", key, KEY_MAX),
    ):
        check_text(name, text, longest, required=name == "entity_id")
    if give_up_after is not None:
        if not isinstance(give_up_after, timedelta):
            problem = f"must be a timedelta, as timedelta(days=1), not {type(give_up_after).__name__}"
            raise InvalidRequest("give_up_after", problem)
        if give_up_after <= timedelta():
            raise InvalidRequest("give_up_after", "must be longer than nothing")
    given = _params(params, start_date, end_date)
    calls.check_parameters(kind, api, account_id=account_id, params=given, entity_id=entity_id, customer_ip=customer_ip)
    return DataRequest(
        id=request_id,
        app=scope.app,
        environment=scope.environment,
        region=scope.region,
        api=api,
        resource=kind,
        entity_id=entity_id,
        account_id=account_id,
        customer_id=customer_id,
        customer_ip=customer_ip,
        params=MappingProxyType(given),
        reference=reference,
        metadata=MappingProxyType(_metadata(metadata)),
        key=key,
        fingerprint=fingerprint_of(scope, api, kind, entity_id, account_id, given),
        due_at=now,
        place_at=now,
        give_up_at=None if give_up_after is None else now + give_up_after,
        created_at=now,
        updated_at=now,
    )


def successor_of(request: DataRequest, *, request_id: str, now: datetime) -> DataRequest:
    """Return a fresh record that asks for the same and names its predecessor."""
    patience = None if request.give_up_at is None else request.give_up_at - request.created_at
    return DataRequest(
        id=request_id,
        **{
            name: getattr(request, name)
            for name in (
                "app",
                "environment",
                "region",
                "api",
                "resource",
                "entity_id",
                "account_id",
                "customer_id",
                "params",
                "reference",
                "metadata",
                "fingerprint",
            )
        },
        due_at=now,
        place_at=now,
        give_up_at=None if patience is None else now + patience,
        created_at=now,
        updated_at=now,
        predecessor_id=request.id,
    )


def resource_of(value: Resource | str) -> Resource:
    """Return the resource of that name.

    Raises:
        InvalidRequest: there is none.
    """
    try:
        return Resource(value)
    except ValueError:
        raise InvalidRequest("resource", f"{value!r} is none of {', '.join(Resource)}") from None


def check_text(name: str, text: object, longest: int = KEY_MAX, *, required: bool = False) -> None:
    """Refuse what is no text, empty, or too long.

    Raises:
        InvalidRequest: names the parameter.
    """
    if text is None and not required:
        return
    if not isinstance(text, str):
        raise InvalidRequest(name, f"must be a string, not {type(text).__name__}")
    if not text:
        raise InvalidRequest(name, "must not be empty")
    if len(text) > longest:
        raise InvalidRequest(name, f"has {len(text)} characters; at most {longest}")


def _params(params: Mapping[str, Any] | None, start: date | str | None, end: date | str | None) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in (params or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidRequest("params", f"{name!r}: names and values must be strings")
        given[name] = value
    for name, day in (("start_date", start), ("end_date", end)):
        if day is None:
            continue
        if isinstance(day, datetime):
            raise InvalidRequest(name, "must be a date, not a datetime")
        given[name] = day.isoformat() if isinstance(day, date) else day
    return given


def _metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    given = dict(metadata or {})
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidRequest("metadata", f"{name!r}: names and values must be strings")
    size = len(json.dumps(given, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > METADATA_MAX:
        raise InvalidRequest("metadata", f"has {size} bytes as JSON; at most {METADATA_MAX}")
    return given
