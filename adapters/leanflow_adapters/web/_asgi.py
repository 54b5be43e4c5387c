"""What the ASGI applications share: headers in, answers out, paths, and the lifespan protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from ._reading import joined

__all__ = [
    "App",
    "Receive",
    "Scope",
    "Send",
    "announced",
    "body_pieces",
    "headers_of",
    "path_of",
    "say",
    "serve_lifespan",
    "turn_away",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def headers_of(scope: Scope) -> dict[str, str]:
    """Return a request's headers by lower-case name."""
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)


def announced(headers: Mapping[str, str]) -> int | None:
    """Return how long a request says that its body is, in bytes; None if it does not say."""
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def body_pieces(receive: Receive) -> Callable[[], Awaitable[bytes | None]]:
    """Return what returns a body piece by piece, and None after the last.

    It raises ConnectionResetError if the sender has hung up before its body was whole.
    """
    more = True

    async def piece() -> bytes | None:
        nonlocal more
        if not more:
            return None
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        more = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body

    return piece


def path_of(scope: Scope) -> str:
    """Return a request's path within the application, without a slash at its end."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path.rstrip("/")


async def say(
    scope: Scope,
    send: Send,
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    close: bool = False,
) -> None:
    """Answer a request.

    Args:
        scope: the request's.
        send: as the server gave it.
        status: of the answer.
        body: all of it.
        headers: names in lower case.
        close: close the connection: what is left of the body is not worth reading.
    """
    said = {"content-type": "text/plain; charset=utf-8", **(headers or {}), "content-length": str(len(body))}
    if close and scope.get("http_version", "1.1").startswith("1."):  # later versions have streams, and forbid it
        said["connection"] = "close"
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def turn_away(receive: Receive, send: Send) -> None:
    """Refuse a WebSocket."""
    await receive()
    await send({"type": "websocket.close"})


async def serve_lifespan(flows: object, receive: Receive, send: Send) -> None:
    """Enter what can be entered when the server starts, and leave it when the server ends."""
    async with AsyncExitStack() as stack:
        await receive()
        if isinstance(flows, AbstractAsyncContextManager):
            try:
                await stack.enter_async_context(flows)
            except Exception as error:  # the server is told why it cannot start, whatever it is
                await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
                raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
