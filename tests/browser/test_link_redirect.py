"""Banks that authorise on their own site, in a real browser: REDIRECT, the bank's page, the way back."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.async_api import Browser

from leanflow.mockbank import Fault
from tests.browser.chromium import PHONE
from tests.browser.stage import Stage, stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

BANK = "LEANMB1"
# The application's page is gone when the user is at the bank: what it was told is kept for later.
_KEEP = """() => addEventListener("pagehide", () => {
  sessionStorage.setItem("said", document.querySelector("#said").textContent);
})"""


def events(on: Stage) -> list[str]:
    """Return the types of all webhooks so far, sorted."""
    return sorted(one["type"] for one in on.ask("GET", "/events/v1", page="0", size="50")["data"])


def home(on: Stage) -> dict[str, str]:
    """Return where the user is to come back to."""
    return {"success_redirect_url": f"{on.shop_url}?good=1", "fail_redirect_url": f"{on.shop_url}?bad=1"}


async def leaves(on: Stage, method: str, **options: Any) -> None:
    """Go through the SDK until the bank's own site is there."""
    await on.page.evaluate(_KEEP)
    await on.opens(method, **options)
    if method == "connect":
        await on.presses("Allow")
    await on.presses("Go to my bank")
    await on.at("bank_login").wait_for()


async def logs_in(on: Stage, typed: str = "mockbank_user_3") -> None:
    """Log in at the bank's own site, in English."""
    await on.page.get_by_label("Username").fill("mockbank_user_3")
    await on.page.get_by_label("Password").fill(typed)
    await on.page.get_by_role("button", name="Log in").click()


def connecting(on: Stage) -> dict[str, Any]:
    """Return what `Lean.connect` is called with."""
    return {"customer_id": on.customer(), "permissions": ["accounts"], "bank_identifier": BANK}


async def test_a_connection_is_approved_at_the_banks_own_site(browser: Browser) -> None:
    """The callback comes before the page goes; the webhook with the approval; the way back says nothing of it."""
    async with stage(browser, redirect_banks=(BANK,)) as on:
        await leaves(on, "connect", **connecting(on), **home(on))
        url = on.page.url
        await logs_in(on)
        await on.at("bank_approval").wait_for()
        assert events(on) == []
        await on.page.get_by_role("button", name="Approve").click()
        await on.page.get_by_role("heading", name="You have approved").wait_for()
        assert events(on) == ["entity.created"]
        await on.page.get_by_role("link", name="Back to the app").click()
        await on.page.wait_for_url(home(on)["success_redirect_url"])
        said = json.loads(await on.page.evaluate("sessionStorage.getItem('said')"))
        assert len(said.pop("lean_correlation_id")) == 36
        assert said == {
            "status": "REDIRECT",
            "message": "The user was sent to the bank.",
            "exit_point": "REDIRECT",
            "open_banking_redirect_url": url,
            "bank": {"bank_identifier": BANK, "is_supported": True},
        }
        assert on.troubles == []


async def test_a_reconnect_is_approved_or_refused_there(browser: Browser) -> None:
    """Refused: no webhook, the other address, and the same id again; approved: `entity.reconnected`, and the data."""
    async with stage(browser, redirect_banks=(BANK,)) as on:
        reconnect_id = on.reconnectable()
        for choice, title, where in (("Refuse", "refused", "bad"), ("Approve", "approved", "good")):
            await leaves(on, "reconnect", reconnect_id=reconnect_id, **home(on))
            assert "entity.reconnected" not in events(on)
            await logs_in(on)
            await on.page.get_by_role("button", name=choice).click()
            await on.page.get_by_role("heading", name=f"You have {title}").wait_for()
            await on.page.get_by_role("link", name="Back to the app").click()
            await on.page.wait_for_url(f"{on.shop_url}?{where}=1")
        assert events(on) == ["entity.created", "entity.reconnected", "results.ready"]
        assert on.ask("GET", f"/data/v2/results/{reconnect_id}")["status"] == "OK"


