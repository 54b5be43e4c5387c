"""What the port promises of publishing announcements."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import attrs
import pytest

from leanflow._buses import is_away
from leanflow.errors import LeanflowError, NotStarted
from leanflow.ports import WAKE, Bus, OutboxRow
from leanflow.testing.conformance._far_end import PATIENCE

__all__ = ["Connecting", "Misfortune", "Published", "Publishing"]


@attrs.frozen(kw_only=True)
class Published:
    """One message as the broker has it.

    Attributes:
        key: its id.
        kind: of the announcement.
        request_id: of the announcement, or None.
        payload: JSON text.
    """

    key: str
    kind: str
    request_id: str | None
    payload: str

    @classmethod
    def of(cls, row: OutboxRow) -> Published:
        """Return what a row is to be published as."""
        return cls(key=row.key, kind=row.kind, request_id=row.request_id, payload=row.payload)


Messages = Callable[[], Awaitable[Sequence[Published]]]
Away = Callable[[], AbstractAsyncContextManager[Any]]
Unwanted = Callable[[OutboxRow], OutboxRow]


def a_row(number: int, request: int | None = 1, **fields: Any) -> OutboxRow:
    """Return a row; keys are in the order of numbers."""
    about = None if request is None else f"019b8a00-0000-7000-8000-{request:012d}"
    values: dict[str, Any] = {
        "key": f"{about or 'webhook'}:{number}:change",
        "sink": "bus",
        "kind": "webhook" if request is None else "change",
        "request_id": about,
        "payload": f'{{"number": {number},\n "text":"تم \\"quoted\\" \\ud83d"}}',
    }
    return OutboxRow(**{**values, **fields})


def as_published(rows: Sequence[OutboxRow]) -> list[Published]:
    """Return what rows are to be published as."""
    return [Published.of(row) for row in rows]


def in_order(messages: Sequence[Published], request: int) -> list[str]:
    """Return the keys of one request's messages, in the broker's order."""
    return [message.key for message in messages if message.request_id == a_row(0, request).request_id]


class Connecting:
    """`Bus.open`, `Bus.aclose` and the name."""

    async def test_its_name_is_stable(self, bus: Bus) -> None:
        """The sink's name is a text that reopening does not change, and not the internal sink's."""
        name = bus.name
        assert isinstance(name, str)
        assert name
        assert name != WAKE
        await bus.aclose()
        await bus.open()
        assert bus.name == name

    async def test_opening_an_open_bus_is_an_error(self, bus: Bus, messages: Messages) -> None:
        """A bus is opened once, and stays open."""
        with pytest.raises(LeanflowError):
            await bus.open()
        assert list(await bus.publish([a_row(1)])) == [None]
        assert list(await messages()) == as_published([a_row(1)])

    async def test_a_closed_bus_publishes_nothing(self, bus: Bus, messages: Messages) -> None:
        """Closing a closed bus does nothing; publishing on it is NotStarted; it may be opened again."""
        await bus.aclose()
        await bus.aclose()
        with pytest.raises(NotStarted):
            await bus.publish([a_row(1)])
        await bus.open()
        assert list(await bus.publish([a_row(2)])) == [None]
        assert list(await messages()) == as_published([a_row(2)])

    async def test_closing_finishes_what_is_in_flight(self, bus: Bus, messages: Messages) -> None:
        """A batch that was handed in before `aclose` is answered, and what is called published is there."""
        rows = [a_row(number, number) for number in range(50)]
        publishing = asyncio.ensure_future(bus.publish(rows))
        await asyncio.sleep(0)
        await asyncio.wait_for(bus.aclose(), PATIENCE)
        errors = await asyncio.wait_for(publishing, PATIENCE)
        done = [row.key for row, error in zip(rows, errors, strict=True) if error is None]
        assert set(done) <= {message.key for message in await messages()}


class Publishing:
    """`Bus.publish`, when all goes well."""

    async def test_an_empty_batch_publishes_nothing(self, bus: Bus, messages: Messages) -> None:
        """No rows, no results, no messages."""
        assert list(await bus.publish([])) == []
        assert list(await messages()) == []

    async def test_what_is_published_is_there(self, bus: Bus, messages: Messages) -> None:
        """Once a row's place is None the broker has it: key, kind, request's id and payload as they are."""
        rows = [a_row(1), a_row(2, 2, kind="report"), a_row(3, None)]
        assert list(await bus.publish(rows)) == [None] * 3
        assert {message.key: message for message in await messages()} == {row.key: Published.of(row) for row in rows}

    async def test_a_full_batch_is_published_whole(self, bus: Bus, messages: Messages) -> None:
        """Hundreds of rows, some of them large, are all there, each once."""
        rows = [a_row(n, n % 7, payload=f'"{"x" * (n % 5) * 2000}"') for n in range(300)]
        assert list(await bus.publish(rows)) == [None] * 300
        assert sorted(message.key for message in await messages()) == sorted(row.key for row in rows)

    async def test_rows_of_one_request_keep_their_order(self, bus: Bus, messages: Messages) -> None:
        """Rows of one request reach the broker in the order of the batch, and batch after batch."""
        rows = [a_row(number, number % 3) for number in range(60)]
        for begin in (0, 20, 40):
            assert list(await bus.publish(rows[begin : begin + 20])) == [None] * 20
        there = await messages()
        for request in range(3):
            assert in_order(there, request) == [a_row(number, request).key for number in range(request, 60, 3)]

    async def test_a_repeat_carries_the_same_id(self, bus: Bus, messages: Messages) -> None:
        """A row that is published again has the id that it had, whatever its tries."""
        row = a_row(1)
        assert list(await bus.publish([row])) == [None]
        assert list(await bus.publish([attrs.evolve(row, tries=3, error="OSError", skipped=True)])) == [None]
        there = await messages()
        assert {message.key for message in there} == {row.key}
        assert 1 <= len(there) <= 2, "a broker that drops repeats has one"

    async def test_publishers_do_not_mix(self, bus: Bus, messages: Messages) -> None:
        """Batches that are published at once are answered each for itself, and each keeps its order."""
        batches = [[a_row(number, request) for number in range(10)] for request in range(5)]
        results = await asyncio.gather(*(bus.publish(batch) for batch in batches))
        assert [list(result) for result in results] == [[None] * 10] * 5
        there = await messages()
        for request, batch in enumerate(batches):
            assert in_order(there, request) == [row.key for row in batch]


class Misfortune:
    """`Bus.publish`, when something goes wrong."""

    refuses: ClassVar[bool] = True
    loses_broker: ClassVar[bool] = True
    hangs: ClassVar[bool] = True

    @pytest.fixture
    def unwanted(self) -> Unwanted:
        """A function that makes of a row one that the broker refuses. Override it where `refuses` is True."""
        if self.refuses:
            pytest.fail("refuses = True: give the fixture `unwanted`")
        pytest.skip("refuses = False")

    @pytest.fixture
    def away(self) -> Away:
        """A function that returns an async context manager: within it the broker is away.

        Override it where `loses_broker` is True.
        """
        if self.loses_broker:
            pytest.fail("loses_broker = True: give the fixture `away`")
        pytest.skip("loses_broker = False")

    @pytest.fixture
    def silent(self) -> Away:
        """A function that returns an async context manager: within it the broker accepts all, and never answers.

        Override it where `hangs` is True.
        """
        if self.hangs:
            pytest.fail("hangs = True: give the fixture `silent`")
        pytest.skip("hangs = False")

    @pytest.mark.parametrize("place", [0, 2, 4])
    async def test_a_refused_row_costs_no_other(
        self, bus: Bus, messages: Messages, unwanted: Unwanted, place: int
    ) -> None:
        """What went wrong stands in the place of the row that the broker refused; all others are published."""
        rows = [a_row(number, number) for number in range(5)]
        rows[place] = unwanted(rows[place])
        errors = await bus.publish(rows)
        assert [error is not None for error in errors] == [number == place for number in range(5)]
        assert isinstance(errors[place], Exception)
        wanted = [row.key for row in rows if row is not rows[place]]
        assert sorted(message.key for message in await messages()) == wanted

    async def test_a_broker_that_is_away_is_an_error_for_each_row(
        self, bus: Bus, messages: Messages, away: Away
    ) -> None:
        """Nothing is raised for the whole: each row's place says that the broker is away, which counts against none."""
        rows = [a_row(number, number) for number in range(3)]
        async with away():
            errors = await asyncio.wait_for(bus.publish(rows), PATIENCE)
        assert len(errors) == len(rows)
        assert [error for error in errors if error is None or not is_away(error)] == []
        assert list(await messages()) == []

    async def test_a_bus_goes_on_when_its_broker_is_back(self, bus: Bus, messages: Messages, away: Away) -> None:
        """Then rows are published as before; what was told as failed is not published behind the caller's back."""
        assert list(await bus.publish([a_row(1)])) == [None]
        async with away():
            (error,) = await asyncio.wait_for(bus.publish([a_row(2)]), PATIENCE)
        assert error is not None
        assert list(await asyncio.wait_for(bus.publish([a_row(3)]), PATIENCE)) == [None]
        assert in_order(await messages(), 1) == [a_row(1).key, a_row(3).key]

    async def test_a_broker_that_accepts_and_never_answers_sets_nothing_aside(self, bus: Bus, silent: Away) -> None:
        """Within ten seconds each row's error says that the broker is away, which counts against none of them.

        On the connection that was there, and on the next; rows of one request wait no longer than others.
        """
        rows = [a_row(number, number % 2) for number in range(100)]
        errors: Sequence[BaseException | None] = ()
        async with silent():
            for _ in range(2):
                errors = await asyncio.wait_for(bus.publish(rows), PATIENCE)
                assert len(errors) == len(rows)
                assert [error for error in errors if error is None or not is_away(error)] == []
        async with asyncio.timeout(2 * PATIENCE):  # an application's client heals in its own time
            while any(errors):
                errors = await bus.publish(rows[:2])
                await asyncio.sleep(0.01)

    async def test_a_cancelled_publisher_leaves_the_bus_usable(self, bus: Bus, messages: Messages) -> None:
        """After a publisher was cancelled, whenever that was, others publish as before."""
        for yields in range(6):
            publishing = asyncio.ensure_future(bus.publish([a_row(number, 9) for number in range(20)]))
            for _ in range(yields):
                await asyncio.sleep(0)
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            assert list(await asyncio.wait_for(bus.publish([a_row(yields)]), PATIENCE)) == [None]
        assert in_order(await messages(), 1) == [a_row(number).key for number in range(6)]
