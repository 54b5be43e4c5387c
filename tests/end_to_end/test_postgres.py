"""The Postgres store among others: held rows, hot rows, lines of announcements, migrations."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from leanflow import Change, Handlers, LeanFlow, Policy, State
from leanflow._request import DataRequest
from leanflow.errors import MigrationNeeded, StoreUnavailable
from leanflow.events import Page
from leanflow.ports import Announcement, Created, Outcome, Part, Query
from leanflow.testing.conformance._samples import (
    ALL,
    SCOPE,
    START,
    a_change,
    a_creation,
    a_request,
    a_step,
    at,
    end,
    stored,
)
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.postgres._hints import channel_of
from tests.support.lean import Refusing
from tests.support.postgres import URL, do, drop, empty, fresh_schema

LEASE = 60.0


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """Give a schema with the tables."""
    name = asyncio.run(fresh_schema())
    yield name
    asyncio.run(drop(name))


@pytest.fixture
async def store(schema: str) -> AsyncIterator[PostgresStore]:
    """Give an open store without rows."""
    await empty(schema)
    async with Opened(schema) as store:
        yield store


class Opened:
    """An open store for the length of a block."""

    def __init__(self, schema: str, **settings: Any) -> None:
        self.store = PostgresStore(URL, schema=schema, clock="engine", **settings)

    async def __aenter__(self) -> PostgresStore:
        await self.store.open()
        return self.store

    async def __aexit__(self, *_: object) -> None:
        await self.store.aclose()


async def test_a_request_that_an_application_holds_holds_up_only_its_own_steps(
    store: PostgresStore, schema: str
) -> None:
    """Steps of other requests in the same batch are committed; its own waits, then goes on or is told unavailable."""
    held, *others = [await stored(store, number) for number in range(1, 40)]
    connection = await asyncpg.connect(URL)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f'SELECT FROM "{schema}".requests WHERE id = $1 FOR UPDATE', held.id)
    waiting = asyncio.create_task(store.commit(a_step(held, "event-1")))
    done = await asyncio.gather(*(store.commit(a_step(each, f"event-of-{each.id}")) for each in others))
    assert {one.outcome for one in done} == {Outcome.committed}
    assert not waiting.done()
    await transaction.rollback()
    assert (await waiting).outcome is Outcome.committed

    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f'SELECT FROM "{schema}".requests WHERE id = $1 FOR UPDATE', others[0].id)
    step = a_step(await _now(store, others[0]), "event-2")
    with pytest.raises(StoreUnavailable, match="LockNotAvailable"):
        await store.commit(step)
    await transaction.rollback()
    await connection.close()
    assert (await store.commit(step)).outcome is Outcome.committed


async def test_a_joined_step_that_is_cancelled_twice_takes_no_other_with_it(store: PostgresStore, schema: str) -> None:
    """Who is cancelled again while its step is undone waits for that: the connection is free when it is told."""
    held, free = await stored(store, 1), await stored(store, 2)
    holding, connection = await asyncpg.connect(URL), await asyncpg.connect(URL)
    try:
        await holding.execute("BEGIN")
        await holding.execute(f'SELECT FROM "{schema}".requests WHERE id = $1 FOR UPDATE', held.id)
        async with connection.transaction(), store.using(connection) as tx:
            doomed = asyncio.create_task(tx.commit(a_step(held, "event-1")))
            async with asyncio.timeout(20):
                while not await do(
                    "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'",
                    connection.get_server_pid(),
                ):
                    pass
            other = asyncio.create_task(tx.commit(a_step(free, "event-2")))
            for _ in range(3):
                doomed.cancel()
                await asyncio.sleep(0)
            await asyncio.gather(doomed, return_exceptions=True)
            assert doomed.cancelled()
            assert (await other).outcome is Outcome.committed
        assert await store.seen(SCOPE, "event-2")
        assert not await store.seen(SCOPE, "event-1")
    finally:
        await holding.close()
        await connection.close()


async def test_a_request_that_an_application_is_making_holds_up_only_its_like(store: PostgresStore) -> None:
    """Others of the same batch are made; the same one, and the same key, wait until the application has ended."""
    await store.register(SCOPE, [])  # as every engine does on opening
    for first, commits in ((100, True), (200, False)):
        wanted = a_request(first, key=f"key-{first}")
        twin = a_request(first + 1, fingerprint=wanted.fingerprint)
        again = a_request(first + 2, key=wanted.key, fingerprint=wanted.fingerprint)
        async with asyncpg.create_pool(URL, min_size=1, max_size=1) as pool, pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            async with store.using(connection) as tx:
                assert (await tx.create(a_creation(wanted))).is_new
            waiting = [asyncio.create_task(store.create(a_creation(one))) for one in (twin, again)]
            made = await asyncio.gather(*(store.create(a_creation(a_request(first + n))) for n in range(3, 40)))
            assert all(one.is_new for one in made)
            assert not any(one.done() for one in waiting)
            await (transaction.commit() if commits else transaction.rollback())
        ended = await asyncio.gather(*waiting)
        assert [one.is_new for one in ended] == ([False, False] if commits else [True, False])
        assert not commits or {one.request.id for one in ended} == {wanted.id}


async def test_one_bad_creation_fails_alone(store: PostgresStore) -> None:
    """What the database refuses costs nobody else in the same statement anything."""
    bad = a_request(400, entity_id=secrets.token_hex(50_000))  # longer than an index takes
    tasks = [asyncio.create_task(store.create(a_creation(one))) for one in (a_request(399), bad, a_request(401))]
    first, refused, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(refused, StoreUnavailable)
    assert all(isinstance(one, Created) and one.is_new for one in (first, last))


async def test_a_page_that_somebody_holds_is_written_anew_once_it_is_free(store: PostgresStore, schema: str) -> None:
    """It is passed over, and then waited for alone: nothing else is locked meanwhile, and none stays as it was."""
    request = await stored(store, 1)
    await store.commit(end(request, pages=tuple(Page(number=number, raw=b"old") for number in range(3))))
    bodies = await store.bodies(SCOPE, Part.pages, limit=9)
    connection = await asyncpg.connect(URL)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f'SELECT FROM "{schema}".pages WHERE page = 0 FOR UPDATE')
    writing = asyncio.ensure_future(store.rewrite(SCOPE, [(body, b"new") for body in bodies]))
    free = f'SELECT FROM "{schema}".pages WHERE page > 0 AND raw = $1 FOR UPDATE SKIP LOCKED'
    while len(await do(free, b"new")) < 2:
        assert not writing.done()
    await transaction.rollback()
    await connection.close()
    assert await writing == 3
    assert {page.raw for page in await store.pages(SCOPE, request.id)} == {b"new"}


async def _now(store: PostgresStore, request: DataRequest) -> DataRequest:
    found = await store.load(SCOPE, request.id)
    assert found is not None
    return found


async def test_batches_of_two_processes_over_the_same_hot_requests_lose_nothing(
    store: PostgresStore, schema: str
) -> None:
    """Neither waits for the other for ever, and every event is in exactly one history."""
    requests = [(await stored(store, number)).id for number in range(1, 9)]
    async with Opened(schema) as other:

        async def bring(at_store: PostgresStore, key: str, request_id: str) -> None:
            while True:
                request = await at_store.load(SCOPE, request_id)
                assert request is not None
                if (await at_store.commit(a_step(request, key))).outcome is not Outcome.conflict:
                    return

        keys = [f"event-{number}" for number in range(200)]
        dice = random.Random(1)
        await asyncio.gather(*(bring(one, key, dice.choice(requests)) for key in keys for one in (store, other)))
        histories = [entry.key for each in requests for entry in await store.history(SCOPE, each)]
        assert sorted(key for key in histories if key.startswith("event-")) == sorted(
            {key for key in histories if key.startswith("event-")}
        )
        assert set(keys) <= set(histories)
        for request in await store.find(SCOPE, Query()):
            assert request.version == len(await store.history(SCOPE, request.id)) - 1


async def test_lines_of_announcements_keep_their_order_and_never_stand_still(store: PostgresStore, schema: str) -> None:
    """While rows are made and delivered at once by two processes, each request's are offered in order, and all are."""
    await store.register(SCOPE, [ALL])
    requests = [await stored(store, number) for number in range(1, 7)]
    told: dict[str, list[str]] = {request.id: [] for request in requests}
    heard: dict[str, list[str]] = {request.id: [] for request in requests}
    finished = asyncio.Event()
    async with Opened(schema) as other:

        async def tell(request: DataRequest) -> None:
            for number in range(25):
                change = a_change(request)
                step = a_step(request, f"{request.id}-{number}", announcements=(change,), inbox={"at": START})
                assert (await store.commit(step)).outcome is Outcome.committed
                told[request.id].append(change.key)
                assert step.after is not None
                request = step.after

        async def relay(at_store: PostgresStore) -> None:
            while True:
                was_over = finished.is_set()
                rows = await at_store.claim_outbox(SCOPE, sinks=["all"], owner="r", now=at(9), lease=LEASE, limit=10)
                for row in rows:
                    heard[row.request_id or ""].append(row.key)
                await at_store.delivered(SCOPE, [(row.key, row.sink) for row in rows])
                if was_over and not rows:
                    return

        relays = [asyncio.create_task(relay(each)) for each in (store, other, store, other)]
        await asyncio.gather(*(tell(request) for request in requests))
        finished.set()
        await asyncio.gather(*relays)
    assert heard == told
    assert not await store.outbox(SCOPE)


