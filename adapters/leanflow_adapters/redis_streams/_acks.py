"""How entries end, so many together as end together: a command for each would cost more than the receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from leanflow_adapters.redis_streams._link import Link

__all__ = ["Acks"]

SOON = 0.02
"""Seconds for which what is no acknowledgement waits for some; a commit takes less."""

_Ending = asyncio.Future[None]


class Acks:
    """The acknowledgements of one group's entries, and what becomes of those that failed."""

    def __init__(self, link: Link, stream: str, group: str) -> None:
        self._link = link
        self._stream = stream
        self._group = group
        self._waiting: list[tuple[bytes, _Ending]] = []
        self._failed: list[tuple[Sequence[Any], _Ending]] = []
        self._sending: asyncio.Task[None] | None = None

    async def ack(self, place: bytes) -> None:
        """Acknowledge an entry; return once the server has, raise what the client raises."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((place, done))
        self._start()
        await done

    async def run(self, script: str, keys: Sequence[str], *arguments: Any) -> None:
        """Run a script for an entry that failed, with the next acknowledgements; return once the server has.

        Those that fail end at once, those that are taken with their commit. A server that syncs each write would take
        as long for one of them as for all.
        """
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._failed.append((("EVAL", script, len(keys), *keys, *arguments), done))
        loop.call_later(SOON, self._start)
        await done

    def _start(self) -> None:
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        """Send what waits, and then what has come meanwhile."""
        try:
            while self._waiting or self._failed:
                await self._send_together()
        finally:
            self._sending = None

    async def _send_together(self) -> None:
        acked, self._waiting = self._waiting, []
        failed, self._failed = self._failed, []
        endings = [done for _, done in failed] + [done for _, done in acked]
        try:
            said = await self._give([place for place, _ in acked], [command for command, _ in failed])
        except BaseException as error:  # cancelled, too: those who wait for it must not wait for ever
            _tell(endings, [error if isinstance(error, Exception) else ConnectionError("called off")] * len(endings))
            if not isinstance(error, Exception):
                raise
        else:
            _tell(endings, said)

    async def _give(self, places: Sequence[bytes], commands: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """Send all of them; return for each command, then for each place, what the server said."""
        client: Any = self._link.client
        if not commands:
            return [await client.xack(self._stream, self._group, *places)] * len(places)
        async with client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            if places:
                pipeline.xack(self._stream, self._group, *places)
            said = await pipeline.execute(raise_on_error=False)
        return [*said[: len(commands)], *said[len(commands) :] * len(places)]


def _tell(endings: Sequence[_Ending], said: Sequence[Any]) -> None:
    for done, one in zip(endings, said, strict=True):
        if done.done():
            continue
        if isinstance(one, BaseException):
            done.set_exception(one)
        else:
            done.set_result(None)
