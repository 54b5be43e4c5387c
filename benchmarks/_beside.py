"""Steps beside other work: callers that send flows, and how long each of their steps took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from itertools import count
from statistics import quantiles
from typing import Any

from benchmarks._ours import webhook
from leanflow import LeanFlow, Resource

__all__ = ["Callers"]

CALLERS, PAUSE = 8, 0.005
ALONE, BESIDE = 0.75, 2.5  # seconds of steps alone, before and after; and beside the work, at most


class Callers:
    """A number of callers, at work while they are asked to be."""

    def __init__(self, flows: LeanFlow) -> None:
        self._flows = flows
        self._numbers = count()

    async def beside(self, work: Awaitable[Any]) -> str:
        """Let the work be done, or stopped after some seconds; tell how steps fare beside it and around it, alone."""
        alone = await self._during(asyncio.sleep(ALONE))
        beside = await self._during(work)
        alone += await self._during(asyncio.sleep(ALONE))
        calm, busy = (quantiles(each, n=100)[-1] * 1e3 for each in (alone, beside))
        longest = max(beside) * 1e3
        return f"p99 of steps {calm:.0f} ms alone, {busy:.0f} beside = {busy / calm:.1f} x; the longest {longest:.0f}"

    async def _during(self, work: Awaitable[Any]) -> list[float]:
        seen: list[float] = []
        over = asyncio.Event()
        callers = [asyncio.ensure_future(self._call(over, seen)) for _ in range(CALLERS)]
        try:
            async with asyncio.timeout(BESIDE):
                await work
        except TimeoutError:
            pass  # enough was seen
        finally:
            over.set()
            await asyncio.gather(*callers)
        return seen

    async def _call(self, over: asyncio.Event, seen: list[float]) -> None:
        """Send flows, one step after another, a little apart."""

        async def timed(step: Awaitable[Any]) -> Any:
            start = time.perf_counter()
            done = await step
            seen.append(time.perf_counter() - start)
            await asyncio.sleep(PAUSE)
            return done

        flows = self._flows
        while not over.is_set():
            n = next(self._numbers)
            entity_id = f"beside{n}"
            request = await timed(flows.request(Resource.accounts, entity_id=entity_id))
            prompt = await timed(flows.prompt(request.id))
            ids = {"id": entity_id, "reconnect_id": prompt.reconnect_id}
            await timed(flows.receive(*webhook(f"{n}a", "entity.reconnected", **ids)))
            await timed(flows.receive(*webhook(f"{n}b", "results.ready", id=prompt.reconnect_id)))
