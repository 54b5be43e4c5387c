"""The Redis store by itself: what it keeps and how it leaves, what it hears, what it refuses to be told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from leanflow import Change, Handlers, LeanFlow, Policy, State
from leanflow._request import IdKind
from leanflow.errors import InvalidRequest, StoreUnavailable
from leanflow.events import Page
from leanflow.ports import Outcome, Query, Step
from leanflow.testing.conformance._samples import (
    ALL,
    ELSEWHERE,
    SCOPE,
    START,
    a_change,
    a_creation,
    a_request,
    a_step,
    an_entry,
    at,
    end,
    park,
    stored,
)
from leanflow_adapters.redis import RedisStore
from leanflow_adapters.redis._rows import base_of
from tests.support.lean import Refusing
from tests.support.redis import URL, do, empty, fresh_prefix, opened

PATIENCE = 60.0  # seconds


@pytest.fixture
def prefix() -> Iterator[str]:
    """Give a prefix whose keys are gone afterwards."""
    name = asyncio.run(fresh_prefix())
    yield name
    asyncio.run(empty(name))


async def _keys(prefix: str) -> set[str]:
    found = await do("KEYS", f"{{{prefix}:*")
    return {key.decode().rpartition("}:")[2] for key in found}


async def test_all_keys_of_a_scope_are_in_one_slot(prefix: str) -> None:
    """Everything begins with one hash tag; another scope has another, and another prefix is another store."""
    async with opened(URL, prefix) as store, opened(URL, prefix + "-too") as other:
        await stored(store)
        await stored(store, 2, scope=ELSEWHERE[0])
        tags = {key.partition(b"}")[0] for key in await do("KEYS", f"*{prefix}*")}
        assert tags == {base_of(prefix, scope)[:-2] for scope in (SCOPE, ELSEWHERE[0])}
        assert await other.load(SCOPE, a_request(1).id) is None


async def test_the_erased_leave_nothing_behind(prefix: str) -> None:
    """Of requests that had something of everything only counters, tombstones and what was told remain."""
    async with opened(URL, prefix) as store:
        await store.register(SCOPE, [ALL])
        for number in range(1, 4):
            named = {"key": f"key-{number}", "reference": "r", "customer_id": "c", "held": "H"}
            request = await stored(store, number, **named)
            await park(store, f"late-{number}", value=f"r-{number}")
            ids, pages = ((IdKind.results, f"r-{number}"),), (Page(raw=b"page"),)
            step = end(request, f"end-{number}", ids=ids, pages=pages, announcements=(a_change(request),))
            assert (await store.commit(step)).outcome is Outcome.committed
        assert len(await _keys(prefix)) > 20
        rows = await store.claim_outbox(SCOPE, sinks=["all"], owner="r", now=at(9), lease=60, limit=2)
        await store.delivered(SCOPE, [(row.key, row.sink) for row in rows])
        assert await store.purge(SCOPE, older_than=at(10), states=None, now=at(20), limit=2) == 2
        assert await store.erase(SCOPE, a_request(3).id, now=at(20))
        assert await _keys(prefix) == {"scope", "sinks", "counts", "number", "stones"}
        assert await store.prune(SCOPE, before=at(99)) == 6


async def test_what_has_ended_is_not_in_the_sweep(prefix: str) -> None:
    """The index of what is due holds what waits and nothing else."""
    async with opened(URL, prefix) as store:
        requests = [await stored(store, number, due_at=at(9)) for number in range(1, 6)]
        for request in requests[1:]:
            await store.commit(end(request, f"end-{request.id}"))
        assert await do("ZRANGE", base_of(prefix, SCOPE) + b"due", 0, -1) == [requests[0].id.encode()]


async def test_text_of_any_kind_is_kept_as_it_is(prefix: str) -> None:
    """NUL and half a surrogate pair, which only an attacker sends, fail nothing and are found again."""
    odd = "a\0b \ud800 {x} مرحبا"
    async with opened(URL, prefix) as store:
        await store.register(SCOPE, [ALL])
        request = await stored(store, reference=odd, entity_id=odd, key=odd)
        assert [one.id for one in await store.find(SCOPE, Query(reference=odd, entity_id=odd))] == [request.id]
        told = a_change(request, key=odd, payload='"\\ud800"')
        step = a_step(request, odd, ids=((IdKind.results, odd),), announcements=(told,))
        assert (await store.commit(step)).outcome is Outcome.committed
        assert await store.seen(SCOPE, odd)
        assert [one.id for one in await store.owners(SCOPE, IdKind.results, odd)] == [request.id]
        assert [row.key for row in await store.outbox(SCOPE)] == [odd]
        assert (await store.create(a_creation(a_request(2, key=odd)))).by_key
        assert await store.erase(SCOPE, request.id, now=at(1))
        assert await store.buried(SCOPE, IdKind.results, odd) == at(1)


async def test_finding_goes_through_slices(prefix: str) -> None:
    """More than one script's slice of requests is looked through, in the order of ids, to the last one."""
    async with opened(URL, prefix) as store:
        made = [store.create(a_creation(a_request(n, customer_id=f"c-{n % 2}"))) for n in range(1, 602)]
        await asyncio.gather(*made)
        even = [a_request(n).id for n in range(2, 602, 2)]
        found = await store.find(SCOPE, Query(states=frozenset({State.requested}), older_than=at(1), limit=5000))
        assert len(found) == 601
        found = await store.find(SCOPE, Query(customer_id="c-0", limit=5000))
        assert [one.id for one in found] == even
        last = await store.find(SCOPE, Query(states=frozenset(State), after=even[-3], limit=3))
        assert [one.id for one in last] == [a_request(n).id for n in (597, 598, 599)]


