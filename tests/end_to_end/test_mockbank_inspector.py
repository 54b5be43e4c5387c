"""Mockbank's page: what stands on it, what its buttons send, and who is kept out. `tests/browser` has the rest."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

import leanflow_adapters.mockbank
from leanflow.mockbank import COMMANDS, Disturbance, Fault, Mockbank, Progress, control
from leanflow_adapters.mockbank import HandClock, MockbankServer, serve
from leanflow_adapters.mockbank._guard import READING, _ours
from leanflow_adapters.mockbank._inspector import FAULTS

STATIC = Path(leanflow_adapters.mockbank.__file__).parent / "inspector"
NASTY = "<script>alert('&')</script>\"'"


@attrs.define
class Read(HTMLParser):
    """A page as a reader has it: text by section, and what buttons and forms send."""

    texts: dict[str, list[str]] = attrs.field(factory=dict)
    sends: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)
    options: list[str] = attrs.field(factory=list)
    tags: set[str] = attrs.field(factory=set)
    section: str = ""

    def __attrs_pre_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        has = dict(attributes)
        self.tags.add(tag)
        if tag == "section":
            self.section = str(has["id"])
        if "data-command" in has:
            self.sends.append((str(has["data-command"]), json.loads(str(has["data-args"]))))
        if tag == "option" and has.get("value"):
            self.options.append(str(has["value"]))

    def handle_data(self, data: str) -> None:
        """Take a text."""
        if data.strip():
            self.texts.setdefault(self.section, []).append(data.strip())

    def of(self, section: str) -> str:
        """Return the text of a section."""
        return " ".join(self.texts[section])


def read(text: str) -> Read:
    """Read a page."""
    page = Read()
    page.feed(text)
    return page


@asynccontextmanager
async def standing(
    bank: Mockbank | None = None, **how: Any
) -> AsyncIterator[tuple[MockbankServer, aiohttp.ClientSession]]:
    """Run a Mockbank whose clock is moved by hand, and a client."""
    bank = bank or Mockbank()
    async with (
        serve(bank, **{"clock": HandClock(bank.now), **how}) as server,
        aiohttp.ClientSession(server.base_url) as http,
    ):
        yield server, http


async def look(http: aiohttp.ClientSession) -> Read:
    """Load the page and read it."""
    async with http.get("/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        return read(await response.text())


async def ask(http: aiohttp.ClientSession, server: MockbankServer, path: str, **query: str) -> Any:
    """Make an API call."""
    async with http.get(path, params=query, headers={"lean-app-token": server.bank.app}) as response:
        return json.loads(await response.read())


# what stands on it


async def test_it_shows_what_is_there() -> None:
    """Entities with session and consent, customers, results, refreshes, reconnects, webhooks, calls, faults, clock."""
    bank = Mockbank(results_progress=Progress.held())
    async with standing(bank, webhook_url="http://127.0.0.1:1/hooks") as (server, http):
        live, wanted = bank.connect("user-1"), bank.connect("user-2")
        bank.revoke_consent(bank.connect("user-3"))
        bank.expire_session(wanted)
        held = (await ask(http, server, "/data/v2/identity", entity_id=live, **{"async": "true"}))["results_id"]
        reconnect = (await ask(http, server, "/data/v2/accounts", entity_id=wanted))["results_id"]
        bank.submit_otp(reconnect, "0000")
        refresh = await (
            await http.post("/data/v2/refreshes", json={"entity_id": live}, headers={"lean-app-token": server.bank.app})
        ).json()
        bank.fault(Fault.http(503))
        bank.disturb(Disturbance(drop=True, types="entity.updated"))
        bank.storm(7, weight=0)
        await server.settle()
        page = await look(http)
        event = bank.log.webhooks[-1].event_id
    assert server.clock.now().strftime("%Y-%m-%d %H:%M:%S UTC") in page.of("clock")
    assert f"user-2 1 wrong v2 accounts {reconnect}" in page.of("waiting")
    assert re.search(r"user-1 .*?live holds.*user-3|user-3 .*?live ended.*user-2 .*?over holds", page.of("entities"))
    assert all(one in page.of("entities") for one in (live, wanted))
    assert f"v2 identity {held} PENDING" in page.of("results")
    assert refresh["refresh_id"] in page.of("refreshes")
    assert f"entity.created attempt 2 {event}" in page.of("deliveries") or "attempt 2" in page.of("deliveries")
    assert "no answer" in page.of("webhooks")
    assert "GET /data/v2/accounts 200 RECONNECT_REQUIRED" in page.of("calls")
    assert "503" in page.of("adversary")
    assert "entity.updated" in page.of("adversary")
    assert "seed 7" in page.of("adversary")
    assert "user-3" in page.of("customers")
    assert server.bank.app in page.of("about")


async def test_an_empty_one_says_that_nothing_is_there() -> None:
    """Every section has its words for nothing, and the way to begin: a form to connect a user."""
    async with standing() as (_, http):
        page = await look(http)
    for section in ("waiting", "entities", "results", "refreshes", "deliveries", "webhooks", "calls", "customers"):
        assert re.search(r"Nobody|Nothing|None|All calls|none", page.of(section)), section
    assert ("connect", {}) in page.sends


async def test_everything_from_outside_is_escaped() -> None:
    """A customer, a path, a webhook type or a fault that looks like HTML is text."""
    async with standing(webhook_url=f"http://127.0.0.1:1/{NASTY}") as (server, http):
        bank = server.bank
        entity = bank.connect(NASTY, username="mockbank_user_3")
        bank.expire_session(entity)
        await ask(http, server, "/data/v2/accounts", entity_id=entity)
        await ask(http, server, f"/{NASTY}")
        bank.emit(NASTY, {})
        bank.disturb(Disturbance(retyped=NASTY, times=5))
        bank.fault(Fault.status(NASTY))
        await server.settle()
        async with http.get("/") as response:
            text = await response.text()
    assert text.count("<script") == 1  # the page's own
    page = read(text)
    for section in ("waiting", "entities", "customers", "webhooks", "deliveries"):
        assert "<script>alert('&')</script>" in page.of(section), section
    assert page.tags <= {
        "html", "head", "meta", "title", "link", "script", "body", "header", "h1", "h2", "p", "div", "noscript", "main",
        "section", "dl", "dt", "dd", "span", "table", "thead", "tbody", "tr", "th", "td", "code", "time", "button",
        "form", "label", "input", "select", "option",
    }  # fmt: skip


async def test_no_secret_is_shown() -> None:
    """Neither the secrets nor what a webhook address carries of them."""
    bank = Mockbank(client_secret="hidden-client", webhook_secret="hidden-webhook")
    async with standing(bank, webhook_url="https://me:hidden-password@hooks.example/in?token=hidden-token") as (
        _,
        http,
    ):
        bank.connect("user-1")
        async with http.get("/") as response:
            text = await response.text()
    assert "https://hooks.example/in?…" in text
    assert "hidden" not in text


async def test_it_is_bounded_and_quick() -> None:
    """Of thousands it shows the latest fifty, and says how many there are."""
    bank = Mockbank()
    for number in range(1000):
        bank.connect(f"user-{number}")
    async with standing(bank) as (_, http):
        page = await look(http)
    assert "Entities 1000" in page.of("entities")
    assert "user-999" in page.of("entities")
    assert "user-949" not in page.of("entities")
    assert len([1 for command, _ in page.sends if command == "expire_session"]) == 50


async def test_a_clock_that_cannot_be_moved_has_no_buttons() -> None:
    """They are there only if they work."""

    class Still:
        def now(self) -> datetime:
            return HandClock().now()

        async def sleep(self, seconds: float) -> None:
            raise AssertionError(seconds)

    async with standing() as (_, http):
        assert "advance" in {command for command, _ in (await look(http)).sends}
    async with standing(clock=Still()) as (_, http):
        assert "advance" not in {command for command, _ in (await look(http)).sends}


# what its buttons send

TYPED = {"otp": {"otp": "1111"}, "connect": {"app_user_id": "user-9", "username": "mockbank_user_2"}}


async def test_every_button_does_something() -> None:
    """All that the page can send is a command that this Mockbank takes, with these arguments."""
    bank = Mockbank(results_progress=Progress.held())
    async with standing(bank, webhook_url="http://127.0.0.1:1/hooks") as (server, http):
        live, wanted = bank.connect("user-1"), bank.connect("user-2", username="mockbank_user_3")
        bank.revoke_consent(bank.connect("user-3"))
        bank.expire_session(wanted)
        await ask(http, server, "/data/v2/accounts", entity_id=wanted)
        await ask(http, server, "/data/v2/identity", entity_id=live, **{"async": "true"})
        bank.fault(Fault.refuse(times=None, on="events"))
        await server.settle()
        page = await look(http)
        sent = set()
        for command, args in page.sends:
            if command == "fault":
                continue  # its arguments are those of the test below
            async with http.post(f"/_mockbank/{command}", json={**args, **TYPED.get(command, {})}) as response:
                assert response.status == 200, (command, args, await response.text())
            sent.add(command)
    assert sent == {
        "advance", "calm", "close_link", "connect", "disarm", "disturb", "drop", "expire_session", "otp", "release",
        "renew_consent", "resend", "revoke_consent",
    }  # fmt: skip


async def test_every_offered_fault_strikes_the_next_data_call() -> None:
    """What can be chosen can be armed, and the next data call shows it."""
    async with standing() as (server, http):
        options = [json.loads(one) for one in (await look(http)).options]
        assert options == [dict(told) for told in FAULTS.values()]
        entity = server.bank.connect()
        for told in options:
            async with http.post("/_mockbank/fault", json=told) as response:
                assert response.status == 200, told
            before = len(server.bank.log.calls)
            with contextlib.suppress(aiohttp.ClientError, ValueError):
                await ask(http, server, "/data/v2/accounts", entity_id=entity)
            assert server.bank.log.calls[before].fault == told["effect"]
            assert server.bank.armed() == {}


# who is kept out


async def reached(server: MockbankServer, method: str, path: str, **headers: str) -> int:
    """Send one request with these headers; return the HTTP status."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(skip_auto_headers=["content-type"]) as http,
        http.request(
            method, server.base_url + path, headers=sent, data=b"{}" if method == "POST" else None
        ) as response,
    ):
        await response.read()
        return response.status


