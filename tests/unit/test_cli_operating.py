"""The commands with which an operator mends: announcements that nobody took, and single requests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from leanflow import Change, Handlers, LeanFlow, Policy, State
from leanflow.testing import FakeClock
from leanflow_adapters.cli import _announcements
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.command import run, told
from tests.support.engine import engine
from tests.support.lean import Lean

STORE = ("--store", "sqlite:///flows.db")
ONCE = Policy(announce_tries=1)
SHOP = """
from leanflow import Handlers, LeanFlow, State
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.sqlite import SQLiteStore

nowhere = "http://127.0.0.1:1"
lean = LeanTransport(client_id="shop", client_secret="hidden", base_url=nowhere, auth_url=nowhere)
handlers = Handlers()
store = SQLiteStore("flows.db")
flows = LeanFlow(store=store, transport=lean, webhook_secrets=["hidden"], app="app", handlers=handlers)

@handlers.on(State.fetched, name="mailer")
def mail(change, flows):
    raise AssertionError("the command works on nothing")
"""


@attrs.frozen
class Shop:
    """A store with three fetched requests, a failed one and one that waits for its user.

    Attributes:
        fetched: of each, `mailer` and `ledger` raised at its announcement.
        failed: for which a new request may be made.
        live: that waits.
    """

    clock: FakeClock
    lean: Lean
    path: Path
    fetched: list[str]
    failed: str
    live: str

    def engine(self, *mended: str) -> LeanFlow:
        """Return an engine on the store, some of whose handlers are mended."""
        handlers = Handlers()
        for name in ("mailer", "ledger"):

            @handlers.on(State.fetched, name=name)
            async def handle(change: Change, _flows: LeanFlow, name: str = name) -> None:
                if name not in mended:
                    raise OSError("not today")
                self.mailed.append(change.request.id)

        return engine(SQLiteStore(self.path), self.lean, self.clock, handlers=[handlers], policy=ONCE)

    mailed: list[str] = attrs.field(factory=list)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Stand in a directory with a module `shop` and its store."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    clock = FakeClock(datetime.now(UTC))
    lean = Lean(clock)
    lean.will("bad", "CONSENT_EXPIRED")
    lean.will("asleep", "reconnect")
    made = Shop(clock, lean, tmp_path / "flows.db", [], "", "")

    async def fill() -> Shop:
        async with made.engine() as flows:
            fetched = []
            for number in range(3):
                fetched.append((await flows.request("accounts", entity_id=f"e{number}")).id)
                clock.advance(timedelta(seconds=1))
            failed = await flows.request("accounts", entity_id="bad")
            live = await flows.request("accounts", entity_id="asleep")
            await flows.tick()
            return attrs.evolve(made, fetched=fetched, failed=failed.id, live=live.id)

    yield asyncio.run(fill())
    sys.modules.pop("shop", None)


async def _work(shop: Shop, *mended: str) -> None:
    async with shop.engine(*mended) as flows:
        await flows.tick()


def test_what_nobody_took_is_listed(shop: Shop) -> None:
    """For whom, of what, how often, and what was raised; no payload."""
    rows = told("undelivered", *STORE, "--set-aside", "--json")
    assert {(row["sink"], row["request_id"]) for row in rows} == {
        (sink, one) for sink in ("mailer", "ledger") for one in shop.fetched
    }
    assert all((row["tries"], row["error"], row["set_aside"]) == (1, "OSError", True) for row in rows)
    assert set(rows[0]) == {"sink", "key", "kind", "request_id", "tries", "error", "set_aside", "due_at"}
    lines = [line.split() for line in run("undelivered", "shop:flows").stdout.splitlines()]
    assert [rows[0]["sink"], "change", shop.fetched[0], "1", "OSError", "set", "aside", rows[0]["key"]] in lines
    short = run("undelivered", *STORE, "--app", "app", "--limit", "2")
    assert short.stderr == "there may be more: --limit 4\n"


def test_what_was_set_aside_is_delivered_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by its key, or all of a sink, however many of others stand before them; the workers do it."""
    monkeypatch.setattr(_announcements, "_AT_ONCE", 1)
    key = next(row["key"] for row in told("undelivered", *STORE, "--json") if row["sink"] == "mailer")
    assert told("redeliver", *STORE, "--sink", "mailer", "--key", key, "--json") == {"redelivered": 1}
    assert run("redeliver", *STORE, "--sink", "mailer", "--key", key).exit_code == 1
    done = run("redeliver", "shop:flows", "--sink", "mailer")
    assert (done.exit_code, done.stdout) == (0, "2 announcements are due again for mailer\n")
    again = run("redeliver", *STORE, "--sink", "mailer")
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (1, "Error: nothing is set aside for mailer")
    asyncio.run(_work(shop, "mailer"))
    assert sorted(shop.mailed) == sorted(shop.fetched)
    assert {row["sink"] for row in told("undelivered", *STORE, "--json")} == {"ledger"}
    asyncio.run(_work(shop, "ledger"))
    assert run("redeliver", *STORE, "--sink", "ledger").exit_code == 0
    asyncio.run(_work(shop, "ledger"))
    assert run("undelivered", *STORE).stderr.endswith("all is delivered\n")


