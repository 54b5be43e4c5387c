"""Playing the demo: sets the stage, tells the story, weighs what came of it, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from leanflow.errors import CallerError
from leanflow.mockbank import Mockbank, Settings
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.demo._child import Backend, BackendFailed
from leanflow_adapters.demo._scenes import REQUESTS, tell_story
from leanflow_adapters.demo._screen import Screen
from leanflow_adapters.demo._stage import Stage, Trouble
from leanflow_adapters.demo._verdict import Row, Verdict, weigh
from leanflow_adapters.mockbank import serve

__all__ = ["SABOTAGES", "play"]

SABOTAGES = ("user", "forgery", "reconcile")
"""What can be left out, to see that the verdict notices: the user's code, the false signature, the Events API."""


async def play(*, seed: int = 0, plain: bool = False, sabotage: str | None = None) -> int:
    """Play the demo.

    Args:
        seed: of the simulated bank's data.
        plain: no colours, no moving parts.
        sabotage: one of `SABOTAGES`; then the verdict must be bad.

    Returns:
        0 if every request ended as it must, else 1.
    """
    clock = SystemClock()
    settings = Settings(seed=seed, reconnect_ttl=timedelta(seconds=12))
    bank = Mockbank(now=clock.now(), settings=settings)
    limit = aiohttp.ClientTimeout(total=20)
    with TemporaryDirectory(prefix="leanflow-demo-") as name, Screen(plain=plain) as screen, _cancelled_by_sigterm():
        async with serve(bank, clock=clock) as server, aiohttp.ClientSession(timeout=limit) as session:
            stage = Stage(server, session, screen, sabotage)
            stage.backend = Backend(
                {
                    "store": f"sqlite:///{name}/leanflow.db",
                    "directory": name,
                    "lean": server.base_url,
                    "app": bank.app,
                    "client_secret": bank.client_secret,
                    "webhook_secret": bank.webhook_secret,
                },
                Path(name),
                stage.hear,
            )
            following = asyncio.create_task(stage.follow())
            try:
                verdict = await _play(stage)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await stage.backend.kill()
    screen.verdict(verdict)
    return 0 if verdict.is_good else 1


async def _play(stage: Stage) -> Verdict:
    """Tell the story as far as it goes, and weigh it."""
    await stage.scene("Lean, its banks and their users on one port; a backend with leanflow on another")
    stage.tell("demo", f"Mockbank stands in for Lean on {stage.server.base_url}")
    told = False
    try:
        await stage.start_backend()
        await tell_story(stage)
        told = True
    except (Trouble, BackendFailed, CallerError, aiohttp.ClientError, TimeoutError) as error:
        stage.tell("demo", f"the story stops here: {str(error) or type(error).__name__}", style="bold red")
    stage.fact("the story was told to its end", told and len(stage.cases) == REQUESTS)
    rows = await _rows(stage)
    await _stop(stage)
    return Verdict(rows=rows, facts=tuple(stage.facts))


async def _rows(stage: Stage) -> tuple[Row, ...]:
    """Weigh each request by what the backend, its table and Lean have on record."""
    try:
        effects = await _effects(stage)
        exports = [await stage.export(case) for case in stage.cases]
    except (aiohttp.ClientError, TimeoutError):
        return tuple(Row.unknown(case.label) for case in stage.cases)
    calls = list(stage.bank.log.calls)
    return tuple(weigh(case, told["history"], calls, effects) for case, told in zip(stage.cases, exports, strict=True))


async def _effects(stage: Stage) -> list[dict[str, Any]]:
    """Return the application's own table, once nothing is left to be announced or it has been waited long enough."""
    told: dict[str, Any] = {}
    for _ in range(30):
        _, told = await stage.call("GET", "/effects")
        if not told["undelivered"]:
            break
        await asyncio.sleep(0.1)
    return list(told["effects"])


async def _stop(stage: Stage) -> None:
    status = await stage.backend.stop()
    stage.fact("the backend stopped in order", status == 0)
    words = stage.backend.last_words()
    if words and status != 0:
        stage.tell("demo", f"the backend's last words:\n{words}", style="red")


@contextmanager
def _cancelled_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does: everything is cleaned up on the way out."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
