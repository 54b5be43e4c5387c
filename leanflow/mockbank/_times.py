"""Times as Lean writes them, and the few formats that its clients send."""

from __future__ import annotations

from datetime import UTC, date, datetime

__all__ = ["http_date", "micro", "milli", "nano", "parse_date", "parse_moment", "spaced"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def micro(moment: datetime) -> str:
    """Return a time with six fractional digits, as in webhooks."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def nano(moment: datetime) -> str:
    """Return a time with nine fractional digits, as in the envelopes of the Data API."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def milli(moment: datetime) -> str:
    """Return a time with three fractional digits, as in bank data."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def spaced(moment: datetime) -> str:
    """Return a time with a space and no zone, as in the paged list of entities."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def http_date(moment: datetime) -> str:
    """Return a time for the ``Date`` header; written by hand because `strftime` speaks the machine's language."""
    t = moment.astimezone(UTC)
    return f"{_DAYS[t.weekday()]}, {t.day:02} {_MONTHS[t.month - 1]} {t.year} {t:%H:%M:%S} GMT"


def parse_date(text: str) -> date | None:
    """Return the date of ``YYYY-MM-DD``, or None if it is not one."""
    if len(text) != 10:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def parse_moment(text: str) -> datetime | None:
    """Return the time of an ISO 8601 text (UTC if it has no zone), or None if it is not one."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
