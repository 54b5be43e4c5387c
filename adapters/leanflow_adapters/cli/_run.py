"""`leanflow serve` and `leanflow worker`: an engine's processes, stopped in order by SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import click
from aiohttp import web

from leanflow import LeanFlow
from leanflow_adapters._working import STOP_WITHIN, IdleError, staff, until_told, work
from leanflow_adapters.cli._source import load_engine
from leanflow_adapters.web.aiohttp import add_webhook

__all__ = ["serve_command", "worker_command"]

_LEVELS = ("debug", "info", "warning", "error")
_limit = click.option(
    "--stop-within",
    default=STOP_WITHIN,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds from SIGTERM to the end.",
)
_workers = click.option("--workers", type=click.IntRange(1), help="How many, instead of the engine's own number.")
_level = click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)


@click.command("serve")
@click.argument("target", metavar="MODULE:ATTR")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--path", default="/lean/webhooks", show_default=True, help="Where Lean's webhooks come in.")
@_workers
@_limit
@_level
def serve_command(
    *, target: str, host: str, port: int, path: str, workers: int | None, stop_within: float, log_level: str
) -> None:
    """Serve an engine's webhook endpoint and run its workers. GET /health tells how it is."""
    if not path.startswith("/"):
        raise click.BadParameter("must begin with a slash", param_hint="--path")
    _log(log_level)
    flows = load_engine(target)
    staff(flows, workers)
    asyncio.run(_serve(flows, host, port, path, stop_within))


@click.command("worker")
@click.argument("target", metavar="MODULE:ATTR")
@_workers
@_limit
@_level
def worker_command(*, target: str, workers: int | None, stop_within: float, log_level: str) -> None:
    """Run an engine's workers: calls, probes, retries, expiries and announcements."""
    _log(log_level)
    flows = load_engine(target)
    staff(flows, workers)
    asyncio.run(_work(flows, stop_within))


def _log(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


async def _serve(flows: LeanFlow, host: str, port: int, path: str, stop_within: float) -> None:
    app = web.Application()
    add_webhook(app, path, flows)
    app.router.add_get("/health", _health(flows))
    # 16 kB hold any webhook; aiohttp's own 64 would be what a flood of large bodies takes for each connection.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, read_bufsize=16_384)
    async with until_told(stop_within) as stop, flows:
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
    try:
        await work(flows, stop_within, click.echo)
    except IdleError:
        raise click.ClickException("this engine has workers=0: nothing would be done; say --workers 1") from None


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
