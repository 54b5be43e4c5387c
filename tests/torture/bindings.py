"""The bindings through which a child may take its webhooks; any scenario can be played through any of them."""

from __future__ import annotations

import asyncio
import io
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Any

import uvicorn
from aiohttp import web

from leanflow import LeanFlow
from leanflow_adapters.web._reading import MAX_BODY

__all__ = ["BINDINGS", "WHERE", "Wsgi", "bound", "serving"]

WHERE = "/webhook"
"""The path at which every one of them takes webhooks."""

_PIECE = 1 << 16  # bytes
_THREADS = 32
"""As many bodies as a server of WSGI reads at once: Werkzeug's own begins a thread for each connection."""


def _aiohttp(flows: LeanFlow) -> Any:
    from leanflow_adapters.web.aiohttp import add_webhook

    app = web.Application()
    add_webhook(app, WHERE, flows)
    return app


def _aiohttp_app(flows: LeanFlow) -> Any:
    from leanflow_adapters.web.aiohttp import webhook_app

    app = web.Application()
    app.add_subapp(WHERE, webhook_app(flows))
    return app


def _asgi(flows: LeanFlow) -> Any:
    from leanflow_adapters.web.asgi import webhook_app

    return webhook_app(flows)


def _mounted(flows: LeanFlow) -> Any:
    from starlette.applications import Starlette

    from leanflow_adapters.web.asgi import webhook_app

    app = Starlette()
    app.mount("/", webhook_app(flows))
    return app


def _starlette(flows: LeanFlow) -> Any:
    from starlette.applications import Starlette

    from leanflow_adapters.web.starlette import add_webhook

    app = Starlette()
    add_webhook(app, WHERE, flows)
    return app


def _fastapi(flows: LeanFlow) -> Any:
    from fastapi import FastAPI

    from leanflow_adapters.web.starlette import add_webhook

    app = FastAPI()
    add_webhook(app, WHERE, flows)
    return app


def _litestar(flows: LeanFlow) -> Any:
    from litestar import Litestar

    from leanflow_adapters.web.litestar import webhook_route

    return Litestar([webhook_route(WHERE, flows)])


def _quart(flows: LeanFlow) -> Any:
    from quart import Quart

    from leanflow_adapters.web.quart import add_webhook

    app = Quart("torture")
    add_webhook(app, WHERE, flows)
    return app


class Wsgi:
    """An application of WSGI's, over the engine's blocking face; called by so many at once as a server has threads."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._threads = threading.Semaphore(_THREADS)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer a request, in its turn."""
        with self._threads:
            return self._application(environ, start_response)


def _flask(flows: LeanFlow) -> Any:
    from flask import Flask

    from leanflow.blocking import LeanFlow as Blocking
    from leanflow_adapters.web.flask import add_webhook

    app = Flask("torture")
    add_webhook(app, WHERE, Blocking.over(flows))
    return Wsgi(app)


def _configured_django(flows: Any) -> None:
    import django
    from django.conf import settings
    from django.urls import re_path

    from leanflow_adapters.web.django import webhook_view

    urls = (re_path(rf"^{WHERE[1:]}/?$", webhook_view(flows)),)
    if not settings.configured:
        settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"], SECRET_KEY="torture")
        django.setup()
        # Django tells of each 503 as an error, those of a held file and of a stop included; the rest is judged.
        logging.getLogger("django.request").addFilter(lambda record: getattr(record, "status_code", None) != 503)


def _django(flows: LeanFlow) -> Any:
    from django.core.handlers.wsgi import WSGIHandler

    from leanflow.blocking import LeanFlow as Blocking

    _configured_django(Blocking.over(flows))
    return Wsgi(WSGIHandler())


def _django_asgi(flows: LeanFlow) -> Any:
    from django.core.handlers.asgi import ASGIHandler

    from leanflow_adapters.web.django import with_lean

    _configured_django(flows)
    return with_lean(ASGIHandler(), flows, path=WHERE)


_APPLICATIONS: Mapping[str, Callable[[LeanFlow], Any]] = MappingProxyType(
    {
        "aiohttp": _aiohttp,
        "aiohttp-app": _aiohttp_app,
        "asgi": _asgi,
        "mounted": _mounted,
        "starlette": _starlette,
        "fastapi": _fastapi,
        "litestar": _litestar,
        "quart": _quart,
        "flask": _flask,
        "django": _django,
        "django-asgi": _django_asgi,
    }
)
BINDINGS = tuple(_APPLICATIONS)


def bound(binding: str, flows: LeanFlow) -> Any:
    """Return an application that takes webhooks at `WHERE`: aiohttp's, of WSGI, or of ASGI."""
    return _APPLICATIONS[binding](flows)


def serving(app: Any, listener: socket.socket) -> AbstractAsyncContextManager[None]:
    """Serve on a socket that is bound: aiohttp's under aiohttp, WSGI's under Werkzeug's server, any other uvicorn."""
    if isinstance(app, Wsgi):
        return _under_werkzeug(app, listener)
    return (_under_aiohttp if isinstance(app, web.Application) else _under_uvicorn)(app, listener)


@asynccontextmanager
async def _under_uvicorn(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(app, lifespan="off", ws="none", log_level="critical", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    listener.listen(4096)
    serving = asyncio.create_task(server._serve([listener]))  # without its own handlers of signals
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def _under_aiohttp(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    # aiohttp buffers up to twice this for each connection, 512 KiB unless told otherwise; webhooks have a few.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, read_bufsize=8_192)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=4096).start()
        yield
    finally:
        await runner.cleanup()


class _Sparing(io.BufferedReader):
    """What comes over a connection. Werkzeug reads what an application left by tens of megabytes: not so many here."""

    def read(self, size: int | None = -1, /) -> bytes:
        return self.read1(_PIECE) if size is not None and size > MAX_BODY else super().read(size)


@asynccontextmanager
async def _under_werkzeug(app: Wsgi, listener: socket.socket) -> AsyncIterator[None]:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.rfile = _Sparing(self.rfile.detach())

        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    listener.setblocking(True)  # noqa: FBT003 - the socket's own
    listener.listen(4096)
    host, port = listener.getsockname()[:2]
    server = make_server(
        host, port, app, threaded=True, request_handler=Quiet, fd=listener.fileno()
    )  # on a copy of the socket
    serving = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    serving.start()
    try:
        yield
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