async def test_without_an_address_the_bank_ends_with_words(browser: Browser) -> None:
    """There is nowhere to send the user, and no button that does nothing."""
    async with stage(browser, redirect_banks=(BANK,)) as on:
        await leaves(on, "reconnect", reconnect_id=on.reconnectable())
        await logs_in(on)
        await on.page.get_by_role("button", name="Approve").click()
        await on.page.get_by_role("heading", name="You have approved").wait_for()
        assert await on.page.get_by_role("link").count() == 0
        assert await on.page.get_by_role("button").all_inner_texts() == ["العربية"]


async def test_a_wrong_login_is_told_at_the_field_and_three_end_it(browser: Browser) -> None:
    """As at the SDK's own login; then the way back to `fail_redirect_url`."""
    async with stage(browser, redirect_banks=(BANK,)) as on:
        await leaves(on, "connect", **connecting(on), **home(on))
        for left in ("2 attempts", "one attempt"):
            await logs_in(on, "wrong")
            await on.page.get_by_role("alert").get_by_text(left).wait_for()
            assert await on.page.locator(":focus").get_attribute("name") == "username"
            assert await on.page.get_by_label("Password").input_value() == ""
        await logs_in(on, "wrong")
        await on.page.get_by_role("heading", name="Login failed").wait_for()
        await on.page.get_by_role("button", name="Close").click()
        await on.page.wait_for_url(home(on)["fail_redirect_url"])
        assert events(on) == []


async def test_at_the_bank_escape_refuses_nothing_and_the_cross_does(browser: Browser) -> None:
    """No slip of a finger refuses."""
    async with stage(browser, redirect_banks=(BANK,)) as on:
        await leaves(on, "reconnect", reconnect_id=on.reconnectable())
        await on.page.keyboard.press("Escape")
        await logs_in(on)
        await on.at("bank_approval").wait_for()
        await on.page.keyboard.press("Escape")
        await on.page.get_by_role("button", name="Close").click()
        await on.page.get_by_role("heading", name="You have refused").wait_for()


async def test_before_leaving_the_user_can_turn_round(browser: Browser) -> None:
    """Back to the permissions, or out: CANCELLED, at the screen REDIRECT."""
    async with stage(browser, redirect_banks=(BANK,)) as on:
        await on.opens("connect", **connecting(on))
        await on.presses("Allow")
        await on.screen("redirect").wait_for()
        await on.presses("Back")
        await on.screen("permissions").wait_for()
        await on.presses("Allow")
        await on.screen("redirect").wait_for()
        await on.page.keyboard.press("Escape")
        await on.presses("Leave")
        said = await on.said()
        assert (said["status"], said["exit_point"]) == ("CANCELLED", "REDIRECT")


