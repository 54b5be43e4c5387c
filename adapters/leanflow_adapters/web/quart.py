"""Webhooks, and the front end's routes, in Quart."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from quart import Blueprint, Quart, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from leanflow._call import Reply

from ._asgi import App, Receive, Scope, Send, path_of
from ._awaiting import Asking, FrontEnd
from ._front_end import (
    MAX_CALLBACK,
    STREAM_HEADERS,
    STREAMS,
    Authorise,
    Streams,
    Visit,
)
from ._reading import BODY_SECONDS, MAX_BODY, BodyRefused, Receiver
from .asgi import webhook_app

__all__ = ["MAX_BODY", "Authorise", "Receiver", "Streams", "add_webhook", "front_end_blueprint", "lifespan"]


class _Beside:
    """Serves one path, and leaves every other to the application."""

    def __init__(self, path: str, own: App, rest: Any) -> None:
        self._path = path.rstrip("/")
        self._own = own
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_own = scope["type"] == "http" and path_of(scope) == self._path
        await (self._own if is_own else self._rest)(scope, receive, send)


def add_webhook(
    app: Quart,
    path: str,
    flows: Receiver,
    *,
    max_body: int = MAX_BODY,
    body_timeout: float = BODY_SECONDS,
) -> None:
    """Take Lean's webhooks at ``POST path`` of a Quart application, with a slash at its end or without.

    They are taken before Quart sees them: it would read a body as fast as it comes, however many of them there are.

    Args:
        app: where.
        path: begins with a slash.
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408.
    """
    own = webhook_app(flows, max_body=max_body, body_timeout=body_timeout)
    vars(app)["asgi_app"] = _Beside(path, own, app.asgi_app)  # as Quart documents it for middleware


def front_end_blueprint(
    flows: Asking,
    *,
    authorise: Authorise | None = None,
    streams: Streams = STREAMS,
) -> Blueprint:
    """Return a blueprint with what a front end asks of requests: ``app.register_blueprint(…, url_prefix="/requests")``.

    Args:
        flows: the engine.
        authorise: is called with Quart's request and the record, and returns True, or awaits it, if whoever sent the
            request may use the record. Without it, and for anything but True, the answer is 403.
        streams: how many there may be, and for how long.
    """
    front_end = FrontEnd(flows, authorise, streams)

    async def handle(anything: str) -> Response:
        visit = Visit(
            http=request,
            method=request.method,
            path=anything,
            read=_read,
            last_event_id=request.headers.get("last-event-id"),
        )
        answer = await front_end.answer(visit)
        if isinstance(answer, Reply):
            return Response(answer.body, answer.status, dict(answer.headers))
        response = Response(answer, 200, dict(STREAM_HEADERS))
        response.timeout = None  # Quart would cut it after a minute
        return response

    blueprint = Blueprint("leanflow_front_end", __name__)
    blueprint.add_url_rule("/<path:anything>", "front_end", handle, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    return blueprint


async def _read() -> bytes:
    try:
        raw: Any = await request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise BodyRefused(413) from None
    if len(raw) > MAX_CALLBACK:
        raise BodyRefused(413)
    return bytes(raw)


def lifespan(flows: AbstractAsyncContextManager[Any]) -> Callable[[], AsyncGenerator[None, None]]:
    """Return what runs the engine as long as the application runs: ``app.while_serving(lifespan(flows))``."""

    async def running() -> AsyncGenerator[None, None]:
        async with flows:
            yield

    return running
