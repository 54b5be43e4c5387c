"""The command line as processes: how it starts, serves, works and stops."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from leanflow import sign
from tests.support.processes import PATIENCE

COMMAND = (sys.executable, "-m", "leanflow_adapters.cli")

ENGINE = """
import time
from leanflow import Handlers, LeanFlow
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport

handlers = Handlers()

@handlers.on_webhook("customer.renamed", name="heard")
def heard(event, flows):
    print("heard", event.type, flush=True)

@handlers.on_webhook("handler.fails", name="fails")
def fails(event, flows):
    raise ValueError("not today")

@handlers.on_webhook("handler.hangs", name="hangs")
def hangs(event, flows):
    print("hangs", flush=True)
    time.sleep(1000)

def make(**more):
    nowhere = "http://127.0.0.1:1"
    lean = LeanTransport(client_id="shop", client_secret="s", base_url=nowhere, auth_url=nowhere)
    store = open_store("sqlite:///flows.db")
    return LeanFlow(store=store, transport=lean, webhook_secrets=["secret"], handlers=handlers, app="shop", **more)

def idle():
    return make(workers=0)

def blocking():
    from leanflow import blocking
    return blocking.LeanFlow.over(idle())

@handlers.on_webhook("customer.counted", name="counted")
def counted(event, flows):
    print(type(flows).__module__, "counted", sum(flows.counts().values()), flush=True)
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return a directory with a module `shop`."""
    (tmp_path / "shop.py").write_text(ENGINE)
    return tmp_path


@contextmanager
def running(here: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command until the block ends."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read until a line matches."""
    assert process.stdout is not None
    heard = []
    for line in process.stdout:
        heard.append(line)
        found = re.search(pattern, line)
        if found is not None:
            return found
    pytest.fail(f"never said {pattern!r}:\n{''.join(heard)}")


def stop(process: subprocess.Popen[str]) -> int:
    """Send SIGTERM; return the exit status."""
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    return process.returncode


def ask(url: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Make one HTTP call; return status and body."""
    try:
        with urlopen(Request(url, data=body, headers=dict(headers or {})), timeout=PATIENCE) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def webhook(kind: str) -> bytes:
    """Return a webhook's raw body."""
    return json.dumps({"type": kind, "payload": {}, "message": "", "event_id": f"event of {kind}"}).encode()


def test_serve_takes_webhooks_in_and_hands_them_to_handlers(here: Path) -> None:
    """A signed one is answered 200 and handled; a forged one 401; /health is well; SIGTERM ends it in order."""
    with running(here, "serve", "shop:make", "--port", "0") as process:
        url = said(process, r"(http://127\.0\.0\.1:\d+)/lean/webhooks")[1]
        raw = webhook("customer.renamed")
        assert ask(f"{url}/lean/webhooks", raw, headers={"lean-signature": sign("a guess", raw)})[0] == 401
        assert ask(f"{url}/lean/webhooks", raw, headers={"lean-signature": sign("secret", raw)})[0] == 200
        said(process, "heard customer.renamed")
        status, health = ask(f"{url}/health")
        assert status == 200
        assert json.loads(health)["worker_alive"] is True
        assert stop(process) == 0


def test_a_process_may_take_webhooks_in_and_leave_the_work_to_others(here: Path) -> None:
    """With --workers 0; /health tells what waits for whom, and since when."""
    with running(here, "serve", "shop:make", "--port", "0", "--workers", "0") as process:
        url = said(process, r"(http://127\.0\.0\.1:\d+)/lean/webhooks")[1]
        raw = webhook("customer.renamed")
        assert ask(f"{url}/lean/webhooks", raw, headers={"lean-signature": sign("secret", raw)})[0] == 200
        health = json.loads(ask(f"{url}/health")[1])
        assert stop(process) == 0
    due = health["sinks"]["heard"].pop("oldest_at")
    assert datetime.fromisoformat(due).tzinfo is not None
    nothing = {"undelivered": 0, "set_aside": 0, "oldest_at": None}
    assert health == {
        "store_reachable": True,
        "worker_alive": False,
        "next_due_at": due,
        "sinks": {
            "heard": {"undelivered": 1, "set_aside": 0},
            "hangs": nothing,
            "counted": nothing,
            "fails": nothing,
            "wake": nothing,
        },
        "dropped": 0,
    }


def test_a_handler_that_fails_is_logged_with_what_it_was_about(here: Path) -> None:
    """Which announcement, how often, what it raised and when it is tried again: in the lines themselves."""
    with running(here, "serve", "shop:make", "--port", "0") as process:
        url = said(process, r"(http://127\.0\.0\.1:\d+/lean/webhooks)")[1]
        raw = webhook("handler.fails")
        assert ask(url, raw, headers={"lean-signature": sign("secret", raw)})[0] == 200
        said(
            process,
            r"WARNING leanflow.outbox: fails did not take an announcement \(ValueError\): will be tried again"
            r" key=.* error=ValueError tries=1 due_at=\"20\S+ \S+Z\"$",
        )


def test_a_handler_that_hangs_holds_up_the_end_no_longer_than_said(here: Path) -> None:
    """A thread cannot be stopped; the process can."""
    with running(here, "serve", "shop:make", "--port", "0", "--stop-within", "1") as process:
        url = said(process, r"(http://127\.0\.0\.1:\d+/lean/webhooks)")[1]
        raw = webhook("handler.hangs")
        assert ask(url, raw, headers={"lean-signature": sign("secret", raw)})[0] == 200
        said(process, "^hangs")
        assert stop(process) == 1


def test_worker_works_until_it_is_told_to_stop(here: Path) -> None:
    """SIGTERM ends it in order."""
    with running(here, "worker", "shop:make") as process:
        said(process, "working for")
        assert stop(process) == 0


def test_a_worker_that_would_do_nothing_is_refused(here: Path) -> None:
    """An engine with workers=0 has none."""
    done = run(here, "worker", "shop:idle")
    assert done.returncode == 1
    assert "workers=0" in done.stderr


def test_a_blocking_engine_of_web_processes_is_worked_for(here: Path) -> None:
    """It is run as the engine that it stands before, with workers if asked; its handlers get what they are used to."""
    with running(here, "serve", "shop:blocking", "--port", "0", "--workers", "1") as process:
        url = said(process, r"(http://127\.0\.0\.1:\d+/lean/webhooks)")[1]
        raw = webhook("customer.counted")
        assert ask(url, raw, headers={"lean-signature": sign("secret", raw)})[0] == 200
        said(process, "leanflow.blocking counted 0")
        assert stop(process) == 0
    with running(here, "worker", "shop:blocking", "--workers", "2") as process:
        said(process, "working for")
        assert stop(process) == 0


def test_a_port_that_is_taken_is_told_in_one_line(here: Path) -> None:
    """No traceback, and before anything is worked on: not even the store was opened."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = run(here, "serve", "shop:make", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (here / "flows.db").exists()


def test_mockbank_serves_and_logs(here: Path) -> None:
    """It tells what a client needs, answers, logs each call, and stops at SIGTERM."""
    with running(here, "mockbank", "--port", "0", "--app", "shop", "--connect", "user-1", "--json") as process:
        first = json.loads(said(process, "^{.*base_url.*}$")[0])
        assert first["app"] == "shop"
        assert json.loads(said(process, "^{.*entity_id.*}$")[0])["customer"] == "user-1"
        status, body = ask(f"{first['base_url']}/banks/v1", headers={"lean-app-token": "shop"})
        assert status == 200
        assert json.loads(body)
        logged: dict[str, Any] = json.loads(said(process, "^{.*banks.*}$")[0])
        assert (logged["call"], logged["http_status"]) == ("GET /banks/v1", 200)
        assert stop(process) == 0


def run(here: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **env},
    )


SETTINGS = """
INSTALLED_APPS = ["orders"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "orders.db"}}
SECRET_KEY = "of tests"
"""
ORDERS = """
from django.db import models

