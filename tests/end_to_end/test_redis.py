"""The Redis store on servers that are restarted, cut off, forgetful or out of memory; and what it leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from leanflow import Change, Handlers, LeanFlow, Policy, State
from leanflow._request import IdKind, Scope
from leanflow.errors import InvalidRequest, SetupError, StoreUnavailable
from leanflow.events import Page
from leanflow.ports import Outcome, Query, Step
from leanflow.testing.conformance._samples import (
    ALL,
    ELSEWHERE,
    SCOPE,
    START,
    a_change,
    a_creation,
    a_request,
    a_step,
    a_wake,
    an_entry,
    at,
    end,
    park,
    stored,
)
from leanflow_adapters import _hearing
from leanflow_adapters.cli._condition import condition
from leanflow_adapters.cli._copy import copy
from leanflow_adapters.redis import ClusteredServer, EvictingServer, RedisStore, _hints
from leanflow_adapters.redis._rows import base_of
from leanflow_adapters.redis.tables import tables
from tests.support.lean import Refusing
from tests.support.redis import URL, Server, cluster, do, empty, fresh_prefix, server
from tests.support.swallowing import Swallowing

PATIENCE = 20.0  # seconds


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """Give a server that a test may harm."""
    with server() as made:
        yield made


@pytest.fixture
def prefix() -> Iterator[str]:
    """Give a prefix whose keys are gone afterwards."""
    name = asyncio.run(fresh_prefix())
    yield name
    asyncio.run(empty(name))


@asynccontextmanager
async def opened(url: str, prefix: str = "", **settings: Any) -> AsyncIterator[RedisStore]:
    """Give an open store on the engine's clock."""
    store = RedisStore(url, prefix=prefix or uuid4().hex, **{"clock": "engine", **settings})
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


# --- the server goes, and comes back -----------------------------------------------------------------------------


async def test_a_server_that_forgot_the_scripts_is_given_them_again(own: Server) -> None:
    """After SCRIPT FLUSH the next steps are committed, each once."""
    async with opened(own.url) as store:
        requests = [await stored(store, number) for number in range(1, 9)]
        await do("SCRIPT FLUSH", url=own.url)
        done = await asyncio.gather(*(store.commit(a_step(each, f"event-{each.id}")) for each in requests))
        assert {one.outcome for one in done} == {Outcome.committed}
        assert {request.version for request in await store.find(SCOPE, Query())} == {1}


async def test_a_server_that_was_killed_has_all_that_was_committed(own: Server) -> None:
    """With `appendfsync always` SIGKILL under load loses no committed step; the store goes on by itself."""
    async with opened(own.url) as store:
        request = await stored(store)
        committed: list[str] = []

        async def work() -> None:
            after = request
            for number in range(100_000):
                step = a_step(after, f"event-{number}")
                await store.commit(step)
                committed.append(step.inbox.key)
                assert step.after is not None
                after = step.after

        working = asyncio.create_task(work())
        while len(committed) < 50:
            await asyncio.sleep(0)
        own.kill()
        with pytest.raises(StoreUnavailable):
            await working
        with pytest.raises(StoreUnavailable):
            await store.load(SCOPE, request.id)
        await asyncio.to_thread(own.start)
        keys = [entry.key for entry in await store.history(SCOPE, request.id)][1:]
        assert keys[: len(committed)] == committed
        assert len(keys) <= len(committed) + 1, "of the one under way nothing was answered: it may be there"
        assert [await store.seen(SCOPE, key) for key in keys] == [True] * len(keys)
        last = await store.load(SCOPE, request.id)
        assert last is not None
        assert last.version == len(keys)
        assert (await store.commit(a_step(last, "afterwards"))).outcome is Outcome.committed


