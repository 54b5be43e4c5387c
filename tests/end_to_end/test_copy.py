"""`leanflow copy`: everything arrives, and goes on where it was."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from leanflow import State
from leanflow._request import IdKind
from leanflow.testing import FakeClock, assert_replays
from leanflow.testing.conformance._samples import a_creation, a_request, stored
from leanflow_adapters._tables import TABLES
from leanflow_adapters.crypto import EncryptedStore
from tests.support.copying import (
    APPS,
    KINDS,
    LONG_AGO,
    QUICK,
    SCOPE,
    Place,
    Places,
    World,
    copied,
    everything,
    failing,
    fill,
    size,
)
from tests.support.engine import deliver, engine, recorder
from tests.support.lean import Lean, webhook
from tests.support.postgres import do

DIRECTIONS = [(a, b) for a in KINDS for b in KINDS]


async def test_every_column_of_every_table_is_copied(places: Places) -> None:
    """A table or column that a migration adds is copied, or named here as one that stays behind."""
    kept = {table.name: set(table.kept) for table in TABLES}
    left = {"requests": {"owner", "lease_until"}, "outbox": {"owner"}}
    lite, postgres = await places.fresh("sqlite"), await places.fresh("postgres")
    async with lite.tables():
        pass
    with closing(sqlite3.connect(lite.url.removeprefix("sqlite:///"))) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        found = {
            name.removeprefix("leanflow_"): {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
            for (name,) in names
        }
    own = {"requests": {"number"}, "history": {"number"}, "outbox": {"number", "head"}}
    assert found.pop("sinks") == {"scope", "name", "filter"}
    assert found == {
        name: columns | left.get(name, set()) | own.get(name, set())
        for name, columns in kept.items()
        if name != "sinks"
    }

    listed = await do(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1",
        postgres.url.partition("schema=")[2],
    )
    columns_of = defaultdict(set)
    for name, column in listed:
        columns_of[name].add(column)
    assert columns_of.pop("migrations") == {"version", "at"}
    own = {"history": {"number"}, "outbox": {"number", "behind"}, "parked": {"number"}}
    assert columns_of == {
        name: columns | left.get(name, set()) | own.get(name, set()) for name, columns in kept.items()
    }


@pytest.mark.parametrize(("old", "new"), DIRECTIONS)
async def test_everything_arrives_and_goes_on(places: Places, old: str, new: str) -> None:
    """Each row is there; histories replay; announcements keep their order; requests go on to their end."""
    source, target = await places.fresh(old), await places.fresh(new)
    world = await fill(source)
    counts = await copied(source, target)
    tags = "redis" not in (old, new)
    before, after = await everything(source, tags=tags), await everything(target, tags=tags)
    for name, rows in before.items():
        assert after[name] == rows, name
        assert counts[name] == size(rows), name
    assert all(counts.values()), "a table without rows shows nothing"
    assert await _offered(target, world) == await _offered(source, world)

    told: dict[str, list[Any]] = {}
    for place in (source, target):
        lines = told[place.url] = []
        for app, request_id in zip(APPS, world.waiting, strict=True):
            heard = recorder()
            handlers = [failing(), heard.handlers]
            settings: dict[str, Any] = {"app": app, "handlers": handlers, "policy": QUICK}
            async with engine(place.store(), world.lean, world.clock, **settings) as flows:
                assert await flows.store.remember(flows.scope, "note") == "worth it"
                assert await flows.store.tally(flows.scope, "number", add=1) == 4
                parked = await flows.store.parked(flows.scope, IdKind.results, f"{app}-nobody-knows")
                assert [one.key for one in parked] == [f"event:{app}-{number}" for number in (3, 1, 2)]
                same = await flows.request("accounts", entity_id=f"{app}-awake", reference="user-1", key=f"{app}-key")
                assert same.state is State.fetched
                assert [page.number async for page in flows.pages(same.id)] == [0, 1]
                waiting = await flows.get(request_id)
                assert waiting.state is State.awaiting_user
                for raw in (
                    webhook("entity.reconnected", {"id": waiting.entity_id, "reconnect_id": waiting.reconnect_id}),
                    webhook("results.ready", {"id": waiting.results_id}),
                ):
                    await deliver(flows, raw)
                world.lean.results[waiting.results_id or ""].status = "OK"
                await flows.tick()
                assert (await flows.get(request_id)).state is State.fetched
                async for request in flows.find():
                    assert_replays(await flows.export(request.id, personal=True), policy=QUICK)
                outbox = await flows.store.outbox(flows.scope, set_aside=True)
                assert [row.sink for row in outbox].count("broken") == 2
                lines.append((heard.keys, [(row.sink, row.key) for row in outbox]))
    assert told[source.url] == told[target.url]


async def _offered(place: Place, world: World) -> list[list[tuple[str, str]]]:
    """Return what relays are offered, one round after the other: of each request and sink one at a time."""
    store = place.store()
    await store.open()
    rounds = []
    while True:
        now = world.clock.now()
        rows = await store.claim_outbox(SCOPE, sinks=["recorder"], owner="relay", now=now, lease=0.0, limit=10)
        if not rows:
            break
        rounds.append([(row.key, row.sink) for row in rows])
        await store.delivered(SCOPE, rounds[-1])
    await store.aclose()
    assert [len(one) for one in rounds] == [2, 1], "of the request that was prompted and cancelled, one after the other"
    return rounds


@pytest.mark.parametrize(("old", "new"), [("sqlite", "redis"), ("redis", "postgres"), ("redis", "redis")])
async def test_what_is_encrypted_stays_so(places: Places, old: str, new: str) -> None:
    """Results are copied as they lie there, and read with the same keys."""
    source, target = await places.fresh(old), await places.fresh(new)
    keys, clock = (Fernet.generate_key(),), FakeClock(LONG_AGO)
    lean = Lean(clock)
    async with engine(EncryptedStore(source.store(), keys=keys), lean, clock) as flows:
        asked = await flows.request("accounts", entity_id="awake")
        for _ in range(4):
            await flows.tick()
            clock.advance(timedelta(seconds=2))
        before = [page.raw async for page in flows.pages(asked.id)]
    await copied(source, target)
    [[*_, raw]] = (await everything(target))["pages"]
    assert before
    assert raw != before[0]
    async with engine(EncryptedStore(target.store(), keys=keys), lean, clock) as flows:
        assert [page.raw async for page in flows.pages(asked.id)] == before


@pytest.mark.parametrize(("old", "new"), [("sqlite", "redis"), ("redis", "postgres"), ("redis", "redis")])
async def test_a_renewed_request_keeps_its_successor(places: Places, old: str, new: str) -> None:
    """Renewed again after the copy, it has the same one, though that has ended too."""
    source, target = await places.fresh(old), await places.fresh(new)
    clock = FakeClock(LONG_AGO)
    lean = Lean(clock)
    lean.will("asleep", "reconnect", "reconnect")
    async with engine(source.store(), lean, clock) as flows:
        asked = await flows.request("accounts", entity_id="asleep")
        successor = None
        for _ in range(2):
            clock.advance(timedelta(days=40))
            await flows.tick()
            successor = successor or await flows.renew(asked.id)
        assert successor is not None
        assert (await flows.get(successor.id)).state.is_end
    await copied(source, target)
    store = target.store()
    await store.open()
    again = await store.create(a_creation(a_request(7, app="app"), renews=asked.id))
    await store.aclose()
    assert (again.is_new, again.request.id) == (False, successor.id)


@pytest.mark.parametrize("kind", KINDS)
async def test_text_that_is_none_stops_no_copy(places: Places, kind: str) -> None:
    """Half a surrogate pair, which Redis keeps, is copied, if need be as a question mark."""
    source, target = await places.fresh("redis"), await places.fresh(kind)
    store = source.store()
    await store.open()
    request = await stored(store, reference="half \ud800", key="too \ud800")
    await store.aclose()
    await copied(source, target)
    store = target.store()
    await store.open()
    found = await store.load(request.scope, request.id)
    await store.aclose()
    assert found is not None
    [[*_, reference, _fingerprint, _record]] = (await everything(target))["requests"]
    assert reference == ("half \ud800" if kind == "redis" else "half ?")
