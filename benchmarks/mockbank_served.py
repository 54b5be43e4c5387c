"""Memory of Mockbank on a port over a million calls: data, results, webhooks to a receiver, new connections.

`mockbank_memory` does more with the core alone, and fills all its bounds; this has what aiohttp and the sender keep.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import random
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from aiohttp import web

from benchmarks._load import Caller, request, resident
from benchmarks.mockbank import CALLERS, calls
from leanflow.mockbank import Mockbank
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.mockbank import serve

ENTITIES, ASYNC, STAYS = 32, 10, 1000  # every tenth call is answered later; a connection lives for a thousand


def serving(url: str, pipe: Connection) -> None:
    """Serve until told to stop: tell port, entities with an account of each, and the token."""
    asyncio.run(_serve(url, pipe))


async def _serve(url: str, pipe: Connection) -> None:
    clock = SystemClock()
    bank = Mockbank(now=clock.now(), deauthenticates="none", auth="app_token")
    entities = [bank.connect(f"user-{n}", username=f"mockbank_user_{n % 2 + 1}") for n in range(ENTITIES)]
    async with serve(bank, clock=clock, webhook_url=url) as server:
        known = [(entity, bank.accounts_of(entity)[0]) for entity in entities]
        pipe.send((int(server.base_url.rpartition(":")[2]), known, bank.app))
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        pipe.send(bank.log.delivered(status=200))


def requests(known: list[tuple[str, str]], app: str, count: int) -> Iterator[bytes]:
    """Return so many calls."""
    dice = random.Random(2)
    for number, (path, query) in enumerate(calls("mixed", known, count)):
        if number % ASYNC == 0:
            path, query = "/data/v2/accounts", {"entity_id": dice.choice(known)[0], "async": "true"}  # noqa: PLW2901
        target = f"{path}?{'&'.join(f'{name}={value}' for name, value in query.items())}"
        yield request("GET", target, {"lean-app-token": app})


async def spend(port: int, waiting: Iterator[bytes]) -> None:
    """Send all, over connections that are renewed."""

    async def work() -> None:
        caller = Caller(port)
        for had, raw in enumerate(waiting, start=1):
            status, body = await caller.call(raw)
            assert status in (200, 202), (raw[:200], status, body[:300])
            if had % STAYS == 0:
                caller.close()
                caller = Caller(port)
        caller.close()

    await asyncio.gather(*(work() for _ in range(CALLERS)))


async def _receiver() -> tuple[web.AppRunner, str]:
    async def take(asked: web.Request) -> web.Response:
        await asked.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


async def measure(count: int) -> None:
    """Print the server's resident memory at each tenth."""
    runner, url = await _receiver()
    mine, its = mp.get_context("spawn").Pipe()
    process = mp.get_context("spawn").Process(target=serving, args=(url, its))
    process.start()
    try:
        loop = asyncio.get_running_loop()
        told: Any = await loop.run_in_executor(None, mine.recv)
        port, known, app = told
        waiting, sizes = requests(known, app, count), {}
        for tenth in range(1, 11):
            await spend(port, _some(waiting, count // 10))
            sizes[tenth] = resident(process.pid)
            print(f"  after {count * tenth // 10:9,} calls: {sizes[tenth] / 2**20:6.1f} MB")
            sys.stdout.flush()
        mine.send("stop")
        delivered = await loop.run_in_executor(None, mine.recv)
        print(f"  at the end {sizes[10] / sizes[5]:.2f} x of that half way; {delivered:,} webhooks answered 200")
    finally:
        process.join(10)
        process.kill()
        await runner.cleanup()


def _some(waiting: Iterator[bytes], count: int) -> Iterator[bytes]:
    return (raw for _, raw in zip(range(count), waiting, strict=False))


def main(count: int = 1_000_000) -> None:
    """Print the memory of a served Mockbank."""
    print(f"Mockbank's memory on a port over {count:,} calls, {CALLERS} connections, each anew every {STAYS:,} calls")
    asyncio.run(measure(count))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
