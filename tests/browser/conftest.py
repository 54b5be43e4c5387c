"""What tests in a real browser share. They are skipped by name where there is none, and fail where one is required.

All of them run on one event loop, for the browser is started once: modules say
``pytestmark = pytest.mark.asyncio(loop_scope="session")``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.chromium import CHROMIUM, chromium


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A running Chromium, which ends with the last of these modules."""
    if not CHROMIUM.exists():
        if os.environ.get("LEANFLOW_REQUIRE_SERVICES"):
            pytest.fail(f"a browser is required, and there is no {CHROMIUM}: see .ci/browser")
        pytest.skip(f"no browser: there is no {CHROMIUM}")
    async with chromium() as running:
        yield running
