"""The observer's seam: what it sees, and that whatever it does the engine goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leanflow import Handlers, LeanFlow, State, blocking
from leanflow.commands import CommandReply, Commands, Request
from leanflow.errors import CallFailed, RequestNotFound
from leanflow.observing import Observer
from leanflow.testing import FakeClock
from leanflow_adapters.memory import MemoryBus, MemoryStore
from tests.support.engine import deliver, engine
from tests.support.lean import SECRET, Lean

METHODS = (
    "starting", "asking", "working", "calling", "sending", "stepping", "receiving", "commanding", "telling",
)  # fmt: skip


def _broken(when: str) -> Observer:
    """Return an observer of which every method fails, on entering or on leaving."""
    observer = Observer()

    def failing(method: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def failed(*about: Any) -> Iterator[Any]:
            if when == "entering":
                raise LookupError(method.__name__)
            with method(*about) as note:
                yield note
            raise LookupError(method.__name__)

        return failed

    for name in METHODS:
        setattr(observer, name, failing(getattr(observer, name)))
    return observer


@pytest.mark.parametrize("when", ["entering", "leaving"])
async def test_an_observer_that_fails_costs_nothing_but_its_view(when: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every method raises, on entering or on leaving: request, prompt, webhooks, handlers, bus and commands go on."""
    clock = FakeClock()
    lean, bus, handlers = Lean(clock), MemoryBus("bus"), Handlers()
    heard = []

    @handlers.on(State.fetched, name="store")
    async def arrived(change: Any, _flows: LeanFlow) -> None:
        heard.append(change)

    async with engine(MemoryStore(), lean, clock, observer=_broken(when), handlers=[handlers], bus=bus) as flows:
        lean.will("e", "reconnect")
        reply = await Commands(flows).receive({}, Request(key="k", resource="accounts", entity_id="e").to_bytes())
        request = CommandReply.from_bytes(reply.body).request
        assert request is not None
        prompt = await flows.prompt(request.id)
        lean.reconnect(prompt.reconnect_id)
        assert [each.status for each in await deliver(flows, *lean.take())] == [200, 200]
        await flows.tick()
        assert (await flows.get(request.id)).state is State.fetched
        with pytest.raises(RequestNotFound):
            await flows.cancel("nobody")
        lean.down = True
        with pytest.raises(CallFailed):
            await flows.customer(app_user_id="u")
    assert [change.request.id for change in heard] == [request.id]
    assert bus.rows
    assert "an observer failed" in caplog.text


class _Contexts(Observer):
    """Notes in which context it is asked, and gives each request a trace context."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @contextmanager
    def asking(self, request: Any) -> Iterator[Any]:
        with super().asking(request) as asked:
            asked.traceparent = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
            yield asked
            assert asked.request is not None
            self.asked.append(asked.request.id)


def test_requests_of_blocking_code_and_of_transactions_are_seen(tmp_path: Path) -> None:
    """The blocking face, and what joins the application's transaction, ask the same observer."""
    import sqlite3

    from leanflow_adapters.sqlite import SQLiteStore

    seen = _Contexts()
    clock = FakeClock()
    flows = blocking.LeanFlow(
        store=SQLiteStore(tmp_path / "flows.db"), transport=Lean(clock), webhook_secrets=[SECRET], clock=clock,
        observer=seen, workers=0,
    )  # fmt: skip
    with flows:
        first = flows.request("accounts", entity_id="e")
        with sqlite3.connect(tmp_path / "flows.db", isolation_level=None) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with flows.using(connection) as tx:
                second = tx.request("identity", entity_id="e")
            connection.execute("COMMIT")
        connection.close()
        assert seen.asked == [first.id, second.id]
        assert flows.get(second.id).traceparent == first.traceparent == "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


async def test_an_observer_looks_again_after_a_look_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    """A store that is away, or an observer that raises, does not end the looking."""
    clock = FakeClock()

    class Looking(Observer):
        every = 10.0
        looks = 0

        def looked(self, *_: Any) -> None:
            self.looks += 1
            raise LookupError("the first look")

    observer = Looking()
    async with engine(MemoryStore(), Lean(clock), clock, observer=observer, workers=1):
        async with asyncio.timeout(10):
            while observer.looks < 3:
                clock.advance(timedelta(seconds=10))
                await asyncio.sleep(0)
    assert "did not get to see the store" in caplog.text
