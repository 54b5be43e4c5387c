"""Flows inside the transaction of an application that blocks: every kind of connection, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import psycopg
import pytest

from leanflow import Change, Handlers, LeanFlow, State, blocking
from leanflow.errors import InvalidRequest, NotInState, RequestNotFound, StoreUnavailable
from leanflow.events import Cancelled
from leanflow.mockbank import Mockbank
from leanflow.testing import FakeClock, travel
from leanflow_adapters.mockbank import MockbankTransport
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.applications import KINDS, Application, Database, application
from tests.support.postgres import URL, do, drop, empty, fresh_schema


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """Give the name of a schema with empty tables and one of the application's, gone afterwards."""
    name = asyncio.run(fresh_schema())
    asyncio.run(do(f'CREATE TABLE "{name}".cases (id text PRIMARY KEY, request text)'))
    yield name
    asyncio.run(drop(name))


class _Lean(MockbankTransport):
    """Its token takes a while, as it does over a network."""

    async def token(self, customer_id: str) -> str | None:
        await asyncio.sleep(0)
        return await super().token(customer_id)


def _nothing(change: Change, flows: blocking.LeanFlow) -> None:
    """Have no effect."""


class World:
    """An engine behind its blocking face, Mockbank, and an application beside it in the same database."""

    def __init__(self, database: Database, kind: str) -> None:
        self.database = database
        self.cases = database.table("cases")
        self.clock = FakeClock()
        self.bank = Mockbank(now=self.clock.now())
        self.lean = _Lean(self.bank, self.clock)
        self.handlers = Handlers()
        self.heard: list[str] = []
        self.effect: Callable[[Change, blocking.LeanFlow], None] = _nothing
        self.flows = blocking.LeanFlow(
            store=self._store(),
            transport=self.lean,
            webhook_secrets=[self.bank.webhook_secret],
            handlers=[self.handlers],
            app=self.bank.app,
            clock=self.clock,
            workers=0,
        )
        self.lean.receive = self.flows.engine.receive

        @self.handlers.on(name="heard")
        def hear(change: Change, _: blocking.LeanFlow) -> None:
            self.heard.append(change.to_state)

        @self.handlers.on(State.fetched, name="cases")
        def case(change: Change, flows: blocking.LeanFlow) -> None:
            self.effect(change, flows)

        self.kind = kind
        self.application = application(kind, database)
        self.connection = self.application.connection

    def _store(self) -> Any:
        if self.database.path:
            return SQLiteStore(self.database.path, busy_timeout=0.5)
        return PostgresStore(URL, schema=self.database.schema, clock="engine")

    def passes(self, **span: float) -> None:
        """Let time pass."""
        self.flows.run(travel, self.clock, timedelta(**span), also=[self.lean])

    def reconnecting(self) -> str:
        """Return a request whose user is wanted."""
        entity = self.bank.connect(f"user-{self.clock.now()}")
        self.bank.expire_session(entity)
        request = self.flows.request("accounts", entity_id=entity, customer_id=self.bank.customer_of(entity))
        assert request.state is State.reconnect_required
        return request.id

    @contextmanager
    def another(self) -> Iterator[Application]:
        """Give one more application of the kind, for another thread."""
        other = application(self.kind, self.database)
        try:
            yield other
        finally:
            other.close()

    def poison(self, tag: str) -> None:
        """Have the database refuse to write an event of this kind into the history."""
        if self.database.path:
            with self.another() as owner:
                owner.begin()
                owner.do(
                    f"""CREATE TRIGGER poison BEFORE INSERT ON leanflow_history WHEN new.tag = '{tag}'
                    BEGIN SELECT raise(ABORT, 'poison'); END"""
                )
                owner.commit()
            return
        schema = self.database.schema
        asyncio.run(
            do(
                f"""CREATE OR REPLACE FUNCTION "{schema}".poison() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'poison'; END $$;
                CREATE OR REPLACE TRIGGER poison BEFORE INSERT ON "{schema}".history FOR EACH ROW
                WHEN (new.tag = '{tag}') EXECUTE FUNCTION "{schema}".poison()"""
            )
        )

    def note(self, case: str, request: str = "") -> None:
        """Write a row of the application's."""
        self.application.do(f"INSERT INTO {self.cases} VALUES ('{case}', '{request}')")

    def noted(self) -> list[str]:
        """Return the application's rows, as somebody else sees them."""
        other = application("driver", self.database)
        try:
            return [row[0] for row in other.do(f"SELECT id FROM {self.cases} ORDER BY id")]
        finally:
            other.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Give both databases, with leanflow's tables and the application's."""
    if request.param == "postgres":
        schema = request.getfixturevalue("schema")
        asyncio.run(empty(schema))
        asyncio.run(do(f'DELETE FROM "{schema}".cases; DROP TRIGGER IF EXISTS poison ON "{schema}".history'))
        return Database(schema=schema)
    database = Database(path=tmp_path / "app.db")
    owner = Application(database)
    owner.do("CREATE TABLE cases (id TEXT PRIMARY KEY, request TEXT)")
    owner.commit()
    owner.close()
    return database


@pytest.fixture(params=list(KINDS))
def world(request: pytest.FixtureRequest, database: Database) -> Iterator[World]:
    """Give each kind of application on each database."""
    world = World(database, request.param)
    with world.flows:
        yield world
        world.application.close()


def test_a_rollback_leaves_nothing(world: World) -> None:
    """The application's rows and the request go together: no call, no announcement."""
    world.application.begin()
    with world.flows.using(world.connection) as tx:  # the first thing in the transaction: nothing has begun it
        request = tx.request("accounts", entity_id=world.bank.connect())
        world.note("1", request.id)
        assert tx.get(request.id) == request
    world.application.rollback()
    world.passes(minutes=5)
    assert (world.noted(), list(world.flows.find()), world.heard) == ([], [], [])