class Order(models.Model):
    reference = models.TextField()
"""


def test_an_engine_of_a_django_project_is_found(here: Path) -> None:
    """Its handlers import models, which need Django set up; what is wrong with that is told in one line."""
    pytest.importorskip("django")
    (here / "settings.py").write_text(SETTINGS)
    (here / "orders").mkdir()
    (here / "orders" / "__init__.py").touch()
    (here / "orders" / "models.py").write_text(ORDERS)
    (here / "orders" / "lean.py").write_text("from orders.models import Order\nfrom shop import make\nflows = make()\n")
    assert run(here, "migrate", "orders.lean:flows", DJANGO_SETTINGS_MODULE="settings").returncode == 0
    counts = run(here, "counts", "orders.lean:flows", "--json", DJANGO_SETTINGS_MODULE="settings")
    assert counts.returncode == 0, counts.stderr
    assert json.loads(counts.stdout)["fetched"] == 0
    wrong = run(here, "counts", "orders.lean:flows", DJANGO_SETTINGS_MODULE="nowhere")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("Error: setting up Django failed: ModuleNotFoundError: No module named 'nowhere'")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_the_command_says_what_to_install(missing: str) -> None:
    """One clear line, exit status 2."""
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom leanflow_adapters.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert done.stderr == f"leanflow: the command line needs {missing}: install leanflow-openbanking[cli]\n"


def test_help_imports_no_driver_and_no_engine(here: Path) -> None:
    """That is what makes it quick: under 150 ms, of which click is a third."""
    code = (
        "import sys\n"
        "from leanflow_adapters.cli import main\n"
        "sys.argv = ['leanflow', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([n for n in ('leanflow', 'rich', 'aiohttp', 'aiosqlite', 'asyncio', 'cattrs') if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_error(here: Path) -> None:
    """As in ``leanflow diagram | head -1``: no traceback."""
    command = f"{sys.executable} -m leanflow_adapters.cli diagram | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout == "stateDiagram-v2\n"
    assert done.stderr == ""
