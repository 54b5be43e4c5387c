"""The suite is worth something: buses that break a promise are caught, each by the tests named here."""
# ruff: noqa: D102 - each class says what its override breaks

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from leanflow.errors import MessageRefused, NotStarted
from leanflow.ports import OutboxRow
from leanflow.testing.conformance import BusConformance, Published
from leanflow_adapters.memory import MemoryBus
from tests.support.suites import Fixtures, complaint, hasten, sentences

LIMIT = 20_000
Errors = Sequence[BaseException | None]


class StopsAtTheFirstError(MemoryBus):
    """Gives up the rest of a batch."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        errors: list[BaseException | None] = []
        for row in batch:
            failed = next((error for error in errors if error is not None), None)
            errors += [failed] if failed is not None else await super().publish([row])
        return errors


class SaysNothingOfFailures(MemoryBus):
    """Fires and forgets."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        await super().publish(batch)
        return [None] * len(batch)


class TellsTheWrongRow(MemoryBus):
    """Gives the results as they come in, and the last comes first."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        return list(reversed(await super().publish(batch)))


class TellsOfFailuresAlone(MemoryBus):
    """Has a place for what went wrong, and none for what went well."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        return [error for error in await super().publish(batch) if error is not None]


class RaisesWithoutABroker(MemoryBus):
    """Raises for the whole."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        if self.is_away:
            pytest.fail("raised for the whole")
        return await super().publish(batch)


class ForgetsTheOrder(MemoryBus):
    """Publishes in the order in which it is least work."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        return list(reversed(await super().publish(list(reversed(batch)))))


class MakesAnIdForEachTry(MemoryBus):
    """Takes a repeat for another message."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        return await super().publish([attrs.evolve(row, key=f"{row.key}:{row.tries}") for row in batch])


class WritesPayloadsAnew(MemoryBus):
    """Parses what it carries."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        return await super().publish(
            [attrs.evolve(row, payload=json.dumps(json.loads(row.payload), separators=(",", ":"))) for row in batch]
        )


class CarriesTheEmptyId(MemoryBus):
    """Knows no message without a request."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        return await super().publish([attrs.evolve(row, request_id=row.request_id or "") for row in batch])


class LosesWhatIsOverAHundred(MemoryBus):
    """Has a buffer."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        await super().publish(batch[:100])
        return [None] * len(batch)


class SaysPublishedTooEarly(MemoryBus):
    """Says that the broker has what is still to be sent."""

    waiting: Sequence[OutboxRow] = ()

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        await super().publish(self.waiting)
        self.waiting = batch
        return [None] * len(batch)


class SendsLater(MemoryBus):
    """Keeps what could not be sent, says that it was not, and sends it when the broker is back."""

    waiting: tuple[OutboxRow, ...] = ()

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        errors = await super().publish([*self.waiting, *batch])
        self.waiting = (*self.waiting, *batch) if self.is_away else ()
        return errors[len(errors) - len(batch) :]


class TakesAnOutageForPoison(MemoryBus):
    """Has one error for all that goes wrong."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        errors = await super().publish(batch)
        return [error and MessageRefused(self.name, type(error).__name__) for error in errors]


class WaitsForEver(MemoryBus):
    """Trusts that brokers answer."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        while self.is_away:
            await asyncio.sleep(0.01)
        return await super().publish(batch)


class PublishesThoughClosed(MemoryBus):
    """Opens itself."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        if not self.is_open:
            await self.open()
        return await super().publish(batch)


class OpensTwice(MemoryBus):
    """Opens an open bus."""

    async def open(self) -> None:
        await self.aclose()
        await super().open()


class ChangesItsName(MemoryBus):
    """Is another sink after each start."""

    async def open(self) -> None:
        await super().open()
        self.name += "'"


class NeverLetsGo(MemoryBus):
    """Stays locked when its publisher is cancelled."""

    turn = asyncio.Semaphore(1)

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        await self.turn.acquire()
        await asyncio.sleep(0)
        errors = await super().publish(batch)
        self.turn.release()
        return errors


class MixesPublishers(MemoryBus):
    """Sends row by row, and answers whoever asks with what it has."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.errors: list[BaseException | None] = []

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        for row in batch:
            self.errors += await super().publish([row])
            await asyncio.sleep(0)
        errors, self.errors = self.errors, []
        return errors


