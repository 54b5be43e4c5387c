"""The port's methods, in terms of two: do a piece of writing, do a piece of looking."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from leanflow._request import DataRequest, IdKind, Scope, State
from leanflow.events import Page
from leanflow.ports import (
    Announcement,
    Body,
    Claimed,
    Committed,
    Created,
    Creation,
    Erased,
    HistoryEntry,
    OutboxRow,
    Outcome,
    ParkedEvent,
    Part,
    Query,
    Sink,
    Step,
)
from leanflow_adapters.sqlite import _bodies, _claims, _outbox, _reads, _steps, _upkeep
from leanflow_adapters.sqlite._plans import Plan, Tx
from leanflow_adapters.sqlite._recent import Recent

__all__ = ["Methods"]

T = TypeVar("T")


def _old_ends(
    scope: Scope, older_than: datetime, states: frozenset[State] | None, since: datetime | None, size: int, _: Tx
) -> Plan[tuple[Sequence[str], datetime | None]]:
    return _upkeep.old_ends(scope, older_than, states, since, size)


def _bury(scope: Scope, request_ids: Sequence[str], now: datetime, _: Tx) -> Plan[int]:
    return _upkeep.bury_requests(scope, request_ids, now)


def _purge_pages(scope: Scope, request_ids: Sequence[str], _: Tx) -> Plan[None]:
    return _bodies.delete_pages(scope, request_ids)


def _old_keys(scope: Scope, before: datetime, after: str, _: Tx) -> Plan[Sequence[str]]:
    return _upkeep.old_keys(scope, before, after)


def _old_stones(scope: Scope, before: datetime, after: bytes, _: Tx) -> Plan[Sequence[bytes]]:
    return _upkeep.old_stones(scope, before, after)


def _forget(scope: Scope, before: datetime, keys: Sequence[str], stones: Sequence[bytes], _: Tx) -> Plan[int]:
    return _upkeep.forget(scope, before, keys, stones)


class Methods(ABC):
    """Every method of the port that touches rows."""

    _recent: Recent | None = None

    @abstractmethod
    async def _write(self, work: Callable[[Tx], Plan[T]], exclusive: tuple[Hashable, ...] = ()) -> T:
        """Do work that writes, durably, or in the transaction that was joined."""

    @abstractmethod
    async def _read(self, work: Callable[[Tx], Plan[T]], *, is_long: bool = False) -> T:
        """Do work that looks; `is_long` if it may look at many rows."""

    async def now(self) -> datetime | None:
        """Return None: the file has no clock but its machine's."""
        return None

    # steps

    async def create(self, creation: Creation) -> Created:
        """Insert a request, unless one like it is there."""
        return await self._write(partial(_steps.create, creation), (creation.request.id,))

    async def commit(self, step: Step) -> Committed:
        """Commit one step, whole or not at all."""
        rows = _steps.StepRows.of(step)
        exclusive = (step.request_id or rows, (rows.scope, step.inbox.key))
        committed = await self._write(partial(_steps.commit, rows), exclusive)
        if self._recent is not None and step.after is not None and committed.outcome is Outcome.committed:
            self._recent.put(step.after)
        return committed

    async def seen(self, scope: Scope, key: str) -> bool:
        """Return whether the inbox key is stored and not parked."""
        return await self._read(lambda _: _reads.seen(scope, key))

    async def load(self, scope: Scope, request_id: str) -> DataRequest | None:
        """Return a request as last committed, or None."""
        return await self._read(lambda _: _reads.load(scope, request_id, self._recent))

    async def owners(self, scope: Scope, kind: IdKind, value: str) -> Sequence[DataRequest]:
        """Return the requests that this id names or named, as last committed."""
        return await self._read(lambda _: _reads.owners(scope, kind, value, self._recent))

    async def buried(self, scope: Scope, kind: str, value: str) -> datetime | None:
        """Return when what the id names was purged or erased, or None."""
        return await self._read(lambda _: _reads.buried(scope, kind, value))

    async def find(self, scope: Scope, query: Query) -> Sequence[DataRequest]:
        """Return what the query asks for, in the order of ids."""
        return await self._read(lambda _: _reads.find(scope, query), is_long=not _reads.is_narrow(query))

    async def history(self, scope: Scope, request_id: str) -> Sequence[HistoryEntry]:
        """Return a request's history, oldest first."""
        return await self._read(lambda _: _reads.history(scope, request_id))

    async def pages(self, scope: Scope, request_id: str, *, first: int = 0, limit: int = 100) -> Sequence[Page]:
        """Return the stored pages, by number, from the `first`-th on."""
        return await self._read(lambda _: _reads.pages(scope, request_id, first, limit), is_long=True)

    # claims

    async def claim(self, scope: Scope, *, owner: str, now: datetime, lease: float, limit: int) -> Sequence[Claimed]:
        """Claim due requests, the longest due first."""
        return await self._write(lambda _: _claims.claim(scope, owner, now, lease, limit, recent=self._recent))

    async def renew(self, scope: Scope, request_id: str, *, owner: str, now: datetime, lease: float) -> bool:
        """Prolong a lease; False if it is no longer this owner's."""
        until = now + timedelta(seconds=lease)
        return await self._write(lambda _: _claims.renew(scope, request_id, owner, until))

    async def release(self, scope: Scope, request_id: str, *, owner: str) -> None:
        """End a lease without a step."""
        await self._write(lambda _: _claims.release(scope, request_id, owner))

    async def next_due(self, scope: Scope) -> datetime | None:
        """Return when the next thing can be claimed or offered."""
        return await self._read(lambda _: _claims.next_due(scope))

    # parked events

    async def parked(self, scope: Scope, kind: IdKind, value: str) -> Sequence[ParkedEvent]:
        """Return the events parked under an id, oldest first."""
        return await self._read(lambda _: _reads.parked(scope, kind, value))

    async def early(self, scope: Scope, request_id: str) -> Sequence[ParkedEvent]:
        """Return the events parked under a request, oldest first."""
        return await self._read(lambda _: _reads.early(scope, request_id))

    async def parked_due(self, scope: Scope, *, now: datetime, limit: int) -> Sequence[ParkedEvent]:
        """Return parked events that are due or past their life, oldest first."""
        return await self._read(lambda _: _reads.parked_due(scope, now, limit))

    async def repark(self, scope: Scope, key: str, *, due_at: datetime) -> None:
        """Count one more try and set when the next is due."""
        await self._write(lambda _: _upkeep.repark(scope, key, due_at))

    async def orphan(self, scope: Scope, key: str, announcements: tuple[Announcement, ...]) -> bool:
        """Turn a parked event into a seen one and announce that; False if it is not parked."""
        return await self._write(partial(_steps.orphan, scope, key, announcements))

    # announcements

    async def register(self, scope: Scope, sinks: Sequence[Sink]) -> None:
        """Store the sinks that a deployment serves."""
        await self._write(partial(_outbox.register, scope, tuple(sinks)))

    async def unregister(self, scope: Scope, sink: str) -> int | None:
        """Forget a sink and its undelivered rows; return how many, or None if nothing was known of it."""
        known, gone = await self._write(partial(_outbox.unregister, scope, sink, _upkeep.SLICE))
        dropped: int = gone
        while gone == _upkeep.SLICE:
            _, gone = await self._write(partial(_outbox.unregister, scope, sink, _upkeep.SLICE))
            dropped += gone
        return dropped if known or dropped else None

    async def claim_outbox(
        self, scope: Scope, *, sinks: Sequence[str], owner: str, now: datetime, lease: float, limit: int
    ) -> Sequence[OutboxRow]:
        """Claim undelivered rows of these sinks, oldest first, one per request and sink."""
        names = tuple(sinks)
        return await self._write(lambda _: _outbox.claim_outbox(scope, names, owner, now, lease, limit))

    async def delivered(self, scope: Scope, rows: Sequence[tuple[str, str]]) -> None:
        """Remove the rows of these (key, sink)."""
        confirmed = tuple(rows)
        await self._write(lambda _: _outbox.delivered(scope, confirmed))

    async def undelivered(
        self, scope: Scope, key: str, sink: str, *, due_at: datetime, error: str, set_aside: bool, counts: bool = True
    ) -> None:
        """Count a failed try, if it counts; set when the next is due, or set the row aside."""
        await self._write(
            lambda _: _outbox.undelivered(
                scope, key, sink, due_at=due_at, error=error, set_aside=set_aside, counts=counts
            )
        )

    async def redeliver(self, scope: Scope, key: str, sink: str, *, now: datetime) -> bool:
        """Bring a row that was set aside back; False if there is none."""
        return await self._write(lambda _: _outbox.redeliver(scope, key, sink, now))

    async def outbox(self, scope: Scope, *, set_aside: bool | None = None, limit: int = 100) -> Sequence[OutboxRow]:
        """Return undelivered rows, oldest first."""
        return await self._read(lambda _: _outbox.outbox(scope, set_aside, limit), is_long=True)

    async def confirm(self, scope: Scope, key: str, sink: str) -> bool:
        """Remove one outbox row; True if it was there."""
        return bool(await self._write(lambda _: _outbox.delivered(scope, ((key, sink),))))

    # upkeep

    async def counts(self, scope: Scope) -> Mapping[str, int]:
        """Return how many requests are in each state."""
        return await self._read(lambda _: _reads.counts(scope), is_long=True)

    async def lag(self, scope: Scope) -> Mapping[str, tuple[int, int, datetime | None]]:
        """Return for each sink: rows waiting, rows set aside, and when the oldest waiting one is due."""
        return await self._read(lambda _: _outbox.lag(scope), is_long=True)

    async def remember(self, scope: Scope, name: str, value: str | None = None) -> str | None:
        """Store a small value if one is given; return what is stored."""
        if value is None:
            return await self._read(lambda _: _upkeep.recall(scope, name))
        return await self._write(lambda _: _upkeep.remember(scope, name, value))

    async def tally(self, scope: Scope, name: str, *, add: int = 0) -> int:
        """Add to a number kept under a name, at first 0, and return it."""
        if add == 0:
            return int(await self._read(lambda _: _upkeep.recall(scope, _upkeep.TALLY + name)) or 0)
        return await self._write(lambda _: _upkeep.tally(scope, name, add))

    async def purge(
        self, scope: Scope, *, older_than: datetime, states: frozenset[State] | None, now: datetime, limit: int
    ) -> int:
        """Delete at most `limit` requests that ended before `older_than`, leaving tombstones; return how many."""
        gone = 0
        since: datetime | None = None
        while gone < limit:
            size = min(_upkeep.BURIED, limit - gone)
            found, since = await self._read(partial(_old_ends, scope, older_than, states, since, size), is_long=True)
            if not found:
                break
            gone += await self._considerately(partial(_bury, scope, found, now))
        return gone

    async def purge_pages(
        self, scope: Scope, *, older_than: datetime, after: str | None = None, limit: int
    ) -> Sequence[str]:
        """Delete the pages of at most `limit` requests that ended before `older_than`; return the ids."""
        found = await self._read(lambda _: _bodies.old_pages(scope, older_than, after, limit), is_long=True)
        for start in range(0, len(found), _upkeep.BURIED):
            await self._considerately(partial(_purge_pages, scope, found[start : start + _upkeep.BURIED]))
        return found

    async def _considerately(self, work: Callable[[Tx], Plan[T]]) -> T:
        """Do a slice of much writing, and leave the writer to others for as long as it took."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        done = await self._write(work)
        await asyncio.sleep(loop.time() - start)
        return done

    async def prune(self, scope: Scope, *, before: datetime) -> int:
        """Delete seen inbox rows and tombstones older than `before`; return how many.

        The inbox has no index by time, which every step would pay for: it is looked through, off the writer.
        """
        gone, key, stone = 0, "", b""
        while keys := await self._read(partial(_old_keys, scope, before, key), is_long=True):
            gone += await self._write(partial(_forget, scope, before, keys, ()))
            key = keys[-1]
        while stones := await self._read(partial(_old_stones, scope, before, stone), is_long=True):
            gone += await self._write(partial(_forget, scope, before, (), stones))
            stone = stones[-1]
        return gone

    async def erase(self, scope: Scope, request_id: str, *, now: datetime) -> Erased | None:
        """Delete everything of one request, leaving a tombstone; None if there is none."""
        return await self._write(lambda _: _upkeep.erase(scope, request_id, now), (request_id,))

    async def bury(self, scope: Scope, kind: str, value: str, *, now: datetime) -> None:
        """Leave a tombstone for an id."""
        await self._write(lambda _: _upkeep.bury(scope, kind, value, now))

    async def bodies(
        self, scope: Scope, part: Part, *, after: tuple[str, str] | None = None, limit: int
    ) -> Sequence[Body]:
        """Return bodies in the order of an index, those behind `after`."""
        return await self._read(lambda _: _bodies.bodies(scope, part, after, limit), is_long=True)

    async def rewrite(self, scope: Scope, bodies: Sequence[tuple[Body, bytes]]) -> int:
        """Replace each body by the bytes beside it where the stored ones still lie there; return how many."""
        wanted = tuple(bodies)
        return await self._write(lambda _: _bodies.rewrite(scope, wanted))
