"""What testing costs: full reconnect loops through the fixtures' engine, and the plugin where nobody uses it."""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from leanflow import LeanFlow, Resource, State
from leanflow.mockbank import Mockbank
from leanflow.testing import FakeClock, OnDemandFlow, Travel
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.pytest_plugin import _parts

LOOPS = 1000
LOOPS_BUDGET = 5.0  # seconds of one core
RUNS = 31
START_BUDGET = 20.0  # milliseconds

SUITE = "def test_nothing():\n    pass\n"


class World:
    """What the fixtures `flows`, `mockbank` and `travel` hand out, made as they make it."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.bank = Mockbank(now=clock.now())
        lean = _parts.transport(self.bank, clock)
        settings = _parts.settings(MemoryStore(), lean, [], clock)
        self.flows: LeanFlow = OnDemandFlow(**settings, errors=[], also=lean)
        lean.receive = self.flows.receive
        self.travel = Travel(self.flows, clock, lean)

    async def loop(self, number: int) -> None:
        """Walk one request through RECONNECT_REQUIRED, a user who takes three days, and both webhooks, to its data."""
        entity = self.bank.connect(f"user-{number}")
        self.bank.expire_session(entity)
        request = await self.flows.request(Resource.accounts, entity_id=entity)
        prompt = await self.flows.prompt(request.id)
        await self.travel(days=3)
        prompt = await self.flows.prompt(request.id)
        self.bank.submit_otp(prompt.reconnect_id, "1111")
        await self.travel(minutes=1)
        assert (await self.flows.get(request.id)).state is State.fetched


async def a_world_each() -> None:
    """Every loop in a world of its own, as tests have them."""
    for number in range(LOOPS):
        world = World()
        await world.loop(number)
        await world.flows.__aexit__(None, None, None)


async def one_world() -> None:
    """All loops in one world, one after another: what is kept grows."""
    world = World()
    for number in range(LOOPS):
        await world.loop(number)
    await world.flows.__aexit__(None, None, None)


def loops() -> None:
    """Print what loops cost."""
    print(f"{LOOPS} full reconnect loops, three days each (seconds of one core; budget {LOOPS_BUDGET:g})")
    for name, run in (("a world each", a_world_each), ("in one world", one_world)):
        start = time.process_time()
        asyncio.run(run())
        print(f"  {name}: {time.process_time() - start:5.2f}")


def cost(folder: Path, *options: str) -> float:
    """Return the seconds of processor time that pytest takes for a suite of one empty test."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder / "test_it.py")]
    with subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.DEVNULL) as child:  # noqa: S603 - our words
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return used.ru_utime + used.ru_stime


def start_up() -> None:
    """Print what the plugin costs a suite that does not use it, other plugins switched off and on."""
    plain = ("-p", "no:asyncio", "-p", "no:anyio", "-p", "no:hypothesispytest")
    print(f"start of a suite that does not use it (ms of processor time, median of {RUNS}; budget {START_BUDGET:g})")
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_it.py").write_text(SUITE, encoding="utf-8")
        seen: dict[str, list[float]] = {"without": [], "with": []}
        for number in range(RUNS + 1):
            for kind, options in (("without", (*plain, "-p", "no:leanflow")), ("with", plain)):
                seconds = cost(folder, *options)
                if number:  # the first round writes the byte code
                    seen[kind].append(seconds)
    without, with_it = median(seen["without"]), median(seen["with"])
    pairs = sorted(b - a for a, b in zip(seen["without"], seen["with"], strict=True))
    print(
        f"  without {without * 1e3:.0f}, with {with_it * 1e3:.0f}: the plugin {(with_it - without) * 1e3:.1f}"
        f" ({with_it / without:.2f} x; pairwise median {median(pairs) * 1e3:.1f})"
    )


def profile() -> None:
    """Print where the time of loops goes: ``python -m benchmarks.testing profile``."""
    for run in (a_world_each, one_world):
        profiler = cProfile.Profile()
        profiler.runcall(asyncio.run, run())
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Print the figures."""
    loops()
    start_up()


if __name__ == "__main__":
    profile() if sys.argv[1:] == ["profile"] else main()
