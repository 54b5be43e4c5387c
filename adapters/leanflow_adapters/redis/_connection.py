"""Connections, what the driver's errors mean, and how commands are sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, NoScriptError, RedisError

from leanflow._sites import site
from leanflow.errors import InvalidRequest, StoreUnavailable
from leanflow_adapters.redis._lane import Command
from leanflow_adapters.redis._scripts import Script, scripts

__all__ = ["load_scripts", "make_pool", "send", "translated", "unavailable"]

_CONNECT_TIMEOUT = 5.0  # seconds
_REPLY_TIMEOUT = 10.0  # seconds: leanflow's scripts take milliseconds
_SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}


def make_pool(url: str, *, size: int, **settings: Any) -> BlockingConnectionPool:
    """Return a pool without connections yet.

    It never sends a command twice: a step whose answer was lost would come back as a duplicate of itself, and the lease
    of a claim would be nobody's.

    Raises:
        InvalidRequest: the URL is not understood. It is not repeated: it may hold a password.
    """
    scheme, colon, rest = url.partition(":")
    known = _SCHEMES.get(scheme.lower())
    if not colon or known is None:
        raise InvalidRequest("url", f"must begin with {', '.join(f'{name}://' for name in _SCHEMES)}")
    if known != "unix" and not re.fullmatch(r"//[^/?]*(/\d*)?(\?.*)?", rest):  # redis-py takes any other path for 0
        raise InvalidRequest("url", "what follows the host must be the number of a database, as redis://host:6379/0")
    chosen = {
        "max_connections": size,
        "timeout": _REPLY_TIMEOUT,
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "socket_timeout": _REPLY_TIMEOUT,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        **settings,
    }
    if known == "unix":
        del chosen["socket_keepalive"]
    try:
        pool = BlockingConnectionPool.from_url(f"{known}:{rest}", **chosen)
        pool.connection_kwargs["decode_responses"] = False  # bodies are bytes, whatever the URL says
        pool.connection_class(**pool.connection_kwargs)  # opens nothing; refuses options that it does not know
    except (TypeError, ValueError) as error:
        raise InvalidRequest("url", "redis-py does not understand it (it is not repeated here)") from error
    return pool


def unavailable(error: BaseException) -> StoreUnavailable:
    """Return what a driver's error means. Messages may hold values: only their first word is repeated, in capitals."""
    word = str(error).split(" ", 1)[0]
    told = f"{type(error).__name__} ({word})" if word.isupper() and word.isalpha() else type(error).__name__
    if isinstance(error, AskError):  # MOVED is one
        told = f"{told}: the server is of a Redis Cluster and names another, and this store follows no redirections"
    made = StoreUnavailable(told)
    made.__cause__ = error
    return made


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into the port's."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise unavailable(error) from error


async def load_scripts(client: Redis) -> None:
    """Give the server the scripts."""
    for reply in await _pipeline(client, [("SCRIPT LOAD", script.text) for script in scripts()]):
        if isinstance(reply, RedisError):
            raise reply


async def send(client: Redis, commands: Sequence[Command]) -> list[Any]:
    """Send commands in one round trip; return for each its reply, or what went wrong.

    A script that the server has forgotten, in a restart or by SCRIPT FLUSH, has not run: it is loaded and run again.

    Raises:
        StoreUnavailable: what became of them is unknown.
    """
    site("redis.before_send")
    with translated():
        replies = await _pipeline(client, commands)
        missing = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missing:
            await load_scripts(client)
            again = await _pipeline(client, [commands[n] for n in missing])
            for n, reply in zip(missing, again, strict=True):
                replies[n] = reply
    site("redis.after_send")
    return [unavailable(reply) if isinstance(reply, RedisError) else reply for reply in replies]


async def _pipeline(client: Redis, commands: Sequence[Command]) -> list[Any]:
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            if isinstance(command[0], Script):
                script, base, *rest = command
                pipeline.execute_command("EVALSHA", script.sha, 1, base, *rest)
            else:
                pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
    return replies
