"""The background: claims what is due, offers parked events again, relays the outbox, looks for lost webhooks.

Everything here is found in the store; being told (`stir`) only makes it sooner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

from leanflow._caller import Caller
from leanflow._notify import called_off, rung_or_over
from leanflow._reconcile import Reconciler
from leanflow._relay import CHECKS, Relay
from leanflow._settings import Settings
from leanflow._sites import site
from leanflow.errors import CallFailed, StoreUnavailable
from leanflow.ports import WAKE, Claimed, Store

__all__ = ["Worker"]

_log = logging.getLogger("leanflow.worker")

PARKED_AT_ONCE = 100
UPKEEP = timedelta(minutes=1)
"""How often the inbox is pruned, and at least how often one looks whether lost webhooks are to be looked for."""

_CLAIM = ":claim"  # names that no sink may have
_PARKED = ":parked"


class Worker:
    """One worker: a claiming loop, a loop for parked events and upkeep, and one relaying loop per lane."""

    def __init__(
        self, settings: Settings, store: Store, *, caller: Caller, relay: Relay, reconciler: Reconciler
    ) -> None:
        self._store = store
        self._scope = settings.scope
        self._clock = settings.clock
        self._policy = settings.policy
        self._caller = caller
        self._relay = relay
        self._reconciler = reconciler
        self._steps = caller.steps
        self._owner = caller.owner
        self._bells: dict[str, asyncio.Event] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._helpers: list[asyncio.Task[None]] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.last_request: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether all its loops run."""
        return bool(self._loops) and not any(task.done() for task in (*self._loops, *self._helpers))

    def stir(self, *, announced: bool, due_at: datetime | None) -> None:
        """Look for work now, where there is some: for the sinks, for what is due soon.

        Only a hint: whatever it misses the next poll finds.
        """
        if not self._loops:
            return
        if announced:
            for lane in self._relay.lanes:
                self._bells[lane].set()
        if due_at is not None:
            wait = (due_at - self._clock.now()).total_seconds()
            if wait <= 0:
                self._bells[_CLAIM].set()
            elif wait < self._policy.poll.total_seconds():
                asyncio.get_running_loop().call_later(wait, self._bells[_CLAIM].set)

    # one pass, for tick

    async def sweep(self) -> int:
        """Do all that is due now, once over; return how many things were done."""
        claimed = await self._claim(self._policy.calls)
        await asyncio.gather(*(self._caller.run(one) for one in claimed))
        offered = await self._steps.offer_due(self._clock.now(), PARKED_AT_ONCE)
        relayed = [await self._relay.relay(lane) for lane in self._relay.lanes]
        return len(claimed) + offered + sum(relayed)

    async def _claim(self, limit: int) -> Sequence[Claimed]:
        claimed = await self._store.claim(
            self._scope,
            owner=self._owner,
            now=self._clock.now(),
            lease=self._policy.lease.total_seconds(),
            limit=limit,
        )
        if claimed:
            self.last_request = claimed[0].request.id
            site("claimed")
        return claimed

    # the loops

    def start(self) -> None:
        """Start the loops."""
        self._loops = [self._loop(_CLAIM, self._claim_some), self._loop(_PARKED, self._offer_some)]
        for lane in self._relay.lanes:
            self._loops.append(self._loop(lane, self._wake_some if lane == WAKE else partial(self._relay.relay, lane)))
        self._helpers = [
            asyncio.create_task(self._caller.keep_leases(), name="leanflow leases"),
            asyncio.create_task(self._upkeep(), name="leanflow upkeep"),
        ]

    async def finish(self, wait: float) -> None:
        """Take on nothing new, and wait so many seconds for what is in flight."""
        self._stopping = True
        for bell in self._bells.values():
            bell.set()
        until = asyncio.get_running_loop().time() + wait
        await _ended(self._loops, until)
        while self._calls and await _ended(self._calls, until):  # the last claim may have started some
            pass
        if self._calls:
            _log.warning("%d calls are left to whoever takes them over", len(self._calls))

    async def abandon(self) -> None:
        """Stop: what is still in flight is left to whoever takes it over.

        What a finished call has to say is stored by then; what is cut off here is found again when its lease ends.
        """
        self._stopping = True
        await called_off((*self._calls, *self._loops, *self._helpers))
        self._loops, self._helpers = [], []

    def _loop(self, name: str, work: Callable[[], Awaitable[int]]) -> asyncio.Task[None]:
        bell = self._bells[name] = asyncio.Event()
        return asyncio.create_task(self._repeat(name, bell, work), name=f"leanflow {name}")

    async def _repeat(self, name: str, bell: asyncio.Event, work: Callable[[], Awaitable[int]]) -> None:
        """Work until there is none, then wait for the bell or the poll. Faults are told and waited out, never fatal."""
        poll = self._policy.poll.total_seconds()
        while not self._stopping:
            bell.clear()
            try:
                done = await work()
            except StoreUnavailable as error:
                _log.warning("%s: the store is unavailable: %s", name, error.reason)
                done = 0
            except Exception:  # noqa: BLE001 - whatever it is, the other requests go on
                _log.exception("%s failed and goes on", name)
                done = 0
            if not done and not self._stopping:
                await rung_or_over(bell, self._clock.sleep(poll))

    async def _claim_some(self) -> int:
        if self._stopping:
            return 0
        free = self._policy.calls - len(self._calls)
        if free <= 0:
            await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)
            return 1
        claimed = await self._claim(free)
        for one in claimed:
            task = asyncio.create_task(self._call(one))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        return len(claimed) if len(claimed) == free else 0  # fewer: there are no more

    async def _wake_some(self) -> int:
        done = await self._relay.relay(WAKE)
        if done:
            self._bells[CHECKS].set()  # some may have been left to that lane
        return done

    async def _call(self, claimed: Claimed) -> None:
        try:
            await self._caller.run(claimed)
        except Exception:  # noqa: BLE001 - whatever it is, the other requests go on
            _log.exception("a call failed in a way of its own", extra={"request_id": claimed.request.id})

    async def _offer_some(self) -> int:
        return await self._steps.offer_due(self._clock.now(), PARKED_AT_ONCE)

    async def _upkeep(self) -> None:
        """Look for lost webhooks after downtime and on schedule; forget what is too old to come back."""
        while True:
            try:
                await self._reconciler.reconcile_if_due()
                await self._store.prune(self._scope, before=self._clock.now() - self._policy.inbox_life)
            except (StoreUnavailable, CallFailed) as error:
                _log.warning("upkeep is put off: %s", error)
            except Exception:  # noqa: BLE001 - a transport may raise anything; upkeep that ended would not be missed
                _log.exception("upkeep failed and goes on")
            pause = self._policy.reconcile_every or UPKEEP
            await self._clock.sleep(min(pause, UPKEEP).total_seconds())


async def _ended(tasks: Collection[asyncio.Task[None]], until: float) -> bool:
    """Wait for tasks, at most until this time on the loop's clock; return whether all have ended. None is cancelled."""
    if not tasks:
        return True
    _, others = await asyncio.wait(tasks, timeout=max(0.0, until - asyncio.get_running_loop().time()))
    return not others