def test_a_commit_is_placed_afterwards(world: World) -> None:
    """Nothing is called or announced before the application commits; then a worker finds it, due at once."""
    entity = world.bank.connect()
    world.application.begin()
    with world.flows.using(world.connection) as tx:
        world.note("1")
        request = tx.request("accounts", entity_id=entity, reference="user-17", key="k")
        assert (request.state, request.call_no) == (State.requested, 0)
        assert [found.id for found in tx.find(reference="user-17")] == [request.id]
        if world.database.schema:  # SQLite has one writer, which is the application now
            world.flows.tick()
        with pytest.raises(RequestNotFound):
            world.flows.get(request.id)
    assert world.heard == []
    world.application.commit()
    world.flows.tick()
    assert world.flows.get(request.id).state is State.fetched
    assert (world.heard, world.noted()) == (["requested", "fetched"], ["1"])


def test_every_operation_joins_the_transaction(world: World) -> None:
    """Prompt (with its access token), callback, apply and cancel are in it, and after its rollback never were."""
    request_id = world.reconnecting()
    before = world.flows.get(request_id)
    world.application.begin()
    with world.flows.using(world.connection) as tx:
        prompt = tx.prompt(request_id)
        assert prompt.reconnect_id == before.reconnect_id
        assert prompt.access_token
        assert tx.get(request_id).state is State.awaiting_user
        assert tx.callback(request_id, {"status": "CANCELLED"}, prompt=prompt.number).state.needs_user
        [applied] = tx.apply(Cancelled(), request_id=request_id)
        assert applied.state is tx.cancel(request_id).state is State.cancelled
        with pytest.raises(NotInState):
            tx.renew(request_id)
        assert len(tx.history(request_id)) == len(world.flows.history(request_id)) + 4
        assert tx.export(request_id)
        with pytest.raises(NotInState):
            tx.results(request_id)
    world.application.rollback()
    assert world.flows.get(request_id) == before
    assert world.flows.prompt(request_id).number == 1


def test_results_are_read_in_it(world: World) -> None:
    """What was fetched is there, whole and by pages, whatever the connection makes of bytes and times."""
    request = world.flows.request("accounts", entity_id=world.bank.connect())
    world.application.begin()
    with world.flows.using(world.connection) as tx:
        assert tx.results(request.id) == world.flows.results(request.id)
        assert list(tx.pages(request.id)) == list(world.flows.pages(request.id))
        assert tx.history(request.id) == world.flows.history(request.id)
        assert [repr(entry.at) for entry in tx.history(request.id)] == [
            repr(entry.at) for entry in world.flows.history(request.id)
        ]
        assert tx.get(request.id) == request
    world.application.rollback()


