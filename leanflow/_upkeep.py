"""Looking after an engine: how it is, what is not delivered, what is to be forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import attrs

from leanflow._operations import Operations, states_of
from leanflow._request import State
from leanflow.errors import InvalidRequest, RequestNotFound, StoreUnavailable
from leanflow.ports import OutboxRow, Query

__all__ = ["Health", "SinkLag", "Upkeep"]


@attrs.frozen(kw_only=True)
class SinkLag:
    """How far one sink is behind.

    Attributes:
        undelivered: rows that wait to be confirmed.
        set_aside: rows given up until `redeliver`.
        oldest_due_at: when the oldest of those that wait was due.
    """

    undelivered: int
    set_aside: int
    oldest_due_at: datetime | None


@attrs.frozen(kw_only=True)
class Health:
    """How the engine is.

    Attributes:
        store_reachable: whether the store answers.
        worker_alive: whether this process's workers run; False with `workers=0`.
        next_due_at: the next, or oldest, due time; None: nothing waits.
        sinks: the lag of each sink.
    """

    store_reachable: bool
    worker_alive: bool
    next_due_at: datetime | None = None
    sinks: Mapping[str, SinkLag] = attrs.field(factory=dict)


class Upkeep(Operations):
    """What an operator does with the requests of one scope."""

    def _is_working(self) -> bool:
        """Whether this process's workers run."""
        raise NotImplementedError

    def _stir(self, *, announced: bool, due_at: datetime | None) -> None:
        """Look for work now: see `Stir`."""
        raise NotImplementedError

    async def counts(self) -> dict[State, int]:
        """Return how many requests are in each state."""
        self._check()
        found = await self._store.counts(self._scope)
        return {state: found.get(state.value, 0) for state in State}

    async def health(self) -> Health:
        """Return how the engine is; never raises for a store that is down."""
        self._check()
        alive = self._is_working()
        try:
            async with asyncio.timeout(self._settings.policy.commit_timeout.total_seconds()):
                lag = await self._store.lag(self._scope)
                due = await self._store.next_due(self._scope)
        except (StoreUnavailable, TimeoutError):
            return Health(store_reachable=False, worker_alive=alive)
        sinks = {
            name: SinkLag(undelivered=rows, set_aside=aside, oldest_due_at=oldest)
            for name, (rows, aside, oldest) in lag.items()
        }
        return Health(store_reachable=True, worker_alive=alive, next_due_at=due, sinks=sinks)

    async def undelivered(self, *, set_aside: bool | None = None, limit: int = 100) -> tuple[OutboxRow, ...]:
        """Return announcements that are not delivered, oldest first; `set_aside` picks those given up."""
        self._check()
        return tuple(await self._store.outbox(self._scope, set_aside=set_aside, limit=limit))

    async def redeliver(self, key: str, sink: str) -> None:
        """Send an announcement again that was set aside.

        Raises:
            RequestNotFound: none of this key is set aside for this sink.
        """
        self._check()
        if not await self._store.redeliver(self._scope, key, sink, now=self._clock.now()):
            raise RequestNotFound(f"{key} for {sink}", "announcement that was set aside")
        self._stir(announced=True, due_at=None)

    async def purge(self, *, older_than: timedelta | datetime, state: State | Collection[State] | None = None) -> int:
        """Delete ended requests that ended so long ago, with all that belongs to them; return how many. Live ones stay.

        Raises:
            InvalidRequest: a state is no end.
        """
        self._check()
        states = states_of(state)
        if states is not None and not states <= State.ends():
            raise InvalidRequest("state", f"only ended requests are purged: {', '.join(sorted(State.ends()))}")
        now = self._clock.now()
        moment = now - older_than if isinstance(older_than, timedelta) else older_than
        total = 0
        while done := await self._store.purge(self._scope, older_than=moment, states=states, now=now, limit=100):
            total += done
        return total

    async def erase(self, *, entity_id: str) -> int:
        """Delete everything of an entity, live requests included; return how many.

        Each request goes in one transaction and leaves a tombstone: what Lean still sends for it is answered 200 and
        not stored.
        """
        self._check()
        erased = 0
        while found := await self._store.find(self._scope, Query(entity_id=entity_id)):
            for request in found:
                erased += await self._store.erase(self._scope, request.id, now=self._clock.now())
                self._steps.forget(request.id)
        return erased
