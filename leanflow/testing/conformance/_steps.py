"""What the port promises of creating and of steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import attrs

from leanflow._request import DataRequest, Failure, IdKind, Remedy, State
from leanflow.events import Page
from leanflow.ports import InboxEntry, Outcome, Step, Store
from leanflow.testing.conformance._samples import (
    ALL,
    ELSEWHERE,
    SCOPE,
    START,
    a_change,
    a_creation,
    a_request,
    a_step,
    a_wake,
    an_entry,
    at,
    end,
    park,
    stored,
)

__all__ = ["Creating", "Stepping"]

Reopen = Callable[[], Awaitable[Store]]


class Creating:
    """`Store.create`."""

    async def test_a_created_request_is_loaded_as_it_was_given(self, store: Store) -> None:
        """Every field of the record comes back, times to the microsecond."""
        request = await stored(
            store,
            customer_id="customer-1",
            params={"from": "2026-01-01"},
            reference="user-17",
            key="key-1",
            call_no=1,
            results_id="r-1",
            past_ids=("r-0",),
            failure=Failure(code="X", remedy=Remedy.user),
            expires_at=at(0.000001),
        )
        assert await store.load(SCOPE, request.id) == request

    async def test_creation_writes_its_history_row(self, store: Store) -> None:
        """The request is inserted with its history row of version 0."""
        request = a_request(1)
        creation = a_creation(request)
        await store.create(creation)
        assert list(await store.history(SCOPE, request.id)) == [creation.history]

    async def test_creation_makes_its_announcements(self, store: Store) -> None:
        """The request is inserted with its announcements."""
        await store.register(SCOPE, [ALL])
        request = a_request(1)
        await store.create(a_creation(request, announcements=(a_change(request),)))
        assert [row.key for row in await store.outbox(SCOPE)] == [a_change(request).key]

    async def test_the_same_key_returns_the_first_request(self, store: Store) -> None:
        """A request of the same scope with the same key is returned as it is, live."""
        first = await stored(store, 1, key="key-1")
        again = await store.create(a_creation(a_request(2, key="key-1")))
        assert (again.request, again.is_new) == (first, False)
        assert await store.load(SCOPE, a_request(2).id) is None

    async def test_the_same_key_returns_an_ended_request(self, store: Store) -> None:
        """A request with the same key is returned even when it has ended."""
        first = await stored(store, 1, key="key-1")
        await store.commit(end(first))
        again = await store.create(a_creation(a_request(2, key="key-1")))
        assert (again.request.id, again.request.state, again.is_new) == (first.id, State.fetched, False)

    async def test_a_live_twin_is_returned_as_it_is(self, store: Store) -> None:
        """A live request with the same fingerprint is returned instead of a second one."""
        first = await stored(store, 1, fingerprint="same")
        again = await store.create(a_creation(a_request(2, fingerprint="same")))
        assert (again.request, again.is_new) == (first, False)

    async def test_a_key_under_which_a_twin_was_returned_returns_it_for_ever(self, store: Store) -> None:
        """A request that was returned under a key is returned under it again, also when it has ended."""
        first = await stored(store, 1, fingerprint="same", key="key-1")
        twin = await store.create(a_creation(a_request(2, fingerprint="same", key="key-2")))
        assert (twin.request, twin.is_new, twin.by_key) == (first, False, False)
        await store.commit(end(first))
        again = await store.create(a_creation(a_request(3, fingerprint="same", key="key-2")))
        assert (again.request.id, again.is_new, again.by_key) == (first.id, False, True)

    async def test_the_key_of_an_erased_request_is_free(self, store: Store) -> None:
        """Deleting everything of a request deletes its keys too."""
        first = await stored(store, 1, key="key-1")
        assert await store.erase(SCOPE, first.id, now=START)
        assert (await store.create(a_creation(a_request(2, key="key-1")))).is_new

    async def test_an_ended_twin_is_no_twin(self, store: Store) -> None:
        """Only a live request with the same fingerprint is returned."""
        first = await stored(store, 1, fingerprint="same")
        await store.commit(end(first))
        assert (await store.create(a_creation(a_request(2, fingerprint="same")))).is_new

    async def test_the_key_is_looked_for_before_the_fingerprint(self, store: Store) -> None:
        """Key first, then fingerprint."""
        await stored(store, 1, fingerprint="same")
        keyed = await stored(store, 2, key="key-1")
        again = await store.create(a_creation(a_request(3, fingerprint="same", key="key-1")))
        assert again.request == keyed

    async def test_a_twin_of_another_scope_is_no_twin(self, store: Store) -> None:
        """What is confined to a scope never sees another's rows: neither by key nor by fingerprint."""
        await stored(store, 1, fingerprint="same", key="key-1")
        for number, scope in enumerate(ELSEWHERE, 2):
            created = await store.create(a_creation(a_request(number, scope=scope, fingerprint="same", key="key-1")))
            assert created.is_new

    async def test_a_renewal_names_its_successor(self, store: Store) -> None:
        """The predecessor's successor_id is set in the same commit, its version raised, with its history row."""
        old = await self._ended(store)
        renewal = an_entry(old, "renew-1", tag="renewed", version=2, event={"successor_id": a_request(2).id})
        created = await store.create(a_creation(a_request(2), renews=old.id, renewal=renewal))
        assert created.is_new
        loaded = await store.load(SCOPE, old.id)
        assert loaded is not None
        assert (loaded.successor_id, loaded.version, loaded.state) == (created.request.id, 2, State.fetched)
        assert list(await store.history(SCOPE, old.id))[-1] == renewal

    async def test_renewing_twice_gives_the_same_successor(self, store: Store) -> None:
        """A request that has a successor, live or ended, is renewed to that one."""
        old = await self._ended(store)
        first = await store.create(a_creation(a_request(2), renews=old.id))
        again = await store.create(a_creation(a_request(3), renews=old.id))
        assert (again.request, again.is_new) == (first.request, False)
        await store.commit(end(first.request, "end-2"))
        once_more = await store.create(a_creation(a_request(4), renews=old.id))
        assert (once_more.request.id, once_more.is_new) == (first.request.id, False)

    async def test_racing_creators_get_one_and_the_same_record(self, store: Store, reopen: Reopen) -> None:
        """Racing callers get one and the same record, and one of them is_new."""
        other = await reopen()
        creations = [a_creation(a_request(n, fingerprint="same", key="key-1")) for n in range(1, 31)]
        made = await asyncio.gather(*((store, other)[n % 2].create(c) for n, c in enumerate(creations)))
        assert sum(created.is_new for created in made) == 1
        assert len({created.request.id for created in made}) == 1

    @staticmethod
    async def _ended(store: Store) -> DataRequest:
        step = end(await stored(store, 1))
        await store.commit(step)
        assert step.after is not None
        return step.after


