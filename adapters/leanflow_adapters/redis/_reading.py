"""What Redis keeps, row by row: slices of one scope and table, behind a place.

A place is what the last row is found by in its table's order: of what belongs to requests the id of one and how many of
its rows were had, of what is ordered by time the rank, of what is numbered the number. Indexes are asked first and what
they name then: what went in between, where somebody works with the store, is passed over.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from leanflow_adapters._tables import Row, Table
from leanflow_adapters.redis import _neutral
from leanflow_adapters.redis._rows import text, time, written
from leanflow_adapters.redis._scripts import COPY
from leanflow_adapters.redis._upkeep import pairs

__all__ = ["Ask", "Reading"]

Ask = Callable[[Sequence[tuple[Any, ...]]], Awaitable[Sequence[Any]]]
"""Sends commands in one round trip and returns the replies."""

Slice = tuple[Sequence[Row], Any]
"""Rows, and the place of the last."""

_SLICE = 1000  # members of an index asked for at once
_BATCH = 100  # requests of which it is asked at once what belongs to them

_MEMBERS: Mapping[str, tuple[bytes, str, bytes, tuple[int, ...]]] = MappingProxyType(
    {
        "history": (b"all", "LRANGE", b"h:", (0, -1)),
        "ids": (b"all", "HKEYS", b"names:", ()),
        "keys": (b"all", "SMEMBERS", b"named:", ()),
        "pages": (b"paged", "HKEYS", b"pages:", ()),
    }
)
"""Of what belongs to requests: the index that has those, and how it is asked for."""


@attrs.define(eq=False)
class Reading:
    """What one scope has.

    Attributes:
        scope: its number.
        base: what all its keys begin with.
    """

    scope: int
    base: bytes
    _ask: Ask
    _parked: list[tuple[int, bytes]] | None = None

    async def read(self, table: Table, place: Any, limit: int) -> Slice:
        """Return at most so many rows behind a place, None for the first."""
        match table.name:
            case "requests":
                return await self._requests(place, limit)
            case "keys" | "ids" | "history" | "pages":
                return await self._of_requests(table.name, place, limit)
            case "tombstones" | "inbox":
                return await self._by_time(table.name, place or 0, limit)
            case "parked":
                return await self._parked_events(place or 0, limit)
            case "outbox":
                return await self._announcements(place, limit)
            case _:
                return [] if place else await self._whole(table.name), True

    async def behind(self, index: bytes, after: bytes, limit: int = _SLICE) -> Sequence[bytes]:
        """Return the members of an index without scores behind one of them."""
        start = b"(" + after if after else b"-"
        [found] = await self._ask([("ZRANGEBYLEX", self.base + index, start, b"+", b"LIMIT", 0, limit)])
        return list(found)

    async def fields(self, keys: Sequence[bytes], names: Sequence[str]) -> Sequence[Sequence[bytes]]:
        """Return fields of hashes."""
        return await self._ask([("HMGET", self.base + key, *names) for key in keys])

    # requests, and what belongs to them

    async def _requests(self, place: Any, limit: int) -> Slice:
        ids = await self.behind(b"all", written(place), limit)
        found = await self.fields([b"r:" + one for one in ids], _neutral.REQUEST)
        rows = [_neutral.request_row(self.scope, *one) for one in zip(ids, found, strict=True) if None not in one[1]]
        return rows, text(ids[-1]) if ids else place

    async def _of_requests(self, name: str, place: Any, limit: int) -> Slice:
        index, batch = _MEMBERS[name][0], min(_BATCH, limit)
        last, had = place or ("", 0)
        ids: Sequence[bytes] = [written(last)] if place else await self.behind(index, b"", batch)
        taken: list[tuple[bytes, bytes]] = []
        while ids:
            for one, members in zip(ids, await self._members(name, ids), strict=True):
                more = members[had : had + limit - len(taken)]
                taken += [(one, member) for member in more]
                place = (text(one), had + len(more))
                if len(taken) == limit:
                    return await self._belonging(name, taken), place
                had = 0
            ids = await self.behind(index, ids[-1], batch)
        return await self._belonging(name, taken), place

    async def _members(self, name: str, ids: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
        _, command, kind, arguments = _MEMBERS[name]
        found = await self._ask([(command, self.base + kind + one, *arguments) for one in ids])
        if name == "history":
            return found
        return [sorted(set(members) - {b"request:" + one}) for one, members in zip(ids, found, strict=True)]

    async def _belonging(self, name: str, taken: Sequence[tuple[bytes, bytes]]) -> Sequence[Row]:
        match name:
            case "history":
                return [_neutral.history_row(self.scope, one, entry) for one, entry in taken]
            case "ids":
                return [_neutral.id_row(self.scope, one, place) for one, place in taken]
            case "keys":
                return [(self.scope, text(key), text(one)) for one, key in taken]
        pages = await self._ask([("HGET", self.base + b"pages:" + one, number) for one, number in taken])
        found = zip(taken, pages, strict=True)
        return [_neutral.page_row(self.scope, one, page) for (one, _), page in found if page is not None]

    # what is ordered by time or number

    async def _by_time(self, name: str, rank: int, limit: int) -> Slice:
        index = b"stones" if name == "tombstones" else name.encode()
        [found] = await self._ask([(COPY, self.base, b"ranked", index, rank, limit)])
        rows: list[Row] = []
        for member, score in zip(found[::2], found[1::2], strict=True):
            at = time(score)
            # which kind of event it was is not kept of what was seen
            rows.append((self.scope, member, at) if name == "tombstones" else (self.scope, text(member), "", at))
        return rows, rank + len(rows)

    async def _parked_events(self, number: int, limit: int) -> Slice:
        if self._parked is None:
            self._parked = await self._numbered()
        first = bisect_right(self._parked, number, key=lambda one: one[0])
        chosen = self._parked[first : first + limit]
        found = await self.fields([b"p:" + key for _, key in chosen], _neutral.PARKED)
        offered = await self._ask([("ZSCORE", self.base + b"offered", key) for _, key in chosen])
        rows = [
            _neutral.parked_row(self.scope, key, score, fields)
            for (_, key), score, fields in zip(chosen, offered, found, strict=True)
            if score is not None and None not in fields
        ]
        return rows, chosen[-1][0] if chosen else number

    async def _numbered(self) -> list[tuple[int, bytes]]:
        """Return all parked events in the order in which they came."""
        found: list[tuple[int, bytes]] = []
        keys = await self.behind(b"parked", b"")
        while keys:
            numbers = await self.fields([b"p:" + key for key in keys], ["number"])
            found += [(int(number), key) for (number,), key in zip(numbers, keys, strict=True) if number]
            keys = await self.behind(b"parked", keys[-1])
        return sorted(found)

    async def _announcements(self, place: Any, limit: int) -> Slice:
        [names] = await self._ask([("HKEYS", self.base + b"sinks")])
        start = f"({place}" if place else "-inf"
        found = await self._ask(
            [
                ("ZRANGEBYSCORE", self.base + kind + name, start, "+inf", "LIMIT", 0, limit)
                for name in (*names, b"wake")
                for kind in (b"w:", b"a:")
            ]
        )
        numbers = sorted(number for some in found for number in some)[:limit]
        rows = await self.fields([b"o:" + number for number in numbers], _neutral.OUTBOX)
        there = [_neutral.outbox_row(self.scope, row) for row in rows if None not in row]
        return there, text(numbers[-1]) if numbers else place

    # what is a handful

    async def _whole(self, name: str) -> Sequence[Row]:
        if name == "scopes":
            [found] = await self.fields([b"scope"], ["app", "environment", "region"])
            return [] if found[0] is None else [(self.scope, *map(text, found))]
        if name == "sinks":
            [found] = await self._ask([("HGETALL", self.base + b"sinks")])
            return [_neutral.sink_row(self.scope, *one) for one in sorted(pairs(found))]
        notes, tallies = await self._ask([("HGETALL", self.base + kind) for kind in (b"notes", b"tallies")])
        named = [(text(name), text(value)) for name, value in pairs(notes)]
        named += [(_neutral.TALLY + text(name), text(value)) for name, value in pairs(tallies)]
        return [(self.scope, *one) for one in sorted(named)]