async def test_a_sink_that_is_forgotten_gets_no_row_from_steps_under_way(store: PostgresStore, schema: str) -> None:
    """A step that saw the sink and commits later leaves no row behind once the removal has returned."""
    await store.register(SCOPE, [ALL])
    request = await stored(store)
    connection = await asyncpg.connect(URL)
    transaction = connection.transaction()
    await transaction.start()
    async with store.using(connection) as joined:
        assert (await joined.commit(a_step(request, "event-1", announcements=(a_change(request),)))).announced == 1
    dropping = asyncio.create_task(store.unregister(SCOPE, "all"))
    forgotten = f'SELECT FROM "{schema}".sinks WHERE $1'
    while await do(forgotten, True):  # noqa: FBT003
        pass
    await transaction.commit()
    await connection.close()
    assert await dropping == 1
    assert not await store.outbox(SCOPE)


async def _untold(store: PostgresStore, count: int) -> list[str]:
    """Make a request with so many changes that nobody has heard of yet; return their keys, in order."""
    request, keys = await stored(store), []
    for number in range(count):
        change = a_change(request)
        step = a_step(request, f"event-{number}", announcements=(change,), inbox={"at": START})
        await store.commit(step)
        keys.append(change.key)
        assert step.after is not None
        request = step.after
    return keys


