"""The engine's process: LeanFlow on a store, a webhook endpoint, and a door for the parent, who is the application."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import attrs
from aiohttp import web

from leanflow import Change, Handlers, LeanFlow, Policy, State
from leanflow.errors import CallerError, CallFailed, RequestNotFound, StoreUnavailable
from leanflow.ports import OutboxRow, Sink, Store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.redis import RedisStore
from leanflow_adapters.sqlite import SQLiteStore
from leanflow_adapters.web.aiohttp import webhook_handler
from tests.torture.application import Application
from tests.torture.bindings import WHERE, bound, serving
from tests.torture.versions import become_next

__all__ = ["QUICK", "main"]

QUICK: Mapping[str, Any] = {
    "lease": 2.0,  # what a killed child was at is taken over so soon; a stalled disk must not look like a fault
    "poll": 0.05,
    "probes": [0.5, 1.0, 2.0],
    "idle_probes": [1.0, 2.0],
    "place_wait": 0.3,
    "jitter": 0.01,
    "announce_backoff": [0.05, 0.2],
    "announce_tries": 1000,
    "shutdown_wait": 3.0,
    "reconcile_every": None,
}
"""A policy, in seconds, under which faults are over soon."""


class ShiftedClock:
    """The system's clock, so many seconds ahead; the parent moves it."""

    def __init__(self, offset: float) -> None:
        self.offset = offset
        self._system = SystemClock()

    def now(self) -> datetime:
        """Return the shifted time."""
        return self._system.now() + timedelta(seconds=self.offset)

    async def sleep(self, seconds: float) -> None:
        """Return once so many real seconds have passed."""
        await self._system.sleep(seconds)


