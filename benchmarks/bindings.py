"""Webhooks through each binding, against a hand-written minimum on the same framework and server.

The minimum reads the body, checks the HMAC, parses JSON and commits one group-committed step (`benchmarks._floor`);
in Django and Flask, under gunicorn's threads, it inserts one row and commits (`benchmarks._least_wsgi`). The load comes
from a second process over kept connections; minimum and binding run alternately in a third. leanflow runs without
workers, since the minimum does nothing but take webhooks in: `webhooks` shows what workers in the same process cost.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import os
import socket
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks._floor import Floor, taking
from benchmarks._least import FLOORS, WHERE
from benchmarks._least_wsgi import WSGI_FLOORS, WSGI_OURS, inserting
from benchmarks._load import request as on_the_wire, spend
from benchmarks._ours import SECRET, awaiting_users, engine, reconnected
from leanflow.blocking import LeanFlow as Blocking
from tests.support.wsgi import gunicorn
from tests.torture.bindings import bound, serving

CALLERS, ROUNDS = 64, 3
THREADS = 8  # of gunicorn, as docs/how-to/embed-in-django.md starts it
COUNT = int(os.environ.get("COUNT", "4000"))
BUDGET = 0.75

# --- serving -------------------------------------------------------------------------------------------------------


async def serve_floor(binding: str, path: Path, pipe: Connection) -> None:
    """Serve the minimum."""
    names = [f"r{number}" for number in range(COUNT)]
    if binding in WSGI_FLOORS:
        with gunicorn(WSGI_FLOORS[binding](inserting(path)), threads=THREADS) as base:
            await _until_told(pipe, _port(base), names)
        return
    db = Floor(path)
    step = await taking(db, SECRET, names)
    with _bound() as sock:
        async with serving(FLOORS[binding](step), sock):
            await _until_told(pipe, sock.getsockname()[1], names)
    db.close()


async def serve_ours(binding: str, path: Path, pipe: Connection) -> None:
    """Serve leanflow with as many requests that await their user; its workers would be another process's."""
    async with engine(path) as flows:
        names = await awaiting_users(flows, COUNT)
    if binding in WSGI_OURS:
        with (
            Blocking.over(engine(path, workers=0)) as blocking,
            gunicorn(WSGI_OURS[binding](blocking), threads=THREADS) as base,
        ):
            await _until_told(pipe, _port(base), names)
        return
    async with engine(path, workers=0) as flows:
        with _bound() as sock:
            async with serving(bound(binding, flows), sock):
                await _until_told(pipe, sock.getsockname()[1], names)


def _bound() -> socket.socket:
    # As servers make their own: asyncio turns Nagle's algorithm off only where the protocol is named, and an answer in
    # two pieces, as ASGI servers send it, would wait for the client's delayed acknowledgement.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    return sock


def _port(base: str) -> int:
    return int(base.rpartition(":")[2])


async def _until_told(pipe: Connection, port: int, names: list[str]) -> None:
    pipe.send((port, names))
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)


def server(kind: str, binding: str, path: Path, pipe: Connection) -> None:
    """The serving process."""
    asyncio.run({"floor": serve_floor, "leanflow": serve_ours}[kind](binding, path, pipe))


# --- measuring -----------------------------------------------------------------------------------------------------


def measure(kind: str, binding: str) -> float:
    """Serve in another process, load from this one; return webhooks per second."""
    context = mp.get_context("spawn")
    with TemporaryDirectory() as folder:
        here, there = context.Pipe()
        process = context.Process(target=server, args=(kind, binding, Path(folder) / "flows.db", there))
        process.start()
        there.close()  # so that a server that does not come up is heard of
        try:
            port, names = here.recv()
            wire = [on_the_wire("POST", WHERE, *hook) for hook in reconnected(names)]
            began = time.perf_counter()
            asyncio.run(spend(port, iter(wire), CALLERS))
            took = time.perf_counter() - began
            here.send(None)
            return len(wire) / took
        finally:
            here.close()
            process.join()


def main(names: tuple[str, ...] = ()) -> None:
    """Print rates and ratios, of the bindings named in BINDINGS (the environment), or of all."""
    wanted = names or tuple(os.environ.get("BINDINGS", " ".join((*FLOORS, *WSGI_FLOORS))).split())
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
