"""The example on DBOS: the same `decide` in a workflow, against Mockbank, killed in its middle."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from leanflow_adapters.mockbank import MockbankServer, serve

pytest.importorskip("dbos")
EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not part of the wheel")


class Running:
    """The example in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, http: aiohttp.ClientSession, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self._http = http

    async def post(self, path: str, body: Any = None) -> Any:
        """Send something."""
        async with self._http.post(self.url + path, data=json.dumps(body)) as answer:
            assert answer.status in (200, 202), await answer.text()
            return await answer.json(content_type=None)

    async def until(self, request_id: str, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return a request's record as soon as it is so."""
        while True:
            async with self._http.get(f"{self.url}/requests/{request_id}") as answer:
                record: dict[str, Any] | None = await answer.json(content_type=None)
            if record is not None and found(record):
                return record

    async def kill(self) -> None:
        """Kill it."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@asynccontextmanager
async def running(bank: MockbankServer, url: str) -> AsyncIterator[Running]:
    """Start it, and stop it afterwards; Lean's webhooks go there from now on."""
    environment = {
        **os.environ, "LEAN_APP": bank.app, "LEAN_SECRET": bank.client_secret, "LEAN_URL": bank.base_url,
        "LEAN_WEBHOOK_SECRET": bank.webhook_secret, "DBOS_URL": url, "PORT": "0",
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-m", "examples.dbos_flow"]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=EXAMPLES.parent, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = b""
        while not (port := re.search(rb"listening on (\d+)", line)):
            line = await process.stdout.readline()
            assert line, "it ended"
        async with aiohttp.ClientSession() as http:
            one = Running(process, http, int(port[1]))
            bank.webhook_url = f"{one.url}/webhooks"
            yield one
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_loop_runs_inside_dbos_and_survives_a_kill(tmp_path: Path) -> None:
    """Asked for, prompted, killed, recovered by DBOS, reconnected, fetched: once, with the bank's own data."""
    url = f"sqlite:///{tmp_path}/dbos.sqlite"
    async with serve() as bank:
        entity_id = bank.connect("user-1", username="mockbank_user_3")
        bank.expire_session(entity_id)
        async with running(bank, url) as first:
            request_id = (await first.post("/requests", {"entity_id": entity_id}))["id"]
            await first.until(request_id, lambda record: record["state"] == "reconnect_required")
            await first.post(f"/requests/{request_id}/prompt")
            record = await first.until(request_id, lambda record: record["state"] == "awaiting_user")
            await first.kill()
        async with running(bank, url) as second:
            assert bank.user_types(record["reconnect_id"], "1111").status == "SUCCESS"
            record = await second.until(request_id, lambda record: record["state"] == "fetched")
    assert record["round"] == 1
    assert "failure" not in record