def test_a_handlers_effect_happens_once(world: World) -> None:
    """`confirm` in the transaction of a handler that blocks: rolled back it is delivered again, committed it is not."""
    confirmed = []

    def effect(change: Change, flows: blocking.LeanFlow) -> None:
        with world.another() as own:
            own.begin()
            with flows.using(own.connection) as tx:
                confirmed.append(tx.confirm(change, "cases"))
                if confirmed[-1]:
                    own.do(f"INSERT INTO {world.cases} VALUES ('{change.request.id}', '')")
            if len(confirmed) == 1:
                own.rollback()
                raise ConnectionError
            own.commit()
        if len(confirmed) == 2:
            effect(change, flows)  # as if it were delivered once more

    world.effect = effect
    request = world.flows.request("accounts", entity_id=world.bank.connect())
    world.passes(minutes=5)
    assert (confirmed, world.noted()) == ([True, True, False], [request.id])
    assert world.flows.undelivered() == ()


def test_what_fails_leaves_the_transaction(world: World) -> None:
    """A step that the database refuses half-way is undone alone; what was done before and after it is committed."""
    request_id = world.reconnecting()
    before = world.flows.get(request_id)
    world.poison("cancelled")
    world.application.begin()
    with world.flows.using(world.connection) as tx:
        world.note("before")
        prompt = tx.prompt(request_id)
        with pytest.raises(StoreUnavailable) as failed:
            tx.cancel(request_id)
        assert "poison" not in str(failed.value) or world.database.path  # Postgres' words may hold values
        with pytest.raises(RequestNotFound):
            tx.get("nothing")
        assert tx.get(request_id).state is State.awaiting_user
        world.note("after")
    world.application.commit()
    assert world.noted() == ["after", "before"]
    after = world.flows.get(request_id)
    assert (after.state, after.prompt_number) == (State.awaiting_user, prompt.number)
    assert after.version == before.version + 1


def test_an_error_of_the_applications_comes_through(world: World) -> None:
    """What is raised inside the block is raised by it, and the block ends nothing but itself."""
    world.application.begin()
    entity = world.bank.connect()

    def block() -> None:
        with world.flows.using(world.connection) as tx:
            tx.request("accounts", entity_id=entity)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    world.note("kept")
    world.application.commit()
    assert world.noted() == ["kept"]
    assert [request.entity_id for request in world.flows.find()] == [entity]


def test_a_transaction_ends_with_its_block(world: World) -> None:
    """Outside of its block, and in another thread, it does nothing."""
    world.application.begin()
    with world.flows.using(world.connection) as tx, ThreadPoolExecutor(1) as threads:
        refused = threads.submit(tx.get, "x").exception()
        assert isinstance(refused, InvalidRequest)
    with pytest.raises(InvalidRequest, match=r"^transaction: is over"):
        tx.get("x")
    world.application.rollback()


def test_another_database_is_refused(world: World, tmp_path: Path) -> None:
    """A connection to another database than the store's is refused, and nothing is done there."""
    if world.database.path:
        other = application(world.kind, Database(path=tmp_path / "other.db"))
    else:
        other = application(world.kind, Database(schema="x", database="postgres"))
    try:
        other.begin()
        with pytest.raises(InvalidRequest, match="another database"), world.flows.using(other.connection):
            pytest.fail("it was taken")
    finally:
        other.close()
    the_other = Database(schema="x") if world.database.path else Database(path=tmp_path / "other.db")
    stranger = application(world.kind, the_other)
    try:
        stranger.begin()
        with pytest.raises(InvalidRequest, match="connection"), world.flows.using(stranger.connection):
            pytest.fail("it was taken")
    finally:
        stranger.close()


