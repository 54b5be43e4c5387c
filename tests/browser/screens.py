"""A tour of every screen of the hosted page, in either language: for checks that hold everywhere, and for pictures."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from playwright.async_api import Frame

from leanflow.mockbank import Fault

from .stage import Stage

__all__ = ["SCREENS", "frame_of", "tour"]

SCREENS = (
    "banks", "permissions", "credentials", "credentials-wrong", "otp-connect", "connected", "otp", "otp-wrong", "leave",
    "too-many", "unknown", "reconnected", "redirect", "bank-login-wrong", "bank-approval", "bank-approved",
    "bank-refused", "failed", "unreachable", "invalid",
)  # fmt: skip

_LAST = re.compile("one attempt|محاولة واحدة")


def frame_of(stage: Stage) -> Frame:
    """Return the hosted page's frame, or the page if it has the window for itself."""
    return next(frame for frame in stage.page.frames if "/link/" in frame.url)


async def _main(stage: Stage, screen: str) -> None:
    """Press the main button, and wait for a screen."""
    await stage.link.locator(".main").click()
    await stage.screen(screen).wait_for()


async def _types(stage: Stage, *values: str) -> None:
    for number, value in enumerate(values):
        await stage.link.locator("form input").nth(number).fill(value)
    await stage.link.locator(".main").click()


async def _connecting(stage: Stage, language: str) -> AsyncIterator[str]:
    permissions = ["identity", "accounts", "balance", "transactions"]
    customer = stage.customer("user-2")
    await stage.opens("connect", customer_id=customer, permissions=permissions, language=language)
    yield "banks"
    await stage.link.locator(".bank").first.click()
    await stage.screen("permissions").wait_for()
    yield "permissions"
    await _main(stage, "credentials")
    yield "credentials"
    await _types(stage, "mockbank_user_3", "wrong")
    await stage.link.get_by_role("alert").wait_for()
    yield "credentials-wrong"
    await _types(stage, "mockbank_user_3", "mockbank_user_3")
    await stage.screen("otp").wait_for()
    yield "otp-connect"
    await _types(stage, "1111")
    await stage.screen("success").wait_for()
    yield "connected"
    await stage.link.locator(".main").click()
    await stage.said()


async def _reconnecting(stage: Stage, language: str) -> AsyncIterator[str]:
    reconnect_id = stage.reconnectable()
    await stage.opens("reconnect", reconnect_id=reconnect_id, language=language)
    yield "otp"
    await _types(stage, "0000")
    await stage.link.get_by_role("alert").wait_for()
    yield "otp-wrong"
    await stage.page.keyboard.press("Escape")
    await stage.screen("leave").wait_for()
    yield "leave"
    await stage.link.locator(".other").click()
    await stage.screen("otp").wait_for()
    await _types(stage, "0000")
    await stage.link.get_by_role("alert").filter(has_text=_LAST).wait_for()
    await _types(stage, "0000")
    await stage.screen("error").wait_for()
    yield "too-many"
    await stage.link.locator(".main").click()
    await stage.said()
    await stage.opens("reconnect", reconnect_id="never-given", language=language)
    yield "unknown"
    await stage.link.locator(".main").click()
    await stage.said()
    await stage.opens("reconnect", reconnect_id=reconnect_id, language=language)
    await _types(stage, "1111")
    await stage.screen("success").wait_for()
    yield "reconnected"
    await stage.link.locator(".main").click()
    await stage.said()


async def _at_the_bank(stage: Stage, language: str) -> AsyncIterator[str]:
    """Leave for the own site of a bank twice: to approve, and to refuse."""
    bank = stage.bank.banks[0]
    stage.bank.redirect_bank(bank)
    home = {"success_redirect_url": stage.shop_url, "fail_redirect_url": stage.shop_url}
    asked = {"customer_id": stage.customer("user-3"), "permissions": ["identity", "accounts", "transactions"]}
    await stage.opens("connect", **asked, **home, bank_identifier=bank, language=language)
    await _main(stage, "redirect")
    yield "redirect"
    await stage.link.locator(".main").click()
    await stage.at("bank_login").wait_for()
    for password in ("wrong", "mockbank_user_3"):
        await stage.page.locator("form input").nth(0).fill("mockbank_user_3")
        await stage.page.locator("form input").nth(1).fill(password)
        await stage.page.locator(".main").click()
        if password == "wrong":
            await stage.page.get_by_role("alert").wait_for()
            yield "bank-login-wrong"
    await stage.at("bank_approval").wait_for()
    yield "bank-approval"
    await stage.page.locator(".main").click()
    await stage.at("approved").wait_for()
    yield "bank-approved"
    await stage.page.locator(".main").click()
    await stage.page.locator("#go").wait_for()
    await stage.opens("reconnect", reconnect_id=stage.reconnectable("user-4"), **home, language=language)
    await stage.link.locator(".main").click()
    await stage.at("bank_login").wait_for()
    await stage.page.locator(".other").click()
    await stage.at("refused").wait_for()
    yield "bank-refused"
    await stage.page.goto(stage.shop_url)
    stage.bank.redirect_bank(bank, on=False)


async def _failing(stage: Stage, language: str) -> AsyncIterator[str]:
    stage.bank.fault(Fault.http(500, on="link"))
    await stage.opens("reconnect", reconnect_id="never-given", language=language)
    yield "failed"
    await stage.page.context.set_offline(offline=True)
    await _main(stage, "unreachable")
    yield "unreachable"
    await stage.page.context.set_offline(offline=False)
    await stage.link.locator(".other").click()
    await stage.said()
    await stage.page.goto(f"{stage.server.base_url}/link/page/page.html?method=reconnect&language={language}")
    await stage.page.locator('main[data-screen="invalid"]').wait_for()
    yield "invalid"
    await stage.page.goto(stage.shop_url)


async def tour(stage: Stage, language: str) -> AsyncIterator[str]:
    """Go from screen to screen, and yield the name of each when it is shown."""
    stage.bank.switch_bank("MOCK_KSA" if stage.bank.settings.region == "ksa" else "MOCK_UAE", active_data=False)
    for part in (_connecting, _reconnecting, _at_the_bank, _failing):
        async for name in part(stage, language):
            yield name
