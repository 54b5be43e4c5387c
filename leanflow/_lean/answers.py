"""What an answer of Lean's API means (Lean docs, Data API; statuses).

The body decides, not the HTTP status: nearly every refusal comes under HTTP 200, and PENDING under 200 or 202. Success
is the one thing that is never guessed: it takes HTTP 2xx, a status that says so, and data.

Wrong shapes, and what becomes of them:

* No JSON object at all (HTML, cut short, empty, a list): `AnsweredRefused` with code ``NOT_JSON``, the bytes kept. Lean
  did not speak; something in between did.
* HTTP 2xx, an object, and `status`, an id, the data or its page count of the wrong type: `MalformedBody`, which names
  the place. Acting on half of such an answer would be guessing.
* HTTP 4xx or 5xx, an object, anything in it of the wrong type: still `AnsweredRefused`. A refusal must not get lost
  because a gateway words it in its own way (``{"status": 503, "error": …}``).
* Words for people (`message`, `status_additional_info`, times) of the wrong type: left out.
"""

from __future__ import annotations

from typing import Any

from leanflow._call import Answer, Call
from leanflow._lean.codec import identifier, json_loads, words
from leanflow._lean.documents import (
    Consent,
    Entity,
    PageInfo,
    RefreshInfo,
    consent_lost,
    parse_customer,
    parse_entity,
    parse_events_page,
    parse_page_info,
    parse_refreshes,
)
from leanflow._lean.times import parse_http_date, parse_retry_after, parse_time
from leanflow.errors import MalformedBody
from leanflow.events import (
    AnsweredOk,
    AnsweredPending,
    AnsweredReconnect,
    AnsweredRefused,
    Page,
    Source,
)

__all__ = [
    "NOT_JSON",
    "OK_WITHOUT_DATA",
    "RECONNECT_WITHOUT_ID",
    "AnswerOutcome",
    "Consent",
    "Entity",
    "PageInfo",
    "RefreshInfo",
    "consent_lost",
    "parse_answer",
    "parse_customer",
    "parse_entity",
    "parse_events_page",
    "parse_page_info",
    "parse_refreshes",
    "source_of",
]

AnswerOutcome = AnsweredOk | AnsweredPending | AnsweredReconnect | AnsweredRefused

NOT_JSON = "NOT_JSON"
OK_WITHOUT_DATA = "OK_WITHOUT_DATA"
RECONNECT_WITHOUT_ID = "RECONNECT_REQUIRED_WITHOUT_ID"

_OK = "OK"
_RECONNECT = "RECONNECT_REQUIRED"
_PENDING = frozenset({"PENDING", "PROCESSING_STARTED"})
_REFRESHED = frozenset({"FINISHED", _OK})  # the one is documented, the other was captured
# One fact, said at the top level or in the detail: found in either place, it is the code.
_NORMALISED = ("CONSENT_EXPIRED", "DUPLICATED_REQUEST")
# Under an HTTP error these are no codes of a refusal.
_NO_REFUSALS = frozenset({_OK, "FINISHED", _RECONNECT}) | _PENDING
_MAX_CODE = 200
_MAX_PAGES = 1_000_000
_Body = dict[str, Any]


def source_of(call: Call) -> Source:
    """Return which kind of call this is: GET results, GET of one refresh, or else a placement."""
    if call.method == "GET":
        head, kind, last = ("", "", *call.path.rsplit("/", 2))[-3:]
        if kind == "results" and last and not head.endswith("/accounts"):
            return Source.results
        if kind == "refreshes" and last and not head.endswith("/accounts"):
            return Source.refresh
    return Source.placement


def parse_answer(call: Call, answer: Answer) -> AnswerOutcome:
    """Return what an answer to a data call, a refresh, or a GET of results means.

    Args:
        call: what was asked; tells results and refreshes from placements.
        answer: what came back.

    Returns:
        `AnsweredOk` with the one page that this answer is; `AnsweredPending`; `AnsweredReconnect`, which always has a
        reconnect id; or `AnsweredRefused`. Codes of leanflow's own: ``NOT_JSON``; ``OK_WITHOUT_DATA``;
        ``RECONNECT_REQUIRED_WITHOUT_ID``; and ``HTTP_<status>`` for an HTTP error that names no code or claims success.

    Raises:
        MalformedBody: Lean's own envelope has something of the wrong type that would have to be acted on.
    """
    headers = answer.headers
    facts: dict[str, Any] = {
        "source": source_of(call),
        "http_status": answer.status,
        "correlation_id": headers.get("lean-correlation-id"),
    }
    problem = "the body is no JSON object"
    try:
        body = json_loads(answer.body)
    except MalformedBody as malformed:
        body, problem = None, str(malformed)
    facts["timestamp"] = (parse_time(body.get("timestamp")) if type(body) is dict else None) or parse_http_date(
        headers.get("date")
    )
    if type(body) is not dict:
        return _refused(answer, facts, NOT_JSON, message=problem)
    if 200 <= answer.status < 300:
        return _enveloped(call, answer, body, facts)
    return _http_error(answer, body, facts)


