"""The examples for frameworks that block, under the servers that they are run with, through the whole loop.

Everything is a process of its own, as it is deployed: web processes that fork, and the worker apart from them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
import redis

from leanflow_adapters.mockbank import lean_or_mockbank
from tests.end_to_end.test_examples_web import _walk
from tests.support.processes import PATIENCE, listens, until
from tests.support.servers import free_port

ROOT = Path(__file__).parents[2]
REDIS = os.environ.get("LEANFLOW_REDIS_URL", "redis://127.0.0.1:6379/0")

pytestmark = pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="the examples are not part of the wheel")


@contextmanager
def running(env: Mapping[str, str], log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the block ends: SIGTERM, and it ends in order, before gunicorn's master would kill."""
    with log.open("ab") as output:
        whole = [sys.executable, "-m", *command]
        process = subprocess.Popen(whole, cwd=ROOT, env={**os.environ, **env}, stdout=output, stderr=output)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(PATIENCE) == 0, log.read_text()
        assert time.monotonic() - began < 25
    finally:
        process.kill()
        process.wait()


def until_said(text: str, log: Path) -> None:
    """Wait for a line of a log."""
    until(lambda: text in log.read_text(), log.read_text)


APART = {
    "flask": (
        ("gunicorn", "--preload", "-w", "2", "--threads", "4", "examples.flask_backend:web()"),
        ("leanflow_adapters.cli", "worker", "examples.flask_backend:engine", "--workers", "1"),
    ),
    "django": (
        ("gunicorn", "--preload", "-w", "2", "--threads", "4", "examples.django_backend:application"),
        ("examples.django_backend", "leanflow_worker"),
    ),
}


@pytest.mark.parametrize("framework", APART)
async def test_web_processes_and_a_worker_walk_the_loop(framework: str, tmp_path: Path) -> None:
    """Gunicorn has forked its workers after it loaded the application; the handler is called in the worker alone."""
    web, worker = APART[framework]
    port, logs = free_port(), {name: tmp_path / name for name in ("web", "worker")}
    with lean_or_mockbank({}, f"http://127.0.0.1:{port}/lean/webhooks") as env, ExitStack() as stack:
        bind = ("-b", f"127.0.0.1:{port}")
        process = stack.enter_context(running(env, logs["web"], web[0], *bind, *web[1:]))
        stack.enter_context(running(env, logs["worker"], *worker))
        until(lambda: listens(port) or process.poll() is not None, logs["web"].read_text)
        assert process.poll() is None, logs["web"].read_text()
        until_said("working for", logs["worker"])
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(url) as first, first.get("/") as page:
            cookies = {name: cookie.value for name, cookie in page.cookies.items()}
        headers = {"x-csrftoken": cookies.get("csrftoken", "")}
        async with aiohttp.ClientSession(url, cookies=cookies, headers=headers) as browser:
            await _walk(browser, env)
        until_said("accounts for user-17", logs["worker"])
    assert "accounts for user-17" not in logs["web"].read_text()
    assert "Traceback" not in logs["web"].read_text() + logs["worker"].read_text()


def test_a_celery_task_asks(tmp_path: Path) -> None:
    """One command: Celery's forked children place the request, others do the rest; all end in order."""
    try:
        broker = redis.Redis.from_url(REDIS)
        broker.ping()
    except redis.ConnectionError:
        if os.environ.get("LEANFLOW_REQUIRE_SERVICES") == "1":
            pytest.fail("no Redis; see LEANFLOW_REDIS_URL")
        pytest.skip("no Redis; see LEANFLOW_REDIS_URL")
    queue = f"leanflow-test-{uuid4().hex}"
    env = {**os.environ, "PORT": str(free_port()), "BROKER": REDIS, "QUEUE": queue, "C_FORCE_ROOT": "1"}
    command = [sys.executable, "-m", "examples.celery_app"]
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=150, check=False)
    finally:
        broker.delete(queue, f"_kombu.binding.{queue}")
        broker.close()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the user is wanted: reconnect_required" in done.stdout
    assert "3 accounts for user-17" in done.stdout
    assert "and then: fetched" in done.stdout
    assert "Traceback" not in done.stderr
