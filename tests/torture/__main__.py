"""``python -m tests.torture [names…]``: play scenarios, print the table of figures, exit 1 on any violation."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.bases import STORES
from tests.torture.bindings import BINDINGS
from tests.torture.figures import Figure, Run, Scenario, table
from tests.torture.nursery import AMONG_OTHERS, Nursery
from tests.torture.scenarios import SCENARIOS

__all__ = ["main", "play"]

_TOLD = 10  # violations printed of one scenario


async def play(
    scenario: Scenario,
    seed: int,
    rounds: int,
    directory: Path,
    *,
    is_fast: bool,
    store: str = "sqlite",
    binding: str = "aiohttp",
) -> Figure:
    """Play one scenario and return its figure."""
    began = time.perf_counter()
    async with Nursery(AMONG_OTHERS if is_fast else 1.0) as nursery:
        run = Run(nursery, directory / scenario.name, seed, rounds, is_fast, store, binding)
        try:
            await scenario.play(run)
        except Exception as error:  # noqa: BLE001 - a scenario that breaks off has failed, and the others go on
            run.figure.violations.append(f"broke off with {type(error).__name__}: {error}")
    run.figure.seconds = time.perf_counter() - began
    return run.figure


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SCENARIOS)}; all if none is named")
    parser.add_argument("--seed", type=int, help="repeat a run; a new one is drawn and printed if not given")
    parser.add_argument("--rounds", type=int, help="instead of each scenario's own number")
    parser.add_argument("--fast", action="store_true", help="the small size that the ordinary tests use")
    parser.add_argument("--store", choices=STORES, default="sqlite", help="Postgres is at LEANFLOW_POSTGRES_URL")
    parser.add_argument("--binding", choices=BINDINGS, default="aiohttp", help="through which webhooks come in")
    parser.add_argument("--keep", type=Path, help="keep files and logs in this directory")
    return parser.parse_args()


def main() -> int:
    """Play what the command line names; return the exit status."""
    asked = _arguments()
    unknown = [name for name in asked.names if name not in SCENARIOS]
    if unknown:
        print(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    unfit = [name for name in asked.names if asked.store not in SCENARIOS[name].stores]
    if unfit:
        print(f"not played on {asked.store}: {', '.join(unfit)}", file=sys.stderr)
        return 2
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}", flush=True)
    seen: dict[str, tuple[Scenario, Figure]] = {}
    with tempfile.TemporaryDirectory(prefix="leanflow-torture-") as scratch:
        for name in asked.names or [name for name in SCENARIOS if asked.store in SCENARIOS[name].stores]:
            scenario = SCENARIOS[name]
            rounds = asked.rounds or (scenario.fast if asked.fast else scenario.rounds)
            figure = asyncio.run(
                play(
                    scenario,
                    seed,
                    rounds,
                    (asked.keep or Path(scratch)) / f"seed{seed}",
                    is_fast=asked.fast,
                    store=asked.store,
                    binding=asked.binding,
                )
            )
            seen[name] = scenario, figure
            print(table({name: seen[name]}).splitlines()[-1], flush=True)
            for violation in figure.violations[:_TOLD]:
                print(f"  {violation}", flush=True)
            if figure.violations:
                size = " --fast" if asked.fast else ""
                kind = f"--store {asked.store} --binding {asked.binding} --seed {seed} --rounds {rounds}{size}"
                print(f"  again: python -m tests.torture {name} {kind}", flush=True)
    print(f"\n{table(seen)}")
    return int(any(figure.violations for _, figure in seen.values()))


if __name__ == "__main__":
    sys.exit(main())
