"""Everything that a store on Postgres does, piece by piece, each with its name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import attrs

from leanflow._request import IdKind, State
from leanflow.events import Page
from leanflow.ports import Parking, Part, Query, Store
from leanflow.testing.conformance._samples import (
    ALL,
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
from leanflow_adapters._records import scope_number
from leanflow_adapters.postgres import _sql, _steps
from leanflow_adapters.postgres._connection import named
from leanflow_adapters.postgres._steps import CreationRow, StepRow
from tests.support.postgres_rows import COUNT, SCOPE, live_id

__all__ = ["Work", "everything", "the_first"]

LEASE = 60.0
OLD = START - timedelta(days=13)


@attrs.frozen
class Work:
    """Where it is done.

    Attributes:
        store: that has joined a transaction.
        connection: that is in it.
        schema: of the store.
    """

    store: Store
    connection: Any
    schema: str

    async def ask(self, sql: str, *arguments: Any) -> None:
        """Run a statement that a joined store has no use for."""
        await self.connection.fetch(named(sql, self.schema), *arguments)


async def everything(work: Work) -> AsyncIterator[str]:
    """Do all of it; each name is told before its piece is done."""
    for part in (_reading, _stepping, _claiming, _finding, _parking, _telling, _keeping, _ending):
        async for name in part(work):
            yield name


async def the_first(work: Work) -> AsyncIterator[str]:
    """Do what a new deployment does in its first minute, on tables that nobody has analysed."""
    store, live = work.store, frozenset(state for state in State if not state.is_end)
    yield "begin"
    await store.register(SCOPE, [ALL])
    for number in range(120):
        made = await stored(store, number, key=f"key {number}")
        await store.commit(a_step(made, f"e{number}", ids=((IdKind.results, f"r{number}"),)))
        await park(store, f"p{number}", value=f"nobody {number}")
    yield "make a request"
    made = await stored(store, 200, key="key 200", reference="r", customer_id="c")
    yield "commit a step"
    step = a_step(made, "e200", ids=((IdKind.results, "r200"),), announcements=(a_change(made),))
    assert (await store.commit(step)).outcome == "committed"
    yield "find"
    await store.load(SCOPE, made.id)
    await store.owners(SCOPE, IdKind.results, "r200")
    await store.parked(SCOPE, IdKind.results, "nobody 7")
    for query in (Query(entity_id="entity-200", states=live), Query(reference="r"), Query(customer_id="c")):
        assert len(await store.find(SCOPE, query)) == 1


async def _reading(work: Work) -> AsyncIterator[str]:
    store, some = work.store, live_id(1000)
    yield "load a request"
    assert await store.load(SCOPE, some)
    await work.ask(_sql.LOAD_MANY, [UUID(live_id(number)) for number in range(1, 65)])
    yield "its history"
    assert await store.history(SCOPE, some)
    yield "its pages"
    assert await store.pages(SCOPE, a_request(7).id)
    yield "whether an event was seen"
    assert await store.seen(SCOPE, f"event:{some}0")
    yield "whom an id names"
    assert await store.owners(SCOPE, IdKind.results, f"r-{some}")
    names = [f"r-{live_id(number)}" for number in range(1, 65)]
    await work.ask(_sql.OWNERS_MANY, [scope_number(SCOPE)] * 64, ["results"] * 64, names)
    yield "whether an id was buried"
    assert await store.buried(SCOPE, "gone", some)
    yield "a value kept under a name"
    await store.remember(SCOPE, "name", "value")
    await store.remember(SCOPE, "name")
    await store.tally(SCOPE, "count", add=1)
    yield "the database's time"
    await work.ask(_sql.NOW)
    await work.ask(_sql.MARK)
    await work.ask(_sql.UNDER_WAY, 1)


async def _stepping(work: Work) -> AsyncIterator[str]:
    store = work.store
    await store.register(SCOPE, [ALL])
    yield "make a request"
    made = a_request(COUNT + 1, key="new")
    made = (
        await store.create(a_creation(made, announcements=(a_change(made),), owner="o", lease_until=at(60)))
    ).request
    assert not (await store.create(a_creation(a_request(COUNT + 2, fingerprint=made.fingerprint)))).is_new
    assert (await store.create(a_creation(a_request(COUNT + 3, key="new")))).by_key
    rows = [CreationRow.of(a_creation(a_request(COUNT + 100 + n, key=f"many {n}"))) for n in range(64)]
    await work.ask(_steps.CREATE_MANY, *_steps.creation_columns(rows))
    yield "renew an ended one"
    before = a_request(9)
    created = await store.create(
        a_creation(a_request(COUNT + 4, predecessor_id=before.id, key="again"), renews=before.id,
            renewal=an_entry(before, "renewed"))
    )  # fmt: skip
    assert created.is_new
    again = a_creation(a_request(COUNT + 5, predecessor_id=before.id, key="and again"), renews=before.id)
    assert not (await store.create(again)).is_new
    yield "commit a step"
    ids = ((IdKind.results, "new results"), (IdKind.reconnect, "new results"))
    wake = attrs.evolve(a_wake("w"), unless_alone="entity-9500")
    step = a_step(made, "e1", ids=ids, announcements=(a_change(made),), wakes=(a_wake("v"), wake), release="o")
    assert (await store.commit(step)).outcome == "committed"
    assert step.after is not None
    page = Page(raw=b"x", number=0, correlation_id=None, refreshed_at=None)
    ended = end(step.after, "e2", pages=(page,), announcements=(a_change(step.after),))
    assert (await store.commit(ended)).outcome == "committed"
    assert (await store.commit(ended)).outcome == "duplicate"
    yield "commit a batch of steps"
    steps = [StepRow.of(a_step(a_request(COUNT - n, version=5, call_no=2), f"b{n}")) for n in range(64)]
    await work.ask(_steps.COMMIT, False, *_steps.columns(steps))  # noqa: FBT003 - one array each


async def _claiming(work: Work) -> AsyncIterator[str]:
    store = work.store
    yield "claim what is due"
    claimed = await store.claim(SCOPE, owner="o", now=START, lease=LEASE, limit=20)
    assert len(claimed) == 20
    yield "prolong a lease, and end it"
    assert await store.renew(SCOPE, claimed[-1].request.id, owner="o", now=START, lease=LEASE)
    await store.release(SCOPE, claimed[-1].request.id, owner="o")  # the others stand before it
    yield "when the next thing is due"
    assert await store.next_due(SCOPE)


async def _finding(work: Work) -> AsyncIterator[str]:
    live = frozenset(state for state in State if not state.is_end)
    queries = {
        "an entity's live requests": Query(entity_id="entity-9500", states=live),
        "an entity's requests": Query(entity_id="entity-9500"),
        "a customer's requests": Query(customer_id="customer-4900"),
        "requests by reference": Query(reference="reference-9500"),
        "requests by failure": Query(failure="CODE_10"),
        "requests that a bank holds": Query(held="DISABLED_BY_LEAN", states=frozenset({State.requested})),
        "live requests in a state": Query(states=frozenset({State.awaiting_user})),
        "all requests, page by page": Query(after=a_request(COUNT // 2).id),
    }
    for name, query in queries.items():
        yield f"find {name}"
        await work.store.find(SCOPE, query)


async def _parking(work: Work) -> AsyncIterator[str]:
    store = work.store
    yield "park an event"
    assert (await park(store, "p1")).outcome == "committed"
    early = await store.load(SCOPE, live_id(800))
    assert early is not None
    parking = Parking(request_id=early.id, expires_at=at(99))
    step = a_step(early, "p2", after=None, inbox={"parking": parking, "raw": b"x"})
    assert (await store.commit(step)).outcome == "committed"
    yield "events parked under an id, or a request"
    assert await store.parked(SCOPE, IdKind.results, "r-1")
    assert await store.early(SCOPE, early.id)
    yield "parked events that are due"
    assert await store.parked_due(SCOPE, now=START, limit=100)
    yield "put a parked event off, or give it up"
    await store.repark(SCOPE, "p1", due_at=at(9))
    assert await store.orphan(SCOPE, "p1", (attrs.evolve(a_change(early), request_id=None, kind="report"),))


async def _telling(work: Work) -> AsyncIterator[str]:
    store = work.store
    yield "claim announcements"
    rows = await store.claim_outbox(SCOPE, sinks=["all"], owner="o", now=START, lease=LEASE, limit=100)
    assert len(rows) == 100
    yield "take away what was delivered"
    await store.delivered(SCOPE, [(row.key, row.sink) for row in rows[10:]])
    assert await store.confirm(SCOPE, rows[0].key, "all")
    await work.ask(_sql.DELIVER, False, scope_number(SCOPE), [rows[5].key], ["all"])  # noqa: FBT003
    yield "count a failed delivery, set aside, bring back"
    await store.undelivered(SCOPE, rows[1].key, "all", due_at=at(9), error="x", set_aside=False)
    await store.undelivered(SCOPE, rows[2].key, "all", due_at=at(9), error="x", set_aside=True)
    assert await store.redeliver(SCOPE, rows[2].key, "all", now=START)
    yield "undelivered announcements, oldest first"
    await store.outbox(SCOPE)
    await store.outbox(SCOPE, set_aside=True)
    await store.outbox(SCOPE, set_aside=False)
    yield "forget a sink, slice by slice"
    await work.ask(_sql.UNREGISTER, scope_number(SCOPE), "all", 500)


async def _keeping(work: Work) -> AsyncIterator[str]:
    store = work.store
    yield "purge the oldest"
    assert await store.purge(SCOPE, older_than=OLD, states=None, now=START, limit=50) == 50
    yield "purge their pages"
    assert len(await store.purge_pages(SCOPE, older_than=START, after=a_request(5000).id, limit=100)) == 100
    yield "prune when nothing is old"
    assert await store.prune(SCOPE, before=START - timedelta(days=99)) == 0
    yield "erase a request"
    assert await store.erase(SCOPE, live_id(700), now=START)
    await store.bury(SCOPE, "entity", "e", now=START)
    yield "go through bodies, to encrypt them anew"
    middle = a_request(9000).id
    for part, place in (
        (Part.pages, (middle, "000000")),
        (Part.parked, (f"parked:{middle}", "")),
        (Part.announcements, (f"told:{middle}", "all")),
    ):
        [body, *_] = await store.bodies(SCOPE, part, limit=100)
        assert len(await store.bodies(SCOPE, part, after=place, limit=100)) == 100
        assert await store.rewrite(SCOPE, [(body, b"[]")]) == 1
        assert await store.rewrite(SCOPE, [(body, b"[]")]) == 0  # looked at alone: somebody may have had it locked


async def _ending(work: Work) -> AsyncIterator[str]:
    yield "prune what is old"
    await work.ask(_sql.PRUNE_INBOX, scope_number(SCOPE), OLD, 500)
    await work.ask(_sql.PRUNE_STONES, scope_number(SCOPE), OLD, 500)
    yield "count everything"
    await work.store.counts(SCOPE)
    await work.store.lag(SCOPE)
