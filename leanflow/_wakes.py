"""Wakes: each request that an event concerns beside the one it names gets an ordinary step of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from leanflow import calls
from leanflow._backoff import wait_before
from leanflow._effects import WakeReason
from leanflow._lean.documents import consent_lost
from leanflow._lru import Lru
from leanflow._request import DataRequest, State
from leanflow._settings import Settings
from leanflow._sites import site
from leanflow._steps import Steps
from leanflow.errors import CallFailed, MalformedBody, RequestNotFound
from leanflow.events import BankReturned, ConsentLost, EntityProvedLive, Event, Nudged
from leanflow.ports import OutboxRow, Query, Store

__all__ = ["Wakes", "asks_lean"]

LIVE = frozenset(state for state in State if not state.is_end)
OUTAGES = 10_000
"""Wakes of which it is known how often they met an outage of Lean; one that is forgotten begins with short waits."""
BUSY = frozenset({408, 429})
"""HTTP statuses below 500 that say to come later."""


def asks_lean(row: OutboxRow) -> bool:
    """Return whether a wake asks Lean something: only a check does, and Lean may leave it waiting."""
    return bool(json.loads(row.payload)["reason"] == WakeReason.check)


class Wakes:
    """Delivers outbox rows of the sink `wake`."""

    def __init__(self, settings: Settings, store: Store, steps: Steps) -> None:
        self._store = store
        self._scope = settings.scope
        self._transport = settings.transport
        self._clock = settings.clock
        self._policy = settings.policy
        self._dice = settings.dice
        self._steps = steps
        self._outages: Lru[str, int] = Lru(OUTAGES)

    async def deliver(self, row: OutboxRow) -> None:
        """Give each request that is woken one ordinary step; return after the last.

        Raises:
            CallFailed: Lean is away: it did not answer, or said to come later.
            MalformedBody: it answered with anything else than the entity.
        """
        outages = self._outages.get(row.key) or 0
        self._outages.pop(row.key)
        try:
            await self._wake(row)
        except CallFailed:
            self._outages.put(row.key, outages + 1)
            raise

    def again_at(self, row: OutboxRow) -> datetime:
        """Return when one is tried again after an outage.

        Each has waits of its own, so that one which never gets an answer does not hold up the others for ever. They
        are counted here, not in the row: its tries end with setting it aside, which an outage is no reason for.
        """
        before = max(0, (self._outages.get(row.key) or 0) - 1)
        return self._clock.now() + wait_before(self._policy.announce_backoff, before, row.key)

    async def _wake(self, row: OutboxRow) -> None:
        wake = json.loads(row.payload)
        reason = WakeReason(wake["reason"])
        lost = await self._lost_entities(wake) if reason is WakeReason.check else None
        async for request in self._targets(reason, wake):
            if lost is not None and request.entity_id not in lost:
                continue
            event = self._event(reason, wake).stamped(self._clock.now(), f"wake:{row.key}:{request.id}")
            try:
                await self._steps.apply(request.id, event)
            except RequestNotFound:
                continue  # erased meanwhile
            site("wake_target")

    async def _targets(self, reason: WakeReason, wake: Mapping[str, Any]) -> AsyncIterator[DataRequest]:
        query = Query(
            states=frozenset({State.requested}) if reason is WakeReason.bank else LIVE,
            held=wake["held"],
            entity_id=wake["entity_id"],
            customer_id=wake["customer_id"] if wake["entity_id"] is None else None,
        )
        while True:
            page = await self._store.find(self._scope, query)
            for request in page:
                if request.id != wake["origin"]:
                    yield request
            if len(page) < query.limit:
                return
            query = attrs.evolve(query, after=page[-1].id)

    def _event(self, reason: WakeReason, wake: Mapping[str, Any]) -> Event:
        delay = self._policy.jitter * self._dice.random()
        match reason:
            case WakeReason.live:
                proved_at = datetime.fromisoformat(wake["proved_at"]) if wake["proved_at"] else None
                return EntityProvedLive(proved_at=proved_at, delay=delay)
            case WakeReason.bank:
                return BankReturned(delay=delay)
            case WakeReason.nudge:
                return Nudged(delay=delay)
            case WakeReason.check:
                return ConsentLost()

    async def _lost_entities(self, wake: Mapping[str, Any]) -> set[str]:
        """Look at the entities: the webhook does not say whether the consent was renewed or revoked."""
        customers: dict[str, str | None] = {}
        async for request in self._targets(WakeReason.check, wake):
            known = wake["customer_id"] or request.customer_id
            customers[request.entity_id] = known or customers.get(request.entity_id)
        lost = set()
        for entity_id, customer_id in customers.items():
            if customer_id is None:
                continue  # nothing to ask by: the answers to the requests themselves will tell
            answer = await self._transport.send(calls.get_entity(customer_id, entity_id))
            if answer.status >= 500 or answer.status in BUSY:
                raise CallFailed(f"HTTP {answer.status}", maybe_sent=True)
            is_lost = consent_lost(answer, self._clock.now())
            if is_lost is None:
                raise MalformedBody("$", f"an entity, not HTTP {answer.status}")
            if is_lost:
                lost.add(entity_id)
        return lost
