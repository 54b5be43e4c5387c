"""Encryption at rest: nothing of a result or webhook is readable, keys are changed, and a missing one is told."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from leanflow import State
from leanflow._request import IdKind, Scope
from leanflow.errors import InvalidRequest, KeyMissing, MalformedBody
from leanflow.ports import Part, Reencrypted, Store
from leanflow.testing import FakeClock, travel
from leanflow_adapters.cli._condition import condition
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import deliver, engine, recorder
from tests.support.lean import Lean, answer, webhook

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECRET = "Jane Roe 4711"
READY = webhook("results.ready", {"id": "r-9", "owner": SECRET}, event_id="ready")
CREATED = webhook("entity.created", {"id": "e-9", "customer_id": "c", "owner": SECRET}, event_id="created")


@pytest.fixture
def lean(clock: FakeClock) -> Lean:
    """Lean, whose data names a person."""
    lean = Lean(clock)
    items = [{"account_id": "a", "name": SECRET}]
    body = {"status": "OK", "results_id": "r-1", "data": {"accounts": items, "page": {"number": 0, "total_pages": 1}}}
    for entity_id in ("e", *(f"m{n}" for n in range(20))):
        lean.will(entity_id, *[answer(body)] * 100)
    return lean


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "flows.db"


def encrypted(path: Path, *keys: str) -> EncryptedStore:
    """Return a store on the file."""
    return EncryptedStore(SQLiteStore(path), keys=keys)


def bytes_in(directory: Path) -> bytes:
    """Return what all files of a directory hold: the database and its log."""
    return b"".join(path.read_bytes() for path in directory.iterdir())


async def fill(store: Store, lean: Lean, clock: FakeClock, *, requests: int = 1) -> list[str]:
    """Store results, a parked webhook and one that waits for its handler; return the requests' ids."""
    async with engine(store, lean, clock, handlers=recorder().handlers) as flows:
        made = [await flows.request("accounts", entity_id="e", key=f"{n}") for n in range(requests)]
        assert {request.state for request in made} == {State.fetched}
        await deliver(flows, READY, CREATED)
        return [request.id for request in made]


async def names(store: Store, lean: Lean, clock: FakeClock, ids: list[str]) -> set[str]:
    """Return what can be read of results and parked webhooks."""
    async with engine(store, lean, clock, seed=1) as flows:
        found = {(await flows.results(each)).items[0]["name"] for each in ids}
        for event in await store.parked(flows.scope, IdKind.results, "r-9"):
            found.add(json.loads(event.raw)["payload"]["owner"])
        return found


async def test_nothing_readable_is_in_the_file(path: Path, lean: Lean, clock: FakeClock) -> None:
    """No result, parked or waiting webhook can be read in database or log; in a store without keys all of them can."""
    await fill(SQLiteStore(path.with_name("plain.db")), lean, clock)
    assert bytes_in(path.parent).count(SECRET.encode()) == 4
    path.with_name("plain.db").unlink()
    store = encrypted(path, NEW)
    heard = recorder()
    async with engine(store, lean, clock, handlers=heard.handlers) as flows:
        request = await flows.request("accounts", entity_id="e")
        await deliver(flows, READY, CREATED)
        assert SECRET.encode() not in bytes_in(path.parent)
        assert len(bytes_in(path.parent)) > 10_000
        assert (await flows.results(request.id)).items[0]["name"] == SECRET
        assert SECRET in (await flows.undelivered())[-1].payload
        await flows.tick()
        assert [event.payload["owner"] for event in heard.webhooks] == [SECRET, SECRET]
        await travel(flows, clock, timedelta(days=2))  # the parked one is reported as an orphan
    assert SECRET.encode() not in bytes_in(path.parent)


