"""`leanflow copy`: what a target goes by beside its rows, and by what a source shows that it was worked with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import attrs
import pytest

from leanflow._request import IdKind
from leanflow.errors import StoreUnavailable
from leanflow.events import Page
from leanflow.ports import Store
from leanflow.testing.conformance._samples import ALL, a_change, a_step, end, stored
from leanflow_adapters._tables import TABLES
from leanflow_adapters.cli import _copy
from tests.support.copying import KINDS, SCOPE, Place, Places, copied, fill
from tests.support.postgres import do

SOON = datetime(2026, 2, 1, tzinfo=UTC)
HERE = attrs.asdict(SCOPE)
TABLE = {table.name: table for table in TABLES}


class Opened:
    """One more handle on a place, open for the length of a block."""

    def __init__(self, place: Place) -> None:
        self._store = place.store()

    async def __aenter__(self) -> Store:
        await self._store.open()
        return self._store

    async def __aexit__(self, *_: object) -> None:
        await self._store.aclose()


async def _offered(store: Store, sink: str = "all") -> list[str]:
    """Return what relays are offered now; its lease is over at once."""
    found = await store.claim_outbox(SCOPE, sinks=[sink], owner="relay", now=SOON, lease=-1.0, limit=9)
    return [row.key for row in found]


@pytest.mark.parametrize("new", KINDS)
@pytest.mark.parametrize("aside", [0, 1])
async def test_what_is_set_aside_keeps_its_place(places: Places, new: str, aside: int) -> None:
    """It holds up nobody in the target either, and goes before those behind it when it is brought back."""
    source, target = await places.fresh("sqlite"), await places.fresh(new)
    async with Opened(source) as store:
        await store.register(SCOPE, [ALL, attrs.evolve(ALL, name="other")])
        request, keys = await stored(store, **HERE), []
        for number in range(3):
            change = a_change(request)
            step = a_step(request, f"event-{number}", announcements=(change,))
            await store.commit(step)
            keys.append(change.key)
            assert step.after is not None
            request = step.after
        await store.undelivered(SCOPE, keys[aside], "all", due_at=SOON, error="X", set_aside=True)
    await copied(source, target)
    async with Opened(target) as store:
        assert await _offered(store) == [keys[1 - aside]]
        assert await _offered(store, "other") == [keys[0]]
        assert await store.redeliver(SCOPE, keys[aside], "all", now=SOON)
        for key in keys:
            assert await _offered(store) == [key]
            await store.delivered(SCOPE, [(key, "all")])
        assert await _offered(store) == []


@pytest.mark.parametrize("new", KINDS)
async def test_what_is_erased_in_the_target_leaves_its_tombstones(places: Places, new: str) -> None:
    """Of the request and of each id that Lean gave it: late webhooks about it are known to be so."""
    source, target = await places.fresh("sqlite"), await places.fresh(new)
    world = await fill(source)
    await copied(source, target)
    async with Opened(target) as store:
        request = await store.load(SCOPE, world.waiting[0])
        assert request is not None
        await store.erase(SCOPE, request.id, now=SOON)
        for kind, value in (("request", request.id), (IdKind.results, request.results_id)):
            assert await store.buried(SCOPE, kind, value or "") == SOON, kind


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
async def test_parked_events_are_offered_when_they_would_have_been(places: Places, old: str, new: str) -> None:
    """That is not when they are due alone: never after their life is over."""
    source, target = await places.fresh(old), await places.fresh(new)
    world = await fill(source)
    async with Opened(source) as store:
        parked = await store.parked(SCOPE, IdKind.results, "app-nobody-knows")
        late = max(event.parking.expires_at for event in parked) + timedelta(days=1)
        await store.repark(SCOPE, parked[0].key, due_at=late)
    await copied(source, target)
    told = []
    for place in (source, target):
        async with Opened(place) as store:
            moments = (world.clock.now() + timedelta(minutes=1), late - timedelta(hours=12))
            due = [await store.parked_due(SCOPE, now=moment, limit=9) for moment in moments]
            told.append([[event.key for event in some] for some in due])
    assert told[1] == told[0]
    assert [len(some) for some in told[0]] == [1, 3]


Deed = Callable[[Store, str], Awaitable[Any]]


async def _claim(store: Store, _: str) -> None:
    [claimed] = await store.claim(SCOPE, owner="worker", now=SOON + timedelta(days=365), lease=1.0, limit=1)
    await store.release(SCOPE, claimed.request.id, owner="worker")


async def _fail(store: Store, _: str) -> None:
    row = (await store.outbox(SCOPE))[0]
    await store.undelivered(SCOPE, row.key, row.sink, due_at=SOON, error="X", set_aside=False)


async def _deliver(store: Store, _: str) -> None:
    row = (await store.outbox(SCOPE))[0]
    await store.delivered(SCOPE, [(row.key, row.sink)])


async def _repark(store: Store, _: str) -> None:
    await store.repark(SCOPE, "event:app-1", due_at=SOON)


async def _orphan(store: Store, _: str) -> None:
    assert await store.orphan(SCOPE, "event:app-1", ())


async def _prune(store: Store, _: str) -> None:
    assert await store.prune(SCOPE, before=SOON + timedelta(days=365))


async def _decline(store: Store, request_id: str) -> None:
    request = await store.load(SCOPE, request_id)
    assert request is not None
    await store.commit(a_step(request, "of no use", after=None))


async def _create(store: Store, _: str) -> None:
    await stored(store, 99, **HERE)


DEEDS = (_claim, _fail, _deliver, _repark, _orphan, _prune, _decline, _create)


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_is_done_with_a_source_shows(places: Places, kind: str) -> None:
    """Each deed by itself makes the pulse another one: a claim, a try that failed, an event that waits on."""
    place = await places.fresh(kind)
    world = await fill(place)
    for deed in DEEDS:
        async with place.tables() as tables:
            before = await tables.pulse()
            assert await tables.pulse() == before
        async with Opened(place) as store:
            await deed(store, world.waiting[0])
        async with place.tables() as tables:
            assert await tables.pulse() != before, deed.__name__


@pytest.mark.parametrize("kind", KINDS)
async def test_leases_that_are_over_are_in_nobodys_way(places: Places, kind: str) -> None:
    """One that runs, of a request or of an announcement, says that the source is in use; one of yesterday does not."""
    place = await places.fresh(kind)
    await fill(place)
    now = datetime.now(UTC)
    for lease, wanted in ((-60.0, None), (600.0, "1 leases")):
        async with Opened(place) as store:
            [claimed] = await store.claim(SCOPE, owner="worker", now=now, lease=lease, limit=1)
        async with place.tables() as tables:
            assert str(await tables.in_use()).startswith(str(wanted))
        async with Opened(place) as store:
            await store.release(SCOPE, claimed.request.id, owner="worker")
    async with place.tables() as tables:
        assert await tables.in_use() is None


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_announcements_that_are_being_delivered_say_that_the_source_is_in_use(places: Places, kind: str) -> None:
    """A relay has them on lease."""
    place = await places.fresh(kind)
    await fill(place)
    async with Opened(place) as store:
        now = datetime.now(UTC)
        assert await store.claim_outbox(SCOPE, sinks=["recorder"], owner="relay", now=now, lease=600.0, limit=1)
    async with place.tables() as tables:
        assert (await tables.in_use() or "").startswith("1 leases")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_slice_that_cannot_be_written_leaves_nothing(places: Places, kind: str) -> None:
    """Neither its rows nor its mark, and the target takes the next one."""
    source, target = await places.fresh("sqlite"), await places.fresh(kind)
    await fill(source)
    table = TABLE["requests"]
    async with source.tables() as old, target.tables() as new:
        rows, _ = await old.read(table, None, 9)
        whose = sorted({row[1] for row in rows})
        with pytest.raises(StoreUnavailable):
            await new.write(table, [*rows, rows[0]], before=None, mark="one")
        assert (await new.count(table, whose), await new.mark()) == (0, None)
        assert await new.write(table, rows, before=None, mark="two")
        assert (await new.count(table, whose), await new.mark()) == (len(rows), "two")


async def test_progress_is_told_of_each_table_from_its_begin_to_its_end(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each table's rows are counted on, slice by slice, up to all that there are."""
    monkeypatch.setattr(_copy, "TABLES", tuple(attrs.evolve(table, slice=2) for table in TABLES))
    source, target = await places.fresh("sqlite"), await places.fresh("sqlite")
    await fill(source)
    told: dict[str, list[int]] = {}
    totals: dict[str, int] = {}

    def tell(name: str, count: int, total: int) -> None:
        told.setdefault(name, []).append(count)
        totals[name] = total

    async with source.tables() as old, target.tables() as new:
        counts = await _copy.copy(old, new, force=False, told=tell)
    assert totals == counts
    assert {name: (some[0], some[-1]) for name, some in told.items()} == {name: (0, n) for name, n in counts.items()}
    assert all(some == sorted(some) for some in told.values())


