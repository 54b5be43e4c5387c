"""R14: senders that send too much, too slowly, for ever, packed, or nonsense: bounded memory, others are served."""

from __future__ import annotations

import asyncio
import gzip
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from leanflow import sign
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.lean import SECRET
from tests.torture.world import World

__all__ = ["hostile_senders"]

_GROWTH = 64 * 1024 * 1024  # bytes
_CHUNK = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
_TOTAL = 100 * 1024 * 1024


async def hostile_senders(run: Run) -> None:
    """R14: `rounds` senders of 100 MB at once, and one of every other kind; each is refused with its own status."""
    async with run.world() as world:
        child = await world.start()
        calm = await _latencies(world, 200)
        before = _rss(child.pid)
        problems = await _nonsense(world)
        peak, statuses, busy = await _flood(world, child.pid, run.rounds)
        problems += [
            f"R14: {n} of the flood were answered {status}"
            for status, n in statuses.items()
            if status not in {413, 408, 0}
        ]
        if peak - before > _GROWTH:
            problems.append(f"R14: memory grew by {(peak - before) >> 20} MiB")
        problems += await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds
    run.figure.notes = {
        "memory grew MiB": (peak - before) / 2**20,
        "p99 of the others ms": busy * 1000,
        "p99 in peace ms": calm * 1000,
        "413": statuses[413],
    }


async def _nonsense(world: World) -> list[str]:
    """Send one body of every wrong kind, signed; return which was not answered as it must be."""
    problems = []
    for name, (raw, headers, wanted) in _bodies().items():
        signed = {"Content-Type": "application/json", "lean-signature": sign(SECRET, raw), **headers}
        status = await world.send_raw(raw, signed)
        if status != wanted:
            problems.append(f"R14: {name} was answered {status}, not {wanted}")
    status = await _slow(world)
    if status != 408:
        problems.append(f"R14: a slow body was answered {status}, not 408")
    return problems


def _bodies() -> Mapping[str, tuple[bytes, Mapping[str, str], int]]:
    good = b'{"type": "entity.created", "payload": {"id": "x"}}'
    packed = {"Content-Encoding": "gzip"}
    return {
        "too long": (b" " * 300_000, {}, 413),
        "a gzip bomb": (gzip.compress(b"\0" * 50_000_000), packed, 413),
        "broken gzip": (b"no gzip at all", packed, 400),
        "no UTF-8": (b'{"type": "\xff\xfe"}', {}, 400),
        "deep nesting": (b"[" * 100_000, {}, 400),
        "a huge number": (b'{"type": "a", "n": ' + b"9" * 100_000 + b"}", {}, 400),
        "a name twice": (b'{"type": "a", "type": "b"}', {}, 400),
        "no object": (b"[]", {}, 400),
        "nothing": (b"", {}, 400),
        "a wrong signature": (good, {"lean-signature": "00" * 32}, 401),
        "no signature": (good, {"lean-signature": ""}, 401),
    }


async def _slow(world: World) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.children[-1].hooks)
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    status = await _status(reader)
    writer.close()
    return status


async def _status(reader: asyncio.StreamReader) -> int:
    try:
        line = await asyncio.wait_for(reader.readline(), 20)
    except (TimeoutError, ConnectionError):
        return 0
    return int(line.split()[1]) if line else 0


async def _flood(world: World, pid: int, senders: int) -> tuple[int, Counter[int], float]:
    """Let senders send; return the highest memory, what they were answered, and the others' latency meanwhile."""
    going = [world.go(_endless(world.children[-1].hooks, number)) for number in range(senders)]
    watching = world.go(_watch(pid, going))
    busy = await _latencies(world, 200)
    statuses = Counter(await asyncio.gather(*going))
    return await watching, statuses, busy


async def _endless(port: int, number: int) -> int:
    """Send 100 MB, said beforehand or in chunks; return the status, or 0 if the connection was just closed."""
    length = "Transfer-Encoding: chunked" if number % 2 else f"Content-Length: {_TOTAL}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = asyncio.ensure_future(_status(reader))
    with suppress(ConnectionError):
        writer.write(f"POST /webhook HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        for _ in range(_TOTAL // len(_CHUNK)):
            if answered.done():
                break
            writer.write(_CHUNK)
            await writer.drain()
            await asyncio.sleep(0)
    status = await answered
    writer.close()
    return status


async def _watch(pid: int, going: list[asyncio.Task[int]]) -> int:
    peak = _rss(pid)
    while not all(task.done() for task in going):
        peak = max(peak, _rss(pid))
        await asyncio.sleep(0.02)
    return peak


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def _latencies(world: World, number: int) -> float:
    """Send good webhooks one after another; return the 99th percentile of seconds."""
    seconds = []
    for each in range(number):
        sent = world.lean.says("entity.created", {"id": f"somebody-{each}"}, deliver=False)
        began = time.perf_counter()
        await world.insist(sent)
        seconds.append(time.perf_counter() - began)
    return statistics.quantiles(seconds, n=100)[98]
