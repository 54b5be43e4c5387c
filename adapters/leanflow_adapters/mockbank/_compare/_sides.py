"""The two sides of a comparison: a sandbox over HTTP, and a fresh Mockbank in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import aiohttp
import attrs
from yarl import URL

from leanflow._call import Answer, Call
from leanflow.errors import CallFailed, InvalidRequest
from leanflow.mockbank import Login, Mockbank

__all__ = ["Credentials", "RealSide", "Side", "SimulatedSide", "token_call"]

_TIMEOUT = 90.0  # Lean answers PENDING after 50 seconds
_BEFORE = timedelta(minutes=1)  # as long as a refresh takes, and not as long as users stay logged in
_MAX_ANSWER = 16 * 1024 * 1024

Reconnect = Callable[[str], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Credentials:
    """Who asks.

    Attributes:
        app: Lean's application id: OAuth client id, and ``lean-app-token``.
        secret: the OAuth client secret.
    """

    app: str
    secret: str = attrs.field(repr=False)


class Side(Protocol):
    """Where the script is played."""

    credentials: Credentials

    async def send(self, call: Call) -> Answer:
        """Send one call, credentials included, and return what came back."""
        ...

    async def reconnect(self, reconnect_id: str) -> bool:
        """Let the user reconnect; return False if there is nobody to do so."""
        ...

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...


def token_call(credentials: Credentials, changes: Mapping[str, str] = MappingProxyType({})) -> Call:
    """Return the call for an api token; with `changes`, a wrong one."""
    form = {
        "client_id": credentials.app,
        "client_secret": credentials.secret,
        "grant_type": "client_credentials",
        "scope": "api",
        **changes,
    }
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return Call(method="POST", path="/oauth2/token", headers=headers, body=urlencode(form).encode())


class RealSide:
    """A sandbox over HTTP.

    Args:
        session: to send with.
        credentials: who asks.
        base_url: of the API.
        auth_url: of the token endpoint; empty: Lean's own for `base_url`, or the same.
        reconnect: lets the user reconnect; None: there is nobody.

    Raises:
        InvalidRequest: an address to which nothing should be sent.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        credentials: Credentials,
        base_url: str,
        auth_url: str = "",
        reconnect: Reconnect | None = None,
    ) -> None:
        self.credentials = credentials
        self._session = session
        self._base = _checked("base_url", base_url)
        self._auth = _checked("auth_url", auth_url or _auth_of(self._base))
        self._reconnect = reconnect

    async def send(self, call: Call) -> Answer:
        """Send one call.

        Raises:
            CallFailed: nothing came back.
        """
        root = self._auth if call.path == "/oauth2/token" else self._base
        url = URL(root + call.path + (f"?{urlencode(call.query)}" if call.query else ""), encoded=True)
        limit = aiohttp.ClientTimeout(total=_TIMEOUT)
        try:
            async with self._session.request(
                call.method, url, data=call.body, headers=call.headers, allow_redirects=False, timeout=limit
            ) as response:
                body = await _read(response)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(status=response.status, headers=headers, body=body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = f"{type(error).__name__} at {call.method} {root}{call.path}"
            raise CallFailed(f"no answer: {why}", maybe_sent=True) from error

    async def reconnect(self, reconnect_id: str) -> bool:
        """Ask for the user, if there is a way to."""
        if self._reconnect is None:
            return False
        await self._reconnect(reconnect_id)
        return True

    async def wait(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        body += chunk
        if len(body) > _MAX_ANSWER:
            raise CallFailed(f"more than {_MAX_ANSWER} bytes at {response.method} {response.url.path}", maybe_sent=True)
    return bytes(body)


def _checked(name: str, url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidRequest(name, "must be an http or https address")
    if parts.username or parts.query or parts.fragment:
        raise InvalidRequest(name, "must have neither user, query nor fragment")
    if parts.scheme == "http" and not _loopback(host):
        raise InvalidRequest(name, "must be https: credentials would travel in the clear")
    if host.endswith("leantech.me") and "sandbox" not in host:
        raise InvalidRequest(name, "is no sandbox: what a comparison asks does not belong into production")
    return url.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _auth_of(base: str) -> str:
    """Return where Lean's token endpoint for a host is: ``sandbox.…`` has ``auth.sandbox.…``; others are their own."""
    parts = urlsplit(base)
    host = parts.hostname or ""
    return f"{parts.scheme}://auth.{host}" if host.endswith("leantech.me") else base


class SimulatedSide:
    """A fresh Mockbank, with something of everything in it, on a clock of its own.

    Args:
        now: the time of the real side.
        bank_type: of its entity, if one of its users has such a one; companies have other data than people.
        user_wanted: whether the entity wants its user.
        user_comes: whether the user then comes.
        settings: of the Mockbank.
    """

    def __init__(self, now: datetime, *, bank_type: str, user_wanted: bool, user_comes: bool, **settings: Any) -> None:
        self._now = now - _BEFORE
        self._user_comes = user_comes
        self.bank = Mockbank(now=self._now, refresh_on_connect=True, **settings)
        self.credentials = Credentials(app=self.bank.app, secret=self.bank.client_secret)
        users = [one for one in self.bank.settings.users if one.login is not Login.locked]
        user = next((one for one in users if one.bank_type == bank_type), users[0])
        self.entity_id = self.bank.connect("user-1", username=user.username, now=self._now)
        self._live()
        if user_wanted:
            self.bank.expire_session(self.entity_id, self._now)

    def _live(self) -> None:
        """Let another customer live through everything that leaves a trace in the Events API."""
        bank, at = self.bank, self._now
        other = bank.connect("user-2", now=at)
        bank.expire_session(other, at)
        call = Call(
            method="GET",
            path="/data/v2/accounts",
            query={"entity_id": other},
            headers={"authorization": f"Bearer {bank.token(now=at)}"},
        )
        bank.handle(call, at)
        for waiting in bank.pending_reconnects(other):
            bank.submit_otp(waiting, bank.settings.otp, at)
        bank.revoke_consent(other, at)
        bank.renew_consent(other, at)
        for usable in (False, True):
            bank.switch_bank(bank.banks[-1], at, active_data=usable)
        self._now += _BEFORE
        bank.pass_time(self._now)

    async def send(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            CallFailed: the simulated connection was cut.
        """
        answer = self.bank.handle(call, self._now).answer
        if answer is None:
            raise CallFailed("the simulated connection was cut", maybe_sent=True)
        return answer

    async def reconnect(self, reconnect_id: str) -> bool:
        """Type the OTP, if the user is to come."""
        return (
            self._user_comes
            and self.bank.submit_otp(reconnect_id, self.bank.settings.otp, self._now).status == "SUCCESS"
        )

    async def wait(self, seconds: float) -> None:
        """Move its clock."""
        self._now += timedelta(seconds=seconds)
        self.bank.pass_time(self._now)
