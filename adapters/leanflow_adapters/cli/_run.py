"""`leanflow serve` and `leanflow worker`: an engine's processes, stopped in order by SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import click
from aiohttp import web

from leanflow import LeanFlow
from leanflow_adapters.cli._source import load_engine
from leanflow_adapters.web.aiohttp import add_webhook

__all__ = ["serve_command", "worker_command"]

_LEVELS = ("debug", "info", "warning", "error")
# Process managers send SIGKILL 10 s after SIGTERM. What is cut off is taken over later.
_limit = click.option(
    "--stop-within", default=9.0, show_default=True, type=click.FloatRange(0.1), help="Seconds from SIGTERM to the end."
)
_level = click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)


@click.command("serve")
@click.argument("target", metavar="MODULE:ATTR")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--path", default="/lean/webhooks", show_default=True, help="Where Lean's webhooks come in.")
@_limit
@_level
def serve_command(*, target: str, host: str, port: int, path: str, stop_within: float, log_level: str) -> None:
    """Serve an engine's webhook endpoint and run its workers. GET /health tells how it is."""
    if not path.startswith("/"):
        raise click.BadParameter("must begin with a slash", param_hint="--path")
    _log(log_level)
    asyncio.run(_serve(load_engine(target), host, port, path, stop_within))


@click.command("worker")
@click.argument("target", metavar="MODULE:ATTR")
@_limit
@_level
def worker_command(*, target: str, stop_within: float, log_level: str) -> None:
    """Run an engine's workers: calls, probes, retries, expiries and announcements."""
    _log(log_level)
    asyncio.run(_work(load_engine(target), stop_within))


def _log(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


async def _serve(flows: LeanFlow, host: str, port: int, path: str, stop_within: float) -> None:
    app = web.Application()
    add_webhook(app, path, flows)
    app.router.add_get("/health", _health(flows))
    # 16 kB hold any webhook; aiohttp's own 64 would be what a flood of large bodies takes for each connection.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, read_bufsize=16_384)
    async with _until_told(stop_within) as stop, flows:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            at, bound = runner.addresses[0][:2]
            click.echo(f"webhooks come in at http://{f'[{at}]' if ':' in at else at}:{bound}{path}")
            await stop.wait()
        finally:
            await runner.cleanup()  # first no more webhooks come in, then the engine closes
    click.echo("stopped")


async def _work(flows: LeanFlow, stop_within: float) -> None:
    async with _until_told(stop_within) as stop, flows:
        if not (await flows.health()).worker_alive:
            raise click.ClickException("this engine has workers=0: nothing would be done")
        click.echo(f"working for {flows!r}")
        await stop.wait()
    click.echo("stopped")


def _health(flows: LeanFlow) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def health(_: web.Request) -> web.StreamResponse:
        found = await flows.health()
        due = found.next_due_at
        told = {
            "store_reachable": found.store_reachable,
            "worker_alive": found.worker_alive,
            "next_due_at": None if due is None else due.isoformat(),
            "undelivered": {name: lag.undelivered for name, lag in found.sinks.items()},
        }
        return web.json_response(told, status=200 if found.store_reachable else 503)

    return health


@asynccontextmanager
async def _until_told(stop_within: float) -> AsyncIterator[asyncio.Event]:
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
