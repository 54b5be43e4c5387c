"""The page of the example backends in a real browser, through the whole reconnect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser

from leanflow_adapters.mockbank import lean_or_mockbank
from tests.browser.chromium import window
from tests.support.servers import free_port, uvicorn_serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

if not (Path(__file__).parents[2] / "examples").is_dir():
    pytest.skip("the examples are not part of the wheel", allow_module_level=True)


async def test_the_page_follows_the_request_to_its_data(browser: Browser) -> None:
    """Load, to the bank, the code: the stream of progress brings the data."""
    from examples.fastapi_backend import make_app

    port = free_port()
    with lean_or_mockbank({}, f"http://127.0.0.1:{port}/lean/webhooks") as env:
        async with uvicorn_serving(make_app(env), port=port) as url, window(browser) as context:
            page = await context.new_page()
            troubles: list[str] = []
            page.on("console", lambda one: troubles.append(one.text) if one.type == "error" else None)
            page.on("pageerror", lambda error: troubles.append(str(error)))
            await page.goto(url)
            await page.get_by_role("button", name="Load my accounts").click()
            await page.get_by_role("listitem").get_by_text("reconnect_required").wait_for()
            await page.get_by_role("button", name="Continue to my bank").click()
            link = page.frame_locator("dialog iframe")
            await link.get_by_label("Code", exact=True).fill("1111")
            await link.get_by_role("button", name="Confirm").click()
            await link.get_by_role("button", name="Done", exact=True).click()
            await page.wait_for_url(re.compile("status=SUCCESS"))  # the SDK sends the user to the page, anew
            await page.get_by_role("status").get_by_text("Here they are:").wait_for()
            states = await page.get_by_role("listitem").all_inner_texts()
            assert states[-1] == "fetched"
            assert not await page.get_by_role("button", name="Continue to my bank").is_visible()
            assert troubles == []


async def test_the_page_follows_its_request_when_the_user_comes_back_from_the_bank(browser: Browser) -> None:
    """It is gone while the user is at the bank's own site; back on it, the progress goes on without a click."""
    from examples.fastapi_backend import make_app

    port = free_port()
    with lean_or_mockbank({}, f"http://127.0.0.1:{port}/lean/webhooks") as env:
        await _authorises_elsewhere(env)
        async with uvicorn_serving(make_app(env), port=port) as url, window(browser) as context:
            page = await context.new_page()
            await page.goto(url)
            await page.get_by_role("button", name="Load my accounts").click()
            for choice in ("Refuse", "Approve"):
                await page.get_by_role("button", name="Continue to my bank").click()
                await page.frame_locator("dialog iframe").get_by_role("button", name="Go to my bank").click()
                for label in ("Username", "Password"):
                    await page.get_by_label(label).fill("mockbank_user_3")
                await page.get_by_role("button", name="Log in").click()
                await page.get_by_role("button", name=choice).click()
                await page.get_by_role("link", name="Back to the app").click()
            await page.get_by_role("status").get_by_text("Here they are:").wait_for()
            await page.evaluate("localStorage.setItem('request', '/requests/00000000-0000-7000-8000-000000000000')")
            await page.reload()
            await page.wait_for_function("localStorage.getItem('request') === null")


async def _authorises_elsewhere(env: Mapping[str, str]) -> None:
    """Have the user's bank ask on its own site."""
    async with aiohttp.ClientSession() as lean:
        switch = lean.post(f"{env['LEAN_URL']}/_mockbank/redirect_bank", json={"bank": "LEANMB1"})
        async with switch as answer:
            assert answer.status == 200, await answer.text()
