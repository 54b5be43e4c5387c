"""Reading a webhook's body: bounded in size, in time and, for a flood of them together, in memory."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from leanflow._call import Reply
from leanflow.errors import InvalidRequest

__all__ = ["BODY_SECONDS", "MAX_BODY", "BodyRefused", "Reader", "Receiver", "check_awaits", "joined", "unpacked"]

MAX_BODY = 262_144  # bytes: Lean's webhooks have at most a few kB, its largest documented ones included
BODY_SECONDS = 5.0  # for the body to arrive: half of the 10 s in which Lean wants its 200 (Lean docs, Webhooks)
_SMALL = 16_384  # bytes: what is longer is not Lean's as a rule, and waits for one of the places for large bodies
_LARGE_AT_ONCE = 16  # bodies; so many times the cap is all the memory that a flood of them can take here
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Receiver(Protocol):
    """What takes webhooks in: `LeanFlow` does."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Take one webhook."""
        ...


def check_awaits(flows: object) -> None:
    """Refuse an engine of `leanflow.blocking` where answers are awaited: it would hold up the server's loop, and fail.

    Raises:
        InvalidRequest: it is one.
    """
    if isinstance(flows, AbstractContextManager) and not isinstance(flows, AbstractAsyncContextManager):
        raise InvalidRequest("flows", "blocks, and this server's loop may not: make it of leanflow.LeanFlow")


class BodyRefused(Exception):
    """A body that is not read to its end.

    Attributes:
        status: what to answer: 400, 408, 413 or 415.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(status)


class Reader:
    """Reads the bodies that come in at one endpoint.

    Args:
        max_body: bytes of the longest that is taken.
        body_timeout: seconds for a body to arrive, the wait for a place among the large ones included.
    """

    def __init__(self, max_body: int = MAX_BODY, body_timeout: float = BODY_SECONDS) -> None:
        self.max_body = max_body
        self._timeout = body_timeout
        self._room = asyncio.Semaphore(_LARGE_AT_ONCE)

    def checked(self, body: bytes) -> bytes:
        """Return a body that is all there.

        Raises:
            BodyRefused: it is too long (413).
        """
        if len(body) > self.max_body:
            raise BodyRefused(413)
        return body

    async def read(self, piece: Callable[[], Awaitable[bytes | None]], announced: int | None = None) -> bytes:
        """Return a body as it came.

        Args:
            piece: returns what came next, and None after the last.
            announced: how many bytes are to come, if that was said.

        Raises:
            BodyRefused: it is too long (413), or does not come in time (408).
        """
        if announced is not None and announced > self.max_body:
            raise BodyRefused(413)
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout):
                if not await _gather(piece, body, min(self.max_body, _SMALL)):
                    async with self._room:
                        if not await _gather(piece, body, self.max_body):
                            raise BodyRefused(413)
        except TimeoutError:
            raise BodyRefused(408) from None
        return bytes(body)


async def _gather(piece: Callable[[], Awaitable[bytes | None]], body: bytearray, limit: int) -> bool:
    """Read into `body`; return False as soon as it is longer than `limit` bytes."""
    while len(body) <= limit:
        more = await piece()
        if more is None:
            return True
        body += more
    return False


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; repeated ones are joined, so that a second signature is seen."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def unpacked(raw: bytes, encoding: str, limit: int) -> bytes:
    """Return what a body with a content encoding was packed from, where the server has not done it.

    Args:
        raw: the body as it came.
        encoding: the header ``Content-Encoding``; may be empty.
        limit: bytes of the longest that is taken.

    Raises:
        BodyRefused: it unpacks to more (413), does not unpack (400), or was packed in an unknown way (415).
    """
    kind = encoding.strip().lower()
    if kind in ("", "identity"):
        return raw
    if kind not in _WINDOWS:
        raise BodyRefused(415)
    unpacking = zlib.decompressobj(_WINDOWS[kind])
    try:
        body = unpacking.decompress(raw, limit + 1)
    except zlib.error:
        raise BodyRefused(400) from None
    if len(body) > limit:
        raise BodyRefused(413)
    if not unpacking.eof or unpacking.unused_data:
        raise BodyRefused(400)
    return body
