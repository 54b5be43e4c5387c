"""New requests: stored and placed in tasks of the engine, which no caller that goes away stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import attrs

from leanflow._caller import Caller
from leanflow._notify import GOODBYE
from leanflow._request import DataRequest
from leanflow._settings import Settings
from leanflow._sites import site
from leanflow.ports import Claimed, Created, Creation, Store

__all__ = ["Placing"]

Begun = Callable[[str], None]
"""Is told the id of a request as it begins to be placed."""

Fault = Callable[[str, BaseException], None]
"""Is told the id of a request whose call failed in a way of its own, and how."""


class Placing:
    """What an engine has under way for requests that are new, from entering to leaving."""

    def __init__(self, settings: Settings, store: Store, caller: Caller, *, begun: Begun, fault: Fault) -> None:
        self._clock = settings.clock
        self._policy = settings.policy
        self._store = store
        self._caller = caller
        self._begun = begun
        self._fault = fault
        self._is_over = False
        self.creating: set[asyncio.Task[Created]] = set()
        self.under_way: dict[str, asyncio.Task[None]] = {}

    async def create(self, creation: Creation) -> Created:
        """Insert a request claimed by this engine, which places it at once: no worker takes it as well."""
        claimed = attrs.evolve(creation, owner=self._caller.owner, lease_until=self._clock.now() + self._policy.lease)
        creating = asyncio.create_task(self._store.create(claimed), name=f"leanflow create {creation.request.id}")
        self.creating.add(creating)
        creating.add_done_callback(self.creating.discard)
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:  # nobody waits any more, but what is stored and claimed must be placed
            creating.add_done_callback(self._place_unwaited)
            raise

    async def placed(self, created: Created) -> bool:
        """Place a new request and wait a little for Lean's answer; for one that is being placed here, wait too.

        Returns:
            Whether it was waited for: False if it is placed elsewhere, or was before.
        """
        request = created.request
        if created.is_new:
            self._place(request)
        placing = self.under_way.get(request.id)
        if placing is None:
            return False
        await self._wait_for(placing, self._policy.place_wait.total_seconds())
        return True

    async def settled(self) -> int:
        """Return how many are being placed, once they are."""
        placing = list(self.under_way.values())
        if placing:
            await asyncio.wait(placing)
        return len(placing)

    async def finish(self, wait: float) -> None:
        """Wait at most so many seconds for what is under way."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while tasks := {*self.creating, *self.under_way.values()}:
                    await asyncio.wait(tasks)

    async def abandon(self) -> None:
        """Place nothing any more: what is still under way is left to whoever takes it over."""
        self._is_over = True
        placing = list(self.under_way.values())
        for task in placing:
            task.cancel()
        if placing:
            await asyncio.wait(placing, timeout=GOODBYE)  # what they raise is told when they end

    def _place_unwaited(self, creating: asyncio.Task[Created]) -> None:
        if not creating.cancelled() and creating.exception() is None and creating.result().is_new:
            self._place(creating.result().request)

    def _place(self, request: DataRequest) -> None:
        """Place a new request in a task of the engine."""
        if self._is_over:  # it was stored too late: the transport is closed
            return
        site("created")
        self._begun(request.id)
        now = self._clock.now()
        claimed = Claimed(request=request, now=now, lease_until=now + self._policy.lease, taken_over=False)
        task = asyncio.create_task(self._caller.run(claimed), name=f"leanflow place {request.id}")
        self.under_way[request.id] = task
        task.add_done_callback(lambda ended: self._ended(request.id, ended))

    def _ended(self, request_id: str, task: asyncio.Task[None]) -> None:
        self.under_way.pop(request_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault(request_id, error)

    async def _wait_for(self, task: asyncio.Task[None], seconds: float) -> None:
        """Wait for a task so long on our clock; neither a timeout nor a cancelled caller stops it."""
        if seconds <= 0:
            return
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({task, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
