"""Mockbank's page in a real browser: it follows what happens, its buttons work, and it can be read without a script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest
from aiohttp import web
from playwright.async_api import Browser, Locator, Page, expect

from leanflow import Call
from leanflow.mockbank import Disturbance, Fault, Mockbank, Progress
from leanflow_adapters.mockbank import HandClock, MockbankServer, serve
from tests.browser.axe import judged
from tests.browser.chromium import PHONE, WIDE, window

pytestmark = pytest.mark.asyncio(loop_scope="session")


@attrs.define(kw_only=True)
class Watched:
    """A Mockbank and its page.

    Attributes:
        troubles: what the browser complained about.
    """

    server: MockbankServer
    page: Page
    troubles: list[str] = attrs.field(factory=list)

    @property
    def bank(self) -> Mockbank:
        """The simulated Lean."""
        return self.server.bank

    def ask(self, path: str, **query: str) -> None:
        """Make an API call, as a backend would."""
        call = Call(method="GET", path=path, query=query, headers={"lean-app-token": self.bank.app})
        self.bank.handle(call, self.server.clock.now())

    def section(self, name: str) -> Locator:
        """Return a section."""
        return self.page.locator(f"#{name}")

    async def presses(self, name: str) -> None:
        """Press a button."""
        await self.page.get_by_role("button", name=name, exact=True).first.click()

    async def hears(self, text: str) -> None:
        """Wait until the page says so, to those who listen too."""
        await expect(self.page.get_by_role("status")).to_have_text(text)


@asynccontextmanager
async def watching(
    browser: Browser, size: tuple[int, int] = WIDE, *, settings: dict[str, Any] | None = None, **how: Any
) -> AsyncIterator[Watched]:
    """Open the page of a Mockbank whose clock is moved by hand."""
    bank = Mockbank(**(settings or {}))
    async with serve(bank, clock=HandClock(bank.now), **how) as server, window(browser, size) as context:
        on = Watched(server=server, page=await context.new_page())
        on.page.on("console", lambda said: on.troubles.append(said.text))
        on.page.on("pageerror", lambda error: on.troubles.append(str(error)))
        await on.page.goto(server.base_url + "/")
        yield on


async def test_it_follows_what_happens_by_itself(browser: Browser) -> None:
    """An entity, a call and a fault appear without anybody loading the page again."""
    async with watching(browser) as on:
        await expect(on.section("entities")).to_contain_text("Nobody is connected.")
        entity = on.bank.connect("user-17")
        await expect(on.section("entities")).to_contain_text(entity)
        on.ask("/data/v2/accounts", entity_id=entity)
        on.bank.fault(Fault.http(503))
        await expect(on.section("calls")).to_contain_text("/data/v2/accounts")
        await expect(on.section("adversary")).to_contain_text("503")
        assert on.troubles == []


async def test_session_and_consent_are_ended_and_renewed(browser: Browser) -> None:
    """Each button does its one thing, says so, and the page shows it."""
    async with watching(browser) as on:
        entity = on.bank.connect("user-17")
        on.bank.connect("user-18")
        await on.presses("Expire session of user-17")
        await on.hears("Expire session of user-17: done.")
        assert not on.bank.session_live(entity)
        row = on.page.get_by_role("row").filter(has_text=entity)
        await expect(row).to_contain_text("over")
        await on.presses("Revoke consent of user-17")
        await expect(row).to_contain_text("ended")
        assert on.bank.log.webhooks is not None
        await on.presses("Renew consent of user-17")
        await expect(row).to_contain_text("live")
        await expect(row).to_contain_text("holds")
        assert on.bank.session_live(entity)


async def test_a_waiting_reconnect_takes_codes(browser: Browser) -> None:
    """A wrong code counts, the right one reconnects; what was typed stays while the page is exchanged."""
    async with watching(browser) as on:
        entity = on.bank.connect("user-17", username="mockbank_user_3")
        on.bank.expire_session(entity)
        on.ask("/data/v2/accounts", entity_id=entity)
        code = on.page.get_by_label("OTP of user-17")
        await code.fill("0000")
        await on.presses("Type it")
        await on.hears("Type it: The code is wrong. 2 attempts left.")
        await expect(code).to_have_value("")
        await code.press_sequentially("11")
        await on.page.get_by_role("row").filter(has=code).evaluate("row => row.dataset.old = 'yes'")
        on.bank.connect("user-99")
        on.bank.expire_session(on.bank.connect("user-98", username="mockbank_user_3"))
        on.ask("/data/v2/identity", entity_id=entity)  # another one waits: the section is exchanged
        await expect(on.section("waiting").get_by_role("row").filter(has_text="v2 identity")).to_have_count(1)
        assert await on.page.locator("[data-old]").count() == 0
        older = on.page.get_by_role("row").filter(has_text="v2 accounts").get_by_label("OTP of user-17")
        await expect(older).to_have_value("11")
        await expect(older).to_be_focused()
        await on.page.keyboard.type("11")
        await on.page.keyboard.press("Enter")
        await on.hears("Type it: The account was reconnected.")
        assert on.bank.session_live(entity)
        await on.presses("Close the window of user-17")
        await on.hears("Close the window of user-17: The user closed the window.")


async def test_a_bank_that_authorises_on_its_own_site_is_approved_or_refused(browser: Browser) -> None:
    """There is no code to type; the SDK's word is the same for both, the session tells."""
    async with watching(browser, settings={"redirect_banks": ("LEANMB1",)}) as on:
        entity = on.bank.connect("user-17", username="mockbank_user_3")
        on.bank.expire_session(entity)
        on.ask("/data/v2/accounts", entity_id=entity)
        for choice, live in (("Refuse", False), ("Approve", True)):
            await on.presses(f"{choice} as user-17")
            await on.hears(f"{choice} as user-17: The user was sent to the bank.")
            assert on.bank.session_live(entity) is live
        assert await on.page.get_by_label("OTP of user-17").count() == 0


