"""The aiohttp transport keeps a transport's promises, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from leanflow.testing import FakeClock
from leanflow.testing.conformance import FarEnd, TransportConformance
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.mockbank import serve


class TestLeanTransport(TransportConformance):
    """With OAuth2 tokens."""

    shares = True

    @pytest.fixture
    async def build(self, bank: FarEnd, clock: FakeClock) -> AsyncIterator[Callable[..., LeanTransport]]:
        """Give transports to the bank's port; close them."""
        async with serve(bank, clock=clock) as server, AsyncExitStack() as closing:

            def build(*, timeout: float = 60.0) -> LeanTransport:
                transport = self._transport(bank, clock, server.base_url, timeout)
                closing.push_async_callback(transport.aclose)
                return transport

            yield build

    @pytest.fixture
    async def nowhere(self, bank: FarEnd, clock: FakeClock) -> AsyncIterator[LeanTransport]:
        """Give a transport to a port that nobody listens on."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))  # taken, so that nobody else listens there, and not listening itself
            transport = self._transport(bank, clock, f"http://127.0.0.1:{free.getsockname()[1]}", 5.0)
            yield transport
            await transport.aclose()

    @pytest.fixture
    async def handed(self, bank: FarEnd, clock: FakeClock) -> AsyncIterator[tuple[LeanTransport, Callable[[], bool]]]:
        """Give a transport that works with an aiohttp session of ours."""
        async with serve(bank, clock=clock) as server, aiohttp.ClientSession() as session:
            yield self._transport(bank, clock, server.base_url, 60.0, session=session), lambda: session.closed

    def _transport(self, bank: FarEnd, clock: FakeClock, url: str, timeout: float, **more: Any) -> LeanTransport:
        return LeanTransport(
            client_id=bank.app,
            client_secret=bank.client_secret,
            base_url=url,
            auth_url=url,
            timeout=timeout,
            connect_timeout=timeout / 2,
            clock=clock,
            **more,
        )


class TestLeanTransportWithAppToken(TestLeanTransport):
    """With the older `lean-app-token`."""

    bearer = False

    def _transport(self, bank: FarEnd, clock: FakeClock, url: str, timeout: float, **more: Any) -> LeanTransport:
        return LeanTransport(
            app_token=bank.app, base_url=url, timeout=timeout, connect_timeout=timeout / 2, clock=clock, **more
        )
