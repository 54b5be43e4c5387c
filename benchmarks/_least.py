"""The least that takes a webhook, as somebody would write it on each framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import fastapi
import litestar
import quart
import starlette.requests
import starlette.responses
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import Route

__all__ = ["FLOORS", "WHERE", "Step"]

WHERE = "/webhook"

Step = Callable[[bytes, str], Awaitable[int]]
"""Takes body and signature; commits; returns the status."""


def _floor_aiohttp(step: Step) -> Any:
    async def handle(http: web.Request) -> web.Response:
        return web.Response(status=await step(await http.read(), http.headers["lean-signature"]))

    app = web.Application()
    app.router.add_post(WHERE, handle)
    return app


def _floor_asgi(step: Step) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raw, more = b"", True
        while more:
            message = await receive()
            raw += message["body"]
            more = message["more_body"]
        status = await step(raw, dict(scope["headers"])[b"lean-signature"].decode())
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return app


def _floor_starlette(step: Step) -> Any:

    async def handle(http: starlette.requests.Request) -> starlette.responses.Response:
        status = await step(await http.body(), http.headers["lean-signature"])
        return starlette.responses.Response(status_code=status)

    return Starlette(routes=[Route(WHERE, handle, methods=["POST"])])


def _floor_fastapi(step: Step) -> Any:
    app = fastapi.FastAPI()

    @app.post(WHERE)
    async def handle(http: fastapi.Request) -> fastapi.Response:
        status = await step(await http.body(), http.headers["lean-signature"])
        return fastapi.Response(status_code=status)

    return app


def _floor_litestar(step: Step) -> Any:
    @litestar.post(WHERE)
    async def handle(request: litestar.Request[Any, Any, Any]) -> litestar.Response[bytes]:
        status = await step(await request.body(), request.headers["lean-signature"])
        return litestar.Response(b"", status_code=status)

    return litestar.Litestar([handle])


def _floor_quart(step: Step) -> Any:
    app = quart.Quart("floor")

    @app.post(WHERE)
    async def handle() -> quart.Response:
        raw: Any = await quart.request.get_data()
        return quart.Response(b"", await step(raw, quart.request.headers["lean-signature"]))

    return app


FLOORS: Mapping[str, Callable[[Step], Any]] = MappingProxyType(
    {
        "aiohttp": _floor_aiohttp,
        "asgi": _floor_asgi,
        "starlette": _floor_starlette,
        "fastapi": _floor_fastapi,
        "litestar": _floor_litestar,
        "quart": _floor_quart,
    }
)
"""By binding: returns an application that takes webhooks at `WHERE`."""
