"""Take the pictures of Mockbank's page: ``python -m tests.browser.inspector_screenshots [DIRECTORY]``.

Without a directory the pictures of the documentation are taken anew, in ``docs/images``: look at each of them.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from leanflow import Call
from leanflow.mockbank import Disturbance, Fault, Mockbank, Progress
from leanflow_adapters.mockbank import HandClock, serve

from .chromium import chromium, window

DOCS = Path(__file__).parents[2] / "docs" / "images"
_SIZES = {"wide": (1200, 1250), "phone": (360, 900)}


async def main(where: Path) -> None:
    """Take them, of a Mockbank to which something of everything has happened."""
    bank = Mockbank(results_progress=Progress.held())
    async with (
        serve(bank, clock=HandClock(bank.now), webhook_url="http://127.0.0.1:1/lean/webhooks") as server,
        chromium() as browser,
    ):

        def ask(path: str, **query: str) -> None:
            call = Call(method="GET", path=path, query=query, headers={"lean-app-token": bank.app})
            bank.handle(call, server.clock.now())

        waiting = bank.connect("user-17", username="mockbank_user_3")
        held = bank.connect("user-18")
        bank.revoke_consent(bank.connect("user-19", username="mockbank_user_4"))
        bank.expire_session(waiting)
        await server.advance(timedelta(minutes=1))
        bank.fault(Fault.failed("BANK_ISSUE", entity_id=held))
        ask("/data/v2/accounts", entity_id=waiting)
        ask("/data/v2/accounts", entity_id=held)
        ask("/data/v2/identity", entity_id=held, **{"async": "true"})
        bank.fault(Fault.http(429, retry_after=30, times=3))
        bank.disturb(Disturbance(types="results.ready", copies=1, times=1))
        await server.settle()
        for name, size in _SIZES.items():
            async with window(browser, size) as context:
                page = await context.new_page()
                await page.goto(server.base_url + "/")
                await page.locator("html.js").wait_for()
                await page.screenshot(path=where / f"mockbank-page-{name}.png")


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS
    directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(directory))
