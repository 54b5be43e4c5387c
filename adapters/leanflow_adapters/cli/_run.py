"""`leanflow serve` and `leanflow worker`: an engine's processes, stopped in order by SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

import click
from aiohttp import web

from leanflow import LeanFlow
from leanflow._health import SinkLag
from leanflow_adapters._working import STOP_WITHIN, IdleError, settle_in, staff, until_told, work
from leanflow_adapters.cli._logs import log_to_stderr
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
_level = click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)


@click.command("serve")
@click.argument("target", metavar="MODULE:ATTR")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--path", default="/lean/webhooks", show_default=True, help="Where Lean's webhooks come in.")
@click.option("--workers", type=click.IntRange(0), help="How many, instead of the engine's own number; 0: others work.")
@_limit
@_level
def serve_command(
    *, target: str, host: str, port: int, path: str, workers: int | None, stop_within: float, log_level: str
) -> None:
    """Serve an engine's webhook endpoint and run its workers. GET /health tells how it is."""
    if not path.startswith("/"):
        raise click.BadParameter("must begin with a slash", param_hint="--path")
    log_to_stderr(log_level)
    flows = load_engine(target)
    staff(flows, workers)
    asyncio.run(_serve(flows, host, port, path, stop_within))


@click.command("worker")
@click.argument("target", metavar="MODULE:ATTR")
@click.option("--workers", type=click.IntRange(1), help="How many, instead of the engine's own number.")
@_limit
@_level
def worker_command(*, target: str, workers: int | None, stop_within: float, log_level: str) -> None:
    """Run an engine's workers: calls, probes, retries, expiries and announcements."""
    log_to_stderr(log_level)
    flows = load_engine(target)
    staff(flows, workers)
    asyncio.run(_work(flows, stop_within))


async def _serve(flows: LeanFlow, host: str, port: int, path: str, stop_within: float) -> None:
    app = web.Application()
    add_webhook(app, path, flows)
    app.router.add_get("/health", _health(flows))
    # 16 kB hold any webhook; aiohttp's own 64 would be what a flood of large bodies takes for each connection.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, read_bufsize=16_384)
    await runner.setup()
    loop = asyncio.get_running_loop()
    async with until_told(stop_within) as stop:
        # it has its port and does not listen yet: one that is taken is known before anything is worked on
        server = await loop.create_server(runner.server, host, port, start_serving=False)  # type: ignore[arg-type]  # set up above
        with closing(server):
            async with flows:
                try:
                    settle_in()
                    await server.start_serving()
                    at, bound = server.sockets[0].getsockname()[:2]
                    click.echo(f"webhooks come in at http://{f'[{at}]' if ':' in at else at}:{bound}{path}")
                    await stop.wait()
                finally:  # first no more webhooks come in, then the engine closes
                    server.close()
                    await runner.cleanup()
    click.echo("stopped")


async def _work(flows: LeanFlow, stop_within: float) -> None:
    try:
        await work(flows, stop_within, click.echo)
    except IdleError:
        raise click.ClickException("this engine has workers=0: nothing would be done; say --workers 1") from None


def _health(flows: LeanFlow) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def health(_: web.Request) -> web.StreamResponse:
        found = await flows.health()
        told = {
            "store_reachable": found.store_reachable,
            "worker_alive": found.worker_alive,
            "next_due_at": _iso(found.next_due_at),
            "sinks": {name: _lag(lag) for name, lag in found.sinks.items()},
            "dropped": found.dropped,
        }
        return web.json_response(told, status=200 if found.store_reachable else 503)

    return health


def _lag(lag: SinkLag) -> Mapping[str, Any]:
    return {"undelivered": lag.undelivered, "set_aside": lag.set_aside, "oldest_at": _iso(lag.oldest_at)}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
