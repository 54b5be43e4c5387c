"""Finding lost webhooks: Lean's Events API has all that it sent in 90 days; inbox keys tell what is known."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from leanflow import calls
from leanflow._lean.documents import parse_events_page
from leanflow._lean.webhooks import Webhook
from leanflow._settings import Settings
from leanflow._steps import Steps
from leanflow.errors import CallFailed, InvalidRequest, MalformedBody
from leanflow.ports import Store

__all__ = ["Reconciler"]

_log = logging.getLogger("leanflow.webhook")

PAGE_SIZE = 100
OVERLAP = timedelta(hours=4)
"""An event is listed by its first attempt, and may have been retried for three hours: look so much further back."""

ABSENT = timedelta(minutes=3)
"""After so long without a sign of life webhooks may have been missed: Lean's third attempt is at two minutes."""

_DONE = "reconciled_until"
_ALIVE = "alive_at"


class Reconciler:
    """Pages Lean's Events API through the same step as webhooks."""

    def __init__(self, settings: Settings, store: Store, steps: Steps) -> None:
        self._store = store
        self._scope = settings.scope
        self._transport = settings.transport
        self._clock = settings.clock
        self._policy = settings.policy
        self._steps = steps

    async def reconcile(self, since: datetime | None = None) -> int:
        """Hear every event that Lean sent since `since`; return how many were news.

        Args:
            since: aware; if not given, the last time and an overlap. Never further back than the inbox is kept.

        Raises:
            InvalidRequest: `since` has no zone.
            CallFailed: Lean did not list the events; what was heard so far stays heard.
            StoreUnavailable: the same.
        """
        if since is not None and since.tzinfo is None:
            raise InvalidRequest("since", "needs a time zone")
        now = self._clock.now()
        oldest = now - self._policy.inbox_life
        start = since if since is not None else await self._last()
        start = max(start, oldest) if start is not None else oldest
        news, page, pages = 0, 0, 1
        while page < pages:
            events, pages = await self._page(page, start)
            heard = await asyncio.gather(*(self._hear(event, now) for event in events))
            news += sum(heard)
            page += 1
        await self._store.remember(self._scope, _DONE, now.isoformat())
        if news:
            _log.info("reconciled: %d events were news", news)
        return news

    async def reconcile_if_due(self) -> None:
        """Reconcile after downtime, and on the policy's schedule; leave a sign of life."""
        now = self._clock.now()
        alive, done = await self._time(_ALIVE), await self._time(_DONE)
        every = self._policy.reconcile_every
        if every is not None:
            absent = alive is not None and now - alive > ABSENT
            if absent or (done is not None and now - done >= every):
                await self.reconcile()
            elif done is None:
                await self._store.remember(
                    self._scope, _DONE, now.isoformat()
                )  # nothing can be lost before the first start
        await self._store.remember(self._scope, _ALIVE, now.isoformat())

    async def _page(self, page: int, start: datetime) -> tuple[tuple[Webhook, ...], int]:
        answer = await self._transport.send(calls.list_events(page=page, size=PAGE_SIZE, start=start))
        try:
            return parse_events_page(answer, malformed=_tell)
        except MalformedBody as error:
            reason = f"the Events API answered HTTP {answer.status}, not a page of events ({error.path})"
            raise CallFailed(reason, maybe_sent=True) from error

    async def _hear(self, event: Webhook, now: datetime) -> bool:
        if await self._store.seen(self._scope, event.inbox_key):
            return False
        heard = await self._steps.hear(event.stamped(now, event.inbox_key))
        return not heard.duplicate and not heard.dropped

    async def _last(self) -> datetime | None:
        done = await self._time(_DONE)
        return None if done is None else done - OVERLAP

    async def _time(self, name: str) -> datetime | None:
        text = await self._store.remember(self._scope, name)
        return None if text is None else datetime.fromisoformat(text)


def _tell(problem: MalformedBody) -> None:
    _log.warning("an event of the Events API cannot be read: %s", problem)
