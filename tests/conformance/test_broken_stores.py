"""The suite is worth something: stores that break a promise are caught, each by the tests named here."""
# ruff: noqa: D102 - each class says what its override breaks

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from leanflow._request import DataRequest, Scope
from leanflow.ports import Body, Claimed, Committed, Erased, Outcome, Part, Step
from leanflow.testing.conformance import StoreConformance
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.memory._data import Data


class LosesTheSecondWrite(MemoryStore):
    """Says `committed` to every second accepted step of a request without storing it."""

    async def commit(self, step: Step) -> Committed:
        if step.after is not None and step.version % 2:
            return Committed(outcome=Outcome.committed)
        return await super().commit(step)


class IgnoresTheVersion(MemoryStore):
    """Lets the last writer win."""

    async def commit(self, step: Step) -> Committed:
        now = None if step.request_id is None else await self.load(step.scope, step.request_id)
        return await super().commit(step if now is None else attrs.evolve(step, version=now.version))


class IgnoresTheCallNumber(MemoryStore):
    """Compares the version alone."""

    async def commit(self, step: Step) -> Committed:
        now = None if step.request_id is None else await self.load(step.scope, step.request_id)
        return await super().commit(step if now is None else attrs.evolve(step, call_no=now.call_no))


class CommitsHalf(MemoryStore):
    """Stores the record and the inbox row, but leaves the history and the announcements behind."""

    async def commit(self, step: Step) -> Committed:
        return await super().commit(attrs.evolve(step, history=None, announcements=(), wakes=()))


class CommitsHalfOfALoser(MemoryStore):
    """Makes the announcements of a step before it finds that the step lost."""

    async def commit(self, step: Step) -> Committed:
        self._data.announce(step.scope, step.announcements, step.wakes, at=step.inbox.at, about=step.request_id)
        return await super().commit(step)


class MarksTheLosersEventAsSeen(MemoryStore):
    """Writes the inbox row before it compares the version."""

    async def commit(self, step: Step) -> Committed:
        done = await super().commit(step)
        if done.outcome is Outcome.conflict:
            self._data.inbox[step.scope, step.inbox.key] = step.inbox.at
        return done


class HandsOneLeaseToTwo(MemoryStore):
    """Never looks whether a lease is running."""

    async def claim(self, scope: Scope, *, owner: str, now: datetime, lease: float, limit: int) -> Sequence[Claimed]:
        for slot in self._data.slots(scope):
            slot.end_lease()
        return await super().claim(scope, owner=owner, now=now, lease=lease, limit=limit)


class ShortensALease(MemoryStore):
    """Takes a late renewal at its word."""

    async def renew(self, scope: Scope, request_id: str, *, owner: str, now: datetime, lease: float) -> bool:
        done = await super().renew(scope, request_id, owner=owner, now=now, lease=lease)
        if done:
            self._data.requests[request_id].lease_until = now + timedelta(seconds=lease)
        return done


class ForgetsAParkedEvent(MemoryStore):
    """Takes a parked event in as if it were done with."""

    async def commit(self, step: Step) -> Committed:
        return await super().commit(attrs.evolve(step, inbox=attrs.evolve(step.inbox, parking=None)))


class ForgetsAParkedEventOfALoser(MemoryStore):
    """Takes the parked row away before it finds that the step lost."""

    async def commit(self, step: Step) -> Committed:
        if step.inbox.parking is None:
            self._data.parked.pop((step.scope, step.inbox.key), None)
        return await super().commit(step)


class DeliversForEveryone(MemoryStore):
    """Takes one sink's confirmation for that of all."""

    async def delivered(self, scope: Scope, rows: Sequence[tuple[str, str]]) -> None:
        confirmed = {key for key, _ in rows}
        await super().delivered(scope, [(row.key, row.sink) for row in self._rows(scope) if row.key in confirmed])


class KeepsWhatAGoneSinkWasToGet(MemoryStore):
    """Makes no more rows for a sink that is unregistered, and keeps those that it has."""

    async def unregister(self, scope: Scope, sink: str) -> int | None:
        kept = dict(self._data.outbox)
        gone = await super().unregister(scope, sink)
        self._data.outbox.update(kept)
        return gone


class ForgetsTheOrder(MemoryStore):
    """Offers all rows of a request at once."""

    def _heads(self, scope: Scope) -> list[Any]:
        return [row for row in self._rows(scope) if not row.set_aside]


class CountsAnOutageAsATry(MemoryStore):
    """Takes each delivery that failed for a refusal."""

    async def undelivered(self, scope: Scope, key: str, sink: str, *, counts: bool = True, **rest: Any) -> None:
        await super().undelivered(scope, key, sink, counts=True, **rest)


class MixesScopes(MemoryStore):
    """Finds a request by its id whatever the scope."""

    async def load(self, scope: Scope, request_id: str) -> DataRequest | None:
        slot = self._data.requests.get(request_id)
        return None if slot is None else slot.request


class MakesTwins(MemoryStore):
    """Looks for a twin, hesitates, and inserts."""

    async def create(self, creation: Any) -> Any:
        request = attrs.evolve(creation.request, fingerprint="", key=None)
        known = [s for s in self._data.slots(request.scope) if s.request.key == creation.request.key]
        await asyncio.sleep(0)
        if known and creation.request.key is not None:
            return await super().create(creation)
        made = await super().create(attrs.evolve(creation, request=request))
        self._data.requests[request.id].request = creation.request
        return attrs.evolve(made, request=creation.request)


