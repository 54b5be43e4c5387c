"""Announcements on SQLite, more at once than one statement takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from leanflow.ports import WAKE, InboxEntry, OutboxRow, Step
from leanflow.testing.conformance._samples import ALL, SCOPE, START, a_change, a_step, a_wake, at, stored
from leanflow_adapters.sqlite import SQLiteStore
from leanflow_adapters.sqlite._outbox import _AT_ONCE

MANY = 2 * _AT_ONCE + 50


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    """Give an open store on a new file."""
    store = SQLiteStore(tmp_path / "flows.db")
    await store.open()
    yield store
    await store.aclose()


async def claim(store: SQLiteStore, sink: str) -> Sequence[OutboxRow]:
    """Claim all that is due."""
    return await store.claim_outbox(SCOPE, sinks=[sink], owner="me", now=at(1), lease=60, limit=MANY + 1)


async def test_the_next_of_each_request_is_offered_once_many_are_delivered(store: SQLiteStore) -> None:
    """Many are claimed and confirmed at once; then what was behind each of them is offered, and nothing else."""
    await store.register(SCOPE, [ALL])
    told: list[list[str]] = []
    for number in range(MANY):
        request = await stored(store, number)
        both = tuple(a_change(request, key=f"{request.id}:{version}") for version in (1, 2))
        await store.commit(a_step(request, f"event-{number}", announcements=both))
        told.append([change.key for change in both])
    first = await claim(store, ALL.name)
    assert [row.key for row in first] == [keys[0] for keys in told]
    assert not await claim(store, ALL.name)
    await store.delivered(SCOPE, [(row.key, row.sink) for row in first])
    assert [row.key for row in await claim(store, ALL.name)] == [keys[1] for keys in told]


async def test_keys_are_compared_whole(store: SQLiteStore) -> None:
    """A NUL in a key, which comes of what Lean sent, ends nothing: that row goes, and the one beside it stays."""
    for key in ("a", "a\0b", "a\0c"):
        entry = InboxEntry(key=key, tag="entity_updated", at=START)
        await store.commit(Step(scope=SCOPE, inbox=entry, wakes=(a_wake(key),)))
    rows = {row.key: row for row in await claim(store, WAKE)}
    assert len(rows) == 3
    gone = next(key for key in rows if "\0b" in key)
    await store.delivered(SCOPE, [(gone, WAKE)])
    assert {row.key for row in await store.outbox(SCOPE)} == set(rows) - {gone}
