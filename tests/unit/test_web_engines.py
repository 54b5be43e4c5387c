"""An engine of the wrong kind is refused where a route is made of it, and not with the first webhook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leanflow import LeanFlow, blocking
from leanflow.errors import InvalidRequest
from leanflow.mockbank import Mockbank
from leanflow.testing import FakeClock
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport
from leanflow_adapters.web import aiohttp, asgi, litestar, quart

AWAITING = [
    aiohttp.webhook_handler,
    aiohttp.webhook_app,
    aiohttp.front_end_app,
    asgi.webhook_app,
    asgi.front_end_app,
    lambda flows: litestar.webhook_route("/lean", flows),
    lambda flows: litestar.front_end_route("/requests", flows),
    quart.front_end_blueprint,
]


@pytest.mark.parametrize("make", AWAITING)
def test_an_engine_that_blocks_is_refused_where_answers_are_awaited(make: Callable[[object], object]) -> None:
    """It would answer 500 to every webhook. One of asyncio's is taken."""
    clock = FakeClock()
    parts: dict[str, Any] = {
        "transport": MockbankTransport(Mockbank(now=clock.now()), clock),
        "webhook_secrets": ["secret"],
    }
    with pytest.raises(InvalidRequest, match=r"flows: blocks.*make it of leanflow\.LeanFlow"):
        make(blocking.LeanFlow(store=MemoryStore(), **parts))
    make(LeanFlow(store=MemoryStore(), **parts))
