"""Read and write times as Lean writes them.

Seen on the wire: 3, 5, 6, 7 and 9 fractional digits with ``Z``, offsets as ``+03:00``, and a space with no zone at
all, which means UTC. Everything becomes an aware UTC datetime, digits beyond microseconds cut off.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from leanflow.errors import InvalidRequest

__all__ = ["format_time", "parse_http_date", "parse_retry_after", "parse_time"]

# fromisoformat alone takes week dates, bare dates and more, which no time of Lean's is.
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,12}))? ?([Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_HTTP_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4})"
    r" (\d\d):(\d\d):(\d\d) GMT",
    re.ASCII,
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)


def parse_time(text: Any) -> datetime | None:
    """Return a time of Lean's as aware UTC, or None.

    None for everything that is no such time: an unreadable timestamp must never cost a webhook.
    """
    if type(text) is not str:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    micros = (fraction or "0")[:6].ljust(6, "0")
    offset = "+00:00" if zone is None or zone in "Zz" else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{micros}{offset}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # no such day; or an offset that leads out of the calendar
        return None


def format_time(moment: datetime) -> str:
    """Return an aware time as Lean's API takes it: UTC, microseconds, ``Z``.

    Raises:
        InvalidRequest: it has no time zone.
    """
    if moment.tzinfo is None:
        raise InvalidRequest("time", f"{moment.isoformat()} has no time zone; give an aware datetime")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_http_date(text: str | None) -> datetime | None:
    """Return the time of an HTTP date in the one form that may be sent (RFC 9110, IMF-fixdate), or None."""
    match = _HTTP_DATE.fullmatch(text) if text else None
    if match is None:
        return None
    day, month, year, hour, minute, second = match.groups()
    try:
        return datetime(int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        return None


def parse_retry_after(text: str | None, date: str | None) -> float | None:
    """Return how many seconds to wait, or None if that cannot be told.

    Args:
        text: the ``Retry-After`` header: whole seconds, or an HTTP date.
        date: the ``Date`` header of the same answer: a date is counted from it, not from any clock of ours.
    """
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    until, sent = parse_http_date(text), parse_http_date(date)
    if until is None or sent is None:
        return None
    return max(0.0, (until - sent).total_seconds())
