"""A whole flow of six durable steps on a Redis of its own (`appendfsync always`), against hand-written Lua.

And what a sweep costs where many requests wait. ``python -m benchmarks.redis [quick]``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from redis.asyncio import Redis

from benchmarks._floor import EVENT, RECORD
from benchmarks._naive import STATES
from benchmarks._ours import SECRET, Lean, many, whole_flow
from leanflow import LeanFlow
from leanflow.ports import Store
from leanflow.testing.conformance._samples import SCOPE, a_creation, a_request
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.redis import RedisStore
from tests.support.redis import server

ROUNDS = 3
FLOWS = {1: 150, 16: 800, 64: 1600}
WAITING = (10_000, 1_000_000)
CLAIMS = 100
_BATCH = 64
_AHEAD = timedelta(days=30)

# What leanflow stores, and nothing else: compare, then inbox, request, history, indexes; an outbox row for one state.
_STEP = """local base, key, id, state, due = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('ZSCORE', base .. 'inbox', key) then return -1 end
local version = redis.call('HGET', base .. id, 'version')
if not version then
    version = 0
    redis.call('ZADD', base .. 'entity' .. id, 0, id)
    redis.call('ZADD', base .. 'all', 0, id)
    redis.call('HSET', base .. 'live', id, id)
else
    version = version + 1
end
redis.call('HSET', base .. id, 'version', version, 'state', state, 'due', due, 'record', ARGV[5])
if due ~= '' then redis.call('ZADD', base .. 'due', due, id) else redis.call('ZREM', base .. 'due', id) end
redis.call('ZADD', base .. 'inbox', 0, key)
redis.call('RPUSH', base .. 'h' .. id, ARGV[6])
if state == 'reconnect_required' then redis.call('SADD', base .. 'id' .. id, id) end
if state == 'reconnected' then
    redis.call('HSET', base .. 'o' .. id, 'state', state)
    redis.call('ZADD', base .. 'outbox', 0, id)
end
return version"""


class Floor:
    """Concurrent steps in pipelines of redis-py, two under way at a time."""

    def __init__(self, client: Redis, sha: str) -> None:
        self._client = client
        self._sha = sha
        self._queue: deque[tuple[tuple[str, ...], asyncio.Future[int]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def step(self, *words: str) -> int:
        """Commit one step; return the version."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append((words, done))
        if len(self._tasks) < 2:
            task = asyncio.ensure_future(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _work(self) -> None:
        while self._queue:
            jobs = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            pipeline = self._client.pipeline(transaction=False)
            for words, _ in jobs:
                pipeline.execute_command("EVALSHA", self._sha, 1, "floor:", *words, RECORD, EVENT)
            for (_, done), version in zip(jobs, await pipeline.execute(), strict=True):
                done.set_result(version)


async def floor(url: str, flows: int, callers: int) -> float:
    """Return seconds per flow of the hand-written minimum."""
    async with Redis.from_url(url) as client:
        db = Floor(client, await client.script_load(_STEP))

        async def one(number: int) -> None:
            for step, state in enumerate(STATES):
                await db.step(f"{number}-{step}", f"{number:012}", state, "1" if state != "fetched" else "")

        start = time.perf_counter()
        await many(flows, callers, one)
        return (time.perf_counter() - start) / flows


async def ours(url: str, flows: int, callers: int) -> float:
    """Return seconds per flow of leanflow."""
    return await _engine(RedisStore(url), flows, callers)


async def engine_alone(_: str, flows: int, callers: int) -> float:
    """Return seconds per flow of leanflow on dicts: what its engine costs, whatever the store."""
    return await _engine(MemoryStore(), flows, callers)


async def _engine(store: Store, flows: int, callers: int) -> float:
    async with LeanFlow(store=store, transport=Lean(), webhook_secrets=[SECRET]) as engine:
        start = time.perf_counter()
        await many(flows, callers, lambda number: whole_flow(engine, number))
        return (time.perf_counter() - start) / flows


def flows(share: int) -> None:
    """Print what a flow costs."""
    print("a whole flow of six durable steps on Redis, appendfsync always (µs per flow, median of", ROUNDS, "rounds)")
    for callers, count in FLOWS.items():
        seen: dict[Any, list[float]] = {floor: [], engine_alone: [], ours: []}
        for _ in range(ROUNDS):
            for run, times in seen.items():
                with server() as made:
                    times.append(asyncio.run(run(made.url, count // share, callers)))
        base, engine, own = (median(times) for times in seen.values())
        told = f"  {callers:3} callers: floor {base * 1e6:6.0f}  engine {engine * 1e6:6.0f}  leanflow {own * 1e6:6.0f}"
        print(f"{told} = {own / base:.2f} x the floor, {own / (base + engine):.2f} x floor and engine")


async def _sweep(url: str, waiting: int) -> tuple[float, float]:
    """Return seconds per claim of 100 of them that are due, and bytes per waiting request."""
    store = RedisStore(url, clock="engine")
    await store.open()
    now = datetime(2026, 1, 5, tzinfo=UTC)
    async with Redis.from_url(url) as client:
        empty = (await client.info("memory"))["used_memory"]
        for first in range(0, waiting, 1000):
            made = (a_request(n, due_at=now + _AHEAD) for n in range(first, first + 1000))
            await asyncio.gather(*(store.create(a_creation(request)) for request in made))
        size = ((await client.info("memory"))["used_memory"] - empty) / waiting
    due = (a_request(n, due_at=now) for n in range(waiting, waiting + CLAIMS * 100))
    for _ in range(CLAIMS):
        await asyncio.gather(*(store.create(a_creation(next(due))) for _ in range(100)))
    start = time.perf_counter()
    for _ in range(CLAIMS):
        assert len(await store.claim(SCOPE, owner="w", now=now, lease=90, limit=100)) == 100
    took = (time.perf_counter() - start) / CLAIMS
    await store.aclose()
    return took, size


def sweeps(share: int) -> None:
    """Print what a sweep costs among few and among many that wait."""
    print("claiming 100 due requests of so many that wait (ms, and bytes per waiting request)")
    first: float | None = None
    for waiting in WAITING:
        with server("--appendfsync", "no") as made:
            took, size = asyncio.run(_sweep(made.url, waiting // share))
        first = first or took
        print(f"  {waiting // share:9,} wait: {took * 1e3:6.2f} ms = {took / first:.2f} x, {size:.0f} bytes each")


def main() -> None:
    """Print both."""
    share = 10 if "quick" in sys.argv else 1
    flows(share)
    sweeps(share)


if __name__ == "__main__":
    main()