async def test_renewals_and_steps_at_once_lose_nothing(prefix: str) -> None:
    """Of racing renewals all get one successor, named once, while the predecessor's history goes on."""
    async with opened(URL, prefix) as store:
        ended = end(await stored(store, 1))
        await store.commit(ended)
        assert ended.after is not None
        old = ended.after

        async def note(number: int) -> Outcome:
            while True:
                seen = await store.load(SCOPE, old.id)
                assert seen is not None
                done = await store.commit(a_step(seen, f"late-{number}", after=None))
                if done.outcome is not Outcome.conflict:
                    return done.outcome

        renewal = an_entry(old, "renew", tag="renewed")
        renewals = [store.create(a_creation(a_request(n), renews=old.id, renewal=renewal)) for n in range(2, 12)]
        made, noted = await asyncio.gather(asyncio.gather(*renewals), asyncio.gather(*map(note, range(10))))
        assert {one.request.id for one in made} == {made[0].request.id}
        assert set(noted) == {Outcome.committed}
        now = await store.load(SCOPE, old.id)
        assert now is not None
        assert (now.successor_id, now.version) == (made[0].request.id, old.version + 1)
        entries = [entry for entry in await store.history(SCOPE, old.id) if entry.tag == "renewed"]
        assert [entry.event["successor_id"] for entry in entries] == [now.successor_id]


async def test_what_is_set_aside_and_brought_back_keeps_its_place(prefix: str) -> None:
    """A row that comes back goes before those that came after it, and behind those before it."""
    async with opened(URL, prefix) as store:
        await store.register(SCOPE, [ALL])
        request, keys = await stored(store), []
        for number in range(4):
            step = a_step(request, f"event-{number}", announcements=(a_change(request),), inbox={"at": START})
            await store.commit(step)
            keys.append(a_change(request).key)
            assert step.after is not None
            request = step.after

        async def offered() -> list[str]:
            rows = await store.claim_outbox(SCOPE, sinks=["all"], owner="r", now=at(9), lease=-1.0, limit=9)
            return [row.key for row in rows]

        for key in keys[:2]:
            assert await offered() == [key]
            await store.undelivered(SCOPE, key, "all", due_at=START, error="X", set_aside=True)
        assert await offered() == [keys[2]]
        for key in (keys[1], keys[0]):
            assert await store.redeliver(SCOPE, key, "all", now=START)
            assert await offered() == [key]
        assert await store.confirm(SCOPE, keys[2], "all")
        for key in (keys[0], keys[1], keys[3]):
            assert await offered() == [key]
            await store.delivered(SCOPE, [(key, "all")])
        assert await offered() == []


