"""Closing a store over a network that swallows everything: it ends, and nobody is left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from leanflow.errors import StoreUnavailable
from leanflow.ports import Query, Store
from leanflow.testing.conformance._samples import SCOPE, a_creation, a_request
from leanflow_adapters.postgres import PostgresStore, _connection as postgres_connection, store as postgres_store
from leanflow_adapters.redis import RedisStore, store as redis_store
from tests.support import postgres, redis
from tests.support.wire import Wire, through

LAST = 0.5  # seconds, for the tests; in earnest 10
ENOUGH = 8.0  # seconds that a busy machine may take for it; without the bound it was 60, on Redis 30


@asynccontextmanager
async def _postgres() -> AsyncIterator[tuple[Store, Wire]]:
    schema, place = await postgres.fresh_schema(), urlsplit(postgres.URL)
    async with Wire(place.hostname or "127.0.0.1", place.port or 5432) as wire:
        yield PostgresStore(through(postgres.URL, wire.port), schema=schema), wire
    await postgres.drop(schema)


@asynccontextmanager
async def _redis() -> AsyncIterator[tuple[Store, Wire]]:
    prefix, place = await redis.fresh_prefix(), urlsplit(redis.URL)
    async with Wire(place.hostname or "127.0.0.1", place.port or 6379) as wire:
        yield RedisStore(through(redis.URL, wire.port), prefix=prefix), wire
    await redis.empty(prefix)


@pytest.mark.parametrize("there", [_postgres, _redis])
async def test_closing_ends_though_nothing_is_answered(there: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in flight or queued ends with `StoreUnavailable`, and the store is closed."""
    monkeypatch.setattr(postgres_store, "_LAST", LAST)
    monkeypatch.setattr(redis_store, "_LAST", LAST)
    monkeypatch.setattr(postgres_connection, "_CONNECT_TIMEOUT", LAST)
    async with there() as (store, wire):  # type: ignore[operator]  # either of the two above
        await store.open()
        async with wire.silent():
            asked = [asyncio.ensure_future(store.create(a_creation(a_request(number)))) for number in range(300)]
            asked += [asyncio.ensure_future(store.find(SCOPE, Query(limit=1))) for _ in range(20)]
            asked += [asyncio.ensure_future(store.history(SCOPE, a_request(1).id)) for _ in range(20)]
            await asyncio.wait(asked, timeout=0.1)
            assert not [one for one in asked if one.done()]
            async with asyncio.timeout(ENOUGH):
                await store.aclose()
                ended = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(end) for end in ended} == {StoreUnavailable}
        assert not store.is_open
