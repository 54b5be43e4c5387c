"""`leanflow copy`: everything arrives once, in order, whatever happens on the way."""

from __future__ import annotations

import asyncio
import functools
import json
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import pytest
from cryptography.fernet import Fernet

from leanflow import Change, Handlers, LeanFlow, Policy, State
from leanflow._request import IdKind, Scope
from leanflow.errors import StoreUnavailable
from leanflow.ports import Store
from leanflow.testing import FakeClock, assert_replays
from leanflow.testing.conformance._samples import a_creation, a_request, stored
from leanflow_adapters import open_store
from leanflow_adapters._tables import TABLES, Row, Table, Tables
from leanflow_adapters.cli import _copy
from leanflow_adapters.cli._copy import CannotCopy, copy, tables_of
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.redis import RedisStore
from tests.support import redis
from tests.support.engine import deliver, engine, recorder
from tests.support.lean import Lean, webhook
from tests.support.postgres import URL, do, drop, fresh_schema
from tests.support.redis import URL as REDIS

APPS = ("app", "other")
COMMAND = (sys.executable, "-m", "leanflow_adapters.cli", "copy")
KINDS = ("sqlite", "postgres", "redis")
DIRECTIONS = [(a, b) for a in KINDS for b in KINDS]
QUICK = Policy(announce_backoff=(timedelta(seconds=1),), announce_tries=2)
SCOPE = Scope(app="app", environment="sandbox", region="uae")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@attrs.frozen
class Place:
    """Where a store is."""

    kind: str
    url: str

    def store(self) -> Store:
        """Return one more handle, on the engine's clock."""
        if self.kind == "sqlite":
            return open_store(self.url)
        if self.kind == "redis":
            return RedisStore(REDIS, prefix=self.url.partition("prefix=")[2], clock="engine")
        return PostgresStore(URL, schema=self.url.partition("schema=")[2], clock="engine")

    def tables(self) -> AbstractAsyncContextManager[Tables]:
        """Return its tables."""
        return tables_of(open_store(self.url))


