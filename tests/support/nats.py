"""A NATS server for tests: where it is, and streams that are gone afterwards; and one of one's own, to be stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import DeliverPolicy, RawStreamMsg, StreamConfig
from nats.js.errors import NotFoundError

__all__ = ["HOST", "PORT", "URL", "NatsServer", "connected", "drop", "fresh_name", "kept"]

URL = os.environ.get("LEANFLOW_NATS_URL", "nats://127.0.0.1:4222")
HOST, PORT = urlsplit(URL).hostname or "127.0.0.1", urlsplit(URL).port or 4222


_STAYS = "leanflow-tests"
"""A stream that stays: with its last one a server removes the directory of all, and fails to make one meanwhile."""


async def _quiet(_: Exception) -> None:
    """Say nothing: whoever waits is told."""


@asynccontextmanager
async def connected(url: str = URL) -> AsyncIterator[Client]:
    """Yield a client; where no NATS answers, skip by name, or fail with ``LEANFLOW_REQUIRE_SERVICES=1``."""
    try:
        client = await nats.connect(url, allow_reconnect=False, max_reconnect_attempts=1, error_cb=_quiet)
    except (OSError, TimeoutError, nats.errors.Error) as error:
        said = f"no NATS at {url} ({type(error).__name__}); see LEANFLOW_NATS_URL"
        if os.environ.get("LEANFLOW_REQUIRE_SERVICES") == "1":
            pytest.fail(said)
        pytest.skip(said)
    try:
        if url == URL:
            await client.jetstream().add_stream(StreamConfig(name=_STAYS, subjects=[_STAYS]))
        yield client
    finally:
        await client.close()


def fresh_name() -> str:
    """Return a name that nobody else has: of a stream, and of what its subjects begin with."""
    return f"leanflow-{uuid4().hex}"


async def drop(*streams: str, url: str = URL) -> None:
    """Remove streams."""
    async with connected(url) as client:
        for stream in streams:
            with suppress(NotFoundError):
                await client.jetstream().delete_stream(stream)


async def kept(client: Client, stream: str) -> Sequence[Msg | RawStreamMsg]:
    """Return all messages of a stream, in its order."""
    js = client.jetstream()
    total = (await js.stream_info(stream)).state.messages
    if not total:
        return []
    reading = await js.subscribe(">", stream=stream, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL)
    found = [await reading.next_msg(timeout=10) for _ in range(total)]
    await reading.unsubscribe()
    return found


class NatsServer:
    """A server of one's own, on a private port, with its streams in a directory of its own."""

    def __init__(self, *, options: Sequence[str] = ()) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="leanflow-nats-"))
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @staticmethod
    def missing() -> str | None:
        """Return why none can be started here, or None."""
        return None if shutil.which("nats-server") else "nats-server not found"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"nats://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        words = ["-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._directory), *self._options]
        with (self._directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(shutil.which("nats-server")), *words, stdout=log, stderr=log
            )
        for _ in range(200):
            with suppress(OSError, TimeoutError, nats.errors.Error):
                client = await nats.connect(
                    self.url,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,  # else the client waits two seconds before it says that nobody is there
                    error_cb=_quiet,
                    connect_timeout=1,
                )
                await client.jetstream().account_info()
                await client.close()
                return
            await asyncio.sleep(0.05)
        raise RuntimeError((self._directory / "log").read_text()[-500:])

    def freeze(self) -> None:
        """Let it stand still: connections stay, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        while any(not _stands(each / "stat") for each in threads.iterdir()):  # on another core some may still answer
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def _stands(stat: Path) -> bool:
    """Return whether a thread is stopped: the letter behind its name in brackets."""
    return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"
