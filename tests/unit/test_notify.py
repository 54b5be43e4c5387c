"""Waking waiters, and taking turns by key."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from leanflow import _notify
from leanflow._notify import KeyedLocks, Notifier, called_off, rung_or_over


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


async def test_a_bell_cuts_a_sleep_short() -> None:
    """Rung, it returns at once and lets the sleep go."""
    bell, slept = asyncio.Event(), asyncio.Event()

    async def sleep() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            slept.set()

    asyncio.get_running_loop().call_soon(bell.set)
    await rung_or_over(bell, sleep())
    await slept.wait()


async def test_a_sleep_that_fails_is_no_sleep_that_is_over() -> None:
    """What the clock raises comes out: a loop that sleeps in between would never rest otherwise, and never say why."""

    async def sleep() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await rung_or_over(asyncio.Event(), sleep())


async def test_who_does_not_end_when_called_off_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a dead network a driver may wait long for the server to hear of it."""
    monkeypatch.setattr(_notify, "GOODBYE", 0.01)
    go = asyncio.Event()

    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await go.wait()
        await go.wait()

    task, other = asyncio.create_task(stubborn()), asyncio.create_task(go.wait())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await called_off((task, other))  # type: ignore[arg-type]  # what it returns matters to nobody
    assert (task.done(), other.cancelled()) == (False, True)
    go.set()
    await task


async def test_what_had_failed_before_it_was_called_off_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that died must not die unheard."""

    async def failing() -> None:
        raise ValueError("why")

    await called_off(())
    task = asyncio.create_task(failing(), name="leanflow loop")
    await asyncio.wait({task})
    await called_off([task])
    assert [(each.message, str(each.exc_info[1])) for each in caplog.records if each.exc_info] == [
        ("leanflow loop had failed", "why")
    ]
