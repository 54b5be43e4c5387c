"""The browser that the tests drive: Debian's Chromium, which is asked for no network of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, async_playwright

__all__ = ["CHROMIUM", "PHONE", "WIDE", "chromium", "window"]

CHROMIUM = Path("/usr/bin/chromium")
PHONE = (360, 640)
WIDE = (1280, 800)

_FLAGS = [
    "--no-sandbox",  # CI is root in a container
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the browser, with a profile that is thrown away; it ends with the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(
    browser: Browser, size: tuple[int, int] = WIDE, *, calm: bool = True, scale: float = 1
) -> AsyncIterator[BrowserContext]:
    """Open a window that remembers nothing of the others.

    Args:
        browser: whose.
        size: width and height in CSS pixels.
        calm: whether the user asked for less motion.
        scale: pixels of the screen to one of CSS.
    """
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        device_scale_factor=scale,
        reduced_motion="reduce" if calm else "no-preference",
    )
    context.set_default_timeout(10_000)
    try:
        yield context
    finally:
        await context.close()
