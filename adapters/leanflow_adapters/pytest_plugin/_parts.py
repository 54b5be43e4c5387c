"""What the fixtures put together. Imported by the first test that asks for one of them."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

from leanflow import Handlers, Policy
from leanflow._request import Scope
from leanflow.mockbank import Mockbank
from leanflow.ports import Store
from leanflow.testing import ChangeAt, FakeClock
from leanflow_adapters.mockbank import MockbankTransport

__all__ = ["changes", "settings", "transport"]


class _Passing:
    """The test's clock for Lean's side: a call that takes a while moves it, instead of waiting for somebody to."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        """Return the time on the test's clock."""
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self._clock.advance(timedelta(seconds=seconds))
        await asyncio.sleep(0)


def transport(bank: Mockbank, clock: FakeClock) -> MockbankTransport:
    """Return the way to a Mockbank; slow answers move the clock."""
    return MockbankTransport(bank, _Passing(clock))


def settings(store: Store, lean: MockbankTransport, handlers: Any, clock: FakeClock) -> dict[str, Any]:
    """Return the arguments of an engine on these parts. Its ids and jitter are the same in each run."""
    return {
        "store": store,
        "transport": lean,
        "webhook_secrets": [lean.bank.webhook_secret],
        "handlers": [handlers] if isinstance(handlers, Handlers) else handlers,
        "app": lean.bank.app,
        "environment": "sandbox",
        "region": lean.bank.settings.region,
        "api": "v2",
        "clock": clock,
        "policy": Policy(),
        "workers": 0,
        "dice": random.Random(0),  # noqa: S311 - nothing of it is secret
    }


def changes(settings: dict[str, Any]) -> ChangeAt:
    """Return what makes changes of the requests that an engine of these settings would have."""
    scope = Scope(app=settings["app"], environment=settings["environment"], region=settings["region"])
    return ChangeAt(settings["clock"].now, scope=scope, api=settings["api"], policy=settings["policy"])
