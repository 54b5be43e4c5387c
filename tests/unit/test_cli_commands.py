"""The commands that look at a store or an engine: what they print, and how they say no."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from leanflow import DataRequest, Handlers, LeanFlow, mermaid
from leanflow._request import Scope
from leanflow.errors import StoreUnavailable
from leanflow.mockbank import Disturbance, Mockbank
from leanflow_adapters.cli._app import COMMANDS
from leanflow_adapters.cli._source import Source
from leanflow_adapters.cli._upkeep import _check
from leanflow_adapters.cli._when import when
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import HandClock, MockbankTransport
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.command import run

SHOP = """
from leanflow import LeanFlow
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport

def make():
    # Nobody listens on port 1.
    lean = LeanTransport(client_id="shop", client_secret="hidden", base_url="http://127.0.0.1:1", auth_url="http://127.0.0.1:1")
    return LeanFlow(store=open_store("sqlite:///flows.db"), transport=lean, webhook_secrets=["hidden"], app="shop")

class Holder:
    flows = make()

number = 3

async def coroutine():
    return make()

def broken():
    raise KeyError("what it lacks")
"""


@attrs.frozen(kw_only=True)
class Shop:
    """A directory with a module and a store of two requests."""

    url: str
    path: Path
    fetched: DataRequest
    waiting: DataRequest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in an empty directory with a module `shop`."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "cracked.py").write_text("import a_module_that_is_nowhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    sys.modules.pop("shop", None)


async def _filled(path: Path, region: str = "uae") -> tuple[DataRequest, DataRequest]:
    clock = HandClock(datetime.now(UTC))
    bank = Mockbank(now=clock.now(), app="shop", region=region)
    lean = MockbankTransport(bank, clock)
    flows = LeanFlow(
        store=SQLiteStore(path),
        transport=lean,
        webhook_secrets=["hidden"],
        app="shop",
        region=region,
        clock=clock,
        workers=0,
    )
    live, asleep = bank.connect("user-1"), bank.connect("user-2")
    bank.expire_session(asleep)
    async with flows:
        first = await flows.request("accounts", entity_id=live, reference="user-1", customer_ip="192.0.2.7")
        clock.advance(timedelta(seconds=1))  # ids are in order of time, by milliseconds
        second = await flows.request("identity", entity_id=asleep, reference="user-2")
        await flows.tick()
        return first, second


@pytest.fixture
def shop(here: Path) -> Shop:
    """Make a store with one request that is fetched and one that needs its user."""
    fetched, waiting = asyncio.run(_filled(here / "flows.db"))
    return Shop(url="sqlite:///flows.db", path=here / "flows.db", fetched=fetched, waiting=waiting)


# --- naming an engine or a store ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["shop:make", "shop:Holder.flows"])
def test_an_engine_is_named_by_module_and_attribute(shop: Shop, target: str) -> None:
    """An engine, a function returning one, and an attribute of an attribute will do."""
    told = json.loads(run("list", target, "--json").stdout)
    assert [one["id"] for one in told] == [shop.fetched.id, shop.waiting.id]


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("shop", 2, "write MODULE:ATTR"),
        ("shop:", 2, "write MODULE:ATTR"),
        (":make", 2, "write MODULE:ATTR"),
        ("nowhere:make", 1, "no module 'nowhere'"),
        ("cracked:make", 1, "importing cracked failed: ModuleNotFoundError"),
        ("shop:nothing", 1, "shop has no 'nothing'"),
        ("shop:Holder.nothing", 1, "shop has no 'Holder.nothing'"),
        ("shop:number", 1, "neither an engine nor a function returning one"),
        ("shop:coroutine", 1, "neither an engine nor a function returning one"),
        ("shop:broken", 1, "calling shop:broken failed: KeyError: 'what it lacks'"),
    ],
)
def test_a_bad_module_or_attribute_is_told_in_one_line(here: Path, target: str, status: int, words: str) -> None:
    """No traceback, and a name for what is wrong."""
    result = run("list", target)
    assert result.exit_code == status
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_one_of_engine_and_store_must_be_named(shop: Shop) -> None:
    """Neither and both are refused."""
    assert run("list").exit_code == 2
    assert run("list", "shop:make", "--store", shop.url).exit_code == 2


@pytest.mark.parametrize("command", [("list",), ("show",), ("check", "--offline")])
@pytest.mark.parametrize("source", [("shop:make",), ("--store", "sqlite:///flows.db")])
def test_looking_makes_no_store(here: Path, command: tuple[str, ...], source: tuple[str, ...]) -> None:
    """A file that is not there is an error, and still is not there afterwards."""
    names = ("some-id",) if command[0] == "show" else ()
    result = run(*command, *source, *names)
    assert result.exit_code == 1
    assert "there is no store at" in result.stderr
    assert not (here / "flows.db").exists()


def test_a_url_that_names_no_store_is_told(here: Path) -> None:
    """It is not repeated: it may hold a password."""
    result = run("list", "--store", "oracle://user:password@host/db")
    assert result.exit_code == 1
    assert "password" not in result.output


def test_a_store_is_looked_at_in_one_scope(shop: Shop) -> None:
    """What is named is taken, and if it is not there, what is; all three together need no look."""
    assert len(json.loads(run("list", "--store", shop.url, "--app", "shop", "--json").stdout)) == 2
    absent = run("list", "--store", shop.url, "--app", "shop", "--region", "ksa", "--json")
    assert absent.exit_code == 2
    assert "does not hold what was named; it holds\n  --app shop --environment sandbox --region uae\n" in absent.stderr
    whole = ("--app", "shop", "--environment", "production", "--region", "uae")
    assert json.loads(run("list", "--store", shop.url, *whole, "--json").stdout) == []


@pytest.mark.parametrize("command", ["list", "counts", "check", "replay"])
def test_the_only_application_of_a_store_need_not_be_named(shop: Shop, command: str) -> None:
    """It is said which one it is."""
    options = ("--state", "fetched") if command == "replay" else ()
    named = run(command, "--store", shop.url, "--app", "shop", *options)
    found = run(command, "--store", shop.url, *options)
    assert found.stdout == named.stdout
    assert (found.stderr, named.stderr) == ("app 'shop', sandbox, uae\n", "")


def test_of_several_applications_one_is_named(shop: Shop) -> None:
    """They are listed, with exit status 2, and nothing is looked at."""
    asyncio.run(_filled(shop.path, region="ksa"))
    for options in ((), ("--app", "shop")):
        result = run("list", "--store", shop.url, *options)
        assert (result.exit_code, result.stdout) == (2, "")
        told = result.stderr.partition("say which\n")[2]
        assert told == (
            "  --app shop --environment sandbox --region ksa\n  --app shop --environment sandbox --region uae\n"
        )
    result = run("list", "--store", shop.url, "--region", "ksa", "--json")
    assert len(json.loads(result.stdout)) == 2
    assert result.stderr == "app 'shop', sandbox, ksa\n"


def test_an_empty_store_is_said_to_be_empty(here: Path) -> None:
    """Looking at it leaves it so."""
    assert run("migrate", "--store", "sqlite:///flows.db").exit_code == 0
    for command in ("list", "counts", "check", "list"):
        result = run(command, "--store", "sqlite:///flows.db")
        assert result.exit_code == 0
        assert result.stderr.startswith(f"SQLiteStore('{here / 'flows.db'}') is empty\n")


def test_an_application_that_has_made_no_request_is_named(here: Path) -> None:
    """The store does not know its name, only that there is one: whoever says it is believed."""

    async def heard() -> None:
        clock = HandClock(datetime.now(UTC))
        handlers = Handlers()
        handlers.on(name="mailer")(lambda _change, _flows: None)
        async with LeanFlow(
            store=SQLiteStore(here / "flows.db"),
            transport=MockbankTransport(Mockbank(now=clock.now(), app="shop"), clock),
            webhook_secrets=["hidden"],
            app="shop",
            handlers=[handlers],
            workers=0,
        ):
            pass

    asyncio.run(heard())
    result = run("list", "--store", "sqlite:///flows.db")
    assert result.exit_code == 2
    assert "made no request yet: name one with --app" in result.stderr
    assert run("list", "--store", "sqlite:///flows.db", "--app", "shop").exit_code == 0


def test_an_unknown_region_is_told(shop: Shop) -> None:
    """With those that there are."""
    result = run("list", "--store", shop.url, "--region", "mars")
    assert result.exit_code == 2
    assert "'mars' is not one of 'uae', 'ksa'" in result.stderr


# --- list and show -----------------------------------------------------------------------------------------------


def test_list_shows_requests_oldest_first(shop: Shop) -> None:
    """One line each, with what one looks for."""
    lines = run("list", "--store", shop.url, "--app", "shop").stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith(" 0")]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        (shop.fetched.id, "fetched", "accounts"),
        (shop.waiting.id, "reconnect_required", "identity"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--state", "reconnect_required"),
        ("--resource", "identity"),
        ("--reference", "user-2"),
    ],
)
def test_list_finds_by_what_is_named(shop: Shop, options: tuple[str, ...]) -> None:
    """Each option narrows the list down."""
    told = json.loads(run("list", "shop:make", "--json", *options).stdout)
    assert [one["id"] for one in told] == [shop.waiting.id]


def test_list_goes_on_behind_a_request(shop: Shop) -> None:
    """The end of one page is the beginning of the next."""
    first = run("list", "shop:make", "--limit", "1")
    assert f"--after {shop.fetched.id}" in first.stderr
    told = json.loads(run("list", "shop:make", "--after", shop.fetched.id, "--json").stdout)
    assert [one["id"] for one in told] == [shop.waiting.id]


def test_what_is_listed_has_no_address(shop: Shop) -> None:
    """The customer's address is nobody's business."""
    assert shop.fetched.customer_ip == "192.0.2.7"
    assert "192.0.2.7" not in run("list", "shop:make", "--json").stdout
    assert "192.0.2.7" not in run("show", "shop:make", shop.fetched.id, "--json").stdout
    assert "192.0.2.7" not in run("show", "shop:make", shop.fetched.id).stdout


def test_show_tells_record_and_history(shop: Shop) -> None:
    """For people as tables, for machines as the engine exports it."""
    said = run("show", "--store", shop.url, "--app", "shop", shop.waiting.id).stdout
    assert "reconnect_required" in said
    assert "answered_reconnect" in said
    told = json.loads(run("show", "shop:make", shop.waiting.id, "--json").stdout)
    assert told["request"]["id"] == shop.waiting.id
    assert [row["tag"] for row in told["history"]] == ["created", "answered_reconnect"]


def test_a_request_that_is_not_there_is_told(shop: Shop) -> None:
    """In one line, with exit status 1."""
    result = run("show", "shop:make", "no-such-id")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no request 'no-such-id'")


def test_show_takes_one_request(shop: Shop) -> None:
    """More names than that are a mistake."""
    assert run("show", "shop:make", shop.waiting.id, shop.fetched.id).exit_code == 2


def test_looking_works_on_nothing(shop: Shop) -> None:
    """A look changes neither record nor history, and makes no call."""
    before = run("show", "shop:make", shop.waiting.id, "--json").stdout
    run("list", "shop:make")
    run("check", "shop:make", "--offline")
    assert run("show", "shop:make", shop.waiting.id, "--json").stdout == before


# --- check, reconcile, migrate, diagram --------------------------------------------------------------------------


def test_check_finds_a_sound_store_sound(shop: Shop) -> None:
    """Store, requests and work are looked at; exit status 0."""
    result = run("check", "shop:make", "--offline")
    assert result.exit_code == 0, result.output
    assert "reconnect_required 1, fetched 1" in result.stdout


def test_check_says_that_lean_does_not_answer(shop: Shop) -> None:
    """With an engine Lean is called; exit status 1, and no secret is told."""
    result = run("check", "shop:make", "--json")
    assert result.exit_code == 1
    findings = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert not findings["Lean"]["ok"]
    assert findings["store"]["ok"]
    assert "hidden" not in result.output


def test_check_says_that_nobody_works(shop: Shop) -> None:
    """What has long been due and is not done is bad."""
    late = datetime.now(UTC) - timedelta(hours=1)
    with sqlite3.connect(shop.path) as db:
        db.execute(
            "UPDATE leanflow_requests SET due_at = ? WHERE id = ?", (int(late.timestamp() * 1e6), shop.waiting.id)
        )
    db.close()
    result = run("check", "--store", shop.url, "--app", "shop")
    assert result.exit_code == 1
    assert "does a worker run?" in result.stdout


async def test_check_says_that_the_store_went_away_meanwhile() -> None:
    """What could not be looked at is not said to be in order."""

    class Leaving(MemoryStore):
        async def lag(self, scope: Scope) -> Mapping[str, tuple[int, int, datetime | None]]:
            raise StoreUnavailable("gone")

    found = await _check(Source(store=Leaving()), call_lean=False)
    assert [finding.what for finding in found if not finding.ok] == ["work"]


def test_check_tells_of_a_file_that_is_no_store(here: Path) -> None:
    """A file of another kind is bad, not a traceback."""
    (here / "letter.db").write_text("Dear all, " * 100)
    result = run("check", "--store", "sqlite:///letter.db")
    assert result.exit_code == 1
    assert "not an SQLite database" in result.output


def test_reconcile_tells_what_lean_did_not(here: Path) -> None:
    """A Lean that does not answer is one line and exit status 1."""
    result = run("reconcile", "shop:make")
    assert result.exit_code == 1
    assert "cannot connect" in result.stderr


MISSED = """
from datetime import UTC, datetime
from leanflow import LeanFlow
from leanflow_adapters.sqlite import SQLiteStore
from leanflow_adapters.mockbank import HandClock, MockbankTransport
import world
flows = LeanFlow(store=SQLiteStore("flows.db"), transport=world.lean, webhook_secrets=["hidden"], app="shop")
"""


def test_reconcile_counts_what_was_missed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Webhooks that never came are heard from the Events API, once."""
    clock = HandClock(datetime.now(UTC))
    bank = Mockbank(now=clock.now(), app="shop")
    bank.disturb(Disturbance(drop=True))
    bank.connect("user-1")
    bank.connect("user-2")
    world = type(sys)("world")
    world.lean = MockbankTransport(bank, clock)  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "world", world)
    (here / "missed.py").write_text(MISSED)
    try:
        assert json.loads(run("reconcile", "missed:flows", "--since", "1h", "--json").stdout) == {"news": 2}
        assert run("reconcile", "missed:flows").stdout == "nothing was missed\n"
    finally:
        sys.modules.pop("missed", None)


