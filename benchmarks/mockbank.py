"""Mockbank on a port: data calls and webhooks per second on one core, against bare aiohttp with the same bytes; memory.

The server and the load are two processes, each kept on a core of its own. The floor is an aiohttp handler that answers
the same bytes without asking anything, and for webhooks an aiohttp client that posts the same bytes.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import random
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from aiohttp import ClientSession, TCPConnector, web

from benchmarks._load import cpu, pin, request, spend
from leanflow import Call
from leanflow.mockbank import Mockbank
from leanflow_adapters.mockbank import serve

SERVER, LOAD = 0, 1  # cores
COUNT, CALLERS, ROUNDS = 6000, 16, 3
ENTITIES, WEBHOOKS = 32, 6000
NOW = datetime(2026, 6, 15, 8, tzinfo=UTC)
KINDS = ("transactions of 50", "accounts", "balances", "mixed")


def world() -> tuple[Mockbank, list[tuple[str, str]]]:
    """Return a bank with its entities, and the main account of each."""
    bank = Mockbank(now=NOW)
    entities = [bank.connect(f"user-{n}", username=f"mockbank_user_{n % 2 + 1}") for n in range(ENTITIES)]
    return bank, [(entity, bank.accounts_of(entity)[0]) for entity in entities]


def calls(kind: str, known: list[tuple[str, str]], count: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Return path and query of each call: random entities, for transactions random pages of the first five."""
    dice = random.Random(1)
    for _ in range(count):
        entity, account = dice.choice(known)
        wanted = dice.choice(KINDS[:3]) if kind == "mixed" else kind
        query = {"entity_id": entity}
        if wanted == "accounts":
            yield "/data/v2/accounts", query
        elif wanted == "balances":
            yield f"/data/v2/accounts/{account}/balances", query
        else:
            query |= {"page": str(dice.randrange(5)), "size": "50"}
            yield f"/data/v2/accounts/{account}/transactions", query


# --- in the serving process ---------------------------------------------------------------------------------------


def server(kind: str, what: str, port: int, pipe: Connection) -> None:
    """Serve, or send webhooks to a port."""
    pin(SERVER)
    asyncio.run(send(kind, port, pipe) if what == "webhooks" else answer(kind, what, pipe))


async def answer(kind: str, what: str, pipe: Connection) -> None:
    """Answer calls until told to stop."""
    bank, known = world()
    headers = {"authorization": f"Bearer {bank.token(now=NOW)}"}
    if kind == "floor":
        await _bare(bank, known, what, headers, pipe)
        return
    # The clock stands, so that the answers are those that the floor gives.
    async with serve(bank, clock=Still()) as running:
        pipe.send((int(running.base_url.rpartition(":")[2]), known, headers))
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        """Return always the same."""
        return NOW

    async def sleep(self, seconds: float) -> None:
        """Sleep in real time."""
        await asyncio.sleep(seconds)


