"""Flask under gunicorn with four forked workers, the engine's worker apart: kill -HUP and kill -TERM in the middle."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp

from leanflow import LeanFlow, State
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.sqlite import SQLiteStore
from tests.torture.figures import Run
from tests.torture.lean import SECRET, Lean, Sent

__all__ = ["flask_under_gunicorn"]

_AT_ONCE = 16  # flows
_PATIENCE = 90.0  # seconds without anything done
_ROOT = Path(__file__).resolve().parents[2]


class _Site:
    """The processes, and those who call them: they come again until they are answered."""

    def __init__(self, run: Run, http: aiohttp.ClientSession) -> None:
        run.directory.mkdir(parents=True, exist_ok=True)
        self.directory = run.directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.store, self.kept = run.directory / "flows.db", run.directory / "kept"
        self.pids: set[str] = set()
        self.deliveries: set[asyncio.Task[None]] = set()
        self._http = http

    async def start(self, lean: Lean, *command: str) -> asyncio.subprocess.Process:
        """Start a process."""
        env = {"TORTURE_LEAN": lean.url, "TORTURE_STORE": f"sqlite:///{self.store}", "TORTURE_KEPT": str(self.kept)}
        path = os.pathsep.join([str(_ROOT), str(_ROOT / "adapters")])
        with (self.directory / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", *command, env={**os.environ, **env, "PYTHONPATH": path}, stdout=log, stderr=log
            )

    async def web(self, lean: Lean) -> asyncio.subprocess.Process:
        """Start gunicorn."""
        shape = ("-b", f"127.0.0.1:{self.port}", "-w", "4", "--threads", "4", "--preload")
        return await self.start(lean, "gunicorn", *shape, "tests.torture.flask_app:web()")

    async def post(self, path: str, raw: bytes = b"", headers: dict[str, str] | None = None) -> Any:
        """Send until it is answered 200."""
        while True:
            try:
                async with self._http.post(f"http://127.0.0.1:{self.port}{path}", data=raw, headers=headers) as answer:
                    body = await answer.read()
                    if answer.status == 200:
                        return await answer.json() if path != "/webhook" else body
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(0.05)

    async def listens(self) -> None:
        """Wait until gunicorn has come up: before that SIGTERM ends it out of order."""
        while True:
            try:
                async with self._http.get(f"http://127.0.0.1:{self.port}/"):
                    return
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)

    def deliver(self, sent: Sent) -> None:
        """Deliver a webhook, as Lean does: again and again."""
        task = asyncio.ensure_future(self._deliver(sent))
        self.deliveries.add(task)
        task.add_done_callback(self.deliveries.discard)

    async def _deliver(self, sent: Sent) -> None:
        await self.post("/webhook", sent.raw, sent.headers)
        sent.oks += 1

    async def flow(self, lean: Lean, entity_id: str) -> None:
        """Ask; be the user where one is wanted."""
        asked = await self.post(f"/ask/{entity_id}")
        self.pids.add(asked["pid"])
        if entity_id.startswith("user"):
            prompt = await self.post(f"/prompt/{asked['id']}")
            lean.reconnect(prompt["reconnect_id"])


async def flask_under_gunicorn(run: Run) -> None:
    """Ask for all; reload gunicorn after a third, stop and start it after two; nothing may be missing at the end."""
    sites: list[_Site] = []
    async with (
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=20), connector=aiohttp.TCPConnector(force_close=True)
        ) as http,
        Lean(random.Random(run.seed), lambda sent: sites[0].deliver(sent)) as lean,  # noqa: PLW0108 - made below
    ):
        site = _Site(run, http)
        sites.append(site)
        worker = await site.start(
            lean, "leanflow_adapters.cli", "worker", "tests.torture.flask_app:engine", "--workers", "1"
        )
        servers = [await site.web(lean)]
        try:
            await _disturbed(run, site, lean, servers)
            run.figure.violations += await _missing(run, site, lean)
        finally:
            for process in (worker, servers[-1]):
                if process.returncode is None:
                    process.terminate()
                if await asyncio.wait_for(process.wait(), 40 * run.patience) != 0:
                    run.figure.violations.append(f"a process ended with {process.returncode}")
    run.figure.rounds = run.rounds
    run.figure.kills = 2
    run.figure.notes = {"web processes that answered": len(site.pids), "webhooks": len(lean.sent)}


async def _disturbed(run: Run, site: _Site, lean: Lean, servers: list[asyncio.subprocess.Process]) -> None:
    dice, room = random.Random(run.seed), asyncio.Semaphore(_AT_ONCE)

    async def flow(number: int) -> None:
        async with room:
            await site.flow(lean, f"{dice.choice(('ok', 'pend', 'user'))}-{number}")

    for third in range(3):
        flows = [asyncio.ensure_future(flow(number)) for number in range(third, run.rounds, 3)]
        await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        if third == 1:  # in the middle of the second third
            servers[-1].send_signal(signal.SIGHUP)
        elif third == 2:
            servers[-1].terminate()
            if await asyncio.wait_for(servers[-1].wait(), 40 * run.patience) != 0:
                run.figure.violations.append(f"gunicorn ended with {servers[-1].returncode}")
            servers.append(await site.web(lean))
        await asyncio.gather(*flows)
    while site.deliveries:
        await asyncio.wait(site.deliveries)
    await site.listens()


async def _missing(run: Run, site: _Site, lean: Lean) -> list[str]:
    """Wait until all is fetched and handled; return what is not."""
    transport = LeanTransport(app_token="torture", base_url=lean.url)
    async with LeanFlow(
        store=SQLiteStore(site.store), transport=transport, webhook_secrets=[SECRET], workers=0
    ) as flows:
        before, idle, kept = -1, 0.0, set[str]()
        while idle < _PATIENCE:
            fetched = (await flows.counts())[State.fetched]
            kept = set(site.kept.read_text().split()) if site.kept.exists() else set()
            if fetched == run.rounds == len(kept):
                break
            idle = 0.0 if fetched + len(kept) != before else idle + 0.1
            before = fetched + len(kept)
            await asyncio.sleep(0.1)
        counts = {str(state): number for state, number in (await flows.counts()).items() if number}
    wrong = [] if counts == {"fetched": run.rounds} else [f"{run.rounds} were asked for, and there are {counts}"]
    wrong += [] if len(kept) == run.rounds else [f"{run.rounds - len(kept)} were not handed to the handler"]
    return wrong + [f"webhook {sent.event_id} was never taken" for sent in lean.sent.values() if not sent.oks]