class Mute:
    """A way to a server on which what is asked arrives, and once it is muted no reply comes back."""

    def __init__(self, port: int) -> None:
        self._there = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_muted = False
        self.asked = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Give its port."""
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with listener:
            yield listener.sockets[0].getsockname()[1]
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far, onward = await asyncio.open_connection("127.0.0.1", self._there)
        answering = asyncio.ensure_future(self._answer(far, back))
        try:
            while asked := await near.read(1 << 20):
                self.asked += self.is_muted
                onward.write(asked)
        finally:
            answering.cancel()
            back.transport.abort()
            onward.transport.abort()

    async def _answer(self, far: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while answer := await far.read(1 << 20):  # in as many pieces as it pleases the server
            if self.is_muted:
                back.transport.abort()
                return
            back.write(answer)


async def test_a_step_whose_answer_is_lost_is_not_sent_again(own: Server) -> None:
    """Cut off after the step was done: unavailable, whole in the store, its key seen; the driver repeats nothing."""
    mute = Mute(own.port)
    async with mute.listening() as port, opened(f"redis://127.0.0.1:{port}/0", "mute") as store:
        request = await stored(store)
        step = a_step(request, "event-1")
        mute.is_muted = True
        with pytest.raises(StoreUnavailable):
            await store.commit(step)
        assert mute.asked == 1
        mute.is_muted = False
        assert await store.seen(SCOPE, "event-1")
        assert await store.load(SCOPE, request.id) == step.after
        assert (await store.commit(step)).outcome is Outcome.duplicate


async def test_a_claim_whose_answer_is_lost_is_made_once(own: Server) -> None:
    """A lease that nobody heard of runs out like that of a worker that died: the call number rose by one."""
    mute = Mute(own.port)
    async with mute.listening() as port, opened(f"redis://127.0.0.1:{port}/0", "claims") as store:
        request = await stored(store)
        mute.is_muted = True
        with pytest.raises(StoreUnavailable):
            await store.claim(SCOPE, owner="a", now=START, lease=90, limit=1)
        mute.is_muted = False
        assert not await store.claim(SCOPE, owner="b", now=at(89), lease=90, limit=1)
        [claimed] = await store.claim(SCOPE, owner="b", now=at(90), lease=90, limit=1)
        assert (claimed.request.id, claimed.request.call_no, claimed.taken_over) == (request.id, 2, True)


async def test_a_server_without_memory_refuses_whole_steps() -> None:
    """Over `maxmemory` a step is refused before it writes anything; with memory again it is committed."""
    with server() as full:
        async with opened(full.url) as store:
            await store.register(SCOPE, [ALL])
            request = await stored(store)
            step = a_step(
                request, "event-1", pages=(Page(raw=b"x"),), ids=((IdKind.results, "r"),), wakes=(a_wake("event-1"),),
                announcements=(a_change(request),),
            )  # fmt: skip
            await do("CONFIG", "SET", "maxmemory", "1", url=full.url)
            with pytest.raises(StoreUnavailable, match="OutOfMemory"):
                await store.commit(step)
            with pytest.raises(StoreUnavailable):
                await stored(store, 2)
            assert await store.load(SCOPE, request.id) == request
            assert not await store.seen(SCOPE, "event-1")
            await do("CONFIG", "SET", "maxmemory", "0", url=full.url)
            assert not await store.outbox(SCOPE)
            assert (await store.commit(step)).outcome is Outcome.committed
            assert len(await store.outbox(SCOPE)) == 2


async def test_closing_lets_everything_under_way_finish(prefix: str) -> None:
    """Searches and deletions, which go alone, are answered as steps are; cancelled callers do not keep it open."""
    async with opened(URL, prefix) as store:
        request = await stored(store)
        work = [
            asyncio.ensure_future(store.find(SCOPE, Query())),
            asyncio.ensure_future(store.erase(SCOPE, request.id, now=at(1))),
            asyncio.ensure_future(store.history(SCOPE, request.id)),
        ]
        await asyncio.sleep(0)
        work[2].cancel()
        await store.aclose()
        found, erased = await asyncio.gather(*work[:2])
        assert [found, erased] != [None, None]
        await store.open()
        assert await store.load(SCOPE, request.id) is None


# --- what it opens on --------------------------------------------------------------------------------------------


async def test_a_server_that_evicts_is_refused() -> None:
    """A cache is no store: `allkeys-…` is refused with what to do; `volatile-…` spares keys without a time to live."""
    with server("--maxmemory-policy", "allkeys-lru") as cache:
        store = RedisStore(cache.url)
        with pytest.raises(EvictingServer, match=r"allkeys-lru.*noeviction") as caught:
            await store.open()
        assert isinstance(caught.value, SetupError)
        assert not store.is_open
        await do("CONFIG", "SET", "maxmemory-policy", "volatile-lru", url=cache.url)
        await store.open()
        await store.aclose()


@pytest.mark.parametrize(
    ("appendonly", "appendfsync", "told"),
    [
        ("no", "always", "loses all since its last snapshot"),
        ("yes", "no", "appendfsync is no"),
        ("yes", "everysec", "the last second or two"),
        ("yes", "always", None),
    ],
)
async def test_what_a_crash_would_lose_is_said(
    caplog: pytest.LogCaptureFixture, appendonly: str, appendfsync: str, told: str | None
) -> None:
    """Opening warns of what this server loses, and so does `leanflow check`; nothing if every write is synced."""
    with server("--appendonly", appendonly, "--appendfsync", appendfsync) as made:
        with caplog.at_level(logging.WARNING, "leanflow.store"):
            async with opened(made.url) as store:
                conditions = {what: (ok, words) for what, ok, words in await store.conditions()}
        ok, words = conditions["durability"]
        assert ok is (told is None)
        assert [record for record in caplog.records if (told or "appendonly") not in record.message] == []
        assert bool(caplog.records) is (told is not None)
        assert (told or "appendfsync always") in words
        assert conditions["clocks"][0]


def test_a_cluster_of_several_primaries_is_refused() -> None:
    """Opening says why; a server that sends elsewhere later is unavailable, and says so."""
    with cluster(2) as (one, other):

        async def play() -> None:
            for each in (one, other):
                with pytest.raises(ClusteredServer, match=r"one of the 2 primaries.*no redirections") as caught:
                    await RedisStore(each.url).open()
                assert isinstance(caught.value, SetupError)
            # who may not ask finds out by being sent elsewhere, as after resharding
            await do("ACL", "SETUSER", "blind", "on", ">secret", "~*", "&*", "+@all", "-cluster", url=one.url)
            said = []
            async with opened(one.url.replace("//", "//blind:secret@"), "x") as store:
                for number in range(1, 30):  # each scope in one slot or another
                    try:
                        await stored(
                            store, number, scope=Scope(app=f"app-{number}", environment="sandbox", region="uae")
                        )
                    except StoreUnavailable as error:
                        said.append(str(error))
            assert 0 < len(said) < 29
            assert all("MovedError: the server is of a Redis Cluster" in one for one in said)

        asyncio.run(play())


def test_a_cluster_of_one_primary_serves() -> None:
    """It has all keys: what is kept in it is told, and copied into it, as on a server by itself."""
    with cluster(1) as (one,):

        async def play() -> None:
            async with opened(one.url, "x") as store:
                request = await stored(store)
                await stored(store, 2, scope=ELSEWHERE[0])
            async with tables(store, whole=True) as old, tables(RedisStore(one.url, prefix="y"), whole=True) as new:
                counts = await copy(old, new, force=False, told=lambda *_: None)
            assert counts["requests"] == 2
            async with opened(one.url, "y") as store:
                assert await store.load(SCOPE, request.id) == request

        asyncio.run(play())


async def test_what_a_newer_version_made_is_told(own: Server) -> None:
    """`leanflow check` finds requests in states and of resources that this version does not know."""
    async with opened(own.url, "newer") as store:
        request = await stored(store)
        found = {one.what: one for one in await condition(RedisStore(own.url, prefix="newer"), SCOPE)}
        assert found["states"].ok
        assert found["resources"].ok
        assert found["durability"].ok
        await do("HSET", base_of("newer", SCOPE) + b"r:" + request.id.encode(), "state", "teleported", url=own.url)
        found = {one.what: one for one in await condition(RedisStore(own.url, prefix="newer"), SCOPE)}
        assert not found["states"].ok
        assert "1 requests are teleported" in found["states"].words


async def test_where_nobody_listens_it_is_unavailable() -> None:
    """No server: StoreUnavailable, and the store may be opened later."""
    with server() as gone:
        gone.kill()
        store = RedisStore(gone.url)
        with pytest.raises(StoreUnavailable):
            await store.open()
        await asyncio.to_thread(gone.start)
        await store.open()
        await store.aclose()


async def test_a_password_is_shown_nowhere() -> None:
    """Neither in a repr nor in an error, wherever it was given."""
    for store in (RedisStore("redis://u:hunter2@127.0.0.1:1/0"), RedisStore("redis://127.0.0.1:1", password="hunter2")):
        with pytest.raises(StoreUnavailable) as caught:
            await store.open()
        assert "hunter2" not in f"{store!r} {caught.value!r} {caught.value}"


def test_arguments_are_checked() -> None:
    """What is wrong is named."""
    for settings, name in (
        ({"prefix": "a{b"}, "prefix"),
        ({"clock": "mine"}, "clock"),
        ({"writers": 0}, "writers"),
        ({"writers": 10, "pool_size": 10}, "writers"),
    ):
        with pytest.raises(InvalidRequest, match=name):
            RedisStore(URL, **settings)
    with pytest.raises(InvalidRequest, match="url"):
        RedisStore("http://127.0.0.1")


# --- what it keeps -----------------------------------------------------------------------------------------------


async def _keys(prefix: str) -> set[str]:
    found = await do("KEYS", f"{{{prefix}:*")
    return {key.decode().rpartition("}:")[2] for key in found}


async def test_all_keys_of_a_scope_are_in_one_slot(prefix: str) -> None:
    """Everything begins with one hash tag; another scope has another, and another prefix is another store."""
    async with opened(URL, prefix) as store, opened(URL, prefix + "-too") as other:
        await stored(store)
        await stored(store, 2, scope=ELSEWHERE[0])
        tags = {key.partition(b"}")[0] for key in await do("KEYS", f"*{prefix}*")}
        assert tags == {base_of(prefix, scope)[:-2] for scope in (SCOPE, ELSEWHERE[0])}
        assert await other.load(SCOPE, a_request(1).id) is None


async def test_the_erased_leave_nothing_behind(prefix: str) -> None:
    """Of requests that had something of everything only counters, tombstones and what was told remain."""
    async with opened(URL, prefix) as store:
        await store.register(SCOPE, [ALL])
        for number in range(1, 4):
            named = {"key": f"key-{number}", "reference": "r", "customer_id": "c", "held": "H"}
            request = await stored(store, number, **named)
            await park(store, f"late-{number}", value=f"r-{number}")
            ids, pages = ((IdKind.results, f"r-{number}"),), (Page(raw=b"page"),)
            step = end(request, f"end-{number}", ids=ids, pages=pages, announcements=(a_change(request),))
            assert (await store.commit(step)).outcome is Outcome.committed
        assert len(await _keys(prefix)) > 20
        rows = await store.claim_outbox(SCOPE, sinks=["all"], owner="r", now=at(9), lease=60, limit=2)
        await store.delivered(SCOPE, [(row.key, row.sink) for row in rows])
        assert await store.purge(SCOPE, older_than=at(10), states=None, now=at(20), limit=2) == 2
        assert await store.erase(SCOPE, a_request(3).id, now=at(20))
        assert await _keys(prefix) == {"scope", "sinks", "counts", "number", "stones"}
        assert await store.prune(SCOPE, before=at(99)) == 6


async def test_what_has_ended_is_not_in_the_sweep(prefix: str) -> None:
    """The index of what is due holds what waits and nothing else."""
    async with opened(URL, prefix) as store:
        requests = [await stored(store, number, due_at=at(9)) for number in range(1, 6)]
        for request in requests[1:]:
            await store.commit(end(request, f"end-{request.id}"))
        assert await do("ZRANGE", base_of(prefix, SCOPE) + b"due", 0, -1) == [requests[0].id.encode()]


async def test_text_of_any_kind_is_kept_as_it_is(prefix: str) -> None:
    """NUL and half a surrogate pair, which only an attacker sends, fail nothing and are found again."""
    odd = "a\0b \ud800 {x} مرحبا"
    async with opened(URL, prefix) as store:
        await store.register(SCOPE, [ALL])
        request = await stored(store, reference=odd, entity_id=odd, key=odd)
        assert [one.id for one in await store.find(SCOPE, Query(reference=odd, entity_id=odd))] == [request.id]
        told = a_change(request, key=odd, payload='"\\ud800"')
        step = a_step(request, odd, ids=((IdKind.results, odd),), announcements=(told,))
        assert (await store.commit(step)).outcome is Outcome.committed
        assert await store.seen(SCOPE, odd)
        assert [one.id for one in await store.owners(SCOPE, IdKind.results, odd)] == [request.id]
        assert [row.key for row in await store.outbox(SCOPE)] == [odd]
        assert (await store.create(a_creation(a_request(2, key=odd)))).by_key
        assert await store.erase(SCOPE, request.id, now=at(1))
        assert await store.buried(SCOPE, IdKind.results, odd) == at(1)


async def test_finding_goes_through_slices(prefix: str) -> None:
    """More than one script's slice of requests is looked through, in the order of ids, to the last one."""
    async with opened(URL, prefix) as store:
        made = [store.create(a_creation(a_request(n, customer_id=f"c-{n % 2}"))) for n in range(1, 602)]
        await asyncio.gather(*made)
        even = [a_request(n).id for n in range(2, 602, 2)]
        found = await store.find(SCOPE, Query(states=frozenset({State.requested}), older_than=at(1), limit=5000))
        assert len(found) == 601
        found = await store.find(SCOPE, Query(customer_id="c-0", limit=5000))
        assert [one.id for one in found] == even
        last = await store.find(SCOPE, Query(states=frozenset(State), after=even[-3], limit=3))
        assert [one.id for one in last] == [a_request(n).id for n in (597, 598, 599)]