async def _bare(
    bank: Mockbank, known: list[tuple[str, str]], what: str, headers: Mapping[str, str], pipe: Connection
) -> None:
    answers: dict[str, Any] = {}
    for path, query in calls(what, known, COUNT):
        target = f"{path}?{'&'.join(f'{k}={v}' for k, v in query.items())}"
        if target not in answers:
            call = Call(method="GET", path=path, query=query, headers=headers, body=None)
            answers[target] = bank.handle(call, NOW).answer

    async def handle(request: web.Request) -> web.Response:
        has = answers[request.path_qs]
        return web.Response(status=has.status, headers=has.headers, body=has.body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pipe.send((runner.addresses[0][1], known, headers))
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    await runner.cleanup()


async def send(kind: str, port: int, pipe: Connection) -> None:
    """Send webhooks, each entity's one after the other; tell how many a second. Every tenth is refused."""
    bank, known = world()
    for number in range(WEBHOOKS):
        entity, account = known[number % ENTITIES]
        payload = {"id": account, "reconnect_id": account, "entity_id": entity}
        bank.emit("entity.reconnected", payload, "An entity was reconnected.", NOW, lane=entity)
    url = f"http://127.0.0.1:{port}/"
    if kind == "mockbank":
        async with serve(bank, clock=Still()) as running:
            began, had = time.perf_counter(), time.process_time()
            running.webhook_url = url
            await running.settle()
            took = time.perf_counter() - began, time.process_time() - had
        assert bank.log.delivered() >= WEBHOOKS
    else:
        bank.webhook_url = url
        todo = iter(bank.deliveries_due(NOW))
        async with ClientSession(connector=TCPConnector(limit=ENTITIES)) as session:

            async def post() -> None:
                for one in todo:
                    async with session.post(url, data=one.body, headers=one.headers) as said:
                        await said.read()

            began, had = time.perf_counter(), time.process_time()
            await asyncio.gather(*(post() for _ in range(ENTITIES)))
            took = time.perf_counter() - began, time.process_time() - had
    pipe.send(tuple(WEBHOOKS / seconds for seconds in took))


# --- in the loading process -----------------------------------------------------------------------------------------


def measure(kind: str, what: str) -> tuple[float, float]:
    """Serve in another process, load from this one; return calls per second, and per second that the server had."""
    context = mp.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=server, args=(kind, what, 0, there))
    process.start()
    there.close()  # so that the end of a server that has failed is noticed
    port, known, headers = here.recv()
    raw = [
        request("GET", f"{path}?{'&'.join(f'{k}={v}' for k, v in query.items())}", headers)
        for path, query in calls(what, known, COUNT)
    ]
    try:
        asyncio.run(spend(port, iter(raw[: COUNT // 4]), CALLERS))  # warm: two years of data are made once
        assert process.pid is not None
        began, had = time.perf_counter(), cpu(process.pid)
        asyncio.run(spend(port, iter(raw), CALLERS))
        return COUNT / (time.perf_counter() - began), COUNT / (cpu(process.pid) - had)
    finally:
        here.send(None)
        process.join()


async def _receive(kind: str) -> tuple[float, float]:
    """Receive webhooks with a bare handler; return how many were sent a second, and a second that the sender had."""
    context = mp.get_context("spawn")
    here, there = context.Pipe()
    got = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal got
        await request.read()
        got += 1
        return web.Response(status=500 if got % 10 == 0 else 200)

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    process = context.Process(target=server, args=(kind, "webhooks", runner.addresses[0][1], there))
    process.start()
    there.close()
    rates: tuple[float, float] = await asyncio.get_running_loop().run_in_executor(None, here.recv)
    process.join()
    await runner.cleanup()
    assert got >= WEBHOOKS, got
    return rates


def in_process(what: str) -> float:
    """Return how many calls a second of processor time the core answers, without HTTP."""
    bank, known = world()
    headers = {"authorization": f"Bearer {bank.token(now=NOW)}"}
    todo = [Call(method="GET", path=p, query=q, headers=headers, body=None) for p, q in calls(what, known, COUNT)]
    for call in todo[: COUNT // 4]:
        bank.handle(call, NOW)
    began = time.process_time()
    for call in todo:
        bank.handle(call, NOW)
    return COUNT / (time.process_time() - began)


def main() -> None:
    """Print the figures."""
    pin(LOAD)
    print(f"Mockbank on one core, {CALLERS} connections, {ENTITIES} entities; median of {ROUNDS} interleaved rounds")
    print("  calls per second of time (and of processor time)")
    for what in KINDS:
        seen: dict[str, list[tuple[float, float]]] = {"floor": [], "mockbank": []}
        core = []
        for _ in range(ROUNDS):
            for kind, rates in seen.items():
                rates.append(measure(kind, what))
            core.append(in_process(what))
        floor, ours = ([median(column) for column in zip(*seen[kind], strict=True)] for kind in ("floor", "mockbank"))
        print(
            f"  {what:18} {ours[0]:6.0f} ({ours[1]:.0f}) = {ours[1] / floor[1]:.2f} x"
            f" bare aiohttp {floor[0]:.0f} ({floor[1]:.0f}); without HTTP ({median(core):.0f})"
        )
        sys.stdout.flush()
    webhooks: dict[str, list[tuple[float, float]]] = {"floor": [], "mockbank": []}
    for _ in range(ROUNDS):
        for kind, rates in webhooks.items():
            rates.append(asyncio.run(_receive(kind)))
    floor, ours = ([median(column) for column in zip(*webhooks[kind], strict=True)] for kind in ("floor", "mockbank"))
    print(
        f"  webhooks sent      {ours[0]:6.0f} ({ours[1]:.0f}) = {ours[1] / floor[1]:.2f} x"
        f" bare aiohttp client {floor[0]:.0f} ({floor[1]:.0f})"
    )


if __name__ == "__main__":
    main()
