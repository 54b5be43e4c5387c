"""The stand-in for Lean's Link SDK and its hosted page: files, served under the paths of Lean's loader."""

from __future__ import annotations

from importlib import resources

from aiohttp import web

__all__ = ["add_link_pages"]

_TYPES = {"js": "text/javascript", "css": "text/css", "html": "text/html"}
_PAGE_FILES = ("page.html", "page.css", "page.js", "screens.js", "elements.js", "texts.js")
# The page is meant to be framed by an application's page; all else comes from here, and forms go nowhere.
_PAGE_POLICY = "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors *"
_SITE_POLICY = _PAGE_POLICY.removesuffix("*") + "'none'"  # a bank is in no frame


def _file(name: str, policy: str = _PAGE_POLICY) -> web.Response:
    text = resources.files(__package__).joinpath("link", name).read_text(encoding="utf-8")
    headers = {
        "cache-control": "no-store",  # what is edited is seen at the next load
        "cross-origin-resource-policy": "cross-origin",
        "referrer-policy": "no-referrer",  # the page's address can have an access token in it
        "x-content-type-options": "nosniff",
    }
    kind = name.rpartition(".")[2]
    if kind == "html":
        headers["content-security-policy"] = policy
    return web.Response(text=text, content_type=_TYPES[kind], charset="utf-8", headers=headers)


def add_link_pages(app: web.Application, region: str) -> None:
    """Serve the SDK, the hosted page, and the own sites of banks that authorise by redirect.

    Args:
        app: to be served by.
        region: ``uae`` or ``ksa``: the SDK of the other one is answered with 404, which says so.
    """
    here = "sa" if region == "ksa" else "ae"

    async def of_region(request: web.Request) -> web.Response:
        if request.match_info["region"] != here:
            text = f"This Mockbank is of region {region}: load the SDK from /{here}/.\n"
            return web.Response(status=404, text=text)
        return _file("page.html" if request.path.endswith(".html") else "sdk.js")

    async def oldest(_: web.Request) -> web.Response:
        return _file("sdk.js")

    async def page(request: web.Request) -> web.Response:
        if request.match_info["file"] not in _PAGE_FILES:
            raise web.HTTPNotFound
        return _file(request.match_info["file"])

    app.router.add_get("/link/loader/prod/{region}/latest/lean-link-loader.min.js", of_region)
    app.router.add_get("/link/loader/prod/{region}/latest/lean-sdk.html", of_region)
    app.router.add_get("/link/sdk/web/v2/prod/{region}/latest/Lean.min.js", of_region)
    app.router.add_get("/link/sdk/web/latest/Lean.min.js", oldest)

    async def site(_: web.Request) -> web.Response:
        return _file("page.html", _SITE_POLICY)

    app.router.add_get("/link/page/{file}", page)
    app.router.add_get("/link/bank/{link_id}", site)
