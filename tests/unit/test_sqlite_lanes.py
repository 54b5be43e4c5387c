"""Group commit: whatever is queued goes together, in one transaction and one hop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leanflow.ports import Outcome
from leanflow.testing.conformance._samples import SCOPE, START, a_creation, a_request, a_step, at, stored
from leanflow_adapters.sqlite import SQLiteStore
from leanflow_adapters.sqlite._lane import BATCH


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    """Give an open store that never checkpoints by itself."""
    store = SQLiteStore(tmp_path / "flows.db", checkpoint_period=3600)
    await store.open()
    yield store
    await store.aclose()


async def traced(store: SQLiteStore) -> list[str]:
    """Return the list in which the writer's statements will appear."""
    statements: list[str] = []
    assert store._opened is not None
    await store._opened.writer.set_trace_callback(statements.append)
    return statements


async def test_concurrent_steps_share_a_commit(store: SQLiteStore) -> None:
    """What is queued at once is one transaction, without a savepoint each."""
    requests = [await stored(store, number) for number in range(1, 65)]
    statements = await traced(store)
    done = await asyncio.gather(*(store.commit(a_step(r, f"event-{r.id}")) for r in requests))
    assert {committed.outcome for committed in done} == {Outcome.committed}
    assert statements.count("COMMIT") == 1
    assert not [statement for statement in statements if "SAVEPOINT" in statement]


async def test_a_batch_has_a_size(store: SQLiteStore) -> None:
    """Ten more than fit make two batches."""
    statements = await traced(store)
    await asyncio.gather(*(store.create(a_creation(a_request(n))) for n in range(BATCH + 10)))
    assert statements.count("COMMIT") == 2


async def test_a_lone_step_waits_for_nobody(store: SQLiteStore) -> None:
    """Steps one after the other are one transaction each."""
    request = await stored(store)
    statements = await traced(store)
    for number in range(3):
        step = a_step(request, f"event-{number}")
        await store.commit(step)
        assert step.after is not None
        request = step.after
    assert statements.count("COMMIT") == 3


async def test_a_batch_has_one_step_per_request_and_per_key(store: SQLiteStore) -> None:
    """Two steps of one request, or two copies of one event, go in different batches, in their order."""
    first, second = await stored(store, 1), await stored(store, 2)
    statements = await traced(store)
    steps = [a_step(first, "event-1"), a_step(first, "event-2"), a_step(second, "event-2"), a_step(second, "event-1")]
    done = await asyncio.gather(*(store.commit(step) for step in steps))
    assert [committed.outcome for committed in done] == [
        Outcome.committed,
        Outcome.conflict,
        Outcome.committed,
        Outcome.duplicate,
    ]
    assert statements.count("COMMIT") == 4


async def test_reads_do_not_wait_for_a_batch(store: SQLiteStore) -> None:
    """While a batch is in the thread, reads of what was committed before are answered."""
    request = await stored(store)
    assert store._opened is not None
    async with store._opened.writes.gate:  # as if a batch were in the thread
        step = asyncio.ensure_future(store.commit(a_step(request, "event-1")))
        assert await store.load(SCOPE, request.id) == request
        assert not step.done()
    assert (await step).outcome is Outcome.committed


async def test_a_claim_reaches_the_next_load(store: SQLiteStore) -> None:
    """Records kept from earlier steps are not mistaken for the stored ones."""
    request = await stored(store)
    step = a_step(request, "event-1")
    await store.commit(step)
    assert await store.load(SCOPE, request.id) == step.after
    (claimed,) = await store.claim(SCOPE, owner="w", now=at(10), lease=1, limit=1)
    assert claimed.request.call_no == 1
    assert await store.load(SCOPE, request.id) == claimed.request


async def test_a_caller_cancelled_in_the_queue_costs_nobody(store: SQLiteStore) -> None:
    """What is cancelled before its batch is not done; the others of that batch are."""
    requests = [await stored(store, number) for number in range(1, 7)]
    assert store._opened is not None
    async with store._opened.writes.gate:
        tasks = [asyncio.ensure_future(store.commit(a_step(r, f"event-{r.id}"))) for r in requests]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.sleep(0)
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(d, asyncio.CancelledError) for d in done] == [True, False] * 3
    assert [await store.seen(SCOPE, f"event-{r.id}") for r in requests] == [False, True] * 3


async def test_a_caller_cancelled_in_the_thread_costs_nobody(store: SQLiteStore) -> None:
    """What is cancelled while its batch is being committed is stored all the same, and its key tells."""
    requests = [await stored(store, number) for number in range(1, 5)]
    tasks = [asyncio.ensure_future(store.commit(a_step(r, f"event-{r.id}"))) for r in requests]
    await asyncio.sleep(0)  # queued
    await asyncio.sleep(0)  # in the thread
    tasks[0].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    await store.claim(SCOPE, owner="w", now=START, lease=1, limit=1)  # a later batch: the first is through
    assert all([await store.seen(SCOPE, f"event-{r.id}") for r in requests])


async def test_the_log_is_reset_when_it_is_idle_or_above_its_cap(tmp_path: Path) -> None:
    """A checkpoint moves the log; it is emptied when nothing was written since, and reused above its cap."""
    path = tmp_path / "flows.db"
    store = SQLiteStore(path, wal_cap=1, checkpoint_period=3600)
    await store.open()
    assert store._opened is not None
    checkpointer, log = store._opened.checkpointer, tmp_path / "flows.db-wal"
    for number in range(1, 20):
        await stored(store, number)
    size = log.stat().st_size
    assert size > 100_000
    await checkpointer._once()  # above the cap, and still writing: from the start again
    await stored(store, 20)
    assert log.stat().st_size <= size
    checkpointer._is_dirty = False
    await checkpointer._once()
    assert log.stat().st_size == 0
    assert len(await store.counts(SCOPE)) == 1
    await store.aclose()


async def test_checkpoints_run_by_themselves(tmp_path: Path) -> None:
    """While there are writes the log is checkpointed in the background, and the task ends when they do."""
    store = SQLiteStore(tmp_path / "flows.db", checkpoint_period=0.0)
    await store.open()
    assert store._opened is not None
    await stored(store)
    task = store._opened.checkpointer._task
    assert task is not None
    await asyncio.wait({task})
    assert (tmp_path / "flows.db-wal").stat().st_size == 0
    await stored(store, 2)
    assert store._opened.checkpointer._task is not None
    await store.aclose()


async def test_closing_ends_the_checkpoints(tmp_path: Path) -> None:
    """`aclose` waits for no period."""
    store = SQLiteStore(tmp_path / "flows.db", checkpoint_period=3600)
    await store.open()
    await stored(store)
    await asyncio.wait_for(store.aclose(), 10)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_closing_that_is_cancelled_while_a_checkpoint_ends_is_cancelled(tmp_path: Path) -> None:
    """The end of the checkpoints, which `aclose` calls off, is not taken for its caller's; and all is closed."""
    store = SQLiteStore(tmp_path / "flows.db", checkpoint_period=3600)
    await store.open()
    opened = store._opened
    assert opened is not None

    ending = asyncio.Event()

    async def checkpoint() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.Event().wait()  # it does not end at once

    checkpointing = opened.checkpointer._task = asyncio.create_task(checkpoint())
    await asyncio.sleep(0)  # it has begun
    closing = asyncio.create_task(store.aclose())
    await ending.wait()
    closing.cancel()
    await asyncio.wait({closing})
    assert closing.cancelled()
    assert not store.is_open
    checkpointing.cancel()