def test_a_moment_may_be_so_long_ago() -> None:
    """From seconds to weeks."""
    now = datetime.now(UTC)
    for text, ago in (("90s", 90), ("5m", 300), ("2h", 7200), ("3d", 259_200), ("2w", 1_209_600)):
        moment = when(None, None, text)  # type: ignore[arg-type]  # not click's
        assert moment is not None
        assert now - timedelta(seconds=ago) <= moment <= datetime.now(UTC) - timedelta(seconds=ago)


@pytest.mark.parametrize("text", ["2026-01-31T08:00:00Z", "2026-01-31T08:00:00+04:00"])
def test_a_moment_may_be_named(text: str) -> None:
    """With its zone."""
    assert when(None, None, text) == datetime.fromisoformat(text)  # type: ignore[arg-type]  # not click's


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31", "2026-01-31T08:00:00", "3y"])
def test_a_moment_that_is_none_is_refused(here: Path, text: str) -> None:
    """The message says how it is written."""
    result = run("reconcile", "shop:make", "--since", text)
    assert result.exit_code == 2
    assert "2026-01-31T08:00:00Z" in result.stderr


def test_migrate_makes_the_tables(here: Path) -> None:
    """Afterwards the store can be looked at; a second time changes nothing."""
    for _ in range(2):
        assert run("migrate", "--store", "sqlite:///flows.db").exit_code == 0
    assert run("list", "shop:make").exit_code == 0


@pytest.mark.parametrize("command", ["migrate", "list"])
def test_a_store_of_a_newer_leanflow_is_left_alone(shop: Shop, command: str) -> None:
    """It is refused with a cure."""
    with sqlite3.connect(shop.path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    result = run(command, "--store", shop.url)
    assert result.exit_code == 1
    assert "written by a newer leanflow" in result.stderr


def test_diagram_prints_the_machine() -> None:
    """As the library has it."""
    assert run("diagram").stdout.strip() == mermaid().strip()


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_its_help(name: str) -> None:
    """A table of commands whose modules lack them would lie."""
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: leanflow {name}")
