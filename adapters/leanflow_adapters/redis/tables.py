"""What is under a prefix as rows that any other store can take; see `leanflow_adapters._tables`."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from leanflow.errors import MigrationNeeded, StoreUnavailable
from leanflow_adapters._tables import MARK, MARK_SCOPE, Row, Table, Tables, place_of, place_text
from leanflow_adapters.redis._connection import send, translated
from leanflow_adapters.redis._neutral import arguments
from leanflow_adapters.redis._reading import Reading
from leanflow_adapters.redis._rows import base_at, text, written
from leanflow_adapters.redis._scripts import COPY
from leanflow_adapters.redis._steps import listed
from leanflow_adapters.redis.store import RedisStore

__all__ = ["tables"]

_SLICE = 1000  # what one script goes through
_KEYS = 5000  # the same, where it only looks at names
_MEASURES = ("version", "call", "history", "ids", "pages", "leases")
_SIZES = {
    "tombstones": [("ZCARD", b"stones")],
    "inbox": [("ZCARD", b"inbox")],
    "keys": [("HLEN", b"keys")],
    "notes": [("HLEN", b"notes"), ("HLEN", b"tallies")],
    "parked": [("ZCARD", b"parked")],
    "requests": [("ZCARD", b"all")],
    "outbox": [("HLEN", b"places")],
    "sinks": [("HLEN", b"sinks")],
    "scopes": [("EXISTS", b"scope")],
}
"""How the rows of a table are counted, but for what belongs to requests."""


@asynccontextmanager
async def tables(store: RedisStore, *, whole: bool = False) -> AsyncIterator[Tables]:
    """Give what a store that is not open keeps.

    Raises:
        MigrationNeeded: some of it is in a newer layout, and wanted `whole`: it may hold what is not known here.
    """
    await store.open()  # looks at the server, and brings the scripts
    await store.aclose()
    client = store._connect()  # noqa: SLF001 - the same package
    try:
        found = _Tables(client, store)
        if whole:
            await found.look()
        yield found
    finally:
        await client.aclose(close_connection_pool=True)


class _Tables:
    def __init__(self, client: Redis, store: RedisStore) -> None:
        self._client = client
        self._store = store
        self._prefix = store._prefix  # noqa: SLF001 - the same package
        self._order: list[Reading] | None = None
        self._known: frozenset[int] | None = None  # scopes: the whole database is looked through for them

    async def look(self) -> None:
        """Raise if a scope is in a newer layout."""
        layouts, own = await self._scan()
        self._known = frozenset(layouts) - {MARK_SCOPE}
        newest = max(layouts.values(), default=own)
        if newest > own:
            raise MigrationNeeded(repr(self._store), newest, own)

    async def in_use(self) -> str | None:
        """Return what shows that the store is being worked with, or None if nothing does."""
        scopes = await self.scopes()
        leases = sum([(await self._measured(scope))["leases"] for scope in scopes])
        if leases:
            return f"{leases} leases are out: of a worker that runs, or was killed just now"
        if not scopes:
            return None
        with translated():
            told = await self._client.pubsub_numsub(*(self._base(scope) + b"hints" for scope in scopes))
        hearing = sum(int(number) for _, number in told)
        return f"{hearing} processes listen for its hints" if hearing else None

    async def pulse(self) -> str:
        """Return a text that is another one after anything was done with the store."""
        self._known = None  # an application may have begun
        beats = []
        for scope in sorted(await self.scopes()):
            sizes = await self._ask(
                [
                    ("GET", self._base(scope) + b"number"),
                    *((command, self._base(scope) + key) for some in _SIZES.values() for command, key in some),
                ]
            )
            sizes[0] = int(sizes[0] or 0)
            measured = await self._measured(scope)
            sums = [measured[name] for name in _MEASURES if name != "leases"]
            tries = [await self._sums(scope, b"tried", index) for index in (b"told", b"parked")]
            beats.append([scope, *sizes, *sums, *(number for one in tries for number in one)])
        return place_text(beats)

    async def scopes(self) -> frozenset[int]:
        """Return the scopes that have rows, but for `MARK_SCOPE`."""
        if self._known is None:
            self._known = frozenset((await self._scan())[0]) - {MARK_SCOPE}
        return self._known

    async def count(self, table: Table, scopes: Sequence[int]) -> int:
        """Return how many rows these scopes have in a table."""
        total = 0
        for scope in scopes:
            if table.name in _SIZES:
                total += sum(await self._ask([(one, self._base(scope) + key) for one, key in _SIZES[table.name]]))
            else:
                total += (await self._measured(scope))[table.name]
        return total

    async def read(self, table: Table, after: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
        """Return rows behind a place, in an order in which they may be written, and the place of the last."""
        if self._order is None:
            self._order = [self._reading(scope) for scope in sorted(await self.scopes())]
        last, place = (None, None) if after is None else place_of(after)
        for reading in self._order:
            if last is not None and reading.scope < last:
                continue
            rows, behind = await reading.read(table, place if reading.scope == last else None, limit)
            if rows:
                return rows, place_text([reading.scope, behind])
        return [], after

    async def write(self, table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
        """Write rows, and the mark over the one `before` it, in one script; False if that one is not there."""
        whose = list(table.columns).index("scope")
        own = [(self._base(row[whose]), *arguments(table, row)) for row in rows]
        width = len(own[0]) if own else 0
        said = (written(before), written(mark), table.name.encode(), width, *listed(own))
        [is_written] = await self._ask([(COPY, self._base(MARK_SCOPE), b"write", *said)])
        return bool(is_written)

    async def mark(self) -> str | None:
        """Return the mark, or None."""
        [found] = await self._ask([("HGET", self._base(MARK_SCOPE) + b"notes", MARK)])
        return None if found is None else text(found)

    async def kinds(self, scope: int) -> Sequence[tuple[str, str, int]]:
        """Return which states and resources a scope's requests have, and how many each."""
        reading = self._reading(scope)
        found: Counter[tuple[str, str]] = Counter()
        ids = await reading.behind(b"all", b"")
        while ids:
            fields = await reading.fields([b"r:" + one for one in ids], ["state", "resource"])
            found.update((text(state), text(resource)) for state, resource in fields)
            ids = await reading.behind(b"all", ids[-1])
        return [(*kind, count) for kind, count in sorted(found.items())]

    async def conditions(self) -> Sequence[tuple[str, bool, str]]:
        """Return what is to be known of the server: which thing, whether it is as it should be, and what to do."""
        return await self._store.conditions()

    async def settle(self) -> None:
        """Do nothing: there is nothing that Redis likes done."""

    # how it asks

    def _base(self, scope: int) -> bytes:
        return base_at(self._prefix, scope)

    def _reading(self, scope: int) -> Reading:
        return Reading(scope, self._base(scope), self._ask)

    async def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        if not commands:
            return []
        replies = await send(self._client, commands)
        for reply in replies:
            if isinstance(reply, StoreUnavailable):
                raise reply
        return replies

    async def _scan(self) -> tuple[dict[int, int], int]:
        """Look through the names of all keys of the database; return each scope's layout, and this version's."""
        found: dict[int, int] = {}
        cursor, own, prefix = b"0", 0, written(f"{{{self._prefix}:")
        while True:
            [(cursor, own, *some)] = await self._ask([(COPY, b"", b"scan", cursor, prefix, _KEYS)])
            for scope, layout in zip(some[::2], some[1::2], strict=True):
                number = int(scope, 16)
                found[number - 2**64 if number >= 2**63 else number] = int(layout)
            if cursor == b"0":
                return found, own

    async def _measured(self, scope: int) -> dict[str, int]:
        return dict(zip(_MEASURES, await self._sums(scope, b"measure"), strict=True))

    async def _sums(self, scope: int, name: bytes, *arguments: bytes) -> list[int]:
        """Run a script slice by slice; return the sums of what each returns behind the last it looked at."""
        [[last, *found]] = await self._ask([(COPY, self._base(scope), name, *arguments, b"", _SLICE)])
        sums: list[int] = found
        while last:
            [[last, *more]] = await self._ask([(COPY, self._base(scope), name, *arguments, last, _SLICE)])
            sums = [one + other for one, other in zip(sums, more, strict=True)]
        return sums