async def test_the_adversary_is_armed_and_disarmed(browser: Browser) -> None:
    """A fault that was chosen, a dropped and a doubled webhook, one disarmed, and all of them."""
    async with watching(browser) as on:
        await on.page.get_by_label("Answer the next data call with").select_option("429")
        await on.presses("Arm it")
        await on.hears("Arm it: done.")
        await on.presses("Drop the next webhook")
        await on.presses("Double the next webhook")
        await expect(on.section("adversary").get_by_role("row")).to_have_count(4)
        armed = list(on.bank.armed().values())
        assert [type(one) for one in armed] == [Fault, Disturbance, Disturbance]
        await on.presses("Disarm 1")
        await expect(on.section("adversary").get_by_role("row")).to_have_count(3)
        assert list(on.bank.armed()) == [2, 3]
        await on.presses("Calm: disarm all, release what is held")
        await expect(on.section("adversary")).to_contain_text("Nothing is armed.")
        assert on.bank.armed() == {}


async def test_what_is_held_is_released_and_the_clock_moved(browser: Browser) -> None:
    """A PENDING result becomes OK; a webhook that failed is tried again when the clock is moved; one is resent."""
    heard: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        heard.append((await request.json())["type"])
        return web.Response(status=500 if len(heard) == 1 else 200)

    async with (
        listening(receive) as url,
        watching(browser, settings={"results_progress": Progress.held()}, webhook_url=url) as on,
    ):
        entity = on.bank.connect("user-17")
        await on.server.settle()
        assert heard == ["entity.created"]
        await expect(on.section("deliveries")).to_contain_text("attempt 2")
        before = on.server.clock.now()
        await on.presses("+ 1 min on the clock")
        await expect(on.section("clock")).to_contain_text("08:01:00 UTC")
        assert on.server.clock.now() - before == timedelta(minutes=1)
        assert heard == ["entity.created"] * 2
        await expect(on.section("deliveries")).to_contain_text("None waits.")
        on.ask("/data/v2/identity", entity_id=entity, **{"async": "true"})
        await on.page.get_by_role("button", name="Release").click()
        await expect(on.section("results")).to_contain_text("OK")
        await on.server.settle()
        assert heard[2:] == ["results.ready"]
        await on.presses("Resend results.ready")
        await on.hears("Resend results.ready: done.")
        await on.server.settle()
        assert heard[3:] == ["results.ready"]


