"""Webhooks, and the front end's routes, in Django; handlers that use the ORM. Needs the extra ``django``.

`leanflow.blocking.LeanFlow` serves under WSGI and under ASGI: Django runs its view in a thread. An engine of asyncio's
serves under ASGI alone, entered by `with_lean` in the server's loop.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import copy_context
from typing import Any

try:
    from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, StreamingHttpResponse
    from django.urls import URLPattern, re_path
    from django.views.decorators.csrf import csrf_exempt
except ImportError as error:
    _missing = "leanflow_adapters.web.django needs the extra: pip install 'leanflow-openbanking[blocking,django]'"
    raise ImportError(_missing) from error

from leanflow._call import Reply
from leanflow_adapters.web._awaiting import Asking, FrontEnd
from leanflow_adapters.web._blocking_front_end import (
    THREADED_STREAMS,
    BlockingAsking,
    BlockingFrontEnd,
)
from leanflow_adapters.web._django_asgi import with_lean
from leanflow_adapters.web._django_handlers import DjangoHandlers
from leanflow_adapters.web._front_end import MAX_CALLBACK, STREAM_HEADERS, STREAMS, Authorise, Streams, Visit
from leanflow_adapters.web._reading import BODY_SECONDS, MAX_BODY, BodyRefused, Receiver, unpacked
from leanflow_adapters.web._wsgi import BlockingReceiver, WsgiReader, headers_of

__all__ = [
    "MAX_BODY",
    "Authorise",
    "BlockingReceiver",
    "DjangoHandlers",
    "Receiver",
    "Streams",
    "front_end_urls",
    "lean_urls",
    "webhook_view",
    "with_lean",
]

View = Callable[..., Any]


def webhook_view(
    flows: BlockingReceiver | Receiver, *, max_body: int = MAX_BODY, body_timeout: float = BODY_SECONDS
) -> View:
    """Return a view for Lean's webhooks: POST alone, exempt from CSRF, because the signature is what vouches for them.

    Under ASGI Django has read the whole body before any view is called: there `with_lean` keeps to both limits.

    Args:
        flows: takes them; an engine of asyncio's gets an ``async def`` view.
        max_body: bytes; a longer body is answered 413, under WSGI without being read to its end.
        body_timeout: seconds for the body to arrive, else 408; under gunicorn.
    """
    reader = WsgiReader(max_body, body_timeout)

    def taken(http: HttpRequest) -> tuple[dict[str, str], bytes] | HttpResponse:
        """Return headers and body, or what is to be answered instead."""
        if http.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            return headers_of(http.META), _read(http, reader, max_body)
        except BodyRefused as refused:
            return HttpResponse(status=refused.status)

    receive: Any = flows.receive

    def blocking(http: HttpRequest) -> HttpResponse:
        found = taken(http)
        return found if isinstance(found, HttpResponse) else _answer(receive(*found))

    async def waiting(http: HttpRequest) -> HttpResponse:
        found = taken(http)
        return found if isinstance(found, HttpResponse) else _answer(await receive(*found))

    view: View = csrf_exempt(waiting if inspect.iscoroutinefunction(receive) else blocking)
    return view


def lean_urls(
    flows: BlockingReceiver | Receiver, *, max_body: int = MAX_BODY, body_timeout: float = BODY_SECONDS
) -> list[URLPattern]:
    """Return urls that take Lean's webhooks at ``POST webhooks``, with or without a slash at the end.

    Include them: ``path("lean/", include(lean_urls(flows)))``.

    Args:
        flows: takes them.
        max_body: as in `webhook_view`.
        body_timeout: the same.
    """
    view = webhook_view(flows, max_body=max_body, body_timeout=body_timeout)
    return [re_path(r"^webhooks/?$", view, name="lean-webhooks")]  # redirected nobody would send its body again


def front_end_urls(
    flows: BlockingAsking | Asking, *, authorise: Authorise | None = None, streams: Streams | None = None
) -> list[URLPattern]:
    """Return urls with what a front end asks of requests: ``path("requests/", include(front_end_urls(…)))``.

    Django's own protection against CSRF holds for them.

    Args:
        flows: the engine; one of asyncio's gets an ``async def`` view.
        authorise: is called with Django's request and the record, and returns True, or awaits it, if whoever sent the
            request may use the record. Without it, and for anything but True, the answer is 403.
        streams: how many there may be, and for how long: with an engine that blocks each holds a thread.
    """
    callback: Any = flows.callback
    make = _awaiting_view if inspect.iscoroutinefunction(callback) else _blocking_view
    view = make(flows, authorise, streams)
    return [re_path(r"^(?P<anything>.+)$", view, name="lean-front-end")]


def _blocking_view(flows: Any, authorise: Authorise | None, streams: Streams | None) -> View:
    front_end = BlockingFrontEnd(flows, authorise, streams or THREADED_STREAMS)
    reader = WsgiReader(MAX_CALLBACK, BODY_SECONDS)

    def blocking(http: HttpRequest, anything: str) -> Any:
        visit = Visit(
            http=http,
            method=http.method,
            path=anything,
            read=lambda: _read(http, reader, MAX_CALLBACK),
            last_event_id=http.headers.get("last-event-id"),
        )
        answer = front_end.answer(visit)
        if isinstance(answer, Reply):
            return _answer(answer)
        # Under ASGI Django would collect all that an iterator that blocks has to give, before it sends the first.
        return _stream(answer if "wsgi.input" in http.META else _in_threads(answer))

    return blocking


def _awaiting_view(flows: Any, authorise: Authorise | None, streams: Streams | None) -> View:
    front_end = FrontEnd(flows, authorise, streams or STREAMS)
    reader = WsgiReader(MAX_CALLBACK, BODY_SECONDS)

    async def waiting(http: HttpRequest, anything: str) -> Any:
        async def read() -> bytes:
            return _read(http, reader, MAX_CALLBACK)

        visit = Visit(
            http=http,
            method=http.method,
            path=anything,
            read=read,
            last_event_id=http.headers.get("last-event-id"),
        )
        answer = await front_end.answer(visit)
        return _answer(answer) if isinstance(answer, Reply) else _stream(answer)

    return waiting


def _stream(events: Iterator[bytes] | AsyncIterator[bytes]) -> StreamingHttpResponse:
    return StreamingHttpResponse(events, headers=dict(STREAM_HEADERS))


async def _in_threads(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    loop, context = asyncio.get_running_loop(), copy_context()
    coming: asyncio.Future[bytes | None] | None = None
    try:
        while True:  # no task: a loop that ends cancels those, while the thread works on
            coming = loop.run_in_executor(None, lambda: context.run(next, events, None))
            event = await asyncio.shield(coming)
            if event is None:
                return
            yield event
    finally:  # a generator can be closed only while it does not run
        close = getattr(events, "close", lambda: None)
        if coming is None or coming.done():
            close()
        else:
            coming.add_done_callback(lambda _: close())


def _read(http: HttpRequest, reader: WsgiReader, limit: int) -> bytes:
    cached = getattr(http, "_body", None)  # somebody has looked at `request.body` before us
    if "wsgi.input" in http.META:
        return reader.read(http.META, cached)
    raw: bytes = http.read(limit + 1) if cached is None else cached
    if len(raw) > limit:
        raise BodyRefused(413)
    return unpacked(raw, http.META.get("HTTP_CONTENT_ENCODING", ""), limit)


def _answer(reply: Reply) -> HttpResponse:
    return HttpResponse(reply.body, status=reply.status, headers=dict(reply.headers))
