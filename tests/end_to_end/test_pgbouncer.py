"""Two workers whose way to the database is a PgBouncer that hands connections out by transaction."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from leanflow import Handlers, LeanFlow, Policy, State
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from tests.support.engine import deliver, engine, recorder
from tests.support.lean import Lean
from tests.support.pgbouncer import pooler
from tests.support.postgres import drop, fresh_schema

QUICK = Policy(poll=timedelta(seconds=0.1))
REQUESTS = 40
ENOUGH = timedelta(seconds=30)


@pytest.fixture
async def schema() -> AsyncIterator[str]:
    """Give the name of a schema with empty tables, gone afterwards."""
    name = await fresh_schema()
    yield name
    await drop(name)


async def test_two_workers_go_their_way_through_a_pooler(schema: str) -> None:
    """Requests of both, webhooks to either: each is placed and fetched once, and each change told once."""
    clock, heard = SystemClock(), recorder()
    lean = Lean(clock)
    with pooler() as url:
        where = f"{url}?schema={schema}&prepared=0&hints=0"

        def worker(seed: int) -> LeanFlow:
            handlers: Handlers = heard.handlers
            return engine(open_store(where), lean, None, seed=seed, handlers=handlers, policy=QUICK, workers=1)

        async with worker(1) as one, worker(2) as two:
            ids = await asyncio.gather(*(_pending(lean, (one, two)[n % 2], f"e{n}") for n in range(REQUESTS)))
            for result in list(lean.results.values()):
                lean.finish(result.results_id)
            replies = await asyncio.gather(*(deliver((two, one)[n % 2], raw) for n, raw in enumerate(lean.take())))
            assert {reply.status for [reply] in replies} == {200}
            ended = await asyncio.gather(*(one.wait(each, timeout=ENOUGH) for each in ids))
            assert {request.state for request in ended} == {State.fetched}
            assert len(replies) == REQUESTS
            async with asyncio.timeout(ENOUGH.total_seconds()):
                while await one.undelivered():
                    await asyncio.sleep(0)
    assert Counter(lean.placed.values()) == Counter(lean.fetched.values()) == {1: REQUESTS}
    assert Counter(heard.keys).most_common(1)[0][1] == 1
    assert Counter(heard.states)["fetched"] == REQUESTS


async def _pending(lean: Lean, flows: LeanFlow, entity_id: str) -> str:
    lean.will(entity_id, "pending")
    return (await flows.request("accounts", entity_id=entity_id)).id
