"""What the port promises of finding, claiming and leases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from typing import ClassVar

import attrs
import pytest

from leanflow._request import Failure, Resource, State
from leanflow.errors import StoreUnavailable
from leanflow.ports import Outcome, Query, Store
from leanflow.testing.conformance._samples import (
    ALL,
    ELSEWHERE,
    SCOPE,
    START,
    a_change,
    a_creation,
    a_request,
    a_step,
    at,
    end,
    park,
    stored,
)

__all__ = ["Claiming", "Finding"]

Reopen = Callable[[], Awaitable[Store]]


class _Newer(StrEnum):
    """Words that stand for those of a version to come."""

    paused = "paused"
    pensions = "pensions"

    @property
    def is_end(self) -> bool:
        return False


class Finding:
    """`Store.find` and `Store.counts`."""

    async def test_find_gives_what_is_asked_for(self, store: Store) -> None:
        """Each term of a query confines what is found, alone and together."""
        named = {"entity_id": "e", "customer_id": "c", "reference": "r", "held": "H"}
        chosen = await stored(store, 2, resource=Resource.balances, **named)
        failed = await stored(store, 3, entity_id="e", created_at=at(10))
        await stored(store, 4)
        await store.commit(end(failed, state=State.failed, changes={"failure": Failure(code="GONE"), "entity_id": "e"}))
        asked = (
            Query(customer_id="c"),
            Query(reference="r"),
            Query(held="H"),
            Query(resource=Resource.balances),
        )
        for query in asked:
            assert [r.id for r in await store.find(SCOPE, query)] == [chosen.id]
        assert [r.id for r in await store.find(SCOPE, Query(entity_id="e"))] == [chosen.id, failed.id]
        assert [r.id for r in await store.find(SCOPE, Query(failure="GONE"))] == [failed.id]
        assert [r.id for r in await store.find(SCOPE, Query(states=frozenset({State.failed})))] == [failed.id]
        assert [r.id for r in await store.find(SCOPE, Query(entity_id="e", older_than=at(5)))] == [chosen.id]
        assert not await store.find(SCOPE, Query(entity_id="e", reference="other"))

    async def test_find_goes_in_the_order_of_ids_and_by_key(self, store: Store) -> None:
        """What is found comes in the order of ids, at most `limit`, after the id given."""
        for number in (3, 1, 4, 2):
            await stored(store, number)
        ids = [a_request(number).id for number in range(1, 5)]
        assert [r.id for r in await store.find(SCOPE, Query())] == ids
        assert [r.id for r in await store.find(SCOPE, Query(limit=2))] == ids[:2]
        assert [r.id for r in await store.find(SCOPE, Query(limit=2, after=ids[1]))] == ids[2:]

    async def test_find_sees_its_scope_alone(self, store: Store) -> None:
        """What is confined to a scope never sees another's rows."""
        await stored(store)
        assert len(await store.find(SCOPE, Query())) == 1
        for scope in ELSEWHERE:
            assert not await store.find(scope, Query())
            assert not any((await store.counts(scope)).values())

    async def test_find_sees_what_a_claim_wrote(self, store: Store) -> None:
        """The records found are as stored, call number included."""
        await stored(store)
        await store.claim(SCOPE, owner="w", now=START, lease=90, limit=1)
        assert [r.call_no for r in await store.find(SCOPE, Query())] == [1]

    async def test_counts_tell_how_many_are_in_each_state(self, store: Store) -> None:
        """Each state's number is that of the requests in it."""
        requests = [await stored(store, number) for number in range(1, 6)]
        await store.commit(end(requests[0], "end-1"))
        await store.commit(end(requests[1], "end-2", State.cancelled))
        counts = {state: n for state, n in (await store.counts(SCOPE)).items() if n}
        assert counts == {"requested": 3, "fetched": 1, "cancelled": 1}


