"""The Events API: everything that was sent over webhooks in the past 90 days."""

from __future__ import annotations

from datetime import datetime

from leanflow._call import Answer
from leanflow.mockbank.basics._times import micro, parse_moment

from ._answers import invalid, page_of
from ._ask import Ask

__all__ = ["EVENT_TYPES", "events"]

# Which types the Events API can be asked for ([S]). Lean sends more: those are only found by asking without a type.
EVENT_TYPES = (
    "results.ready",
    "entity.created",
    "entity.updated",
    "entity.reconnected",
    "payment.created",
    "payment.updated",
    "payment_intent.created",
    "payment_intent.expired",
    "payment_source.created",
    "payment_source.updated",
    "payment_source.beneficiary.created",
    "payment_source.beneficiary.updated",
    "bank.availability.updated",
    "payment.reconciliation.updated",
    "bulk_payment_intent.created",
    "bulk_payment_intent.updated",
)


def _moment(ask: Ask, name: str) -> datetime | None:
    return parse_moment(ask.query[name]) if name in ask.query else None


def events(ask: Ask) -> Answer:
    """Answer ``GET /events/v1``: ``from``, ``to`` and ``type`` filter."""
    number, size = ask.page()
    start, end, kind = _moment(ask, "from"), _moment(ask, "to"), ask.query.get("type")
    if start is not None and end is not None and start > end:
        raise invalid("from", ask.query["from"])
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