class Places:
    """Fresh places."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._schemas: list[str] = []
        self._prefixes: list[str] = []

    async def fresh(self, kind: str) -> Place:
        """Return a place with nothing in it."""
        if kind == "sqlite":
            return Place(kind, f"sqlite:///{self._directory}/{uuid4().hex}.db")
        if kind == "redis":
            self._prefixes.append(await redis.fresh_prefix())
            return Place(kind, f"{REDIS}?prefix={self._prefixes[-1]}")
        self._schemas.append(await fresh_schema())
        return Place(kind, f"{URL}?schema={self._schemas[-1]}")

    async def remove(self) -> None:
        """Remove them."""
        for schema in self._schemas:
            await drop(schema)
        for prefix in self._prefixes:
            await redis.empty(prefix)


@pytest.fixture
async def places(tmp_path: Path) -> AsyncIterator[Places]:
    """Give places that are gone afterwards."""
    made = Places(tmp_path)
    yield made
    await made.remove()


@attrs.frozen
class World:
    """A source with something in every table."""

    clock: FakeClock
    lean: Lean
    waiting: Sequence[str]


def _failing() -> Handlers:
    handlers = Handlers()

    @handlers.on(name="broken")
    def broken(change: Change, _flows: LeanFlow) -> None:
        if change.to_state is State.reconnect_required:
            raise ValueError("not this one")

    @handlers.on(State.fetched, resource="accounts", name="never")
    def never(_change: Change, _flows: LeanFlow) -> None:
        raise ValueError("never")

    return handlers


async def fill(place: Place) -> World:
    """Let two applications work until there is something in every table."""
    clock = FakeClock(LONG_AGO)
    lean = Lean(clock)
    lean.pages = 2
    waiting = []
    for app in APPS:
        handlers = [_failing(), recorder().handlers]
        async with engine(place.store(), lean, clock, app=app, handlers=handlers, policy=QUICK) as flows:
            lean.will(f"{app}-asleep", "reconnect", "reconnect")
            done = await flows.request("accounts", entity_id=f"{app}-awake", reference="user-1", key=f"{app}-key")
            asked = await flows.request("identity", entity_id=f"{app}-asleep", reference="user-2")
            given_up = await flows.request("accounts", entity_id=f"{app}-asleep", reference="user-2")
            gone = await flows.request("accounts", entity_id=f"{app}-gone")
            for _ in range(6):
                await flows.tick()
                clock.advance(timedelta(seconds=2))
            assert (await flows.get(done.id)).state is State.fetched
            await flows.erase(entity_id=gone.entity_id)
            for number in (3, 1, 2):  # at one time: their order is that in which they came
                nobody = {"id": f"{app}-nobody-knows"}
                await deliver(flows, webhook("results.ready", nobody, event_id=f"{app}-{number}"))
            await flows.store.repark(flows.scope, f"event:{app}-2", due_at=clock.now() + timedelta(hours=1))
            await flows.store.remember(flows.scope, "note", "worth it")
            await flows.store.tally(flows.scope, "number", add=3)
            # undelivered, one behind the other
            await flows.prompt(asked.id)
            await flows.prompt(given_up.id)
            await flows.cancel(given_up.id)
            waiting.append(asked.id)
    return World(clock, lean, waiting)


async def everything(place: Place, *, tags: bool = True) -> dict[str, Any]:
    """Return all rows: as sets where order means nothing, the others in theirs, by request or scope.

    `tags`: whether the inbox has them, which no store reads; one that was in a Redis has them no more.
    """
    found: dict[str, Any] = {}
    async with place.tables() as tables:
        for table in TABLES:
            rows: list[Row] = []
            after: str | None = None
            was: str | None = "nowhere"
            while after != was:
                was = after
                more, after = await tables.read(table, after, 701 if table.name == "inbox" else 7)
                rows += more
            if table.name in ("outbox", "parked", "history"):
                whose = list(table.columns).index("request_id" if table.name == "history" else "scope")
                grouped = defaultdict(list)
                for row in rows:
                    grouped[row[whose]].append(row)
                found[table.name] = dict(grouped)
            elif table.name == "inbox" and not tags:
                found[table.name] = sorted((scope, key, at) for scope, key, _, at in rows)
            else:
                found[table.name] = sorted(rows, key=repr)
    return found


async def copied(source: Place, target: Place, *, force: bool = False) -> dict[str, int]:
    """Copy, as the command does."""
    async with source.tables() as old, target.tables() as new:
        return dict(await copy(old, new, force=force, told=lambda *_: None))


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
    own = {"requests": {"number", "key"}, "history": {"number"}, "outbox": {"number", "head"}}
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
        assert counts[name] == _size(rows), name
    assert all(counts.values()), "a table without rows shows nothing"
    assert await _offered(target, world) == await _offered(source, world)

    told: dict[str, list[Any]] = {}
    for place in (source, target):
        lines = told[place.url] = []
        for app, request_id in zip(APPS, world.waiting, strict=True):
            heard = recorder()
            handlers = [_failing(), heard.handlers]
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


class Cut(BaseException):
    """The process is gone."""


@attrs.define
class Cutting:
    """A target that is cut off at its n-th write, before or after that is stored."""

    inner: Tables
    at: int
    stored: bool
    writes: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def write(self, table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
        """Write, or be cut off."""
        self.writes += 1
        if self.writes == self.at and not self.stored:
            raise Cut
        written = await self.inner.write(table, rows, before=before, mark=mark)
        if self.writes == self.at:
            raise Cut
        return written


@pytest.mark.parametrize(("old", "new"), DIRECTIONS)
@pytest.mark.parametrize("stored", [True, False])
async def test_a_copy_that_is_cut_off_anywhere_goes_on(
    places: Places, monkeypatch: pytest.MonkeyPatch, old: str, new: str, stored: bool
) -> None:
    """Cut off at each of its writes in turn, and started again each time, it ends with the same rows."""
    monkeypatch.setattr(_copy, "TABLES", tuple(attrs.evolve(table, slice=3) for table in TABLES))
    source, target = await places.fresh(old), await places.fresh(new)
    await fill(source)
    cuts = 0
    for at in range(1, 10_000):
        async with source.tables() as read, target.tables() as written:
            cutting: Any = Cutting(written, 1 + at % 3, stored)
            try:
                await copy(read, cutting, force=False, told=lambda *_: None)
            except Cut:
                cuts += 1
            else:
                break
    assert cuts > 15
    tags = "redis" not in (old, new)
    assert await everything(target, tags=tags) == await everything(source, tags=tags)
    assert await copied(source, target), "a copy that is there is counted again"


async def test_a_redis_that_is_killed_meanwhile_has_whole_slices(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy fails; with the server back, and all that it had said was written, it goes on to its end."""
    monkeypatch.setattr(_copy, "TABLES", tuple(attrs.evolve(table, slice=3) for table in TABLES))
    source = await places.fresh("sqlite")
    await fill(source)
    with redis.server() as own:
        target = Place("redis", own.url)
        for at in (7, 11, 16):
            async with source.tables() as old, target.tables() as new:
                dying: Any = _Dying(new, own, at)
                with pytest.raises(StoreUnavailable):
                    await copy(old, dying, force=False, told=lambda *_: None)
            await asyncio.to_thread(own.start)
        assert await copied(source, target)
        assert await everything(target, tags=False) == await everything(source, tags=False)


