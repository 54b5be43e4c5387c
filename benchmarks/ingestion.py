"""Webhooks from a bus: `subscribe(…, flows.receive)` against a hand-written minimum on the same client.

The minimum takes a message, checks the HMAC, parses JSON, commits one group-committed step (`benchmarks._floor`), and
then acknowledges. Both take the same webhooks, which are on the broker when the clock starts: at the first message; it
stops when the last is acknowledged. They run alternately in one process, each on a place of its own, with as many
messages at once. leanflow's engine begins on a file with as many requests that await their user: once without workers,
which are another process's then, and does what the minimum does; and once with them: then each webhook has the results
asked for as well, a claim, a call and two more steps. A broker that does not answer is skipped by name.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import MappingProxyType

from benchmarks._floor import Floor, taking
from benchmarks._ingestion_floors import AT_ONCE, INLETS, Inlet, Message
from benchmarks._ours import SECRET, awaiting_users, engine, reconnected
from leanflow import Policy, Reply

__all__ = ["main"]

COUNT, ROUNDS = int(os.environ.get("COUNT", "5000")), 3
BUDGET = 0.75
POLICY = Policy(reconcile_every=None)
PATIENCE = 120.0  # seconds that one run may take before the benchmark gives up


class Stopwatch:
    """Starts at the first message, whoever takes it."""

    def __init__(self) -> None:
        self._began: float | None = None

    def first(self) -> None:
        """A message came."""
        if self._began is None:
            self._began = time.perf_counter()

    def rate(self, count: int) -> float:
        """Return messages per second until now."""
        assert self._began is not None
        return count / (time.perf_counter() - self._began)


async def floor(path: Path, inlet: Inlet, names: Sequence[str]) -> float:
    """Take all by hand; return webhooks per second."""
    watch, db = Stopwatch(), Floor(path)
    step = await taking(db, SECRET, names)

    async def timed(raw: bytes, signature: str) -> int:
        watch.first()
        return await step(raw, signature)

    await inlet.floor(timed, len(names))
    rate = watch.rate(len(names))
    db.close()
    return rate


async def ours(path: Path, inlet: Inlet, names: Sequence[str], *, workers: int = 0) -> float:
    """Take all with leanflow; return webhooks per second."""
    watch = Stopwatch()
    async with engine(path, policy=POLICY, workers=workers) as flows:

        async def timed(headers: Mapping[str, str], raw: bytes) -> Reply:
            watch.first()
            return await flows.receive(headers, raw)

        async with inlet.subscribe(timed) as subscription:
            while subscription.counts["taken"] < len(names):
                assert not subscription.counts["set_aside"], subscription
                await asyncio.sleep(0.002)
            return watch.rate(len(names))


async def fill(path: Path) -> list[str]:
    """Make a file with requests that await their user; return their reconnect ids."""
    async with engine(path, workers=0, policy=POLICY) as flows:
        return await awaiting_users(flows, COUNT)


RUNS: Mapping[str, Callable[[Path, Inlet, Sequence[str]], Awaitable[float]]] = MappingProxyType(
    {"floor": floor, "leanflow": ours, "with workers": partial(ours, workers=1)}
)


async def compare(make: type[Inlet], filled: Path, names: Sequence[str]) -> list[float]:
    """Return the median of each of `RUNS`."""
    messages: list[Message] = list(reconnected(names))
    rates: dict[str, list[float]] = {kind: [] for kind in RUNS}
    with TemporaryDirectory() as directory:
        for number in range(ROUNDS):
            for kind, run in RUNS.items():
                path = Path(directory) / f"{kind}{number}.db"
                if run is not floor:
                    shutil.copy(filled, path)
                async with asyncio.timeout(PATIENCE), make() as inlet:
                    await inlet.put(messages)
                    rates[kind].append(await run(path, inlet, names))
    return [median(seen) for seen in rates.values()]


def main() -> None:
    """Print the table, each row as soon as it is known."""
    print(f"ingestion, {COUNT} webhooks on each bus, {AT_ONCE} at once, SQLite FULL, median of {ROUNDS}")
    print(f"{'bus':<16}{'floor /s':>10}{'leanflow /s':>13}{'ratio':>8}{'with workers /s':>18}{'ratio':>8}   ", end="")
    print(f"(budget {BUDGET})", flush=True)
    with TemporaryDirectory() as directory:
        filled = Path(directory) / "filled.db"
        names = asyncio.run(fill(filled))
        for name, make in INLETS.items():
            if (why := make.missing()) is not None:
                print(f"{name:<16} skipped: {why}", flush=True)
                continue
            least, alone, working = asyncio.run(compare(make, filled, names))
            print(f"{name:<16}{least:>10,.0f}{alone:>13,.0f}{alone / least:>8.2f}", end="")
            print(f"{working:>18,.0f}{working / least:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
