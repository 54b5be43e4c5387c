"""A Mockbank on a port, and the page of an application on another: what the browser tests play on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import web
from playwright.async_api import Browser, FrameLocator, Locator, Page

from leanflow import Call
from leanflow.mockbank import Mockbank
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.mockbank import MockbankServer, serve

from .chromium import WIDE, window

__all__ = ["LOADERS", "Stage", "stage"]

LOADERS = {
    "uae": "/link/loader/prod/ae/latest/lean-link-loader.min.js",
    "ksa": "/link/loader/prod/sa/latest/lean-link-loader.min.js",
}
_SHOP = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shop</title>
<link rel="icon" href="data:,"><script src="%s"></script></head>
<body><h1>Shop</h1><button id="go">Load my accounts</button> <a href="#other">Elsewhere</a><ul id="said"></ul>
<script>
  const callback = (said) => {
    const item = document.createElement("li");
    item.textContent = JSON.stringify(said);
    document.getElementById("said").append(item);
  };
  document.getElementById("go").addEventListener("click", () => {
    (window.Lean ?? window.LeanV2)[window.method]({callback, ...window.options});
  });
</script></body></html>"""
# An application that is careful: nothing but the SDK's own host may bring scripts and frames, and no styles at all.
_POLICY = "default-src 'none'; script-src 'unsafe-inline' {0}; frame-src {0}; img-src data:"


@attrs.define(kw_only=True)
class Stage:
    """A window of the browser at the application's page.

    Attributes:
        troubles: what the pages complained about: errors on the console, exceptions, refused loads.
    """

    server: MockbankServer
    page: Page
    shop_url: str
    troubles: list[str] = attrs.field(factory=list)

    @property
    def bank(self) -> Mockbank:
        """The simulated Lean."""
        return self.server.bank

    @property
    def link(self) -> FrameLocator:
        """The hosted page, in its frame."""
        return self.page.frame_locator("dialog iframe")

    def reconnectable(self, app_user_id: str = "user-1") -> str:
        """Connect an entity whose session is over, and ask for its accounts; return the reconnect id."""
        entity = self.bank.connect(app_user_id, username="mockbank_user_3")
        self.bank.expire_session(entity)
        said = self.ask("GET", "/data/v2/accounts", entity_id=entity)
        assert said["status"] == "RECONNECT_REQUIRED"
        return str(said["results_id"])

    def entity(self) -> str:
        """Return the first entity's id."""
        return str(self.bank.state()["entities"][0]["entity_id"])

    def customer(self, app_user_id: str = "user-1") -> str:
        """Make a customer; return the id."""
        return str(self.ask("POST", "/customers/v1", {"app_user_id": app_user_id})["customer_id"])

    def ask(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Call the API as a backend does."""
        raw = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.bank.token()}", "content-type": "application/json"}
        call = Call(method=method, path=path, query=query, headers=headers, body=raw)
        answer = self.bank.handle(call, self.server.clock.now()).answer
        assert answer is not None
        return json.loads(answer.body)

    async def opens(self, method: str, **options: Any) -> None:
        """Open the Link SDK by the application's button."""
        await self.begins(method, **options)
        await self.link.locator("h1:focus").wait_for()

    async def begins(self, method: str, **options: Any) -> None:
        """Press the application's button that calls the SDK with these options."""
        given = {"app_token": self.bank.app, "sandbox": True, **options}
        await self.page.evaluate("([method, options]) => Object.assign(window, {method, options})", [method, given])
        await self.page.get_by_role("button", name="Load my accounts").click()

    async def said(self) -> dict[str, Any]:
        """Wait until the SDK has called back, and return with what; it is over then, and gone."""
        items = self.page.locator("#said li")
        await items.first.wait_for()
        [said] = await items.all_text_contents()
        await self.page.evaluate("document.getElementById('said').replaceChildren()")
        assert await self.page.locator("dialog").count() == 0
        payload: dict[str, Any] = json.loads(said)
        return payload

    def screen(self, name: str) -> Locator:
        """Return the hosted page's screen of a name."""
        return self.link.locator(f'main[data-screen="{name}"]')

    def at(self, name: str) -> Locator:
        """Return a screen of the page that has the window for itself."""
        return self.page.locator(f'main[data-screen="{name}"]')

    async def presses(self, name: str) -> None:
        """Press a button of the hosted page's screen, once it does nothing else."""
        await self.link.locator('main[aria-busy="false"]').wait_for()
        await self.link.get_by_role("main").get_by_role("button", name=name, exact=True).click()

    async def closes(self) -> None:
        """Press the cross at the top of the hosted page."""
        await self.link.get_by_role("banner").get_by_role("button", name="Close").click()

    async def logs_in(self, username: str = "mockbank_user_3", bank: str = "Lean Mockbank") -> None:
        """Go through the screens of Lean.connect, in English, up to the code."""
        await self.presses(bank)
        await self.presses("Allow")
        await self.link.get_by_label("Username").fill(username)
        await self.link.get_by_label("Password").fill(username)
        await self.presses("Log in")

    async def types_code(self, code: str = "1111") -> None:
        """Type a code, in English."""
        await self.link.locator('main[aria-busy="false"]').wait_for()
        await self.link.get_by_label("Code").fill(code)
        await self.presses("Confirm")


@asynccontextmanager
async def _shop(server: MockbankServer, loader: str) -> AsyncIterator[str]:
    """Serve the application's page on a port of its own; give its address."""
    text = _SHOP % f"{server.base_url}{loader}"
    headers = {"content-security-policy": _POLICY.format(server.base_url)}

    async def shop(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html", headers=headers)

    app = web.Application()
    app.router.add_get("/", shop)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def stage(
    browser: Browser, *, size: tuple[int, int] = WIDE, loader: str | None = None, calm: bool = True, **settings: Any
) -> AsyncIterator[Stage]:
    """Put a Mockbank on a port, an application's page on another, and a window of the browser there."""
    clock = SystemClock()
    bank = Mockbank(now=clock.now(), **settings)
    async with (
        serve(bank, clock=clock) as server,
        _shop(server, loader or LOADERS[bank.settings.region]) as url,
        window(browser, size, calm=calm) as context,
    ):
        page = await context.new_page()
        found = Stage(server=server, page=page, shop_url=url)
        page.on("console", lambda one: found.troubles.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda error: found.troubles.append(str(error)))
        await page.goto(url)
        yield found