async def test_errors_at_the_bank_can_be_tried_again(browser: Browser) -> None:
    """Of the page itself, and of a step; a page that is not known says that it is no longer valid."""
    async with stage(browser, redirect_banks=(BANK,)) as on:
        await on.opens("reconnect", reconnect_id=on.reconnectable())
        await on.screen("redirect").wait_for()
        on.bank.fault(Fault.http(503, on="link", skip=1))
        await on.presses("Go to my bank")
        await on.at("failed").wait_for()
        assert await on.page.get_by_role("main").get_by_role("button").all_inner_texts() == ["Try again"]
        await on.page.get_by_role("button", name="Try again").click()
        await on.at("bank_login").wait_for()
        on.bank.fault(Fault.http(503, on="link"))
        await logs_in(on)
        await on.at("failed").wait_for()
        await on.page.get_by_role("button", name="Try again").click()
        await on.at("bank_approval").wait_for()
        await on.page.get_by_role("button", name="Approve").click()
        await on.page.get_by_role("heading", name="You have approved").wait_for()
        await on.page.goto(f"{on.server.base_url}/link/bank/nobody")
        await on.page.get_by_role("heading", name="This request is no longer valid").wait_for()


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ("Go to my bank", "Log in", "Approve", "Back to the app")),
     ("ar", ("الانتقال إلى البنك", "تسجيل الدخول", "موافق", "العودة إلى التطبيق"))],
)  # fmt: skip
async def test_the_keyboard_alone_is_enough_on_a_phone(browser: Browser, language: str, words: tuple[str, ...]) -> None:
    """From the application's button to the bank and back, with Tab, Enter and typing; the language goes along."""
    go, log_in, approve, back = words
    async with stage(browser, size=PHONE, redirect_banks=(BANK,)) as on:
        await on.opens("reconnect", reconnect_id=on.reconnectable(), language=language, **home(on))
        frame = on.link.locator(":focus")
        await tab_to(on, frame, go)
        await on.page.keyboard.press("Enter")
        await on.at("bank_login").wait_for()
        assert await on.page.locator("html").get_attribute("lang") == language
        focused = on.page.locator(":focus")
        for name in ("username", "password"):
            await tab_to(on, focused, name)
            await on.page.keyboard.type("mockbank_user_3")
        for control, screen in ((log_in, "bank_approval"), (approve, "approved")):
            await tab_to(on, focused, control)
            await on.page.keyboard.press("Enter")
            await on.at(screen).wait_for()
            await on.page.locator("h1:focus").wait_for()
        await tab_to(on, focused, back)
        await on.page.keyboard.press("Enter")
        await on.page.wait_for_url(home(on)["success_redirect_url"])


async def tab_to(on: Stage, focused: Any, name: str) -> None:
    """Press Tab until a control has the focus: it must come soon."""
    for _ in range(8):
        await on.page.keyboard.press("Tab")
        if not await focused.count():
            continue
        if (await focused.get_attribute("name") or await focused.inner_text()).strip() == name:
            return
    pytest.fail(f"{name} cannot be reached by Tab")


# --- the page alone, as mobile wrappers open it


def alone(on: Stage, base_url: str, **query: str) -> str:
    """Return the address of the hosted page for a reconnect, as a wrapper makes it."""
    given = {"app_token": on.bank.app, "sandbox": "true", "method": "reconnect", "reconnect_id": on.reconnectable()}
    return f"{base_url}/link/loader/prod/ae/latest/lean-sdk.html?{urlencode({**given, **query})}"


async def test_a_wrapper_is_told_by_its_deep_link(browser: Browser) -> None:
    """`leanlink://redirect` with the callback's fields: the wrapper opens the bank; named by the host that it knows."""
    async with stage(browser, redirect_banks=(BANK,)) as on:
        here = on.server.base_url.replace("127.0.0.1", "localhost")
        await on.page.goto(alone(on, here))
        await on.page.get_by_role("button", name="Go to my bank").click()
        link = await on.page.get_by_role("link", name="Back to the app").get_attribute("href")
        told = parse_qs(urlsplit(str(link)).query)
        assert str(link).startswith("leanlink://redirect?")
        assert (told["status"], told["bank_identifier"]) == (["REDIRECT"], [BANK])
        [url] = told["open_banking_redirect_url"]
        assert url.startswith(f"{here}/link/bank/")
        on.page = await on.page.context.new_page()  # the browser may still ask in the old one who opens leanlink:
        await on.page.goto(url)
        await on.at("bank_login").wait_for()


async def test_the_page_alone_with_addresses_goes_to_the_bank_itself(browser: Browser) -> None:
    """There is no wrapper then; and the user comes back to them."""
    async with stage(browser, redirect_banks=(BANK,)) as on:
        await on.page.goto(alone(on, on.server.base_url, **home(on)))
        await on.page.get_by_role("button", name="Go to my bank").click()
        await logs_in(on)
        await on.page.get_by_role("button", name="Refuse").click()
        await on.page.get_by_role("link", name="Back to the app").click()
        await on.page.wait_for_url(home(on)["fail_redirect_url"])
