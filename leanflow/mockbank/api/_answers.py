"""The shapes of Lean's answers: v1 and v2 envelopes, error envelopes, pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from leanflow._call import Answer
from leanflow.mockbank._state import Result, Wanted
from leanflow.mockbank.basics._dice import derived_id
from leanflow.mockbank.basics._json import Written, to_bytes
from leanflow.mockbank.basics._times import http_date, micro, nano

__all__ = ["ITEMS", "MESSAGES", "TYPES", "Refused", "Writer", "invalid", "missing", "page_of"]

_SHOWN = 100  # characters of a wrong value in the refusal: enough to find it, too few to be a payload

# What v2 calls each resource in ``type``, and under which key its items are ([S]).
TYPES: Mapping[str, str] = {
    "direct_debits": "direct-debits",
    "scheduled_payments": "scheduled-payments",
    "standing_orders": "standing-orders",
}
ITEMS: Mapping[str, str] = {"identity": "identities"}

MESSAGES: Mapping[str, str] = {
    "BANK_ISSUE": "The bank has technical difficulties at the moment. Please try again later.",
    "CONSENT_EXPIRED": "The consent was suspended, revoked or has expired. Please connect the entity again.",
    "CUSTOMER_ALREADY_EXISTS": "A customer with this app_user_id exists already.",
    "DISABLED_BY_LEAN": "The bank is not available at the moment.",
    "DUPLICATED_REQUEST": "An identical request is already pending.",
    "EU_ACCOUNT_LOCKED": "The bank has locked the account. The user must unlock it there.",
    "INTERNAL_SERVER_ERROR": "Something has gone wrong. Please contact Lean if it continues.",
    "INVALID_HTTP_METHOD": "This method is not allowed for this URL.",
    "INVALID_URL": "This URL is not known.",
    "RATE_LIMIT_EXCEEDED": "Too many requests. Please slow down.",
    "UNAUTHORIZED": "The token is missing, wrong or has expired.",
    "INCORRECT_ACCESS_LEVEL": "The token's scope does not allow this call.",
    "UNKNOWN_CONSENT": "There is no such consent.",
    "UNKNOWN_ACCOUNT": "The account_id is not one of the entity's accounts.",
    "UNKNOWN_CUSTOMER": "There is no such customer.",
    "UNKNOWN_ENTITY": "The entity_id is not known.",
    "UNKNOWN_REFRESH_ID": "The refresh_id is not known.",
    "UNKNOWN_RESULTS_ID": "The results_id is not known, or has not been processed yet.",
    "USER_PERMISSIONS_NOT_GRANTED": "The user has not granted the permission that this call needs.",
}

PENDING_MESSAGE = "The data is on its way: wait for the webhook, or ask again later."
RECONNECT_MESSAGE = "The bank needs the user. Reconnect with the reconnect_id."
OK_MESSAGE = "The data was retrieved."


@attrs.frozen(kw_only=True)
class Refused(Exception):
    """An HTTP error in Lean's error envelope, raised by whoever finds it and written by whoever answers."""

    status: int
    code: str
    message: str | None = None
    results_id: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)


def invalid(name: str, value: object) -> Refused:
    """Return the refusal of a parameter of the wrong kind."""
    said = f"{value}"
    shown = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
    message = f"The request is badly formed or a parameter is wrong, field: {name}, value: {shown}."
    return Refused(status=400, code="INVALID_PARAMETERS", message=message)


def missing(name: str) -> Refused:
    """Return the refusal of a call that lacks a parameter."""
    return Refused(status=400, code="MISSING_PARAMETERS", message=f"A parameter is missing, field: {name}.")


