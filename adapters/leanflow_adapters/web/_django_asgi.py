"""What stands before Django under ASGI: the engine's life, and webhooks, which Django would spool to disk unbounded."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from leanflow._call import Reply
from leanflow_adapters.web._asgi import App, Receive, Scope, Send, path_of, serve_lifespan
from leanflow_adapters.web._reading import BODY_SECONDS, MAX_BODY
from leanflow_adapters.web.asgi import webhook_app

__all__ = ["with_lean"]


def with_lean(
    application: App,
    flows: Any,
    *,
    path: str = "/lean/webhooks",
    max_body: int = MAX_BODY,
    body_timeout: float = BODY_SECONDS,
) -> App:
    """Return an ASGI application that takes Lean's webhooks itself, and hands everything else to Django.

    It opens the engine when the server starts and closes it when the server ends, which Django under ASGI has no place
    for; and it keeps to both limits while a body comes, which Django spools to disk before it calls any view.

    Args:
        application: of ``get_asgi_application()``.
        flows: an engine of asyncio's, or one of `leanflow.blocking`.
        path: where the webhooks come in, with or without a slash at the end.
        max_body: bytes; a longer body is answered 413 without being read to its end.
        body_timeout: seconds for the body to arrive, else 408.
    """
    blocks = not inspect.iscoroutinefunction(flows.receive)
    webhooks = webhook_app(_InThreads(flows) if blocks else flows, max_body=max_body, body_timeout=body_timeout)
    wanted = path.rstrip("/")

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await serve_lifespan(_life(flows) if blocks else flows, receive, send)
        elif scope["type"] == "http" and path_of(scope) == wanted:
            await webhooks(scope, receive, send)
        else:
            await application(scope, receive, send)

    return asgi


class _InThreads:
    """An engine that blocks, for code that may not wait."""

    def __init__(self, flows: Any) -> None:
        self._flows = flows

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Take one webhook."""
        reply: Reply = await asyncio.to_thread(self._flows.receive, headers, raw_body)
        return reply


@asynccontextmanager
async def _life(flows: Any) -> AsyncIterator[None]:
    if not hasattr(flows, "close"):
        yield
        return
    await asyncio.to_thread(flows.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(flows.close)