async def test_what_is_set_aside_and_brought_back_keeps_its_place(store: PostgresStore) -> None:
    """A row that comes back goes before those that came after it, and behind those before it."""
    await store.register(SCOPE, [ALL])
    keys = await _untold(store, 4)

    async def offered() -> list[str]:
        rows = await store.claim_outbox(SCOPE, sinks=["all"], owner="r", now=at(9), lease=-1.0, limit=9)
        return [row.key for row in rows]

    for key in keys[:2]:
        assert await offered() == [key]
        await store.undelivered(SCOPE, key, "all", due_at=START, error="X", set_aside=True)
    assert await offered() == [keys[2]]
    assert await store.redeliver(SCOPE, keys[1], "all", now=START)
    assert await offered() == [keys[1]]
    assert await store.redeliver(SCOPE, keys[0], "all", now=START)
    for key in keys:
        assert await offered() == [key]
        await store.delivered(SCOPE, [(key, "all")])
    assert await offered() == []


async def test_a_row_confirmed_out_of_its_turn_lets_nobody_overtake(store: PostgresStore) -> None:
    """Who stood behind it stands behind the one before it."""
    await store.register(SCOPE, [ALL])
    keys = await _untold(store, 3)
    assert await store.confirm(SCOPE, keys[1], "all")
    rows = await store.claim_outbox(SCOPE, sinks=["all"], owner="r", now=at(9), lease=LEASE, limit=9)
    assert [row.key for row in rows] == [keys[0]]


