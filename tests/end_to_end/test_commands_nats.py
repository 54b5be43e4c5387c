"""Commands over a real NATS: the example, and what becomes of commands that come twice, or cannot be done."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from leanflow import LeanFlow, State
from leanflow.commands import Cancel, CommandReply, Commands, Prompt, Request
from leanflow.testing import FakeClock
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.nats import NatsBus
from tests.support.engine import engine
from tests.support.lean import Lean
from tests.support.nats import URL, connected, drop, fresh_name
from tests.support.telemetry import Recorded

EXAMPLE = Path(__file__).parents[2] / "examples" / "commands.py"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """The application's own connection."""
    async with connected() as client:
        yield client


@pytest.fixture
async def name(client: Client) -> AsyncIterator[str]:
    """What streams and subjects are called, which are gone afterwards."""
    made = fresh_name()
    yield made
    await drop(*(f"{made}-{what}" for what in ("announced", "commands", "leanflow-set-aside")))


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the examples are not part of the wheel")
async def test_the_example_gets_its_data_by_messages_alone(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked, prompted, and told that the data is there."""
    spec = importlib.util.spec_from_file_location("examples_commands", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    async with asyncio.timeout(60):
        await example.main(URL, name)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "asked: reconnect_required"
    assert said[1].startswith("prompt 1: Lean.reconnect(")
    assert said[2] == "announced: user-17 is fetched"


class _Application:
    """Writes commands and waits for replies."""

    def __init__(self, client: Client, subject: str) -> None:
        self._client = client
        self._subject = subject

    async def ask(self, body: bytes, *, times: int = 1, **headers: str) -> list[CommandReply]:
        """Write the same message so many times; return as many replies."""
        inbox = self._client.new_inbox()
        replies = await self._client.subscribe(inbox)
        for _ in range(times):
            await self._client.jetstream().publish(self._subject, body, headers={"reply-to": inbox, **headers})
        said = [CommandReply.from_bytes((await replies.next_msg(timeout=20)).data) for _ in range(times)]
        await replies.unsubscribe()
        return said


async def test_what_comes_twice_is_done_once_and_what_is_refused_is_set_aside(client: Client, name: str) -> None:
    """Eight copies, eight replies, one request and one prompt; a refused command is answered, and kept to look at."""
    clock = FakeClock()
    lean = Lean(clock)
    lean.will("e", "reconnect")
    recorded = Recorded()
    bus = NatsBus(servers=URL, create=True)
    flows: LeanFlow = engine(MemoryStore(), lean, clock, observer=recorded.telemetry)
    subscription = bus.subscribe(
        f"{name}.commands", Commands(flows).receive, durable=f"{name}-leanflow", stream=f"{name}-commands"
    )
    theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with flows, subscription:
        application = _Application(client, f"{name}.commands")
        wanted = Request(key="k", resource="accounts", entity_id="e").to_bytes()
        told = await application.ask(wanted, times=8, traceparent=theirs)
        [request_id] = {each.request.id for each in told if each.request}
        assert lean.placed["e"] == 1
        told = await application.ask(Prompt(key="p", request_id=request_id).to_bytes(), times=8)
        assert [each.prompt.number for each in told if each.prompt] == [1] * 8
        [refused] = await application.ask(Cancel(key="c", request_id="nobody").to_bytes())
        assert refused.error is not None
        assert refused.error.name == "RequestNotFound"
        [unread] = await application.ask(b"no command")
        assert (unread.ok, unread.key) == (False, None)
        async with asyncio.timeout(10):
            while subscription.counts["set_aside"] < 2:
                await asyncio.sleep(0.01)
        assert [each.reason for each in await subscription.set_aside()] == ["status 404", "status 400"]
        assert subscription.counts["taken"] == 16
        request = await flows.get(request_id)
        assert request.state is State.awaiting_user
        assert request.traceparent is not None
        assert request.traceparent.split("-")[1] == theirs.split("-")[1]
