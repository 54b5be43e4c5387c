"""The commands that delete, encrypt anew, export and count: what they do, print and refuse."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from leanflow.testing import FakeClock
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.command import run, told
from tests.support.engine import deliver, engine, recorder
from tests.support.lean import Lean, webhook

STORE = ("--store", "sqlite:///flows.db", "--app", "app")
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SHOP = f"""
from leanflow import LeanFlow
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.sqlite import SQLiteStore

def flows(keys, lost=()):
    store = EncryptedStore(SQLiteStore("flows.db"), keys=keys, lost=lost)
    lean = LeanTransport(client_id="shop", client_secret="hidden", base_url="http://127.0.0.1:1", auth_url="http://127.0.0.1:1")
    return LeanFlow(store=store, transport=lean, webhook_secrets=["hidden"], app="app")

def both():
    return flows([{NEW!r}, {OLD!r}])

def new():
    return flows([{NEW!r}])

def without_the_old():
    return flows([{NEW!r}], lost=[{EncryptedStore(SQLiteStore("flows.db"), keys=[OLD]).newest!r}])
"""


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
    old = ("--older-than", "20d", "--yes")
    assert told("purge", *STORE, *old, "--results", "--json") == {"purged": 1}
    assert run("show", *STORE, ids[0]).exit_code == 0
    assert told("purge", *STORE, *old, "--state", "failed", "--json") == {"purged": 1}
    assert run("purge", *STORE, *old).stdout.startswith("purged 1 requests of app 'app', sandbox, uae, ended before ")
    assert run("purge", *STORE, *old, "--results").stdout.startswith("purged the results of 0 requests of app 'app'")
    assert told("purge", *STORE, "--older-than", "0h", "--yes", "--json") == {"purged": 1}
    assert told("counts", *STORE, "--json")["reconnect_required"] == 1
    for wrong in (("--results", "--state", "failed", "--older-than", "1d"), ("--state", "requested"), ()):
        assert run("purge", *STORE, *wrong, "--yes").exit_code == 2


def test_show_tells_of_purged_results(here: Path) -> None:
    """Of those that were there, encrypted or not; and in which zone its times are."""
    ids = asyncio.run(_filled(here / "flows.db", (OLD,)))
    assert run("purge", *STORE, "--older-than", "20d", "--results", "--yes").exit_code == 0
    assert run("show", *STORE, ids[0]).stdout.endswith("\n  all times are UTC\n  its results were purged\n")
    for kept in ids[1:]:
        assert run("show", *STORE, kept).stdout.endswith("\n  all times are UTC\n")
    assert run("show", "shop:without_the_old", ids[1]).stdout.endswith("\n  all times are UTC\n")


def test_purging_asks_first(ids: list[str]) -> None:
    """It says how many, whose, and before which time; without an answer nothing is deleted."""
    time = ("--older-than", f"{datetime.now(UTC) - timedelta(days=20):%Y-%m-%dT%H:%M:%SZ}")
    moment = time[1].replace("T", " ")
    for options, what in (
        ((), "2 requests"),
        (("--state", "failed"), "1 requests"),
        (("--results",), "the results of 1 requests"),
    ):
        asked = run("purge", *STORE, *time, *options, says="n\n")
        assert asked.exit_code == 1
        assert asked.stderr.startswith(
            f"Delete {what} of app 'app', sandbox, uae, ended before {moment}, for ever? [y/N]: "
        )
    assert run("purge", *STORE, *time).exit_code == 1  # nobody is there to answer
    assert told("counts", *STORE, "--json")["fetched"] == 2
    done = run("purge", *STORE, *time, says="y\n")
    assert done.stdout == f"purged 2 requests of app 'app', sandbox, uae, ended before {moment}\n"


def test_what_was_renewed_is_counted_by_its_end(here: Path) -> None:
    """As it is purged: not by its renewal."""

    async def renewed() -> None:
        clock = FakeClock(datetime.now(UTC) - timedelta(days=40))
        lean = Lean(clock)
        lean.will("bad", "CONSENT_EXPIRED")
        async with engine(SQLiteStore(here / "flows.db"), lean, clock) as flows:
            failed = await flows.request("accounts", entity_id="bad")
            clock.advance(timedelta(days=30))
            await flows.renew(failed.id)

    asyncio.run(renewed())
    asked = run("purge", *STORE, "--older-than", "20d", says="y\n")
    assert asked.stderr.startswith("Delete 1 requests")
    assert asked.stdout.startswith("purged 1 requests")


def test_no_one_purges_by_minutes(ids: list[str]) -> None:
    """Whoever writes 6m means months: it is refused, with a way to say it; a time may be as late as one likes."""
    for text, unit in (("6m", "m is minutes"), ("30s", "s is seconds")):
        refused = run("purge", *STORE, "--older-than", text, "--yes")
        assert refused.exit_code == 2
        assert f"{unit}: write 180d" in refused.stderr
    assert told("counts", *STORE, "--json")["fetched"] == 2
    assert told("purge", *STORE, "--older-than", "4w", "--yes", "--json") == {"purged": 2}
    now = datetime.now(UTC).isoformat()
    assert told("purge", *STORE, "--older-than", now, "--yes", "--json") == {"purged": 1}


def test_erases_after_a_question(ids: list[str]) -> None:
    """It asks, unless told not to; then prints what was deleted."""
    refused = run("erase", *STORE, "--customer", "person", says="n\n")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Delete everything of customer person of app 'app', sandbox, uae, for ever? [y/N]")
    assert told("counts", *STORE, "--json")["fetched"] == 2
    done = run("erase", *STORE, "--customer", "person", says="y\n")
    assert done.stdout == (
        "erased 2 requests, 4 history, 2 pages, 2 inbox, 4 announcements, 1 webhooks"
        " of customer person of app 'app', sandbox, uae\n"
    )
    assert told("erase", *STORE, "--entity", "live", "--yes", "--json")["cancelled"] == 1
    assert run("erase", *STORE).exit_code == 2
    both = run("erase", *STORE, "--entity", "a", "--customer", "b")
    assert both.exit_code == 2
    assert "name one of them" in both.stderr


def test_erasing_nobody_is_no_success(ids: list[str]) -> None:
    """Exit status 1, with what may be wrong: the wrong kind of id, or the wrong application."""
    nobody = run("erase", *STORE, "--customer", "user-18", "--yes")
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert nobody.stderr == (
        "Error: there is nothing of customer user-18 of app 'app', sandbox, uae: --customer takes Lean's id, not your"
        " reference\n"
    )
    as_json = run("erase", *STORE, "--entity", "user-18", "--yes", "--json")
    assert as_json.exit_code == 1
    assert not any(json.loads(as_json.stdout).values())
    assert run("erase", "--store", STORE[1], "--entity", "young", "--yes").stderr == "app 'app', sandbox, uae\n"


def test_encrypts_anew_and_needs_keys_only_for_bodies(here: Path) -> None:
    """Looking and purging need no key; what reads bodies says which it lacks; the engine has them."""
    ids = asyncio.run(_filled(here / "flows.db", (OLD,)))
    assert run("list", *STORE).exit_code == run("show", *STORE, ids[0]).exit_code == 0
    assert run("check", *STORE).exit_code in (0, 1)
    refused = run("erase", *STORE, "--entity", "young", "--yes")
    assert refused.exit_code == 1
    assert "encrypted with key" in refused.output
    assert run("reencrypt", "shop:new").exit_code == 1
    assert told("reencrypt", "shop:both", "--json") == {"looked_at": 11, "written": 3, "unreadable": 0}
    assert run("reencrypt", "shop:new").stdout == "looked at 11, encrypted 0 anew\n"
    assert told("purge", *STORE, "--older-than", "20d", "--results", "--yes", "--json") == {"purged": 1}
    assert told("erase", "shop:new", "--entity", "young", "--yes", "--json")["webhooks"] == 1


def test_says_what_cannot_be_decrypted(here: Path) -> None:
    """With a key that is given as lost both commands do what can be done, and say how much is left."""
    asyncio.run(_filled(here / "flows.db", (OLD,)))
    assert run("erase", "shop:new", "--entity", "young", "--yes").exit_code == 1
    erased = run("erase", "shop:without_the_old", "--entity", "young", "--yes")
    assert erased.stdout.startswith("erased 1 requests, 2 history, 1 pages, 1 inbox, 2 announcements of entity young")
    assert erased.stderr == "left 1 webhooks and announcements that cannot be decrypted\n"
    again = run("erase", "shop:without_the_old", "--entity", "young", "--yes", "--json")
    assert (again.exit_code, json.loads(again.stdout)["unreadable"]) == (1, 1)
    done = run("reencrypt", "shop:without_the_old").stdout
    assert done == "looked at 8, encrypted 0 anew, left 2 that cannot be decrypted\n"
