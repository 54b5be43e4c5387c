"""What the port promises of parked events and announcements."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import attrs

from leanflow._request import DataRequest, IdKind, State
from leanflow.ports import WAKE, Announcement, InboxEntry, OutboxRow, Outcome, Parking, Sink, Step, Store
from leanflow.testing.conformance._samples import (
    ALL,
    ELSEWHERE,
    SCOPE,
    START,
    a_change,
    a_step,
    a_wake,
    at,
    park,
    stored,
)

__all__ = ["Parked", "Telling"]

Reopen = Callable[[], Awaitable[Store]]


def keys(rows: Sequence[OutboxRow]) -> list[str]:
    """Return the keys of rows."""
    return [row.key for row in rows]


class Parked:
    """Parked events."""

    async def test_a_parked_event_is_found_under_its_id(self, store: Store, reopen: Reopen) -> None:
        """Events parked under an id are returned oldest first, as they came, to every handle."""
        await park(store, "event-2", at=at(2), raw=b"\x00two")
        await park(store, "event-1", at=at(1))
        await park(store, "event-3", value="r-2")
        first, second = await (await reopen()).parked(SCOPE, IdKind.results, "r-1")
        assert (first.key, second.key) == ("event-1", "event-2")
        assert (second.at, second.raw, second.tries, second.tag) == (at(2), b"\x00two", 0, "results_ready")
        assert second.parking == Parking(kind=IdKind.results, value="r-1", due_at=at(1), expires_at=at(86_400))
        assert not await store.parked(SCOPE, IdKind.reconnect, "r-1")
        assert not await store.parked(ELSEWHERE[0], IdKind.results, "r-1")

    async def test_a_parked_event_is_not_seen(self, store: Store) -> None:
        """A parked row does not count as seen: the same event may come again, and is parked anew."""
        assert (await park(store, "event-1")).outcome is Outcome.committed
        assert not await store.seen(SCOPE, "event-1")
        assert (await park(store, "event-1", due_at=at(7))).outcome is Outcome.committed
        (event,) = await store.parked(SCOPE, IdKind.results, "r-1")
        assert (event.at, event.parking.due_at) == (START, at(7))

    async def test_a_step_turns_a_parked_event_into_a_seen_one(self, store: Store) -> None:
        """An ordinary step takes the event out of parking and into the inbox."""
        request = await stored(store)
        await park(store, "event-1")
        assert await store.parked(SCOPE, IdKind.results, "r-1")
        assert (await store.commit(a_step(request, "event-1"))).outcome is Outcome.committed
        assert not await store.parked(SCOPE, IdKind.results, "r-1")
        assert await store.seen(SCOPE, "event-1")

    async def test_an_event_without_a_request_leaves_its_parking(self, store: Store) -> None:
        """A step without a request turns the parked row into a seen one as well."""
        await park(store, "event-1")
        assert await store.parked(SCOPE, IdKind.results, "r-1")
        entry = InboxEntry(key="event-1", tag="results_ready", at=at(2))
        assert (await store.commit(Step(scope=SCOPE, inbox=entry))).outcome is Outcome.committed
        assert not await store.parked(SCOPE, IdKind.results, "r-1")
        assert await store.seen(SCOPE, "event-1")

    async def test_a_seen_event_is_not_parked_again(self, store: Store) -> None:
        """Parking an event that was seen is a `duplicate`."""
        request = await stored(store)
        await store.commit(a_step(request, "event-1"))
        assert (await park(store, "event-1")).outcome is Outcome.duplicate
        assert not await store.parked(SCOPE, IdKind.results, "r-1")

    async def test_an_early_event_is_parked_under_its_request(self, store: Store) -> None:
        """An early event waits under its request, its history row written; it moves there from under its id."""
        request = await stored(store)
        await park(store, "event-1")
        parking = Parking(request_id=request.id, expires_at=at(60))
        step = a_step(request, "event-1", after=None, inbox={"parking": parking, "raw": b"raw", "at": at(5)})
        assert (await store.commit(step)).outcome is Outcome.committed
        assert not await store.parked(SCOPE, IdKind.results, "r-1")
        (event,) = await store.early(SCOPE, request.id)
        assert (event.key, event.parking, event.at) == ("event-1", parking, START)
        assert len(await store.history(SCOPE, request.id)) == 2
        assert (await store.commit(a_step(request, "event-1"))).outcome is Outcome.committed
        assert not await store.early(SCOPE, request.id)

    async def test_parked_events_are_due_or_past_their_life(self, store: Store) -> None:
        """What is due and what is past its life is returned, oldest first, at most `limit`."""
        request = await stored(store)
        await park(store, "later", due_at=at(50), at=at(3))
        await park(store, "old", due_at=at(9), at=at(1))
        await park(store, "early", request_id=request.id, expires_at=at(9), at=at(2))
        assert not await store.parked_due(SCOPE, now=at(8), limit=10)
        assert [e.key for e in await store.parked_due(SCOPE, now=at(9), limit=10)] == ["old", "early"]
        assert [e.key for e in await store.parked_due(SCOPE, now=at(50), limit=2)] == ["old", "early"]
        assert not await store.parked_due(ELSEWHERE[0], now=at(50), limit=10)

    async def test_reparking_counts_a_try(self, store: Store) -> None:
        """`repark` counts one more try and sets when the next is due."""
        await park(store, "event-1", due_at=at(1))
        await store.repark(SCOPE, "event-1", due_at=at(5))
        assert not await store.parked_due(SCOPE, now=at(4), limit=1)
        (event,) = await store.parked_due(SCOPE, now=at(5), limit=1)
        assert (event.tries, event.parking.due_at) == (1, at(5))

    async def test_an_orphan_is_seen_and_announced_once(self, store: Store) -> None:
        """`orphan` turns a parked event into a seen one and announces it; False if it is not parked."""
        await store.register(SCOPE, [ALL])
        await park(store, "event-1")
        report = Announcement(key="orphan:event-1", kind="report", topic="orphan", payload="{}")
        assert await store.orphan(SCOPE, "event-1", (report,))
        assert await store.seen(SCOPE, "event-1")
        assert not await store.parked(SCOPE, IdKind.results, "r-1")
        assert not await store.orphan(SCOPE, "event-1", (report,))
        assert keys(await store.outbox(SCOPE)) == ["orphan:event-1"]


class Telling:
    """Sinks and the outbox."""

    async def test_each_sink_gets_what_it_wants(self, store: Store) -> None:
        """One row is made for each sink that wants an announcement."""
        sinks = [
            Sink(name="some", states=frozenset({"fetched"})),
            Sink(name="balances", resources=frozenset({"balances"})),
            Sink(name="hooks", webhooks=frozenset({"entity.created"})),
            ALL,
        ]
        await store.register(SCOPE, sinks)
        request = await stored(store)
        fetched = a_change(request, topic="fetched")
        hook = Announcement(key="webhook:e", kind="webhook", topic="entity.created", payload="{}")
        done = await store.commit(a_step(request, "event-1", announcements=(fetched, hook)))
        assert done.announced == 3
        rows = {(row.sink, row.key, row.request_id) for row in await store.outbox(SCOPE)}
        assert rows == {
            ("some", fetched.key, request.id),
            ("all", fetched.key, request.id),
            ("hooks", "webhook:e", None),
        }

    async def test_registering_again_replaces_the_filter(self, store: Store, reopen: Reopen) -> None:
        """The same name again replaces its filter, for the commits of every process."""
        other = await reopen()
        await store.register(SCOPE, [Sink(name="one", states=frozenset({"fetched"}))])
        request = await stored(store)
        step = a_step(request, "event-1", announcements=(a_change(request),))
        assert (await other.commit(step)).announced == 0
        await store.register(SCOPE, [Sink(name="one")])
        assert step.after is not None
        assert (await other.commit(a_step(step.after, "event-2", announcements=(a_change(step.after),)))).announced == 1
        assert [row.sink for row in await store.outbox(SCOPE)] == ["one"]

    async def test_an_unregistered_sink_is_forgotten(self, store: Store, reopen: Reopen) -> None:
        """Its undelivered rows go with it, however many, and commits of every process make none for it any more."""
        other = await reopen()
        await store.register(SCOPE, [Sink(name="other")])
        told = await self._told(store, 1, 101)
        assert len(await store.outbox(SCOPE, limit=1000)) == 2 * len(told)
        assert await store.unregister(SCOPE, "all") == len(told)
        assert {row.sink for row in await store.outbox(SCOPE, limit=1000)} == {"other"}
        request = await stored(store, 2)
        assert (await other.commit(a_step(request, "event-1", announcements=(a_change(request),)))).announced == 1
        assert "all" not in await store.lag(SCOPE)
        assert told[0] in keys(await self._claim(store, sinks=("other",)))

    async def test_unregistering_says_whether_there_was_such_a_sink(self, store: Store) -> None:
        """Nothing was known of it: None. Registered without rows: 0. Another scope's is another."""
        await store.register(SCOPE, [ALL])
        await store.register(ELSEWHERE[0], [ALL])
        assert await store.unregister(SCOPE, "nobody") is None
        assert await store.unregister(SCOPE, "all") == 0
        assert await store.unregister(SCOPE, "all") is None
        assert "all" in await store.lag(ELSEWHERE[0])

    async def test_sinks_are_confined_to_their_scope(self, store: Store) -> None:
        """A sink of another scope is not told, and does not claim."""
        await store.register(ELSEWHERE[0], [ALL])
        request = await stored(store)
        assert (await store.commit(a_step(request, "event-1", announcements=(a_change(request),)))).announced == 0
        await store.register(SCOPE, [ALL])
        other = await stored(store, 2)
        await store.commit(a_step(other, "event-2", announcements=(a_change(other),)))
        assert len(await store.outbox(SCOPE)) == 1
        assert not await self._claim(store, scope=ELSEWHERE[0])
        assert not await store.outbox(ELSEWHERE[0])
        assert await self._claim(store)

    async def test_only_the_oldest_of_a_request_is_offered(self, store: Store) -> None:
        """Of each request and sink only the oldest undelivered row is offered; the next once that is delivered."""
        first, second = await self._told(store, 1, 3), await self._told(store, 2, 1)
        assert keys(await self._claim(store)) == [first[0], second[0]]
        assert not await self._claim(store)
        await store.delivered(SCOPE, [(first[0], "all")])
        assert keys(await self._claim(store)) == [first[1]]

    async def test_a_row_is_offered_again_when_its_lease_ends(self, store: Store) -> None:
        """A row under a lease is not offered; afterwards it is."""
        (key,) = await self._told(store, 1, 1)
        assert keys(await self._claim(store)) == [key]
        assert not await self._claim(store, seconds=69)
        assert keys(await self._claim(store, seconds=70)) == [key]

    async def test_no_two_relays_hold_one_row(self, store: Store, reopen: Reopen) -> None:
        """Of racing relays each row goes to one."""
        other = await reopen()
        for number in range(1, 13):
            await self._told(store, number, 1)
        claims = [self._claim((store, other)[n % 2], limit=4) for n in range(6)]
        claimed = [key for rows in await asyncio.gather(*claims) for key in keys(rows)]
        assert len(claimed) == len(set(claimed)) == 12

    async def test_claims_are_oldest_first_and_limited(self, store: Store) -> None:
        """Rows come oldest first, at most `limit`."""
        wanted = [(await self._told(store, number, 1))[0] for number in (2, 3, 1)]
        assert keys(await self._claim(store, limit=2)) == wanted[:2]
        assert keys(await self._claim(store, limit=2)) == wanted[2:]

    async def test_rows_without_a_request_have_no_order(self, store: Store) -> None:
        """Webhooks and wake rows are offered side by side."""
        for number in range(3):
            entry = InboxEntry(key=f"event-{number}", tag="entity_updated", at=START)
            await store.commit(Step(scope=SCOPE, inbox=entry, wakes=(a_wake(f"event-{number}"),)))
        rows = await self._claim(store, sinks=(WAKE,))
        assert [(row.kind, row.request_id) for row in rows] == [(WAKE, None)] * 3

    async def test_only_the_sinks_named_are_claimed(self, store: Store) -> None:
        """A relay gets rows of the sinks it serves, and no others."""
        await store.register(SCOPE, [Sink(name="other")])
        await self._told(store, 1, 1)
        assert [row.sink for row in await self._claim(store, sinks=("other",))] == ["other"]
        assert [row.sink for row in await self._claim(store)] == ["all"]
        assert not await self._claim(store, sinks=())

    async def test_delivery_is_remembered_per_sink(self, store: Store) -> None:
        """Only the row of the sink that confirmed goes away; no other row is touched."""
        await store.register(SCOPE, [Sink(name="other")])
        (key,) = await self._told(store, 1, 1)
        assert {row.sink for row in await store.outbox(SCOPE)} == {"all", "other"}
        await store.delivered(SCOPE, [(key, "all")])
        assert [(row.key, row.sink) for row in await store.outbox(SCOPE)] == [(key, "other")]
        await store.delivered(SCOPE, [(key, "nobody"), ("nothing", "other")])
        assert [(row.key, row.sink) for row in await store.outbox(SCOPE)] == [(key, "other")]

    async def test_a_failed_delivery_is_due_again_later(self, store: Store) -> None:
        """`undelivered` counts a try, ends the lease and sets when the next is due; the ones behind wait."""
        first, _ = await self._told(store, 1, 2)
        await self._claim(store)
        await store.undelivered(SCOPE, first, "all", due_at=at(30), error="OSError", set_aside=False)
        assert not await self._claim(store, seconds=29)
        (row,) = await self._claim(store, seconds=30)
        assert (row.key, row.tries, row.error, row.set_aside, row.skipped) == (first, 1, "OSError", False, False)

    async def test_an_outage_counts_no_try(self, store: Store) -> None:
        """`undelivered` that does not count leaves the tries as they are; all else is as for one that does."""
        first, _ = await self._told(store, 1, 2)
        await self._claim(store)
        await store.undelivered(SCOPE, first, "all", due_at=at(10), error="OSError", set_aside=False)
        await self._claim(store, seconds=10)
        await store.undelivered(
            SCOPE, first, "all", due_at=at(30), error="BusUnavailable", set_aside=False, counts=False
        )
        assert not await self._claim(store, seconds=29)
        (row,) = await self._claim(store, seconds=30)
        assert (row.key, row.tries, row.error, row.set_aside) == (first, 1, "BusUnavailable", False)

    async def test_what_is_set_aside_holds_up_nobody(self, store: Store) -> None:
        """A row that was set aside is not offered; the ones behind it go on, flagged."""
        first, second, third = await self._told(store, 1, 3)
        await self._claim(store)
        await store.undelivered(SCOPE, first, "all", due_at=at(30), error="OSError", set_aside=True)
        (row,) = await self._claim(store, seconds=60)
        assert (row.key, row.skipped) == (second, True)
        await store.delivered(SCOPE, [(second, "all")])
        assert [(r.key, r.skipped) for r in await self._claim(store)] == [(third, True)]
        assert keys(await store.outbox(SCOPE, set_aside=True)) == [first]
        assert keys(await store.outbox(SCOPE, set_aside=False)) == [third]

    async def test_redelivery_brings_a_row_back(self, store: Store) -> None:
        """`redeliver` brings a row that was set aside back, due now, tries 0; False if there is none."""
        first, second = await self._told(store, 1, 2)
        assert not await store.redeliver(SCOPE, first, "all", now=at(50))
        await self._claim(store)
        await store.undelivered(SCOPE, first, "all", due_at=at(30), error="OSError", set_aside=True)
        assert not await store.redeliver(ELSEWHERE[0], first, "all", now=at(50))
        assert await store.redeliver(SCOPE, first, "all", now=at(50))
        (row,) = await self._claim(store, seconds=50)
        assert (row.key, row.tries, row.set_aside) == (first, 0, False)
        await store.delivered(SCOPE, [(first, "all")])
        assert [(r.key, r.skipped) for r in await self._claim(store, seconds=50)] == [(second, False)]

    async def test_an_announcement_is_made_once_per_sink(self, store: Store) -> None:
        """The same key is not announced twice to a sink."""
        await store.register(SCOPE, [ALL])
        first, second = await stored(store, 1), await stored(store, 2)
        told = a_change(first)
        assert (await store.commit(a_step(first, "event-1", announcements=(told,)))).announced == 1
        assert (await store.commit(a_step(second, "event-2", announcements=(told,)))).announced == 0
        assert keys(await store.outbox(SCOPE)) == [told.key]

    async def test_confirm_removes_one_row_once(self, store: Store) -> None:
        """`confirm` removes one outbox row: True if it was there."""
        await store.register(SCOPE, [Sink(name="other")])
        first, second = await self._told(store, 1, 2)
        assert not await store.confirm(ELSEWHERE[0], first, "all")
        assert await store.confirm(SCOPE, first, "all")
        assert not await store.confirm(SCOPE, first, "all")
        assert keys(await self._claim(store)) == [second]
        assert len(await store.outbox(SCOPE)) == 3

    async def test_lag_tells_of_each_sink(self, store: Store) -> None:
        """For each sink: rows waiting, rows set aside, since when the oldest waiting one is there, put off or not."""
        first, second = await self._told(store, 1, 2)
        await self._claim(store)
        await store.undelivered(SCOPE, first, "all", due_at=at(30), error="OSError", set_aside=True)
        await store.undelivered(SCOPE, second, "all", due_at=at(30), error="OSError", set_aside=False)
        assert (await store.lag(SCOPE))["all"] == (1, 1, START)
        await store.delivered(SCOPE, [(second, "all")])
        assert (await store.lag(SCOPE))["all"] == (0, 1, None)
        assert "all" not in await store.lag(ELSEWHERE[0])

    @staticmethod
    async def _told(store: Store, number: int, times: int) -> list[str]:
        """Announce a request's changes to the sink ``all``; return their keys."""
        await store.register(SCOPE, [ALL])
        request: DataRequest = await stored(store, number)
        made = []
        for time in range(times):
            state = (State.reconnect_required, State.awaiting_user)[time % 2]
            after = attrs.evolve(request, version=request.version + 1, state=state)
            told = a_change(after)
            step = a_step(request, f"told-{number}-{time}", after=after, announcements=(told,), inbox={"at": START})
            assert (await store.commit(step)).outcome is Outcome.committed
            made.append(told.key)
            request = after
        return made

    @staticmethod
    async def _claim(
        store: Store, *, seconds: float = 10, limit: int = 10, sinks: Sequence[str] = ("all",), scope: object = SCOPE
    ) -> Sequence[OutboxRow]:
        assert isinstance(scope, type(SCOPE))
        return await store.claim_outbox(scope, sinks=sinks, owner="w", now=at(seconds), lease=60, limit=limit)
