"""The port's methods that search, keep and delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from leanflow._request import DataRequest, Scope, State
from leanflow.ports import Body, Erased, Part, Query
from leanflow_adapters.redis import _rows
from leanflow_adapters.redis._asking import SLICE, Asking
from leanflow_adapters.redis._rows import micros, text, written
from leanflow_adapters.redis._scripts import UPKEEP, WORK
from leanflow_adapters.redis._steps import listed, stone

__all__ = ["Upkeep", "pairs"]

_BURIED = 50  # requests buried by one script: each takes what belongs to it along


class Upkeep(Asking):
    """Finding, counting, small values, deleting, bodies."""

    async def find(self, scope: Scope, query: Query) -> Sequence[DataRequest]:
        """Return what the query asks for, in the order of ids."""
        fields = (query.resource, query.entity_id, query.customer_id, query.reference, query.failure, query.held)
        states = [] if query.states is None else [(state.value.encode(),) for state in sorted(query.states)]
        after, found = written(query.after), list[DataRequest]()
        if query.states is not None and not states:
            return found
        while len(found) < query.limit:
            after, *rows = await self._run_alone(
                UPKEEP, b"find", scope, after, query.limit - len(found), SLICE, micros(query.older_than),
                *map(written, fields), *listed(states), *listed([(index,) for index in _indexes(query)]),
            )  # fmt: skip
            found += [_rows.request(*pair) for pair in zip(rows[::2], rows[1::2], strict=True)]
            if not after:
                break
        return found

    async def counts(self, scope: Scope) -> Mapping[str, int]:
        """Return how many requests are in each state."""
        found = await self._ask("HGETALL", self._base(scope) + b"counts")
        numbers = {text(state): int(number) for state, number in pairs(found)}
        return {state: number for state, number in numbers.items() if number}

    async def lag(self, scope: Scope) -> Mapping[str, tuple[int, int, datetime | None]]:
        """Return for each sink: rows waiting, rows set aside, and when the oldest waiting one was announced."""
        rows = await self._run(WORK, b"lag", scope)
        return {text(name): (waiting, aside, _rows.time(oldest)) for name, waiting, aside, oldest in rows}

    async def remember(self, scope: Scope, name: str, value: str | None = None) -> str | None:
        """Store a small value if one is given; return what is stored."""
        key = self._base(scope) + b"notes"
        if value is not None:
            await self._ask("HSET", key, written(name), written(value))
            return value
        found = await self._ask("HGET", key, written(name))
        return None if found is None else text(found)

    async def tally(self, scope: Scope, name: str, *, add: int = 0) -> int:
        """Add to a number kept under a name, at first 0, and return it."""
        key = self._base(scope) + b"tallies"
        if add:
            return int(await self._ask("HINCRBY", key, written(name), add))
        return int(await self._ask("HGET", key, written(name)) or 0)

    async def purge(
        self, scope: Scope, *, older_than: datetime, states: frozenset[State] | None, now: datetime, limit: int
    ) -> int:
        """Delete at most `limit` requests that ended before `older_than`, leaving tombstones; return how many."""
        chosen = State.ends() if states is None else states
        names = listed([(state.value.encode(),) for state in sorted(chosen)])
        gone = 0
        while gone < limit:
            size = min(_BURIED, limit - gone)
            some = await self._run_alone(UPKEEP, b"purge", scope, micros(older_than), micros(now), size, *names)
            gone += some
            if some < size:
                break
        return gone

    async def purge_pages(
        self, scope: Scope, *, older_than: datetime, after: str | None = None, limit: int
    ) -> Sequence[str]:
        """Delete the pages of at most `limit` requests that ended before `older_than`; return the ids."""
        place, gone = written(after), list[str]()
        while len(gone) < limit:
            arguments = (micros(older_than), place, limit - len(gone), SLICE)
            place, *some = await self._run_alone(UPKEEP, b"purge_pages", scope, *arguments)
            gone += map(text, some)
            if not place:
                break
        return gone

    async def prune(self, scope: Scope, *, before: datetime) -> int:
        """Delete seen inbox rows and tombstones older than `before`; return how many."""
        total, some = 0, SLICE
        while some == SLICE:
            some = await self._run_alone(UPKEEP, b"prune", scope, micros(before), SLICE)
            total += some
        return total

    async def erase(self, scope: Scope, request_id: str, *, now: datetime) -> Erased | None:
        """Delete everything of one request, leaving a tombstone; None if there is none."""
        found = await self._run_alone(UPKEEP, b"erase", scope, written(request_id), micros(now))
        if not found:
            return None
        history, pages, inbox, parked, announcements, webhooks = found
        return Erased(
            requests=1,
            history=history,
            pages=pages,
            inbox=inbox,
            parked=parked,
            announcements=announcements,
            webhooks=webhooks,
        )

    async def bury(self, scope: Scope, kind: str, value: str, *, now: datetime) -> None:
        """Leave a tombstone for an id."""
        await self._ask("ZADD", self._base(scope) + b"stones", micros(now), stone(kind, value))

    # bodies

    async def bodies(
        self, scope: Scope, part: Part, *, after: tuple[str, str] | None = None, limit: int
    ) -> Sequence[Body]:
        """Return bodies in the order of an index, those behind `after`."""
        first, second = after or ("", "")
        rows = await self._run_alone(UPKEEP, part.value.encode(), scope, written(first), written(second), limit)
        return [_body(part, row) for row in rows]

    async def rewrite(self, scope: Scope, bodies: Sequence[tuple[Body, bytes]]) -> int:
        """Replace each body by the bytes beside it where the stored ones still lie there; return how many."""
        base = self._base(scope)
        commands = [
            (UPKEEP, base, f"rewrite_{body.part}".encode(), *map(written, body.place), body.stored, content)
            for body, content in bodies
        ]
        return sum(await self._ask_together(commands))


def _indexes(query: Query) -> Sequence[bytes]:
    """Return the narrowest of the indexes that have all that is asked for."""
    named = (
        ("reference:", query.reference),
        ("customer:", query.customer_id),
        ("entity:", query.entity_id),
        ("failure:", query.failure),
        ("held:", query.held),
    )
    for index, value in named:
        if value is not None:
            return [written(index + value)]
    return [b"all"] if query.states is None else [f"s:{state.value}".encode() for state in sorted(query.states)]


def pairs(found: Any) -> Sequence[tuple[bytes, bytes]]:
    """Return what HGETALL found: a dict under RESP3 or by redis-py's own doing, else a flat list."""
    return list(found.items()) if isinstance(found, dict) else list(zip(found[::2], found[1::2], strict=True))


def _body(part: Part, row: Sequence[bytes]) -> Body:
    first, second, tag, stored = row
    if part is Part.pages:
        stored = stored.partition(b"\n")[2]
    return Body(part=part, place=(text(first), text(second)), tag=text(tag), content=stored, stored=stored)
