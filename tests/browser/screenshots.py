"""Take pictures of every screen of the hosted page: ``python -m tests.browser.screenshots [DIRECTORY]``.

Without a directory the pictures of the documentation are taken anew, in ``docs/images``: look at each of them.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser

from examples.reconnect_page.__main__ import running

from .chromium import PHONE, WIDE, chromium, window
from .screens import SCREENS, tour
from .stage import stage

DOCS = Path(__file__).parents[2] / "docs" / "images"
_IN_DOCS = {  # each screen in English, the usual way in Arabic, too
    "en": set(SCREENS) - {"credentials", "otp", "otp-connect"},  # shown with what went wrong in them
    "ar": {"banks", "permissions", "otp-wrong", "reconnected", "redirect", "bank-approval"},
}


async def main(directory: Path | None) -> None:
    """Take them."""
    where = directory or DOCS
    where.mkdir(parents=True, exist_ok=True)
    async with chromium() as browser:
        for language in ("en", "ar"):
            async with stage(browser, size=PHONE, seed=1) as on:
                async for name in tour(on, language):
                    if directory is not None or name in _IN_DOCS[language]:
                        await on.page.screenshot(path=where / f"link-{name}-{language}.png")
        async with stage(browser, size=WIDE, seed=1) as on:
            await on.opens("reconnect", reconnect_id=on.reconnectable())
            await on.page.screenshot(path=where / "link-over-a-page.png")
        await _example(browser, where)


async def _example(browser: Browser, where: Path) -> None:
    """Take two of the example: the bank wants its user, and the data is there."""
    with tempfile.TemporaryDirectory() as directory:
        async with running(Path(directory)) as (url, lean), window(browser, PHONE) as context:
            page = await context.new_page()
            await page.goto(url)
            await page.get_by_role("button", name="Load my accounts").click()
            await page.get_by_text("Your bank asks you").wait_for()
            await page.screenshot(path=where / "example-wanted.png")
            lean.user_types(lean.bank.pending_reconnects()[0], "1111")  # elsewhere, on another device
            await page.get_by_text("Here are your accounts.").wait_for()
            await page.screenshot(path=where / "example-done.png")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
