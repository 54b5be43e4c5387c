"""The Events API: everything that was sent over webhooks in the past 90 days."""

from __future__ import annotations

from datetime import datetime

from leanflow._call import Answer

from ._answers import page_of
from ._ask import Ask, invalid
from ._times import micro, parse_moment

__all__ = ["events"]


def _moment(ask: Ask, name: str) -> datetime | None:
    text = ask.call.query.get(name)
    if text is None:
        return None
    found = parse_moment(text.replace(" ", "+"))  # a "+" that was sent unquoted arrives as a space
    if found is None:
        raise invalid(name, text)
    return found


def events(ask: Ask) -> Answer:
    """Answer ``GET /events/v1``: ``page`` and ``size`` are required, ``from``, ``to`` and ``type`` filter."""
    number, size = ask.whole("page", None), ask.whole("size", None, least=1, most=100)
    start, end, kind = _moment(ask, "from"), _moment(ask, "to"), ask.call.query.get("type")
    found = [
        event
        for event in ask.world.webhooks.events(ask.now)
        if (start is None or event.at >= start) and (end is None or event.at <= end) and kind in (None, event.type)
    ]
    if ask.world.settings.events_newest_first:
        found.reverse()
    shown = [
        {
            "payload": event.payload,
            "type": event.type,
            "message": event.message,
            "timestamp": micro(event.at),
            "event_id": event.event_id,
        }
        for event in found[number * size : (number + 1) * size]
    ]
    return ask.write.json({"data": shown, "page": page_of(number, size, len(found))})