@attrs.define
class _Dying:
    """A target whose server is killed while it does the n-th write."""

    inner: Tables
    server: redis.Server
    at: int
    writes: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def write(self, table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
        """Write; the n-th time the server is gone before it has answered, or even read that."""
        self.writes += 1
        if self.writes < self.at:
            return await self.inner.write(table, rows, before=before, mark=mark)
        writing = asyncio.ensure_future(self.inner.write(table, rows, before=before, mark=mark))
        await asyncio.sleep(0)
        self.server.kill()
        return await writing


@pytest.mark.parametrize(
    ("old", "new"), [("sqlite", "postgres"), ("sqlite", "redis"), ("postgres", "redis"), ("redis", "postgres")]
)
async def test_a_killed_process_is_started_again(places: Places, old: str, new: str) -> None:
    """Killed with SIGKILL as often as it tells of progress, the command ends with the same rows, and exit status 0."""
    source, target = await places.fresh(old), await places.fresh(new)
    await fill(source)
    await _enlarge(source)
    command = [*COMMAND, source.url, target.url]
    far = [await asyncio.to_thread(_killed_after, lines, command) for lines in (3, 12, 7, 9)]
    assert len(set(far)) == 4, far
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=False)
    done = await asyncio.to_thread(run, [*command, "--json"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inbox"] > 20_000
    tags = "redis" not in (old, new)
    assert await everything(target, tags=tags) == await everything(source, tags=tags)


def _killed_after(lines: int, command: Sequence[str]) -> str:
    """Start a command, kill it once it has said so many lines, and return the last."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    heard = [process.stderr.readline() for _ in range(lines)]
    process.kill()
    process.communicate()
    return heard[-1]


async def _enlarge(place: Place) -> None:
    """Add seen webhooks."""
    inbox = next(table for table in TABLES if table.name == "inbox")
    async with place.tables() as tables:
        [scope, *_] = await tables.scopes()
        rows = [(scope, f"event:{number:06}", "results.ready", LONG_AGO) for number in range(20_000)]
        assert await tables.write(inbox, rows, before=None, mark="a copy into the source, of long ago")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_source_that_is_in_use_is_refused(places: Places, kind: str) -> None:
    """While a process has it open, or a lease is out, nothing is copied; --force does it."""
    source, target = await places.fresh(kind), await places.fresh("sqlite")
    await fill(source)
    async with engine(source.store(), Lean(FakeClock()), FakeClock()) as flows:
        await flows.counts()
        with pytest.raises(CannotCopy, match=r"in use \((another process|\d+ connections|1 processes)"):
            await copied(source, target)
    store = source.store()
    await store.open()
    soon = datetime.now(UTC)
    claimed = await store.claim(SCOPE, owner="dead", now=soon, lease=60.0, limit=1)
    assert len(claimed) == 1
    await store.aclose()
    with pytest.raises(CannotCopy, match=r"1 leases are out"):
        await copied(source, target)
    assert await copied(source, target, force=True)
    store = target.store()
    await store.open()
    again = await store.claim(SCOPE, owner="new", now=soon, lease=60.0, limit=1)
    assert [one.request.id for one in again] == [claimed[0].request.id], "the lease stayed behind"
    await store.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_that_is_not_empty_is_refused(places: Places, kind: str) -> None:
    """Rows of the same application are in the way; those of another are not, and stay."""
    source, target = await places.fresh("sqlite"), await places.fresh(kind)
    await fill(source)
    clock = FakeClock()
    async with engine(target.store(), Lean(clock), clock, app="third") as flows:
        kept = await flows.request("accounts", entity_id="of a third")
    await copied(source, target)
    async with engine(target.store(), Lean(clock), clock, app="third") as flows:
        assert (await flows.get(kept.id)).id == kept.id

    other = await places.fresh(kind)
    async with engine(other.store(), Lean(clock), clock, app="app") as flows:
        await flows.request("accounts", entity_id="in the way")
    with pytest.raises(CannotCopy, match="rows of the same application"):
        await copied(source, other)


async def test_a_target_that_was_worked_with_since_is_not_said_to_be_copied(places: Places) -> None:
    """It has rows of its own by now: whoever starts the copy again is told that it is in use."""
    source, target = await places.fresh("sqlite"), await places.fresh("sqlite")
    world = await fill(source)
    await copied(source, target)
    async with engine(target.store(), world.lean, world.clock) as flows:
        await flows.request("accounts", entity_id="new")
    with pytest.raises(CannotCopy, match=r"the target has got other rows in .*requests.* since it was copied"):
        await copied(source, target)


@pytest.mark.parametrize("kind", ["postgres", "redis"])
async def test_a_source_that_changes_meanwhile_is_refused(places: Places, kind: str) -> None:
    """What was copied before is then not what the source has: the copy does not end well, nor does it go on later."""
    source, target = await places.fresh(kind), await places.fresh("sqlite")
    world = await fill(source)

    async def change() -> None:
        async with engine(source.store(), world.lean, world.clock) as flows:
            await flows.cancel(world.waiting[0])

    changed = False
    async with source.tables() as old, target.tables() as new:
        inner = new.write

        async def write(table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
            nonlocal changed
            if table.name == "requests" and not changed:
                changed = True
                await change()
            return await inner(table, rows, before=before, mark=mark)

        changing: Any = Cutting(new, 0, stored=True)
        object.__setattr__(changing, "inner", _With(new, write))
        with pytest.raises(CannotCopy, match="has changed while it was copied"):
            await copy(old, changing, force=True, told=lambda *_: None)
    with pytest.raises(CannotCopy, match="before it changed"):
        await copied(source, target, force=True)


async def test_what_goes_while_redis_is_read_is_passed_over(places: Places) -> None:
    """An index still names it, and it is there no more: no row is made of it, and nothing fails."""
    source = await places.fresh("redis")
    await fill(source)
    before = await everything(source)
    keys = {key.decode() for key in await redis.do("KEYS", f"{{{source.url.partition('prefix=')[2]}:*")}
    for kind in (":r:", ":p:", ":o:"):
        await redis.do("DEL", min(key for key in keys if kind in key))
    after = await everything(source)
    for name, rows in before.items():
        lost = name in ("requests", "parked", "outbox")
        assert _size(after[name]) == _size(rows) - lost, name
    parked = next(table for table in TABLES if table.name == "parked")
    async with source.tables() as tables:
        [_], place = await tables.read(parked, None, 1)
        await redis.do("DEL", *(key for key in keys if ":p:" in key))
        assert (await tables.read(parked, place, 100))[0] == []


def _size(rows: Any) -> int:
    return sum(map(len, rows.values())) if isinstance(rows, dict) else len(rows)


@attrs.frozen
class _With:
    inner: Tables
    write: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_source_with_nothing_in_it_is_refused(places: Places, kind: str) -> None:
    """A name that was misspelt does not pass for a store without rows; nothing is left in the target."""
    source, target = await places.fresh(kind), await places.fresh(kind)
    with pytest.raises(CannotCopy, match="nothing in the source"):
        await copied(source, target)
    async with target.tables() as tables:
        assert await tables.mark() is None


async def test_a_newer_layout_is_refused(places: Places) -> None:
    """Of a Redis in which a newer version works nothing is copied, nor anything into it."""
    source, target = await places.fresh("redis"), await places.fresh("sqlite")
    await fill(source)
    [key, *_] = await redis.do("KEYS", f"{{{source.url.partition('prefix=')[2]}:*}}:scope")
    await redis.do("HSET", key, "layout", 2)
    for old, new in ((source, target), (target, source)):
        done = await asyncio.to_thread(
            subprocess.run, [*COMMAND, old.url, new.url], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        if old is source:
            assert "written by a newer leanflow" in done.stderr


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


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_written_over_the_mark_of_another(places: Places, kind: str) -> None:
    """A copy that goes on where another went on meanwhile writes neither rows nor its mark."""
    scopes = TABLES[0]
    target = await places.fresh(kind)
    row = (7, "app", "sandbox", "uae")
    async with target.tables() as tables:
        assert await tables.write(scopes, [], before=None, mark="first")
        assert not await tables.write(scopes, [row], before=None, mark="a second first")
        assert not await tables.write(scopes, [row], before="another", mark="second")
        assert await tables.mark() == "first"
        assert await tables.count(scopes, [7]) == 0
        assert await tables.write(scopes, [row], before="first", mark="second")
        assert await tables.count(scopes, [7]) == 1


async def test_two_copies_at_once_do_not_mix(places: Places) -> None:
    """Who meets the other is told, and that may be both; started again it goes on, and no row comes twice."""
    source, target = await places.fresh("sqlite"), await places.fresh("postgres")
    await fill(source)
    both = await asyncio.gather(copied(source, target), copied(source, target), return_exceptions=True)
    errors = [one for one in both if isinstance(one, BaseException)]
    assert all("another process is copying" in str(error) or "has it open" in str(error) for error in errors)
    await copied(source, target)
    assert await everything(target) == await everything(source)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("sqlite:///none.db", "sqlite:///new.db", "there is no store at"),
        ("memory:", "sqlite:///new.db", "has no tables"),
        ("sqlite:///new.db", "elsewhere:", "its scheme"),
    ],
)
def test_what_cannot_be_copied_is_told(tmp_path: Path, source: str, target: str, said: str) -> None:
    """In one line, with exit status 1; nothing is made."""
    done = subprocess.run([*COMMAND, source, target], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
