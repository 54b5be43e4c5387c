"""The front end's routes in every framework that awaits, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, ClassVar

import litestar
import pytest
from aiohttp import ClientSession, web
from fastapi import FastAPI
from quart import Quart
from starlette.applications import Starlette
from starlette.requests import Request

from leanflow import LeanFlow
from leanflow_adapters.web import aiohttp, asgi, litestar as in_litestar, quart as in_quart, starlette as in_starlette
from tests.support.front_end import FrontEndSuite, is_theirs
from tests.support.servers import aiohttp_serving, hypercorn_serving, uvicorn_serving

Serve = Callable[..., AbstractAsyncContextManager[str]]


class TestAiohttp(FrontEndSuite):
    """As a subapplication."""

    @pytest.fixture
    def serve(self) -> Serve:
        """Serve it under aiohttp."""

        @asynccontextmanager
        async def serving(flows: Any, **settings: Any) -> AsyncIterator[str]:
            app = web.Application()
            app.add_subapp("/requests", aiohttp.front_end_app(flows, **settings))
            async with aiohttp_serving(app) as base:
                yield f"{base}/requests"

        return serving

    @pytest.mark.parametrize(
        "sent",
        [
            (b"content-length: 100", b"{", b"408"),
            (b"content-length: 4\r\ncontent-encoding: gzip", b"none", b"400"),
            (b"content-length: 70000", b"x" * 70_000, b"413"),
        ],
    )
    async def test_a_body_that_does_not_come_is_not_waited_for(
        self,
        serve: Serve,
        flows: LeanFlow,
        request_id: str,
        monkeypatch: pytest.MonkeyPatch,
        sent: tuple[bytes, bytes, bytes],
    ) -> None:
        """By itself aiohttp would wait for ever; nor is one read that cannot be unpacked, or is too long."""
        headers, body, status = sent
        monkeypatch.setattr(aiohttp, "BODY_SECONDS", 0.1)
        async with serve(flows, authorise=is_theirs) as url, asyncio.timeout(10):
            host, _, path = url.removeprefix("http://").partition("/")
            name, _, port = host.partition(":")
            reader, writer = await asyncio.open_connection(name, int(port))
            head = b"POST /%s/%s/callback HTTP/1.1\r\nhost: x\r\nx-user: user-17\r\n" % (
                path.encode(),
                request_id.encode(),
            )
            try:
                writer.write(head + headers + b"\r\n\r\n" + body)
                assert (await reader.readline()).split()[1] == status
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
class TestStarlette(FrontEndSuite):
    """Mounted, under uvicorn."""

    notices_within: ClassVar[float] = 15.0  # at once, that is: not only when something is sent

    @pytest.fixture
    def serve(self, framework: type[Starlette]) -> Serve:
        """Serve it under uvicorn."""

        @asynccontextmanager
        async def serving(flows: Any, **settings: Any) -> AsyncIterator[str]:
            app = framework()
            in_starlette.add_front_end(app, "/requests", flows, **settings)
            async with uvicorn_serving(app) as base:
                yield f"{base}/requests"

        return serving


class TestLitestar(FrontEndSuite):
    """As a route, under uvicorn."""

    notices_within: ClassVar[float] = 15.0  # at once, that is: not only when something is sent

    @pytest.fixture
    def serve(self) -> Serve:
        """Serve it under uvicorn."""

        @asynccontextmanager
        async def serving(flows: Any, **settings: Any) -> AsyncIterator[str]:
            route = in_litestar.front_end_route("/requests", flows, **settings)
            async with uvicorn_serving(litestar.Litestar([route])) as base:
                yield f"{base}/requests"

        return serving


class TestQuart(FrontEndSuite):
    """As a blueprint, under hypercorn."""

    notices_within: ClassVar[float] = 15.0  # at once, that is: not only when something is sent

    @pytest.fixture
    def serve(self) -> Serve:
        """Serve it under hypercorn."""

        @asynccontextmanager
        async def serving(flows: Any, **settings: Any) -> AsyncIterator[str]:
            app = Quart(__name__)
            app.register_blueprint(in_quart.front_end_blueprint(flows, **settings), url_prefix="/requests")
            async with hypercorn_serving(app) as base:
                yield f"{base}/requests"

        return serving

    async def test_what_quart_itself_refuses_is_too_long(
        self, flows: LeanFlow, request_id: str, http: ClientSession
    ) -> None:
        """The application's own limit may be lower: 413 then too, in a problem document."""
        app = Quart(__name__)
        app.config["MAX_CONTENT_LENGTH"] = 1_000
        app.register_blueprint(in_quart.front_end_blueprint(flows, authorise=lambda *_: True), url_prefix="/requests")
        async with (
            hypercorn_serving(app) as base,
            http.post(f"{base}/requests/{request_id}/callback", data=b" " * 2_000) as answer,
        ):
            assert (answer.status, answer.content_type) == (413, "application/problem+json")


class TestAlone(FrontEndSuite):
    """The bare application under uvicorn; its hook is handed the scope."""

    notices_within: ClassVar[float] = 15.0  # at once, that is: not only when something is sent

    @pytest.fixture
    def serve(self) -> Serve:
        """Serve it under uvicorn."""

        @asynccontextmanager
        async def serving(flows: Any, authorise: Any = None, **settings: Any) -> AsyncIterator[str]:
            hook = authorise and (lambda scope, record: authorise(Request(scope), record))
            async with uvicorn_serving(asgi.front_end_app(flows, authorise=hook, **settings), lifespan="off") as base:
                yield base

        return serving