async def test_renewals_and_steps_at_once_lose_nothing(prefix: str) -> None:
    """Of racing renewals all get one successor, named once, while the predecessor's history goes on."""
    async with opened(URL, prefix) as store:
        ended = end(await stored(store, 1))
        await store.commit(ended)
        assert ended.after is not None
        old = ended.after

        async def note(number: int) -> Outcome:
            while True:
                seen = await store.load(SCOPE, old.id)
                assert seen is not None
                done = await store.commit(a_step(seen, f"late-{number}", after=None))
                if done.outcome is not Outcome.conflict:
                    return done.outcome

        renewal = an_entry(old, "renew", tag="renewed")
        renewals = [store.create(a_creation(a_request(n), renews=old.id, renewal=renewal)) for n in range(2, 12)]
        made, noted = await asyncio.gather(asyncio.gather(*renewals), asyncio.gather(*map(note, range(10))))
        assert {one.request.id for one in made} == {made[0].request.id}
        assert set(noted) == {Outcome.committed}
        now = await store.load(SCOPE, old.id)
        assert now is not None
        assert (now.successor_id, now.version) == (made[0].request.id, old.version + 1)
        entries = [entry for entry in await store.history(SCOPE, old.id) if entry.tag == "renewed"]
        assert [entry.event["successor_id"] for entry in entries] == [now.successor_id]


