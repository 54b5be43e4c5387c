"""Telling other processes that there is work, by NOTIFY: hints only, for what they miss the next poll finds.

NOTIFY takes a lock on the whole database at commit, so it never rides in a step: what was committed in the last few
milliseconds is told of in one message, on its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg

from leanflow.errors import StoreUnavailable
from leanflow_adapters import _hearing
from leanflow_adapters._hearing import Heard

__all__ = ["Hearing", "Hints", "channel_of"]

_GATHER = 0.01  # seconds: at most 100 notifications a second and process
_IDS = 150  # request ids in one message: Postgres takes 8000 bytes
_LOOK = 30.0  # seconds between looks whether the connection is alive
_REPLY = 10.0  # seconds that a reply may take on it


def channel_of(schema: str) -> str:
    """Return the channel of a schema; names of channels end at 63 bytes."""
    return f"leanflow_{hashlib.blake2b(schema.encode(), digest_size=8).hexdigest()}"


class Hints:
    """What this process has to tell the others."""

    def __init__(self, schema: str, notify: Callable[[str, str], Awaitable[Any]]) -> None:
        """Make it; `notify` sends a payload on a channel."""
        self.channel = channel_of(schema)
        self.name = uuid4().hex
        self._notify = notify
        self._gathered: dict[int, dict[str, None]] = {}
        self._sending: asyncio.Task[None] | None = None

    def tell(self, scope: int, request_id: str | None) -> None:
        """Have it told soon that something of this scope, or this request, has changed."""
        ids = self._gathered.setdefault(scope, {})
        if request_id is not None:
            ids[request_id] = None
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def drain(self) -> None:
        """Return once everything is told."""
        while self._sending is not None:
            await asyncio.wait({self._sending})

    async def _send(self) -> None:
        try:
            while self._gathered:
                await asyncio.sleep(_GATHER)
                gathered, self._gathered = self._gathered, {}
                for scope, ids in gathered.items():
                    names = list(ids)
                    for first in range(0, max(len(names), 1), _IDS):
                        some = ",".join(names[first : first + _IDS])
                        await self._notify(self.channel, f"{self.name} {scope} {some}")
        except StoreUnavailable:
            self._gathered.clear()  # only hints
        finally:
            self._sending = None


class Hearing(_hearing.Hearing):
    """Listens to what is told on a channel, of one scope."""

    faults = (StoreUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

    def __init__(
        self, connect: Callable[[], Awaitable[asyncpg.Connection]], channel: str, own: str, scope: int, heard: Heard
    ) -> None:
        """Make it; `own` is the name under which this process tells, which it does not hear."""
        self._connect = connect
        self._channel = channel
        self._scope = str(scope)
        super().__init__(own, heard)

    async def _listen_once(self) -> None:
        connection = await self._connect()
        try:
            async with asyncio.timeout(_REPLY):
                await connection.add_listener(self._channel, self._told)
            self._heard(())
            while not connection.is_closed():
                await asyncio.sleep(_LOOK)
                await connection.execute("SELECT 1", timeout=_REPLY)
        finally:
            await connection.close(timeout=1.0)

    def _told(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        teller, _, rest = payload.partition(" ")
        scope, _, ids = rest.partition(" ")
        if scope == self._scope:
            self._take(teller, ids)