JSON = "application/json"


@pytest.mark.parametrize("path", ["/", "/_mockbank/state", "/_mockbank/openapi.json", "/_mockbank/inspector.js"])
async def test_names_that_are_not_ours_are_refused(path: str) -> None:
    """A page whose name was pointed at loopback comes under that name."""
    async with standing() as (server, _):
        port = server.base_url.rpartition(":")[2]
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[",
            "10.0.0.7",
        ):
            assert await reached(server, "GET", path, Host=host) == 403, host
        for host in (
            f"127.0.0.1:{port}",
            "localhost",
            f"localhost:{port}",
            "mockbank.localhost",
            "[::1]",
            "LOCALHOST.",
        ):
            assert await reached(server, "GET", path, Host=host) == 200, host


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "10.0.0.7", "mockbank.lan"])  # noqa: S104 - nothing is opened
def test_beyond_loopback_addresses_and_plain_names_are_ours(bound: str) -> None:
    """Who listens for others is found by address, or by a name of the local network; never by a foreign one."""
    for host in (
        "10.0.0.7:8787",
        "mockbank:8787",
        "localhost",
        "[fe80::1]:80",
        "10.0.0.8",
        bound.replace("::", "[::]"),
    ):
        assert _ours(host, bound), host
    for host in ("evil.example", "mockbank.evil.example", "10.0.0.7.evil.example:80"):
        assert not _ours(host, bound), host