async def test_what_is_set_aside_and_brought_back_keeps_its_place(prefix: str) -> None:
    """A row that comes back goes before those that came after it, and behind those before it."""
    async with opened(URL, prefix) as store:
        await store.register(SCOPE, [ALL])
        request, keys = await stored(store), []
        for number in range(4):
            step = a_step(request, f"event-{number}", announcements=(a_change(request),), inbox={"at": START})
            await store.commit(step)
            keys.append(a_change(request).key)
            assert step.after is not None
            request = step.after

        async def offered() -> list[str]:
            rows = await store.claim_outbox(SCOPE, sinks=["all"], owner="r", now=at(9), lease=-1.0, limit=9)
            return [row.key for row in rows]

        for key in keys[:2]:
            assert await offered() == [key]
            await store.undelivered(SCOPE, key, "all", due_at=START, error="X", set_aside=True)
        assert await offered() == [keys[2]]
        for key in (keys[1], keys[0]):
            assert await store.redeliver(SCOPE, key, "all", now=START)
            assert await offered() == [key]
        assert await store.confirm(SCOPE, keys[2], "all")
        for key in (keys[0], keys[1], keys[3]):
            assert await offered() == [key]
            await store.delivered(SCOPE, [(key, "all")])
        assert await offered() == []


# --- hints -------------------------------------------------------------------------------------------------------


