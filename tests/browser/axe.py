"""What axe-core says of a page: the judge of what everybody can use."""

from __future__ import annotations

from importlib import resources
from typing import Any

from playwright.async_api import Frame, Page

__all__ = ["judged"]

_AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_RUN = "axe.run(document, {resultTypes: ['violations', 'incomplete']})"
"""Of the rules that are kept only the names are told, not all the elements that keep them."""


async def judged(page: Page | Frame) -> dict[str, Any]:
    """Return the rules that a page breaks, keeps (`passes`) or may break (`incomplete`)."""
    if await page.evaluate("!window.axe"):
        await page.evaluate(_AXE)
    said: dict[str, Any] = await page.evaluate(_RUN)
    return said
