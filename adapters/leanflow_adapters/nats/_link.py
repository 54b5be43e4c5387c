"""The connection to NATS: one at a time, made anew when it is lost, and the only place where its errors are translated.

The client's own reconnecting is off: it sends what it had buffered once it is back, behind the back of a publisher who
was told by then that it had failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from leanflow.errors import BrokerSetup, BusUnavailable, InvalidRequest, MessageRefused

__all__ = ["Link", "check_subject", "size_of", "translated"]

_log = logging.getLogger("leanflow.outbox")

PINGING = 20
"""Seconds between pings: a line that is dead without a word is found within a minute."""
ONE_SERVER = 2
"""Seconds to connect to one server."""

MAX_SUBJECT = 2048
"""Bytes: with a reply address beside it, well within the server's ``max_control_line``, at which it hangs up."""

_LINE = len("NATS/1.0\r\n\r\n")
_SEPARATORS = len(": \r\n")


class Link:
    """A connection that is there when it is asked for, or `BusUnavailable`.

    Args:
        name: of the bus, for errors.
        servers: URLs; None: `client` was handed in.
        client: the application's own; it is used as it is, and never closed.
        timeout: seconds to connect, all servers together.
        options: further arguments of nats-py's `connect`, as credentials and TLS.
    """

    def __init__(
        self,
        name: str,
        servers: Sequence[str] | None,
        client: Client | None,
        timeout: float,
        options: Mapping[str, Any],
    ) -> None:
        if (servers is None) == (client is None):
            raise InvalidRequest("servers", "give servers, or a client of your own, and not both")
        self.name = name
        self._servers = servers
        self._given = client
        self._timeout = timeout
        self._options = {"name": "leanflow", "ping_interval": PINGING, **options}
        self._client: Client | None = client
        self._turns = asyncio.Lock()
        self._when_lost: list[Callable[[], None]] = []

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever the connection is lost."""
        self._when_lost.append(tell)

    async def client(self) -> Client:
        """Return a connected client.

        Raises:
            BusUnavailable: there is no connection to be had.
        """
        async with self._turns:
            if self._client is not None and self._client.is_connected:
                return self._client
            if self._given is not None:
                raise BusUnavailable(self.name, "the client that was handed in is not connected")
            self._client = await self._connect()
            return self._client

    async def jetstream(self) -> JetStreamContext:
        """Return JetStream over a connected client."""
        return (await self.client()).jetstream()

    async def forget(self, client: Client) -> None:
        """Connect anew the next time: this one does not answer. The application's own is left to itself."""
        if client is not self._client or client is self._given:
            return
        self._client = None
        with suppress(Exception):  # it does not answer; what its closing says is of no use to anybody
            async with asyncio.timeout(self._timeout):
                await client.close()

    async def aclose(self) -> None:
        """Close what was connected here."""
        client, self._client = self._client, self._given
        self._turns = asyncio.Lock()  # the next use may be in another loop
        if client is not None and client is not self._given:
            await client.close()

    async def _connect(self) -> Client:
        client = Client()
        try:
            with translated(self.name):
                async with asyncio.timeout(self._timeout):
                    await client.connect(
                        servers=list(self._servers or ()),
                        allow_reconnect=False,
                        max_reconnect_attempts=1,  # of each server, at the start: 0 would be for ever
                        reconnect_time_wait=0,
                        connect_timeout=ONE_SERVER,
                        error_cb=_told,
                        closed_cb=self._lost,
                        **self._options,
                    )
        except BaseException:  # cancelled, too: no socket and no task of it is left behind
            with suppress(Exception):  # what went wrong before is raised
                await client.close()
            raise
        return client

    async def _lost(self) -> None:
        for tell in self._when_lost:
            tell()


async def _told(error: Exception) -> None:
    """Keep the client's own news for those who look: whoever waits for something is told anyway."""
    _log.debug("NATS: %s", type(error).__name__)


def size_of(headers: Mapping[str, str], body: bytes) -> int:
    """Return a message's bytes as the server counts them; the client counts the body alone."""
    return (
        _LINE
        + sum(len(name.encode()) + len(value.encode()) + _SEPARATORS for name, value in headers.items())
        + len(body)
    )


def check_subject(bus: str, subject: str) -> None:
    """Refuse a subject at which the server would hang up, and every other message with this one.

    Raises:
        MessageRefused: it is too long.
    """
    if len(subject.encode()) > MAX_SUBJECT:
        raise MessageRefused(bus, f"a subject of more than {MAX_SUBJECT} bytes")


@contextmanager
def translated(bus: str) -> Iterator[None]:
    """Raise what the client raises as an error of ours."""
    try:
        yield
    except nats.errors.MaxPayloadError as error:
        raise MessageRefused(bus, "it is larger than the server's max_payload") from error
    except (nats.js.errors.ServiceUnavailableError, nats.js.errors.ServerError) as error:
        raise BusUnavailable(bus, f"JetStream does not answer ({type(error).__name__})") from error
    except nats.errors.AuthorizationError as error:
        raise BrokerSetup(bus, f"the server refused ({type(error).__name__})", "look at credentials and URL") from error
    except nats.js.errors.APIError as error:
        raise MessageRefused(bus, f"{error.description} (code {error.err_code})") from error
    except (nats.errors.BadSubjectError, nats.errors.BadHeaderError) as error:
        raise MessageRefused(bus, type(error).__name__) from error
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise BusUnavailable(bus, type(error).__name__) from error
