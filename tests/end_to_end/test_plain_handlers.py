"""Handlers that are plain functions, in an engine of asyncio's: they run in threads, and call it all the same."""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from leanflow import Change, Handlers, LeanFlow, State
from leanflow.errors import RequestNotFound
from leanflow.mockbank import Mockbank
from leanflow.testing import FakeClock
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport


class World:
    """An engine, and what a handler of it saw.

    Attributes:
        handlers: of the engine; to be added to before it is opened.
        bank: Lean.
        flows: the engine.
        seen: what handlers put there.
    """

    def __init__(self) -> None:
        clock = FakeClock()
        self.handlers = Handlers()
        self.bank = Mockbank(now=clock.now())
        self.seen: list[Any] = []
        self.flows = LeanFlow(
            store=MemoryStore(),
            transport=MockbankTransport(self.bank, clock),
            webhook_secrets=[self.bank.webhook_secret],
            handlers=self.handlers,
            app=self.bank.app,
            clock=clock,
            workers=0,
        )

    async def fetch(self) -> str:
        """Ask for accounts that are there at once, and have the handlers called; return the request's id."""
        async with self.flows as flows:
            request = await flows.request("accounts", entity_id=self.bank.connect())
            await flows.tick()
            assert not await flows.undelivered()
            return request.id


@pytest.fixture
def world() -> World:
    """Give a world."""
    return World()


async def test_its_methods_return_when_they_are_done(world: World) -> None:
    """Without await, which a thread cannot: a coroutine that nobody awaits would do nothing, and say nothing."""

    @world.handlers.on(State.fetched, name="plain")
    def plain(change: Change, flows: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        world.seen += [len(flows.results(change.request.id).items), flows.get(change.request.id).id, flows.scope]
        with pytest.raises(RequestNotFound):
            flows.cancel("nothing")

    request_id = await world.fetch()
    assert world.seen == [3, request_id, world.flows.scope]


async def test_a_coroutine_that_a_plain_function_returns_awaits_them(world: World) -> None:
    """It is awaited on the engine's loop, where waiting for that loop would never end."""

    async def awaiting(change: Change, flows: Any) -> None:
        world.seen.append(len((await flows.results(change.request.id)).items))

    @world.handlers.on(State.fetched, name="plain")
    def plain(change: Change, flows: Any) -> Coroutine[Any, Any, None]:
        return awaiting(change, flows)

    await world.fetch()
    assert world.seen == [3]
