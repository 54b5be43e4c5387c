"""What the port promises of opening, upkeep and joining a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest

from leanflow._request import DataRequest, IdKind, State
from leanflow.errors import LeanflowError, NotStarted
from leanflow.events import Page
from leanflow.ports import Outcome, Parking, Query, Store
from leanflow.testing.conformance._holding import Holding
from leanflow.testing.conformance._samples import (
    ALL,
    ELSEWHERE,
    SCOPE,
    a_change,
    a_step,
    a_wake,
    at,
    end,
    park,
    stored,
)

__all__ = ["Keeping", "Opening"]

Reopen = Callable[[], Awaitable[Store]]


class Opening:
    """Opening, closing, and what outlives it."""

    durable: ClassVar[bool] = True
    has_clock: ClassVar[bool] = False

    async def test_opening_an_open_store_is_an_error(self, store: Store) -> None:
        """A store is opened once, and stays open."""
        assert store.is_open
        with pytest.raises(LeanflowError):
            await store.open()
        assert store.is_open

    async def test_closing_a_closed_store_does_nothing(self, store: Store) -> None:
        """`aclose` may be called again; a closed store says so, and may be opened again."""
        await store.aclose()
        assert not store.is_open
        await store.aclose()
        with pytest.raises(NotStarted):
            await store.load(SCOPE, "x")
        await store.open()
        assert store.is_open
        assert await store.load(SCOPE, "x") is None

    async def test_what_was_committed_outlives_a_restart(self, store: Store, reopen: Reopen) -> None:
        """A durable store has everything after it was closed and another handle was opened."""
        if not self.durable:
            pytest.skip("durable = False")
        request = await stored(store)
        step = a_step(request, "event-1")
        await store.commit(step)
        await park(store, "event-2")
        await store.aclose()
        other = await reopen()
        assert await other.load(SCOPE, request.id) == step.after
        assert await other.seen(SCOPE, "event-1")
        assert len(await other.parked(SCOPE, IdKind.results, "r-1")) == 1

    async def test_closing_finishes_what_is_in_flight(self, store: Store, reopen: Reopen) -> None:
        """Steps that were handed in before `aclose` are committed."""
        requests = [await stored(store, number) for number in range(1, 11)]
        tasks = [asyncio.ensure_future(store.commit(a_step(r, f"event-{r.id}"))) for r in requests]
        await asyncio.sleep(0)
        await store.aclose()
        assert {done.outcome for done in await asyncio.gather(*tasks)} == {Outcome.committed}
        other = await reopen()
        assert all([await other.seen(SCOPE, f"event-{r.id}") for r in requests])

    async def test_the_store_tells_its_clock_or_none(self, store: Store) -> None:
        """`now` is the store's own time, aware, or None if it has none."""
        now = await store.now()
        if self.has_clock:
            assert now is not None
            assert now.utcoffset() is not None
        else:
            assert now is None