async def test_one_step_that_the_database_refuses_spares_the_others(store: PostgresStore) -> None:
    """A batch that one of its steps breaks is done step by step."""
    requests = [await stored(store, number) for number in range(1, 6)]
    bad = Announcement(key="k" * 3000, kind="change", topic="t", request_id=requests[0].id, payload="{}")
    await store.register(SCOPE, [ALL])
    noise = "".join(random.Random(2).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    steps = [a_step(each, f"event-{each.id}") for each in requests]
    steps[0] = a_step(requests[0], noise, announcements=(bad,))
    ended = await asyncio.gather(*(store.commit(step) for step in steps), return_exceptions=True)
    assert isinstance(ended[0], StoreUnavailable), "a key too long for an index"
    assert all(not isinstance(one, BaseException) and one.outcome is Outcome.committed for one in ended[1:])


async def test_text_that_postgres_cannot_keep_is_kept_otherwise(store: PostgresStore) -> None:
    """NUL and half a surrogate pair, which only an attacker sends, fail nothing and are found again."""
    request = await stored(store, reference="a\0b", entity_id="half \ud800")
    assert [one.id for one in await store.find(SCOPE, Query(reference="a\0b"))] == [request.id]
    assert [one.id for one in await store.find(SCOPE, Query(entity_id="half \ud800"))] == [request.id]
    assert (await store.commit(a_step(request, "key\0"))).outcome is Outcome.committed
    assert await store.seen(SCOPE, "key\0")


async def test_tables_are_made_once_by_however_many_start(schema: str) -> None:
    """Processes that start at once take turns; without leave to migrate a store says what is needed."""
    del schema
    name = "leanflow of many starts"
    await drop(name)
    try:
        with pytest.raises(MigrationNeeded, match="leanflow migrate"):
            await PostgresStore(URL, schema=name).open()
        stores = [PostgresStore(URL, schema=name, migrate=True) for _ in range(6)]
        await asyncio.gather(*(store.open() for store in stores))
        await asyncio.gather(*(store.aclose() for store in stores))
        [row] = await do(f'SELECT count(*), max(version) FROM "{name}".migrations WHERE $1', True)  # noqa: FBT003
        assert row["count"] == row["max"]
    finally:
        await drop(name)


async def test_leases_go_by_the_databases_clock(schema: str) -> None:
    """An engine whose clock is a year ahead claims nothing before its time, and takes nobody's lease."""
    await empty(schema)
    ahead = PostgresStore(URL, schema=schema)
    await ahead.open()
    try:
        now = await ahead.now()
        assert now is not None
        late = now.replace(year=now.year + 1)
        request = await stored(ahead, 1, due_at=late)
        assert not await ahead.claim(SCOPE, owner="a", now=late, lease=LEASE, limit=9)
        due = await stored(ahead, 2, due_at=now)
        [claimed] = await ahead.claim(SCOPE, owner="a", now=late, lease=LEASE, limit=9)
        assert claimed.request.id == due.id
        assert now <= claimed.now < late
        assert not await ahead.claim(SCOPE, owner="b", now=late, lease=LEASE, limit=9)
        assert request.due_at == late
    finally:
        await ahead.aclose()


async def test_leases_are_written_to_no_index() -> None:
    """Claim, renewal and release each write the row beside its old version, and none of the table's many indexes."""
    schema = await fresh_schema()
    connection = await asyncpg.connect(URL)
    try:
        async with Opened(schema) as store, connection.transaction(), store.using(connection) as tx:
            request = await stored(tx)
            assert len(await tx.claim(SCOPE, owner="w", now=START, lease=LEASE, limit=1)) == 1
            assert await tx.renew(SCOPE, request.id, owner="w", now=at(1), lease=LEASE)
            await tx.release(SCOPE, request.id, owner="w")
            [updates] = await connection.fetch(
                """SELECT pg_stat_get_xact_tuples_updated(c) AS all, pg_stat_get_xact_tuples_hot_updated(c) AS beside
                FROM (SELECT format('%I.requests', $1::text)::regclass::oid AS c) AS requests""",
                schema,
            )
            assert tuple(updates) == (3, 3)
    finally:
        await connection.close()
        await drop(schema)


async def test_the_next_due_time_is_the_soonest_of_leased_and_free(store: PostgresStore) -> None:
    """A lease that ends before the next free request is due comes first, whatever its request's own due time."""
    for number, due in enumerate((0, 1, 200, 300), start=1):
        await stored(store, number, due_at=at(due))
    await store.claim(SCOPE, owner="long", now=START, lease=500, limit=1)
    assert await store.next_due(SCOPE) == at(1)
    await store.claim(SCOPE, owner="short", now=at(2), lease=90, limit=1)
    assert await store.next_due(SCOPE) == at(92)
    [claimed] = await store.claim(SCOPE, owner="short", now=at(92), lease=150, limit=1)
    assert claimed.taken_over
    assert await store.next_due(SCOPE) == at(200)
    await store.claim(SCOPE, owner="rest", now=at(300), lease=400, limit=9)
    assert await store.next_due(SCOPE) == at(500)


async def test_another_process_hears_at_once(schema: str) -> None:
    """What one engine commits, the handlers and waiters of another hear of without polling."""
    await empty(schema)
    heard: asyncio.Queue[str] = asyncio.Queue()
    handlers = Handlers()

    @handlers.on(State.failed, name="listener")
    async def came(change: Change, _flows: LeanFlow) -> None:
        heard.put_nowait(change.request.id)

    slow = Policy(poll=timedelta(hours=1))
    common: dict[str, Any] = {"webhook_secrets": ["s"], "policy": slow, "app": "app"}
    web = LeanFlow(store=PostgresStore(URL, schema=schema), transport=Refusing(), workers=0, **common)
    worker = LeanFlow(
        store=PostgresStore(URL, schema=schema),
        transport=Refusing(),
        handlers=handlers,
        **common,
    )
    async with worker, web:
        async with asyncio.timeout(20):
            listening = "SELECT FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND query LIKE '%' || $1 || '%'"
            while len(await do(listening, channel_of(schema))) < 2:
                pass  # connections to listen on are made beside
            request = await web.request("accounts", entity_id="e")
            waiting = asyncio.create_task(worker.wait(request.id))
            assert await heard.get() == request.id
            assert (await waiting).state is State.failed


async def test_without_prepared_statements_and_hints_it_works_as_well(schema: str) -> None:
    """As PgBouncer in transaction mode wants it."""
    await empty(schema)
    store = PostgresStore(URL, schema=schema, prepared=False, hints=False, clock="engine")
    async with LeanFlow(store=store, transport=Refusing(), webhook_secrets=["s"], workers=0) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert (await flows.get(request.id)).state is State.failed
        assert len(await flows.history(request.id)) == 2
