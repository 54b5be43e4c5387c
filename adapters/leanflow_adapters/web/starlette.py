"""Webhooks, and the front end's routes, in Starlette and FastAPI, which is one."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request

from ._asgi_front_end import FrontEndApp
from ._awaiting import Asking
from ._front_end import STREAMS, Authorise, Streams
from ._reading import BODY_SECONDS, MAX_BODY, Receiver
from .asgi import lifespan, webhook_app

__all__ = ["MAX_BODY", "Authorise", "Receiver", "Streams", "add_front_end", "add_webhook", "lifespan"]


def add_webhook(
    app: Starlette,
    path: str,
    flows: Receiver,
    *,
    max_body: int = MAX_BODY,
    body_timeout: float = BODY_SECONDS,
) -> None:
    """Take Lean's webhooks at ``POST path`` of a Starlette or FastAPI application, with a slash at its end or without.

    Args:
        app: where.
        path: begins with a slash.
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408.
    """
    endpoint: Any = webhook_app(flows, max_body=max_body, body_timeout=body_timeout)
    for each in dict.fromkeys((path, path.rstrip("/") or "/", path.rstrip("/") + "/")):  # a redirect loses the body
        app.router.add_route(each, endpoint, name="leanflow-webhook", include_in_schema=False)


def add_front_end(
    app: Starlette,
    path: str,
    flows: Asking,
    *,
    authorise: Authorise | None = None,
    streams: Streams = STREAMS,
) -> None:
    """Serve what a front end asks of requests below `path` of a Starlette or FastAPI application.

    Args:
        app: where.
        path: begins with a slash, as ``/requests``.
        flows: the engine.
        authorise: is called with Starlette's request and the record, and returns True, or awaits it, if whoever sent
            the request may use the record. Without it, and for anything but True, the answer is 403.
        streams: how many there may be, and for how long.
    """
    app.mount(path, FrontEndApp(flows, authorise, streams, Request), name="leanflow-front-end")
