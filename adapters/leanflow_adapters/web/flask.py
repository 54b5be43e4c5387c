"""Webhooks, and the front end's routes, in Flask, over `leanflow.blocking`. Needs Flask, which you have.

Flask runs each ``async def`` view in an event loop of its own, which ends with it, so that an engine of asyncio's
cannot serve it: it belongs to one loop. `leanflow.blocking.LeanFlow` serves both kinds of view, and is called in an
``async def`` one as in any other: nobody shares the loop that waits meanwhile.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

try:
    from flask import Blueprint, Flask, Response, request
except ImportError as error:
    _missing = "leanflow_adapters.web.flask needs Flask: pip install flask"
    raise ImportError(_missing) from error

from leanflow._call import Reply
from leanflow.errors import InvalidRequest
from leanflow_adapters.web._blocking_front_end import (
    THREADED_STREAMS,
    BlockingAsking,
    BlockingFrontEnd,
)
from leanflow_adapters.web._front_end import MAX_CALLBACK, STREAM_HEADERS, Authorise, Streams, Visit
from leanflow_adapters.web._reading import BODY_SECONDS, MAX_BODY, BodyRefused
from leanflow_adapters.web._wsgi import BlockingReceiver, WsgiReader, headers_of

__all__ = [
    "MAX_BODY",
    "Authorise",
    "BlockingReceiver",
    "Streams",
    "add_webhook",
    "front_end_blueprint",
    "webhook_view",
]


def webhook_view(
    flows: BlockingReceiver, *, max_body: int = MAX_BODY, body_timeout: float = BODY_SECONDS
) -> Callable[[], Response]:
    """Return a view for Lean's webhooks, for a route that takes POST alone.

    Args:
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408; under gunicorn and Werkzeug's server.

    Raises:
        InvalidRequest: `flows` is an engine of asyncio's.
    """
    if inspect.iscoroutinefunction(flows.receive):
        raise InvalidRequest("flows", "belongs to one event loop, and Flask has many: make it of leanflow.blocking")
    reader = WsgiReader(max_body, body_timeout)

    def lean_webhook() -> Response:
        cached = getattr(request, "_cached_data", None)  # somebody has called `get_data` before us
        try:
            raw = reader.read(request.environ, cached)
        except BodyRefused as refused:
            return Response(status=refused.status)
        reply = flows.receive(headers_of(request.environ), raw)
        return _answer(reply)

    return lean_webhook


def add_webhook(
    app: Flask | Blueprint,
    path: str,
    flows: BlockingReceiver,
    *,
    max_body: int = MAX_BODY,
    body_timeout: float = BODY_SECONDS,
) -> None:
    """Take Lean's webhooks at ``POST path`` of an application or a blueprint, with a slash at its end or without.

    Args:
        app: where.
        path: begins with a slash.
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408; under gunicorn and Werkzeug's server.

    Raises:
        InvalidRequest: `flows` is an engine of asyncio's.
    """
    view = webhook_view(flows, max_body=max_body, body_timeout=body_timeout)
    app.add_url_rule(path.rstrip("/") or "/", "lean_webhook", view, methods=["POST"], strict_slashes=False)


def front_end_blueprint(
    flows: BlockingAsking, *, authorise: Authorise | None = None, streams: Streams = THREADED_STREAMS
) -> Blueprint:
    """Return a blueprint with what a front end asks of requests: ``app.register_blueprint(…, url_prefix="/requests")``.

    Args:
        flows: the engine.
        authorise: is called with Flask's request and the record, and returns True, or awaits it, if whoever sent the
            request may use the record. Without it, and for anything but True, the answer is 403.
        streams: how many there may be, and for how long: each holds one of the server's threads.
    """
    front_end = BlockingFrontEnd(flows, authorise, streams)
    reader = WsgiReader(MAX_CALLBACK, BODY_SECONDS)

    def handle(anything: str) -> Response:
        visit = Visit(
            http=request,
            method=request.method,
            path=anything,
            read=lambda: reader.read(request.environ, getattr(request, "_cached_data", None)),
            last_event_id=request.headers.get("last-event-id"),
        )
        answer = front_end.answer(visit)
        if isinstance(answer, Reply):
            return _answer(answer)
        return Response(answer, 200, dict(STREAM_HEADERS))

    blueprint = Blueprint("leanflow_front_end", __name__)
    blueprint.add_url_rule("/<path:anything>", "front_end", handle, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    return blueprint


def _answer(reply: Reply) -> Response:
    return Response(reply.body, reply.status, dict(reply.headers))
