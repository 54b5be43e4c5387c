"""The client of a Redis, and the only place where its errors are translated."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from leanflow.errors import BrokerSetup, BusUnavailable, InvalidRequest, LeanflowError, MessageRefused

__all__ = ["Link", "translate", "translated"]

_log = logging.getLogger("leanflow.outbox")

CONNECTING = 2.0
"""Seconds to connect, at most."""


class Link:
    """A client, made when it is first wanted.

    Args:
        name: of the bus, for errors.
        url: ``redis://``, ``rediss://``, ``unix://``; None: `client` was handed in.
        client: the application's own; never closed.
        timeout: seconds within which the server is to answer; a client that was handed in has its own.
    """

    def __init__(self, name: str, url: str | None, client: Redis | None, timeout: float) -> None:
        if (url is None) == (client is None):
            raise InvalidRequest("url", "give a URL, or a client of your own, and not both")
        if client is not None and client.connection_pool.connection_kwargs.get("decode_responses"):
            raise InvalidRequest("client", "must be made without decode_responses: bodies are bytes")
        self.name = name
        self.timeout = timeout
        self._url = None if url is None else _checked(url)
        self._given = client
        self._client = client

    @property
    def client(self) -> Redis:
        """The client."""
        if self._client is None:
            # No retries of the client's own: a batch that failed is the engine's to repeat.
            self._client = Redis.from_url(
                str(self._url),
                socket_timeout=self.timeout,
                socket_connect_timeout=min(CONNECTING, self.timeout),
                retry=Retry(NoBackoff(), 0),
            )
        return self._client

    async def open(self) -> None:
        """Connect, and look whether the server keeps what it is given.

        Raises:
            BusUnavailable: it does not answer.
            BrokerSetup: it throws streams away when memory is short.
        """
        try:
            with translated(self.name):
                told: dict[str, Any] = await self.client.info()
        except BaseException:  # cancelled, too: no connection is left behind
            await self.aclose()
            raise
        if str(told.get("maxmemory_policy", "")).startswith("allkeys"):
            await self.aclose()
            cure = "set maxmemory-policy noeviction"
            raise BrokerSetup(self.name, f"the server evicts streams ({told['maxmemory_policy']})", cure)
        if not told.get("aof_enabled"):
            _log.warning("%s: this Redis has appendonly no: a restart loses what was not saved yet", self.name)

    async def ask(self, commands: Sequence[bytes]) -> list[Any]:
        """Send packed commands in one go; return what the server answers to each, errors that it tells included.

        A pipeline of the client's own takes three times as long to pack and to read.
        """
        pool: Any = self.client.connection_pool
        connection = await pool.get_connection()
        try:
            async with asyncio.timeout(connection.socket_timeout):
                await connection.send_packed_command(commands)
                return [await _answer(connection) for _ in commands]
        except BaseException:  # cancelled, too: answers would come that nobody waits for any more
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    async def aclose(self) -> None:
        """Close what was opened here."""
        client, self._client = self._client, self._given
        if client is not None and client is not self._given:
            await client.aclose()


def _checked(url: str) -> str:
    """Return the URL as redis-py takes it.

    Raises:
        InvalidRequest: it takes none of that kind, however often it is asked.
    """
    known = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
    try:
        parse_url(known)
    except ValueError:
        raise InvalidRequest("url", "must be like redis://host:6379/0, rediss:// or unix://") from None
    return known


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response(timeout=math.inf)  # the time for all of them is kept by who asks
    except ResponseError as error:
        return error


def translate(bus: str, error: BaseException) -> LeanflowError | None:
    """Return an error of the client as one of ours; None if it is none of the client's."""
    match error:
        case AuthenticationError() | NoPermissionError():
            return BrokerSetup(bus, f"the server refused ({type(error).__name__})", "look at user, password and ACL")
        case BusyLoadingError() | OutOfMemoryError() | ReadOnlyError() | RedisConnectionError() | RedisTimeoutError():
            return BusUnavailable(bus, type(error).__name__)  # redis-py has taken the code from the text of these
        case ResponseError():
            said = str(error)
            code = said.split(" ", 1)[0]
            if code in {"MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "UNKILLABLE", "BUSY"}:
                return BusUnavailable(bus, code)
            return MessageRefused(bus, code if code.isupper() else said[:80])
        case RedisError() | OSError() | TimeoutError():
            return BusUnavailable(bus, type(error).__name__)
        case _:
            return None


@contextmanager
def translated(bus: str) -> Iterator[None]:
    """Raise what the client raises as an error of ours."""
    try:
        yield
    except Exception as error:  # what is not the client's is raised as it is
        ours = translate(bus, error)
        if ours is None:
            raise
        raise ours from error
