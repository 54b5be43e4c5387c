"""The port's methods, in terms of a few: do a statement, do several in one transaction, commit a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID

from leanflow._request import DataRequest, IdKind, Resource, Scope, State
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
    ParkedEvent,
    Part,
    Query,
    Sink,
    Step,
)
from leanflow_adapters._records import digest
from leanflow_adapters.postgres import _rows, _sql, _steps
from leanflow_adapters.postgres._rows import Row, row_id, scope_number, text
from leanflow_adapters.postgres._steps import StepRow

__all__ = ["Ask", "Methods"]

_SLICE = 500  # deletions go in transactions of this size, so that steps get in between
_BURIED = 50  # requests buried in one transaction: each takes rows of eight tables with it
_STATES = tuple(state.value for state in State if not state.is_end)
_RESOURCES = tuple(resource.value for resource in Resource)
_EVER = datetime(1, 1, 1, tzinfo=UTC)
_BEFORE_ALL = MappingProxyType(
    {Part.pages: (str(UUID(int=0)), "-1"), Part.parked: ("", ""), Part.announcements: ("", "")}
)


class Ask(Protocol):
    """Runs one statement and returns its rows."""

    async def __call__(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """Run it."""
        ...


class Methods(ABC):
    """Every method of the port that touches rows."""

    _clock: str  # which rules: "database" or "engine"

    @abstractmethod
    async def _ask(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """Run one statement, committed by itself, or in the transaction that was joined."""

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[Ask]:
        """Give what runs statements in one transaction, or in a part of the one that was joined."""

    @abstractmethod
    async def _commit(self, row: StepRow) -> Committed:
        """Commit one step."""

    @abstractmethod
    async def _deliver(self, scope: int, keys: Sequence[str], sinks: Sequence[str]) -> int:
        """Remove outbox rows; return how many there were."""

    async def now(self) -> datetime | None:
        """Return the database's clock, or None if the engine's is to rule."""
        if self._clock == "engine":
            return None
        [row] = await self._ask(_sql.NOW)
        now: datetime = row["clock_timestamp"]
        return now

    def _moment(self, now: datetime) -> datetime | None:
        """Return the time by which leases go: None for the database's own."""
        return now if self._clock == "engine" else None

    # steps

    async def create(self, creation: Creation) -> Created:
        """Insert a request, unless one like it is there."""
        if creation.renews is not None:
            return await self._renew(creation, row_id(creation.renews))
        return await self._create(creation)

    async def _create(self, creation: Creation) -> Created:
        [row] = await self._ask(_steps.CREATE, *_steps.creation_arguments(creation))
        return _steps.created(row)

    async def _renew(self, creation: Creation, renews: Any) -> Created:
        """Insert a request and name it on its predecessor. In one process' time this is rare: several round trips."""
        scope = scope_number(creation.request.scope)
        async with self._transaction() as ask:
            found = await ask(_steps.PREDECESSOR, scope, renews)
            before = _rows.request(found[0]) if found else None
            same = await ask(_steps.CREATE, *_steps.creation_arguments(creation, only_look=True))
            if same and same[0]["by_key"]:
                return _steps.created(same[0])
            if not same and before is not None and before.successor_id is not None:
                after = await ask(_steps.SUCCESSOR, scope, row_id(before.successor_id))
                if after:
                    if creation.request.key is not None:
                        await ask(_steps.KEY, scope, text(creation.request.key), row_id(before.successor_id))
                    return Created(request=_rows.request(after[0]), is_new=False)
            [row] = await ask(_steps.CREATE, *_steps.creation_arguments(creation))
            made = _steps.created(row)
            if before is not None and not made.by_key and made.request.id != before.id:
                await self._link(ask, scope, before, made.request.id, creation)
            return made

    @staticmethod
    async def _link(ask: Ask, scope: int, before: DataRequest, successor_id: str, creation: Creation) -> None:
        if before.successor_id is not None and await ask(_steps.SUCCESSOR, scope, row_id(before.successor_id)):
            return
        await ask(_steps.LINK, *_steps.linked(before, successor_id, creation.renewal))

    async def commit(self, step: Step) -> Committed:
        """Commit one step, whole or not at all."""
        return await self._commit(StepRow.of(step))

    async def seen(self, scope: Scope, key: str) -> bool:
        """Return whether the inbox key is stored and not parked."""
        return bool(await self._ask(_sql.SEEN, scope_number(scope), text(key)))

    async def load(self, scope: Scope, request_id: str) -> DataRequest | None:
        """Return a request as last committed, or None."""
        found = await self._ask(_sql.LOAD, scope_number(scope), row_id(request_id))
        return _rows.request(found[0]) if found else None

    async def owners(self, scope: Scope, kind: IdKind, value: str) -> Sequence[DataRequest]:
        """Return the requests that this id names or named, as last committed."""
        found = await self._ask(_sql.OWNERS, scope_number(scope), kind.value, text(value))
        return [_rows.request(row) for row in found]

    async def buried(self, scope: Scope, kind: str, value: str) -> datetime | None:
        """Return when what the id names was purged or erased, or None."""
        found = await self._ask(_sql.BURIED, scope_number(scope), digest(kind, text(value) or ""))
        return found[0]["at"] if found else None

    async def find(self, scope: Scope, query: Query) -> Sequence[DataRequest]:
        """Return what the query asks for, in the order of ids."""
        sql, arguments = _sql.find(scope, query)
        return [_rows.request(row) for row in await self._ask(sql, *arguments)]

    async def history(self, scope: Scope, request_id: str) -> Sequence[HistoryEntry]:
        """Return a request's history, oldest first."""
        found = await self._ask(_sql.HISTORY, scope_number(scope), row_id(request_id))
        return [_rows.history_entry(row) for row in found]

    async def pages(self, scope: Scope, request_id: str, *, first: int = 0, limit: int = 100) -> Sequence[Page]:
        """Return the stored pages, by number, from the `first`-th on."""
        found = await self._ask(_sql.PAGES, scope_number(scope), row_id(request_id), first, limit)
        return [_rows.page(row) for row in found]

    # claims

    async def claim(self, scope: Scope, *, owner: str, now: datetime, lease: float, limit: int) -> Sequence[Claimed]:
        """Claim due requests, the longest due first."""
        span = timedelta(seconds=lease)
        words = (scope_number(scope), self._moment(now), owner, span, limit, _STATES, _RESOURCES)
        found = await self._ask(_sql.CLAIM, *words)
        return [
            Claimed(
                request=_rows.request(row),
                now=row["now"],
                lease_until=row["now"] + span,
                taken_over=row["taken_over"],
            )
            for row in sorted(found, key=lambda row: (row["due_at"] or row["now"], row["id"]))
        ]

    async def renew(self, scope: Scope, request_id: str, *, owner: str, now: datetime, lease: float) -> bool:
        """Prolong a lease; False if it is no longer this owner's."""
        span = timedelta(seconds=lease)
        number = scope_number(scope)
        return bool(await self._ask(_sql.RENEW, number, row_id(request_id), self._moment(now), owner, span))

    async def release(self, scope: Scope, request_id: str, *, owner: str) -> None:
        """End a lease without a step."""
        await self._ask(_sql.RELEASE, scope_number(scope), row_id(request_id), owner)

    async def next_due(self, scope: Scope) -> datetime | None:
        """Return when the next thing can be claimed or offered."""
        [row] = await self._ask(_sql.NEXT_DUE, scope_number(scope))
        due: datetime | None = row["due"]
        return due

    # parked events

    async def parked(self, scope: Scope, kind: IdKind, value: str) -> Sequence[ParkedEvent]:
        """Return the events parked under an id, oldest first."""
        found = await self._ask(_sql.PARKED, scope_number(scope), kind.value, text(value))
        return [_rows.parked_event(row) for row in found]

    async def early(self, scope: Scope, request_id: str) -> Sequence[ParkedEvent]:
        """Return the events parked under a request, oldest first."""
        found = await self._ask(_sql.EARLY, scope_number(scope), row_id(request_id))
        return [_rows.parked_event(row) for row in found]

    async def parked_due(self, scope: Scope, *, now: datetime, limit: int) -> Sequence[ParkedEvent]:
        """Return parked events that are due or past their life, oldest first."""
        found = await self._ask(_sql.PARKED_DUE, scope_number(scope), now, limit)
        return [_rows.parked_event(row) for row in found]

    async def repark(self, scope: Scope, key: str, *, due_at: datetime) -> None:
        """Count one more try and set when the next is due."""
        await self._ask(_sql.REPARK, scope_number(scope), text(key), due_at)

    async def orphan(self, scope: Scope, key: str, announcements: tuple[Announcement, ...]) -> bool:
        """Turn a parked event into a seen one and announce that; False if it is not parked."""
        number = scope_number(scope)
        async with self._transaction() as ask:
            found = await ask(_sql.ORPHAN, number, text(key))
            for row in found:
                for told in announcements:
                    about = None if told.request_id is None else row_id(told.request_id)
                    ordered = about is not None
                    await ask(
                        _sql.ORPHAN_TOLD, number, about or row["request_id"], row["at"], text(told.key), told.kind,
                        text(told.topic), told.resource, ordered, text(told.payload),
                    )  # fmt: skip
        return bool(found)

    # announcements

    async def register(self, scope: Scope, sinks: Sequence[Sink]) -> None:
        """Store the sinks that a deployment serves."""
        names = map(text, (scope.app, scope.environment, scope.region))
        await self._ask(_sql.SCOPE, scope_number(scope), *names)
        for sink in sorted(sinks, key=lambda sink: sink.name):
            states = None if sink.states is None else sorted(sink.states)
            resources = None if sink.resources is None else sorted(sink.resources)
            await self._ask(
                _sql.REGISTER, scope_number(scope), text(sink.name), states, resources, sorted(sink.webhooks),
                sink.reports,
            )  # fmt: skip

    async def unregister(self, scope: Scope, sink: str) -> int | None:
        """Forget a sink and its undelivered rows; return how many, or None if nothing was known of it."""
        known, dropped = False, 0
        while True:
            [row] = await self._ask(_sql.UNREGISTER, scope_number(scope), text(sink), _SLICE)
            known, dropped = known or bool(row["known"]), dropped + row["dropped"]
            if row["dropped"] < _SLICE:
                return dropped if known or dropped else None

    async def claim_outbox(
        self, scope: Scope, *, sinks: Sequence[str], owner: str, now: datetime, lease: float, limit: int
    ) -> Sequence[OutboxRow]:
        """Claim undelivered rows of these sinks, oldest first, one per request and sink."""
        names = [text(name) for name in dict.fromkeys(sinks)]
        span = timedelta(seconds=lease)
        found = await self._ask(_sql.CLAIM_OUTBOX, scope_number(scope), self._moment(now), names, owner, span, limit)
        return [_rows.outbox_row(row) for row in sorted(found, key=lambda row: row["number"])]

    async def delivered(self, scope: Scope, rows: Sequence[tuple[str, str]]) -> None:
        """Remove the rows of these (key, sink)."""
        if rows:
            keys, sinks = zip(*rows, strict=True)
            await self._deliver(scope_number(scope), [text(k) or "" for k in keys], [text(s) or "" for s in sinks])

    async def undelivered(
        self, scope: Scope, key: str, sink: str, *, due_at: datetime, error: str, set_aside: bool, counts: bool = True
    ) -> None:
        """Count a failed try, if it counts; set when the next is due, or set the row aside."""
        row = (scope_number(scope), text(key), text(sink))
        await self._ask(_sql.FAIL_DELIVERY, *row, due_at, text(error), set_aside, counts)

    async def redeliver(self, scope: Scope, key: str, sink: str, *, now: datetime) -> bool:
        """Bring a row that was set aside back; False if there is none."""
        [row] = await self._ask(_sql.BRING_BACK, scope_number(scope), text(key), text(sink), now)
        return bool(row["back"])

    async def outbox(self, scope: Scope, *, set_aside: bool | None = None, limit: int = 100) -> Sequence[OutboxRow]:
        """Return undelivered rows, oldest first."""
        found = await self._ask(_sql.OUTBOX[set_aside], scope_number(scope), limit)
        return [_rows.outbox_row(row) for row in found]

    async def confirm(self, scope: Scope, key: str, sink: str) -> bool:
        """Remove one outbox row; True if it was there."""
        return bool(await self._deliver(scope_number(scope), [text(key) or ""], [text(sink) or ""]))

    # upkeep

    async def counts(self, scope: Scope) -> Mapping[str, int]:
        """Return how many requests are in each state."""
        return {row["state"]: row["count"] for row in await self._ask(_sql.COUNTS, scope_number(scope))}

    async def lag(self, scope: Scope) -> Mapping[str, tuple[int, int, datetime | None]]:
        """Return for each sink: rows waiting, rows set aside, and when the oldest waiting one was announced."""
        found = await self._ask(_sql.LAG, scope_number(scope))
        return {row["name"]: (row["waiting"], row["aside"], row["oldest"]) for row in found}

    async def remember(self, scope: Scope, name: str, value: str | None = None) -> str | None:
        """Store a small value if one is given; return what is stored."""
        if value is not None:
            await self._ask(_sql.REMEMBER, scope_number(scope), text(name), text(value))
            return value
        found = await self._ask(_sql.RECALL, scope_number(scope), text(name))
        return found[0]["value"] if found else None

    async def tally(self, scope: Scope, name: str, *, add: int = 0) -> int:
        """Add to a number kept under a name, at first 0, and return it."""
        key = f"tally:{text(name)}"
        sql, more = (_sql.TALLY, [str(add)]) if add else (_sql.RECALL, [])
        found = await self._ask(sql, scope_number(scope), key, *more)
        return int(found[0]["value"]) if found else 0

    async def purge(
        self, scope: Scope, *, older_than: datetime, states: frozenset[State] | None, now: datetime, limit: int
    ) -> int:
        """Delete at most `limit` requests that ended before `older_than`, leaving tombstones; return how many."""
        chosen = None if states is None else sorted(state.value for state in states)
        gone, since = 0, _EVER
        while gone < limit:
            size = min(_BURIED, limit - gone)
            [row] = await self._ask(_sql.PURGE, scope_number(scope), older_than, chosen, size, now, since)
            gone, since = gone + row["gone"], row["since"]
            if row["gone"] < size:
                break
        return gone

    async def purge_pages(
        self, scope: Scope, *, older_than: datetime, after: str | None = None, limit: int
    ) -> Sequence[str]:
        """Delete the pages of at most `limit` requests that ended before `older_than`; return the ids."""
        first = UUID(int=0) if after is None else row_id(after)
        found = await self._ask(_sql.PURGE_PAGES, scope_number(scope), older_than, first, limit)
        return [str(row["request_id"]) for row in found]

    async def prune(self, scope: Scope, *, before: datetime) -> int:
        """Delete seen inbox rows and tombstones older than `before`; return how many."""
        total = 0
        for sql in (_sql.PRUNE_INBOX, _sql.PRUNE_STONES):
            gone = _SLICE
            while gone == _SLICE:
                [row] = await self._ask(sql, scope_number(scope), before, _SLICE)
                gone = row["gone"]
                total += gone
        return total

    async def erase(self, scope: Scope, request_id: str, *, now: datetime) -> Erased | None:
        """Delete everything of one request, leaving a tombstone; None if there is none."""
        [row] = await self._ask(_sql.ERASE, scope_number(scope), row_id(request_id), now)
        return Erased(**row) if row["requests"] else None

    async def bury(self, scope: Scope, kind: str, value: str, *, now: datetime) -> None:
        """Leave a tombstone for an id."""
        await self._ask(_sql.BURY, scope_number(scope), digest(kind, text(value) or ""), now)

    # bodies

    async def bodies(
        self, scope: Scope, part: Part, *, after: tuple[str, str] | None = None, limit: int
    ) -> Sequence[Body]:
        """Return bodies in the order of an index, those behind `after`."""
        first, second = after or _BEFORE_ALL[part]
        found = await self._ask(_sql.BODIES[part], scope_number(scope), text(first), text(second), limit)
        return [
            Body(part=part, place=(row["first"], row["second"]), tag=row["tag"], content=row["raw"], stored=row["raw"])
            for row in found
        ]

    async def rewrite(self, scope: Scope, bodies: Sequence[tuple[Body, bytes]]) -> int:
        """Replace each body by the bytes beside it where the stored ones still lie there; return how many."""
        written, left = await self._rewrite_pages(scope, bodies)
        for body, content in left:
            found = await self._ask(_sql.REWRITE[body.part], scope_number(scope), *body.place, body.stored, content)
            written += len(found)
        return written

    async def _rewrite_pages(
        self, scope: Scope, bodies: Sequence[tuple[Body, bytes]]
    ) -> tuple[int, Sequence[tuple[Body, bytes]]]:
        """Replace pages in one round trip; return how many, and what is left to be asked for one by one."""
        pages = [(*body.place, body.stored, content) for body, content in bodies if body.part is Part.pages]
        if not pages:
            return 0, bodies
        found = await self._ask(_sql.REWRITE_PAGES, scope_number(scope), *map(list, zip(*pages, strict=True)))
        done = {pages[row["number"] - 1][:2] for row in found}
        return len(done), [(body, new) for body, new in bodies if body.part is not Part.pages or body.place not in done]
