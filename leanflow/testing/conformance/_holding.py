"""What the port promises of bodies (pages, parked events, announcements), of erasing, and of what stays to tell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import product

from leanflow._request import DataRequest, IdKind
from leanflow.events import Page
from leanflow.ports import Announcement, Body, Erased, Parking, Part, Query, Sink, Store
from leanflow.testing.conformance._samples import (
    ALL,
    ELSEWHERE,
    SCOPE,
    a_change,
    a_step,
    at,
    end,
    park,
    stored,
)

__all__ = ["Holding"]

HOOKS = Sink(name="hooks", webhooks=frozenset({"*"}))
SINKS = (ALL, Sink(name="too", reports=True), HOOKS)
Reopen = Callable[[], Awaitable[Store]]


class Holding:
    """Bodies and tombstones."""

    async def test_tallies_add_up(self, store: Store, reopen: Reopen) -> None:
        """A number is 0 at first, and no addition of two at once is lost; each scope has its own."""
        other = await reopen()
        assert await store.tally(SCOPE, "dropped") == 0
        await asyncio.gather(*((store, other)[n % 2].tally(SCOPE, "dropped", add=1) for n in range(10)))
        assert await store.tally(SCOPE, "dropped", add=5) == 15
        assert await other.tally(SCOPE, "dropped") == 15
        assert await store.tally(SCOPE, "else") == 0
        assert await store.tally(ELSEWHERE[0], "dropped") == 0

    async def test_a_tombstone_says_since_when(self, store: Store) -> None:
        """`bury` leaves one for any id; `buried` tells when; it is pruned like all others, of its scope."""
        assert await store.buried(SCOPE, "entity", "e-1") is None
        await store.bury(SCOPE, "entity", "e-1", now=at(5))
        assert await store.buried(SCOPE, "entity", "e-1") == at(5)
        await store.bury(SCOPE, "entity", "e-1", now=at(7))
        assert await store.buried(SCOPE, "entity", "e-1") == at(7)
        assert await store.buried(SCOPE, "customer", "e-1") is None
        assert await store.buried(ELSEWHERE[0], "entity", "e-1") is None
        assert await store.prune(SCOPE, before=at(8)) == 1
        assert await store.buried(SCOPE, "entity", "e-1") is None

    async def test_what_is_erased_is_counted(self, store: Store) -> None:
        """The report of `erase` has each row that went, and no other request's."""
        await store.register(SCOPE, [ALL, HOOKS])
        request, other = await stored(store, 1), await stored(store, 2)
        webhook = Announcement(key="webhook:event-1", kind="webhook", topic="any", payload="{}")
        done = end(
            request,
            "event-1",
            ids=((IdKind.results, "r-1"),),
            pages=(Page(raw=b"0"), Page(raw=b"1", number=1)),
            announcements=(a_change(request), webhook),
        )
        await store.commit(done)
        assert done.after is not None
        early = Parking(request_id=request.id, expires_at=at(60))
        await store.commit(a_step(done.after, "early", after=None, inbox={"parking": early, "raw": b"x"}))
        await park(store, "late")
        await store.commit(a_step(other, "event-2", announcements=(a_change(other),)))
        assert await store.erase(SCOPE, request.id, now=at(100)) == Erased(
            requests=1, history=3, pages=2, inbox=1, parked=2, announcements=1, webhooks=1
        )
        assert len(await store.outbox(SCOPE)) == 1
        assert await store.seen(SCOPE, "event-2")
        assert len(await store.history(SCOPE, other.id)) == 2

    # pages

    async def test_purging_pages_leaves_the_rest(self, store: Store) -> None:
        """Pages of requests that ended before `older_than` go; requests, history and younger pages stay."""
        old, young = [await self._fetched(store, n, seconds) for n, seconds in ((1, 10), (2, 20))]
        history = await store.history(SCOPE, old.id)
        assert await store.purge_pages(ELSEWHERE[0], older_than=at(15), limit=10) == []
        assert await store.purge_pages(SCOPE, older_than=at(15), limit=10) == [old.id]
        assert not await store.pages(SCOPE, old.id)
        assert [page.raw for page in await store.pages(SCOPE, young.id)] == [b"0", b"1"]
        assert await store.load(SCOPE, old.id) == old
        assert await store.history(SCOPE, old.id) == history
        assert await store.purge_pages(SCOPE, older_than=at(15), limit=10) == []

    async def test_purging_pages_goes_on_behind_an_id(self, store: Store) -> None:
        """At most `limit` requests at a time, in the order of ids, behind `after`."""
        ids = [(await self._fetched(store, n, 10)).id for n in range(1, 6)]
        assert await store.purge_pages(SCOPE, older_than=at(15), limit=2) == ids[:2]
        assert await store.purge_pages(SCOPE, older_than=at(15), after=ids[2], limit=10) == ids[3:]
        assert [len(await store.pages(SCOPE, each)) for each in ids] == [0, 0, 2, 0, 0]
        assert len(await store.find(SCOPE, Query())) == 5

    # bodies

    async def test_each_body_is_met_once(self, store: Store) -> None:
        """Going on behind the last place, whatever the limit, all of a scope are met, each once, as stored."""
        wanted = await self._filled(store)
        for part, limit in product(Part, (1, 2, 100)):
            met = await self._all(store, part, limit)
            assert {body.place: (body.tag, body.content) for body in met} == wanted[part]
            assert len(met) == len(wanted[part])
            assert {body.part for body in met} == {part}
            assert not await store.bodies(ELSEWHERE[0], part, limit=9)

    async def test_a_body_is_replaced_if_it_is_still_what_it_was(self, store: Store) -> None:
        """`rewrite` counts those it replaced; what was replaced or deleted meanwhile it leaves alone."""
        await self._filled(store)
        for part in Part:
            bodies = await self._all(store, part, 100)
            anew = [(body, b'{"new":"' + str(n).encode() + b'"}') for n, body in enumerate(bodies)]
            assert await store.rewrite(ELSEWHERE[0], anew) == 0
            assert await store.rewrite(SCOPE, anew[:1]) == 1
            assert await store.rewrite(SCOPE, [(body, b'"other"') for body, _ in anew[:1]]) == 0
            assert await store.rewrite(SCOPE, anew) == len(anew) - 1
            met = {body.place: body.content for body in await self._all(store, part, 100)}
            assert met == {body.place: content for body, content in anew}

    async def test_a_rewritten_body_is_what_is_read(self, store: Store) -> None:
        """Pages, parked events and announcements are handed out as they were rewritten."""
        await self._filled(store)
        for part in Part:
            bodies = await self._all(store, part, 100)
            await store.rewrite(SCOPE, [(body, b'{"new":1}') for body in bodies])
        [first, *_] = await store.find(SCOPE, Query())
        assert {page.raw for page in await store.pages(SCOPE, first.id)} == {b'{"new":1}'}
        assert {event.raw for event in await store.parked(SCOPE, IdKind.results, "r-9")} == {b'{"new":1}'}
        assert {row.payload for row in await store.outbox(SCOPE)} == {'{"new":1}'}

    @staticmethod
    async def _all(store: Store, part: Part, limit: int) -> list[Body]:
        met: list[Body] = []
        while found := await store.bodies(SCOPE, part, after=met[-1].place if met else None, limit=limit):
            met += found
        return met

    @staticmethod
    async def _fetched(store: Store, number: int, seconds: float) -> DataRequest:
        request = await stored(store, number)
        pages = (Page(raw=b"0"), Page(raw=b"1", number=1))
        step = end(request, f"end-{number}", changes={"updated_at": at(seconds)}, pages=pages)
        await store.commit(step)
        assert step.after is not None
        return step.after

    async def _filled(self, store: Store) -> dict[Part, dict[tuple[str, str], tuple[str, bytes]]]:
        """Store some bodies of each part; return them by their places."""
        await store.register(SCOPE, SINKS)
        wanted: dict[Part, dict[tuple[str, str], tuple[str, bytes]]] = {part: {} for part in Part}
        for number in (1, 2):
            request = await self._fetched(store, number, 10)
            webhook = Announcement(key=f"webhook:{number}", kind="webhook", topic="any", payload='{"raw":"\u00e9"}')
            told = (a_change(request, key=f"told:{number}"), webhook)
            await store.commit(a_step(request, f"told-{number}", after=None, announcements=told))
            await park(store, f"event-{number}", value="r-9", raw=b"parked \xff")
            wanted[Part.pages] |= {(request.id, f"00000{n}"): ("page", str(n).encode()) for n in (0, 1)}
            wanted[Part.parked][f"event-{number}", ""] = ("results_ready", b"parked \xff")
            wanted[Part.announcements] |= {
                (each.key, sink.name): (each.kind, each.payload.encode())
                for each in told
                for sink in SINKS
                if sink.wants(each)
            }
        return wanted
