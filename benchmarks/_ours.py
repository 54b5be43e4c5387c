"""leanflow set up for measuring: Lean's side is a function in the same process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from leanflow import Answer, Call, LeanFlow, Policy, Resource, State, sign
from leanflow.ports import Store
from leanflow_adapters.sqlite import SQLiteStore

SECRET = "benchmark"  # noqa: S105 - nobody's
OK = json.dumps(
    {
        "status": "OK",
        "results_id": "%s",
        "data": {
            "accounts": [{"account_id": "a"}],
            "page": {"number": 0, "size": 50, "total_elements": 1, "total_pages": 1},
        },
    }
).encode()


class Lean:
    """A transport that answers every placement with RECONNECT_REQUIRED and every GET of results with data."""

    def __init__(self) -> None:
        self.placed = 0
        self._tag = uuid4().hex[:8]  # several processes may share a store
        self._now = datetime.now(UTC).isoformat()

    async def send(self, call: Call) -> Answer:
        """Answer."""
        if "/results/" in call.path:
            return Answer(status=200, body=OK % call.path.rsplit("/", 1)[1].encode())
        self.placed += 1
        body = {
            "status": "RECONNECT_REQUIRED",
            "results_id": f"r{self._tag}-{self.placed}",
            "timestamp": self._now,
            "data": None,
        }
        return Answer(status=200, body=json.dumps(body).encode())

    async def token(self, customer_id: str) -> str | None:
        """None are needed."""
        del customer_id
        return None

    async def aclose(self) -> None:
        """Nothing is open."""


def webhook(number: str, kind: str, **payload: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a signed webhook."""
    raw = json.dumps({"type": kind, "payload": payload, "event_id": number, "message": "", "timestamp": None}).encode()
    return {"lean-signature": sign(SECRET, raw)}, raw


def engine(where: Path | Store, *, workers: int = 1, policy: Policy | None = None) -> LeanFlow:
    """Return an engine on a SQLite file, or on another store."""
    return LeanFlow(
        store=SQLiteStore(where) if isinstance(where, Path) else where,
        transport=Lean(),
        webhook_secrets=[SECRET],
        app="benchmark",
        workers=workers,
        policy=policy or Policy(),
    )


async def whole_flow(flows: LeanFlow, number: int) -> None:
    """Six durable steps: request, RECONNECT_REQUIRED, prompt, entity.reconnected, results.ready, fetch."""
    request = await flows.request(Resource.accounts, entity_id=f"e{number}")
    prompt = await flows.prompt(request.id)
    await flows.receive(*webhook(f"{number}a", "entity.reconnected", id=f"e{number}", reconnect_id=prompt.reconnect_id))
    await flows.receive(*webhook(f"{number}b", "results.ready", id=prompt.reconnect_id))
    final = await flows.wait(request.id, timeout=60)
    assert final.state is State.fetched


async def awaiting_users(flows: LeanFlow, count: int) -> list[str]:
    """Make so many requests that await their user, of entities ``e0``, ``e1``, …; return their reconnect ids."""
    names: list[str] = []
    for first in range(0, count, 100):
        numbers = range(first, min(first + 100, count))
        made = await asyncio.gather(*(flows.request(Resource.accounts, entity_id=f"e{n}") for n in numbers))
        names += [prompt.reconnect_id for prompt in await asyncio.gather(*(flows.prompt(each.id) for each in made))]
    return names


def reconnected(names: Sequence[str]) -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield headers and body of the webhook that each of them waits for."""
    for number, name in enumerate(names):
        yield webhook(f"w{number}", "entity.reconnected", id=f"e{number}", reconnect_id=name)


async def many(count: int, callers: int, work: Callable[[int], Awaitable[None]]) -> None:
    """Do `work` for each number below `count`, so many at a time."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(caller() for _ in range(callers)))
