"""One HTTP exchange over aiohttp: the only place that knows aiohttp's errors and what they say about the call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ssl import SSLContext

import aiohttp
import attrs
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from yarl import URL

from leanflow._call import Answer
from leanflow.errors import CallFailed

__all__ = ["Exchange", "exchange", "open_session"]

# Below the 5 seconds after which common servers (uvicorn, Node) close an idle connection: a POST that meets a
# connection just being closed cannot be told from one that was read and never answered.
_KEEPALIVE_SECONDS = 4.0

# Under TLS 1.3 the client is done with the handshake before the server looks at the client's certificate, so a missing
# one shows up as a lost connection after sending (seen as ServerDisconnectedError and as ConnectionResetError); under
# TLS 1.2 servers that reset instead of sending an alert look alike.
_CERTIFICATE_HINT = "; if it asks for a client certificate and `ssl` has none or a wrong one, it looks like this too"


@attrs.frozen(kw_only=True)
class Exchange:
    """What is sent, and within which bounds.

    Attributes:
        method: in upper case.
        url: whole and quoted.
        headers: all of them, secrets included: never shown.
        body: the bytes, or None.
        timeout: seconds for everything, the waiting for a connection included.
        connect_timeout: seconds until there is a connection (pool, DNS, TCP and TLS together).
        max_body: how many bytes an answer may have once decompressed.
        ssl: the TLS context, or None for the session's own.
    """

    method: str
    url: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)
    timeout: float
    connect_timeout: float
    max_body: int
    ssl: SSLContext | None = attrs.field(default=None, repr=False)


def open_session(max_connections: int) -> aiohttp.ClientSession:
    """Return a session of our own: no cookies, and nothing read from the environment."""
    connector = aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=_KEEPALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def exchange(session: aiohttp.ClientSession, sent: Exchange) -> Answer:
    """Send once, follow no redirect, and return the whole answer.

    Raises:
        CallFailed: no whole answer came; `maybe_sent` is False only if no connection was made.
    """
    timeout = aiohttp.ClientTimeout(total=sent.timeout, connect=sent.connect_timeout, sock_connect=sent.connect_timeout)
    with _translated(sent):
        async with session.request(
            sent.method,
            URL(sent.url, encoded=True),  # quoted already: yarl must not do it again
            headers=sent.headers,
            data=sent.body,
            timeout=timeout,
            ssl=sent.ssl if sent.ssl is not None else True,
            allow_redirects=False,  # a redirect would carry the secrets to another host
            middlewares=(_send_once,),
        ) as response:
            body = await _read(response, sent.max_body)
            return Answer(status=response.status, headers=_headers(response), body=body)


async def _send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending again by itself.

    aiohttp 3.14 repeats GET, PUT and DELETE once when a connection is lost after sending. Lean's data calls are GETs
    and yet not repeatable: the same one within a minute is answered DUPLICATED_REQUEST (Lean docs, Errors). The one
    who knows what may be repeated is the engine. aiohttp repeats only for its own errors, so another one ends it.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # no connection: never repeated, and never sent
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
        raise CallFailed(_lost(exc, is_tls=request.is_ssl()), maybe_sent=True) from exc


async def _read(response: ClientResponse, limit: int) -> bytes:
    """Return the whole body, never holding much more than `limit` bytes of it."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            response.close()
            raise CallFailed(f"the answer has more than {limit} bytes", maybe_sent=True)
        chunks.append(chunk)
    return b"".join(chunks)


def _headers(response: ClientResponse) -> dict[str, str]:
    """Return the headers by lower-case name, repeated ones joined as HTTP allows."""
    joined: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


@contextmanager
def _translated(sent: Exchange) -> Iterator[None]:
    """Turn aiohttp's errors into `CallFailed`; order matters, as some of them are several things at once."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as exc:
        raise CallFailed(f"no connection within {sent.connect_timeout:g} s", maybe_sent=False) from exc
    except aiohttp.ClientHttpProxyError as exc:
        # The original shows the proxy's credentials in its repr.
        raise CallFailed(f"the proxy answered {exc.status}", maybe_sent=False) from None
    except (aiohttp.ClientConnectorError, aiohttp.ServerFingerprintMismatch) as exc:
        raise CallFailed(_unreachable(exc), maybe_sent=False) from exc
    except TimeoutError as exc:
        raise CallFailed(f"no whole answer within {sent.timeout:g} s", maybe_sent=True) from exc
    except aiohttp.ClientPayloadError as exc:
        raise CallFailed("the answer was cut or cannot be decoded", maybe_sent=True) from exc
    except (aiohttp.ClientError, OSError) as exc:
        raise CallFailed(_lost(exc, is_tls=sent.url.startswith("https:")), maybe_sent=True) from exc


def _unreachable(exc: aiohttp.ClientConnectorError | aiohttp.ServerFingerprintMismatch) -> str:
    """Say why there is no connection."""
    match exc:
        case aiohttp.ClientConnectorDNSError():
            return f"the name {exc.host} does not resolve"
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(exc.certificate_error, "verify_message", "") or type(exc.certificate_error).__name__
            return f"the certificate of {exc.host}:{exc.port} is not trusted: {why}"
        case aiohttp.ClientConnectorSSLError():
            why = getattr(exc.os_error, "reason", None) or type(exc.os_error).__name__
            return f"no TLS with {exc.host}:{exc.port}: {why}"
        case aiohttp.ServerFingerprintMismatch():
            return f"the certificate of {exc.host}:{exc.port} is not the pinned one"
    why = exc.os_error.strerror or type(exc.os_error).__name__
    hint = _CERTIFICATE_HINT if _is_reset(exc.os_error) else ""
    return f"cannot connect to {exc.host}:{exc.port}: {why}{hint}"


def _is_reset(exc: OSError) -> bool:
    """Whether somebody listened and then hung up."""
    return isinstance(exc, ConnectionResetError | ConnectionAbortedError | BrokenPipeError)


def _lost(exc: BaseException, *, is_tls: bool) -> str:
    """Say how a connection was lost after it was made."""
    hint = _CERTIFICATE_HINT if is_tls else ""
    if isinstance(exc, aiohttp.ServerDisconnectedError):
        return f"the server closed the connection without an answer{hint}"
    cause = exc.__cause__
    name = type(cause).__name__ if isinstance(cause, OSError) else type(exc).__name__
    return f"the connection was lost ({name}){hint if isinstance(exc, OSError) else ''}"
