"""The Django bindings keep a binding's promises, over real sockets: under WSGI, and under ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.urls import include, path

from leanflow.testing.conformance import Inbox, WebhookConformance
from leanflow.testing.conformance._receiving import Answering, Handing
from leanflow_adapters.web.django import lean_urls, with_lean
from tests.support.django_site import site
from tests.support.servers import uvicorn_serving
from tests.support.wsgi import Switch, gunicorn, runserver


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Switch, str]]:
    """A gunicorn for all tests of this module."""
    switch = Switch()
    with gunicorn(switch) as base:
        yield switch, base


class TestDjangoUnderGunicorn(WebhookConformance):
    """The view that blocks, under gunicorn's threaded worker."""

    @pytest.fixture
    def url(self, inbox: Inbox, served: tuple[Switch, str]) -> Iterator[str]:
        """Serve a site on a free port."""
        urls = lean_urls(inbox.blocking, max_body=self.max_body, body_timeout=self.body_timeout)
        switch, base = served
        with site([path("lean/", include(urls))], DATA_UPLOAD_MAX_MEMORY_SIZE=1):
            switch.application = WSGIHandler()
            yield f"{base}/lean/webhooks"


class TestDjangoUnderRunserver(Handing, Answering):
    """The same under the server of ``manage.py runserver``, which knows no chunks and waits for ever."""

    chunked = False

    @pytest.fixture
    def url(self, inbox: Inbox) -> Iterator[str]:
        """Serve a site on a free port."""
        urls = lean_urls(inbox.blocking, max_body=self.max_body, body_timeout=self.body_timeout)
        with site([path("lean/", include(urls))]), runserver(WSGIHandler()) as base:
            yield f"{base}/lean/webhooks"


class TestDjangoBehindWithLean(WebhookConformance):
    """An engine of asyncio's, under uvicorn."""

    @pytest.fixture
    async def url(self, inbox: Inbox) -> AsyncIterator[str]:
        """Serve a site on a free port."""
        with site([]):
            app = with_lean(ASGIHandler(), inbox, max_body=self.max_body, body_timeout=self.body_timeout)
            async with uvicorn_serving(app) as base:
                yield f"{base}/lean/webhooks"


class TestDjangoBehindWithLeanBlocking(Answering):
    """One of `leanflow.blocking`, under uvicorn."""

    @pytest.fixture
    async def url(self, inbox: Inbox) -> AsyncIterator[str]:
        """Serve a site on a free port."""
        with site([]):
            app = with_lean(ASGIHandler(), inbox.blocking, max_body=self.max_body, body_timeout=self.body_timeout)
            async with uvicorn_serving(app) as base:
                yield f"{base}/lean/webhooks"


class TestDjangosAsyncView(Handing, Answering):
    """The ``async def`` view by itself: what is read beyond the cap is Django's affair."""

    @pytest.fixture
    async def url(self, inbox: Inbox) -> AsyncIterator[str]:
        """Serve a site on a free port."""
        urls = lean_urls(inbox, max_body=self.max_body, body_timeout=self.body_timeout)
        with site([path("lean/", include(urls))], DATA_UPLOAD_MAX_MEMORY_SIZE=1):
            async with uvicorn_serving(ASGIHandler(), lifespan="off") as base:
                yield f"{base}/lean/webhooks"
