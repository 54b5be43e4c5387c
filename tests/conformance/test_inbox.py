"""What stands for the engine in the tests of bindings answers as an engine does."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from leanflow import LeanFlow, Reply, sign
from leanflow.errors import StoreUnavailable
from leanflow.mockbank import Mockbank
from leanflow.ports import Committed, Step
from leanflow.testing import FakeClock
from leanflow.testing.conformance import Inbox
from leanflow.testing.conformance._inbox import SECRET
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport

RAW = '{"type":"results.ready", "payload":{"id":"r-1"}, "message":"تم"}'.encode()
GOOD, FORGED = sign(SECRET, RAW), sign("another secret", RAW)


class Down(MemoryStore):
    """Cannot commit."""

    async def commit(self, step: Step) -> Committed:
        """Fail."""
        raise StoreUnavailable("down")


@pytest.mark.parametrize("is_down", [False, True])
@pytest.mark.parametrize(
    "headers",
    [{"LEAN-Signature": GOOD}, {"lean-signature": FORGED}, {"lean-signature": f"{GOOD}, {FORGED}"}, {}],
    ids=["good", "forged", "two", "none"],
)
async def test_the_inbox_answers_as_an_engine(headers: Mapping[str, str], is_down: bool) -> None:
    """Signed or not, store down or not: the reply is the engine's, by await and without."""
    clock = FakeClock()
    transport = MockbankTransport(Mockbank(now=clock.now()), clock)
    store = Down() if is_down else MemoryStore()
    inbox = Inbox(is_down=is_down)
    async with LeanFlow(
        store=store, transport=transport, webhook_secrets=[SECRET], app="app", clock=clock, workers=0
    ) as flows:
        wanted = await flows.receive(headers, RAW)
    assert await inbox.receive(headers, RAW) == wanted
    assert inbox.blocking.receive(headers, RAW) == wanted
    assert (len(inbox.taken) == 2) is (wanted.status == 200)
    assert isinstance(wanted, Reply)
