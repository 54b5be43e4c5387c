"""Webhooks through each binding, against a hand-written minimum on the same framework and server.

The minimum reads the body, checks the HMAC, parses JSON and commits one group-committed step (`benchmarks._floor`).
The load comes from a second process over kept connections; minimum and binding run alternately in a third.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import multiprocessing as mp
import os
import socket
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks._floor import Floor
from benchmarks._least import FLOORS, WHERE
from benchmarks._load import request as on_the_wire, spend
from benchmarks._ours import SECRET, engine, webhook
from leanflow import Resource
from tests.torture.bindings import bound, serving

CALLERS, ROUNDS = 64, 3
COUNT = int(os.environ.get("COUNT", "4000"))
BUDGET = 0.75

# --- serving -------------------------------------------------------------------------------------------------------


async def serve_floor(binding: str, path: Path, sock: socket.socket, pipe: Connection) -> None:
    """Serve the minimum."""
    db = Floor(path)
    for number in range(COUNT):
        await db.step(f"create{number}", f"r{number}", "awaiting_user", 1)

    async def step(raw: bytes, signature: str) -> int:
        digest = "sha512=" + hmac.new(SECRET.encode(), raw, hashlib.sha512).hexdigest()
        if not hmac.compare_digest(digest, signature):
            return 401
        body = json.loads(raw)
        await db.step(body["event_id"], body["payload"]["reconnect_id"], "reconnected", 1)
        return 200

    async with serving(FLOORS[binding](step), sock):
        await _until_told(pipe, [f"r{number}" for number in range(COUNT)])
    db.close()


async def serve_ours(binding: str, path: Path, sock: socket.socket, pipe: Connection) -> None:
    """Serve leanflow, its workers at work too, with as many requests that await their user."""
    async with engine(path) as flows:
        names = []
        for first in range(0, COUNT, 100):
            made = [flows.request(Resource.accounts, entity_id=f"e{n}") for n in range(first, first + 100)]
            prompts = await asyncio.gather(*(flows.prompt(each.id) for each in await asyncio.gather(*made)))
            names += [prompt.reconnect_id for prompt in prompts]
        async with serving(bound(binding, flows), sock):
            await _until_told(pipe, names)


async def _until_told(pipe: Connection, names: list[str]) -> None:
    pipe.send(names)
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)


def server(kind: str, binding: str, path: Path, sock: socket.socket, pipe: Connection) -> None:
    """The serving process."""
    asyncio.run({"floor": serve_floor, "leanflow": serve_ours}[kind](binding, path, sock, pipe))


# --- measuring -----------------------------------------------------------------------------------------------------


def measure(kind: str, binding: str) -> float:
    """Serve in another process, load from this one; return webhooks per second."""
    context = mp.get_context("spawn")
    with TemporaryDirectory() as folder, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        here, there = context.Pipe()
        process = context.Process(target=server, args=(kind, binding, Path(folder) / "flows.db", sock, there))
        process.start()
        hooks = [
            webhook(f"w{number}", "entity.reconnected", id=f"e{number}", reconnect_id=name)
            for number, name in enumerate(here.recv())
        ]
        wire = [on_the_wire("POST", WHERE, headers, raw) for headers, raw in hooks]
        try:
            began = time.perf_counter()
            asyncio.run(spend(sock.getsockname()[1], iter(wire), CALLERS))
            return len(wire) / (time.perf_counter() - began)
        finally:
            here.send(None)
            process.join()


def main(names: tuple[str, ...] = ()) -> None:
    """Print rates and ratios, of the bindings named in BINDINGS (the environment), or of all."""
    wanted = names or tuple(os.environ.get("BINDINGS", " ".join(FLOORS)).split())
    print(f"webhooks through each binding, {CALLERS} connections, median of {ROUNDS} interleaved rounds of {COUNT}")
    print(f"(budget {BUDGET} x of a hand-written minimum on the same framework and server)")
    for binding in wanted:
        rates: dict[str, list[float]] = {"floor": [], "leanflow": []}
        for _ in range(ROUNDS):
            for kind, seen in rates.items():
                seen.append(measure(kind, binding))
        base, own = median(rates["floor"]), median(rates["leanflow"])
        print(f"  {binding:10} floor {base:6.0f}/s   leanflow {own:6.0f}/s = {own / base:.2f} x")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
