"""The lines that `leanflow serve` and `leanflow worker` log."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from leanflow_adapters.cli._logs import Lines


def line(**facts: Any) -> str:
    """Return what is logged, without its time."""
    record = logging.makeLogRecord({"name": "leanflow.engine", "levelname": "INFO", "msg": "declined", **facts})
    return Lines().format(record).split(" ", 2)[2]


def test_what_a_record_carries_is_in_its_line() -> None:
    """In one order; what does not apply is left out."""
    facts = {"declined": "stale", "request_id": "019b7975", "reference": "user-17", "state": "fetched", "tries": None}
    assert line(**facts) == (
        "INFO leanflow.engine: declined request_id=019b7975 reference=user-17 state=fetched declined=stale"
    )
    assert line() == "INFO leanflow.engine: declined"
    assert line(due_at=datetime(2026, 1, 31, 8, tzinfo=UTC)) == (
        'INFO leanflow.engine: declined due_at="2026-01-31 08:00:00Z"'
    )


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("a b", '"a b"'),
        ("a\nERROR forged", r'"a\nERROR forged"'),
        ('a"', r'"a\""'),
        ("a\x1b", r'"a\u001b"'),
        ("", '""'),
    ],
)
def test_no_reference_makes_a_line_of_its_own(reference: str, told: str) -> None:
    """It may hold anything: then it is quoted."""
    assert line(reference=reference).endswith(f" reference={told}")


def test_a_traceback_comes_behind_the_line() -> None:
    """As with any other formatter."""
    error = ValueError("not today")
    first, *_, last = line(request_id="1", exc_info=(ValueError, error, None)).splitlines()
    assert (first, last) == ("INFO leanflow.engine: declined request_id=1", "ValueError: not today")
