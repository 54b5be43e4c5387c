"""Answers of Lean's API, for tests of what they mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from leanflow import calls
from leanflow._call import Answer, Call
from leanflow._lean.answers import parse_answer
from leanflow._request import Resource
from leanflow.events import (
    AnsweredRefused,
)

__all__ = [
    "ACCOUNTS",
    "DATE",
    "ENTITY",
    "EVERY_CALL",
    "GET",
    "GET_V1",
    "LOOK",
    "MOMENT",
    "PAGE",
    "RECONNECT",
    "REFRESH",
    "RESULTS",
    "START",
    "TIME",
    "V1",
    "V2",
    "answer_of",
    "envelope",
    "refusal_of",
]

ENTITY = "e0000000-0000-4000-8000-000000000001"
RESULTS = "81bac9e7-e51b-45bd-b660-a7557b286642"
RECONNECT = "6222a07e-0000-4000-8000-000000000002"
REFRESH = "14ced864-13fa-481a-a785-7b6d84788aff"
TIME = "2025-09-11T19:02:04.447189646Z"
MOMENT = datetime(2025, 9, 11, 19, 2, 4, 447189, tzinfo=UTC)
DATE = "Thu, 11 Sep 2025 19:02:05 GMT"

V1 = calls.data(Resource.accounts, ENTITY, api="v1")
V2 = calls.data(Resource.accounts, ENTITY)
GET = calls.get_results(RESULTS)
GET_V1 = calls.get_results(RESULTS, api="v1")
START = calls.start_refresh(ENTITY)
LOOK = calls.get_refresh(REFRESH)
EVERY_CALL = [V1, V2, GET, GET_V1, START, LOOK]

PAGE = {"number": 0, "size": 100, "total_elements": 1, "total_pages": 1}
ACCOUNTS = {"type": "accounts", "accounts": [{"account_id": "a", "limit": 375.11}], "page": PAGE}


def envelope(**members: Any) -> dict[str, Any]:
    """Return an envelope of v2 with these members."""
    return {
        "results_id": RESULTS,
        "message": "words",
        "meta": None,
        "timestamp": TIME,
        "status_detail": None,
        **members,
    }


def answer_of(body: object, status: int = 200, **headers: str) -> Answer:
    """Return an answer with this body, as JSON unless it is bytes; underscores in names of headers are hyphens."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=raw)


def refusal_of(call: Call, answer: Answer) -> AnsweredRefused:
    """Return what such an answer means, which must be a refusal."""
    event = parse_answer(call, answer)
    assert isinstance(event, AnsweredRefused)
    return event