@pytest.mark.parametrize("kind", ["driver", "connection"])
def test_a_closed_connection_is_refused(database: Database, kind: str) -> None:
    """A connection that is closed is refused with a clear error."""
    world = World(database, kind)
    with world.flows:
        world.application.close()
        with pytest.raises(InvalidRequest, match="connection"), world.flows.using(world.connection):
            pytest.fail("it was taken")


def test_django_must_be_in_an_atomic_block(database: Database) -> None:
    """Outside of one Django commits each statement by itself, and one that has failed can only be rolled back."""
    world = World(database, "django")
    with world.flows:
        with pytest.raises(InvalidRequest, match=r"transaction\.atomic"), world.flows.using(world.connection):
            pytest.fail("it was taken")
        world.application.begin()
        world.connection.needs_rollback = True
        with pytest.raises(InvalidRequest, match="rolled back"), world.flows.using(world.connection):
            pytest.fail("it was taken")
        world.application.close()


@pytest.mark.parametrize("kind", ["driver", "connection"])
def test_autocommit_is_refused_on_postgres(schema: str, kind: str) -> None:
    """A connection that commits each statement by itself is refused, unless it is in a transaction."""
    world = World(Database(schema=schema), kind)
    with world.flows:
        own = world.connection
        if kind == "driver":
            own.autocommit = True
        else:
            own = own.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(InvalidRequest, match="autocommit"), world.flows.using(own):
            pytest.fail("it was taken")
        if kind == "driver":
            with own.transaction(), world.flows.using(own) as tx:
                request = tx.request("accounts", entity_id=world.bank.connect())
            assert world.flows.get(request.id) == request
        world.application.close()


def test_a_failed_transaction_is_refused_on_postgres(schema: str) -> None:
    """A transaction in which a statement of the application's has failed can only be rolled back, and that is said."""
    world = World(Database(schema=schema), "driver")
    with world.flows:
        with pytest.raises(psycopg.Error):
            world.application.do("SELECT nonsense")
        with pytest.raises(InvalidRequest, match="rolled back"), world.flows.using(world.connection):
            pytest.fail("it was taken")
        world.application.close()


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_the_isolation_cannot_reload_is_retryable(database: Database, kind: str) -> None:
    """A transaction that sees an older state than the one stored gets an error that says: try again."""
    world = World(database, kind)
    with world.flows:
        request_id = world.reconnecting()
        world.application.begin()
        if database.schema:
            world.application.do("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        elif kind != "django":
            world.application.do("BEGIN")
        world.application.do(f"SELECT * FROM {database.leanflow('requests')}")  # the snapshot
        world.flows.prompt(request_id)
        with world.flows.using(world.connection) as tx:
            with pytest.raises(StoreUnavailable) as failed:
                tx.cancel(request_id)
            assert failed.value.retryable
        world.application.rollback()
        world.application.begin()
        with world.flows.using(world.connection) as tx:
            assert tx.cancel(request_id).state is State.cancelled
        world.application.commit()
        assert world.flows.get(request_id).state is State.cancelled
        world.application.close()


async def test_an_awaited_engine_refuses_what_blocks(tmp_path: Path) -> None:
    """It would hold up the loop: the error names `leanflow.blocking`; and the other way round."""
    path = tmp_path / "app.db"
    Application(Database(path=path)).close()
    clock = FakeClock()
    lean = MockbankTransport(Mockbank(now=clock.now()), clock)
    engine = LeanFlow(store=SQLiteStore(path), transport=lean, webhook_secrets=["s"], clock=clock, workers=0)
    for kind in ("driver", "connection", "session"):  # Django's refuses in a loop by itself
        own = application(kind, Database(path=path))
        try:
            async with engine:
                with pytest.raises(InvalidRequest, match=r"join through leanflow\.blocking"):
                    async with engine.using(own.connection):
                        pytest.fail("it was taken")
        finally:
            own.close()
    flows = blocking.LeanFlow.over(engine)
    try:
        async with aiosqlite.connect(path) as awaited:
            with pytest.raises(InvalidRequest, match=r"join through leanflow\.LeanFlow"), flows.using(awaited):
                pytest.fail("it was taken")
    finally:
        await asyncio.to_thread(flows.close)
