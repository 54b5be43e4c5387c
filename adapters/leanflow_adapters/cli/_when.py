"""Times on the command line: a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

__all__ = ["long_ago", "told", "when"]

_AGO = re.compile(r"(\d+)([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHORT = ("seconds", "minutes")


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


def long_ago(ctx: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """Return the same for what deletes: whoever writes 6m means months, and would lose all but the last minutes."""
    ago = None if text is None else _AGO.fullmatch(text)
    if ago is not None and (unit := _UNITS[ago[2]]) in _SHORT:
        raise click.BadParameter(f"{ago[2]} is {unit}: write 180d or 26w, or the time, as 2026-01-31T08:00:00Z")
    return when(ctx, parameter, text)


def told(moment: datetime) -> str:
    """Return a moment as text, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
