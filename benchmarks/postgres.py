"""Postgres: a whole flow against a floor and DBOS, several processes, growth, the sweep, and bytes on disk.

``python -m benchmarks.postgres [flow processes growth sweep bytes] [--scale 0.1] [--large 10000000]``

All on the server at LEANFLOW_POSTGRES_URL, in schemas of their own. `growth` runs the floor and leanflow one after the
other, since both filled would be too much for a disk; small and large take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from statistics import median

from benchmarks import _postgres_floor as hand
from benchmarks._ours import many, whole_flow
from benchmarks._postgres import do, engine, schema, size_of
from benchmarks._postgres_dbos import measure as dbos
from benchmarks._postgres_fill import fill, fill_floor, make_due
from benchmarks._postgres_sweep import floor_sweep, our_sweep
from leanflow import LeanFlow, Resource

ROUNDS = 3
FLOWS = {1: 100, 16: 800, 64: 1600, 256: 3200}
BUDGET = {64: 1.5}
SMALL, LARGE = 10_000, 1_000_000
WAITING, DUE = 1_000_000, 10_000
DBOS_SHARE = 8  # of the flows: it is slow


async def floor(name: str, flows: int, callers: int, first: int = 0) -> float:
    """Return the floor's seconds per flow."""
    due = datetime.now(UTC) + timedelta(days=30)
    async with hand.Floor(name) as db:
        await many(callers, callers, lambda n: hand.whole_flow(db, first + n, due))  # connections are made
        start = time.perf_counter()
        await many(flows, callers, lambda n: hand.whole_flow(db, first + callers + n, due))
        return (time.perf_counter() - start) / flows


async def ours(name: str, flows: int, callers: int, first: int = 0) -> float:
    """Return leanflow's seconds per flow."""
    async with engine(name) as running:
        await many(callers, callers, lambda n: whole_flow(running, first + n))
        start = time.perf_counter()
        await many(flows, callers, lambda n: whole_flow(running, first + callers + n))
        return (time.perf_counter() - start) / flows


async def fresh(run: Callable[..., Awaitable[float]], flows: int, callers: int) -> float:
    """Do it in a schema of its own."""
    async with (schema if run is ours else hand.floor_schema)() as name:
        return await run(name, flows, callers)


