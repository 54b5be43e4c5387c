"""What Lean may say, as raw bytes: times, webhooks and answers in all the shapes that were documented or captured."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from leanflow import calls
from leanflow._call import Answer, Call
from leanflow._request import Resource
from leanflow.events import Source
from leanflow.testing._webhooks import SHAPES

__all__ = ["ANSWERS", "answers", "calls_to_lean", "times", "webhooks"]

_WORDS = st.text(string.ascii_letters + string.digits + " .,-'\u00c4\u00d6\u0627\u0644", max_size=30)
_IDS = st.uuids(version=4).map(str)


# --- times -------------------------------------------------------------------------------------------------------

_ZONES = ("Z", "+00:00", "+03:00", "+04:00", "-05:30")
_DAYS = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31))  # noqa: DTZ001 - the zone is drawn with the text


@st.composite
def times(draw: st.DrawFn) -> str:
    """Return times as Lean writes them: 0 to 9 fractional digits, ``Z`` or an offset, or a space and no zone at all."""
    moment = draw(_DAYS)
    digits = draw(st.sampled_from([0, 3, 5, 6, 7, 9]))
    fraction = f".{draw(st.integers(0, 10**digits - 1)):0{digits}}" if digits else ""
    if draw(st.integers(0, 9)) == 0:
        return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{draw(st.sampled_from(_ZONES))}"


def _bytes(draw: st.DrawFn, body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON: its members in any order, with or without white space, escapes or a new line."""
    told = {name: body[name] for name in draw(st.permutations(list(body)))}
    text = json.dumps(
        told, ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    )
    return (text + draw(st.sampled_from(["", "\n"]))).encode()


# --- webhooks ----------------------------------------------------------------------------------------------------

_KNOWN = st.sampled_from(list(SHAPES))
_UNKNOWN = st.from_regex(r"[a-z]{3,10}(_[a-z]{3,8})?\.[a-z]{3,10}", fullmatch=True).filter(lambda t: t not in SHAPES)


@st.composite
def webhooks(draw: st.DrawFn, *, kinds: Sequence[str] | None = None, payload: Mapping[str, Any] | None = None) -> bytes:
    """Return webhooks that are well-formed.

    Args:
        draw: hypothesis gives it.
        kinds: the types; None: those that Lean documents, and some that nobody knows.
        payload: members that the payload must have, as the ids of a request of yours.
    """
    kind = draw(st.sampled_from(kinds) if kinds is not None else st.one_of(_KNOWN, _KNOWN, _KNOWN, _UNKNOWN))
    shape = dict(SHAPES.get(kind, {}))
    for name, value in shape.items():
        if (name == "id" or name.endswith("_id")) and isinstance(value, str):
            shape[name] = draw(_IDS)
    if draw(st.booleans()):
        shape["new_field"] = draw(st.none() | st.integers() | _WORDS)
    body: dict[str, Any] = {"type": kind, "payload": {**shape, **(payload or {})}}
    for name, values in (("event_id", _IDS), ("timestamp", times()), ("message", _WORDS | st.none())):
        if draw(st.integers(0, 3)):  # each of them is missing in some example of Lean's
            body[name] = draw(values)
    return _bytes(draw, body)


# --- answers -----------------------------------------------------------------------------------------------------

_FINAL = ("DATA_NOT_FOUND", "EU_ACCOUNT_LOCKED", "USER_PERMISSIONS_NOT_GRANTED", "DISABLED_BY_CLIENT")
_PASSING = ("BANK_ISSUE", "BANK_MAINTENANCE", "LEAN_ERROR", "UNSEEN_BANK_ERROR", "LOGGED_IN_ELSEWHERE", "TIMEOUT")
_HTTP = (
    (400, "INVALID_PARAMETERS"),
    (401, "CERTIFICATE_TOKEN_MISMATCH"),
    (403, "INCORRECT_ACCESS_LEVEL"),
    (404, "UNKNOWN_ENTITY"),
    (404, "UNKNOWN_RESULTS_ID"),
    (408, "TIMEOUT"),
    (429, "RATE_LIMIT_EXCEEDED"),
    (500, "INTERNAL_SERVER_ERROR"),
    (503, "INTERNAL_SERVER_ERROR"),
)
_NO_JSON = (b"<html><body>502 Bad Gateway</body></html>", b"", b"upstream connect error", b"null", b"[]")

_Fields = dict[str, Any]


def _is_v1(call: Call) -> bool:
    return "/v1/" in call.path


def _is_refresh(call: Call) -> bool:
    return "/refreshes" in call.path


def _envelope(draw: st.DrawFn, call: Call, status: str, **more: Any) -> _Fields:
    name = "refresh_id" if _is_refresh(call) else "results_id"
    body: _Fields = {"status": status, name: draw(_IDS), "message": draw(_WORDS), "timestamp": draw(times()), **more}
    if not _is_v1(call) and not _is_refresh(call):
        body |= {"meta": None, "status_detail": draw(st.sampled_from([None, {}]))} | more
    if draw(st.booleans()):
        body["new_field"] = draw(st.none() | _WORDS)
    if status not in ("PENDING", "RECONNECT_REQUIRED"):  # there the id is all that matters
        for optional in (name, "message", "timestamp"):
            if _is_v1(call) and draw(st.booleans()):
                del body[optional]
    return body


