"""`leanflow demo`."""

from __future__ import annotations

import asyncio
import sys
from io import TextIOWrapper

import click

from leanflow_adapters.demo import SABOTAGES, play

__all__ = ["demo_command"]


@click.command("demo")
@click.option("--seed", default=0, show_default=True, help="Of the simulated banks' data.")
@click.option("--plain", is_flag=True, help="Plain lines, as when the output is no terminal.")
@click.option("--sabotage", type=click.Choice(SABOTAGES), help="Leave something out: then the demo must fail.")
def demo_command(*, seed: int, plain: bool, sabotage: str | None) -> None:
    """Play the whole loop on this machine, over real sockets, in about 15 seconds.

    A simulated Lean runs in this process and a backend, with leanflow on a SQLite file, in another. Users reconnect,
    webhooks are forged, doubled, reversed and lost, a bank fails, and the backend is killed and started again. Exit
    status 0 means that every request ended as it must.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no arrows shows question marks
    try:
        status = asyncio.run(play(seed=seed, plain=plain, sabotage=sabotage))
    except asyncio.CancelledError:  # SIGTERM
        status = 143
    except KeyboardInterrupt:
        status = 130
    raise SystemExit(status)
