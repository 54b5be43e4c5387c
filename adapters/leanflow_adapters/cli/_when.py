"""Times on the command line: a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

__all__ = ["when"]

_AGO = re.compile(r"(\d+)([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def when(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    """Return the moment that an option names: a callback for click."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise click.BadParameter("write a time, as 2026-01-31T08:00:00Z, or how long ago, as 90m, 6h or 3d") from None
    if moment.tzinfo is None:
        raise click.BadParameter("write the time zone too, as in 2026-01-31T08:00:00Z")
    return moment
