"""The front end's routes in every framework that awaits, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
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
from tests.support.front_end import FrontEndSuite
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
