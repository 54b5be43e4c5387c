"""A RabbitMQ for tests: where it is, and exchanges and queues that are gone afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from tests.support.wire import Wire

__all__ = ["URL", "Rabbit", "RabbitServer", "rabbit", "wired"]

_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # what /usr/sbin has instead becomes the user rabbitmq
_START = 120.0  # seconds for a node to begin, on a busy machine

URL = os.environ.get("LEANFLOW_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")


class Rabbit:
    """A topic exchange and a queue that gets all that it is sent, named at random.

    Attributes:
        exchange: its name.
        queue: its name.
    """

    def __init__(self, channel: AbstractChannel) -> None:
        self.exchange = f"leanflow-{uuid4().hex}"
        self.queue = f"{self.exchange}-all"
        self._channel = channel
        self._queues = [self.queue]

    async def make(self) -> None:
        """Make both."""
        exchange = await self._channel.declare_exchange(self.exchange, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await self._channel.declare_queue(self.queue, durable=True)
        await queue.bind(exchange, "flows.#")

    async def put(self, body: bytes, headers: dict[str, Any], **properties: Any) -> None:
        """Put a message into the queue."""
        message = aio_pika.Message(body, headers=headers, delivery_mode=2, **properties)
        await self._channel.default_exchange.publish(message, self.queue)

    async def take(self, queue: str | None = None) -> list[AbstractIncomingMessage]:
        """Take all that a queue holds; none if there is no such queue."""
        taken = []
        there = await self._channel.get_queue(queue or self.queue)
        while (message := await there.get(no_ack=True, fail=False)) is not None:
            taken.append(message)
        return taken

    async def depth(self, queue: str | None = None) -> int:
        """Return how many messages of a queue are ready."""
        name = queue or self.queue
        return (await self._channel.declare_queue(name, passive=True)).declaration_result.message_count or 0

    async def declare(self, queue: str) -> None:
        """Make one more durable queue."""
        await self._channel.declare_queue(queue, durable=True)

    async def remake(self) -> None:
        """Delete the queue, with those who consume from it, and make it again."""
        await self._channel.queue_delete(self.queue)
        await self._channel.declare_queue(self.queue, durable=True)

    async def drop(self, exchange: str, *queues: str) -> None:
        """Remove what somebody else made."""
        for queue in queues:
            await self._channel.queue_delete(queue)
        await self._channel.exchange_delete(exchange)

    async def unmake(self) -> None:
        """Remove them, and what leanflow made beside them."""
        for suffix in ("", ".set-aside", *(f".again.{wait}s" for wait in (1, 5, 30, 300, 1800))):
            await self._channel.queue_delete(self.queue + suffix)
        await self._channel.exchange_delete(self.exchange)


@asynccontextmanager
async def rabbit(url: str = URL) -> AsyncIterator[Rabbit]:
    """Give an exchange with a queue.

    Where no RabbitMQ answers, the test is skipped by name; with ``LEANFLOW_REQUIRE_SERVICES=1`` it fails.
    """
    try:
        connection = await aio_pika.connect(url, timeout=5)
    except (OSError, TimeoutError, aio_pika.exceptions.AMQPError) as error:
        said = f"no RabbitMQ at {urlsplit(url).hostname} ({type(error).__name__}); see LEANFLOW_RABBITMQ_URL"
        if os.environ.get("LEANFLOW_REQUIRE_SERVICES") == "1":
            pytest.fail(said)
        pytest.skip(said)
    async with connection:
        made = Rabbit(await connection.channel())
        await made.make()
        try:
            yield made
        finally:
            await made.unmake()


@asynccontextmanager
async def wired() -> AsyncIterator[tuple[Wire, str]]:
    """Give a wire to the RabbitMQ, and the URL of its near end."""
    there = urlsplit(URL)
    async with Wire(there.hostname or "127.0.0.1", there.port or 5672) as wire:
        login = there.netloc.rpartition("@")[0]
        yield wire, there._replace(netloc=f"{login}@127.0.0.1:{wire.port}").geturl()


class RabbitServer:
    """A node of one's own, on private ports, with nothing on it: to be killed and started again."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="leanflow-rabbitmq-"))
        self._port, self._distribution, self._epmd = _free_ports(3)
        self._node: asyncio.subprocess.Process | None = None

    @staticmethod
    def missing() -> str | None:
        """Return why it cannot be started here, or None."""
        return None if _PROGRAM.exists() else f"{_PROGRAM} not found"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}/"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()
        ending = await asyncio.create_subprocess_exec(
            "epmd", "-port", str(self._epmd), "-kill", stdout=asyncio.subprocess.DEVNULL
        )
        await ending.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def start(self) -> None:
        """Start it, with what it had, and wait until it serves."""
        base, nowhere = self._directory, str(self._directory / "none")
        settings = {
            "HOME": str(base),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"leanflow{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(base / "mnesia"),
            "RABBITMQ_LOG_BASE": str(base / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": nowhere,
            "RABBITMQ_CONF_ENV_FILE": nowhere,
            "RABBITMQ_CONFIG_FILE": nowhere,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        with (base / "out").open("ab") as out:
            self._node = await asyncio.create_subprocess_exec(
                str(_PROGRAM), stdout=out, stderr=out, env={**os.environ, **settings}, start_new_session=True
            )
        async with asyncio.timeout(_START):
            while True:
                with suppress(OSError, TimeoutError, aio_pika.exceptions.AMQPError):
                    async with await aio_pika.connect(self.url, timeout=2):
                        return
                if self._node.returncode is not None:
                    raise RuntimeError((base / "out").read_text(errors="replace")[-500:])
                await asyncio.sleep(0.1)

    async def kill(self) -> None:
        """End it as a crash does."""
        if self._node is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._node.pid, signal.SIGKILL)
            await self._node.wait()
            self._node = None


def _free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
