"""Copying, exporting, erasing, encrypting anew and purging 100,000 stored requests: by hand, alone, and beside steps.

``python -m benchmarks.upkeep [--scale 0.1]``. Each is done alone and compared with the least statements that do it to
rows of the same store; and once more, for some seconds at most, while 8 callers send flows: what steps feel of it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import attrs
from cryptography.fernet import Fernet
from redis.asyncio import Redis

from benchmarks import _upkeep_floors as floors
from benchmarks._beside import Callers
from benchmarks._ours import SECRET, Lean
from benchmarks._postgres import URL, schema
from benchmarks._upkeep_rows import SCOPE, ended, entity, fill, id_of
from leanflow import LeanFlow
from leanflow.ports import Store
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.redis import RedisStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.redis import server

COUNT = 100_000
ONES = 20  # entities erased
EXPORTS = 500
BATCH = 100  # requests that a floor deletes or encrypts in one transaction
COPY = (sys.executable, "-m", "leanflow_adapters.cli", "copy")

Work = Callable[[], Awaitable[Any]]


@attrs.frozen(kw_only=True)
class Bench:
    """A store with so many requests, and what works on it.

    Attributes:
        name: of the store.
        count: how many requests it has; a tenth of that are the floor's besides.
        store: a handle, not open.
        floor: works on rows of its own among the store's.
    """

    name: str
    count: int
    store: Store
    floor: floors.Floor


async def measure(bench: Bench) -> None:
    """Print all figures of one store."""
    old, new = Fernet.generate_key(), Fernet.generate_key()
    flows = _engine(EncryptedStore(bench.store, keys=[old]))
    print(f"{bench.name}, among {bench.count:,}:")
    async with flows:
        callers = Callers(flows)
        await _export(bench, flows, callers)
        await _erase(bench, flows, callers)
        await _reencrypt(bench, flows, EncryptedStore(bench.store, keys=[new, old]), callers)
        await _purge(bench, flows, callers)


async def _export(bench: Bench, flows: LeanFlow, callers: Callers) -> None:
    chosen = range(bench.count // 2, bench.count // 2 + EXPORTS)
    ours = await _timed(lambda: _each(flows.export(id_of(n)) for n in chosen))
    theirs = range(bench.count + 1, bench.count + 1 + EXPORTS)
    least = await _timed(lambda: _each(bench.floor.export(n) for n in theirs))
    beside = await callers.beside(_each(flows.export(id_of(n)) for n in _for_ever(chosen)))
    _tell("export of one request", ours / EXPORTS, least / EXPORTS, beside)


async def _erase(bench: Bench, flows: LeanFlow, callers: Callers) -> None:
    """Erase single entities, then customers."""
    first, size, theirs = bench.count // 2, bench.count // 100, bench.count + 1
    ours = await _timed(lambda: _each(flows.erase(entity_id=entity(first + n)) for n in range(ONES)))
    least = await _timed(lambda: _each(bench.floor.forget(range(theirs + n, theirs + n + 1)) for n in range(ONES)))
    more = range(first + ONES, first + bench.count // 4)
    beside = await callers.beside(_each(flows.erase(entity_id=entity(n)) for n in more))
    _tell("erase of an entity", ours / ONES, least / ONES, beside)
    customer = await _timed(lambda: flows.erase(customer_id="c80"))
    least = await _timed(lambda: _forget(bench, range(theirs + ONES, theirs + ONES + size)))
    beside = await callers.beside(flows.erase(customer_id="c85"))
    _tell(f"erase of a customer of {size:,}", customer, least, beside)


async def _reencrypt(bench: Bench, flows: LeanFlow, turned: Store, callers: Callers) -> None:
    """Encrypt what lies there in the clear; then, beside steps, with another key."""
    start = time.perf_counter()
    done = await flows.reencrypt()
    ours = time.perf_counter() - start
    theirs = range(bench.count + bench.count // 20, bench.count + bench.count // 10 + 1)
    key = Fernet(Fernet.generate_key())
    least = await _timed(lambda: _each(bench.floor.encrypt(some, key) for some in _batches(theirs)))
    other = _engine(turned, workers=0)
    async with other:
        beside = await callers.beside(other.reencrypt())
    _tell(f"reencrypt of the whole in {ours:.1f} s, each", ours / done.written, least / len(theirs), beside)


async def _purge(bench: Bench, flows: LeanFlow, callers: Callers) -> None:
    """Purge a tenth; then, beside steps, what is left."""
    start = time.perf_counter()
    gone = await flows.purge(older_than=ended(bench.count // 10))
    ours = time.perf_counter() - start
    theirs = range(bench.count + bench.count // 20, bench.count + bench.count // 10 + 1)
    least = await _timed(lambda: _forget(bench, theirs))
    beside = await callers.beside(flows.purge(older_than=ended(bench.count + 1)))
    _tell(f"purge of {gone:,}, each", ours / gone, least / len(theirs), beside)


async def _forget(bench: Bench, numbers: range) -> None:
    for some in _batches(numbers):
        await bench.floor.forget(some)


def _batches(numbers: range) -> list[range]:
    return [numbers[first : first + BATCH] for first in range(0, len(numbers), BATCH)]


def _for_ever(numbers: range) -> Iterable[int]:
    while True:
        yield from numbers


async def _each(work: Iterable[Awaitable[Any]]) -> None:
    for one in work:
        await one


async def _timed(work: Work) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


def _tell(what: str, ours: float, least: float, beside: str) -> None:
    print(f"  {what}: {ours * 1e3:.2f} ms, floor {least * 1e3:.2f} = {ours / least:.1f} x; {beside}", flush=True)


def _engine(store: Store, app: str = SCOPE.app, workers: int = 1) -> LeanFlow:
    return LeanFlow(store=store, transport=Lean(), webhook_secrets=[SECRET], app=app, workers=workers)


# --- copies ------------------------------------------------------------------------------------------------------


async def copied(source: Path, target: str) -> float:
    """Copy by the command; return the seconds."""
    start = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *COPY, f"sqlite:///{source}", target, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()[-500:]
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return time.perf_counter() - start


async def copies(source: Path, target: str, number: int) -> None:
    """Fill a schema by a copy, and print what that took; beside steps of another application a second one gets."""
    took = await copied(source, f"{URL}?schema={target}")
    async with schema() as other:
        start = time.perf_counter()
        rows = await floors.copy(source, other, number // 10)
        least = (time.perf_counter() - start) / (number // 10)
    each = took / (number + number // 10)
    async with schema() as other:
        flows = _engine(PostgresStore(URL, schema=other), app="beside")
        async with flows:
            beside = await Callers(flows).beside(copied(source, f"{URL}?schema={other}"))
    print(f"copy of a file to Postgres in {took:.1f} s, {rows * 10 // number} rows each:")
    _tell("a request with its rows", each, least, beside)


async def run(number: int) -> None:
    """Print all."""
    with TemporaryDirectory() as folder, server() as redis:
        path = Path(folder) / "flows.db"
        await fill(path, number)
        async with schema() as name:
            await copies(path, name, number)
            took = await copied(path, redis.url)
            print(f"the same file to Redis in {took:.1f} s")
            await measure(Bench(name="SQLite", count=number, store=SQLiteStore(path), floor=floors.SQLiteFloor(path)))
            db = await asyncpg.connect(URL)
            store: Store = PostgresStore(URL, schema=name)
            await measure(Bench(name="Postgres", count=number, store=store, floor=floors.PostgresFloor(db, name)))
            await db.close()
        async with Redis.from_url(redis.url) as client:
            floor = floors.RedisFloor(client, "leanflow", number // 100)
            await measure(Bench(name="Redis", count=number, store=RedisStore(redis.url), floor=floor))


def main(*words: str) -> None:
    """Print what upkeep costs, and what steps feel of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upkeep")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of requests; 0.1 at least")
    asked = parser.parse_args(words)
    number = int(COUNT * asked.scale)
    print(f"upkeep of {number:,} requests that ended; load {os.getloadavg()[0]:.1f}")
    start = time.perf_counter()
    asyncio.run(run(number))
    print(f"{time.perf_counter() - start:.0f} s altogether")


if __name__ == "__main__":
    main(*sys.argv[1:])
