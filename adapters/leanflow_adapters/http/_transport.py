"""`LeanTransport`: keeps the Transport port over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from ssl import SSLContext
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlencode

import aiohttp

from leanflow._call import Answer, Call
from leanflow.errors import CallFailed, InvalidRequest, NotStarted, WrongLoop
from leanflow.ports import Clock
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.http._exchange import Exchange, exchange, open_session
from leanflow_adapters.http._hosts import base_of, hosts_for
from leanflow_adapters.http._secret import Secret
from leanflow_adapters.http._tokens import Reserve, Tokens

__all__ = ["LeanTransport"]

_UNAUTHORIZED: Final = 401
_MAX_TOKEN_BODY: Final = 65_536
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
# A call cannot choose these: they say who we are, or frame the message.
_OURS: Final = frozenset(
    {"authorization", "lean-app-token", "host", "content-length", "transfer-encoding", "connection"}
)

_API = Reserve(renew=timedelta(minutes=5), least=timedelta(seconds=30))
# The Link SDK refuses a token with less than 10 minutes left (Lean docs, Link SDK); the user needs some of it too.
_CUSTOMER = Reserve(renew=timedelta(minutes=20), least=timedelta(minutes=10), strict=True)


class LeanTransport:
    """Sends calls to Lean with aiohttp. Owns hosts, authentication, and the session unless it is handed one.

    Built cold: no event loop, no I/O, fine at module level. The first call opens it; ``async with`` closes it, and so
    does `aclose`, after which it may be used again. While it is open it belongs to one event loop.

    Calls are authenticated in one of two ways: with OAuth2 client credentials (`client_id`, `client_secret`), or with
    `app_token`, the older ``lean-app-token`` header that API v1 takes. Nothing is ever sent twice, except once more
    after a 401, with a fresh OAuth2 token: a 401 says that Lean did nothing.

    Args:
        client_id: Lean's application id, with `client_secret`.
        client_secret: the secret that belongs to it.
        app_token: instead of the two.
        region: ``uae``, unless it is given, or ``ksa``.
        environment: ``sandbox``, unless it is given, or ``production``.
        base_url: the API's base, instead of the region's and environment's host; may have a path. What that is of, the
            transport only knows if `region` and `environment` are given as well.
        auth_url: the same for the token endpoint, without its ``/oauth2/token``.
        scope: of the token for calls.
        ssl: a TLS context for both hosts: own CAs, or the client certificate that Lean's mTLS hosts ask for
            (``ssl.create_default_context()``, then ``load_cert_chain``). None: the system's CAs.
        session: an aiohttp session to use instead of an own one; it is never closed here, its middlewares are not
            run, and it must belong to the loop that the calls come from.
        timeout: seconds for a whole `send`, token included. More than the 50 after which Lean answers PENDING.
        connect_timeout: seconds until there is a connection, the waiting for a free one included.
        token_timeout: seconds for asking for a token.
        max_connections: open connections of an own session.
        max_answer: bytes of an answer's body, decompressed.
        clock: tells when tokens end.

    Raises:
        InvalidRequest: an argument is wrong, or the ways of authentication are mixed or missing.
    """

    __slots__ = (
        "_api", "_app_token", "_auth", "_client_id", "_client_secret", "_clock", "_connect_timeout", "_environment",
        "_handed", "_loop", "_max_answer", "_max_connections", "_region", "_scope", "_session", "_ssl", "_timeout",
        "_token_timeout", "_tokens",
    )  # fmt: skip

    def __init__(
        self,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        app_token: str | None = None,
        region: str | None = None,
        environment: str | None = None,
        base_url: str | None = None,
        auth_url: str | None = None,
        scope: str = "api",
        ssl: SSLContext | None = None,
        session: aiohttp.ClientSession | None = None,
        timeout: float = 70.0,
        connect_timeout: float = 10.0,
        token_timeout: float = 15.0,
        max_connections: int = 100,
        max_answer: int = 16 * 1024 * 1024,
        clock: Clock | None = None,
    ) -> None:
        self._client_id, self._client_secret, self._app_token = _identity(client_id, client_secret, app_token)
        hosts = hosts_for("uae" if region is None else region, "sandbox" if environment is None else environment)
        default = hosts.api if self._app_token is None else hosts.old_api
        self._region = "uae" if region is None and base_url is None else region
        self._environment = "sandbox" if environment is None and base_url is None else environment
        self._api = default if base_url is None else base_of("base_url", base_url)
        self._auth = hosts.auth if auth_url is None else base_of("auth_url", auth_url)
        self._scope = _scope("scope", scope)
        self._ssl = _tls(ssl)
        self._handed = session
        self._timeout = _positive("timeout", timeout)
        self._connect_timeout = _positive("connect_timeout", connect_timeout)
        self._token_timeout = _positive("token_timeout", token_timeout)
        if self._connect_timeout >= self._timeout:
            raise InvalidRequest("connect_timeout", "must be shorter than `timeout`")
        self._max_connections = int(_positive("max_connections", max_connections))
        self._max_answer = int(_positive("max_answer", max_answer))
        self._clock = SystemClock() if clock is None else clock
        self._session: aiohttp.ClientSession | None = None
        self._tokens: Tokens | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        way = "oauth2" if self._app_token is None else "lean-app-token"
        where = f"base_url={self._api!r}, region={self._region!r}, environment={self._environment!r}"
        return f"LeanTransport({where}, {way})"

    @property
    def app(self) -> str:
        """The application that it calls as: its `client_id` or `app_token`. Prompts carry it, so browsers see it."""
        known = self._client_id or self._app_token
        assert known is not None  # the constructor saw to it
        return known.reveal()

    @property
    def environment(self) -> str | None:
        """What it calls: ``sandbox`` or ``production``; None where only a `base_url` says so."""
        return self._environment

    @property
    def region(self) -> str | None:
        """Where it calls: ``uae`` or ``ksa``; None where only a `base_url` says so."""
        return self._region

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def send(self, call: Call) -> Answer:
        """Send one call and return what came back, whatever its status; redirects are not followed.

        Raises:
            CallFailed: no whole answer came back. `maybe_sent` is False only when Lean certainly has not worked on
                it: no token, no connection, or the call was refused with a 401 and there was no other token.
            InvalidRequest: the call cannot be put into HTTP.
            WrongLoop: this transport is open in another event loop.
        """
        session, tokens = self._open()
        url, headers = _target(self._api, call), _headers(call)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        if self._app_token is not None:
            headers["lean-app-token"] = self._app_token.reveal()
            return await self._exchange(session, call, url, headers, self._timeout)
        token = await self._bearer(tokens, deadline)
        headers["authorization"] = f"Bearer {token.reveal()}"
        answer = await self._exchange(session, call, url, headers, deadline - loop.time())
        if answer.status != _UNAUTHORIZED:
            return answer
        tokens.refused(self._scope, token)
        token = await self._bearer(tokens, deadline)
        headers["authorization"] = f"Bearer {token.reveal()}"
        return await self._exchange(session, call, url, headers, deadline - loop.time())

    async def token(self, customer_id: str) -> str | None:
        """Return a customer-scoped token for the Link SDK, with more than 10 minutes left; None under `app_token`.

        Args:
            customer_id: Lean's customer.

        Raises:
            CallFailed: there is none to be had.
            InvalidRequest: the id is empty, or would change the meaning of the scope.
            WrongLoop: this transport is open in another event loop.
        """
        if self._app_token is not None:
            return None
        scope = _scope("customer_id", customer_id)
        _, tokens = self._open()
        secret = await tokens.get(f"customer.{scope}", _CUSTOMER)
        return secret.reveal()

    async def aclose(self) -> None:
        """Close the own session and forget the tokens; a session that was handed in stays open."""
        tokens, session = self._tokens, self._session
        self._tokens = self._session = self._loop = None
        if tokens is not None:
            await tokens.aclose()
        if session is not None and session is not self._handed:
            await session.close()

    def _open(self) -> tuple[aiohttp.ClientSession, Tokens]:
        """Return session and tokens, made at the first use in the running loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._tokens is None:
            self._session = open_session(self._max_connections) if self._handed is None else self._handed
            self._tokens = Tokens(self._fetch_token, self._clock)
            self._loop = loop
        if self._loop is not loop:
            raise WrongLoop
        if self._session.closed:
            raise NotStarted("session")
        return self._session, self._tokens

    async def _bearer(self, tokens: Tokens, deadline: float) -> Secret:
        """Return a token for calls, before the deadline on the loop's clock."""
        try:
            async with asyncio.timeout_at(deadline):
                return await tokens.get(self._scope, _API)
        except TimeoutError as exc:
            raise CallFailed(f"no token within {self._timeout:g} s", maybe_sent=False) from exc

    async def _exchange(
        self, session: aiohttp.ClientSession, call: Call, url: str, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Send a call within so many seconds."""
        if seconds <= 0:
            raise CallFailed(f"no time left of {self._timeout:g} s", maybe_sent=False)
        return await exchange(
            session,
            Exchange(
                method=call.method,
                url=url,
                headers=headers,
                body=call.body,
                timeout=seconds,
                connect_timeout=min(self._connect_timeout, seconds),
                max_body=self._max_answer,
                ssl=self._ssl,
            ),
        )

    async def _fetch_token(self, scope: str) -> Answer:
        """Ask for a token; once more if the connection was lost, which does no harm."""
        assert self._client_id is not None  # the constructor saw to it
        assert self._client_secret is not None
        session, _ = self._open()
        form = {
            "client_id": self._client_id.reveal(),
            "client_secret": self._client_secret.reveal(),
            "grant_type": "client_credentials",
            "scope": scope,
        }
        sent = Exchange(
            method="POST",
            url=f"{self._auth}/oauth2/token",
            headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            body=urlencode(form).encode(),
            timeout=self._token_timeout,
            connect_timeout=min(self._connect_timeout, self._token_timeout),
            max_body=_MAX_TOKEN_BODY,
            ssl=self._ssl,
        )
        try:
            return await exchange(session, sent)
        except CallFailed as exc:
            if not exc.maybe_sent:
                raise CallFailed(f"asking for a token: {exc.reason}", maybe_sent=False) from exc
        try:
            return await exchange(session, sent)
        except CallFailed as exc:
            raise CallFailed(f"asking for a token: {exc.reason}", maybe_sent=False) from exc


def _identity(
    client_id: str | None, client_secret: str | None, app_token: str | None
) -> tuple[Secret | None, Secret | None, Secret | None]:
    """Wrap what one way of authentication needs.

    The client id is the app token of the same application (Lean docs, Authentication), so it is a secret too.
    """
    if app_token is not None:
        if client_id is not None or client_secret is not None:
            raise InvalidRequest("app_token", "give either app_token, or client_id and client_secret")
        return None, None, Secret("app_token", app_token)
    if client_id is None:
        raise InvalidRequest("client_id", "give client_id and client_secret, or app_token")
    if client_secret is None:
        raise InvalidRequest("client_secret", "is needed with client_id")
    return Secret("client_id", client_id), Secret("client_secret", client_secret), None


def _scope(parameter: str, text: str) -> str:
    """Return a scope, or a part of one; a space in it would ask for two (RFC 6749, 3.3)."""
    if not isinstance(text, str) or not text or not (text.isascii() and text.isprintable()) or " " in text:
        raise InvalidRequest(parameter, "must be printable ASCII without spaces, and not empty")
    return text


def _tls(context: SSLContext | None) -> SSLContext | None:
    """Return the context; anything else (False, as aiohttp takes it) would switch the checks off."""
    if context is not None and not isinstance(context, SSLContext):
        raise InvalidRequest("ssl", "must be an ssl.SSLContext")
    return context


def _positive(parameter: str, number: float) -> float:
    """Return a number that is greater than 0 and finite."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < float("inf"):
        raise InvalidRequest(parameter, "must be a number greater than 0")
    return number


def _target(base: str, call: Call) -> str:
    """Return the whole URL of a call: the path as it is, the query quoted."""
    if call.method not in _METHODS:
        raise InvalidRequest("call.method", f"must be one of {', '.join(sorted(_METHODS))}")
    path = call.path
    is_whole = path.isascii() and path.isprintable() and not set(path) & {" ", "?", "#", "\\"}
    if not path.startswith("/") or not is_whole:
        raise InvalidRequest("call.path", "must begin with / and be quoted")
    if {".", ".."} & set(path.lower().replace("%2e", ".").split("/")):
        raise InvalidRequest("call.path", "must not go up or stay with . and ..")
    query = urlencode(call.query, quote_via=quote, safe="")
    return f"{base}{path}?{query}" if query else f"{base}{path}"


def _headers(call: Call) -> dict[str, str]:
    """Return the headers of a call in lower case, without those that are not for it to choose."""
    headers = {"accept": "application/json", "user-agent": "leanflow"}
    if call.body is not None:
        headers["content-type"] = "application/json"
    for name, value in call.headers.items():
        if not (value.isprintable() and name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
            raise InvalidRequest("call.headers", f"{name!r} cannot be sent as it is")
        if name.lower() not in _OURS:
            headers[name.lower()] = value
    return headers
