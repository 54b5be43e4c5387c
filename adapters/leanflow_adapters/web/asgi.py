"""Webhooks in any ASGI application: a small application to mount, to route to, or to serve alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from ._asgi import Receive, Scope, Send, announced, body_pieces, headers_of, say, serve_lifespan, turn_away
from ._asgi_front_end import FrontEndApp
from ._awaiting import Asking
from ._front_end import STREAMS, Authorise, Streams
from ._reading import BODY_SECONDS, MAX_BODY, BodyRefused, Reader, Receiver, check_awaits, unpacked

__all__ = [
    "MAX_BODY",
    "Authorise",
    "FrontEndApp",
    "Receiver",
    "Streams",
    "WebhookApp",
    "front_end_app",
    "lifespan",
    "webhook_app",
]


class WebhookApp:
    """An ASGI application that takes Lean's webhooks: every POST, at whatever path reaches it.

    Served alone it enters the engine when the server starts, and leaves it when the server ends.

    Args:
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408.

    Raises:
        InvalidRequest: `flows` is an engine of `leanflow.blocking`.
    """

    def __init__(self, flows: Receiver, *, max_body: int = MAX_BODY, body_timeout: float = BODY_SECONDS) -> None:
        check_awaits(flows)
        self._flows = flows
        self._reader = Reader(max_body, body_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await serve_lifespan(self._flows, receive, send)
        elif scope["type"] == "websocket":
            await turn_away(receive, send)
        elif scope["method"] != "POST":
            await say(scope, send, 405, headers={"allow": "POST"}, close=True)
        else:
            await self._take(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        try:
            packed = await self._reader.read(body_pieces(receive), announced(headers))
            raw = unpacked(packed, headers.get("content-encoding", ""), self._reader.max_body)
        except BodyRefused as refused:
            await say(scope, send, refused.status, close=True)
        except ConnectionResetError:
            pass  # nobody is there to be answered
        else:
            reply = await self._flows.receive(headers, raw)
            await say(scope, send, reply.status, reply.body, reply.headers)


def webhook_app(flows: Receiver, *, max_body: int = MAX_BODY, body_timeout: float = BODY_SECONDS) -> WebhookApp:
    """Return an ASGI application that takes Lean's webhooks.

    Mount it, and give Lean a URL *below* the mount: at the mount itself frameworks answer a redirect, which nobody
    who sends webhooks follows. Or serve it alone: then it enters and leaves the engine, too.

    Args:
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408.
    """
    return WebhookApp(flows, max_body=max_body, body_timeout=body_timeout)


def front_end_app(
    flows: Asking,
    *,
    authorise: Authorise | None = None,
    streams: Streams = STREAMS,
) -> FrontEndApp:
    """Return an ASGI application with what a front end asks of requests, to mount: progress, prompt, callback.

    Args:
        flows: the engine.
        authorise: is called with the ASGI scope and the record, and returns True, or awaits it, if whoever sent the
            request may use the record. Without it, and for anything but True, the answer is 403.
        streams: how many there may be, and for how long.
    """
    return FrontEndApp(flows, authorise, streams)


def lifespan(flows: AbstractAsyncContextManager[Any]) -> Callable[..., AbstractAsyncContextManager[None]]:
    """Return what runs the engine as long as the application runs.

    For ``FastAPI(lifespan=lifespan(flows))``, the same in Starlette, ``Litestar(lifespan=[lifespan(flows)])``. An
    application that has a lifespan of its own enters the engine there: ``async with flows:``.
    """

    @asynccontextmanager
    async def running(_app: object = None) -> AsyncIterator[None]:
        async with flows:
            yield

    return running
