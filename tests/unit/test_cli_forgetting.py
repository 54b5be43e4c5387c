"""The commands that delete, encrypt anew, export and count: what they do, print and refuse."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet

from leanflow.testing import FakeClock
from leanflow_adapters.cli._app import app
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import deliver, engine, recorder
from tests.support.lean import Lean, webhook

STORE = ("--store", "sqlite:///flows.db", "--app", "app")
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SHOP = f"""
from leanflow import LeanFlow
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.sqlite import SQLiteStore

def flows(keys):
    store = EncryptedStore(SQLiteStore("flows.db"), keys=keys)
    lean = LeanTransport(client_id="shop", client_secret="hidden", base_url="http://127.0.0.1:1", auth_url="http://127.0.0.1:1")
    return LeanFlow(store=store, transport=lean, webhook_secrets=["hidden"], app="app")

def both():
    return flows([{NEW!r}, {OLD!r}])

def new():
    return flows([{NEW!r}])
"""


def run(*arguments: str, says: str | None = None) -> Result:
    """Run the command line as a shell does."""
    result = CliRunner().invoke(app, arguments, prog_name="leanflow", input=says)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def told(*arguments: str) -> Any:
    """Run a command and return the JSON that it printed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in a directory with a module `shop`."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    sys.modules.pop("shop", None)


async def _filled(path: Path, keys: tuple[str, ...]) -> list[str]:
    clock = FakeClock(datetime.now(UTC) - timedelta(days=40))
    lean = Lean(clock)
    store = EncryptedStore(SQLiteStore(path), keys=keys) if keys else SQLiteStore(path)
    async with engine(store, lean, clock, handlers=recorder().handlers) as flows:
        old = await flows.request("accounts", entity_id="old", customer_id="person")
        clock.advance(timedelta(seconds=1))  # ids are in the order of time
        lean.will("bad", "CONSENT_EXPIRED")
        await flows.request("accounts", entity_id="bad")
        clock.advance(timedelta(days=30))
        young = await flows.request("accounts", entity_id="young", customer_id="person", reference="user-17")
        clock.advance(timedelta(seconds=1))
        lean.will("live", "reconnect")
        live = await flows.request("accounts", entity_id="live")
        await deliver(flows, webhook("entity.created", {"id": "young", "customer_id": "person"}, event_id="1"))
        return [old.id, young.id, live.id]


@pytest.fixture
def ids(here: Path) -> list[str]:
    """Fill the store; give the ids of an old, a young and a live request."""
    return asyncio.run(_filled(here / "flows.db", ()))


def test_counts_lists_and_exports(ids: list[str]) -> None:
    """How many are in each state; which are how old, and failed how; and one whole."""
    counts = told("counts", *STORE, "--json")
    assert {state: count for state, count in counts.items() if count} == {
        "fetched": 2, "failed": 1, "reconnect_required": 1,
    }  # fmt: skip
    assert "reconnect_required" in run("counts", *STORE).stdout
    listed = told("list", *STORE, "--older-than", "20d", "--json")
    assert [request["entity_id"] for request in listed] == ["old", "bad"]
    [failed] = told("list", *STORE, "--failure", listed[1]["failure"]["code"], "--older-than", "20d", "--json")
    assert failed["entity_id"] == "bad"
    behind = told("list", *STORE, "--after", ids[0], "--limit", "2", "--json")
    assert [request["entity_id"] for request in behind] == ["bad", "young"]
    exported = told("export", *STORE, ids[1])
    assert exported == told("show", *STORE, "--json", ids[1])
    assert "user-17" not in json.dumps(exported)
    assert "user-17" in run("export", *STORE, "--personal", ids[1]).stdout
    assert run("export", *STORE, "nobody").exit_code == 1
    assert run("list", *STORE, "--older-than", "yesterday").exit_code == 2


def test_purges_by_age_state_and_results(ids: list[str]) -> None:
    """Old results alone, then old requests in a state, then all old ones; live ones stay."""
    assert told("purge", *STORE, "--older-than", "20d", "--results", "--json") == {"purged": 1}
    assert run("show", *STORE, ids[0]).exit_code == 0
    assert told("purge", *STORE, "--older-than", "20d", "--state", "failed", "--json") == {"purged": 1}
    assert run("purge", *STORE, "--older-than", "20d").stdout == "purged 1 requests\n"
    assert run("purge", *STORE, "--older-than", "20d", "--results").stdout == "purged the results of 0 requests\n"
    assert run("purge", *STORE, "--older-than", "0s").stdout == "purged 1 requests\n"
    assert told("counts", *STORE, "--json")["reconnect_required"] == 1
    for wrong in (("--results", "--state", "failed", "--older-than", "1d"), ("--state", "requested"), ()):
        assert run("purge", *STORE, *wrong).exit_code == 2


def test_erases_after_a_question(ids: list[str]) -> None:
    """It asks, unless told not to; then prints what was deleted."""
    refused = run("erase", *STORE, "--customer", "person", says="n\n")
    assert refused.exit_code == 1
    assert told("counts", *STORE, "--json")["fetched"] == 2
    done = run("erase", *STORE, "--customer", "person", says="y\n")
    assert done.stdout == "erased 2 requests, 4 history, 2 pages, 2 inbox, 4 announcements, 1 webhooks\n"
    assert told("erase", *STORE, "--entity", "live", "--yes", "--json")["cancelled"] == 1
    assert run("erase", *STORE, "--entity", "live", "--yes").stdout == "erased nothing\n"
    assert run("erase", *STORE).exit_code == 2
    assert run("erase", *STORE, "--entity", "a", "--customer", "b").exit_code == 2


def test_encrypts_anew_and_needs_keys_only_for_bodies(here: Path) -> None:
    """Looking and purging need no key; what reads bodies says which it lacks; the engine has them."""
    ids = asyncio.run(_filled(here / "flows.db", (OLD,)))
    assert run("list", *STORE).exit_code == run("show", *STORE, ids[0]).exit_code == 0
    assert run("check", *STORE).exit_code in (0, 1)
    refused = run("erase", *STORE, "--entity", "young", "--yes")
    assert refused.exit_code == 1
    assert "encrypted with key" in refused.output
    assert run("reencrypt", "shop:new").exit_code == 1
    assert told("reencrypt", "shop:both", "--json") == {"looked_at": 11, "written": 3}
    assert run("reencrypt", "shop:new").stdout == "looked at 11, encrypted 0 anew\n"
    assert told("purge", *STORE, "--older-than", "20d", "--results", "--json") == {"purged": 1}
    assert told("erase", "shop:new", "--entity", "young", "--yes", "--json")["webhooks"] == 1
