"""Acknowledgements, so many together as come together: a command for each would cost more than the receiver."""

from __future__ import annotations

import asyncio
from typing import Any

from leanflow_adapters.redis_streams._link import Link

__all__ = ["Acks"]


class Acks:
    """The acknowledgements of one group's entries."""

    def __init__(self, link: Link, stream: str, group: str) -> None:
        self._link = link
        self._stream = stream
        self._group = group
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def ack(self, place: bytes) -> None:
        """Acknowledge an entry; return once the server has, raise what the client raises."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, done))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        await done

    async def _send(self) -> None:
        """Send what waits, and then what has come meanwhile."""
        try:
            while self._waiting:
                await self._send_together()
        finally:
            self._sending = None

    async def _send_together(self) -> None:
        batch, self._waiting = self._waiting, []
        client: Any = self._link.client
        try:
            await client.xack(self._stream, self._group, *(place for place, _ in batch))
        except BaseException as error:  # cancelled, too: those who wait for it must not wait for ever
            for _, done in batch:
                if not done.done():
                    done.set_exception(error if isinstance(error, Exception) else ConnectionError("called off"))
            if not isinstance(error, Exception):
                raise
        else:
            for _, done in batch:
                if not done.done():
                    done.set_result(None)
