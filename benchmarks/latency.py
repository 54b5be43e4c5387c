"""From the webhook's commit to the handler's call, idle engine, one at a time; and from another process (the poll)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from benchmarks._ours import SECRET, Lean, webhook
from leanflow import Change, Handlers, LeanFlow, Resource, State
from leanflow_adapters.sqlite import SQLiteStore

COUNT = 300


async def run(path: Path) -> list[float]:
    """Return the seconds from `receive` returning to the handler being called."""
    handlers = Handlers()
    called: dict[str, asyncio.Future[float]] = {}

    @handlers.on(State.reconnected, name="measure")
    async def measure(change: Change, flows: LeanFlow) -> None:
        del flows
        called[change.request.id].set_result(time.perf_counter())

    flows = LeanFlow(store=SQLiteStore(path), transport=Lean(), webhook_secrets=[SECRET], handlers=[handlers])
    delays = []
    async with flows:
        for number in range(COUNT):
            request = await flows.request(Resource.accounts, entity_id=f"e{number}")
            prompt = await flows.prompt(request.id)
            called[request.id] = asyncio.get_running_loop().create_future()
            hook = webhook(str(number), "entity.reconnected", id=f"e{number}", reconnect_id=prompt.reconnect_id)
            await flows.receive(*hook)
            committed = time.perf_counter()
            delays.append(await called[request.id] - committed)
    return delays


def main() -> None:
    """Print the figures."""
    with TemporaryDirectory() as folder:
        delays = asyncio.run(run(Path(folder) / "flows.db"))
    cuts = quantiles(delays, n=100)
    print(
        f"event committed to handler called, idle: p50 {cuts[49] * 1e3:.2f} ms (budget 2),"
        f" p99 {cuts[98] * 1e3:.2f} ms (budget 20)"
    )


if __name__ == "__main__":
    main()
