"""The Redis store: its life, and how it asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from redis.asyncio import Redis

from leanflow._request import Scope
from leanflow.errors import InvalidRequest, NotStarted, StoreUnavailable
from leanflow.ports import Store
from leanflow_adapters.redis._connection import load_scripts, make_pool, send, translated
from leanflow_adapters.redis._durability import conditions, durability_of, refuse_cluster, refuse_eviction
from leanflow_adapters.redis._hints import Hearing
from leanflow_adapters.redis._lane import Command, Lane
from leanflow_adapters.redis._methods import Methods
from leanflow_adapters.redis._rows import base_of, micros
from leanflow_adapters.redis._scripts import STEPS

__all__ = ["RedisStore"]

_CLOCKS = ("server", "engine")
_LAST = 10.0  # seconds that closing waits for what is in flight, as long as for a reply
_TIME_HOLDS = 30.0  # seconds for which the server's clock is told from this machine's own passing of time


class RedisStore(Methods):
    """Keeps everything under a prefix of a Redis or Valkey database, on redis-py.

    A step is one script, which looks at all it needs before it writes. Concurrent steps of one process share round
    trips. What Redis says is done is as durable as its `appendonly` and `appendfsync` make it.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "leanflow",
        pool_size: int = 10,
        writers: int = 2,
        hints: bool = True,
        clock: str = "server",
        password: str | None = None,
    ) -> None:
        """Make a store; nothing is opened yet.

        Args:
            url: ``redis://user:password@host:6379/0``, ``rediss://`` (TLS), ``unix://``, ``valkey://`` or
                ``valkeys://`` (TLS), with redis-py's own options.
            prefix: of all keys.
            pool_size: connections at most, but for the one that listens for hints.
            writers: batches of steps that are under way at once; less than `pool_size`.
            hints: whether processes tell each other of new work by PUBLISH. Without it they find it by polling.
            clock: by which leases and due times go: the ``server``'s, which all workers share, or each ``engine``'s own
                (for tests, whose clock is moved by hand).
            password: instead of one in `url`.

        Raises:
            InvalidRequest: an argument is wrong.
        """
        if not prefix or set(prefix) & set("{}\0"):
            raise InvalidRequest("prefix", "must be a name without braces: they say where a cluster keeps a key")
        if clock not in _CLOCKS:
            raise InvalidRequest("clock", f"must be one of {', '.join(_CLOCKS)}")
        if not 1 <= writers < pool_size:
            raise InvalidRequest("writers", "must be at least 1, and less than pool_size")
        self._pool = partial(make_pool, url, size=pool_size, **({} if password is None else {"password": password}))
        self._pool()  # a URL that is not understood is refused here
        self._host = urlsplit(url).hostname or urlsplit(url).path
        self._prefix = prefix
        self._writers = writers
        self._hints = hints
        self._clock = clock
        self._name = uuid4().hex.encode()
        self._client: Redis | None = None
        self._lane: Lane | None = None
        self._alone: set[asyncio.Task[list[Any]]] = set()
        self._is_opening = False
        self._time: tuple[datetime, float] | None = None

    def __repr__(self) -> str:
        return f"RedisStore(host={self._host!r}, prefix={self._prefix!r})"

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._client is not None

    async def open(self) -> None:
        """Connect, and look whether this server keeps what it is given. There is nothing to make or migrate.

        Raises:
            InvalidRequest: it is open already.
            ClusteredServer: the server has a part of the keys only.
            EvictingServer: the server throws keys away when memory is short.
            StoreUnavailable: it cannot be reached.
        """
        if self._client is not None or self._is_opening:
            raise InvalidRequest("store", "it is open already; open it once, or ask `is_open`")
        self._is_opening = True
        client = self._connect()
        try:
            with translated():
                info = await client.info()
                refuse_eviction(info, repr(self))
                await refuse_cluster(client, info, repr(self))
                durability = await durability_of(client, info)
                await load_scripts(client)
        except BaseException:
            await client.aclose(close_connection_pool=True)
            raise
        finally:
            self._is_opening = False
        durability.warn(repr(self))
        self._client = client
        self._lane = Lane(partial(self._send, client), width=self._writers)

    async def aclose(self) -> None:
        """Finish what is in flight and close. Closing a closed store does nothing.

        What does not finish within 10 s, as over a network that is dead, ends with `StoreUnavailable`.
        """
        client, self._client = self._client, None
        if client is None:
            return
        assert self._lane is not None
        try:
            async with asyncio.timeout(_LAST):
                await self._lane.drain()
                while self._alone:
                    await asyncio.wait(self._alone)
        except TimeoutError:
            self._lane.give_up()
            for task in self._alone:
                task.cancel()
        finally:
            with translated():
                await client.aclose(close_connection_pool=True)

    async def now(self) -> datetime | None:
        """Return the server's clock, or None if the engine's is to rule."""
        if self._clock == "engine":
            return None
        passed = time.monotonic()
        if self._time is None or passed - self._time[1] > _TIME_HOLDS:
            seconds, micros = map(int, await self._ask("TIME"))
            self._time = (datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros), time.monotonic())
            passed = self._time[1]
        told, when = self._time
        return told + timedelta(seconds=passed - when)

    async def hear(self, scope: Scope, heard: Callable[[Sequence[str]], None]) -> Hearing | None:
        """Call `heard` with the ids of requests that another process has moved, until what is returned is closed.

        Only hints: some are lost. None if this store gives none.
        """
        if self._client is None:
            raise NotStarted("store")
        if not self._hints:
            return None
        return Hearing(self._connect(), self._base(scope) + b"hints", self._name, heard)

    def using(self, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Refuse: Redis has no transaction that an application could hold open.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest(
            "connection",
            f"a Redis store joins no transaction (got {type(connection).__name__}): Redis has none that can be held"
            " open and rolled back; keep flows in the application's own Postgres or SQLite for that",
        )

    async def conditions(self) -> Sequence[tuple[str, bool, str]]:
        """Return what is to be known of the server: which thing, whether it is as it should be, and what to do.

        Raises:
            StoreUnavailable: it cannot be reached.
        """
        client = self._connect()
        try:
            with translated():
                return await conditions(client)
        finally:
            await client.aclose(close_connection_pool=True)

    # what the methods are made of

    def _connect(self) -> Redis:
        return Redis(connection_pool=self._pool())

    def _base(self, scope: Scope) -> bytes:
        return base_of(self._prefix, scope)

    def _moment(self, now: datetime) -> bytes:
        return micros(now) if self._clock == "engine" else b""

    async def _ask(self, *command: Any, weight: int = 0) -> Any:
        if self._client is None or self._lane is None:
            raise NotStarted("store")
        return await self._lane.ask(command, weight)

    async def _ask_together(self, commands: Sequence[Command]) -> Sequence[Any]:
        if self._client is None:
            raise NotStarted("store")
        task = asyncio.ensure_future(send(self._client, commands))
        self._alone.add(task)
        task.add_done_callback(self._done)
        try:
            replies = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise StoreUnavailable("closed before it was answered") from None
            raise
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _done(self, task: asyncio.Task[list[Any]]) -> None:
        self._alone.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that was cancelled does not come for it

    async def _send(self, client: Redis, commands: Sequence[Command]) -> Sequence[Any]:
        """Send a batch, and in the same round trip tell other processes which requests it moves."""
        hints = self._hints_of(commands) if self._hints else []
        return (await send(client, [*commands, *hints]))[: len(commands)]

    def _hints_of(self, commands: Sequence[Command]) -> list[Command]:
        moved: dict[bytes, list[bytes]] = {}
        for command in commands:
            if command[0] is STEPS:
                _, base, _, request_id, *_ = command
                moved.setdefault(base, []).append(request_id)
        return [
            ("PUBLISH", base + b"hints", b"%s %s" % (self._name, b",".join(filter(None, ids))))
            for base, ids in moved.items()
        ]
