"""Webhooks, and the front end's routes, in Litestar."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from ._asgi_front_end import FrontEndApp
from ._awaiting import Asking
from ._front_end import STREAMS, Authorise, Streams
from ._reading import BODY_SECONDS, MAX_BODY, Receiver
from .asgi import lifespan, webhook_app

__all__ = ["MAX_BODY", "Authorise", "Receiver", "Streams", "front_end_route", "lifespan", "webhook_route"]


def webhook_route(
    path: str, flows: Receiver, *, max_body: int = MAX_BODY, body_timeout: float = BODY_SECONDS
) -> ASGIRouteHandler:
    """Return a route handler that takes Lean's webhooks at ``POST path`` and below.

    Args:
        path: begins with a slash.
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408.
    """
    return _route(path, webhook_app(flows, max_body=max_body, body_timeout=body_timeout))


def front_end_route(
    path: str,
    flows: Asking,
    *,
    authorise: Authorise | None = None,
    streams: Streams = STREAMS,
) -> ASGIRouteHandler:
    """Return a route handler for what a front end asks of requests, below `path`.

    Args:
        path: begins with a slash, as ``/requests``.
        flows: the engine.
        authorise: is called with Litestar's request and the record, and returns True, or awaits it, if whoever sent
            the request may use the record. Without it, and for anything but True, the answer is 403.
        streams: how many there may be, and for how long.
    """
    made: Any = Request
    return _route(path, FrontEndApp(flows, authorise, streams, made))


def _route(path: str, app: Any) -> ASGIRouteHandler:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return ASGIRouteHandler(path, is_mount=True, copy_scope=True)(serve)