async def test_a_user_is_connected_with_the_keyboard_alone(browser: Browser) -> None:
    """The form is reached, filled and sent by keys; what is wrong is told."""
    async with watching(browser) as on:
        name = on.page.get_by_label("Connect your user")
        await name.focus()
        await on.page.keyboard.type("user-1")
        await on.page.keyboard.press("Tab")
        await on.page.keyboard.type("mockbank_user_4")
        await on.page.keyboard.press("Tab")
        await on.page.keyboard.press("Enter")
        await on.hears("Connect: done.")
        await expect(on.section("entities")).to_contain_text("mockbank_user_4")
        assert on.bank.state()["customers"][0]["app_user_id"] == "user-1"


NAME = "e => e.ariaLabel ?? (e.labels?.[0] ?? e).textContent"


async def test_every_button_and_field_can_be_reached_and_has_a_name(browser: Browser) -> None:
    """Tab goes through all of them; none is nameless; ids are used once."""
    async with watching(browser) as on:
        entity = on.bank.connect("user-17", username="mockbank_user_3")
        on.bank.expire_session(entity)
        on.ask("/data/v2/accounts", entity_id=entity)
        on.bank.fault(Fault.http(503))
        await expect(on.section("adversary")).to_contain_text("503")
        await expect(on.section("waiting")).to_contain_text("user-17")
        controls = on.page.locator("button, input, select")
        names = set()
        for number in range(count := await controls.count()):
            one = controls.nth(number)
            name = await one.evaluate(NAME)
            assert name.strip()
            names.add(name)
            shown = (await one.text_content() or "").strip()
            assert await one.evaluate("e => e.tagName === 'SELECT'") or shown in name
        reached = set()
        await on.page.locator("body").focus()
        for _ in range(count):
            await on.page.keyboard.press("Tab")
            reached.add(
                await on.page.evaluate(
                    "const e = document.activeElement; e.ariaLabel ?? (e.labels?.[0] ?? e).textContent"
                )
            )
        assert reached == names
        ids = await on.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("size", [PHONE, (768, 1024), WIDE], ids=str)
async def test_it_fits_its_window(browser: Browser, size: tuple[int, int]) -> None:
    """Nothing scrolls sideways; on a phone, what is to be touched is 44 pixels high."""
    async with watching(browser, size, webhook_url="http://127.0.0.1:1/" + "long" * 40) as on:
        entity = on.bank.connect("u" * 120, username="mockbank_user_3")
        on.bank.expire_session(entity)
        on.ask("/data/v2/accounts", entity_id=entity)
        on.bank.disturb(Disturbance(replace={"reconnect_id": "x" * 120}))
        await on.server.settle()
        await expect(on.section("webhooks")).to_contain_text("no answer")
        await expect(on.section("waiting")).to_contain_text("uuu")
        widths = await on.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1]
        if size == PHONE:
            heights = await on.page.evaluate(
                "[...document.querySelectorAll('button, input, select')].map(e => e.getBoundingClientRect().height)"
            )
            assert min(heights) >= 44


@pytest.mark.parametrize("size", [PHONE, WIDE], ids=str)
async def test_axe_finds_nothing(browser: Browser, size: tuple[int, int]) -> None:
    """The rules of axe-core are kept; at least thirty apply."""
    async with watching(browser, size, webhook_url="http://127.0.0.1:1/") as on:
        entity = on.bank.connect("user-17", username="mockbank_user_3")
        on.bank.expire_session(entity)
        on.ask("/data/v2/accounts", entity_id=entity)
        on.bank.fault(Fault.http(503))
        await on.server.settle()
        await expect(on.section("webhooks")).to_contain_text("no answer")
        said = await judged(on.page)
    assert [(one["id"], one["help"]) for one in said["violations"]] == []
    assert len(said["passes"]) >= 30


async def test_without_a_script_it_can_be_read(browser: Browser) -> None:
    """All is there but what would not work: no button, no form, and a note that says why."""
    bank = Mockbank()
    entity = bank.connect("user-17")
    async with serve(bank, clock=HandClock(bank.now)) as server:
        context = await browser.new_context(java_script_enabled=False)
        try:
            page = await context.new_page()
            await page.goto(server.base_url + "/")
            await expect(page.locator("#entities")).to_contain_text(entity)
            await expect(page.get_by_text("Without JavaScript")).to_be_visible()
            for gone in ("button", "form"):
                assert await page.locator(gone).count() > 0
                assert await page.locator(f"{gone}:visible").count() == 0
        finally:
            await context.close()


