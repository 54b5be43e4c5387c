"""Looking after an engine: how it is, what is not delivered, what is to be forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

from leanflow._erasing import Eraser, Reencryption
from leanflow._health import Health, SinkLag
from leanflow._operations import Operations, states_of
from leanflow._request import State
from leanflow._settings import kind_of
from leanflow._steps import DROPPED
from leanflow.errors import InvalidRequest, RequestNotFound, StoreUnavailable
from leanflow.observing import Observer
from leanflow.ports import WAKE, Encrypting, Erased, OutboxRow, Reencrypted

__all__ = ["Upkeep"]

AT_ONCE = 1000
"""How much a store is asked to delete at a time; it does so in transactions that are much smaller."""


class Upkeep(Operations):
    """What an operator does with the requests of one scope."""

    def _is_working(self) -> bool:
        """Whether this process's workers run."""
        raise NotImplementedError

    def _served(self) -> Collection[str]:
        """The names of the handlers and buses that this engine has."""
        raise NotImplementedError

    def _stir(self, *, announced: bool, due_at: datetime | None) -> None:
        """Look for work now: see `Stir`."""
        raise NotImplementedError

    @property
    def observer(self) -> Observer | None:
        """Who sees what is done; None: nobody."""
        return self._settings.observer

    async def counts(self) -> dict[State, int]:
        """Return how many requests are in each state."""
        self._check()
        found = await self._store.counts(self._scope)
        return {state: found.get(state.value, 0) for state in State}

    async def health(self) -> Health:
        """Return how the engine is; never raises for a store that is down."""
        self._check()
        alive = self._is_working()
        limit = self._settings.policy.commit_timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                due = await self._store.next_due(self._scope)
                dropped = await self._store.tally(self._scope, DROPPED)
            lag = await self._lag(limit)
        except (StoreUnavailable, TimeoutError):
            return Health(store_reachable=False, worker_alive=alive)
        sinks = {
            name: SinkLag(undelivered=rows, set_aside=aside, oldest_at=oldest)
            for name, (rows, aside, oldest) in lag.items()
        }
        return Health(store_reachable=True, worker_alive=alive, next_due_at=due, sinks=sinks, dropped=dropped)

    async def _lag(self, limit: float) -> Mapping[str, tuple[int, int, datetime | None]]:
        """Return how far sinks are behind; nothing, if so much waits that counting it takes longer."""
        try:
            async with asyncio.timeout(limit):
                return await self._store.lag(self._scope)
        except TimeoutError:
            return {}

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

    async def drop_sink(self, name: str) -> int:
        """Forget a handler or bus that is gone for good: nothing is kept for it any more; return how much was dropped.

        Call it when no process serves that name any more: until then announcements that it has not got are kept for it,
        since it may only be down.

        Raises:
            InvalidRequest: this engine serves it, or it is leanflow's own.
            RequestNotFound: the store knows no such sink.
        """
        self._check()
        if name == WAKE or name in self._served():
            raise InvalidRequest("name", f"{name} is served by this engine: take the handler or the bus away first")
        dropped = await self._store.unregister(self._scope, name)
        if dropped is None:
            raise RequestNotFound(name, "sink")
        return dropped

    # what is to be forgotten

    async def purge(self, *, older_than: timedelta | datetime, state: State | Collection[State] | None = None) -> int:
        """Delete ended requests that ended so long ago, with all that belongs to them; return how many. Live ones stay.

        In small transactions: steps go on meanwhile, and whoever stops it in between loses nothing.

        Raises:
            InvalidRequest: a state is no end, or `older_than` is neither a span nor a moment with its time zone.
        """
        self._check()
        states = states_of(state)
        if states is not None and not states <= State.ends():
            raise InvalidRequest("state", f"only ended requests are purged: {', '.join(sorted(State.ends()))}")
        moment, now = self._moment(older_than), self._clock.now()
        total = 0
        while done := await self._store.purge(self._scope, older_than=moment, states=states, now=now, limit=AT_ONCE):
            total += done
        return total

    async def purge_results(self, *, older_than: timedelta | datetime) -> int:
        """Delete the results of requests that ended so long ago; return of how many. Request and history stay.

        From then on `results` and `pages` of such a request raise `ResultsPurged`.

        Raises:
            InvalidRequest: `older_than` is neither a span nor a moment with its time zone.
        """
        self._check()
        moment = self._moment(older_than)
        after, total = None, 0
        while done := await self._store.purge_pages(self._scope, older_than=moment, after=after, limit=AT_ONCE):
            after, total = done[-1], total + len(done)
        return total

    def _moment(self, older_than: timedelta | datetime) -> datetime:
        if isinstance(older_than, datetime):
            if older_than.tzinfo is None:
                raise InvalidRequest("older_than", "needs a time zone")
            return older_than
        if not isinstance(older_than, timedelta):
            problem = "must be a timedelta, as timedelta(days=30), or a datetime with a time zone"
            raise InvalidRequest("older_than", f"{problem}, not {kind_of(older_than)}")
        return self._clock.now() - older_than

    async def erase(self, *, entity_id: str | None = None, customer_id: str | None = None) -> Erased:
        """Delete everything of an entity, or of a customer and the customer's entities; return what there was.

        Live requests are cancelled first. Each request goes in one transaction; parked webhooks and undelivered
        announcements go as well, of whatever names one of these ids. Tombstones stay for as long as the inbox is kept:
        what Lean still sends is answered 200, counted (`Health.dropped`) and not stored. What cannot be decrypted goes
        with its request; what belongs to none stays and is counted. If it is interrupted, the same call again deletes
        the rest.

        Args:
            entity_id: Lean's entity.
            customer_id: Lean's customer. Their entities are known by the requests that were made with this id.

        Raises:
            InvalidRequest: neither or both are given.
        """
        self._check()
        if (not entity_id) == (not customer_id):
            raise InvalidRequest("entity_id", "give an entity_id or a customer_id")
        eraser = Eraser(self._settings, self._store, self._steps)
        if entity_id:
            return await eraser.erase_entity(entity_id)
        return await eraser.erase_customer(customer_id or "")

    async def reencrypt(self, progress: Callable[[Reencrypted], None] | None = None) -> Reencrypted:
        """Encrypt every stored result and webhook with the newest key that is not yet; return how many.

        Beside running workers, in small transactions. If it is interrupted, the same call again goes on behind the last
        place that it had reached. What was altered, or encrypted with a key given as lost, stays and is counted.

        Args:
            progress: called after each batch with what is done so far.

        Raises:
            InvalidRequest: the store does not encrypt.
            KeyMissing: a body was encrypted with a key that the store was not given.
        """
        self._check()
        if not isinstance(self._store, Encrypting):
            raise InvalidRequest("store", "does not encrypt: put leanflow_adapters.crypto.EncryptedStore around it")
        return await Reencryption(self._store, self._store, self._scope).run(progress or _silently)


def _silently(_: Reencrypted) -> None:
    """Say nothing."""
