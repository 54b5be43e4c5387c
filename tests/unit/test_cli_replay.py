"""`leanflow replay`: what it reads, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from leanflow import State
from leanflow.testing import FakeClock, paths
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.command import run
from tests.support.engine import engine
from tests.support.lean import Lean

SHOP = """
from datetime import timedelta
from leanflow import LeanFlow, Policy
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport

def make(**policy):
    nowhere = "http://127.0.0.1:1"
    lean = LeanTransport(client_id="shop", client_secret="hidden", base_url=nowhere, auth_url=nowhere)
    store = open_store("sqlite:///flows.db")
    return LeanFlow(store=store, transport=lean, webhook_secrets=["hidden"], app="app", policy=Policy(**policy))

def hasty():
    return make(user_timeout=timedelta(minutes=3))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in a directory with a module, and a store with a request for each end and one that awaits its user."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])

    async def fill() -> None:
        clock = FakeClock()
        lean = Lean(clock)
        lean.will("asked", "reconnect")
        async with engine(SQLiteStore(tmp_path / "flows.db"), lean, clock) as flows:
            await flows.prompt((await flows.request("accounts", entity_id="asked")).id)
            await flows.request("accounts", entity_id="there")

    asyncio.run(fill())
    yield tmp_path
    sys.modules.pop("shop", None)


def test_rows_in_flight_come_out_the_same(here: Path) -> None:
    """A store's live requests by default, others when named, with exit status 0."""
    said = run("replay", "--store", "sqlite:///flows.db", "--app", "app")
    assert (said.stdout, said.exit_code) == ("replayed 1 histories: 0 come out otherwise\n", 0)
    assert "replayed 2 " in run("replay", "shop:make", "--state", "fetched", "--state", "awaiting_user").stdout


def test_a_policy_that_would_change_them_is_told(here: Path) -> None:
    """The policy is the engine's: what it would have done otherwise is shown, with exit status 1."""
    said = run("replay", "shop:hasty")
    assert said.exit_code == 1
    assert "the record in the end (version 2), probe_at" in said.stdout
    assert "reconnect_required -> awaiting_user" in said.stdout
    assert said.stdout.endswith("replayed 1 histories: 1 come out otherwise\n")


def test_files_are_read(here: Path) -> None:
    """One export, or a list of them; what a changed table would do otherwise is told by file."""
    (here / "one.json").write_text(json.dumps(paths(to=State.expired)[0].export()))
    many = [path.export() for path in paths(to=State.fetched)]
    (here / "many.json").write_text(json.dumps(many))
    said = run("replay", "one.json", "many.json")
    assert (said.stdout, said.exit_code) == (f"replayed {1 + len(many)} histories: 0 come out otherwise\n", 0)
    for history in many:  # as if the table had led elsewhere when they were recorded
        history["history"][-1]["trigger"] = "answered_of_old"
    (here / "many.json").write_text(json.dumps(many))
    said = run("replay", "shop:make", "one.json", "many.json")
    assert said.exit_code == 1
    assert said.stdout.count("many.json: request ") == 10
    assert f"and {len(many) - 10} more; see them with --all" in said.stdout
    assert run("replay", "many.json", "--all").stdout.count("many.json: request ") == len(many)


def test_what_cannot_be_read_is_told_in_one_line(here: Path) -> None:
    """No JSON, no export, no file, and files together with a store."""
    (here / "no.json").write_text("{")
    (here / "other.json").write_text("[1]")
    assert run("replay", "no.json").stderr.startswith("Error: no.json is no JSON")
    assert run("replay", "other.json").stderr.startswith("Error: history: must be what LeanFlow.export gives")
    assert run("replay", "gone.json").stderr == "Error: No such file or directory\n"
    assert "not both" in run("replay", "other.json", "--store", "sqlite:///flows.db").stderr
    assert "Name an engine" in run("replay").stderr
