"""The port's methods: steps, claims, parked events, announcements; the rest is in `_upkeep`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from leanflow._request import DataRequest, IdKind, Resource, Scope, State
from leanflow.errors import StoreUnavailable
from leanflow.events import Page
from leanflow.ports import (
    Announcement,
    Claimed,
    Committed,
    Created,
    Creation,
    HistoryEntry,
    OutboxRow,
    Outcome,
    ParkedEvent,
    Sink,
    Step,
)
from leanflow_adapters.redis import _rows
from leanflow_adapters.redis._asking import SLICE
from leanflow_adapters.redis._rows import micros, text, written
from leanflow_adapters.redis._scripts import STEPS, WORK
from leanflow_adapters.redis._steps import creation_arguments, listed, page_field, step_arguments, stone, told
from leanflow_adapters.redis._upkeep import Upkeep

__all__ = ["Methods"]

_LOOK = 1000  # parked events that are looked at for the oldest of them
_RENEWALS = 100  # times that a renewal is tried: each time another step came between
_TICK = datetime.resolution
_KNOWN = (*listed([(written(state),) for state in State]), *listed([(written(resource),) for resource in Resource]))


class Methods(Upkeep):
    """Every method of the port that touches rows."""

    # steps

    async def create(self, creation: Creation) -> Created:
        """Insert a request, unless one like it is there."""
        scope = creation.request.scope
        for _ in range(_RENEWALS):
            before = None if creation.renews is None else await self.load(scope, creation.renews)
            status, record, call_no = await self._run(STEPS, b"create", scope, *creation_arguments(creation, before))
            if status == b"new":
                return Created(request=creation.request, is_new=True)
            if status != b"again":
                found = _rows.request(record, call_no)
                return Created(request=found, is_new=False, by_key=status == b"key")
        raise StoreUnavailable("the request to be renewed changes all the time")

    async def commit(self, step: Step) -> Committed:
        """Commit one step, whole or not at all."""
        weight = sum(len(page.raw) for page in step.pages)
        ended = await self._run(STEPS, b"commit", step.scope, *step_arguments(step), weight=weight)
        outcome, announced, ids_are_new = ended
        return Committed(outcome=Outcome(outcome.decode()), announced=announced, ids_are_new=bool(ids_are_new))

    async def seen(self, scope: Scope, key: str) -> bool:
        """Return whether the inbox key is stored and not parked."""
        return await self._ask("ZSCORE", self._base(scope) + b"inbox", written(key)) is not None

    async def load(self, scope: Scope, request_id: str) -> DataRequest | None:
        """Return a request as last committed, or None."""
        record, call_no = await self._ask("HMGET", self._key(scope, b"r:", request_id), "record", "call_no")
        return None if record is None else _rows.request(record, call_no)

    async def owners(self, scope: Scope, kind: IdKind, value: str) -> Sequence[DataRequest]:
        """Return the requests that this id names or named, as last committed."""
        found = await self._ask("SMEMBERS", self._key(scope, b"id:", f"{kind}:{value}"))
        requests = await asyncio.gather(*(self.load(scope, request_id) for request_id in sorted(map(text, found))))
        return [request for request in requests if request is not None]

    async def buried(self, scope: Scope, kind: str, value: str) -> datetime | None:
        """Return when what the id names was purged or erased, or None."""
        at = await self._ask("ZSCORE", self._base(scope) + b"stones", stone(kind, value))
        return None if at is None else _rows.time(b"%d" % int(float(at)))

    async def history(self, scope: Scope, request_id: str) -> Sequence[HistoryEntry]:
        """Return a request's history, oldest first."""
        entries = await self._ask_alone("LRANGE", self._key(scope, b"h:", request_id), 0, -1)
        return [_rows.history_entry(request_id, entry) for entry in entries]

    async def pages(self, scope: Scope, request_id: str, *, first: int = 0, limit: int = 100) -> Sequence[Page]:
        """Return the stored pages, by number, from the `first`-th on."""
        key = self._key(scope, b"pages:", request_id)
        numbers = sorted(number for number in await self._ask("HKEYS", key) if number >= page_field(first))[:limit]
        if not numbers:
            return []
        stored = await self._ask_alone("HMGET", key, *numbers)
        return [_rows.page(one) for one in stored if one is not None]

    # claims

    async def claim(self, scope: Scope, *, owner: str, now: datetime, lease: float, limit: int) -> Sequence[Claimed]:
        """Claim due requests, the longest due first."""
        arguments = (self._moment(now), written(owner), _span(lease), limit, *_KNOWN)
        moment, rows = await self._run(WORK, b"claim", scope, *arguments)
        then = _rows.time(moment) or now
        return [
            Claimed(
                request=_rows.request(record, call_no),
                now=then,
                lease_until=then + timedelta(seconds=lease),
                taken_over=bool(taken_over),
            )
            for _, record, call_no, taken_over, _ in sorted(rows, key=lambda row: (int(row[4] or 0), row[0]))
        ]

    async def renew(self, scope: Scope, request_id: str, *, owner: str, now: datetime, lease: float) -> bool:
        """Prolong a lease, never shorten it; False if it is no longer this owner's."""
        arguments = (self._moment(now), written(owner), _span(lease), written(request_id))
        return bool(await self._run(WORK, b"renew", scope, *arguments))

    async def release(self, scope: Scope, request_id: str, *, owner: str) -> None:
        """End a lease without a step."""
        await self._run(WORK, b"release", scope, written(owner), written(request_id))

    async def next_due(self, scope: Scope) -> datetime | None:
        """Return when the next thing can be claimed or offered."""
        return _rows.time(await self._run(WORK, b"next_due", scope))

    # parked events

    async def parked(self, scope: Scope, kind: IdKind, value: str) -> Sequence[ParkedEvent]:
        """Return the events parked under an id, oldest first."""
        rows = await self._run(WORK, b"parked", scope, written(f"under:{kind}:{value}"))
        return [_rows.parked_event(row) for row in rows]

    async def early(self, scope: Scope, request_id: str) -> Sequence[ParkedEvent]:
        """Return the events parked under a request, oldest first."""
        return [_rows.parked_event(r) for r in await self._run(WORK, b"parked", scope, written(f"early:{request_id}"))]

    async def parked_due(self, scope: Scope, *, now: datetime, limit: int) -> Sequence[ParkedEvent]:
        """Return parked events that are due or past their life, oldest first."""
        rows = await self._run(WORK, b"parked_due", scope, micros(now), limit, max(limit, _LOOK))
        return [_rows.parked_event(row) for row in rows]

    async def repark(self, scope: Scope, key: str, *, due_at: datetime) -> None:
        """Count one more try and set when the next is due."""
        await self._run(WORK, b"repark", scope, written(key), micros(due_at))

    async def orphan(self, scope: Scope, key: str, announcements: tuple[Announcement, ...]) -> bool:
        """Turn a parked event into a seen one and announce that; False if it is not parked."""
        return bool(await self._run(WORK, b"orphan", scope, written(key), *told(announcements)))

    # announcements

    async def register(self, scope: Scope, sinks: Sequence[Sink]) -> None:
        """Store the sinks that a deployment serves."""
        if sinks:
            fields = [value for sink in sinks for value in (written(sink.name), _rows.sink_bytes(sink))]
            await self._ask("HSET", self._base(scope) + b"sinks", *fields)

    async def unregister(self, scope: Scope, sink: str) -> int | None:
        """Forget a sink and its undelivered rows; return how many, or None if nothing was known of it.

        The sink goes with the last of its rows: cut short, this may be done again.
        """
        total = 0
        while True:
            known, dropped = await self._run_alone(WORK, b"unregister", scope, written(sink), SLICE)
            total += dropped
            if dropped < SLICE:
                return total if known or total else None

    async def claim_outbox(
        self, scope: Scope, *, sinks: Sequence[str], owner: str, now: datetime, lease: float, limit: int
    ) -> Sequence[OutboxRow]:
        """Claim undelivered rows of these sinks, oldest first, one per request and sink."""
        del owner  # a lease here is a due time in the future: nobody asks whose it is
        names = listed([(written(name),) for name in dict.fromkeys(sinks)])
        rows = await self._run(WORK, b"claim_outbox", scope, self._moment(now), _span(lease), limit, *names)
        return [_rows.outbox_row(row) for row in sorted(rows, key=lambda row: row[-1])]

    async def delivered(self, scope: Scope, rows: Sequence[tuple[str, str]]) -> None:
        """Remove the rows of these (key, sink)."""
        if rows:
            await self._deliver(scope, rows)

    async def _deliver(self, scope: Scope, rows: Sequence[tuple[str, str]]) -> int:
        gone: int = await self._run(WORK, b"deliver", scope, *listed([tuple(map(written, row)) for row in rows]))
        return gone

    async def undelivered(
        self, scope: Scope, key: str, sink: str, *, due_at: datetime, error: str, set_aside: bool, counts: bool = True
    ) -> None:
        """Count a failed try, if it counts; set when the next is due, or set the row aside."""
        arguments = (written(key), written(sink), micros(due_at), written(error), int(set_aside), int(counts))
        await self._run(WORK, b"undelivered", scope, *arguments)

    async def redeliver(self, scope: Scope, key: str, sink: str, *, now: datetime) -> bool:
        """Bring a row that was set aside back; False if there is none."""
        return bool(await self._run(WORK, b"redeliver", scope, written(key), written(sink), micros(now)))

    async def outbox(self, scope: Scope, *, set_aside: bool | None = None, limit: int = 100) -> Sequence[OutboxRow]:
        """Return undelivered rows, oldest first."""
        which = b"" if set_aside is None else b"%d" % set_aside
        return [_rows.outbox_row(row) for row in await self._run_alone(WORK, b"outbox", scope, which, limit)]

    async def confirm(self, scope: Scope, key: str, sink: str) -> bool:
        """Remove one outbox row; True if it was there."""
        return bool(await self._deliver(scope, [(key, sink)]))


def _span(seconds: float) -> int:
    return timedelta(seconds=seconds) // _TICK
