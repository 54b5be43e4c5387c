"""Three ways into Mockbank, one behaviour: in this process, on a port inside a test, and as a command in a shell."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import aiohttp
import pytest
from aiohttp import web

from leanflow._call import Call, Reply
from leanflow.errors import CallFailed
from leanflow.mockbank import Mockbank, control
from leanflow_adapters.mockbank import HandClock, MockbankTransport, load_scenario, serve

SCENARIO = """
faults = [
  { effect = "failed", code = "BANK_MAINTENANCE", entity_id = "anna", skip = 1 },
  { effect = "slow", seconds = 3, on = "customers" },
  { effect = "http", status = 429, retry_after = 7, on = "banks" },
  { effect = "truncated", on = "refreshes" },
  { effect = "cut", on = "events" },
]
disturbances = [
  { types = ["entity.updated"], copies = 1, reverse = true },
  { types = ["results.ready"], drop = true, times = 1 },
  { types = ["entity.reconnected"], reconnect_id = "wrong", besides = true },
]
paces = [ { model = "results", progress = { polls = 1 } } ]
storm = { seed = 6, weight = 8, only = ["extra", "status", "failed", "forgeries", "nanoseconds", "without_event_id"] }
timed = [
  { at = "00:10:00", do = "expire_session", entity_id = "anna" },
  { at = "00:20:00", do = "revoke_consent", entity_id = "bob" },
  { at = "00:30:00", do = "calm" },
]

[settings]
seed = 11
auth = "app_token"
app = "0b0e4a5c-0000-4000-8000-00000000000b"

[[connect]]
app_user_id = "anna"