async def test_what_looks_like_html_does_nothing(browser: Browser) -> None:
    """A user named like a script is shown by that name, and so it is in buttons."""
    nasty = "<img src=x onerror=\"document.title='owned'\">'&"
    async with watching(browser) as on:
        entity = on.bank.connect(nasty)
        await expect(on.section("entities")).to_contain_text(nasty)
        await on.presses(f"Expire session of {nasty}")
        await on.hears(f"Expire session of {nasty}: done.")
        assert not on.bank.session_live(entity)
        assert await on.page.title() == "Mockbank"
        assert await on.page.locator("img").count() == 0
        assert on.troubles == []


async def test_a_mockbank_that_is_gone_is_told(browser: Browser) -> None:
    """What stands there is old then, and the page says so; when it is back, the page goes on."""
    async with watching(browser) as on:
        at, bank, clock = on.server.base_url, on.bank, on.server.clock
        await on.server.__aexit__(None, None, None)
        await expect(on.page.get_by_role("alert")).to_have_text("Mockbank does not answer: what stands here is old.")
        await on.presses("Drop the next webhook")
        await on.hears("Drop the next webhook: Mockbank does not answer.")
        async with serve(bank, clock=clock, port=int(at.rpartition(":")[2])):
            await expect(on.page.get_by_role("alert")).to_have_text("")
        await on.server.__aenter__()


# pages elsewhere


@asynccontextmanager
async def listening(handler: Any) -> AsyncIterator[str]:
    """Serve something at another origin."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


ATTACKS = {
    "a form": """
        const form = document.createElement("form"), frame = document.createElement("iframe");
        form.method = "POST"; form.enctype = "text/plain"; form.action = at + "/_mockbank/revoke_tokens";
        form.target = frame.name = "there";
        document.body.append(form, frame);
        await new Promise((done) => { frame.onload = done; form.submit(); });""",
    "a simple request": """
        await fetch(at + "/_mockbank/revoke_tokens", {method: "POST", mode: "no-cors", body: "{}"}).catch(() => 0);""",
    "a JSON request": """
        await fetch(at + "/_mockbank/revoke_tokens",
          {method: "POST", headers: {"content-type": "application/json"}, body: "{}"}).catch(() => 0);""",
    "an image": """
        await new Promise((done) => {
          const image = new Image(); image.onload = image.onerror = done; image.src = at + "/_mockbank/revoke_tokens";
        });""",
    "a look": """
        document.body.textContent = await fetch(at + "/_mockbank/state").then((it) => it.text(), () => "");""",
    "a frame": """
        await new Promise((done) => {
          const frame = document.createElement("iframe"); frame.onload = done; frame.src = at + "/";
          document.body.append(frame);
        });""",
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_page_elsewhere_cannot_drive_it(browser: Browser, attack: str) -> None:
    """Forms, requests, images and frames of another page change nothing, and see nothing."""

    async def evil(_: web.Request) -> web.Response:
        return web.Response(text="<!DOCTYPE html><link rel=icon href=data:,><body>", content_type="text/html")

    async with listening(evil) as url, watching(browser) as on:
        page = await on.page.context.new_page()
        sent: list[str] = []
        page.on("request", lambda asked: sent.append(asked.url))
        await page.goto(url)
        token = on.bank.token()
        await page.evaluate(f"async (at) => {{ {ATTACKS[attack]} }}", on.server.base_url)
        await page.wait_for_load_state()
        assert any(where.startswith(on.server.base_url) for where in sent)
        assert on.bank.app not in await page.content()
        assert [await frame.locator("section").count() for frame in page.frames[1:]] in ([], [0])
        call = Call(method="GET", path="/banks/v1", headers={"authorization": f"Bearer {token}"})
        answer = on.bank.handle(call, on.server.clock.now()).answer
        assert answer is not None
        assert answer.status == 200  # tokens were not revoked