@pytest.mark.parametrize(("size", "slices"), [(100, [60]), (100_000, [20, 20, 20])])
async def test_light_pages_are_copied_many_at_a_time(places: Places, size: int, slices: list[int]) -> None:
    """Heavy ones few: no more are held, or sent, than is good for either side."""
    source, target = await places.fresh("sqlite"), await places.fresh("sqlite")
    async with Opened(source) as store:
        request = await stored(store, **HERE)
        await store.register(SCOPE, [ALL])
        await store.commit(end(request, pages=tuple(Page(number=number, raw=b"x" * size) for number in range(60))))
    told: list[int] = []
    async with source.tables() as old, target.tables() as new:
        await _copy.copy(
            old, new, force=False, told=lambda name, count, _: told.append(count if name == "pages" else 0)
        )
    steps = [after - before for before, after in pairwise(filter(None, [0, *told]))]
    assert [max(told) - sum(steps), *steps] == slices


async def test_postgres_knows_its_tables_afterwards(places: Places) -> None:
    """They are analysed: the first statements are not planned for tables without rows."""
    source, target = await places.fresh("sqlite"), await places.fresh("postgres")
    await fill(source)
    await copied(source, target)
    known = await do(
        "SELECT DISTINCT tablename FROM pg_stats WHERE schemaname = $1", target.url.partition("schema=")[2]
    )
    assert {name for (name,) in known} == set(TABLE)