class LeavesWhatIsInFlight(MemoryBus):
    """Closes without looking, and says that all was published."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        await asyncio.sleep(0)
        try:
            await asyncio.sleep(0)
            return await super().publish(batch)
        except NotStarted:
            return [None] * len(batch)


class AnswersForNothing(MemoryBus):
    """Has a result where there is no row."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Errors:
        return await super().publish(batch) or [None]


CATCHES: Mapping[type[MemoryBus], tuple[str, ...]] = {
    AnswersForNothing: ("test_an_empty_batch_publishes_nothing",),
    StopsAtTheFirstError: ("test_a_refused_row_costs_no_other",),
    SaysNothingOfFailures: (
        "test_a_refused_row_costs_no_other",
        "test_a_broker_that_is_away_is_an_error_for_each_row",
    ),
    TellsTheWrongRow: ("test_a_refused_row_costs_no_other",),
    TellsOfFailuresAlone: ("test_what_is_published_is_there", "test_a_refused_row_costs_no_other"),
    RaisesWithoutABroker: ("test_a_broker_that_is_away_is_an_error_for_each_row",),
    ForgetsTheOrder: ("test_rows_of_one_request_keep_their_order",),
    MakesAnIdForEachTry: ("test_a_repeat_carries_the_same_id",),
    WritesPayloadsAnew: ("test_what_is_published_is_there",),
    CarriesTheEmptyId: ("test_what_is_published_is_there",),
    LosesWhatIsOverAHundred: ("test_a_full_batch_is_published_whole",),
    SaysPublishedTooEarly: ("test_what_is_published_is_there",),
    SendsLater: ("test_a_bus_goes_on_when_its_broker_is_back",),
    TakesAnOutageForPoison: (
        "test_a_broker_that_is_away_is_an_error_for_each_row",
        "test_a_broker_that_accepts_and_never_answers_sets_nothing_aside",
    ),
    WaitsForEver: ("test_a_broker_that_accepts_and_never_answers_sets_nothing_aside",),
    PublishesThoughClosed: ("test_a_closed_bus_publishes_nothing",),
    OpensTwice: ("test_opening_an_open_bus_is_an_error",),
    ChangesItsName: ("test_its_name_is_stable",),
    NeverLetsGo: ("test_a_cancelled_publisher_leaves_the_bus_usable",),
    MixesPublishers: ("test_publishers_do_not_mix",),
    LeavesWhatIsInFlight: ("test_closing_finishes_what_is_in_flight",),
}


def caught() -> list[tuple[type[MemoryBus], str]]:
    """Return each broken bus with each test that must catch it."""
    return [(broken, name) for broken, names in CATCHES.items() for name in names]


def fixtures(made: type[MemoryBus]) -> Fixtures:
    """Return what gives the suite's fixtures, for buses of this class."""

    @asynccontextmanager
    async def give() -> AsyncIterator[Mapping[str, Any]]:
        bus = made(max_payload=LIMIT)
        await bus.open()

        async def messages() -> list[Published]:
            return [Published.of(row) for row in bus.rows]

        @asynccontextmanager
        async def away() -> AsyncIterator[None]:
            bus.is_away = True
            yield
            bus.is_away = False

        def unwanted(row: OutboxRow) -> OutboxRow:
            return attrs.evolve(row, payload=f'"{"x" * LIMIT}"')

        yield {"bus": bus, "messages": messages, "away": away, "silent": away, "unwanted": unwanted}

    return give


@pytest.mark.parametrize(("broken", "name"), caught(), ids=lambda value: getattr(value, "__name__", value))
async def test_a_broken_bus_is_caught(broken: type[MemoryBus], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named test fails on the broken bus, by a complaint of its own."""
    hasten(monkeypatch)
    assert await complaint(BusConformance, name, fixtures(broken)) is not None


@pytest.mark.parametrize("name", sorted({name for _, name in caught()}))
async def test_what_catches_broken_buses_passes_on_a_whole_one(name: str) -> None:
    """The tests that catch broken buses pass on one that is not."""
    assert await complaint(BusConformance, name, fixtures(MemoryBus)) is None


def test_every_test_of_the_suite_says_what_it_proves() -> None:
    """Each has a sentence of its own, as the port's promises do, and some bus that it catches."""
    said = sentences(BusConformance)
    assert [sentence for sentence in said.values() if not sentence.endswith(".")] == []
    assert set(said) == {name for _, name in caught()}