def page_of(number: int, size: int, total: int) -> dict[str, int]:
    """Return Lean's page object; pages count from 0."""
    return {"number": number, "size": size, "total_elements": total, "total_pages": -(-total // size)}


def _type_of(wanted: Wanted) -> str:
    return TYPES.get(wanted.resource.value, wanted.resource.value)


class Writer:
    """Writes answers at one time. The correlation id follows from the number of the call.

    Args:
        now: the time of the answers.
        number: of the call.
        seed: of the Mockbank.

    Attributes:
        of_results: whether they answer ``GET results``: then PENDING is 200, and ``type`` is always there ([S]).
    """

    def __init__(self, now: datetime, number: int, seed: int) -> None:
        self.now = now
        self.of_results = False
        self._headers = {
            "content-type": "application/json",
            "date": http_date(now),
            "lean-correlation-id": derived_id(seed, "correlation", number),
            "lean-trace-id": derived_id(seed, "trace", number).replace("-", ""),
        }

    def json(self, body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """Return any body as JSON."""
        return Answer(status=status, headers={**self._headers, **(headers or {})}, body=to_bytes(body))

    def html(self, status: int) -> Answer:
        """Return a page that a proxy in front of the API would send."""
        page = f"<!DOCTYPE html><html><head><title>{status}</title></head><body><h1>Error {status}</h1></body></html>"
        return Answer(
            status=status, headers={"content-type": "text/html", "date": self._headers["date"]}, body=page.encode()
        )

    def refused(self, refusal: Refused) -> Answer:
        """Return Lean's error envelope."""
        body: dict[str, Any] = {} if refusal.results_id is None else {"results_id": refusal.results_id}
        body |= {
            "timestamp": nano(self.now),
            "status": refusal.code,
            "message": refusal.message or MESSAGES.get(refusal.code, refusal.code),
            "metadata": None,
        }
        return self.json(body, refusal.status, refusal.headers)

    def pending(self, result: Result, status: int = 202) -> Answer:
        """Return PENDING. v1 always says so under 200."""
        status = 200 if self.of_results or result.wanted.api == "v1" else status
        return self._waiting(result, "PENDING", PENDING_MESSAGE, status)

    def reconnect(self, result: Result) -> Answer:
        """Return RECONNECT_REQUIRED: in v1 the id is in the payload, in v2 it is the results id."""
        return self._waiting(result, "RECONNECT_REQUIRED", RECONNECT_MESSAGE, 200)

    def _waiting(self, result: Result, status: str, message: str, http: int) -> Answer:
        if result.wanted.api == "v1":
            payload = {"reconnect_id": result.reconnect_id, "type": "reconnect"}
            body = {
                "status": status,
                "payload": payload if status == "RECONNECT_REQUIRED" else None,
                "results_id": result.results_id,
                "message": message,
                "timestamp": micro(self.now),
            }
            return self.json(body, http)
        body = {**self._envelope(status, result.results_id, message, result.wanted.meta), "data": None}
        return self.json({**body, "type": self._type(result.wanted), "refreshed_at": None}, http)

    def _type(self, wanted: Wanted | None) -> str | None:
        return _type_of(wanted) if self.of_results and wanted is not None else None

    def failed(
        self,
        api: str,
        results_id: str,
        code: str,
        info: str | None = None,
        *,
        http: int = 200,
        status: str = "FAILED",
        wanted: Wanted | None = None,
    ) -> Answer:
        """Return a refusal in the data envelope; in v2 without ``data``."""
        message = MESSAGES.get(code, "The request has failed.")
        detail: dict[str, str | None] = {
            "granular_status_code": code,
            "status_additional_info": info if info is not None else message,
        }
        if status != "FAILED":
            detail = {"granular_status_code": None, "status_additional_info": None}
        if api == "v1":
            body = {
                "status": status,
                "payload": None,
                "results_id": results_id,
                "message": message,
                "timestamp": micro(self.now),
                "status_detail": detail,
            }
            return self.json(body, http)
        meta = wanted.meta if wanted is not None else None
        body = {**self._envelope(status, results_id, message, meta), "status_detail": detail}
        return self.json({**body, "type": self._type(wanted), "refreshed_at": None}, http)

    def data_v1(self, results_id: str, payload: Mapping[str, Any]) -> Answer:
        """Return v1 data."""
        body = {
            "status": "OK",
            "payload": payload,
            "results_id": results_id,
            "message": OK_MESSAGE,
            "timestamp": micro(self.now),
        }
        return self.json(body)

    def data_v2(
        self, wanted: Wanted, results_id: str, items: Written, page: Mapping[str, int], as_of: datetime
    ) -> Answer:
        """Return one page of v2 data."""
        resource = wanted.resource.value
        kind = _type_of(wanted)
        data: dict[str, Any] = {"type": kind, ITEMS.get(resource, resource): items, "page": page}
        if resource == "identities":
            data["account_id"] = wanted.account_id
        body = {**self._envelope("OK", results_id, OK_MESSAGE, wanted.meta), "data": data, "type": kind}
        return self.json({**body, "refreshed_at": nano(as_of)})

    def _envelope(self, status: str, results_id: str, message: str, meta: Mapping[str, str] | None) -> dict[str, Any]:
        return {
            "status": status,
            "results_id": results_id,
            "message": message,
            "meta": meta,
            "timestamp": nano(self.now),
            "status_detail": None,
        }
