"""Applications served on a free port within the test's own loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from aiohttp import web
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config, Sockets

__all__ = ["aiohttp_serving", "free_port", "hypercorn_serving", "uvicorn_serving"]


class _Server(uvicorn.Server):
    """Uvicorn that looks ten times a second at nothing: it stops when it is told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait to be stopped."""
        await self.on_tick(0)
        self.listening.set()
        await self.stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop at once; whoever is still connected is hung up on."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self.server_state.connections):
            transport: Any = getattr(connection, "transport", None)
            transport.abort()
        await self.lifespan.shutdown()


@asynccontextmanager
async def aiohttp_serving(app: web.Application, *, port: int = 0) -> AsyncIterator[str]:
    """Serve under aiohttp; give the base URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def uvicorn_serving(app: Any, *, port: int = 0, lifespan: Any = "auto", http: Any = "h11") -> AsyncIterator[str]:
    """Serve under uvicorn; give the base URL."""
    listener = _listener(port)
    server = _Server(uvicorn.Config(app, lifespan=lifespan, http=http, ws="none", log_level="critical"))
    serving = asyncio.ensure_future(server._serve([listener]))
    ready = asyncio.ensure_future(server.listening.wait())
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    assert server.listening.is_set(), "uvicorn did not start"
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.stop.set()
        await serving
        listener.close()


@asynccontextmanager
async def hypercorn_serving(app: Any, *, port: int = 0) -> AsyncIterator[str]:
    """Serve under hypercorn; give the base URL."""
    listener = _listener(port)
    config = Config()
    config.graceful_timeout = 0.1
    config.errorlog = None
    stop = asyncio.Event()
    sockets = Sockets([], [listener], [])
    serving = asyncio.ensure_future(worker_serve(ASGIWrapper(app), config, sockets=sockets, shutdown_trigger=stop.wait))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        await serving


def free_port() -> int:
    """Return a port that nobody listens at, for those who must know it beforehand."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio turns Nagle off
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    listener.settimeout(0)
    return listener