[[connect]]
app_user_id = "bob"
username = "mockbank_user_3"
"""

APP = {"lean-app-token": "0b0e4a5c-0000-4000-8000-00000000000b"}
Ask = Callable[[str, str, dict[str, str]], Awaitable[Any]]
Told = Callable[[str, dict[str, Any]], Awaitable[Any]]


class Way:
    """One way in: what can be done through it, and what it has sent."""

    def __init__(self, ask: Ask, tell: Told, webhooks: list[Any]) -> None:
        self.ask = ask
        self.tell = tell
        self.webhooks = webhooks


async def _transcript(way: Way) -> list[Any]:
    """Do the same through any way in; return all that was seen, webhooks at the moments at which they came."""
    seen: list[Any] = []

    async def look(method: str, path: str, **query: str) -> Any:
        seen.append(await way.ask(method, path, query))
        return seen[-1]

    state = await way.tell("state", {})
    anna, bob = (one["entity_id"] for one in state["entities"])
    for _ in range(3):
        await look("GET", "/data/v2/accounts", entity_id=anna)
    for kind in ("/banks/v1", "/banks/v1", "/nowhere"):
        await look("GET", kind)
    for path in ("/events/v1", "/events/v1"):
        await look("GET", path, page="0", size="5")
    await look("GET", "/data/v2/refreshes", entity_id=anna)
    held = await look("GET", "/data/v2/identity", entity_id=anna, **{"async": "true"})
    for minutes in (5, 6, 10, 10):
        seen.append(await way.tell("advance", {"seconds": minutes * 60}))
        for entity in (anna, bob):
            await look("GET", "/data/v2/accounts", entity_id=entity)
        for waiting in (await way.tell("reconnects", {}))["reconnects"][:1]:
            seen.append(await way.tell("otp", {"reconnect_id": waiting, "otp": "1111"}))
            await look("GET", f"/data/v2/results/{waiting}")
    if isinstance(held, list) and held[0] == 202:
        await look("GET", f"/data/v2/results/{json.loads(held[1])['results_id']}")
    seen.append(await way.tell("advance", {"seconds": 4 * 3600}))
    seen.append(await way.tell("armed", {}))
    return [*seen, *way.webhooks]


@asynccontextmanager
async def _receiving(webhooks: list[Any]) -> AsyncIterator[str]:
    """Take webhooks on a free port; every third is refused."""

    async def take(request: web.Request) -> web.Response:
        status = _status(webhooks)
        webhooks.append([request.headers.get("lean-signature"), (await request.read()).decode()])
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def _status(webhooks: list[Any]) -> int:
    return 503 if len(webhooks) % 3 == 2 else 200


async def _in_process(file: Path) -> list[Any]:
    webhooks: list[Any] = []
    clock = HandClock()
    bank = Mockbank.from_scenario(load_scenario(file), clock.now())

    async def receive(headers: Mapping[str, str], raw: bytes) -> Reply:
        status = _status(webhooks)
        webhooks.append([headers.get("lean-signature"), raw.decode()])
        return Reply(status=status)

    lean = MockbankTransport(bank, clock, auth="app_token", receive=receive)

    async def ask(method: str, path: str, query: dict[str, str]) -> Any:
        try:
            answer = await lean.send(Call(method=method, path=path, query=query))
        except CallFailed:
            return None
        return [answer.status, answer.body.decode()]

    async def tell(command: str, args: dict[str, Any]) -> Any:
        if command == "advance":
            end = clock.now() + timedelta(seconds=args["seconds"])
            await lean.tick()
            while (due := lean.next_due()) is not None and due <= end:
                clock.advance(due - clock.now())
                await lean.tick()
            clock.advance(end - clock.now())
            return {"now": clock.now().isoformat()}
        told = control(bank, command, args, clock.now())
        await lean.tick()
        return told

    return await _transcript(Way(ask, tell, webhooks))


async def _over_http(base_url: str, webhooks: list[Any]) -> list[Any]:
    def get(url: str) -> Any:
        """Make one call. Not with aiohttp: it repeats by itself a GET that was cut."""
        try:
            with urlopen(Request(url, headers=APP), timeout=10) as answer:  # noqa: S310 - loopback
                return [answer.status, answer.read().decode()]
        except HTTPError as error:
            with error:
                return [error.code, error.read().decode()]
        except (OSError, HTTPException):
            return None

    async with aiohttp.ClientSession() as http:

        async def ask(_: str, path: str, query: dict[str, str]) -> Any:
            return await asyncio.to_thread(get, f"{base_url}{path}?{urlencode(query)}")

        async def tell(command: str, args: dict[str, Any]) -> Any:
            async with http.post(f"{base_url}/_mockbank/{command}", json=args) as answer:
                told = await answer.json()
            async with http.post(f"{base_url}/_mockbank/settle", json={}) as answer:
                await answer.read()
            return told

        return await _transcript(Way(ask, tell, webhooks))


async def _on_a_port(file: Path) -> list[Any]:
    webhooks: list[Any] = []
    clock = HandClock()
    bank = Mockbank.from_scenario(load_scenario(file), clock.now())
    async with _receiving(webhooks) as url, serve(bank, clock=clock, webhook_url=url) as server:
        return await _over_http(server.base_url, webhooks)


async def _in_a_shell(file: Path) -> list[Any]:
    webhooks: list[Any] = []
    command = ["-m", "leanflow_adapters.cli", "mockbank", "--port", "0", "--clock", "hand", "--scenario", str(file)]
    async with _receiving(webhooks) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, "--webhook-url", url, "--json", stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            told = json.loads(await process.stdout.readline())
            return await _over_http(told["base_url"], webhooks)
        finally:
            process.terminate()
            await process.communicate()
            assert process.returncode == 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a scenario file."""
    path = tmp_path / "bad-day.toml"
    path.write_text(SCENARIO)
    return path


async def test_the_same_scenario_does_the_same_whichever_way_it_is_reached(file: Path) -> None:
    """One transcript of answers, commands and webhooks, three ways, byte for byte."""
    here, port, shell = await _in_process(file), await _on_a_port(file), await _in_a_shell(file)
    for number, (one, two, three) in enumerate(zip(here, port, shell, strict=False)):
        assert one == two == three, number
    assert len(here) == len(port) == len(shell) > 35
    text = json.dumps(here)
    assert all(word in text for word in ("BANK_MAINTENANCE", "RATE_LIMIT_EXCEEDED", "RECONNECT_REQUIRED", "new_field"))
    assert None in here, "a call was cut"
