"""The stand-in for the Link SDK as files: what is served where, and that it is in the package."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import resources

import aiohttp
import pytest

from leanflow.mockbank import Mockbank
from leanflow_adapters.mockbank import HandClock, serve


async def _getting(region: str) -> AsyncIterator[aiohttp.ClientSession]:
    clock = HandClock()
    async with (
        serve(Mockbank(now=clock.now(), region=region), clock=clock) as server,
        aiohttp.ClientSession(server.base_url) as session,
    ):
        yield session


@pytest.fixture(params=["uae", "ksa"])
async def region(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str, aiohttp.ClientSession]]:
    """A region's own short name, the other's, and a client of its Mockbank."""
    here, other = ("ae", "sa") if request.param == "uae" else ("sa", "ae")
    async for session in _getting(request.param):
        yield here, other, session


async def test_the_sdk_is_where_leans_loader_is(region: tuple[str, str, aiohttp.ClientSession]) -> None:
    """At the present address and at two older ones; at the other region's there is a hint instead."""
    here, other, session = region
    for path in (
        "/link/loader/prod/{}/latest/lean-link-loader.min.js",
        "/link/sdk/web/v2/prod/{}/latest/Lean.min.js",
        "/link/sdk/web/latest/Lean.min.js",
    ):
        async with session.get(path.format(here)) as answer:
            assert (answer.status, answer.content_type) == (200, "text/javascript")
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
            assert "reconnect:" in await answer.text()
        if "{}" in path:
            async with session.get(path.format(other)) as answer:
                assert (answer.status, f"/{here}/" in await answer.text()) == (404, True)


async def test_the_hosted_page_takes_nothing_from_elsewhere(region: tuple[str, str, aiohttp.ClientSession]) -> None:
    """Both addresses of it have the same policy; its address, which may hold a token, is told to nobody."""
    here, _, session = region
    for path in ("/link/page/page.html", f"/link/loader/prod/{here}/latest/lean-sdk.html"):
        async with session.get(path) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            assert "'unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "//" not in (await answer.text()).replace("<!DOCTYPE html>", "")


async def test_a_banks_own_site_is_in_no_frame(region: tuple[str, str, aiohttp.ClientSession]) -> None:
    """The same page under a policy of its own; whether there is such a visit, the page asks."""
    _, _, session = region
    async with session.get("/link/bank/any") as answer:
        policy = answer.headers["content-security-policy"]
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert policy.endswith("frame-ancestors 'none'")
        assert "default-src 'self'" in policy


async def test_no_other_files_are_served(region: tuple[str, str, aiohttp.ClientSession]) -> None:
    """Nothing above the pages, and nothing beside them that is not one."""
    _, _, session = region
    for name in ("page.css", "page.js", "screens.js", "elements.js", "texts.js"):
        async with session.get(f"/link/page/{name}") as answer:
            assert answer.status == 200
    for name in ("sdk.js", "..%2f_pages.py", "..%2f..%2fmockbank%2f_pages.py", "nothing.js", "PAGE.html"):
        async with session.get(f"/link/page/{name}") as answer:
            assert answer.status == 404


def test_the_pages_are_in_the_package() -> None:
    """A wheel without them would serve errors."""
    directory = resources.files("leanflow_adapters.mockbank").joinpath("link")
    files = {"elements.js", "page.css", "page.html", "page.js", "screens.js", "sdk.js", "texts.js"}
    assert {one.name for one in directory.iterdir()} == files
