"""One process of a run: an engine with its workers, and all that it has started. It can be killed at any await."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

from leanflow._flows import LeanFlow
from leanflow.errors import CallerError, StoreUnavailable, TemporaryError
from leanflow.ports import Store
from leanflow.testing.simulation._loop import Dice
from leanflow.testing.simulation._ports import PROCESS, SimulatedBus, gated_handlers, gated_store, gated_transport

__all__ = ["Process"]

_START_AGAIN = 10.0
"""Seconds before a process that could not come up is started again, as a supervisor does."""


class Process:
    """An engine, the handle on the store that it has, and its tasks."""

    def __init__(self, world: Any, number: int, store: Store) -> None:
        self.world = world
        self.name = f"p{number}"
        self.number = number
        self.is_dead = False
        self.is_up = False
        self.frozen_until: datetime | None = None
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.store = store
        bank = world.bank
        self.flows = LeanFlow(
            store=gated_store(store, self),
            transport=gated_transport(world.transport, self),
            webhook_secrets=[bank.webhook_secret],
            handlers=gated_handlers(world.handlers, self),
            bus=SimulatedBus(self),
            app=bank.app,
            region=bank.settings.region,
            api=world.api,
            clock=world.clock,
            policy=world.policy,
            dice=Dice(world.seed, "process", number),
        )

    def __repr__(self) -> str:
        return self.name

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take a task as its own."""
        self.tasks[task] = None
        task.add_done_callback(self._done)
        if self.is_dead:
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start something in this process."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return context.run(asyncio.get_running_loop().create_task, work)

    def go(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start something in this process that nobody waits for."""
        task = self.run(work)
        assert not task.done()

    def start(self) -> None:
        """Begin to come up."""
        self.go(self._come_up())

    async def _come_up(self) -> None:
        while True:
            try:
                await self.flows.__aenter__()
            except StoreUnavailable:
                await self.world.clock.sleep(_START_AGAIN)
            else:
                self.is_up = True
                return

    async def ask(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what the engine returns; None where it may refuse or be unavailable."""
        try:
            return await work
        except (TemporaryError, CallerError):
            return None
        except Exception as error:  # noqa: BLE001 - whatever comes out of the engine otherwise is what is looked for
            self.world.violate("errors", f"{type(error).__name__} came out of the engine: {error}")
            return None

    async def stop(self) -> None:
        """Leave in good order, as at a deployment."""
        self.is_up = False
        await self.flows.__aexit__(None, None, None)
        self.is_dead = True

    def kill(self) -> None:
        """End it where it stands: nothing of it happens any more."""
        self.is_dead, self.is_up = True, False
        for task in list(self.tasks):
            task.cancel()
