"""Webhooks in aiohttp: one handler that hands headers and raw body to `LeanFlow.receive`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

from aiohttp import web

from leanflow._call import Reply

__all__ = ["MAX_BODY", "Receiver", "add_webhook", "webhook_handler"]

MAX_BODY = 262_144  # bytes: Lean's webhooks have at most a few kB, its largest documented ones included
_SMALL = 16_384  # bytes: what is longer is not Lean's as a rule, and waits for one of the places for large bodies
_LARGE_AT_ONCE = 16  # bodies; so many times `MAX_BODY` is all the memory that a flood of them can take here
_BODY_SECONDS = 5.0  # for the body to arrive: half of the 10 s in which Lean wants its 200 (Lean docs, Webhooks)


class Receiver(Protocol):
    """What takes webhooks in: `LeanFlow` does."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Take one webhook."""
        ...


def webhook_handler(
    flows: Receiver, *, max_body: int = MAX_BODY, body_timeout: float = _BODY_SECONDS
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return an aiohttp handler for Lean's webhooks.

    A flood of large bodies is read a few at a time. What aiohttp buffers for each connection beside that is said by
    ``read_bufsize`` of its runner: 16 kB are enough for webhooks, its own default is 256.

    Args:
        flows: takes them.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408.
    """
    room = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(body_timeout):
                raw = await _read(request, max_body, room)
        except TimeoutError:
            return _refuse(408)
        except (web.RequestPayloadError, OSError):  # cut off, or not decompressible
            return await _cut_off(request)
        if raw is None:
            return _refuse(413)
        reply = await flows.receive(_headers(request), raw)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    return handle


def add_webhook(
    app: web.Application,
    path: str,
    flows: Receiver,
    *,
    max_body: int = MAX_BODY,
    body_timeout: float = _BODY_SECONDS,
) -> None:
    """Take Lean's webhooks at ``POST path`` of an aiohttp application."""
    app.router.add_post(path, webhook_handler(flows, max_body=max_body, body_timeout=body_timeout))


async def _read(request: web.Request, limit: int, room: asyncio.Semaphore) -> bytes | None:
    """Return the raw body, or None as soon as it is longer than `limit` bytes."""
    if (request.content_length or 0) > limit:
        return None
    body = bytearray()
    if await _gather(request, body, min(limit, _SMALL)):
        return bytes(body)
    async with room:
        return bytes(body) if await _gather(request, body, limit) else None


async def _gather(request: web.Request, body: bytearray, limit: int) -> bool:
    """Read into `body`; return False as soon as it is longer than `limit` bytes."""
    if len(body) > limit:
        return False
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            return False
    return True


def _headers(request: web.Request) -> dict[str, str]:
    """Return the headers by lower-case name; repeated ones are joined, so that a second signature is seen."""
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


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
