"""A TCP wire to a server, to be cut or hushed: what was connected breaks or waits, until it is mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import urlsplit

import pytest

__all__ = ["Wire", "Wired", "through"]


def through(url: str, port: int) -> str:
    """Return a server's URL as it is by way of a port of loopback; the login stays."""
    there = urlsplit(url)
    login, at, _ = there.netloc.rpartition("@")
    return there._replace(netloc=f"{login}{at}127.0.0.1:{port}").geturl()


class Wire:
    """A way to a server.

    Args:
        host: of the server.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._there = host, port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.port = 0

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._open) // 2

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Let the server be out of reach for a while."""
        await self.cut()
        yield
        await self.mend()

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """Let the server hang for a while: connections are accepted and kept, and nothing comes through either way."""
        self._passing.clear()
        try:
            yield
        finally:  # a test that fails must not hang
            self.snap()  # with what was written into them
            self._passing.set()

    async def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.snap()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def snap(self) -> None:
        """Break every connection; new ones get through."""
        for writer in self._open:
            writer.transport.abort()

    async def mend(self) -> None:
        """Let connections through, at the port where they were before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            far, onward = await asyncio.open_connection(*self._there)
        except OSError:
            back.transport.abort()
            return
        ends = {back, onward}
        if self._server is None:  # cut while it connected
            for end in ends:
                end.transport.abort()
            return
        self._open |= ends
        try:
            await asyncio.gather(self._pump(near, onward), self._pump(far, back))
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while came := await source.read(1 << 16):
                await self._passing.wait()
                sink.write(came)
                await sink.drain()
        sink.close()


class Wired:
    """The fixtures `away` and `silent`, for classes of tests whose broker is behind a fixture `wire`."""

    hangs: ClassVar[bool] = True

    @pytest.fixture
    def away(self, wire: Wire) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Cut the wire for a while."""
        return wire.away

    @pytest.fixture
    def silent(self, wire: Wire) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Let the broker accept and never answer for a while."""
        if not self.hangs:
            pytest.skip("hangs = False")
        return wire.silent
