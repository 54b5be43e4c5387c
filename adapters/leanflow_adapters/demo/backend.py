"""The demo's backend, run as a process of its own: an aiohttp application around leanflow, on one SQLite file.

It reads its settings from the first line of standard input and tells what happens in JSON lines on standard output.
When standard input ends, whoever started it has gone, and it stops.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sqlite3
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from leanflow import Change, Handlers, LeanFlow, Policy, Results, State
from leanflow.errors import CallerError, RequestNotFound
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.web.aiohttp import add_webhook

__all__ = ["POLICY", "main"]

POLICY = Policy(
    reconnect_ttl=timedelta(seconds=12),  # one request must live to its end before the audience leaves
    expiry_grace=timedelta(seconds=1),
    probes=(timedelta(seconds=4), timedelta(seconds=8)),
    place_wait=timedelta(seconds=2),
    jitter=timedelta(seconds=0.3),
    lease=timedelta(seconds=3),  # what a killed backend was at is taken over so soon
    poll=timedelta(seconds=0.25),
    announce_backoff=(timedelta(seconds=0.5), timedelta(seconds=2)),
    shutdown_wait=timedelta(seconds=3),
)


class Ledger:
    """The application's own table: one row for each effect, by the key of the change that caused it.

    Args:
        path: its file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with self._connect() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS effects ("
                "key TEXT PRIMARY KEY, request TEXT, reference TEXT, state TEXT, items INTEGER, pages INTEGER, "
                "deliveries INTEGER)"
            )

    def book(self, change: Change, items: int, pages: int) -> None:
        """Do the effect of a change, once: a second delivery of the same change is only counted."""
        row = (change.key, change.request.id, change.request.reference, change.to_state.value, items, pages)
        with self._connect() as db:
            db.execute(
                "INSERT INTO effects VALUES (?, ?, ?, ?, ?, ?, 1) "
                "ON CONFLICT (key) DO UPDATE SET deliveries = deliveries + 1",
                row,
            )

    def rows(self) -> list[dict[str, Any]]:
        """Return all effects."""
        with self._connect() as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM effects ORDER BY key")]

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=5)


FLOWS = web.AppKey("flows", LeanFlow)
LEDGER = web.AppKey("ledger", Ledger)


def say(**words: Any) -> None:
    """Tell the process that started this one."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def build(settings: dict[str, Any], ledger: Ledger) -> LeanFlow:
    """Return the engine, put together from the settings."""
    handlers = Handlers()

    @handlers.on(name="timeline")
    async def told(change: Change, _flows: LeanFlow) -> None:
        was = None if change.from_state is None else change.from_state.value
        reference, to = change.request.reference, change.to_state.value
        say(key=change.key, reference=reference, was=was, to=to, cause=change.cause)

    @handlers.on(*State.ends(), name="ledger")
    async def ended(change: Change, flows: LeanFlow) -> None:
        got = await flows.results(change.request.id) if change.to_state is State.fetched else Results()
        await asyncio.to_thread(ledger.book, change, len(got.items), len(got.pages))

    return LeanFlow(
        store=open_store(settings["store"]),
        transport=LeanTransport(
            client_id=settings["app"],
            client_secret=settings["client_secret"],
            base_url=settings["lean"],
            auth_url=settings["lean"],
        ),
        webhook_secrets=[settings["webhook_secret"]],
        handlers=handlers,
        app=settings["app"],
        policy=POLICY,
    )


# --- the routes: what the application offers its front end -------------------------------------------------------


async def ask(http: web.Request) -> web.Response:
    """Make a data request."""
    request = await http.app[FLOWS].request(**await http.json())
    return web.json_response(request.to_dict())


async def show(http: web.Request) -> web.Response:
    """Tell all about one request."""
    return web.json_response(await http.app[FLOWS].export(http.match_info["id"]))


async def prompt(http: web.Request) -> web.Response:
    """Hand out what the browser needs for `Lean.reconnect`."""
    made = await http.app[FLOWS].prompt(http.match_info["id"])
    return web.json_response({"number": made.number, "reconnect": made.to_dict()})


async def callback(http: web.Request) -> web.Response:
    """Take what the Link SDK said in the browser."""
    said = await http.json()
    request = await http.app[FLOWS].callback(http.match_info["id"], said["payload"], prompt=said["number"])
    return web.json_response(request.to_dict())


async def reconcile(http: web.Request) -> web.Response:
    """Look for webhooks that never came."""
    return web.json_response({"news": await http.app[FLOWS].reconcile()})


async def effects(http: web.Request) -> web.Response:
    """Tell which effects were done, and what is still to be announced."""
    waiting = await http.app[FLOWS].undelivered()
    rows = await asyncio.to_thread(http.app[LEDGER].rows)
    return web.json_response({"effects": rows, "undelivered": len(waiting)})


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn the caller's faults into 404 and 409."""
    try:
        return await handler(request)
    except RequestNotFound as error:
        return web.json_response({"error": str(error)}, status=404)
    except CallerError as error:
        return web.json_response({"error": str(error)}, status=409)


def application(flows: LeanFlow, ledger: Ledger) -> web.Application:
    """Return the aiohttp application."""
    app = web.Application(middlewares=[refusals])
    app[FLOWS], app[LEDGER] = flows, ledger
    app.router.add_post("/requests", ask)
    app.router.add_get("/requests/{id}", show)
    app.router.add_post("/requests/{id}/prompt", prompt)
    app.router.add_post("/requests/{id}/callback", callback)
    app.router.add_post("/reconcile", reconcile)
    app.router.add_get("/effects", effects)
    add_webhook(app, "/lean/webhooks", flows)
    return app


# --- the process -------------------------------------------------------------------------------------------------


async def _gone(lifeline: asyncio.StreamReader) -> None:
    """Return when standard input has ended."""
    while await lifeline.readline():
        pass


async def _run() -> None:
    loop = asyncio.get_running_loop()
    lifeline = asyncio.StreamReader()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lifeline), sys.stdin)
    settings = json.loads(await lifeline.readline())
    ledger = Ledger(str(Path(settings["directory"]) / "application.db"))
    flows = build(settings, ledger)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(application(flows, ledger), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        async with flows:
            missed = await flows.reconcile() if settings["again"] else 0
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            say(ready=runner.addresses[0][1], missed=missed)
            watching = loop.create_task(_gone(lifeline))
            watching.add_done_callback(lambda _: stop.set())
            await stop.wait()
            watching.cancel()
            await runner.cleanup()
    finally:
        await runner.cleanup()
        pipe.close()


def main() -> None:
    """Run the backend until standard input ends or SIGTERM comes."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(_run())


if __name__ == "__main__":
    main()