def _ok(draw: st.DrawFn, call: Call) -> tuple[int, _Fields]:
    if _is_refresh(call):
        parts = {"accounts": draw(st.sampled_from(["OK", "FAILED", "UNSUPPORTED"])), "account_data": []}
        return 200, _envelope(draw, call, draw(st.sampled_from(["FINISHED", "OK"])), data_status=parts)
    kind = call.path.rsplit("/", 1)[-1]
    items = [{"id": draw(_IDS), "amount": 375.11} for _ in range(draw(st.integers(0, 2)))]
    data: _Fields = {"type": kind, kind: items}
    if _is_v1(call):
        return 200, _envelope(draw, call, "OK", payload=data)
    number = int(call.query.get("page", "0"))
    data["page"] = {"number": number, "size": 50, "total_elements": len(items), "total_pages": number + 1}
    return 200, _envelope(draw, call, "OK", data=data)


def _pending(draw: st.DrawFn, call: Call) -> tuple[int, _Fields]:
    status = "PENDING" if draw(st.integers(0, 4)) else "PROCESSING_STARTED"
    return draw(st.sampled_from([200, 202])), _envelope(draw, call, status, data=None)


def _reconnect(draw: st.DrawFn, call: Call) -> tuple[int, _Fields]:
    body = _envelope(draw, call, "RECONNECT_REQUIRED")
    if _is_v1(call):
        body["payload"] = {"type": "reconnect", "reconnect_id": draw(_IDS)}
    elif _is_refresh(call):
        body["reconnect_id"] = body["refresh_id"]
    else:
        body["data"] = None
    return 200, body


def _failed(draw: st.DrawFn, call: Call) -> tuple[int, _Fields]:
    code = draw(st.sampled_from(_FINAL + _PASSING) | st.from_regex(r"[A-Z]{4,12}_[A-Z]{4,12}", fullmatch=True))
    detail = {"granular_status_code": code, "status_additional_info": draw(st.none() | _WORDS)}
    return 200, _envelope(draw, call, "FAILED", status_detail=detail)


def _consent(draw: st.DrawFn, call: Call) -> tuple[int, _Fields]:
    """Return one fact in its three shapes."""
    shape = draw(st.integers(0, 2))
    if shape == 0:
        return 403, _error(draw, "CONSENT_EXPIRED")
    if shape == 1:
        return 200, _envelope(draw, call, "CONSENT_EXPIRED")
    detail = {"granular_status_code": "CONSENT_EXPIRED"}
    return 403, {**_error(draw, "FAILED"), "status_detail": detail}


def _duplicated(draw: st.DrawFn, call: Call) -> tuple[int, _Fields]:
    if draw(st.booleans()):
        return 429, _error(draw, "DUPLICATED_REQUEST")
    return 200, _envelope(draw, call, "FAILED", status_detail={"granular_status_code": "DUPLICATED_REQUEST"})


def _http(draw: st.DrawFn, _call: Call) -> tuple[int, _Fields]:
    status, code = draw(st.sampled_from(_HTTP))
    return status, _error(draw, code)


def _unknown(draw: st.DrawFn, call: Call) -> tuple[int, _Fields]:
    status = draw(st.from_regex(r"[A-Z]{5,12}_NOBODY_KNOWS", fullmatch=True))
    return draw(st.sampled_from([200, 202])), _envelope(draw, call, status, data={"accounts": []})


def _error(draw: st.DrawFn, status: str) -> _Fields:
    return {"timestamp": draw(times()), "status": status, "message": draw(_WORDS), "metadata": None}


ANSWERS: Mapping[str, Callable[[st.DrawFn, Call], tuple[int, _Fields]]] = MappingProxyType(
    {
        "ok": _ok,
        "pending": _pending,
        "reconnect_required": _reconnect,
        "failed": _failed,
        "consent_expired": _consent,
        "duplicated": _duplicated,
        "http_error": _http,
        "unknown_status": _unknown,
    }
)
"""The kinds of answers that are JSON."""


@st.composite
def calls_to_lean(draw: st.DrawFn) -> Call:
    """Return calls whose answers move a request: placements in v1 and v2, GETs of results and of refreshes."""
    resource = draw(st.sampled_from([Resource.accounts, Resource.identity]))
    kind, api = draw(st.sampled_from(list(Source))), draw(st.sampled_from(["v1", "v2"]))
    if kind is Source.refresh:
        return calls.get_refresh(draw(_IDS))
    if kind is Source.results:
        return calls.get_results(draw(_IDS), api=api)
    return calls.data(resource, draw(_IDS), api=api)


@st.composite
def answers(draw: st.DrawFn, call: Call, *, kinds: Sequence[str] | None = None) -> Answer:
    """Return what Lean, or a proxy before it, may answer to a call.

    Args:
        draw: hypothesis gives it.
        call: what was asked.
        kinds: of `ANSWERS`, and ``no_json``; None: any.
    """
    kind = draw(st.sampled_from(list(kinds) if kinds is not None else [*ANSWERS, "no_json"]))
    headers = {"content-type": "application/json"}
    if draw(st.booleans()):
        headers["lean-correlation-id"] = draw(_IDS)
    if kind == "no_json":
        status = draw(st.sampled_from([200, 403, 429, 500, 502, 503]))
        return Answer(status=status, headers={"content-type": "text/html"}, body=draw(st.sampled_from(_NO_JSON)))
    status, body = ANSWERS[kind](draw, call)
    if status in (408, 429, 500, 503) and draw(st.booleans()):
        headers["retry-after"] = str(draw(st.integers(0, 7200)))
    return Answer(status=status, headers=headers, body=_bytes(draw, body))
