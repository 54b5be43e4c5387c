"""The front end's routes in frameworks that block, over real sockets; and in Django under ASGI."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import flask
import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client
from django.urls import include, path

from leanflow import LeanFlow
from leanflow.blocking import LeanFlow as Blocking
from leanflow_adapters.web.django import _in_threads, front_end_urls
from leanflow_adapters.web.flask import front_end_blueprint
from tests.support.django_site import MIDDLEWARE, site
from tests.support.front_end import FrontEndSuite, is_theirs
from tests.support.servers import uvicorn_serving
from tests.support.wsgi import Switch, gunicorn

Serve = Callable[..., AbstractAsyncContextManager[str]]
NO_CSRF = [each for each in MIDDLEWARE if "csrf" not in each]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Switch, str]]:
    """A gunicorn for all tests of this module."""
    switch = Switch()
    with gunicorn(switch) as base:
        yield switch, base


class TestFlask(FrontEndSuite):
    """As a blueprint, under gunicorn."""

    @pytest.fixture
    def serve(self, served: tuple[Switch, str]) -> Serve:
        """Serve it under gunicorn."""

        @asynccontextmanager
        async def serving(flows: Any, **settings: Any) -> AsyncIterator[str]:
            switch, base = served
            app = flask.Flask(__name__)
            blueprint = front_end_blueprint(Blocking.over(flows), **settings)
            app.register_blueprint(blueprint, url_prefix="/requests")
            switch.application = app
            yield f"{base}/requests"

        return serving


class TestDjango(FrontEndSuite):
    """As urls, under gunicorn."""

    @pytest.fixture
    def serve(self, served: tuple[Switch, str]) -> Serve:
        """Serve it under gunicorn."""

        @asynccontextmanager
        async def serving(flows: Any, **settings: Any) -> AsyncIterator[str]:
            switch, base = served
            urls = [path("requests/", include(front_end_urls(Blocking.over(flows), **settings)))]
            with site(urls, MIDDLEWARE=NO_CSRF):
                switch.application = WSGIHandler()
                yield f"{base}/requests"

        return serving


@pytest.mark.parametrize("face", [Blocking.over, lambda flows: flows], ids=["blocking", "asyncio"])
class TestDjangoUnderAsgi(FrontEndSuite):
    """As urls, under uvicorn, over both kinds of engine."""

    @pytest.fixture
    def serve(self, face: Any) -> Serve:
        """Serve it under uvicorn."""

        @asynccontextmanager
        async def serving(flows: Any, **settings: Any) -> AsyncIterator[str]:
            urls = [path("requests/", include(front_end_urls(face(flows), **settings)))]
            with site(urls, MIDDLEWARE=NO_CSRF):
                application = _Patient(ASGIHandler())
                async with uvicorn_serving(application, lifespan="off") as base:
                    yield f"{base}/requests"
                    await application.rest()

        return serving


class _Patient:
    """An application that can be waited for: Django forgets files and tasks if it is cancelled in a stream."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._serving: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._application(scope, receive, send)
        finally:
            self._serving.discard(task)

    async def rest(self) -> None:
        """Wait until whoever has left is noticed."""
        if self._serving:
            await asyncio.wait(self._serving, timeout=10)


async def test_a_stream_that_is_cut_off_while_its_thread_works_is_closed_behind_it() -> None:
    """When a server's loop ends, all tasks are cancelled; threads cannot be, and nobody else may close their stream."""
    loop, said = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: said.append(context))
    begun, go_on, closed = threading.Event(), threading.Event(), asyncio.Event()

    def events() -> Iterator[bytes]:
        try:
            begun.set()
            go_on.wait(10)
            yield b"event"
        finally:
            loop.call_soon_threadsafe(closed.set)

    async def send_all() -> None:
        async for _ in _in_threads(events()):
            pass

    others = asyncio.all_tasks()
    sending = asyncio.create_task(send_all())
    await loop.run_in_executor(None, begun.wait, 10)
    ending = asyncio.all_tasks() - others
    assert sending in ending
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
    go_on.set()
    async with asyncio.timeout(10):
        await closed.wait()
    assert said == []


async def test_djangos_protection_against_csrf_holds(flows: LeanFlow) -> None:
    """A prompt is not handed out to a page of somebody else's: the routes are not exempt, as the webhook's is."""
    urls = [path("requests/", include(front_end_urls(Blocking.over(flows), authorise=is_theirs)))]
    with site(urls):
        client = Client(enforce_csrf_checks=True)
        answer = await asyncio.to_thread(client.post, "/requests/some-id/prompt")
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")
