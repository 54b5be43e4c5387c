"""What a Mockbank was asked and what it sent: a bounded log, and counts that go on."""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime

import attrs

from .adversary._faults import Context
from .basics._memory import thin

__all__ = ["CallRecord", "Log", "WebhookRecord"]

_Call = tuple[str, str | None, str]  # kind, resource, method


@attrs.frozen(kw_only=True)
class CallRecord:
    """One call that came in.

    Attributes:
        http_status: None if the connection was cut.
        status: Lean's own word in the body, if it has one.
        fault: the effect that struck, if one did.
    """

    at: datetime
    context: Context
    http_status: int | None
    status: str | None
    fault: str | None = None


@attrs.frozen(kw_only=True)
class WebhookRecord:
    """One attempt to deliver a webhook, or (`dropped`) one that was never made.

    Attributes:
        status: what the receiver answered; None: nothing in time.
        disturbed: what struck it, as ``copies+delay``; None: nothing did.
    """

    at: datetime
    type: str
    event_id: str
    attempt: int
    status: int | None
    forged: bool = False
    dropped: bool = False
    disturbed: str | None = None


class Log:
    """The last calls and deliveries, and how many there were in all.

    Args:
        size: how many of each are kept.
    """

    def __init__(self, size: int) -> None:
        self.calls: deque[CallRecord] = deque(maxlen=size)
        self.webhooks: deque[WebhookRecord] = deque(maxlen=size)
        self.total_calls = 0
        self._size = size
        self._calls: Counter[_Call] = Counter()
        self._calls_of: dict[str, Counter[_Call]] = {}
        self._webhooks: Counter[tuple[str, int | None]] = Counter()

    def call(self, record: CallRecord) -> None:
        """Add a call."""
        self.calls.append(record)
        self.total_calls += 1
        context = record.context
        key = (context.kind, context.resource, context.method)
        self._calls[key] += 1
        if context.entity_id is not None:
            counts = self._calls_of.pop(context.entity_id, Counter())
            counts[key] += 1
            self._calls_of[context.entity_id] = counts  # at the end: the one called last is the last to be forgotten
            thin(self._calls_of, self._size)

    def webhook(self, record: WebhookRecord) -> None:
        """Add a delivery."""
        self.webhooks.append(record)
        if not record.dropped:
            self._webhooks[(record.type, record.status)] += 1

    def count(
        self,
        kind: str | None = None,
        *,
        resource: str | None = None,
        entity_id: str | None = None,
        method: str | None = None,
    ) -> int:
        """Return how many calls came in; None means any. Of as many entities as the log's size it knows them apart."""
        wanted = (kind, resource, method)
        calls = self._calls if entity_id is None else self._calls_of.get(entity_id, Counter())
        return sum(
            number
            for key, number in calls.items()
            if all(want is None or want == has for want, has in zip(wanted, key, strict=True))
        )

    def delivered(self, kind: str | None = None, *, status: int | None = None) -> int:
        """Return how many deliveries were attempted; None means any."""
        return sum(
            number for (has, code), number in self._webhooks.items() if kind in (None, has) and status in (None, code)
        )

    def counts(self) -> dict[str, int]:
        """Return how many calls of each kind came in."""
        found: Counter[str] = Counter()
        for (kind, _, _), number in self._calls.items():
            found[kind] += number
        return dict(found)
