"""`leanflow simulate`: seeded runs of many processes with everything that goes wrong, over memory or SQLite."""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from leanflow.testing.simulation import Run, SimulationFailed, shortest, simulate
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport
from leanflow_adapters.sqlite import SQLiteStore

__all__ = ["simulate_command"]

_PROGRESS = 1.0  # seconds between two words about it, on a terminal

Play = Callable[[int, int], Run]


@click.command("simulate")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The first: all follows from it.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="How many, one after the other.")
@click.option("--store", type=click.Choice(["memory", "sqlite"]), default="memory", show_default=True)
@click.option("--processes", default=3, show_default=True, type=click.IntRange(1, 20), help="Engines on one store.")
@click.option("--steps", default=250, show_default=True, type=click.IntRange(0), help="Before all faults are stopped.")
@click.option("--storm", default=1.0, show_default=True, type=click.FloatRange(0), help="How often Lean misbehaves.")
@click.option("--timeline", is_flag=True, help="Print all that happened, of runs that are well, too.")
def simulate_command(  # noqa: PLR0917 - click passes them by name
    seed: int,
    seeds: int,
    store: str,
    processes: int,
    steps: int,
    storm: float,
    timeline: bool,  # noqa: FBT001
) -> None:
    """Play seeded runs: engines, Lean, a bus and users on one clock, and everything that goes wrong.

    Processes die at any await, stores and networks fail, webhooks come late, twice, forged or never. Every commit,
    call and announcement is held to leanflow's invariants. The first run that breaks one is shown, as short as it can
    be made, and ends the command with exit status 1.
    """

    def play(seed: int, steps: int) -> Run:
        options = f" --store {store}" * (store != "memory") + f" --processes {processes}" * (processes != 3)
        options += f" --storm {storm:g}" * (storm != 1)
        with TemporaryDirectory(prefix="leanflow-simulate-") as directory:
            return simulate(
                seed,
                store=MemoryStore().reopen if store == "memory" else partial(_sqlite, Path(directory)),
                transport=MockbankTransport,
                storm=storm,
                processes=processes,
                steps=steps,
                command=f"leanflow simulate --seed {seed}{options} --steps {steps}",
            )

    gc.freeze()  # what is imported stays; and a run makes more young objects than the collector reckons with
    gc.set_threshold(50_000)
    states, began = _all(play, range(seed, seed + seeds), steps, timeline=timeline)
    took = time.monotonic() - began
    ended = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    click.echo(f"{seeds} runs in {took:.1f} s ({60 * seeds / took:.0f} a minute), no rule broken: {ended}")


def _all(play: Play, seeds: range, steps: int, *, timeline: bool) -> tuple[Counter[str], float]:
    states: Counter[str] = Counter()
    began = told = time.monotonic()
    for number, seed in enumerate(seeds):
        try:
            run = play(seed, steps)
        except SimulationFailed as failed:
            click.echo(str(shortest(failed, partial(play, seed))))
            raise SystemExit(1) from None
        states.update(run.states)
        if timeline:
            click.echo(run.timeline())
        if sys.stderr.isatty() and time.monotonic() - told > _PROGRESS:
            told = time.monotonic()
            click.echo(f"\r{number + 1} of {len(seeds)} runs", nl=False, err=True)
    if sys.stderr.isatty() and told != began:
        click.echo("\r" + " " * 40 + "\r", nl=False, err=True)
    return states, began


def _sqlite(directory: Path) -> SQLiteStore:
    # A simulated crash takes no power away: without a sync for each commit it is many times as fast.
    return SQLiteStore(directory / "flows.db", synchronous="NORMAL")
