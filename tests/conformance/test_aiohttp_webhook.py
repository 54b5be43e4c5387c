"""The aiohttp bindings keep a binding's promises, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
from aiohttp import web

from leanflow.testing.conformance import Inbox, WebhookConformance
from leanflow_adapters.web.aiohttp import add_webhook, webhook_app
from tests.support.packed import Unpacking
from tests.support.servers import aiohttp_serving


class TestAiohttpWebhook(Unpacking, WebhookConformance):
    """As an application has it, beside routes of its own."""

    @pytest.fixture
    async def url(self, inbox: Inbox) -> AsyncIterator[str]:
        """Serve an application on a free port."""
        app = web.Application(client_max_size=1)  # the binding's cap counts, not the application's
        add_webhook(app, "/lean/webhook", inbox, max_body=self.max_body, body_timeout=self.body_timeout)
        async with aiohttp_serving(app) as base:
            yield f"{base}/lean/webhook"


class TestAiohttpSubApp(Unpacking, WebhookConformance):
    """As a subapplication."""

    body_timeout: ClassVar[float] = 0.4

    @pytest.fixture(params=["/lean", "/lean/webhooks"])
    async def url(self, inbox: Inbox, request: pytest.FixtureRequest) -> AsyncIterator[str]:
        """Serve an application that has it at /lean."""
        app = web.Application()
        app.add_subapp("/lean", webhook_app(inbox, max_body=self.max_body, body_timeout=self.body_timeout))
        async with aiohttp_serving(app) as base:
            yield base + request.param
