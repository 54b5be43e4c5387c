"""Engines on Postgres whose own clocks are wrong: what is due is reckoned by the database's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from leanflow import State
from leanflow.testing import FakeClock
from leanflow_adapters.postgres import PostgresStore
from tests.support.engine import deliver, engine, recorder
from tests.support.lean import Lean, webhook
from tests.support.postgres import URL, drop, fresh_schema

NEAR = timedelta(minutes=2)


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """Give a schema with the tables."""
    name = asyncio.run(fresh_schema())
    yield name
    asyncio.run(drop(name))


@pytest.mark.parametrize("hours", [1, -1, 24 * 40])
async def test_a_wrong_clock_puts_nothing_off_and_hurries_nothing(schema: str, hours: int) -> None:
    """Times, probes and announcements of an engine are the database's, wherever its own clock stands or jumps."""
    clock = FakeClock(datetime.now(UTC) + timedelta(hours=hours))
    lean, heard = Lean(clock), recorder()
    lean.will("e", "pending")
    store = PostgresStore(URL, schema=schema)
    async with engine(store, lean, clock, handlers=[heard.handlers], app=f"clock {hours}") as flows:
        now = await store.now()
        assert now is not None
        request = await flows.request("accounts", entity_id="e")
        assert request.state is State.requested
        assert abs(request.created_at - now) < NEAR
        assert request.due_at is not None
        assert timedelta(0) < request.due_at - now < NEAR
        clock.advance(timedelta(days=3))
        await deliver(flows, webhook("entity.created", {"id": "somebody"}))
        dues = [row.due_at for row in await flows.undelivered()]
        assert all(due is not None and abs(due - now) < NEAR for due in dues)
        await flows.tick()
        assert heard.states == ["requested"]
        assert len(heard.webhooks) == 1
