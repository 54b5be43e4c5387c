"""The examples for web frameworks, driven over real sockets through the whole loop, as their page drives them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from leanflow_adapters.mockbank import lean_or_mockbank
from tests.support.processes import PATIENCE, listens, until
from tests.support.servers import aiohttp_serving, free_port, hypercorn_serving, uvicorn_serving

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVERS: Mapping[str, Callable[..., AbstractAsyncContextManager[str]]] = {
    "aiohttp": aiohttp_serving,
    "fastapi": uvicorn_serving,
    "litestar": uvicorn_serving,
    "quart": hypercorn_serving,
    "starlette": uvicorn_serving,
}

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not part of the wheel")


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # frameworks look annotations up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("framework", SERVERS)
async def test_the_backend_gets_its_data_through_a_reconnect(
    framework: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page asks and follows, the user types the code, webhooks come by HTTP, the data is there."""
    make_app = _example(f"{framework}_backend").make_app
    port = free_port()
    with lean_or_mockbank({}, f"http://127.0.0.1:{port}/lean/webhooks") as env:
        async with SERVERS[framework](make_app(env), port=port) as url, aiohttp.ClientSession(url) as browser:
            await _walk(browser, env)
    assert re.search(r"^\d+ accounts for user-17$", capsys.readouterr().out, re.MULTILINE)


async def _walk(browser: aiohttp.ClientSession, env: Mapping[str, str]) -> None:
    """Do what page.html does."""
    async with browser.get("/") as page:
        assert env["LEAN_SDK"] in await page.text()
    asked = await _json(browser.post("/accounts"))
    async with browser.get(f"/requests/{asked['id']}", cookies={"user": "somebody-else"}) as refused:
        assert refused.status == 403
    async with browser.get(f"/requests/{asked['id']}/events") as stream:
        assert stream.status == 200, await stream.text()
        told = await _until(stream, "wants_user")
        prompt = await _json(browser.post(f"/requests/{asked['id']}/prompt"))
        assert prompt["reconnect"]["access_token"]
        said = await _types_the_code(env["LEAN_URL"], prompt["reconnect"]["reconnect_id"])
        await _json(
            browser.post(f"/requests/{asked['id']}/callback", json={"number": prompt["number"], "payload": said})
        )
        told = await _until(stream, "end")
    assert told["state"] == "fetched", told
    accounts = await _json(browser.get(f"/accounts/{asked['id']}"))
    assert accounts[0]["name"]
    async with browser.get(f"/accounts/{asked['id']}", cookies={"user": "somebody-else"}) as refused:
        assert refused.status == 404


async def _json(call: Any) -> Any:
    async with call as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def _types_the_code(lean: str, reconnect_id: str) -> Any:
    """Be the user, at the bank; return what the SDK calls back with."""
    async with aiohttp.ClientSession() as session:
        typed = {"reconnect_id": reconnect_id, "otp": "1111"}
        said = await _json(session.post(f"{lean}/_mockbank/otp", json=typed))
    return said.get("callback", said)


async def _until(stream: aiohttp.ClientResponse, field: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while True:
            line = await stream.content.readline()
            assert line, "the stream ended"
            if line.startswith(b"data: "):
                told: dict[str, Any] = json.loads(line[6:])
                if told[field]:
                    return told


def test_one_command_starts_the_backend_and_its_lean() -> None:
    """`python -m examples.fastapi_backend` needs nothing but itself, says where to look, and ends on Ctrl-C."""
    env = {**os.environ, "PORT": str(free_port()), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "examples.fastapi_backend"]
    with subprocess.Popen(command, cwd=EXAMPLES.parent, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "Mockbank plays Lean at http://127.0.0.1:" in process.stdout.readline()
        assert f"Open http://127.0.0.1:{env['PORT']}/" in process.stdout.readline()
        until(lambda: listens(int(env["PORT"])))
        process.send_signal(2)
        assert process.wait(PATIENCE) == 0
