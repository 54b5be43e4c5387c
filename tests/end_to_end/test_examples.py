"""The examples do what they say, over real sockets where they have some."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from leanflow.mockbank import Mockbank
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.mockbank import serve

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not part of the wheel")


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def _call(session: aiohttp.ClientSession, method: str, url: str, body: Any = None) -> Any:
    async with session.request(method, url, json=body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_the_aiohttp_backend_gets_its_data_through_a_reconnect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example's front end gets a prompt, the user types the OTP, and the handler gets the transactions."""
    clock = SystemClock()
    bank = Mockbank(now=clock.now())
    entity_id = bank.connect("user-17")
    bank.expire_session(entity_id)
    async with serve(bank, clock=clock) as server, aiohttp.ClientSession() as session:
        env = {
            "LEAN_APP": bank.app,
            "LEAN_SECRET": bank.client_secret,
            "LEAN_WEBHOOK_SECRET": bank.webhook_secret,
            "LEAN_URL": server.base_url,
            "STORE": f"sqlite:///{tmp_path}/flows.db",
        }
        runner = web.AppRunner(_example("aiohttp_backend").make_app(env), shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            server.webhook_url = f"{url}/lean/webhooks"
            wanted = {
                "entity_id": entity_id,
                "account_id": bank.accounts_of(entity_id)[0],
                "customer_id": bank.customer_of(entity_id),
                "reference": "user-17",
            }
            asked = await _call(session, "POST", f"{url}/requests", wanted)
            assert asked["state"] == "reconnect_required"
            prompt = await _call(session, "POST", f"{url}/requests/{asked['id']}/prompt")
            assert prompt["reconnect"]["access_token"]
            outcome = server.user_types(prompt["reconnect"]["reconnect_id"], "1111")
            said = {"payload": outcome.payload(), "number": prompt["number"]}
            await _call(session, "POST", f"{url}/requests/{asked['id']}/callback", said)
            async with asyncio.timeout(10):
                while "transactions for user-17" not in (printed := capsys.readouterr().out):
                    await _call(session, "GET", f"{url}/requests/{asked['id']}")
            assert not printed.startswith("0 ")
            assert (await _call(session, "GET", f"{url}/requests/{asked['id']}"))["state"] == "fetched"
        finally:
            await runner.cleanup()


def test_reconnect_logic_is_tested_without_network_or_waiting() -> None:
    """The example is a test module that passes, in a pytest of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "reconnect_in_a_test.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=EXAMPLES.parent, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
