"""The stateful machine that ships: it holds for what is right, and finds what was planted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from leanflow import Change, Handlers, LeanFlow, Reply, State
from leanflow.ports import Committed, Step
from leanflow.testing.stateful import ReconnectMachine
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport


class Shop:
    """A backend that keeps what was fetched, once for each change."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.stored: list[str] = []
        self.seen: set[str] = set()
        self.handlers.on(State.fetched, name="store")(self.store)

    async def store(self, change: Change, flows: LeanFlow) -> None:
        """Keep what was fetched, unless this change was heard before."""
        if change.key not in self.seen:
            self.seen.add(change.key)
            await self.keep(change.request.id, flows)

    async def keep(self, request_id: str, flows: LeanFlow) -> None:
        """Keep the data of a request."""
        assert (await flows.results(request_id)).items
        self.stored.append(request_id)


class ShopMachine(ReconnectMachine):
    """The machine, pointed at the shop: two lines and two methods."""

    make_store = MemoryStore
    make_transport = MockbankTransport
    make_shop = Shop

    def make_handlers(self) -> Iterable[Handlers]:
        """Those of the shop."""
        self.shop = type(self).make_shop()
        return [self.shop.handlers]

    def acted(self) -> Iterable[str]:
        """What the shop has stored."""
        return self.shop.stored


def walk(machine: type[ReconnectMachine], examples: int) -> None:
    """Run a machine, the same way each time."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_it_holds_for_a_backend_that_is_right() -> None:
    """Whatever happens, the shop has everything once."""
    walk(ShopMachine, 100)


# --- planted in a backend ----------------------------------------------------------------------------------------


class ActsTwice(Shop):
    """Does not look whether it has heard of a change before."""

    async def store(self, change: Change, flows: LeanFlow) -> None:
        """Keep what was fetched."""
        await self.keep(change.request.id, flows)


class ActsOnReconnected(Shop):
    """Takes the bank's letting the user in for the data."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers.on(State.reconnected, name="too early")(self.too_early)

    async def too_early(self, change: Change, _flows: LeanFlow) -> None:
        """Act on what is not there."""
        self.stored.append(change.request.id)


class Raises(Shop):
    """Cannot cope with an expiry."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers.on(State.expired, name="helpless")(self.helpless)

    async def helpless(self, change: Change, _flows: LeanFlow) -> None:
        """Fail."""
        raise LookupError("nobody thought of that")


class Forgets(Shop):
    """Acts on every second request only."""

    async def keep(self, request_id: str, flows: LeanFlow) -> None:
        """Keep the data of a request, sometimes."""
        if len(self.seen) % 2:
            await super().keep(request_id, flows)


class BelievesTheFrontEnd(ShopMachine):
    """An endpoint that takes the Link SDK's word for proof."""

    async def callback(self, request_id: str, payload: Mapping[str, Any], prompt: int) -> None:
        """Act at once when the front end says SUCCESS."""
        await super().callback(request_id, payload, prompt)
        if payload["status"] == "SUCCESS":
            self.shop.stored.append(request_id)


class ChecksNoSignature(ShopMachine):
    """An endpoint that signs whatever comes."""

    async def receive(self, headers: Mapping[str, str], raw: bytes) -> Reply:
        """Take everything in."""
        from leanflow import sign

        return await super().receive({"lean-signature": sign(self.bank.webhook_secret, raw)}, raw)


def with_shop(shop: type[Shop]) -> type[ShopMachine]:
    """Return the machine on another shop."""
    return type(f"{shop.__name__}Machine", (ShopMachine,), {"make_shop": shop})


# --- planted in a store ------------------------------------------------------------------------------------------


class LosesThePages(MemoryStore):
    """Keeps the record and not the data."""

    async def commit(self, step: Step) -> Committed:
        """Store the rest."""
        return await super().commit(attrs.evolve(step, pages=()))


class ForgetsTheInbox(MemoryStore):
    """Takes every event for new."""

    async def commit(self, step: Step) -> Committed:
        """Store it under another key."""
        self.count = getattr(self, "count", 0) + 1
        inbox = attrs.evolve(step.inbox, key=f"{step.inbox.key}#{self.count}")
        return await super().commit(attrs.evolve(step, inbox=inbox))


class WritesHalf(MemoryStore):
    """Leaves the history behind."""

    async def commit(self, step: Step) -> Committed:
        """Store the rest."""
        return await super().commit(attrs.evolve(step, history=None))


class DropsAnnouncements(MemoryStore):
    """Leaves the announcements behind."""

    async def commit(self, step: Step) -> Committed:
        """Store the rest."""
        return await super().commit(attrs.evolve(step, announcements=()))


def on_store(store: type[MemoryStore]) -> type[ShopMachine]:
    """Return the machine on another store."""
    return type(f"{store.__name__}Machine", (ShopMachine,), {"make_store": store})


PLANTED: dict[str, tuple[type[ReconnectMachine], str]] = {
    "acts twice": (with_shop(ActsTwice), "acted 2 times"),
    "acts on reconnected": (with_shop(ActsOnReconnected), "the backend acted"),
    "raises": (with_shop(Raises), "nobody thought of that"),
    "forgets": (with_shop(Forgets), "never acted on"),
    "believes the front end": (BelievesTheFrontEnd, "the backend acted"),
    "checks no signature": (ChecksNoSignature, "a forged webhook was answered 200"),
    "loses the pages": (on_store(LosesThePages), "were purged"),
    "forgets the inbox": (on_store(ForgetsTheInbox), "an event was decided twice"),
    "writes half": (on_store(WritesHalf), "versions have holes"),
    "drops announcements": (on_store(DropsAnnouncements), "never acted on"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_it_finds_what_was_planted(fault: str) -> None:
    """In a handler, an endpoint or a store: within three hundred walks."""
    machine, says = PLANTED[fault]
    with pytest.raises(BaseException, match=says):
        walk(machine, 300)
