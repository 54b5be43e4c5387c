"""Webhooks over HTTP: parse, verify, step, commit, 200; against a bare aiohttp handler with HMAC and a floor step.

The load comes from a second process; floor and leanflow run alternately in a third. leanflow runs once without workers,
which are another process's then, and does what the floor does; and once with them: then each webhook has the results
fetched as well, a claim, a call and another two steps beside its own. A third time, without workers, what was there at
the start is kept from the garbage collector, as `leanflow serve` does.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import multiprocessing as mp
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import ClientSession, TCPConnector, web

from benchmarks._floor import Floor
from benchmarks._ours import SECRET, awaiting_users, engine, reconnected
from leanflow_adapters._working import settle_in
from leanflow_adapters.web.aiohttp import add_webhook

COUNT, CALLERS, ROUNDS = 6000, 64, 3
BUDGET = 0.75


async def serve_floor(path: Path, sock: socket.socket, pipe: Connection) -> None:
    """A bare handler: HMAC, JSON, one group-committed step."""
    db = Floor(path)
    for number in range(COUNT):
        await db.step(f"create{number}", f"r{number}", "awaiting_user", 1)

    async def handle(request: web.Request) -> web.Response:
        raw = await request.read()
        digest = "sha512=" + hmac.new(SECRET.encode(), raw, hashlib.sha512).hexdigest()
        if not hmac.compare_digest(digest, request.headers["lean-signature"]):
            return web.Response(status=401)
        body = json.loads(raw)
        await db.step(body["event_id"], body["payload"]["reconnect_id"], "reconnected", 1)
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_post("/lean", handle)
    await _run(app, sock, pipe, [f"r{n}" for n in range(COUNT)])
    db.close()


async def serve_ours(
    path: Path, sock: socket.socket, pipe: Connection, *, workers: int = 0, is_frozen: bool = False
) -> None:
    """leanflow, with as many requests that await their user."""
    async with engine(path) as flows:
        names = await awaiting_users(flows, COUNT)
    async with engine(path, workers=workers) as flows:
        app = web.Application()
        add_webhook(app, "/lean", flows)
        if is_frozen:
            settle_in()
        await _run(app, sock, pipe, names)


async def _run(app: web.Application, sock: socket.socket, pipe: Connection, names: list[str]) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    pipe.send(names)
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    await runner.cleanup()


def server(kind: str, path: Path, sock: socket.socket, pipe: Connection) -> None:
    """The serving process."""
    asyncio.run(SERVED[kind](path, sock, pipe))


SERVED: dict[str, Callable[[Path, socket.socket, Connection], Coroutine[Any, Any, None]]] = {
    "floor": serve_floor,
    "leanflow": serve_ours,
    "with workers": partial(serve_ours, workers=1),
    "frozen": partial(serve_ours, is_frozen=True),
}


async def load(port: int, names: list[str]) -> tuple[float, float]:
    """Return webhooks per second, and the 99th percentile in seconds."""
    hooks = list(reconnected(names))
    todo = iter(hooks)
    times: list[float] = []
    async with ClientSession(connector=TCPConnector(limit=CALLERS)) as session:

        async def caller() -> None:
            for headers, raw in todo:
                start = time.perf_counter()
                async with session.post(f"http://127.0.0.1:{port}/lean", data=raw, headers=headers) as answer:
                    assert answer.status == 200, answer.status
                    await answer.read()
                times.append(time.perf_counter() - start)

        begin = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        seconds = time.perf_counter() - begin
    return len(hooks) / seconds, quantiles(times, n=100)[98]


def measure(kind: str) -> tuple[float, float]:
    """Serve in another process, load from this one."""
    context = mp.get_context("spawn")
    with TemporaryDirectory() as folder, socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind(("127.0.0.1", 0))
        here, there = context.Pipe()
        process = context.Process(target=server, args=(kind, Path(folder) / "flows.db", sock, there))
        process.start()
        names = here.recv()
        try:
            return asyncio.run(load(sock.getsockname()[1], names))
        finally:
            here.send(None)
            process.join()


def main() -> None:
    """Print the ratios."""
    rates: dict[str, list[float]] = {kind: [] for kind in SERVED}
    tails: dict[str, list[float]] = {kind: [] for kind in SERVED}
    for _ in range(ROUNDS):
        for kind, seen in rates.items():
            rate, tail = measure(kind)
            seen.append(rate)
            tails[kind].append(tail)
    base = median(rates["floor"])
    print(f"webhooks over HTTP, {CALLERS} connections, median of {ROUNDS} interleaved rounds (budget {BUDGET} x)")
    for kind, seen in rates.items():
        own, tail = median(seen), median(tails[kind]) * 1e3
        print(f"  {kind:12} {own:6.0f}/s = {own / base:.2f} x  p99 {tail:5.1f} ms")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
