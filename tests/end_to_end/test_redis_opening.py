"""The Redis store opened on servers that are caches, clusters, careless or not there."""

from __future__ import annotations

import asyncio
import logging

import pytest

from leanflow._request import Scope
from leanflow.errors import SetupError, StoreUnavailable
from leanflow.testing.conformance._samples import (
    ELSEWHERE,
    SCOPE,
    stored,
)
from leanflow_adapters.cli._copy import copy
from leanflow_adapters.redis import ClusteredServer, EvictingServer, RedisStore
from leanflow_adapters.redis.tables import tables
from tests.support.redis import cluster, do, opened, server


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