class LeavesNoTombstone(MemoryStore):
    """Deletes without a trace."""

    async def erase(self, scope: Scope, request_id: str, *, now: datetime) -> Erased | None:
        done = await super().erase(scope, request_id, now=now)
        self._data.tombstones.clear()
        return done


class PurgesPagesOfTheLiving(MemoryStore):
    """Takes all pages, whenever they came."""

    async def purge_pages(self, scope: Scope, **wanted: Any) -> Sequence[str]:
        return await super().purge_pages(scope, **{**wanted, "older_than": datetime.max.replace(tzinfo=UTC)})


class RewritesWhatHasChanged(MemoryStore):
    """Writes over whatever lies there."""

    async def rewrite(self, scope: Scope, bodies: Sequence[tuple[Body, bytes]]) -> int:
        now = {body.place: body for part in Part for body in self._data.bodies(scope, part)}
        return await super().rewrite(scope, [(now.get(body.place, body), content) for body, content in bodies])


class CountsNothing(MemoryStore):
    """Forgets what was added before."""

    async def tally(self, scope: Scope, name: str, *, add: int = 0) -> int:
        self._data.tallies.clear()
        return await super().tally(scope, name, add=add)


class ForgetsToClose(MemoryStore):
    """Loses what was done when it is opened again."""

    async def open(self) -> None:
        await super().open()
        self._data = Data()


CATCHES: dict[type[MemoryStore], tuple[str, ...]] = {
    LosesTheSecondWrite: ("test_a_second_step_is_stored_after_the_first", "test_racers_have_one_winner_per_version"),
    IgnoresTheVersion: ("test_a_stale_commit_is_refused", "test_racers_have_one_winner_per_version"),
    IgnoresTheCallNumber: ("test_another_call_number_is_a_conflict",),
    CommitsHalf: ("test_a_committed_step_is_stored",),
    CommitsHalfOfALoser: ("test_a_stale_commit_is_refused", "test_a_seen_event_is_a_duplicate"),
    MarksTheLosersEventAsSeen: (
        "test_a_losers_event_can_be_decided_again",
        "test_racers_have_one_winner_per_version",
    ),
    HandsOneLeaseToTwo: ("test_no_two_claimers_hold_one_lease", "test_a_running_lease_keeps_others_out"),
    ShortensALease: ("test_a_late_renewal_shortens_no_lease",),
    ForgetsAParkedEvent: ("test_a_parked_event_is_found_under_its_id", "test_a_parked_event_is_not_seen"),
    ForgetsAParkedEventOfALoser: ("test_a_losers_parked_event_stays_parked",),
    DeliversForEveryone: ("test_delivery_is_remembered_per_sink",),
    KeepsWhatAGoneSinkWasToGet: ("test_an_unregistered_sink_is_forgotten",),
    ForgetsTheOrder: ("test_only_the_oldest_of_a_request_is_offered",),
    CountsAnOutageAsATry: ("test_an_outage_counts_no_try",),
    MixesScopes: ("test_a_step_of_another_scope_finds_no_request",),
    MakesTwins: ("test_racing_creators_get_one_and_the_same_record",),
    LeavesNoTombstone: ("test_an_erased_request_leaves_nothing_but_a_tombstone",),
    PurgesPagesOfTheLiving: ("test_purging_pages_leaves_the_rest",),
    RewritesWhatHasChanged: ("test_a_body_is_replaced_if_it_is_still_what_it_was",),
    CountsNothing: ("test_tallies_add_up",),
    ForgetsToClose: ("test_what_was_committed_outlives_a_restart",),
}


def caught() -> list[tuple[type[MemoryStore], str]]:
    """Return each broken store with each test that must catch it."""
    return [(broken, name) for broken, names in CATCHES.items() for name in names]


async def run(made: Callable[[], MemoryStore], name: str) -> None:
    """Run one test of the suite on a store, as its plugin would."""
    store = made()
    await store.open()

    async def reopen() -> MemoryStore:
        other = store.reopen()
        await other.open()
        return other

    test: Callable[..., Awaitable[None]] = getattr(StoreConformance(), name)
    wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
    given = {"store": store, "reopen": reopen}
    await test(**{name: value for name, value in given.items() if name in wanted})


@pytest.mark.parametrize(("broken", "name"), caught(), ids=lambda value: getattr(value, "__name__", value))
async def test_a_broken_store_is_caught(broken: type[MemoryStore], name: str) -> None:
    """The named test fails on the broken store, by an assertion of its own."""
    with pytest.raises((AssertionError, ValueError)) as failure:
        await run(broken, name)
    assert "conformance" in str(failure.traceback[-1].path), "the suite itself must have noticed"


@pytest.mark.parametrize("name", sorted({name for _, name in caught()}))
async def test_what_catches_broken_stores_passes_on_a_whole_one(name: str) -> None:
    """The tests that catch broken stores pass on one that is not."""
    await run(MemoryStore, name)


def test_every_test_of_the_suite_says_what_it_proves() -> None:
    """Each has a sentence of its own, as the port's promises do."""
    tests = [getattr(StoreConformance, name) for name in dir(StoreConformance) if name.startswith("test_")]
    assert len(tests) > 80
    sentences = [(test.__doc__ or "").strip() for test in tests]
    assert all(sentence.endswith(".") for sentence in sentences)
