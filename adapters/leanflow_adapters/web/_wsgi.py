"""Reading a webhook's body under WSGI: the bytes as they came, no more of them than fit, and not for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from leanflow._call import Reply
from leanflow_adapters.web._deadlines import Deadline, Deadlines
from leanflow_adapters.web._reading import BodyRefused, unpacked

__all__ = ["BlockingReceiver", "WsgiReader", "headers_of"]

_SOCKETS = ("gunicorn.socket", "werkzeug.socket")  # where servers put the connection
_PIECE = 16_384  # bytes
_WORTH_READING = 2  # caps: what is little over one is read, and refused; a server hangs up on what is left unread


class BlockingReceiver(Protocol):
    """What takes webhooks in: `leanflow.blocking.LeanFlow` does."""

    def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Take one webhook."""
        ...


class WsgiReader:
    """Reads bodies for one endpoint.

    A deadline needs the connection, which gunicorn and Werkzeug's server give; elsewhere the server's own timeout is
    all there is.

    Args:
        max_body: bytes.
        body_timeout: seconds for a body to arrive.
    """

    def __init__(self, max_body: int, body_timeout: float) -> None:
        self._limit = max_body
        self._deadlines = Deadlines(body_timeout)

    def read(self, environ: Mapping[str, Any], cached: bytes | None = None) -> bytes:
        """Return the body, unpacked if it came packed.

        Args:
            environ: of the request.
            cached: the body, if the framework has read it already.

        Raises:
            BodyRefused: 413 it is too long, which is known as soon as it is announced; 408 it did not come in time;
                400 it was cut off or is malformed; 411 the server says nothing of its length; 415 it is packed in an
                unknown way.
        """
        raw = self._raw(environ) if cached is None else cached
        if len(raw) > self._limit:
            raise BodyRefused(413)
        return unpacked(raw, environ.get("HTTP_CONTENT_ENCODING", ""), self._limit)

    def _raw(self, environ: Mapping[str, Any]) -> bytes:
        length = _length(environ)
        if length is not None and length > _WORTH_READING * self._limit:
            raise BodyRefused(413)
        if length is None and not environ.get("wsgi.input_terminated"):
            if environ.get("HTTP_TRANSFER_ENCODING"):
                raise BodyRefused(411)
            return b""
        sock = next((environ[name] for name in _SOCKETS if name in environ), None)
        with self._deadlines.over(sock) as deadline:
            body = self._read(environ["wsgi.input"], length, deadline)
        if deadline is not None and deadline.passed:
            raise BodyRefused(408)
        if length is not None and len(body) < length:
            raise BodyRefused(400)
        return body

    def _read(self, stream: Any, length: int | None, deadline: Deadline | None) -> bytes:
        wanted = self._limit + 1 if length is None else length
        body = bytearray()
        try:
            while len(body) < wanted and (piece := stream.read(min(wanted - len(body), _PIECE))):
                body += piece
        except (OSError, ValueError) as error:  # cut off, malformed chunks, or the server's own timeout
            late = isinstance(error, TimeoutError) or (deadline is not None and deadline.passed)
            raise BodyRefused(408 if late else 400) from error
        return bytes(body)


def headers_of(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers by lower-case name; the server has joined repeated ones."""
    return {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }


def _length(environ: Mapping[str, Any]) -> int | None:
    said = environ.get("CONTENT_LENGTH") or ""
    if not said:
        return None
    if not (said.isascii() and said.isdigit()):
        raise BodyRefused(400)
    return int(said)
