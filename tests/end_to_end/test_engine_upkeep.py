"""Purge, erase and confinement; and the application's own transaction."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiosqlite
import pytest

from leanflow import Change, DataRequest, Handlers, LeanFlow, State
from leanflow.errors import InvalidRequest, NotInState, RequestNotFound
from leanflow.ports import Erased
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import StoreMaker, deliver, dump, engine, recorder
from tests.support.lean import Lean, webhook

DAY = timedelta(days=1)


async def _reconnecting(flows: LeanFlow, lean: Lean, entity_id: str = "e") -> DataRequest:
    lean.will(entity_id, "reconnect")
    return await flows.request("accounts", entity_id=entity_id)


async def test_purge_takes_old_ends_only(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Ended requests older than said go, with their results; live ones and younger ones stay."""
    async with engine(make(), lean, clock) as flows:
        live = await _reconnecting(flows, lean)
        old = [await flows.request("accounts", entity_id=f"o{n}") for n in range(150)]
        clock.advance(2 * DAY)
        young = await flows.request("accounts", entity_id="y")
        await flows.tick()
        assert await flows.purge(older_than=DAY, state=State.failed) == 0
        assert await flows.purge(older_than=clock.now() - DAY) == 150
        assert await flows.purge(older_than=DAY) == 0
        for request in (live, young):
            assert (await flows.get(request.id)).id == request.id
        for gone in (flows.get(old[0].id), flows.history(old[0].id), flows.cancel(old[1].id)):
            with pytest.raises(RequestNotFound):
                await gone
        with pytest.raises(InvalidRequest, match="ended"):
            await flows.purge(older_than=DAY, state=State.requested)


@pytest.mark.parametrize("how", ["purge", "erase"])
async def test_what_still_comes_for_the_buried_is_not_stored(
    make: StoreMaker, clock: FakeClock, lean: Lean, how: str
) -> None:
    """A late webhook, and the same in the Events API, that names a purged or erased request: 200 and no trace."""
    store = make()
    async with engine(store, lean, clock) as flows:
        request = await _reconnecting(flows, lean)
        assert request.results_id is not None
        lean.reconnect(request.reconnect_id or "")
        await deliver(flows, *lean.take())
        await flows.tick()
        clock.advance(2 * DAY)
        if how == "purge":
            assert await flows.purge(older_than=DAY) == 1
        else:
            assert (await flows.erase(entity_id="e")).requests == 1
        for kind in ("results.ready", "entity.reconnected"):
            lean.says(kind, {"id": request.results_id, "reconnect_id": request.reconnect_id})
        assert [reply.status for reply in await deliver(flows, *lean.take())] == [200, 200]
        assert (await flows.health()).dropped == 2
        assert await flows.reconcile(since=clock.now() - DAY) == 0
        assert await flows._store.parked_due(flows._scope, now=clock.now() + 9 * DAY, limit=9) == []
        assert request.results_id not in dump(store)