def _enveloped(call: Call, answer: Answer, body: _Body, facts: dict[str, Any]) -> AnswerOutcome:
    status = body.get("status")
    if type(status) is not str or not status:
        raise MalformedBody("$.status", "a string")
    facts["results_id"] = identifier(body, "results_id")
    facts["refresh_id"] = identifier(body, "refresh_id")
    if status in _PENDING:
        return AnsweredPending(**facts)
    if status == _RECONNECT:
        return _reconnect(answer, body, facts, enveloped=True)
    if facts["source"] is Source.refresh:
        if status in _REFRESHED:
            return AnsweredOk(pages=(Page(raw=answer.body, correlation_id=facts["correlation_id"]),), **facts)
    elif status == _OK:
        if call.method == "POST" and call.path.endswith("/refreshes"):
            return AnsweredPending(**facts)  # taken on, not done
        return _ok(call, answer, body, facts)
    return _refused(answer, facts, _code(body, status), body=body, enveloped=True)


def _ok(call: Call, answer: Answer, body: _Body, facts: dict[str, Any]) -> AnswerOutcome:
    path, data = "$.data", body.get("data")
    if data is None:
        path, data = "$.payload", body.get("payload")
    if data is not None and type(data) is not dict:
        raise MalformedBody(path, "an object")
    # A payload of type "reconnect" carries ids for the user's way back, never data.
    if not data or data.get("type") == "reconnect":
        return _refused(answer, facts, OK_WITHOUT_DATA, body=body, enveloped=True)
    number, total = _place_among_pages(call, data, path)
    page = Page(
        raw=answer.body,
        number=number,
        correlation_id=facts["correlation_id"],
        refreshed_at=parse_time(body.get("refreshed_at")),
    )
    return AnsweredOk(pages=(page,), total_pages=total, **facts)


def _place_among_pages(call: Call, data: _Body, path: str) -> tuple[int, int]:
    """Return the page's number and how many there are.

    A page other than the one asked for is refused: storing the first one again and again would look like success.
    """
    asked = call.query.get("page", "0")
    wanted = int(asked) if asked.isdecimal() else 0
    page = data.get("page")
    if page is None:
        if wanted:
            raise MalformedBody(f"{path}.page", f"the number of the page asked for, {wanted}")
        return 0, 1
    if type(page) is not dict:
        raise MalformedBody(f"{path}.page", "an object")
    total, number = page.get("total_pages"), page.get("number")
    if total is None:
        total = 1
    if type(total) is not int or not 0 <= total <= _MAX_PAGES:
        raise MalformedBody(f"{path}.page.total_pages", f"a whole number from 0 to {_MAX_PAGES}")
    if (number is None and wanted) or (number is not None and (type(number) is not int or number != wanted)):
        raise MalformedBody(f"{path}.page.number", f"the number of the page asked for, {wanted}")
    return wanted, max(total, 1)


def _reconnect(answer: Answer, body: _Body, facts: dict[str, Any], *, enveloped: bool) -> AnswerOutcome:
    """Read the reconnect id in the order of Lean's shapes: top level, v1's payload, v2's results id, a refresh's id."""
    found = identifier(body, "reconnect_id")
    for name in ("payload", "data"):
        inner = body.get(name)
        if inner is not None and type(inner) is not dict:
            raise MalformedBody(f"$.{name}", "an object or null")
        if found is None and inner:
            found = identifier(inner, "reconnect_id", f"$.{name}")
    found = found or facts["results_id"] or facts["refresh_id"]
    if found is None:
        return _refused(answer, facts, RECONNECT_WITHOUT_ID, body=body, enveloped=enveloped)
    return AnsweredReconnect(reconnect_id=found, **facts)


def _http_error(answer: Answer, body: _Body, facts: dict[str, Any]) -> AnswerOutcome:
    status = body.get("status")
    facts["results_id"] = _tolerated(body, "results_id")
    facts["refresh_id"] = _tolerated(body, "refresh_id")
    if status == _RECONNECT and 400 <= answer.status < 500:  # the HTTP status of this one is documented nowhere
        return _reconnect(answer, body, facts, enveloped=False)
    code = _code(body, status if type(status) is str else "")
    if not code or code in _NO_REFUSALS:
        code = f"HTTP_{answer.status}"
    return _refused(answer, facts, code, body=body)


def _tolerated(body: _Body, name: str) -> str | None:
    try:
        return identifier(body, name)
    except MalformedBody:
        return None


def _code(body: _Body, status: str) -> str:
    detail = body.get("status_detail")
    granular = detail.get("granular_status_code") if type(detail) is dict else None
    for known in _NORMALISED:
        if known in (status, granular):
            return known
    return words(granular, _MAX_CODE) or words(status, _MAX_CODE)


def _refused(
    answer: Answer,
    facts: dict[str, Any],
    code: str,
    *,
    body: _Body | None = None,
    message: str = "",
    enveloped: bool = False,
) -> AnsweredRefused:
    info = None
    if body is not None:
        message = words(body.get("message"))
        detail = body.get("status_detail")
        info = words(detail.get("status_additional_info")) if type(detail) is dict else None
    return AnsweredRefused(
        code=code,
        message=message,
        info=info or None,
        enveloped=enveloped,
        retry_after=parse_retry_after(answer.headers.get("retry-after"), answer.headers.get("date")),
        raw=answer.body,
        **facts,
    )