async def test_closing_lets_everything_under_way_finish(prefix: str) -> None:
    """Searches and deletions, which go alone, are answered as steps are; cancelled callers do not keep it open."""
    async with opened(URL, prefix) as store:
        request = await stored(store)
        work = [
            asyncio.ensure_future(store.find(SCOPE, Query())),
            asyncio.ensure_future(store.erase(SCOPE, request.id, now=at(1))),
            asyncio.ensure_future(store.history(SCOPE, request.id)),
        ]
        await asyncio.sleep(0)
        work[2].cancel()
        await store.aclose()
        found, erased = await asyncio.gather(*work[:2])
        assert [found, erased] != [None, None]
        await store.open()
        assert await store.load(SCOPE, request.id) is None


async def test_another_process_hears_at_once(prefix: str) -> None:
    """What one engine commits, the handlers and waiters of another hear of without polling."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    handlers = Handlers()

    @handlers.on(State.failed, name="listener")
    async def came(change: Change, _flows: LeanFlow) -> None:
        heard.put_nowait(change.request.id)

    common: Any = {"webhook_secrets": ["s"], "policy": Policy(poll=timedelta(hours=1)), "app": "app"}
    web = LeanFlow(store=RedisStore(URL, prefix=prefix), transport=Refusing(), workers=0, **common)
    worker = LeanFlow(store=RedisStore(URL, prefix=prefix), transport=Refusing(), handlers=handlers, **common)
    async with worker, web, asyncio.timeout(PATIENCE):
        channel = base_of(prefix, worker.scope) + b"hints"
        while (await do("PUBSUB", "NUMSUB", channel))[1] < 2:
            pass  # connections to listen on are made beside
        request = await web.request("accounts", entity_id="e")
        waiting = asyncio.create_task(worker.wait(request.id))
        assert await heard.get() == request.id
        assert (await waiting).state is State.failed


async def test_without_hints_nothing_is_published(prefix: str) -> None:
    """`hints=False`: there is nothing to hear, and steps are committed all the same."""
    async with opened(URL, prefix, hints=False) as store:
        assert await store.hear(SCOPE, lambda _: None) is None
        entry = a_step(await stored(store), "event-1")
        assert (await store.commit(entry)).outcome is Outcome.committed
        assert (await store.commit(Step(scope=SCOPE, inbox=entry.inbox))).outcome is Outcome.duplicate


async def test_a_password_is_shown_nowhere() -> None:
    """Neither in a repr nor in an error, wherever it was given."""
    for store in (RedisStore("redis://u:hunter2@127.0.0.1:1/0"), RedisStore("redis://127.0.0.1:1", password="hunter2")):
        with pytest.raises(StoreUnavailable) as caught:
            await store.open()
        assert "hunter2" not in f"{store!r} {caught.value!r} {caught.value}"


def test_arguments_are_checked() -> None:
    """What is wrong is named."""
    for settings, name in (
        ({"prefix": "a{b"}, "prefix"),
        ({"clock": "mine"}, "clock"),
        ({"writers": 0}, "writers"),
        ({"writers": 10, "pool_size": 10}, "writers"),
    ):
        with pytest.raises(InvalidRequest, match=name):
            RedisStore(URL, **settings)
    with pytest.raises(InvalidRequest, match="url"):
        RedisStore("http://127.0.0.1")
