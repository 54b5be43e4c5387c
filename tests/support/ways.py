"""Ways to a server that lose what passes, without a word: all of it from a moment on, or the answers alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["Mute", "Swallowing"]


class _Way:
    """Passes on what comes, both ways."""

    def __init__(self, host: str, port: int) -> None:
        """Make it; `host` and `port` are the server's."""
        self._there = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()

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

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far, onward = await asyncio.open_connection(*self._there)
        passing = [asyncio.ensure_future(self._ask(near, onward)), asyncio.ensure_future(self._answer(far, back))]
        try:
            await self._while_passing(passing)
        except asyncio.CancelledError:
            return
        finally:
            for one in passing:
                one.cancel()
            back.transport.abort()
            onward.transport.abort()

    async def _while_passing(self, passing: Sequence[asyncio.Future[Any]]) -> None:
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)

    async def _ask(self, near: asyncio.StreamReader, onward: asyncio.StreamWriter) -> None:
        while asked := await near.read(1 << 20):
            onward.write(asked)

    async def _answer(self, far: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while answer := await far.read(1 << 20):  # in as many pieces as it pleases the server
            back.write(answer)


class Swallowing(_Way):
    """Dies on demand as behind a firewall that forgets connections: nothing passes any more, and neither end hears."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._lost = asyncio.Event()

    def lose(self) -> None:
        """Let nothing more through on the connections that there are; later ones work."""
        self._lost.set()
        self._lost = asyncio.Event()

    async def _while_passing(self, passing: Sequence[asyncio.Future[Any]]) -> None:
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait([*passing, lost], return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                for one in passing:
                    one.cancel()
                await asyncio.Event().wait()  # neither end hears of it
        finally:
            lost.cancel()


class Mute(_Way):
    """Once it is muted, what is asked arrives, and the connection breaks in place of the reply.

    Attributes:
        is_muted: whether it is.
        asked: how often something was asked meanwhile.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.is_muted = False
        self.asked = 0

    async def _ask(self, near: asyncio.StreamReader, onward: asyncio.StreamWriter) -> None:
        while asked := await near.read(1 << 20):
            self.asked += self.is_muted
            onward.write(asked)

    async def _answer(self, far: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while answer := await far.read(1 << 20):
            if self.is_muted:
                return
            back.write(answer)