async def test_pages_elsewhere_may_not_drive_it() -> None:
    """What a browser says of where a request comes from is believed; what curl sends, which is nothing, passes."""
    async with standing() as (server, _):
        path, own = "/_mockbank/revoke_tokens", server.base_url
        foreign: tuple[dict[str, str], ...] = (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": own.replace("127.0.0.1", "localhost")},
            {"Origin": own + "1"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
        )
        for headers in foreign:
            assert await reached(server, "POST", path, Content_Type=JSON, **headers) == 403, headers
        assert server.bank.log.total_calls == 0
        for headers in ({"Origin": own, "Sec_Fetch_Site": "same-origin", "Content_Type": JSON}, {}):
            assert await reached(server, "POST", path, **headers) == 200, headers
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            assert await reached(server, "POST", path, Origin=own, Content_Type=kind) == 415, kind
            assert await reached(server, "POST", path, Content_Type=kind) == 200, kind


async def test_a_link_may_lead_to_the_page_and_to_nothing_else() -> None:
    """Following a link from elsewhere shows the page; framing it, or reading it from a script, is refused."""
    follows = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    async with standing() as (server, _):
        assert await reached(server, "GET", "/", **follows) == 200
        assert await reached(server, "GET", "/", **{**follows, "Sec_Fetch_Dest": "iframe"}) == 403
        assert await reached(server, "GET", "/", **{**follows, "Sec_Fetch_Mode": "no-cors"}) == 403
        assert await reached(server, "GET", "/_mockbank/state", **follows) == 403


async def test_the_api_is_open_to_all_who_have_credentials() -> None:
    """The guard is for the page and the control route: Lean's API is as it is."""
    async with standing() as (server, _):
        headers = {"lean_app_token": server.bank.app, "Host": "sandbox.example", "Origin": "https://shop.example"}
        assert await reached(server, "GET", "/banks/v1", **headers) == 200


async def test_only_reading_can_be_done_by_get() -> None:
    """An image on a page elsewhere is a GET: it changes nothing."""
    async with standing() as (server, _):
        for command in (*COMMANDS, "advance", "settle"):
            wanted = 405 if command not in READING else (200, 400)
            got = await reached(server, "GET", f"/_mockbank/{command}")
            assert got == wanted or (isinstance(wanted, tuple) and got in wanted), command
        assert await reached(server, "DELETE", "/_mockbank/state") == 405
        assert await reached(server, "PUT", "/_mockbank/calm") == 405


def test_what_reads_changes_nothing() -> None:
    """The commands that GET may reach leave everything as it was."""
    bank = Mockbank()
    entity = bank.connect()
    bank.fault(Fault.http(500))
    before = bank.state()
    for command in READING - {"openapi.json"}:
        control(bank, command, {"entity_id": entity} if command == "accounts" else {}, bank.now)
    assert bank.state() == before


async def test_the_page_may_load_nothing_from_elsewhere() -> None:
    """Its policy says so, nobody may frame it, and nothing of it is kept."""
    async with standing() as (_, http):
        for path, kind in (
            ("/", "text/html"),
            ("/_mockbank/inspector.js", "text/javascript"),
            ("/_mockbank/inspector.css", "text/css"),
        ):
            async with http.get(path) as response:
                assert response.content_type == kind
                policy = response.headers["content-security-policy"]
                assert response.headers["cache-control"] == "no-store"
                assert response.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
        async with http.get("/_mockbank/inspector.html") as response:
            assert response.status == 405


# how it looks


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PAIRS = {
    ("ink", "paper"): 4.5, ("ink", "ground"): 4.5, ("quiet", "paper"): 4.5, ("quiet", "ground"): 4.5,
    ("accent", "paper"): 4.5, ("on-accent", "accent"): 4.5, ("danger", "danger-ground"): 4.5,
    ("good", "good-ground"): 4.5, ("on-band", "band"): 4.5, ("edge", "paper"): 3.0,
}  # fmt: skip


@pytest.mark.parametrize(("pair", "least"), PAIRS.items(), ids=str)
def test_its_colours_can_be_told_apart(pair: tuple[str, str], least: float) -> None:
    """Text is at 4.5:1 against what it stands on, the edges of fields at 3:1."""
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", (STATIC / "inspector.css").read_text(encoding="utf-8")))
    light, dark = sorted((_luminance(colours[name]) for name in pair), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= least
