"""Times as Lean writes them, and the few formats that its clients send."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

__all__ = ["http_date", "micro", "milli", "nano", "parse_date", "parse_moment", "spaced"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOMENT = re.compile(_DATE.pattern + r"[Tt][0-9:]{8}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII)


def _iso(moment: datetime, digits: str) -> str:
    return moment.astimezone(UTC).isoformat(timespec=digits)[:-6]  # less +00:00; half as long as `strftime` takes


def micro(moment: datetime) -> str:
    """Return a time with six fractional digits, as in webhooks."""
    return _iso(moment, "microseconds") + "Z"


def nano(moment: datetime) -> str:
    """Return a time with nine fractional digits, as in the envelopes of the Data API."""
    return _iso(moment, "microseconds") + "000Z"


def milli(moment: datetime) -> str:
    """Return a time with three fractional digits, as in bank data."""
    return _iso(moment, "milliseconds") + "Z"


def spaced(moment: datetime) -> str:
    """Return a time with a space and no zone, as in the paged list of entities."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def http_date(moment: datetime) -> str:
    """Return a time for the ``Date`` header; written by hand because `strftime` speaks the machine's language."""
    t = moment.astimezone(UTC)
    return (
        f"{_DAYS[t.weekday()]}, {t.day:02} {_MONTHS[t.month - 1]} {t.year} {t.hour:02}:{t.minute:02}:{t.second:02} GMT"
    )


def parse_date(text: str) -> date | None:
    """Return the date of ``YYYY-MM-DD``, or None if it is not one."""
    if _DATE.fullmatch(text) is None:  # `fromisoformat` also takes weeks
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def parse_moment(text: str) -> datetime | None:
    """Return the time of RFC 3339, which has a zone, or None if it is not one."""
    if _MOMENT.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None