class Diary:
    """What handlers and the bus heard, appended to a file that outlives every child: one write, one line."""

    def __init__(self, path: str, tag: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.tag = tag

    def write(self, sink: str, key: str, subject: Mapping[str, Any] | None = None) -> None:
        """Append one line, on a line of its own even where a kill has cut off the one before it."""
        line = {"sink": sink, "key": key, "child": self.tag, "at": time.time(), "subject": subject}
        os.write(self._fd, b"\n" + json.dumps(line).encode() + b"\n")


class DiaryBus:
    """A bus whose broker is the diary."""

    name = "bus"

    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    async def open(self) -> None:
        """Open nothing."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Write all rows down."""
        for row in batch:
            self._diary.write(self.name, row.key)
        return [None] * len(batch)

    async def aclose(self) -> None:
        """Close nothing."""


def _policy(seconds: Mapping[str, Any]) -> Policy:
    fields: dict[str, Any] = {}
    whole = {field.name for field in attrs.fields(Policy) if str(field.type) in {"int", "bool"}}
    for name, value in seconds.items():
        if value is None or name in whole:
            fields[name] = value
        elif isinstance(value, list):
            fields[name] = tuple(timedelta(seconds=each) for each in value)
        else:
            fields[name] = timedelta(seconds=value)
    return Policy(**fields)


def _handlers(settings: Mapping[str, Any], diary: Diary) -> Handlers:
    handlers = Handlers()
    cured = Path(settings["heard"]).with_name("cured")
    failed: set[str] = set()

    def refuse(name: str, key: str) -> None:
        if "flaky" in name and key not in failed:
            failed.add(key)
            raise RuntimeError("fails the first time")
        if "poison" in name and not cured.exists():
            raise RuntimeError("fails until cured")

    @handlers.on(name="teller")
    async def told(change: Change, flows: LeanFlow) -> None:
        refuse(change.request.entity_id if change.to_state is State.fetched else "", change.key)
        diary.write("teller", change.key, change.to_dict())
        if settings.get("deadly"):
            await _application(settings, diary.tag).hear(flows, change, "teller")

    @handlers.on_webhook("*", name="listener")
    def heard(event: Any, _flows: LeanFlow) -> None:
        refuse(event.type, event.key)
        diary.write("listener", event.key)

    return handlers


def _application(settings: Mapping[str, Any], tag: str) -> Application:
    dice = random.Random(f"{tag} {time.monotonic_ns()}")
    return Application(settings.get("dsn", ""), settings.get("schema", ""), dice, settings.get("deadly", 0.0))


def _store(settings: Mapping[str, Any]) -> Store:
    if settings["store"] == "postgres":
        return PostgresStore(
            settings["dsn"],
            schema=settings["schema"],
            migrate=True,
            pool_size=settings.get("pool_size", 4),
            hints=settings.get("hints", True),
            clock=settings.get("clock", "database"),
        )
    if settings["store"] == "redis":
        return RedisStore(
            settings["url"],
            prefix=settings["prefix"],
            pool_size=settings.get("pool_size", 4),
            hints=settings.get("hints", True),
            clock="engine" if settings.get("clock") == "engine" else "server",
        )
    return SQLiteStore(
        settings["db"],
        synchronous=settings.get("synchronous", "FULL"),
        busy_timeout=settings.get("busy_timeout", 5.0),
    )


def _build(settings: Mapping[str, Any], tag: str, session: aiohttp.ClientSession, clock: ShiftedClock) -> LeanFlow:
    diary = Diary(settings["heard"], tag)
    return LeanFlow(
        store=_store(settings),
        transport=LeanTransport(
            app_token="torture",
            base_url=settings["lean"],
            session=session,
            timeout=settings.get("call_timeout", 30.0),
            connect_timeout=settings.get("call_timeout", 30.0) / 2,
        ),
        webhook_secrets=[settings["secret"]],
        handlers=_handlers(settings, diary),
        bus=DiaryBus(diary) if settings.get("bus", False) else None,
        clock=clock,
        policy=_policy({**(QUICK if settings.get("quick", True) else {}), **settings.get("policy", {})}),
        workers=settings.get("workers", 1),
    )


class Sweeps:
    """Counts how often an engine has looked for what is due."""

    def __init__(self, store: Store) -> None:
        self._claim = store.claim
        store.claim = self._counted  # type: ignore[method-assign]  # the engine is to be none the wiser
        self._ended = 0
        self._another = asyncio.Condition()

    async def _counted(self, *args: Any, **kwargs: Any) -> Any:
        claimed = await self._claim(*args, **kwargs)
        async with self._another:
            self._ended += 1
            self._another.notify_all()
        return claimed

    async def more(self, number: int) -> None:
        """Return after so many more, the one that may be under way not among them."""
        last = self._ended + number + 1
        async with self._another:
            await self._another.wait_for(lambda: self._ended >= last)


# --- the parent's door -------------------------------------------------------------------------------------------


class Door:
    """What the application does, asked for by the parent over HTTP."""

    def __init__(self, flows: LeanFlow, sweeps: Sweeps, clock: ShiftedClock, application: Application) -> None:
        self._flows = flows
        self._sweeps = sweeps
        self._clock = clock
        self._application = application

    async def answer(self, http: web.Request) -> web.Response:
        """Do one thing and answer with JSON; a fault is a status: the caller's 409, a temporary 503, a timeout 408."""
        words = await http.json()
        work = getattr(self, "do_" + words.pop("op"))
        try:
            return web.json_response(await work(**words))
        except TimeoutError:
            return web.json_response({"error": "timeout"}, status=408)
        except CallerError as error:
            return web.json_response({"error": str(error)}, status=409)
        except (StoreUnavailable, CallFailed) as error:
            return web.json_response({"error": str(error)}, status=503)

    async def do_request(self, **words: Any) -> Any:
        """Make a request."""
        return (await self._flows.request(**words)).to_dict()

    async def do_get(self, id: str) -> Any:  # noqa: A002 - as the engine's own word
        """Return a request."""
        return (await self._flows.get(id)).to_dict()

    async def do_wait(self, id: str, timeout: float, until: list[str] | None = None) -> Any:  # noqa: A002
        """Wait for a request."""
        states = None if until is None else {State(state) for state in until}
        return (await self._flows.wait(id, until=states, timeout=timeout)).to_dict()

    async def do_prompt(self, id: str) -> Any:  # noqa: A002
        """Hand out the prompt."""
        prompt = await self._flows.prompt(id)
        return {"reconnect_id": prompt.reconnect_id, "number": prompt.number}

    async def do_cancel(self, id: str) -> Any:  # noqa: A002
        """Cancel."""
        return (await self._flows.cancel(id)).to_dict()

    async def do_renew(self, id: str) -> Any:  # noqa: A002
        """Renew."""
        return (await self._flows.renew(id)).to_dict()

    async def do_history(self, id: str) -> Any:  # noqa: A002
        """Return the keys of its history."""
        return [entry.key for entry in await self._flows.history(id)]

    async def do_results(self, id: str) -> Any:  # noqa: A002
        """Return how many items there are."""
        return len((await self._flows.results(id)).items)

    async def do_reconcile(self, since: str | None = None) -> Any:
        """Look for lost webhooks."""
        return await self._flows.reconcile(None if since is None else datetime.fromisoformat(since))

    async def do_undelivered(self, *, set_aside: bool | None = None) -> Any:
        """Return the keys and sinks of what is not delivered."""
        rows = await self._flows.undelivered(set_aside=set_aside, limit=100_000)
        return [[row.key, row.sink] for row in rows]

    async def do_redeliver(self, key: str, sink: str) -> Any:
        """Bring back what was set aside."""
        await self._flows.redeliver(key, sink)

    async def do_passing_sink(self) -> Any:
        """Let a handler come, and go for good."""
        await self._flows._store.register(self._flows._scope, [Sink(name="passing")])
        with suppress(RequestNotFound):  # another life's was faster
            await self._flows.drop_sink("passing")

    async def do_purge(self, state: str) -> Any:
        """Purge all ended requests of a state."""
        return await self._flows.purge(older_than=timedelta(), state=State(state))

    async def do_erase(self, entity_id: str) -> Any:
        """Erase an entity."""
        return (await self._flows.erase(entity_id=entity_id)).requests

    async def do_counts(self) -> Any:
        """Count requests by state."""
        return {state.value: number for state, number in (await self._flows.counts()).items() if number}

    async def do_next_due(self) -> Any:
        """Return when something is due next."""
        due = (await self._flows.health()).next_due_at
        return None if due is None else due.isoformat()

    async def do_act(self, **words: Any) -> Any:
        """Do something in a transaction of the application's."""
        return await self._application.act(self._flows, **words)

    async def do_sweeps(self, number: int) -> Any:
        """Let the engine look for what is due."""
        await self._sweeps.more(number)

    async def do_clock(self, offset: float) -> Any:
        """Move the clock."""
        self._clock.offset = offset
        return self._clock.now().isoformat()


# --- the process -------------------------------------------------------------------------------------------------


def _webhooks(flows: LeanFlow, last: int | None) -> Any:
    """Return the webhook endpoint; it kills its process right after its `last`-th 200 has left."""
    handler = webhook_handler(flows)
    if last is None:
        return handler
    left = last

    async def handle(http: web.Request) -> web.StreamResponse:
        nonlocal left
        response = await handler(http)
        left -= response.status == 200
        if left <= 0:
            await response.prepare(http)
            await response.write_eof()
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    return handle


def _listener() -> socket.socket:
    """Return a listening socket whose connections bring little at a time: asyncio takes in all there is, to 256 KiB."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio turns Nagle off
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    listener.bind(("127.0.0.1", 0))
    return listener


async def _run(settings: Mapping[str, Any], tag: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    clock = ShiftedClock(settings.get("offset", 0.0))
    async with aiohttp.ClientSession(headers={"x-child": tag}, connector=aiohttp.TCPConnector(limit=0)) as session:
        flows = _build(settings, tag, session, clock)
        sweeps = Sweeps(flows._store)
        async with flows, AsyncExitStack() as stack:
            app = web.Application()
            app.router.add_post(WHERE, _webhooks(flows, settings.get("kill_after_200")))
            app.router.add_post("/do", Door(flows, sweeps, clock, _application(settings, tag)).answer)
            # aiohttp buffers up to twice this for each connection, 512 KiB unless told otherwise; webhooks have a few.
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, read_bufsize=8_192)
            await runner.setup()
            await web.SockSite(runner, _listener(), backlog=4096).start()
            port = hooks = runner.addresses[0][1]
            if (binding := settings.get("binding", "aiohttp")) != "aiohttp":
                listener = _listener()
                await stack.enter_async_context(serving(bound(binding, flows), listener))
                hooks = listener.getsockname()[1]
            words = {"tag": tag, "ready": port, "hooks": hooks, "process": os.getpid()}
            os.write(1, json.dumps(words).encode() + b"\n")
            await stop.wait()
            await runner.cleanup()


def main(settings: Mapping[str, Any], tag: str) -> None:
    """Run the engine until SIGTERM."""
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.get("log_level", "WARNING"),
        format=f"%(asctime)s {tag} %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    if "next_version" in settings:
        become_next(settings["next_version"], settings["store"])
    asyncio.run(_run(settings, tag))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), "alone")