class Stepping:
    """`Store.commit`, and what is read of it."""

    async def test_a_committed_step_is_stored(self, store: Store, reopen: Reopen) -> None:
        """Everything of a step is there when `committed` is returned, for other handles too."""
        await store.register(SCOPE, [ALL])
        request = await stored(store)
        step = a_step(
            request,
            "event-1",
            changes={"state": State.reconnect_required, "reconnect_id": "c-1", "due_at": at(60)},
            ids=((IdKind.reconnect, "c-1"), (IdKind.results, "r-1")),
            pages=(Page(raw=b"\x00{}", number=0, correlation_id="corr", refreshed_at=START),),
            announcements=(a_change(request),),
            wakes=(a_wake("event-1"),),
        )
        done = await store.commit(step)
        assert (done.outcome, done.announced) == (Outcome.committed, 2)
        other = await reopen()
        assert await other.load(SCOPE, request.id) == step.after
        assert await other.seen(SCOPE, "event-1")
        assert list(await other.history(SCOPE, request.id))[1:] == [step.history]
        assert list(await other.owners(SCOPE, IdKind.reconnect, "c-1")) == [step.after]
        assert list(await other.owners(SCOPE, IdKind.results, "r-1")) == [step.after]
        assert list(await other.pages(SCOPE, request.id)) == list(step.pages)
        assert {row.sink for row in await other.outbox(SCOPE)} == {"all", "wake"}

    async def test_a_second_step_is_stored_after_the_first(self, store: Store) -> None:
        """Each step raises the version by one, and none is lost."""
        request = await stored(store)
        for number in range(1, 6):
            step = a_step(request, f"event-{number}", changes={"attempts": number})
            assert (await store.commit(step)).outcome is Outcome.committed
            loaded = await store.load(SCOPE, request.id)
            assert loaded == step.after
            assert loaded is not None
            request = loaded
        assert [entry.version for entry in await store.history(SCOPE, request.id)] == [0, 1, 2, 3, 4, 5]

    async def test_a_stale_commit_is_refused(self, store: Store) -> None:
        """A version that differs means `conflict`, and nothing is written."""
        request = await stored(store)
        first = a_step(request, "event-1")
        await store.commit(first)
        late = a_step(request, "event-2", changes={"attempts": 9}, wakes=(a_wake("x"),))
        assert (await store.commit(late)).outcome is Outcome.conflict
        assert await store.load(SCOPE, request.id) == first.after
        assert [entry.key for entry in await store.history(SCOPE, request.id)][1:] == ["event-1"]
        assert not await store.outbox(SCOPE)

    async def test_a_losers_event_can_be_decided_again(self, store: Store) -> None:
        """The inbox row of a step that did not win is never stored."""
        request = await stored(store)
        first = a_step(request, "event-1")
        await store.commit(first)
        assert (await store.commit(a_step(request, "event-2"))).outcome is Outcome.conflict
        assert not await store.seen(SCOPE, "event-2")
        assert first.after is not None
        assert (await store.commit(a_step(first.after, "event-2"))).outcome is Outcome.committed

    async def test_a_losers_parked_event_stays_parked(self, store: Store) -> None:
        """A step that did not win leaves the parked row that it was to turn into a seen one."""
        request = await stored(store)
        await store.commit(a_step(request, "event-1"))
        await park(store, "event-2")
        assert (await store.commit(a_step(request, "event-2"))).outcome is Outcome.conflict
        assert [event.key for event in await store.parked(SCOPE, IdKind.results, "r-1")] == ["event-2"]

    async def test_another_call_number_is_a_conflict(self, store: Store) -> None:
        """The call number is compared too: a claim since the load refuses the step."""
        request = await stored(store)
        await store.claim(SCOPE, owner="w", now=START, lease=90, limit=1)
        assert (await store.commit(a_step(request, "event-1"))).outcome is Outcome.conflict
        assert not await store.seen(SCOPE, "event-1")

    async def test_a_seen_event_is_a_duplicate(self, store: Store) -> None:
        """A key that was seen means `duplicate`, and nothing is written."""
        request = await stored(store)
        first = a_step(request, "event-1")
        await store.commit(first)
        assert await store.seen(SCOPE, "event-1")
        assert first.after is not None
        again = a_step(first.after, "event-1", changes={"attempts": 9}, wakes=(a_wake("x"),))
        assert (await store.commit(again)).outcome is Outcome.duplicate
        assert await store.load(SCOPE, request.id) == first.after
        assert not await store.outbox(SCOPE)

    async def test_the_inbox_is_looked_at_before_the_version(self, store: Store) -> None:
        """A seen event is a `duplicate` even when its version is stale."""
        request = await stored(store)
        await store.commit(a_step(request, "event-1"))
        assert (await store.commit(a_step(request, "event-1"))).outcome is Outcome.duplicate

    async def test_a_declined_step_is_recorded_and_raises_no_version(self, store: Store) -> None:
        """A step with `after=None` leaves the record but is in inbox and history."""
        request = await stored(store)
        step = a_step(request, "event-1", after=None)
        assert (await store.commit(step)).outcome is Outcome.committed
        assert await store.load(SCOPE, request.id) == request
        assert await store.seen(SCOPE, "event-1")
        assert list(await store.history(SCOPE, request.id))[-1] == step.history

    async def test_a_declined_step_compares_the_version_too(self, store: Store) -> None:
        """A declined step that met another version is a `conflict`."""
        request = await stored(store)
        await store.commit(a_step(request, "event-1"))
        assert (await store.commit(a_step(request, "event-2", after=None))).outcome is Outcome.conflict
        assert not await store.seen(SCOPE, "event-2")
        assert len(await store.history(SCOPE, request.id)) == 2

    async def test_a_step_on_a_request_that_is_not_there_is_a_conflict(self, store: Store) -> None:
        """A request that is gone without a tombstone means `conflict`."""
        assert (await store.commit(a_step(a_request(1), "event-1"))).outcome is Outcome.conflict
        assert not await store.seen(SCOPE, "event-1")

    async def test_a_step_of_another_scope_finds_no_request(self, store: Store) -> None:
        """What is confined to a scope never touches another's rows."""
        request = await stored(store)
        for scope in ELSEWHERE:
            step = attrs.evolve(a_step(request, "event-1"), scope=scope)
            assert (await store.commit(step)).outcome is Outcome.conflict
            assert await store.load(scope, request.id) is None
            assert not await store.history(scope, request.id)
            assert not await store.pages(scope, request.id)
        assert await store.load(SCOPE, request.id) == request

    async def test_an_inbox_key_is_confined_to_its_scope(self, store: Store) -> None:
        """The same key in two scopes is two events."""
        entry = InboxEntry(key="event-1", tag="other_webhook", at=START)
        for scope in (SCOPE, *ELSEWHERE):
            assert not await store.seen(scope, "event-1")
            assert (await store.commit(Step(scope=scope, inbox=entry))).outcome is Outcome.committed
            assert await store.seen(scope, "event-1")

    async def test_an_event_without_a_request_is_recorded_alone(self, store: Store) -> None:
        """A step without a request stores inbox row, wake rows and announcements, once."""
        entry = InboxEntry(key="event-1", tag="entity_updated", at=START)
        step = Step(scope=SCOPE, inbox=entry, wakes=(a_wake("event-1"),))
        done = await store.commit(step)
        assert (done.outcome, done.announced) == (Outcome.committed, 1)
        assert (await store.commit(step)).outcome is Outcome.duplicate
        assert [row.sink for row in await store.outbox(SCOPE)] == ["wake"]

    async def test_an_id_may_name_several_requests(self, store: Store) -> None:
        """Owners are all requests that an id names or named, as they are now; storing it again is no error."""
        first, second = await stored(store, 1), await stored(store, 2)
        for number, request in enumerate((first, second)):
            step = a_step(request, f"event-{number}", ids=((IdKind.results, "r-1"),))
            await store.commit(step)
            assert step.after is not None
            await store.commit(a_step(step.after, f"again-{number}", ids=((IdKind.results, "r-1"),)))
        now = [await store.load(SCOPE, request.id) for request in (first, second)]
        assert list(await store.owners(SCOPE, IdKind.results, "r-1")) == now
        assert not await store.owners(SCOPE, IdKind.reconnect, "r-1")
        assert not await store.owners(ELSEWHERE[0], IdKind.results, "r-1")

    async def test_ids_are_called_new_only_if_they_are(self, store: Store) -> None:
        """`ids_are_new` is never said of an id that names another request or that an event is parked under."""
        first, second, third = [await stored(store, number) for number in (1, 2, 3)]
        await park(store, "event-0", value="r-2")
        await store.commit(a_step(first, "event-1", ids=((IdKind.results, "r-1"),)))
        for request, key, value in ((second, "event-2", "r-1"), (third, "event-3", "r-2")):
            ids = ((IdKind.results, f"new-{value}"), (IdKind.results, value))
            assert not (await store.commit(a_step(request, key, ids=ids))).ids_are_new

    async def test_company_is_woken(self, store: Store) -> None:
        """A wake that may be left out for an entity's lone request is made when the entity has another live one."""
        request = await stored(store, 1, entity_id="e")
        await stored(store, 2, entity_id="e")
        wake = attrs.evolve(a_wake("event-1"), unless_alone="e")
        assert (await store.commit(a_step(request, "event-1", wakes=(wake,)))).announced == 1
        assert [row.key for row in await store.outbox(SCOPE)] == [wake.key]

    async def test_pages_are_stored_once(self, store: Store) -> None:
        """A page replaces nothing: the first of a number stays."""
        request = await stored(store)
        first = a_step(request, "event-1", pages=(Page(raw=b"first"), Page(raw=b"second", number=1)))
        await store.commit(first)
        assert first.after is not None
        await store.commit(a_step(first.after, "event-2", pages=(Page(raw=b"other"), Page(raw=b"third", number=2))))
        assert [page.raw for page in await store.pages(SCOPE, request.id)] == [b"first", b"second", b"third"]

    async def test_pages_are_read_by_number(self, store: Store) -> None:
        """Pages come by number, from the first that is asked for on, at most `limit`."""
        request = await stored(store)
        pages = tuple(Page(raw=str(n).encode(), number=n) for n in (2, 0, 3, 1))
        await store.commit(a_step(request, "event-1", pages=pages))
        assert [page.number for page in await store.pages(SCOPE, request.id, first=1, limit=2)] == [1, 2]

    async def test_racers_have_one_winner_per_version(self, store: Store, reopen: Reopen) -> None:
        """50 tasks race one request with 50 events: one winner per version, none lost, history complete."""
        other = await reopen()
        request = await stored(store)
        wins: list[int] = []

        async def racer(number: int) -> None:
            mine = (store, other)[number % 2]
            for _ in range(200):
                seen = await mine.load(SCOPE, request.id)
                assert seen is not None
                await asyncio.sleep(0)  # let the others load the same version
                done = await mine.commit(a_step(seen, f"event-{number}"))
                assert done.outcome in (Outcome.committed, Outcome.conflict)
                if done.outcome is Outcome.committed:
                    wins.append(seen.version + 1)
                    return

        await asyncio.gather(*(racer(number) for number in range(50)))
        assert sorted(wins) == list(range(1, 51))
        last = await store.load(SCOPE, request.id)
        assert last is not None
        assert last.version == 50
        history = await store.history(SCOPE, request.id)
        assert [entry.version for entry in history] == list(range(51))
        assert {entry.key for entry in history[1:]} == {f"event-{number}" for number in range(50)}
        assert all([await store.seen(SCOPE, f"event-{number}") for number in range(50)])

    async def test_copies_of_one_event_have_one_effect(self, store: Store, reopen: Reopen) -> None:
        """Of many concurrent copies of an event one is committed."""
        other = await reopen()
        request = await stored(store)
        copies = [(store, other)[n % 2].commit(a_step(request, "event-1")) for n in range(20)]
        outcomes = [done.outcome for done in await asyncio.gather(*copies)]
        assert outcomes.count(Outcome.committed) == 1
        assert set(outcomes) <= {Outcome.committed, Outcome.duplicate}

    async def test_a_loser_does_not_cost_the_others(self, store: Store) -> None:
        """Of steps committed together, those that lose leave those that win alone."""
        requests = [await stored(store, n) for n in range(1, 21)]
        for request in requests[::2]:
            await store.commit(a_step(request, f"first-{request.id}"))
        steps = [a_step(request, f"event-{request.id}") for request in requests]
        outcomes = [done.outcome for done in await asyncio.gather(*(store.commit(step) for step in steps))]
        assert outcomes == [Outcome.conflict, Outcome.committed] * 10
        for request, step in zip(requests[1::2], steps[1::2], strict=True):
            assert await store.load(SCOPE, request.id) == step.after

    async def test_cancelled_callers_leave_the_store_usable(self, store: Store) -> None:
        """A cancelled caller's step is stored whole or not at all, and its inbox key tells."""
        requests = [await stored(store, n) for n in range(1, 11)]
        for yields in range(6):
            steps = [a_step(request, f"event-{yields}-{request.id}") for request in requests]
            tasks = [asyncio.ensure_future(store.commit(step)) for step in steps]
            for _ in range(yields):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for index, step in enumerate(steps):
                # Whatever was cancelled is settled once a later step of that request was answered.
                await store.commit(a_step(requests[index], f"after-{step.inbox.key}"))
                loaded = await store.load(SCOPE, requests[index].id)
                assert loaded is not None
                is_stored = await store.seen(SCOPE, step.inbox.key)
                keys = [entry.key for entry in await store.history(SCOPE, loaded.id)]
                assert is_stored is (step.inbox.key in keys)
                assert loaded.version == requests[index].version + 1
                requests[index] = loaded
