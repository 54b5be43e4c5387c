"""HTTP/1.1 by hand over loopback: a webhook's sender that can do what no HTTP client does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from urllib.parse import SplitResult, urlsplit

import attrs

from leanflow.testing.conformance._far_end import PATIENCE

__all__ = ["Line", "Said", "connected"]


@attrs.frozen(kw_only=True)
class Said:
    """What the server said.

    Attributes:
        status: None if it hung up without a word.
        headers: names in lower case.
        body: decoded if it was chunked.
    """

    status: int | None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""


class Line:
    """One connection to a URL."""

    def __init__(self, url: SplitResult, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._url = url
        self._reader = reader
        self._writer = writer

    async def say(self, *pieces: bytes) -> None:
        """Send these bytes, one piece after the other; what the server will not hear is lost."""
        with suppress(ConnectionError):
            for piece in pieces:
                self._writer.write(piece)
                await self._writer.drain()
                await asyncio.sleep(0)

    async def head(self, method: str, headers: Iterable[tuple[str, str]], *, slash: bool | None = None) -> None:
        """Send the head of a request; `slash`: with or without one at the end of the path, whatever the URL has."""
        path = self._url.path or "/"
        if slash is not None:
            path = path.rstrip("/") + ("/" if slash else "")
        lines = [f"{method} {path or '/'} HTTP/1.1", f"Host: {self._url.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers]
        await self.say("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def hang_up(self) -> None:
        """Say no more; still hear."""
        self._writer.write_eof()

    async def hear(self, *, method: str = "POST", within: float | None = None) -> Said:
        """Return one answer.

        Raises:
            AssertionError: there is none in time.
        """
        seconds = PATIENCE if within is None else within
        try:
            async with asyncio.timeout(seconds):
                return await self._hear(method)
        except TimeoutError:
            msg = f"no answer within {seconds:g} s"
            raise AssertionError(msg) from None
        except (ConnectionError, asyncio.IncompleteReadError):
            return Said(status=None)

    async def _hear(self, method: str) -> Said:
        status, headers = await self._head()
        while status == 100:  # Continue: the answer is yet to come
            status, headers = await self._head()
        if method == "HEAD" or status in (204, 304):
            return Said(status=status, headers=headers)
        if "chunked" in headers.get("transfer-encoding", ""):
            return Said(status=status, headers=headers, body=await self._chunks())
        if "content-length" in headers:
            return Said(
                status=status, headers=headers, body=await self._reader.readexactly(int(headers["content-length"]))
            )
        return Said(status=status, headers=headers, body=await self._reader.read())

    async def _head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        pairs = [line.split(":", 1) for line in lines]
        return int(first.split()[1]), {name.strip().lower(): value.strip() for name, value in pairs}

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return body


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Line]:
    """Connect to the host of an ``http://`` URL."""
    parts = urlsplit(url)
    assert parts.scheme == "http", f"the suite speaks plain HTTP, and the URL is {url}"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        yield Line(parts, reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