async def test_a_missing_key_is_told_and_nothing_is_lost(path: Path, lean: Lean, clock: FakeClock) -> None:
    """With another key, or with none, an engine refuses to start, and says what it lacks; with it, all is there."""
    ids = await fill(encrypted(path, OLD), lean, clock)
    name = encrypted(path, OLD).newest
    for store in (encrypted(path, NEW), SQLiteStore(path)):
        with pytest.raises(KeyMissing, match=name):
            async with engine(store, lean, clock):
                pytest.fail("it started")
        assert not store.is_open
    raw = encrypted(path, NEW)
    await raw.open()
    with pytest.raises(KeyMissing, match=name):
        await raw.pages(engine(raw, lean, clock).scope, ids[0])
    await raw.aclose()
    assert await names(encrypted(path, OLD), lean, clock, ids) == {SECRET}


async def test_keys_are_changed(path: Path, lean: Lean, clock: FakeClock) -> None:
    """Old bodies are read with the old key; once encrypted anew they need the new one alone, and the old is refused."""
    ids = await fill(encrypted(path, OLD), lean, clock)
    both = encrypted(path, NEW, OLD)
    assert await names(both, lean, clock, ids) == {SECRET}
    with pytest.raises(KeyMissing, match=encrypted(path, OLD).newest):
        await names(encrypted(path, NEW), lean, clock, ids)
    told: list[Reencrypted] = []
    async with engine(both, lean, clock) as flows:
        assert await flows.reencrypt(told.append) == Reencrypted(looked_at=6, written=4)
        assert await flows.reencrypt() == Reencrypted(looked_at=6, written=0)
    assert [done.written for done in told] == [1, 2, 4]
    assert await names(encrypted(path, NEW), lean, clock, ids) == {SECRET}
    heard = recorder()
    async with engine(encrypted(path, NEW), lean, clock, handlers=heard.handlers) as flows:
        await flows.tick()
        assert [event.payload["owner"] for event in heard.webhooks] == [SECRET, SECRET]
    with pytest.raises(KeyMissing):
        await names(encrypted(path, OLD), lean, clock, ids)


async def test_what_was_stored_in_the_clear_is_encrypted(path: Path, lean: Lean, clock: FakeClock) -> None:
    """Keys can come later: what is there stays readable, and `reencrypt` leaves nothing of it in the clear."""
    ids = await fill(SQLiteStore(path), lean, clock)
    assert await names(encrypted(path, NEW), lean, clock, ids) == {SECRET}
    async with engine(encrypted(path, NEW), lean, clock) as flows:
        assert (await flows.reencrypt()).written == 4
    assert SECRET.encode() not in bytes_in(path.parent)
    assert await names(encrypted(path, NEW), lean, clock, ids) == {SECRET}


async def test_encrypting_anew_goes_on_where_it_was_killed(path: Path, lean: Lean, clock: FakeClock) -> None:
    """Killed in the middle (SIGKILL), it keeps every body readable, and the next run does not begin at the start."""
    ids = await fill(encrypted(path, OLD), lean, clock, requests=100)
    code = f"""
import asyncio
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.sqlite import SQLiteStore
from leanflow.testing import FakeClock
from tests.support.engine import engine
from tests.support.lean import Lean
async def main():
    store = EncryptedStore(SQLiteStore({str(path)!r}), keys=[{NEW!r}, {OLD!r}])
    async with engine(store, Lean(FakeClock()), FakeClock()) as flows:
        await flows.reencrypt()
asyncio.run(main())
"""
    for kill in ("sqlite.after_rewrite:50", "sqlite.after_rewrite:10"):
        child = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code], env={"LEANFLOW_KILL_SITE": kill}, check=False, timeout=60
        )
        assert child.returncode == -signal.SIGKILL
        assert await names(encrypted(path, NEW, OLD), lean, clock, ids) == {SECRET}
    both = encrypted(path, NEW, OLD)
    async with engine(both, lean, clock) as flows:
        rest = await flows.reencrypt()
        assert rest.written == 103 - 40  # 40 in whole batches of the first life, none in the second
        assert rest.looked_at == rest.written + 200  # announcements of changes are looked at and stay as they are
        left = [body for part in Part for body in await both.bodies(flows.scope, part, limit=999)]
        assert all(both.is_current(body) for body in left)
    assert await names(encrypted(path, NEW), lean, clock, ids) == {SECRET}


