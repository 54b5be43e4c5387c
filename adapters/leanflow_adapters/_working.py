"""A process that works for an engine until SIGTERM or Ctrl-C: what `leanflow worker` and Django's command share."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from leanflow import LeanFlow

__all__ = ["STOP_WITHIN", "IdleError", "settle_in", "staff", "until_told", "work"]

STOP_WITHIN = 9.0
"""Seconds from SIGTERM to the end. Process managers send SIGKILL after 10; what is cut off is taken over later."""


class IdleError(Exception):
    """The engine has no workers: nothing would be done."""


def staff(flows: LeanFlow, workers: int | None) -> None:
    """Give an engine that is not open so many workers, instead of its own number; None: leave that."""
    if workers is not None:
        flows._workers_wanted = workers  # noqa: SLF001 - an engine of web processes, in the process that works for them


async def work(flows: LeanFlow, stop_within: float, say: Callable[[str], object]) -> None:
    """Run an engine's workers until told to stop.

    Raises:
        IdleError: it has none.
    """
    async with until_told(stop_within) as stop, flows:
        if not (await flows.health()).worker_alive:
            raise IdleError
        settle_in()
        say(f"working for {flows!r}")
        await stop.wait()
    say("stopped")


def settle_in() -> None:
    """Have the garbage collector pass over what is there once all is started: it stays for as long as the process.

    Full passes are what the slowest webhooks wait for, and mostly look at modules (docs/reference/benchmarks.md).
    """
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def until_told(stop_within: float) -> AsyncIterator[asyncio.Event]:
    """Yield an event that SIGTERM and Ctrl-C set; from then on the process has so long to end."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    # A handler's thread that hangs would hold the process for ever.
    last = threading.Timer(stop_within, os._exit, (1,))
    last.daemon = True

    def told() -> None:
        if not stop.is_set():
            last.start()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