def test_a_sink_that_is_gone_is_forgotten(shop: Shop) -> None:
    """After a question; not one that the engine serves."""
    served = run("drop-sink", "shop:flows", "--sink", "mailer", "--yes")
    assert served.exit_code == 1
    assert "shop:flows serves mailer" in served.stderr
    refused = run("drop-sink", "shop:flows", "--sink", "ledger", says="n\n")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Drop all that ledger of app 'app', sandbox, uae has not got, for ever? [y/N]")
    assert len(told("undelivered", *STORE, "--json")) == 6
    done = run("drop-sink", "shop:flows", "--sink", "ledger", says="y\n")
    assert done.stdout == "forgot ledger, and 3 announcements that were kept for it\n"
    assert {row["sink"] for row in told("undelivered", *STORE, "--json")} == {"mailer"}
    assert run("drop-sink", *STORE, "--sink", "ledger", "--yes").exit_code == 1
    assert run("drop-sink", *STORE, "--sink", "wake", "--yes").exit_code == 1
    assert told("drop-sink", *STORE, "--sink", "mailer", "--yes", "--json") == {"dropped": 3}


def test_check_names_the_cure(shop: Shop) -> None:
    """As commands that are there."""
    said = run("check", *STORE)
    assert said.exit_code == 1
    [line] = [line for line in said.stdout.splitlines() if "announcements to mailer" in line]
    assert line.startswith("BAD  announcements to mailer: 0 wait, 3 are set aside: ")
    for command in ("undelivered --set-aside", "redeliver --sink mailer", "drop-sink --sink mailer"):
        assert f"`leanflow {command}`" in line


@pytest.mark.parametrize("source", [("shop:flows",), STORE])
def test_a_request_is_cancelled(shop: Shop, source: tuple[str, ...]) -> None:
    """A live one; once more changes nothing, and one that has ended is refused."""
    assert run("cancel", *source, shop.live).stdout == f"cancelled {shop.live}\n"
    assert told("cancel", *source, shop.live, "--json") == {"id": shop.live, "state": "cancelled"}
    assert told("counts", *STORE, "--json")["cancelled"] == 1
    refused = run("cancel", *source, shop.failed)
    assert refused.exit_code == 1
    assert "cannot cancel request" in refused.stderr
    assert run("cancel", *source, "nobody").exit_code == 1


@pytest.mark.parametrize("source", [("shop:flows",), STORE])
def test_a_request_is_made_anew(shop: Shop, source: tuple[str, ...]) -> None:
    """One that failed; it is placed by the workers and by nobody else, and once more is the same."""
    made = told("renew", *source, shop.failed, "--json")
    assert made["state"] == "requested"
    assert made["id"] != shop.failed
    assert run("renew", *source, shop.failed).stdout == f"renewed by {made['id']}, which is requested\n"
    history = told("export", *STORE, made["id"])["history"]
    assert [row["tag"] for row in history] == ["created"]
    asyncio.run(_work(shop))
    assert told("export", *STORE, made["id"])["request"]["state"] == "fetched"
    refused = run("renew", *source, shop.live)
    assert refused.exit_code == 1
    assert "only expired and failed requests are renewed" in refused.stderr