async def test_another_process_hears_at_once(prefix: str) -> None:
    """What one engine commits, the handlers and waiters of another hear of without polling."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    handlers = Handlers()

    @handlers.on(State.failed, name="listener")
    async def came(change: Change, _flows: LeanFlow) -> None:
        heard.put_nowait(change.request.id)

    common: Any = {"webhook_secrets": ["s"], "policy": Policy(poll=timedelta(hours=1)), "app": "app"}
    web = LeanFlow(store=RedisStore(URL, prefix=prefix), transport=Refusing(), workers=0, **common)
    worker = LeanFlow(store=RedisStore(URL, prefix=prefix), transport=Refusing(), handlers=handlers, **common)
    async with worker, web, asyncio.timeout(PATIENCE):
        channel = base_of(prefix, worker.scope) + b"hints"
        while (await do("PUBSUB", "NUMSUB", channel))[1] < 2:
            pass  # connections to listen on are made beside
        request = await web.request("accounts", entity_id="e")
        waiting = asyncio.create_task(worker.wait(request.id))
        assert await heard.get() == request.id
        assert (await waiting).state is State.failed


async def test_hints_come_again_after_a_connection_died_without_a_word(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that forgot the connection that listens sends no word of it: looking finds out."""
    for module, name in ((_hints, "_LOOK"), (_hearing, "_AGAIN")):
        monkeypatch.setattr(module, name, 0.05)
    there, heard = urlsplit(URL), asyncio.Event()
    way = Swallowing(there.hostname or "127.0.0.1", there.port or 6379)
    async with way.listening() as port, opened(URL, prefix) as other:
        url = there._replace(netloc=f"127.0.0.1:{port}").geturl()
        async with opened(url, prefix) as store, asyncio.timeout(PATIENCE):
            hearing = await store.hear(SCOPE, lambda _: heard.set())
            assert hearing is not None
            await heard.wait()  # that it listens
            heard.clear()
            way.lose()
            await heard.wait()  # that it listens again
            heard.clear()
            await stored(other)
            await heard.wait()
            await hearing.aclose()


async def test_closing_that_is_cut_short_leaves_no_connection_behind(own: Server) -> None:
    """Whoever is cancelled while a store closes has given its connections back all the same."""
    name = "cut-short"
    store = RedisStore(f"redis://127.0.0.1:{own.port}/0?client_name={name}", prefix=name, clock="engine")
    await store.open()
    request = await stored(store)
    under_way = asyncio.create_task(store.commit(a_step(request, "event-1")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, under_way, return_exceptions=True)
    assert closing.cancelled()
    async with Redis(port=own.port) as looking, asyncio.timeout(PATIENCE):
        while name in {client["name"] for client in await looking.client_list()}:
            pass


async def test_without_hints_nothing_is_published(prefix: str) -> None:
    """`hints=False`: there is nothing to hear, and steps are committed all the same."""
    async with opened(URL, prefix, hints=False) as store:
        assert await store.hear(SCOPE, lambda _: None) is None
        entry = a_step(await stored(store), "event-1")
        assert (await store.commit(entry)).outcome is Outcome.committed
        assert (await store.commit(Step(scope=SCOPE, inbox=entry.inbox))).outcome is Outcome.duplicate
