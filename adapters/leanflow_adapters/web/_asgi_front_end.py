"""The front end's routes as an ASGI application, to mount."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from leanflow._call import Reply

from ._asgi import Receive, Scope, Send, announced, body_pieces, headers_of, path_of, say, serve_lifespan, turn_away
from ._awaiting import Asking, FrontEnd
from ._front_end import MAX_CALLBACK, STREAM_HEADERS, STREAMS, Authorise, Streams, Visit
from ._reading import Reader

__all__ = ["FrontEndApp"]


class FrontEndApp:
    """An ASGI application that serves a front end; see `leanflow_adapters.web._front_end` for the routes.

    Args:
        flows: the engine.
        authorise: is called with the request and the record, and returns True, or awaits it, to let somebody in.
        streams: how many there may be, and for how long.
        http: makes what `authorise` gets first of the scope; the scope itself unless given.
    """

    def __init__(
        self,
        flows: Asking,
        authorise: Authorise | None,
        streams: Streams = STREAMS,
        http: Callable[[Scope], Any] | None = None,
    ) -> None:
        self._flows = flows
        self._http = http
        self._front_end = FrontEnd(flows, authorise, streams)
        self._reader = Reader(MAX_CALLBACK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await serve_lifespan(self._flows, receive, send)
        elif scope["type"] == "websocket":
            await turn_away(receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)

        visit = Visit(
            http=scope if self._http is None else self._http(scope),
            method=scope["method"],
            path=path_of(scope),
            read=lambda: self._reader.read(body_pieces(receive), announced(headers)),
            last_event_id=headers.get("last-event-id"),
        )
        try:
            answer = await self._front_end.answer(visit)
        except ConnectionResetError:
            return  # nobody is there to be answered
        if isinstance(answer, Reply):
            await say(scope, send, answer.status, answer.body, answer.headers)
        else:
            await _stream(answer, receive, send)


async def _stream(events: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    """Send events until there are no more, or nobody is there."""
    sending = asyncio.ensure_future(_send_all(events, send))
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    finally:
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send_all(events: Any, send: Send) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in STREAM_HEADERS.items()]
    await send({"type": "http.response.start", "status": 200, "headers": pairs})
    async with aclosing(events):
        async for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