class Keeping(Holding):
    """Small values, purging, pruning, erasing."""

    async def test_small_values_are_remembered(self, store: Store, reopen: Reopen) -> None:
        """`remember` stores a value if one is given and returns what is stored, or None."""
        assert await store.remember(SCOPE, "reconciled") is None
        assert await store.remember(SCOPE, "reconciled", "monday") == "monday"
        assert await store.remember(SCOPE, "reconciled", "tuesday") == "tuesday"
        assert await (await reopen()).remember(SCOPE, "reconciled") == "tuesday"
        assert await store.remember(ELSEWHERE[0], "reconciled") is None

    async def test_purging_deletes_old_ends_alone(self, store: Store) -> None:
        """Ended requests that ended before `older_than` go; live ones and younger ones are never touched."""
        live, old, young = [await stored(store, number) for number in (1, 2, 3)]
        await store.commit(end(old, "end-old", changes={"updated_at": at(10)}))
        await store.commit(end(young, "end-young", changes={"updated_at": at(20)}))
        assert len(await store.find(SCOPE, Query())) == 3
        assert await self._purge(store, scope=ELSEWHERE[0]) == 0
        assert await self._purge(store) == 1
        assert [r.id for r in await store.find(SCOPE, Query())] == [live.id, young.id]
        assert await self._purge(store) == 0

    async def test_purging_is_confined_to_states_and_limit(self, store: Store) -> None:
        """At most `limit`, and only of the states given."""
        for number in range(1, 7):
            request = await stored(store, number)
            await store.commit(end(request, f"end-{number}", (State.fetched, State.failed)[number % 2]))
        assert await self._purge(store, states=frozenset({State.failed}), limit=2) == 2
        assert await self._purge(store, states=frozenset({State.failed})) == 1
        left = await store.find(SCOPE, Query())
        assert [request.state for request in left] == [State.fetched] * 3

    async def test_a_purged_request_leaves_nothing_but_a_tombstone(self, store: Store) -> None:
        """History, inbox, results and ids go; its ids are buried, and a late step is too."""
        last = await self._full(store)
        assert await self._purge(store) == 1
        await self._is_gone(store, last)

    async def test_purging_leaves_announcements_to_be_delivered(self, store: Store) -> None:
        """Only delivered things go with a purge: what was not told yet still will be."""
        await self._full(store)
        assert len(await store.outbox(SCOPE)) == 1
        await self._purge(store)
        assert len(await store.outbox(SCOPE)) == 1

    async def test_an_erased_request_leaves_nothing_but_a_tombstone(self, store: Store) -> None:
        """Everything of one request goes, undelivered announcements and parked events too."""
        last = await self._full(store)
        await park(store, "event-late")
        assert await store.parked(SCOPE, IdKind.results, "r-1")
        assert await store.outbox(SCOPE)
        assert not await store.erase(ELSEWHERE[0], last.id, now=at(100))
        assert await store.erase(SCOPE, last.id, now=at(100))
        await self._is_gone(store, last)
        assert not await store.parked(SCOPE, IdKind.results, "r-1")
        assert not await store.outbox(SCOPE)
        assert not await store.erase(SCOPE, last.id, now=at(100))

    async def test_a_live_request_is_erased_as_well(self, store: Store) -> None:
        """Live or ended, with its early events, and others are left alone."""
        request, other = await stored(store, 1), await stored(store, 2)
        for mine in (request, other):
            parking = Parking(request_id=mine.id, expires_at=at(60))
            await store.commit(a_step(mine, f"early-{mine.id}", after=None, inbox={"parking": parking, "raw": b"x"}))
        assert await store.early(SCOPE, request.id)
        assert await store.erase(SCOPE, request.id, now=at(100))
        assert await store.load(SCOPE, request.id) is None
        assert not await store.early(SCOPE, request.id)
        assert await store.load(SCOPE, other.id) == other
        assert await store.early(SCOPE, other.id)
        assert len(await store.history(SCOPE, other.id)) == 2

    async def test_a_buried_id_is_not_parked_under(self, store: Store) -> None:
        """An event that names a buried id is `buried`, and nothing is written."""
        last = await self._full(store)
        assert not await store.buried(SCOPE, IdKind.results, "r-1")
        await store.erase(SCOPE, last.id, now=at(100))
        assert (await park(store, "event-late")).outcome is Outcome.buried
        assert not await store.parked(SCOPE, IdKind.results, "r-1")
        assert not await store.buried(ELSEWHERE[0], IdKind.results, "r-1")

    async def test_pruning_deletes_old_inbox_rows_and_tombstones(self, store: Store) -> None:
        """Seen rows and tombstones older than `before` go; younger and parked ones stay."""
        last = await self._full(store)
        await store.erase(SCOPE, last.id, now=at(100))
        request = await stored(store, 2)
        for number, seconds in enumerate((10, 90, 110)):
            step = a_step(request, f"seen-{number}", inbox={"at": at(seconds)})
            await store.commit(step)
            assert step.after is not None
            request = step.after
        await park(store, "parked", value="r-2", at=at(5))
        assert await store.seen(SCOPE, "seen-0")
        assert await store.buried(SCOPE, IdKind.results, "r-1")
        assert await store.prune(ELSEWHERE[0], before=at(1000)) == 0
        assert await store.prune(SCOPE, before=at(100)) == 2
        assert [await store.seen(SCOPE, f"seen-{n}") for n in range(3)] == [False, False, True]
        assert await store.buried(SCOPE, IdKind.results, "r-1")
        await store.prune(SCOPE, before=at(101))
        assert not await store.buried(SCOPE, IdKind.results, "r-1")
        assert await store.parked(SCOPE, IdKind.results, "r-2")

    @staticmethod
    async def _purge(
        store: Store, *, scope: Any = SCOPE, states: frozenset[State] | None = None, limit: int = 100
    ) -> int:
        return await store.purge(scope, older_than=at(15), states=states, now=at(100), limit=limit)

    @staticmethod
    async def _full(store: Store) -> DataRequest:
        """Store a request that has something of everything, and end it; return it as it is then."""
        await store.register(SCOPE, [ALL])
        request = await stored(store)
        step = end(
            request,
            "event-1",
            ids=((IdKind.results, "r-1"),),
            pages=(Page(raw=b"page"),),
            announcements=(a_change(request),),
        )
        assert (await store.commit(step)).outcome is Outcome.committed
        assert step.after is not None
        return step.after

    @staticmethod
    async def _is_gone(store: Store, last: DataRequest) -> None:
        assert await store.load(SCOPE, last.id) is None
        assert not await store.history(SCOPE, last.id)
        assert not await store.pages(SCOPE, last.id)
        assert not await store.owners(SCOPE, IdKind.results, "r-1")
        assert not await store.seen(SCOPE, "event-1")
        assert await store.buried(SCOPE, IdKind.results, "r-1")
        late = a_step(last, "event-late-step", wakes=(a_wake("late"),))
        assert (await store.commit(late)).outcome is Outcome.buried
        assert not await store.seen(SCOPE, "event-late-step")