class Claiming:
    """Claims, leases and due times. Those that name a moment need a store that goes by the `now` it is given."""

    durable: ClassVar[bool] = True
    has_clock: ClassVar[bool] = False

    @pytest.fixture
    def given_time(self) -> None:
        """Skip where the store goes by its own clock: these moments are not its."""
        if self.has_clock:
            pytest.skip("has_clock = True")

    async def test_a_claim_raises_the_call_number(self, store: Store, reopen: Reopen) -> None:
        """A claim raises `call_no` and writes owner and lease, durably."""
        request = await stored(store)
        (claimed,) = await store.claim(SCOPE, owner="w", now=START, lease=90, limit=10)
        assert claimed.request == attrs.evolve(request, call_no=1)
        if await store.now() is None:
            assert (claimed.now, claimed.lease_until) == (START, at(90))
        assert not claimed.taken_over
        assert await (await reopen()).load(SCOPE, request.id) == claimed.request

    @pytest.mark.usefixtures("given_time")
    async def test_what_is_not_due_is_not_claimed(self, store: Store) -> None:
        """Due is what has its due time at or before now; one without a due time never is."""
        await stored(store, 1, due_at=at(10))
        await stored(store, 2, due_at=None)
        assert not await store.claim(SCOPE, owner="w", now=at(9.999999), lease=90, limit=10)
        assert len(await store.claim(SCOPE, owner="w", now=at(10), lease=90, limit=10)) == 1

    async def test_the_longest_due_is_claimed_first(self, store: Store) -> None:
        """Due requests come the longest due first, at most `limit`."""
        for number, seconds in ((1, 5), (2, 3), (3, 4)):
            await stored(store, number, due_at=at(seconds))
        first = await store.claim(SCOPE, owner="w", now=at(10), lease=90, limit=2)
        assert [c.request.id for c in first] == [a_request(2).id, a_request(3).id]
        rest = await store.claim(SCOPE, owner="w", now=at(10), lease=90, limit=2)
        assert [c.request.id for c in rest] == [a_request(1).id]

    async def test_no_two_claimers_hold_one_lease(self, store: Store, reopen: Reopen) -> None:
        """Of racing claimers each request goes to one."""
        other = await reopen()
        for number in range(1, 21):
            await stored(store, number)
        claims = [(store, other)[n % 2].claim(SCOPE, owner=f"w{n}", now=START, lease=90, limit=7) for n in range(10)]
        ids = [claimed.request.id for batch in await asyncio.gather(*claims) for claimed in batch]
        assert len(ids) == 20
        assert len(set(ids)) == 20

    @pytest.mark.usefixtures("given_time")
    async def test_a_running_lease_keeps_others_out(self, store: Store) -> None:
        """What is under a lease is not claimed; when the lease has run out it is taken over."""
        await stored(store)
        assert await store.claim(SCOPE, owner="a", now=START, lease=90, limit=1)
        assert not await store.claim(SCOPE, owner="b", now=at(89), lease=90, limit=1)
        (claimed,) = await store.claim(SCOPE, owner="b", now=at(90), lease=90, limit=1)
        assert claimed.taken_over
        assert claimed.request.call_no == 2

    async def test_what_a_newer_version_made_is_left_to_it(self, store: Store) -> None:
        """A claim passes over states and resources that this version does not know, to what is due behind them."""
        for number in range(1, 6):
            paused = await stored(store, number, due_at=at(1))
            await store.commit(a_step(paused, f"event-{number}", changes={"state": _Newer.paused, "due_at": at(1)}))
            with suppress(StoreUnavailable):  # nor need it be told what it has made
                await stored(store, number + 10, resource=_Newer.pensions, due_at=at(2))
        own = [await stored(store, number, due_at=at(number)) for number in (21, 22)]
        for request in own:
            (claimed,) = await store.claim(SCOPE, owner="w", now=at(30), lease=90, limit=1)
            assert claimed.request.id == request.id
        assert not await store.claim(SCOPE, owner="w", now=at(30), lease=90, limit=20)

    @pytest.mark.usefixtures("given_time")
    async def test_a_request_may_be_created_under_a_lease(self, store: Store) -> None:
        """A creation with an owner is claimed by it, so that no worker takes it as well."""
        request = a_request(1, call_no=1)
        await store.create(a_creation(request, owner="a", lease_until=at(90)))
        assert not await store.claim(SCOPE, owner="b", now=at(1), lease=90, limit=1)
        (claimed,) = await store.claim(SCOPE, owner="b", now=at(91), lease=90, limit=1)
        assert (claimed.request.call_no, claimed.taken_over) == (2, True)

    async def test_claims_are_confined_to_their_scope(self, store: Store) -> None:
        """What is confined to a scope never touches another's rows."""
        await stored(store)
        for scope in ELSEWHERE:
            assert not await store.claim(scope, owner="w", now=START, lease=90, limit=1)
            assert await store.next_due(scope) is None
        assert await store.claim(SCOPE, owner="w", now=START, lease=90, limit=1)

    @pytest.mark.usefixtures("given_time")
    async def test_a_lease_is_renewed_by_its_owner_alone(self, store: Store) -> None:
        """`renew` prolongs a lease; False if it is no longer this owner's."""
        request = await stored(store)
        await store.claim(SCOPE, owner="a", now=START, lease=90, limit=1)
        assert await store.renew(SCOPE, request.id, owner="a", now=at(60), lease=90)
        assert not await store.claim(SCOPE, owner="b", now=at(149), lease=90, limit=1)
        assert not await store.renew(SCOPE, request.id, owner="b", now=at(60), lease=900)
        assert await store.claim(SCOPE, owner="b", now=at(150), lease=90, limit=1)
        assert not await store.renew(SCOPE, request.id, owner="a", now=at(151), lease=90)

    @pytest.mark.usefixtures("given_time")
    async def test_a_late_renewal_shortens_no_lease(self, store: Store) -> None:
        """`renew` with a time of long ago leaves a lease as long as it is."""
        request = await stored(store)
        [_] = await store.claim(SCOPE, owner="a", now=at(500), lease=90, limit=1)
        assert await store.renew(SCOPE, request.id, owner="a", now=at(60), lease=90)
        assert not await store.claim(SCOPE, owner="b", now=at(589), lease=90, limit=1)
        assert await store.claim(SCOPE, owner="b", now=at(590), lease=90, limit=1)

    async def test_a_lease_is_released_by_its_owner_alone(self, store: Store) -> None:
        """`release` ends a lease without a step; nothing happens if it is another owner's."""
        request = await stored(store)
        await store.claim(SCOPE, owner="a", now=START, lease=90, limit=1)
        await store.release(SCOPE, request.id, owner="b")
        assert not await store.claim(SCOPE, owner="b", now=at(1), lease=90, limit=1)
        await store.release(SCOPE, request.id, owner="a")
        (claimed,) = await store.claim(SCOPE, owner="b", now=at(1), lease=90, limit=1)
        assert not claimed.taken_over

    async def test_a_step_ends_the_lease_that_it_names(self, store: Store) -> None:
        """The lease of `release` ends with the step, declined ones included; another's stays."""
        await stored(store)
        (claimed,) = await store.claim(SCOPE, owner="a", now=START, lease=90, limit=1)
        request = claimed.request
        other = a_step(request, "event-1", release="b")
        await store.commit(other)
        assert not await store.claim(SCOPE, owner="c", now=at(1), lease=90, limit=1)
        assert other.after is not None
        declined = a_step(other.after, "event-2", after=None, release="a")
        assert (await store.commit(declined)).outcome is Outcome.committed
        (claimed,) = await store.claim(SCOPE, owner="c", now=at(1), lease=90, limit=1)
        await store.commit(a_step(claimed.request, "event-3", release="c"))
        assert await store.claim(SCOPE, owner="d", now=at(1), lease=90, limit=1)

    async def test_a_step_without_release_leaves_the_lease(self, store: Store) -> None:
        """An event that comes while a call runs does not free the request."""
        await stored(store)
        (claimed,) = await store.claim(SCOPE, owner="a", now=START, lease=90, limit=1)
        await store.commit(a_step(claimed.request, "event-1", changes={"due_at": at(1)}))
        assert not await store.claim(SCOPE, owner="b", now=at(2), lease=90, limit=1)

    @pytest.mark.usefixtures("given_time")
    async def test_a_step_sets_the_due_time(self, store: Store) -> None:
        """What a step makes due is due then, and an end is never."""
        request = await stored(store)
        step = a_step(request, "event-1", changes={"due_at": at(50)})
        await store.commit(step)
        assert await store.next_due(SCOPE) == at(50)
        assert not await store.claim(SCOPE, owner="w", now=at(49), lease=90, limit=1)
        assert step.after is not None
        await store.commit(end(step.after))
        assert await store.next_due(SCOPE) is None
        assert not await store.claim(SCOPE, owner="w", now=at(10_000), lease=90, limit=1)

    @pytest.mark.usefixtures("given_time")
    async def test_next_due_is_the_least_of_all_due_times(self, store: Store) -> None:
        """Requests, the ends of leases, parked events and outbox rows are all looked at."""
        assert await store.next_due(SCOPE) is None
        request = await stored(store, 1, due_at=at(40))
        assert await store.next_due(SCOPE) == at(40)
        await park(store, "event-1", due_at=at(30))
        assert await store.next_due(SCOPE) == at(30)
        await store.repark(SCOPE, "event-1", due_at=at(1000))
        await store.claim(SCOPE, owner="w", now=at(40), lease=90, limit=1)
        assert await store.next_due(SCOPE) == at(130)
        await store.register(SCOPE, [ALL])
        other = await stored(store, 2, due_at=None)
        await store.commit(a_step(other, "event-2", announcements=(a_change(other),), inbox={"at": at(20)}))
        assert await store.next_due(SCOPE) == at(20)
        await store.claim_outbox(SCOPE, sinks=["all"], owner="w", now=at(20), lease=60, limit=5)
        assert await store.next_due(SCOPE) == at(80)
        assert request.due_at == at(40)
