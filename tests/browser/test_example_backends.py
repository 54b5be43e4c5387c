"""The page of the example backends in a real browser, through the whole reconnect."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser

from leanflow_adapters.mockbank import lean_or_mockbank
from tests.browser.chromium import window
from tests.support.servers import free_port, uvicorn_serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

if not (Path(__file__).parents[2] / "examples").is_dir():
    pytest.skip("the examples are not part of the wheel", allow_module_level=True)


async def test_the_page_follows_the_request_to_its_data(browser: Browser) -> None:
    """Load, to the bank, the code: the stream of progress brings the data, without a reload."""
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
            await page.get_by_role("button", name="Continue to my bank").click()
            link = page.frame_locator("dialog iframe")
            await link.get_by_label("Code", exact=True).fill("1111")
            await link.get_by_role("button", name="Confirm").click()
            await link.get_by_role("button", name="Done", exact=True).click()
            await page.get_by_role("status").get_by_text("Here they are:").wait_for()
            states = await page.get_by_role("listitem").all_inner_texts()
            assert (states[0], states[-1]) == ("reconnect_required", "fetched")
            assert not await page.get_by_role("button", name="Continue to my bank").is_visible()
            assert troubles == []
