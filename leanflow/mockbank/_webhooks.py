"""Webhooks: made, disturbed, signed, sent on Lean's schedule, and remembered for the Events API.

Theory of operation. `Webhooks.emit` makes one event and one *delivery* for each copy of it. A delivery is due at a
time; whoever sends (a shell, or `deliver` in a test) asks for what is due, sends it and says what came back. Exactly
200 within 10 s ends a delivery; anything else makes it due again 1, 2, 5, 10, 60 and 180 minutes after its first
attempt (Lean docs, Webhooks: seven attempts in all). Each attempt sends the same bytes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from leanflow._lean.signature import HEADER, sign

from ._log import Log, WebhookRecord
from ._settings import Settings
from .adversary._adversary import Adversary
from .adversary._disturbances import Disturbance, Subject
from .basics._dice import Ids
from .basics._json import to_bytes
from .basics._memory import thin
from .basics._times import micro, nano

__all__ = ["ATTEMPT_LIMIT", "RETRIES", "Delivery", "SentEvent", "Webhooks"]

RETRIES = tuple(timedelta(minutes=m) for m in (1, 2, 5, 10, 60, 180))  # after the first attempt (Lean docs, Webhooks)
_NOBODY = Subject()
ATTEMPT_LIMIT = timedelta(seconds=10)  # an answer later than this is none


@attrs.frozen(kw_only=True)
class Delivery:
    """One attempt to deliver one copy of a webhook.

    Attributes:
        id: of this copy; it stays the same for all attempts.
        url: where webhooks go at present; empty if nowhere.
        headers: with ``lean-signature``.
        body: the same bytes at each attempt.
        attempt: from 1.
        lane: deliveries of one lane are sent one after the other, as far as they are due.
        early: to be sent before the answer of the call that caused it.
    """

    id: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    attempt: int
    type: str
    event_id: str
    lane: str
    early: bool = False
    forged: bool = False


@attrs.define(kw_only=True)
class SentEvent:
    """An event as the Events API tells it.

    Attributes:
        at: the time of the first attempt, or the time at which that is or was to be.
    """

    event_id: str
    type: str
    payload: Mapping[str, Any]
    message: str
    at: datetime
    attempted: bool = False


@attrs.define(kw_only=True)
class _Waiting:
    delivery: Delivery
    event: SentEvent | None
    due: datetime
    order: int
    first_at: datetime | None = None
    taken: bool = False
    disturbed: str | None = None


class Webhooks:
    """All webhooks of a Mockbank.

    Attributes:
        url: where they go.
        subscribed: the types that the application subscribed to; None: all.
        changed: is called when there is a new delivery.
    """

    def __init__(self, settings: Settings, ids: Ids, log: Log, adversary: Adversary) -> None:
        self.url = ""
        self.subscribed: frozenset[str] | None = None
        self.changed: Callable[[], None] = lambda: None
        self._adversary = adversary
        self._reconnected: dict[str, str] = {}  # entity: the reconnect id that was announced last
        self._settings = settings
        self._ids = ids
        self._log = log
        self._waiting: dict[str, _Waiting] = {}
        self._sent: deque[SentEvent] = deque(maxlen=settings.remembers)
        self._heap: list[tuple[datetime, int, str]] = []
        self._early: list[str] = []
        self._order = 0

    # making

    def emit(
        self,
        kind: str,
        payload: Mapping[str, Any],
        message: str,
        now: datetime,
        *,
        lane: str = "",
        subject: Subject = _NOBODY,
    ) -> str | None:
        """Emit an event; return its id, or None if the application is not subscribed to its type."""
        if self.subscribed is not None and kind not in self.subscribed:
            return None
        struck = Disturbance()
        for one in self._adversary.webhook(kind, subject):
            if not one.besides:
                struck = struck.joined(one)
                continue
            false_kind, false = self._altered(kind, payload, one, lane)
            if (false_kind, false) != (kind, payload):
                self._event(false_kind, false, message, now, lane, Disturbance(), disturbed=one.names)
        event_id = self._event(kind, payload, message, now, lane, struck, disturbed=struck.names)
        if "reconnect_id" in payload:
            self._reconnected[lane] = payload["reconnect_id"]
            thin(self._reconnected, self._settings.remembers)
        return event_id

    def _event(
        self,
        kind: str,
        payload: Mapping[str, Any],
        message: str,
        now: datetime,
        lane: str,
        struck: Disturbance,
        *,
        disturbed: str,
    ) -> str:
        event_id, at = self._ids.next("event"), now + struck.delay
        event = SentEvent(event_id=event_id, type=kind, payload=payload, message=message, at=at)
        self._sent.append(event)
        self._forget(now)
        if struck.drop:
            self._log.webhook(
                WebhookRecord(
                    at=now, type=kind, event_id=event_id, attempt=0, status=None, dropped=True, disturbed=disturbed
                )
            )
        told_kind, told = self._altered(kind, payload, struck, lane)
        body = {"type": told_kind, "payload": told, "message": message}
        for _ in range(struck.forgeries):
            self._queue(event, body, struck, now, at, lane, forged=True, disturbed=disturbed)
        for _ in range(0 if struck.drop else 1 + struck.copies):
            self._queue(event, body, struck, now, at, lane, disturbed=disturbed)
        return event_id

    def _altered(
        self, kind: str, payload: Mapping[str, Any], struck: Disturbance, lane: str
    ) -> tuple[str, Mapping[str, Any]]:
        """Return type and payload as a disturbance makes them."""
        if struck.replace:
            payload = {**payload, **struck.replace}
        if struck.reconnect_id and "reconnect_id" in payload:
            before = self._reconnected.get(lane) if struck.reconnect_id == "stale" else None
            payload = {**payload, "reconnect_id": before or self._ids.next("wrong reconnect id")}
        return struck.retyped or kind, payload

    def resend(self, event_id: str, now: datetime) -> bool:
        """Send an event once more, undisturbed; False if there is none of that id."""
        for event in self._sent:
            if event.event_id == event_id:
                body = {"type": event.type, "payload": event.payload, "message": event.message}
                self._queue(event, body, Disturbance(), event.at, now, "resend")
                return True
        return False

    def _queue(
        self,
        event: SentEvent,
        body: Mapping[str, Any],
        struck: Disturbance,
        told: datetime,
        due: datetime,
        lane: str,
        *,
        forged: bool = False,
        disturbed: str = "",
    ) -> None:
        event_id = self._ids.next("forged event") if forged else event.event_id
        body = dict(body)
        if not struck.without_timestamp:
            body["timestamp"] = nano(told) if struck.nanoseconds else micro(told)
        if self._settings.webhook_event_ids and not struck.without_event_id:
            body["event_id"] = event_id
        raw = to_bytes(body)
        headers = {"content-type": "application/json", "user-agent": "lean-webhooks"}
        if not struck.unsigned:
            wrong = forged or struck.wrong_signature
            headers[HEADER] = sign(self._settings.webhook_secret + ("-not" if wrong else ""), raw)
        self._order += 1
        delivery = Delivery(
            id=self._ids.next("delivery"),
            url="",
            headers=headers,
            body=raw,
            attempt=1,
            type=body["type"],
            event_id=event_id,
            lane=lane,
            early=struck.early,
            forged=forged,
        )
        self._waiting[delivery.id] = _Waiting(
            delivery=delivery,
            event=None if forged else event,
            disturbed=disturbed or None,
            due=due,
            order=-self._order if struck.reverse else self._order,
        )
        heapq.heappush(self._heap, (due, self._waiting[delivery.id].order, delivery.id))
        if struck.early:
            self._early.append(delivery.id)
        self._forget_deliveries()
        self.changed()

    def _forget_deliveries(self) -> None:
        """Forget what nobody collects, the oldest first."""
        most = self._settings.remembers
        thin(self._waiting, most)
        if len(self._heap) > 2 * most:  # they are in no order that would let them be taken out one by one
            self._heap = [one for one in self._heap if one[2] in self._waiting]
            heapq.heapify(self._heap)
            self._early = [one for one in self._early if one in self._waiting]

    # sending

    def due(self, now: datetime, *, early: bool = False) -> list[Delivery]:
        """Take what is due, in the order in which it is to be sent; it is not offered again before `settled`.

        Args:
            now: the present time.
            early: whether to take only those that go out before the answer of their call.
        """
        found = self._take_early(now) if early else self._take_due(now)
        for waiting in found:
            waiting.taken = True
            if waiting.first_at is None:
                waiting.first_at = now
            if waiting.event is not None and not waiting.event.attempted:
                waiting.event.at, waiting.event.attempted = now, True
        return [attrs.evolve(waiting.delivery, url=self.url) for waiting in found]

    def _take_due(self, now: datetime) -> list[_Waiting]:
        found = []
        while self._heap and self._heap[0][0] <= now:
            due, _, delivery_id = heapq.heappop(self._heap)
            waiting = self._waiting.get(delivery_id)
            if waiting is not None and not waiting.taken and waiting.due == due:
                found.append(waiting)
        return found

    def _take_early(self, now: datetime) -> list[_Waiting]:
        ids, self._early = self._early, []
        early = [self._waiting[one] for one in ids if one in self._waiting]
        self._early = [w.delivery.id for w in early if w.due > now]
        return sorted((w for w in early if w.due <= now and not w.taken), key=lambda w: (w.due, w.order))

    def settled(self, delivery_id: str, status: int | None, now: datetime) -> None:
        """Say what came back for a delivery: the HTTP status, or None if nothing did within 10 s."""
        waiting = self._waiting.get(delivery_id)
        if waiting is None:
            return
        sent = waiting.delivery
        self._log.webhook(
            WebhookRecord(
                at=now,
                type=sent.type,
                event_id=sent.event_id,
                attempt=sent.attempt,
                status=status,
                forged=sent.forged,
                disturbed=waiting.disturbed,
            )
        )
        if status == 200 or sent.forged or sent.attempt > len(RETRIES):
            del self._waiting[delivery_id]
            return
        waiting.due = (waiting.first_at or now) + RETRIES[sent.attempt - 1]
        waiting.delivery = attrs.evolve(sent, attempt=sent.attempt + 1, early=False)
        waiting.taken = False
        heapq.heappush(self._heap, (waiting.due, waiting.order, delivery_id))

    def next_due(self) -> datetime | None:
        """Return when the next delivery is due, or None."""
        while self._heap:
            due, _, delivery_id = self._heap[0]
            waiting = self._waiting.get(delivery_id)
            if waiting is not None and not waiting.taken and waiting.due == due:
                return due
            heapq.heappop(self._heap)
        return None

    @property
    def waiting(self) -> int:
        """How many deliveries are not settled for good."""
        return len(self._waiting)

    def upcoming(self, most: int) -> list[tuple[Delivery, datetime, bool]]:
        """Return deliveries that are not settled, the next one first: each with when, and whether it is under way."""
        first = heapq.nsmallest(most, self._waiting.values(), key=lambda waiting: (waiting.due, waiting.order))
        return [(waiting.delivery, waiting.due, waiting.taken) for waiting in first]

    # the Events API

    def events(self, now: datetime) -> Sequence[SentEvent]:
        """Return the events of the past 90 days whose first attempt was or was to be by now, in order of time."""
        self._forget(now)
        return sorted((event for event in self._sent if event.at <= now), key=lambda event: event.at)

    def _forget(self, now: datetime) -> None:
        while self._sent and self._sent[0].at < now - self._settings.event_life:
            self._sent.popleft()
