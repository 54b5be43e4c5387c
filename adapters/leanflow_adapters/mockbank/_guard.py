"""Who may look at a Mockbank and drive it: programs on this machine and its own page, and no other page in a browser.

A developer's browser reaches what listens on loopback, and so does every page that is open in it. What keeps them out:

* A page elsewhere sends ``Origin`` or ``Sec-Fetch-Site``, and they say so.
* A page whose name was pointed at loopback (DNS rebinding) is of the same origin, but under a foreign ``Host``.
* What changes anything is a POST, and one from a browser must be JSON, which a foreign form cannot send.

`curl` sends none of these headers, and needs none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from aiohttp import web

__all__ = ["READING", "guarded"]

READING = frozenset({"accounts", "armed", "deliveries", "log", "openapi.json", "reconnects", "state"})
"""The control commands that change nothing: they can be had by GET."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guarded(handler: Handler, bound: str) -> Handler:
    """Return a handler that answers 403 to pages elsewhere, 405 to a GET that would change something, 415 to forms.

    Args:
        handler: the one that is guarded.
        bound: the host that the server was told to listen on.
    """

    async def checked(request: web.Request) -> web.StreamResponse:
        for status, why in (
            (403, _foreign(request, bound)),
            (405, _changing(request)),
            (415, _form(request)),
        ):
            if why:
                return web.json_response({"error": why}, status=status)
        return await handler(request)

    return checked


def _foreign(request: web.Request, bound: str) -> str:
    """Return why a request is not one of this machine's programs or of the page itself; empty if it is."""
    host = request.headers.get("Host", "")
    if host and not _ours(host, bound):
        return "this name does not belong to a Mockbank: use localhost"
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not _followed(request):
        return "another page may not drive this Mockbank"
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return "another page may not drive this Mockbank"
    return ""


def _followed(request: web.Request) -> bool:
    """Return whether somebody followed a link to the page: who sees it is the one before the screen."""
    return (
        request.path == "/"
        and request.method == "GET"
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )


def _ours(host: str, bound: str) -> bool:
    """Return whether a ``Host`` is one under which nobody else can be reached.

    On loopback: its own names and addresses. Beyond it, where the operator wants to be found by others: any address,
    and a name without a dot (as Docker gives them), which no rebinding page can have.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name == bound.lower() or name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    if _loopback(bound):
        return address is not None and address.is_loopback
    return address is not None or "." not in name


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def _loopback(bound: str) -> bool:
    address = _address(bound)
    return bound == "localhost" if address is None else address.is_loopback


def _changing(request: web.Request) -> str:
    """Return why a method cannot be used; empty if it can."""
    if request.method == "POST":
        return ""
    if request.method not in ("GET", "HEAD"):
        return "use POST"
    command = request.match_info.get("command", "")
    return f"{command} changes something: use POST" if command and command not in READING else ""


def _form(request: web.Request) -> str:
    """Return why a body is refused; empty if it is not."""
    from_browser = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
    if request.method == "POST" and from_browser and request.content_type != "application/json":
        return "from a browser, send application/json"
    return ""
