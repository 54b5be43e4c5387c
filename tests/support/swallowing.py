"""A way to a server that dies without a word, as behind a firewall that forgets connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Swallowing"]


class Swallowing:
    """Passes on what comes, both ways, and on demand nothing any more, and says nothing of it."""

    def __init__(self, host: str, port: int) -> None:
        """Make it; `host` and `port` are the server's."""
        self._there = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Give its port, on loopback."""
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with listener:
            yield listener.sockets[0].getsockname()[1]
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose(self) -> None:
        """Let nothing more through on the connections that there are; later ones work."""
        self._lost.set()
        self._lost = asyncio.Event()

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        lost = asyncio.ensure_future(self._lost.wait())
        far, onward = await asyncio.open_connection(*self._there)
        passing = [asyncio.ensure_future(_pass(near, onward)), asyncio.ensure_future(_pass(far, back))]
        try:
            await asyncio.wait([*passing, lost], return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                for one in passing:
                    one.cancel()
                await asyncio.Event().wait()  # neither end hears of it
        except asyncio.CancelledError:
            return
        finally:
            for each in (*passing, lost):
                each.cancel()
            back.transport.abort()
            onward.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(1 << 16):
        writer.write(some)