async def test_erase_leaves_no_trace_of_an_entity(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Live and ended requests of an entity go, with history, results and undelivered announcements; others stay."""
    store, heard = make(), recorder()
    async with engine(store, lean, clock, handlers=heard.handlers) as flows:
        await flows.request("accounts", entity_id="secret-entity")
        lean.will("secret-entity", "reconnect")
        await flows.request("identity", entity_id="secret-entity")
        other = await flows.request("accounts", entity_id="other")
        assert (await flows.erase(entity_id="secret-entity")).requests == 2
        assert "secret-entity" not in dump(store)
        assert await flows.erase(entity_id="secret-entity") == Erased()
        await flows.tick()
        assert {change.request.id for change in heard.changes} == {other.id}


async def test_an_answer_for_the_erased_is_dropped(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A call under way when its request is erased brings an answer for nobody: nothing is stored, nothing raised."""
    store = make()
    async with engine(store, lean, clock) as flows, engine(make(), lean, clock, seed=1) as other:

        async def erase(_call: object) -> None:
            await other.erase(entity_id="e")

        lean.before = erase
        with pytest.raises(RequestNotFound):
            await flows.get((await flows.request("accounts", entity_id="e")).id)
        await flows.tick()
        assert sum((await flows.counts()).values()) == 0


@pytest.mark.parametrize("differs", [{"app": "other"}, {"environment": "production"}, {"region": "ksa"}])
async def test_engines_of_one_store_do_not_touch_each_other_s(
    make: StoreMaker, clock: FakeClock, lean: Lean, differs: dict[str, str]
) -> None:
    """Claim, find, relay, parking, ids, keys, purge and erase are confined to application, environment and region."""
    mine, theirs = recorder(), recorder()
    async with (
        engine(make(), lean, clock, handlers=mine.handlers) as flows,
        engine(make(), lean, clock, seed=1, handlers=theirs.handlers, **differs) as other,
    ):
        request = await _reconnecting(flows, lean)
        twin = await other.request("accounts", entity_id="e", key="k")
        assert twin.id != request.id
        assert (await flows.request("identity", entity_id="e", key="k")).id != twin.id
        for attempt in (other.get(request.id), other.prompt(request.id), other.cancel(request.id)):
            with pytest.raises(RequestNotFound):
                await attempt
        assert [r.id async for r in other.find()] == [twin.id]
        await deliver(other, webhook("results.ready", {"id": request.results_id}, event_id="1"))
        await deliver(other, webhook("entity.reconnected", {"id": "e", "reconnect_id": "?"}, event_id="2"))
        await travel(other, clock, timedelta(seconds=30))
        assert await flows.get(request.id) == request
        clock.advance(31 * DAY)
        await other.tick()
        assert await flows.get(request.id) == request
        assert await other.purge(older_than=timedelta()) == 1
        assert await other.erase(entity_id="e") == Erased()
        assert mine.changes == []
        await flows.tick()
        assert {change.request.app for change in theirs.changes} == {differs.get("app", "app")}
        assert request.id in {change.request.id for change in mine.changes}
        assert twin.id not in {change.request.id for change in mine.changes}


# --- the application's own transaction ---------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> SQLiteStore:
    """A store in the application's own file."""
    return SQLiteStore(tmp_path / "app.db")


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """The application's connection, and a table of its own."""
    connection = await aiosqlite.connect(tmp_path / "app.db", isolation_level=None)
    await connection.execute("CREATE TABLE cases (id TEXT PRIMARY KEY, request_id TEXT)")
    yield connection
    await connection.close()


async def test_a_rollback_leaves_nothing(
    store: SQLiteStore, connection: aiosqlite.Connection, clock: FakeClock, lean: Lean
) -> None:
    """Requests made in a transaction that is rolled back never were: no call, no announcement, no row."""
    heard = recorder()
    async with engine(store, lean, clock, handlers=heard.handlers) as flows:
        before = dump(store)
        await connection.execute("BEGIN IMMEDIATE")
        async with flows.using(connection) as tx:
            request = await tx.request("accounts", entity_id="e")
            await connection.execute("INSERT INTO cases VALUES ('9', ?)", (request.id,))
            assert (await tx.get(request.id)).id == request.id
        await connection.rollback()
        await travel(flows, clock, timedelta(minutes=5))
        assert dump(store) == before
        assert (heard.changes, lean.calls) == ([], [])


async def test_a_commit_places_by_polling(
    store: SQLiteStore, connection: aiosqlite.Connection, clock: FakeClock, lean: Lean
) -> None:
    """Nothing is called or announced before the application commits; then the worker finds it, due at once."""
    heard = recorder()
    async with engine(store, lean, clock, handlers=heard.handlers) as flows:
        await connection.execute("BEGIN IMMEDIATE")
        async with flows.using(connection) as tx:
            request = await tx.request("accounts", entity_id="e", key="k")
            assert (request.state, request.due_at, request.call_no) == (State.requested, clock.now(), 0)
            assert (lean.calls, heard.changes) == ([], [])
            with pytest.raises(RequestNotFound):
                await flows.get(request.id)
        await connection.commit()
        await flows.tick()
        assert (await flows.get(request.id)).state is State.fetched
        assert heard.states == ["requested", "fetched"]
        assert lean.placed["e"] == 1


async def test_every_operation_joins_the_transaction(
    store: SQLiteStore, connection: aiosqlite.Connection, clock: FakeClock, lean: Lean
) -> None:
    """Prompt, callback, cancel and renew inside the transaction; rolled back, the engine's own view is the old one."""
    async with engine(store, lean, clock) as flows:
        request = await _reconnecting(flows, lean)
        await connection.execute("BEGIN IMMEDIATE")
        async with flows.using(connection) as tx:
            prompt = await tx.prompt(request.id)
            await tx.callback(request.id, {"status": "CANCELLED"}, prompt=prompt.number)
            assert (await tx.cancel(request.id)).state is State.cancelled
            with pytest.raises(NotInState):
                await tx.renew(request.id)
            assert len(await tx.history(request.id)) == 5
        await connection.rollback()
        assert await flows.get(request.id) == request
        await flows.prompt(request.id)
        assert (await flows.get(request.id)).state is State.awaiting_user


async def test_an_effect_in_the_application_s_database_happens_once(
    store: SQLiteStore, connection: aiosqlite.Connection, clock: FakeClock, lean: Lean
) -> None:
    """`confirm` marks the delivery in the same transaction: delivered again, the effect is not repeated."""
    handlers, confirmed = Handlers(), []

    @handlers.on(State.fetched, name="cases")
    async def store_case(change: Change, flows: LeanFlow) -> None:
        await connection.execute("BEGIN IMMEDIATE")
        async with flows.using(connection) as tx:
            first = await tx.confirm(change, "cases")
            confirmed.append(first)
            if first:
                await connection.execute("INSERT INTO cases VALUES (?, ?)", (change.key, change.request.id))
        await connection.commit()

    async with engine(store, lean, clock, handlers=handlers) as flows:
        request = await flows.request("accounts", entity_id="e")
        [row] = await flows._store.claim_outbox(
            flows._scope, sinks=["cases"], owner="x", now=clock.now(), lease=90, limit=1
        )
        change = Change.from_dict(json.loads(row.payload))
        await store_case(change, flows)
        await store_case(change, flows)
        await travel(flows, clock, timedelta(minutes=3))
        assert confirmed == [True, False]
        assert await flows.undelivered() == ()
        async with connection.execute("SELECT request_id FROM cases") as rows:
            assert list(await rows.fetchall()) == [(request.id,)]


async def test_a_confirmation_that_is_rolled_back_is_delivered_again(
    store: SQLiteStore, connection: aiosqlite.Connection, clock: FakeClock, lean: Lean
) -> None:
    """The mark lives and dies with the application's transaction."""
    handlers, tries = Handlers(), []

    @handlers.on(State.fetched, name="cases")
    async def store_case(change: Change, flows: LeanFlow) -> None:
        tries.append(change.key)
        await connection.execute("BEGIN IMMEDIATE")
        async with flows.using(connection) as tx:
            assert await tx.confirm(change, "cases")
        if len(tries) == 1:
            await connection.rollback()
            raise RuntimeError
        await connection.commit()

    async with engine(store, lean, clock, handlers=handlers) as flows:
        await flows.request("accounts", entity_id="e")
        await travel(flows, clock, timedelta(minutes=1))
        assert len(tries) == 2
        assert await flows.undelivered() == ()


async def test_another_database_is_refused(store: SQLiteStore, tmp_path: Path, clock: FakeClock, lean: Lean) -> None:
    """`using` wants a connection to the store's own database, and a store that has one."""
    async with engine(store, lean, clock) as flows:
        async with aiosqlite.connect(tmp_path / "another.db") as other:
            with pytest.raises(InvalidRequest):
                async with flows.using(other):
                    pytest.fail("it was taken")
        with pytest.raises(InvalidRequest):
            async with flows.using(object()):
                pytest.fail("it was taken")
    async with engine(MemoryStore(), lean, clock) as flows:
        with pytest.raises(InvalidRequest):
            async with flows.using(object()):
                pytest.fail("it was taken")


async def test_a_sink_that_is_gone_for_good_is_dropped(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """What was kept for a handler that no process has any more goes, and nothing is kept for it from then on."""
    before, after = recorder("before"), recorder("after")
    async with engine(make(), lean, clock, handlers=[before.handlers]) as flows:
        with pytest.raises(InvalidRequest, match="before is served by this engine"):
            await flows.drop_sink("before")
    async with engine(make(), lean, clock, seed=1, handlers=[after.handlers]) as flows:
        await flows.request("accounts", entity_id="e1")
        await flows.tick()
        kept = (await flows.health()).sinks["before"].undelivered
        assert kept == len(after.states) > 0
        assert await flows.drop_sink("before") == kept
        await flows.request("accounts", entity_id="e2")
        await flows.tick()
        assert len(after.states) == 2 * kept
        assert "before" not in (await flows.health()).sinks
        assert await flows.undelivered() == ()
        with pytest.raises(RequestNotFound, match="no sink 'before'"):
            await flows.drop_sink("before")
        with pytest.raises(InvalidRequest, match="wake"):
            await flows.drop_sink("wake")
