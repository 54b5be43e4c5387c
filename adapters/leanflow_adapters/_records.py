"""What the SQL stores spell out alike: records as JSON text, scopes as integers, tombstones, what is sought."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from leanflow._json import dump, load
from leanflow._request import DataRequest, Scope, values_of
from leanflow.errors import StoreUnavailable
from leanflow.ports import Query

__all__ = ["digest", "dump", "load", "record_of", "request_of", "scope_number", "sought"]


@lru_cache(maxsize=256)
def scope_number(scope: Scope) -> int:
    """Return the integer that stands for a scope: a digest, so that it is the same in every process and database."""
    text = f"{scope.app}\0{scope.environment}\0{scope.region}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def digest(kind: str, value: str) -> bytes:
    """Return what a tombstone keeps of an id."""
    return hashlib.sha256(f"{kind}:{value}".encode()).digest()


def record_of(request: DataRequest) -> str:
    """Return the record column."""
    return dump(values_of(request))


def request_of(record: str, call_no: int) -> DataRequest:
    """Return the stored request; the column has the call number, which claims raise without touching the record.

    Raises:
        StoreUnavailable: it has a state or a resource that this version does not know: another worker will.
    """
    raw = load(record)
    raw["call_no"] = call_no
    try:
        return DataRequest.from_dict(raw)
    except ValueError as error:
        words = f"{error}: a newer leanflow made it, and this one must be upgraded"
        raise StoreUnavailable(f"request {raw.get('id')} cannot be read: {words}") from error


def sought(query: Query) -> dict[str, str]:
    """Return the columns that a query wants to have one value, and those values."""
    wanted = {
        "resource": None if query.resource is None else query.resource.value,
        "entity_id": query.entity_id,
        "customer_id": query.customer_id,
        "reference": query.reference,
        "failure": query.failure,
        "held": query.held,
    }
    return {column: value for column, value in wanted.items() if value is not None}
