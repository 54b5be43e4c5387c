"""Filling a store with many waiting requests: through the store's own `create`, in batches, on a file that is kept."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from leanflow import DataRequest, Resource, State
from leanflow._ids import fingerprint_of, new_id
from leanflow._request import Scope
from leanflow._step_rows import creation_history
from leanflow._system import system_random
from leanflow.ports import Creation
from leanflow_adapters.sqlite import SQLiteStore

SCOPE = Scope(app="default", environment="sandbox", region="uae")
DICE = system_random()


def waiting(number: int, due_at: datetime, now: datetime) -> DataRequest:
    """Return a request that waits for its user."""
    return DataRequest(
        id=new_id(now + timedelta(microseconds=number), DICE),
        app=SCOPE.app,
        environment=SCOPE.environment,
        region=SCOPE.region,
        api="v2",
        resource=Resource.accounts,
        entity_id=f"old{number}",
        fingerprint=fingerprint_of(SCOPE, "v2", Resource.accounts, f"old{number}", None, {}),
        state=State.reconnect_required,
        round=1,
        reconnect_id=f"old-{number}",
        created_at=now,
        updated_at=now,
        round_started_at=now,
        expires_at=due_at,
        expire_at=due_at,
        due_at=due_at,
    )


async def fill(path: Path, count: int, due_at: datetime) -> None:
    """Store so many requests, all due at one time."""
    store = SQLiteStore(path)
    await store.open()
    now = datetime.now(UTC)
    for first in range(0, count, 2000):
        requests = [waiting(n, due_at, now) for n in range(first, min(first + 2000, count))]
        await asyncio.gather(
            *(store.create(Creation(request=r, history=creation_history(r, f"created:{r.id}"))) for r in requests)
        )
    await store.aclose()
