"""Waking waiters, and taking turns by key."""

from __future__ import annotations

import asyncio

from leanflow._notify import KeyedLocks, Notifier


async def test_only_who_listens_is_told() -> None:
    """Every listener of a key is woken, and no other; afterwards nothing is kept."""
    notifier = Notifier()
    with notifier.listen("a") as one, notifier.listen("a") as two, notifier.listen("b") as other:
        notifier.tell("a")
        assert (one.is_set(), two.is_set(), other.is_set()) == (True, True, False)
    notifier.tell("a")
    assert not notifier._waiting


async def test_holders_of_one_key_take_turns() -> None:
    """One at a time per key, in order of coming; other keys are not held up; afterwards nothing is kept."""
    locks, log = KeyedLocks(), []

    async def work(key: str, name: str) -> None:
        async with locks.hold(key):
            log.append(f"{name} in")
            await asyncio.sleep(0)
            log.append(f"{name} out")

    await asyncio.gather(work("k", "1"), work("k", "2"), work("other", "3"))
    assert [entry for entry in log if entry[0] != "3"] == ["1 in", "1 out", "2 in", "2 out"]
    assert log.index("3 in") < log.index("1 out")
    assert not locks._locks


async def test_a_cancelled_waiter_holds_up_nobody() -> None:
    """Cancelled while it waits for its turn, it leaves the line."""
    locks, go = KeyedLocks(), asyncio.Event()

    async def hold() -> None:
        async with locks.hold("k"):
            await go.wait()

    first, second, third = (asyncio.create_task(hold()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    go.set()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert (first.cancelled(), second.cancelled(), third.done()) == (False, True, True)
    assert not locks._locks