async def test_it_encrypts_anew_beside_running_workers(path: Path, lean: Lean, clock: FakeClock) -> None:
    """What is made, delivered and purged meanwhile is neither lost nor kept: the row decides, not who looked at it."""
    ids = await fill(encrypted(path, OLD), lean, clock, requests=60)
    heard = recorder()
    both = encrypted(path, NEW, OLD)
    async with (
        engine(both, lean, clock) as flows,
        engine(encrypted(path, NEW, OLD), lean, clock, seed=2, handlers=heard.handlers) as busy,
    ):
        encrypting = asyncio.ensure_future(flows.reencrypt())
        await asyncio.gather(
            busy.tick(),
            *(busy.request("accounts", entity_id=f"m{n}") for n in range(20)),
        )
        assert 60 <= (await encrypting).written <= 63
        made = [request.id async for request in flows.find()]
    assert len(heard.webhooks) == 2
    assert len(made) == 80
    assert set(ids) < set(made)
    assert await names(encrypted(path, NEW), lean, clock, made) == {SECRET}


async def test_erasing_looks_through_what_is_encrypted(path: Path, lean: Lean, clock: FakeClock) -> None:
    """A waiting webhook that names an entity is found under its encryption."""
    await fill(encrypted(path, NEW), lean, clock)
    async with engine(encrypted(path, NEW), lean, clock) as flows:
        assert (await flows.erase(entity_id="e-9")).webhooks == 1
        assert [row.key for row in await flows.undelivered() if row.kind == "webhook"] == ["webhook:event:ready"]


async def test_what_was_altered_is_noticed(path: Path, lean: Lean, clock: FakeClock) -> None:
    """A body that somebody changed in the store is refused, not returned."""
    [request_id] = await fill(encrypted(path, NEW), lean, clock)
    plain = SQLiteStore(path)
    await plain.open()
    scope = engine(plain, lean, clock).scope
    [body] = await plain.bodies(scope, Part.pages, limit=9)
    altered = body.stored[:-9] + bytes([body.stored[-9] ^ 1]) + body.stored[-8:]
    assert await plain.rewrite(scope, [(body, altered)]) == 1
    await plain.aclose()
    async with engine(encrypted(path, NEW), lean, clock) as flows:
        with pytest.raises(MalformedBody, match="altered"):
            await flows.results(request_id)


@pytest.mark.parametrize(
    "keys",
    [[], "", pytest.param(NEW, id="no-list"), ["not a key"], [NEW, ""], [b"short"]],
)
def test_what_is_no_key_is_refused(keys: list[str]) -> None:
    """No keys, one that is no Fernet key, or one alone instead of a list: refused, and not repeated in the message."""
    with pytest.raises(InvalidRequest, match="keys: ") as refused:
        EncryptedStore(MemoryStore(), keys=keys)
    assert "not a key" not in str(refused.value)
    assert NEW not in str(refused.value)


async def test_only_what_encrypts_is_encrypted_anew(lean: Lean, clock: FakeClock) -> None:
    """`reencrypt` of a store without keys says what is missing; no key is in a repr."""
    async with engine(MemoryStore(), lean, clock) as flows:
        with pytest.raises(InvalidRequest, match="EncryptedStore"):
            await flows.reencrypt()
    store = EncryptedStore(MemoryStore(), keys=[NEW])
    assert repr(store).startswith("EncryptedStore(")
    assert NEW not in repr(store)


async def _alter(store: EncryptedStore, part: Part, place: str) -> None:
    """Store a body as it would lie there sealed with a key that nobody has any more."""
    plain, lost = store.inner, EncryptedStore(MemoryStore(), keys=[Fernet.generate_key()])
    scope = Scope(app="app", environment="sandbox", region="uae")
    await plain.open()
    [body] = [body for body in await plain.bodies(scope, part, limit=99) if body.place[0] == place]
    assert await plain.rewrite(scope, [(body, lost._seals.seal(b"{}"))]) == 1
    await plain.aclose()


