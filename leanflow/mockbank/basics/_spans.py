"""Spans of time as scenarios and settings write them: seconds, or ``HH:MM:SS``."""

from __future__ import annotations

import re
from datetime import timedelta

from leanflow.errors import InvalidRequest

__all__ = ["as_span", "told_span"]

_CLOCK = re.compile(r"(?:(\d{1,5})d ?)?(?:(\d{1,4}):([0-5]\d):([0-5]\d(?:\.\d{1,6})?))?")


def as_span(name: str, value: object) -> timedelta:
    """Return a span of time: seconds, ``"HH:MM:SS"``, or days before it as ``"30d"`` and ``"1d 12:00:00"``.

    Raises:
        InvalidRequest: it is none.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**10:
        return timedelta(seconds=value)
    found = _CLOCK.fullmatch(value) if isinstance(value, str) and value else None
    if found is None:
        raise InvalidRequest(name, f'is {value!r}; must be a number of seconds, "HH:MM:SS" or "30d"')
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def told_span(span: timedelta) -> float | int:
    """Return a span of time as seconds."""
    seconds = span.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds
