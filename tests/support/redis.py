"""A Redis for tests: where it is, prefixes whose keys are gone afterwards, and servers of a test's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import attrs
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from leanflow_adapters.redis import RedisStore

__all__ = ["URL", "Server", "cluster", "do", "empty", "fresh_prefix", "opened", "server"]

URL = os.environ.get("LEANFLOW_REDIS_URL", "redis://127.0.0.1:6379/0")
_START = 10.0  # seconds for a server to answer


async def do(*command: Any, url: str = URL) -> Any:
    """Send a command on a connection of its own."""
    async with Redis.from_url(url) as client:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no type for it


async def fresh_prefix() -> str:
    """Return a prefix without keys.

    Where no Redis answers, the test is skipped by name; with ``LEANFLOW_REQUIRE_SERVICES=1`` it fails.
    """
    try:
        await asyncio.wait_for(do("PING"), 5)
    except (RedisError, OSError, TimeoutError) as error:
        _missing(f"no Redis at {urlsplit(URL).hostname} ({type(error).__name__}); see LEANFLOW_REDIS_URL")
    return f"leanflow_{uuid4().hex}"


def _missing(said: str) -> None:
    if os.environ.get("LEANFLOW_REQUIRE_SERVICES") == "1":
        pytest.fail(said)
    pytest.skip(said)


async def empty(prefix: str, url: str = URL) -> None:
    """Delete every key under a prefix."""
    async with Redis.from_url(url) as client:
        keys = [key async for key in client.scan_iter(match=f"{{{prefix}:*", count=1000)]
        for first in range(0, len(keys), 1000):
            await client.delete(*keys[first : first + 1000])


@asynccontextmanager
async def opened(url: str, prefix: str = "", **settings: Any) -> AsyncIterator[RedisStore]:
    """Give an open store on the engine's clock."""
    store = RedisStore(url, prefix=prefix or uuid4().hex, **{"clock": "engine", **settings})
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


@attrs.define(eq=False)
class Server:
    """A Redis of a test's own.

    Attributes:
        port: on which it listens, on loopback.
        folder: of its files.
        settings: of its command line.
    """

    port: int
    folder: Path
    settings: tuple[str, ...]
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it on the files that it has, and return once it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self._process = subprocess.Popen([*command, *self.settings], stdout=subprocess.DEVNULL)
        until = time.monotonic() + _START
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as line:
                line.sendall(b"PING\r\n")
                if line.recv(100).startswith(b"+PONG"):  # and not that it is loading its files
                    return
            time.sleep(0.01)
        msg = "redis-server does not answer"
        raise TimeoutError(msg)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


@contextmanager
def server(*settings: str) -> Iterator[Server]:
    """Give a running Redis on a port and in a directory of its own; by default it syncs every write."""
    if shutil.which("redis-server") is None:
        _missing("redis-server is not installed: this test starts one of its own")
    chosen = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", *settings)
    with tempfile.TemporaryDirectory(prefix="leanflow-redis-") as folder:
        made = Server(_free_port(), Path(folder), chosen)
        made.start()
        try:
            yield made
        finally:
            made.kill()


_SLOTS = 16384


@contextmanager
def cluster(primaries: int) -> Iterator[list[Server]]:
    """Give the servers of a Redis Cluster that has just formed, each with its share of the slots."""
    with ExitStack() as stack:
        servers, doors = [], []
        for number in range(primaries):
            doors.append(_free_port())
            made = stack.enter_context(server("--cluster-enabled", "yes", "--cluster-port", str(doors[-1])))
            first, behind = (_SLOTS * edge // primaries for edge in (number, number + 1))
            _say(made, "CLUSTER", "ADDSLOTSRANGE", first, behind - 1)
            _say(made, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            servers.append(made)
        for other, door in zip(servers[1:], doors[1:], strict=True):
            _say(servers[0], "CLUSTER", "MEET", "127.0.0.1", other.port, door)
        until = time.monotonic() + _START
        while not all(_has_formed(_say(one, "CLUSTER", "INFO"), primaries) for one in servers):
            assert time.monotonic() < until, "the cluster does not form"
            time.sleep(0.05)
        yield servers


def _say(made: Server, *command: Any) -> Any:
    return asyncio.run(do(*command, url=made.url))


def _has_formed(info: bytes, primaries: int) -> bool:
    return b"cluster_state:ok" in info and f"cluster_size:{primaries}\r".encode() in info


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