async def test_a_webhook_that_cannot_be_decrypted_stops_no_other(path: Path, lean: Lean, clock: FakeClock) -> None:
    """It is set aside under its own key, listed still, and offered again on demand; the others are delivered."""
    await fill(encrypted(path, NEW), lean, clock)
    await _alter(encrypted(path, NEW), Part.announcements, "webhook:event:created")
    heard = recorder()
    async with engine(encrypted(path, NEW), lean, clock, handlers=heard.handlers) as flows:
        await flows.tick()
        assert [event.key for event in heard.webhooks] == ["event:ready"]
        [row] = [row for row in await flows.undelivered() if row.kind == "webhook"]
        assert (row.key, row.set_aside, row.error) == ("webhook:event:created", True, "KeyMissing")
        assert SECRET not in row.payload
        await flows.redeliver(row.key, row.sink)
        await flows.tick()
        assert [row.set_aside for row in await flows.undelivered()] == [True]
        assert len(heard.webhooks) == 1


async def test_a_parked_webhook_that_cannot_be_decrypted_stops_no_other(
    path: Path, lean: Lean, clock: FakeClock
) -> None:
    """It stays parked, is told of as one that cannot be read, and is an orphan in the end; the others find theirs."""
    await fill(encrypted(path, NEW), lean, clock)
    await _alter(encrypted(path, NEW), Part.parked, "event:ready")
    async with engine(encrypted(path, NEW), lean, clock) as flows:
        await deliver(flows, webhook("results.ready", {"id": "r-10"}, event_id="other"))
        await travel(flows, clock, timedelta(hours=2))
        assert len(await flows._store.parked(flows.scope, IdKind.results, "r-9")) == 1
        await travel(flows, clock, timedelta(days=2))
        for value in ("r-9", "r-10"):
            assert not await flows._store.parked(flows.scope, IdKind.results, value)


async def test_what_was_encrypted_with_an_older_key_meanwhile_is_not_passed_over(
    path: Path, lean: Lean, clock: FakeClock
) -> None:
    """Encrypting anew is broken off, the old key leads again for a while, then the new one: it begins at the start."""
    await fill(encrypted(path, OLD), lean, clock)

    class Enough(Exception):
        """It is broken off."""

    def stop(done: Reencrypted) -> None:
        if done.written == 2:  # behind the results
            raise Enough

    async with engine(encrypted(path, NEW, OLD), lean, clock) as flows:
        with pytest.raises(Enough):
            await flows.reencrypt(stop)
    async with engine(encrypted(path, OLD, NEW), lean, clock, seed=2) as flows:
        request = await flows.request("accounts", entity_id="m1")
    async with engine(encrypted(path, NEW, OLD), lean, clock) as flows:
        await flows.reencrypt()
    assert await names(encrypted(path, NEW), lean, clock, [request.id]) == {SECRET}


async def test_check_looks_behind_the_encryption(path: Path, lean: Lean, clock: FakeClock) -> None:
    """What is to be known of a database is told of one that is encrypted as of any other."""
    await fill(encrypted(path, NEW), lean, clock)
    scope = Scope(app="app", environment="sandbox", region="uae")
    bare = await condition(SQLiteStore(path), scope)
    assert {"states", "resources"} <= {finding.what for finding in bare}
    assert await condition(encrypted(path, NEW), scope) == bare


async def test_others_get_a_turn_between_bodies(lean: Lean, clock: FakeClock) -> None:
    """A megabyte takes milliseconds: whoever waits for the loop waits for one body, and not for all."""
    store = EncryptedStore(MemoryStore(), keys=[NEW])
    await fill(store.reopen(), lean, clock, requests=10)
    await store.open()
    turns = 0

    async def wait_for_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    waiting = asyncio.create_task(wait_for_turns())
    scope = Scope(app="app", environment="sandbox", region="uae")
    found = await store.bodies(scope, Part.pages, limit=10)
    assert len(found) == 10
    assert turns >= 9
    turns = 0
    assert await store.rewrite(scope, [(body, body.content) for body in found]) == 10
    assert turns >= 9
    waiting.cancel()
    await store.aclose()
