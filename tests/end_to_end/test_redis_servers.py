"""The Redis store on servers that are killed, cut off, forgetful, out of memory or of tomorrow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from leanflow._request import IdKind
from leanflow.errors import StoreUnavailable
from leanflow.events import Page
from leanflow.ports import Outcome, Query
from leanflow.testing.conformance._samples import (
    ALL,
    SCOPE,
    START,
    a_change,
    a_step,
    a_wake,
    at,
    stored,
)
from leanflow_adapters import _hearing
from leanflow_adapters.cli._condition import condition
from leanflow_adapters.redis import RedisStore, _hints
from leanflow_adapters.redis._rows import base_of
from tests.support.redis import Server, do, opened, server
from tests.support.ways import Mute, Swallowing
from tests.support.wire import through

PATIENCE = 60.0  # seconds


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """Give a server that a test may harm."""
    with server() as made:
        yield made


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


async def test_a_step_whose_answer_is_lost_is_not_sent_again(own: Server) -> None:
    """Cut off after the step was done: unavailable, whole in the store, its key seen; the driver repeats nothing."""
    mute = Mute("127.0.0.1", own.port)
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
    mute = Mute("127.0.0.1", own.port)
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


async def test_hints_come_again_after_a_connection_died_without_a_word(
    own: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that forgot the connection that listens sends no word of it: looking finds out."""
    for module, name in ((_hints, "_LOOK"), (_hearing, "_AGAIN")):
        monkeypatch.setattr(module, name, 0.05)
    heard = asyncio.Event()
    way = Swallowing("127.0.0.1", own.port)
    async with (
        way.listening() as port,
        opened(own.url, "died") as other,
        opened(through(own.url, port), "died") as store,
        asyncio.timeout(PATIENCE),
    ):
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