def flow(scale: float) -> None:
    """Print the ratios of a whole flow."""
    print(f"a whole flow of six durable steps on Postgres (us per flow, median of {ROUNDS} interleaved rounds)")
    for callers, full in FLOWS.items():
        count = max(int(full * scale), callers)
        seen: dict[str, list[float]] = {"floor": [], "ours": [], "dbos": []}
        for _ in range(ROUNDS):
            seen["floor"].append(asyncio.run(fresh(floor, count, callers)))
            seen["ours"].append(asyncio.run(fresh(ours, count, callers)))
            seen["dbos"].append(dbos(max(count // DBOS_SHARE, 10), callers))
        base, own, peer = (median(times) for times in seen.values())
        budget = f" (budget {BUDGET[callers]} x)" if callers in BUDGET else ""
        print(
            f"  {callers:3} callers: floor {base * 1e6:5.0f}  leanflow {own * 1e6:5.0f} = {own / base:4.2f} x{budget}"
            f"  DBOS {peer * 1e6:6.0f} = {peer / base:5.1f} x the floor, {peer / own:5.1f} x leanflow"
        )


# --- several processes -------------------------------------------------------------------------------------------


def processes(scale: float) -> None:
    """Print how many flows a second several processes get through together."""
    each = max(int(1500 * scale), 64)
    print(f"flows per second of several processes, {each} flows each, 64 callers each")
    for number in (1, 2, 4):
        line = f"  {number} processes:"
        rates = {}
        for kind in ("floor", "ours"):
            rates[kind] = median(asyncio.run(_together(kind, number, each)) for _ in range(ROUNDS))
            line += f"  {kind} {rates[kind]:5.0f}/s"
        print(f"{line}  = {rates['floor'] / rates['ours']:.2f} x the floor's time")


async def _together(kind: str, number: int, flows: int) -> float:
    async with (schema if kind == "ours" else hand.floor_schema)() as name:
        start = [sys.executable, "-m", "benchmarks.postgres", "child"]
        children = [
            subprocess.Popen(  # noqa: ASYNC220, S603 - our own words; nothing else runs here
                [*start, "--kind", kind, "--schema", name, "--flows", str(flows), "--first", str(n * 10_000_000)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(number)
        ]
        ends = [child.communicate()[0] for child in children]
        assert not any(child.returncode for child in children)
    return sum(1 / float(told.split()[-1]) for told in ends)


def child(asked: argparse.Namespace) -> None:
    """Be one of several."""
    run = ours if asked.kind == "ours" else floor
    print(asyncio.run(run(asked.schema, asked.flows, 64, asked.first)))


# --- many stored -------------------------------------------------------------------------------------------------


def growth(scale: float, large: int) -> None:
    """Print what a flow costs among many stored requests, over few."""
    flows = max(int(1500 * scale), 64)
    print(f"a flow at {large:,} stored requests over {SMALL:,}, 64 callers, median of {ROUNDS} rounds that take turns")
    grown = {}
    for kind, run in (("floor", floor), ("leanflow", ours)):
        few, lots = asyncio.run(_growth(run, flows, large))
        grown[kind] = lots / few
        print(f"  {kind:8} {few * 1e6:6.0f} -> {lots * 1e6:6.0f} us = {grown[kind]:.2f} x")
    print(f"  leanflow's growth over the floor's: {grown['leanflow'] / grown['floor']:.2f} x (budget 1.1 x)")


async def _growth(run: Callable[..., Awaitable[float]], flows: int, large: int) -> tuple[float, float]:
    where = schema if run is ours else hand.floor_schema
    async with where() as few, where() as lots:
        seen: dict[str, list[float]] = {few: [], lots: []}
        for name, count in ((few, SMALL), (lots, large)):
            await (fill(name, count) if run is ours else fill_floor(name, count))
        for number in range(ROUNDS):
            for name, times in seen.items():
                await do("CHECKPOINT")
                times.append(await run(name, flows, 64, large + (number + 1) * 100_000))
        return median(seen[few]), median(seen[lots])


def sweep(scale: float) -> None:
    """Print what it costs to claim what is due among many that wait."""
    waiting, due = int(WAITING * scale), int(DUE * scale)
    base, own, left = asyncio.run(_sweep(waiting, due))
    print(
        f"claiming {due:,} due of {waiting:,} waiting, 100 at a time, each batch committed, median of {ROUNDS} rounds"
    )
    print(f"  floor {base * 1e6:5.1f} us each, leanflow {own * 1e6:5.1f} = {own / base:.2f} x (budget 1.2 x)")
    print(f"  leanflow, all of it left under lease: {left * 1e6:5.1f} us each")


async def _sweep(waiting: int, due: int) -> tuple[float, float, float]:
    seen: tuple[list[float], list[float], list[float]] = ([], [], [])
    async with schema() as name, hand.floor_schema() as other:
        await fill(name, waiting, ended=0)
        await fill_floor(other, waiting, ended=0)
        for _ in range(ROUNDS):
            await make_due(other, due)
            seen[0].append(await floor_sweep(other) / due)
            for times, finishes in ((seen[1], True), (seen[2], False)):
                await make_due(name, due)
                times.append(await our_sweep(name, finishes=finishes) / due)
    return median(seen[0]), median(seen[1]), median(seen[2])


def size(scale: float) -> None:
    """Print how many bytes a request takes on disk, indexes included."""
    count = max(int(5000 * scale), 200)
    asyncio.run(_size(count))


async def _size(count: int) -> None:
    print(f"bytes on disk per request, indexes included, after {count:,} flows of 64 callers")
    async with schema() as name:
        empty = await size_of(name)
        await ours(name, count, 64)
        await _tell_size("fetched", name, empty, count + 64)
    async with schema() as name:
        async with engine(name) as flows:
            await many(count, 64, lambda n: _wait_for_user(flows, n))
        await _tell_size("waiting for its user", name, empty, count)
    async with hand.floor_schema() as name:
        empty = await size_of(name)
        await floor(name, count, 64)
        await _tell_size("fetched, in the floor's tables", name, empty, count + 64)


async def _wait_for_user(flows: LeanFlow, number: int) -> None:
    await flows.prompt((await flows.request(Resource.accounts, entity_id=f"e{number}")).id)


async def _tell_size(what: str, name: str, empty: dict[str, int], count: int) -> None:
    now = await size_of(name)
    each = {table: (now[table] - empty[table]) / count for table in now}
    parts = ", ".join(f"{table} {size:,.0f}" for table, size in sorted(each.items(), key=lambda i: -i[1]) if size >= 1)
    print(f"  {what}: {sum(each.values()):,.0f} ({parts})")


PARTS = ("flow", "processes", "growth", "sweep", "bytes")


def main(*words: str) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres")
    parser.add_argument("parts", nargs="*", choices=(*PARTS, "child"), help="all if none is named")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes but --large")
    parser.add_argument("--large", type=int, default=LARGE, help="stored requests for growth")
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--schema", help=argparse.SUPPRESS)
    parser.add_argument("--flows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.parts == ["child"]:
        child(asked)
        return
    for part in asked.parts or PARTS:
        match part:
            case "flow":
                flow(asked.scale)
            case "processes":
                processes(asked.scale)
            case "growth":
                growth(asked.scale, asked.large)
            case "sweep":
                sweep(asked.scale)
            case _:
                size(asked.scale)
        print(flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
