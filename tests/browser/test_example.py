"""The example page in a real browser: an application's own backend and page, from the button to the data."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from leanflow.mockbank import Fault
from tests.browser.chromium import PHONE, window

pytestmark = pytest.mark.asyncio(loop_scope="session")

if not (Path(__file__).parents[2] / "examples").is_dir():
    pytest.skip("the examples are not part of the wheel", allow_module_level=True)


async def _types_the_code(page: Page, labels: tuple[str, str, str]) -> None:
    code, confirm, done = labels
    link = page.frame_locator("dialog iframe")
    await link.get_by_label(code, exact=True).fill("1111")
    await link.get_by_role("button", name=confirm).click()
    await link.get_by_role("button", name=done, exact=True).click()
    await page.wait_for_url(re.compile("status=SUCCESS"))  # the SDK sends the user to the page, anew


@pytest.mark.parametrize(
    ("language", "texts", "labels"),
    [
        ("en", ("Load my accounts", "Continue to my bank", "Here are your accounts."), ("Code", "Confirm", "Done")),
        ("ar", ("تحميل حساباتي", "المتابعة إلى البنك", "هذه حساباتك."), ("رمز التحقق", "تأكيد", "تم")),
    ],
)
async def test_the_example_shows_the_accounts_after_a_reconnect(
    browser: Browser, tmp_path: Path, language: str, texts: tuple[str, str, str], labels: tuple[str, str, str]
) -> None:
    """The button, the bank's wish, a change of mind, the code: then the accounts are there, by themselves."""
    from examples.reconnect_page.__main__ import running

    load, to_bank, here = texts
    async with running(tmp_path) as (url, lean), window(browser, PHONE) as context:
        page = await context.new_page()
        troubles: list[str] = []
        page.on("console", lambda one: troubles.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        await page.goto(f"{url}/?lang={language}")
        await page.get_by_role("button", name=load).click()
        await page.get_by_role("button", name=to_bank).click()
        link = page.frame_locator("dialog iframe")
        await link.locator("h1:focus").wait_for()
        await page.keyboard.press("Escape")
        await link.locator('main[data-screen="leave"] .main').click()
        await page.wait_for_url(re.compile("status=CANCELLED"))
        await page.get_by_role("button", name=to_bank).click()
        await _types_the_code(page, labels)
        await page.get_by_role("status").get_by_text(here).wait_for()
        entity_id = lean.bank.state()["entities"][0]["entity_id"]
        assert await page.get_by_role("listitem").count() == len(lean.bank.accounts_of(entity_id)) >= 2
        assert await page.get_by_role("button", name=to_bank).count() == 0
        assert "AED" in await page.get_by_role("list").inner_text()
        html = await page.evaluate("(({lang, dir, scrollWidth}) => [lang, dir, scrollWidth])(document.documentElement)")
        assert html == [language, "rtl" if language == "ar" else "ltr", 360]
        await page.get_by_role("button", name=load).click()  # the session lives: no bank in between
        await page.get_by_role("status").get_by_text(here).wait_for()
        assert troubles == []


async def test_the_example_has_the_way_out_of_an_ended_consent(browser: Browser, tmp_path: Path) -> None:
    """CONSENT_EXPIRED is an end: the page runs Lean.connect, and asks anew."""
    from examples.reconnect_page.__main__ import running

    async with running(tmp_path) as (url, lean), window(browser) as context:
        lean.bank.revoke_consent(lean.bank.state()["entities"][0]["entity_id"])
        page = await context.new_page()
        await page.goto(url)
        await page.get_by_role("button", name="Load my accounts").click()
        await page.get_by_text("Your consent has ended.").wait_for()
        assert await page.get_by_role("button", name="Load my accounts").is_enabled()
        await page.get_by_role("button", name="Continue to my bank").click()
        link = page.frame_locator("dialog iframe")
        await link.get_by_role("button", name="Lean Mockbank").click()
        await link.get_by_role("button", name="Allow").click()
        await link.get_by_label("Username").fill("mockbank_user_3")
        await link.get_by_label("Password").fill("mockbank_user_3")
        await link.get_by_role("button", name="Log in").click()
        await _types_the_code(page, ("Code", "Confirm", "Done"))
        await page.get_by_role("status").get_by_text("Here are your accounts.").wait_for()
        assert len(lean.bank.state()["entities"]) == 1


async def test_the_example_tells_what_failed(browser: Browser, tmp_path: Path) -> None:
    """An account that the bank has locked is an end without data; the button works again."""
    from examples.reconnect_page.__main__ import running

    async with running(tmp_path) as (url, lean), window(browser) as context:
        lean.bank.fault(Fault.failed("EU_ACCOUNT_LOCKED"))
        page = await context.new_page()
        await page.goto(url)
        await page.get_by_role("button", name="Load my accounts").click()
        await page.get_by_text("Your accounts could not be loaded.").wait_for()
        assert await page.get_by_role("button", name="Load my accounts").is_enabled()
        assert not await page.get_by_role("button", name="Continue to my bank").is_visible()


async def _goes_to_the_bank(page: Page) -> None:
    """From the SDK's last screen to the bank's own site, and log in there."""
    await page.frame_locator("dialog iframe").get_by_role("button", name="Go to my bank").click()
    for label in ("Username", "Password"):
        await page.get_by_label(label).fill("mockbank_user_3")
    await page.get_by_role("button", name="Log in").click()


async def _decides(page: Page, choice: str) -> None:
    """Approve or refuse at the bank's own site, and take its way back."""
    await page.get_by_role("button", name=choice).click()
    await page.get_by_role("link", name="Back to the app").click()


async def test_the_example_hears_that_its_user_left_for_the_banks_own_site(browser: Browser, tmp_path: Path) -> None:
    """The callback reaches the backend though its page is gone with it; it moves nothing, and the approval all."""
    from examples.reconnect_page.__main__ import running

    async with running(tmp_path) as (url, lean), window(browser, PHONE) as context:
        lean.redirect_bank(lean.bank.banks[0])
        page = await context.new_page()
        await page.goto(url)
        await page.get_by_role("button", name="Load my accounts").click()
        await page.get_by_role("button", name="Continue to my bank").click()
        await _goes_to_the_bank(page)
        await _decides(page, "Approve")
        await page.get_by_role("status").get_by_text("Here are your accounts.").wait_for()
        with sqlite3.connect(f"file:{tmp_path}/flows.db?mode=ro", uri=True) as stored:
            [(first,)] = stored.execute("SELECT id FROM leanflow_requests").fetchall()  # nothing was asked for twice
            query = "SELECT event, from_state, to_state FROM leanflow_history WHERE request_id = ? ORDER BY version"
            told = stored.execute(query, [first]).fetchall()
        [hinted] = [number for number, (event, _, _) in enumerate(told) if "REDIRECT" in event]
        assert told[hinted][1:] == ("awaiting_user", "awaiting_user")
        assert {"reconnected", "results_ready"} & {to_state for _, _, to_state in told[hinted + 1 :]}
        assert told[-1][2] == "fetched"


async def test_the_example_goes_on_where_its_user_left_it(browser: Browser, tmp_path: Path) -> None:
    """After a refusal at the bank, at an address of the bank's making, in another tab, and after a reload."""
    from examples.reconnect_page.__main__ import running

    async with running(tmp_path) as (url, lean), window(browser, PHONE) as context:
        lean.redirect_bank(lean.bank.banks[0])
        page = await context.new_page()
        await page.goto(f"{url}/?lang=en")
        await page.get_by_role("button", name="Load my accounts").click()
        await page.get_by_role("button", name="Continue to my bank").click()
        await _goes_to_the_bank(page)
        await _decides(page, "Refuse")
        await page.wait_for_url(f"{url}/?lang=en")
        to_bank = page.get_by_role("button", name="Continue to my bank")
        await to_bank.wait_for()
        await page.goto(f"{url}/?state=of-the-banks-own")
        await to_bank.wait_for()
        other = await context.new_page()
        await other.goto(url)
        await other.get_by_role("button", name="Continue to my bank").click()
        await _goes_to_the_bank(other)
        await _decides(other, "Approve")
        for each in (page, other):
            await each.get_by_role("status").get_by_text("Here are your accounts.").wait_for()
        await page.reload()
        await page.get_by_role("status").get_by_text("Here are your accounts.").wait_for()
        assert await page.get_by_role("listitem").count() >= 2
        assert await page.get_by_role("button", name="Load my accounts").is_enabled()


async def test_the_example_lets_go_of_a_request_that_is_not_its_users(browser: Browser, tmp_path: Path) -> None:
    """Somebody else logged in, or it was purged: the page begins anew."""
    from examples.reconnect_page.__main__ import running

    async with running(tmp_path) as (url, _), window(browser) as context:
        page = await context.new_page()
        await page.goto(url)
        await page.evaluate("localStorage.setItem('request', '00000000-0000-7000-8000-000000000000')")
        await page.reload()
        await page.get_by_role("button", name="Load my accounts", disabled=False).wait_for()
        await page.wait_for_function("localStorage.getItem('request') === null")


async def test_the_example_asks_anew_when_its_user_has_connected_at_the_banks_own_site(
    browser: Browser, tmp_path: Path
) -> None:
    """The page is gone with `Lean.connect` too; back on it, nobody must press anything."""
    from examples.reconnect_page.__main__ import running

    async with running(tmp_path) as (url, lean), window(browser) as context:
        lean.redirect_bank(lean.bank.banks[0])
        lean.bank.revoke_consent(lean.bank.state()["entities"][0]["entity_id"])
        page = await context.new_page()
        await page.goto(url)
        await page.get_by_role("button", name="Load my accounts").click()
        await page.get_by_text("Your consent has ended.").wait_for()
        await page.get_by_role("button", name="Continue to my bank").click()
        link = page.frame_locator("dialog iframe")
        await link.get_by_role("button", name="Lean Mockbank").click()
        await link.get_by_role("button", name="Allow").click()
        await _goes_to_the_bank(page)
        await _decides(page, "Approve")
        await page.get_by_role("status").get_by_text("Here are your accounts.").wait_for()
