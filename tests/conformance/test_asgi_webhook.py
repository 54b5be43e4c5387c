"""The ASGI bindings keep a binding's promises, over real sockets, under uvicorn and hypercorn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

import litestar
import pytest
from fastapi import FastAPI
from quart import Quart
from starlette.applications import Starlette

from leanflow.testing.conformance import Inbox, WebhookConformance
from leanflow_adapters.web import litestar as in_litestar, quart as in_quart, starlette as in_starlette
from leanflow_adapters.web.asgi import webhook_app
from tests.support.packed import Unpacking
from tests.support.servers import hypercorn_serving, uvicorn_serving


class _Asgi(Unpacking, WebhookConformance):
    body_timeout: ClassVar[float] = 0.4


class TestAlone(_Asgi):
    """The application itself, under uvicorn."""

    @pytest.fixture
    async def url(self, inbox: Inbox) -> AsyncIterator[str]:
        """Serve nothing but it."""
        app = webhook_app(inbox, max_body=self.max_body, body_timeout=self.body_timeout)
        async with uvicorn_serving(app, lifespan="on") as base:
            yield f"{base}/lean/webhooks"


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
class TestMounted(_Asgi):
    """Mounted, with Lean's URL below the mount."""

    @pytest.fixture
    async def url(self, inbox: Inbox, framework: type[Starlette]) -> AsyncIterator[str]:
        """Serve an application that has it mounted."""
        app = framework()
        app.mount("/lean", webhook_app(inbox, max_body=self.max_body, body_timeout=self.body_timeout))
        async with uvicorn_serving(app) as base:
            yield f"{base}/lean/webhooks"


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
class TestStarlette(_Asgi):
    """As a route, among others."""

    @pytest.fixture
    async def url(self, inbox: Inbox, framework: type[Starlette]) -> AsyncIterator[str]:
        """Serve an application that has the route."""
        app = framework()
        in_starlette.add_webhook(app, "/lean/webhooks", inbox, max_body=self.max_body, body_timeout=self.body_timeout)
        async with uvicorn_serving(app) as base:
            yield f"{base}/lean/webhooks"


class TestLitestar(_Asgi):
    """As a route of Litestar."""

    @pytest.fixture
    async def url(self, inbox: Inbox) -> AsyncIterator[str]:
        """Serve an application that has the route."""
        route = in_litestar.webhook_route(
            "/lean/webhooks", inbox, max_body=self.max_body, body_timeout=self.body_timeout
        )
        async with uvicorn_serving(litestar.Litestar([route], request_max_body_size=1)) as base:
            yield f"{base}/lean/webhooks"


class TestQuart(_Asgi):
    """Beside what Quart serves."""

    @pytest.fixture
    async def url(self, inbox: Inbox) -> AsyncIterator[str]:
        """Serve an application that has the route, under the server that Quart comes with."""
        app = Quart(__name__)
        app.config["MAX_CONTENT_LENGTH"] = 1  # the binding's cap counts, not the application's
        in_quart.add_webhook(app, "/lean/webhooks", inbox, max_body=self.max_body, body_timeout=self.body_timeout)
        async with hypercorn_serving(app) as base:
            yield f"{base}/lean/webhooks"
