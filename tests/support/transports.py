"""Transports for tests, and what they are to speak to: servers on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from leanflow._call import Call
from leanflow_adapters.http import LeanTransport

__all__ = ["CALL", "POST", "Lean", "oauth", "old", "served", "silent", "spoken"]

CALL = Call(method="GET", path="/data/v2/accounts", query={"entity_id": "e"})
POST = Call(method="POST", path="/data/v1/accounts", body=b"{}")


class Lean:
    """A server with a token endpoint and one answer for everything else; remembers what it was asked."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.asked_twice = asyncio.Event()
        self.seen: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.accepted: set[str] | None = None  # tokens that are good; None: all are
        self.token_status = 200
        self.answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = self._ok

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer anything."""
        body = await request.read()
        if request.path == "/oauth2/token":
            return self._token({name: str(value) for name, value in (await request.post()).items()})
        self.seen.append(request)
        self.bodies.append(body)
        word = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.accepted is not None and word not in self.accepted:
            return web.Response(status=401, body=b"no")
        return await self.answer(request)

    def _token(self, form: dict[str, str]) -> web.Response:
        self.forms.append(form)
        if len(self.forms) == 2:
            self.asked_twice.set()
        body = {"access_token": f"t{len(self.forms)}", "expires_in": 3599, "token_type": "Bearer"}
        return web.json_response(body, status=self.token_status)

    async def _ok(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b'{"status":"OK"}', headers={"Lean-Correlation-Id": "c1"})


@asynccontextmanager
async def served(lean: Lean, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on a free port of loopback."""
    runner = web.ServerRunner(web.Server(lean.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def spoken(script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve raw bytes on a free port of loopback; a script speaks on each connection and then it is closed."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Serve a port of loopback on which nothing is ever answered; who asks is let go at the end."""
    over = asyncio.Event()

    async def wait(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await over.wait()

    async with spoken(wait) as url:
        yield url
        over.set()


def oauth(url: str, **settings: Any) -> LeanTransport:
    """Return a transport whose API and token endpoint are at one URL."""
    return LeanTransport(client_id="id", client_secret="s3", base_url=url, auth_url=url, **settings)


def old(url: str, **settings: Any) -> LeanTransport:
    """Return a transport with an app token."""
    return LeanTransport(app_token="app", base_url=url, **settings)
