"""Webhooks, and the front end's routes, in aiohttp: as handlers, and as subapplications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Any

from aiohttp import web

from leanflow._call import Reply

from ._awaiting import Asking, FrontEnd
from ._front_end import (
    MAX_CALLBACK,
    STREAM_HEADERS,
    STREAMS,
    Authorise,
    Streams,
    Visit,
)
from ._reading import BODY_SECONDS, MAX_BODY, BodyRefused, Reader, Receiver, check_awaits, joined

__all__ = [
    "MAX_BODY",
    "Authorise",
    "Receiver",
    "Streams",
    "add_webhook",
    "front_end_app",
    "lifespan",
    "webhook_app",
    "webhook_handler",
]


def webhook_handler(
    flows: Receiver, *, max_body: int = MAX_BODY, body_timeout: float = BODY_SECONDS
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return an aiohttp handler for Lean's webhooks.

    A flood of large bodies is read a few at a time. What aiohttp buffers for each connection beside that is said by
    ``read_bufsize`` of its runner: 16 kB are enough for webhooks, its own default is 256.

    Args:
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408.

    Raises:
        InvalidRequest: `flows` is an engine of `leanflow.blocking`.
    """
    check_awaits(flows)
    reader = Reader(max_body, body_timeout)

    async def handle(request: web.Request) -> web.StreamResponse:
        content = request.content

        async def piece() -> bytes | None:
            return await content.readany() or None

        try:
            if content.is_eof():  # it came with its head, as nearly every webhook: nothing to wait for
                raw = reader.checked(content.read_nowait())
            else:
                raw = await reader.read(piece, request.content_length)
        except BodyRefused as refused:
            return _refuse(refused.status)
        except (web.RequestPayloadError, OSError):  # cut off, or not decompressible
            return await _cut_off(request)
        reply = await flows.receive(joined(request.headers.items()), raw)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    return handle


def add_webhook(
    app: web.Application,
    path: str,
    flows: Receiver,
    *,
    max_body: int = MAX_BODY,
    body_timeout: float = BODY_SECONDS,
) -> None:
    """Take Lean's webhooks at ``POST path`` of an aiohttp application."""
    app.router.add_post(path, webhook_handler(flows, max_body=max_body, body_timeout=body_timeout))


def webhook_app(flows: Receiver, *, max_body: int = MAX_BODY, body_timeout: float = BODY_SECONDS) -> web.Application:
    """Return an application that takes Lean's webhooks, for `add_subapp`: at its prefix and at any path below it.

    Args:
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408.
    """
    app = web.Application()
    handler = webhook_handler(flows, max_body=max_body, body_timeout=body_timeout)
    app.router.add_post("", handler)
    app.router.add_post("/{anything:.*}", handler)
    return app


def front_end_app(
    flows: Asking,
    *,
    authorise: Authorise | None = None,
    streams: Streams = STREAMS,
) -> web.Application:
    """Return an application with what a front end asks of requests, for `add_subapp`: progress, prompt, callback.

    Args:
        flows: the engine.
        authorise: is called with aiohttp's request and the record, and returns True, or awaits it, if whoever sent
            the request may use the record. Without it, and for anything but True, the answer is 403.
        streams: how many there may be, and for how long.
    """
    front_end = FrontEnd(flows, authorise, streams)
    reader = Reader(MAX_CALLBACK, BODY_SECONDS)

    async def handle(request: web.Request) -> web.StreamResponse:
        async def piece() -> bytes | None:
            return await request.content.readany() or None

        async def read() -> bytes:
            try:
                return await reader.read(piece, request.content_length)
            except (web.RequestPayloadError, OSError):  # cut off, or not decompressible
                raise BodyRefused(400) from None

        visit = Visit(
            http=request,
            method=request.method,
            path=request.path,
            read=read,
            last_event_id=request.headers.get("last-event-id"),
        )
        answer = await front_end.answer(visit)
        if isinstance(answer, Reply):
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        return await _stream(request, answer)

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", handle)
    return app


def lifespan(flows: AbstractAsyncContextManager[Any]) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what runs the engine as long as the application runs: ``app.cleanup_ctx.append(lifespan(flows))``."""

    async def running(_app: web.Application) -> AsyncIterator[None]:
        async with flows:
            yield

    return running


async def _stream(request: web.Request, events: Any) -> web.StreamResponse:
    """Send events until there are no more, or nobody is there: then writing fails, at the latest at a heartbeat."""
    response = web.StreamResponse(headers=STREAM_HEADERS)
    async with aclosing(events):
        with suppress(ConnectionError):
            await response.prepare(request)
            async for event in events:
                await response.write(event)
    return response


def _refuse(status: int) -> web.StreamResponse:
    """Answer and close: what is left of the body is not worth reading."""
    response = web.Response(status=status)
    response.force_close()
    return response


async def _cut_off(request: web.Request) -> web.StreamResponse:
    """Answer 400 and close at once: aiohttp would read on to the end, and log the fault that it meets again."""
    response = _refuse(400)
    with suppress(ConnectionError):
        await response.prepare(request)
        await response.write_eof()
    request.protocol.force_close()
    return response
