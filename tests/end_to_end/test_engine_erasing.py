"""The right to be forgotten: what `erase` deletes and counts, what still comes, and what an interruption leaves."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leanflow import LeanFlow, State
from leanflow._erasing import mentions
from leanflow.errors import InvalidRequest, RequestNotFound, ResultsPurged, StoreUnavailable
from leanflow.ports import Erased
from leanflow.testing import FakeClock, travel
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import StoreMaker, deliver, dump, engine, recorder
from tests.support.lean import Lean, webhook
from tests.support.stores import unsteady

DAY = timedelta(days=1)


def about(entity_id: str, customer_id: str, number: int) -> list[bytes]:
    """Return webhooks that name an entity and a customer, and no request."""
    named = {"entity_id": entity_id, "customer_id": customer_id}
    entity = {"id": entity_id, "customer_id": customer_id}
    return [
        webhook("entity.created", entity, event_id=f"{number}-1"),
        webhook("entity.updated", entity, event_id=f"{number}-2"),
        webhook("payment.created", named, event_id=f"{number}-3"),
        webhook("results.ready", {"id": f"?{number}", **named}, event_id=f"{number}-4"),
    ]


async def test_the_report_counts_what_was_deleted(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Requests, live ones cancelled first, history, pages, inbox, parked webhooks, announcements, webhooks."""
    store, heard = make(), recorder()
    async with engine(store, lean, clock, handlers=heard.handlers) as flows:
        lean.pages = 2
        await flows.request("accounts", entity_id="secret-entity")
        lean.will("secret-entity", "reconnect")
        live = await flows.request("identity", entity_id="secret-entity")
        await deliver(flows, *about("secret-entity", "secret-customer", 1), *about("other", "else", 2))
        erased = await flows.erase(entity_id="secret-entity")
        # two creations, two answers, one cancellation; their announcements; a wake for entity.updated
        assert erased == Erased(
            requests=2, cancelled=1, history=5, pages=2, inbox=3, parked=1, announcements=6, webhooks=4
        )
        with pytest.raises(RequestNotFound):
            await flows.get(live.id)
        left = dump(store)
        for trace in ("secret-entity", "secret-customer", live.id, live.results_id or ""):
            assert trace not in left
        await travel(flows, clock, timedelta(seconds=9))
        assert {json.loads(event.raw)["payload"].get("customer_id") for event in heard.webhooks} == {"else"}
        assert len(heard.webhooks) == 4
        assert heard.changes == []


async def test_a_customer_takes_their_entities_along(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Requests by the customer's id, those of the same entities without it, and what names either; nobody else's."""
    store, heard = make(), recorder()
    async with engine(store, lean, clock, handlers=heard.handlers) as flows:
        await flows.request("accounts", entity_id="first", customer_id="person")
        await flows.request("identity", entity_id="first")
        await flows.request("accounts", entity_id="second", customer_id="person")
        other = await flows.request("accounts", entity_id="third", customer_id="other")
        await deliver(flows, webhook("entity.updated", {"id": "first"}, event_id="1"))
        await deliver(flows, webhook("payment.created", {"customer": {"id": "person"}}, event_id="2"))
        erased = await flows.erase(customer_id="person")
        assert (erased.requests, erased.cancelled, erased.webhooks) == (3, 0, 2)
        assert [request.id async for request in flows.find()] == [other.id]
        for trace in ('"first"', '"second"', '"person"'):
            assert trace not in dump(store)
        assert await flows.erase(customer_id="person") == Erased()


async def test_what_an_application_calls_its_requests_names_nobody_else(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """Its reference and its words may be the same text as somebody's id at Lean: what is told of it stays."""
    heard = recorder()
    async with engine(make(), lean, clock, handlers=heard.handlers) as flows:
        words = {"customer_id": "user-17", "note": "user-17"}
        await flows.request("accounts", entity_id="e", customer_id="c", reference="user-17", metadata=words)
        told = await flows.undelivered()
        assert told
        assert await flows.erase(customer_id="user-17") == Erased()
        assert await flows.undelivered() == told
        await flows.tick()
        assert [change.to_state for change in heard.changes] == [State.requested, State.fetched]


async def test_what_names_the_forgotten_is_counted_and_not_stored(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """Any webhook about an erased entity or customer is answered 200, counted, announced to nobody, not stored."""
    store, heard = make(), recorder()
    async with engine(store, lean, clock, handlers=heard.handlers) as flows:
        await flows.request("accounts", entity_id="secret-entity", customer_id="secret-customer")
        await flows.erase(customer_id="secret-customer")
        late = [
            *about("secret-entity", "secret-customer", 1),
            webhook("entity.created", {"id": "unknown", "customer_id": "secret-customer"}, event_id="5"),
            webhook("entity.reconnected", {"id": "secret-entity", "reconnect_id": "?"}, event_id="6"),
        ]
        assert [reply.status for reply in await deliver(flows, *late)] == [200] * 6
        assert (await flows.health()).dropped == 6
        await deliver(flows, *about("other", "else", 2))
        await travel(flows, clock, 2 * DAY)
        assert len(heard.webhooks) == 4
        assert (await flows.health()).dropped == 6
        assert "secret" not in dump(store)


async def test_who_comes_back_is_heard_again(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A bank connected after the erasing, and a request made since, end the silence; what is older stays unheard."""
    heard = recorder()
    async with engine(make(), lean, clock, handlers=heard.handlers) as flows:
        await flows.request("accounts", entity_id="e", customer_id="person")
        clock.advance(DAY)
        await flows.erase(customer_id="person")
        old, new = clock.now() - DAY, clock.now() + timedelta(minutes=1)
        for entity_id, at in (("x", old), ("y", None), ("z", new)):
            made = {"id": entity_id, "customer_id": "person"}
            await deliver(flows, webhook("entity.created", made, at=at, event_id=f"created-{entity_id}"))
        await flows.tick()
        assert [event.entity_id for event in heard.webhooks] == ["z"]
        clock.advance(DAY)
        await deliver(flows, webhook("entity.updated", {"id": "z", "customer_id": "person"}, event_id="1"))
        await flows.tick()
        assert len(heard.webhooks) == 1
        await flows.request("accounts", entity_id="z", customer_id="person")
        await deliver(flows, webhook("entity.updated", {"id": "z", "customer_id": "person"}, event_id="2"))
        await flows.tick()
        assert [event.event_id for event in heard.webhooks] == ["created-z", "2"]
        await deliver(flows, webhook("entity.updated", {"id": "e", "customer_id": "person"}, event_id="3"))
        assert (await flows.health()).dropped == 4


async def test_a_webhook_taken_in_while_its_entity_is_erased_is_taken_back(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """Whoever commits last sees the other: the one who heard it looks for tombstones again after its own commit."""
    store, heard = unsteady(make()), recorder()
    async with engine(store, lean, clock, handlers=heard.handlers) as flows, engine(make(), lean, clock, seed=1) as o:

        async def erase(name: str) -> None:
            if name == "commit":
                store.before = None
                await o.erase(entity_id="secret-entity")

        for number, raw in enumerate(about("secret-entity", "secret-customer", 1)):
            store.before = erase
            await o.request("accounts", entity_id="secret-entity", key=f"{number}")
            assert [reply.status for reply in await deliver(flows, raw)] == [200]
            assert "secret" not in dump(o.store)
        await travel(flows, clock, timedelta(minutes=1))
        assert heard.webhooks == []


async def test_a_request_of_a_clock_that_is_ahead_brings_nobody_back(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """By its id it was made after the erasing that deletes it: what was taken in on its account is deleted as well."""
    store, ahead = unsteady(make()), FakeClock(clock.now() + timedelta(seconds=1))
    async with engine(store, lean, clock) as flows, engine(make(), lean, ahead, seed=1) as other:
        heard = recorder()
        async with engine(make(), lean, ahead, seed=2, handlers=heard.handlers):  # so that there is whom to tell
            await other.request("accounts", entity_id="secret-entity")

        async def hear(name: str) -> None:
            if name == "erase":
                store.before = None
                await deliver(other, *about("secret-entity", "secret-customer", 1))

        store.before = hear
        erased = await flows.erase(entity_id="secret-entity")
        assert (erased.requests, erased.parked, erased.webhooks) == (1, 1, 4)
        assert "secret" not in dump(other.store)


async def test_an_answer_for_the_erased_is_counted(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A call under way when its request is erased, by this process or another, brings an answer that is not stored."""
    async with engine(make(), lean, clock) as flows, engine(make(), lean, clock, seed=1) as other:
        for number, eraser in enumerate((flows, other)):

            async def erase(_call: object, eraser: LeanFlow = eraser) -> None:
                assert (await eraser.erase(entity_id="e")).cancelled == 1

            lean.before = erase
            made = await flows.request("accounts", entity_id="e", key=f"{number}")
            with pytest.raises(RequestNotFound):
                await flows.get(made.id)
            assert (await flows.health()).dropped == number + 1
        assert sum((await flows.counts()).values()) == 0


async def test_whoever_waits_hears_of_the_end(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Erasing cancels first: nobody waits for ever for a request that is gone."""
    lean.will("e", "pending")
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        waiting = asyncio.ensure_future(flows.wait(request.id))
        for _ in range(20):
            await asyncio.sleep(0)
        await flows.erase(entity_id="e")
        with suppress(RequestNotFound):  # it was told, and looked after the deletion
            assert (await waiting).state is State.cancelled


async def test_an_interrupted_erasing_is_finished_by_the_next(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Cut off after any number of its calls to the store, the same call again deletes all that was left."""
    for cut in range(60):
        inner = make()
        store = unsteady(inner)
        async with engine(store, lean, clock, seed=cut, handlers=recorder().handlers) as flows:
            await flows.request("accounts", entity_id="first", customer_id="person")
            clock.advance(timedelta(seconds=1))  # ids are in the order of time
            lean.will("first", "reconnect")
            await flows.request("identity", entity_id="first")
            await flows.request("accounts", entity_id="second", customer_id="person")
            await deliver(flows, webhook("entity.updated", {"id": "first"}, event_id=f"{cut}"))
            calls: list[str] = []

            def count(name: str, calls: list[str] = calls, cut: int = cut, store: Any = store) -> None:
                calls.append(name)
                store.down = len(calls) > cut

            store.before = count
            try:
                await flows.erase(customer_id="person")
            except StoreUnavailable:
                done = False
            else:
                done = True
            store.before, store.down = None, False
            await flows.erase(customer_id="person")
            for trace in ('"first"', '"second"', '"person"'):
                assert trace not in dump(inner), f"cut off after {cut} calls: {calls}"
            if done:
                assert cut > 15
                return
            clock.advance(DAY)
    pytest.fail("it never came to its end")


async def test_what_was_purged_but_not_delivered_is_erased_too(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A purge leaves announcements to be delivered; an erasing of the entity still finds them."""
    async with engine(make(), lean, clock, handlers=recorder().handlers) as flows:
        await flows.request("accounts", entity_id="e")
        clock.advance(2 * DAY)
        assert await flows.purge(older_than=DAY) == 1
        assert [json.loads(row.payload)["request"]["entity_id"] for row in await flows.undelivered()] == ["e", "e"]
        assert await flows.erase(entity_id="e") == Erased(announcements=2)
        assert await flows.undelivered() == ()


@pytest.mark.parametrize("named", [{}, {"entity_id": "e", "customer_id": "c"}, {"entity_id": ""}])
async def test_one_of_entity_and_customer_is_named(
    make: StoreMaker, clock: FakeClock, lean: Lean, named: dict[str, str]
) -> None:
    """Neither, both, or an empty id: refused, and nothing is deleted."""
    async with engine(make(), lean, clock) as flows:
        await flows.request("accounts", entity_id="e")
        with pytest.raises(InvalidRequest, match="entity_id"):
            await flows.erase(**named)
        assert len([r async for r in flows.find()]) == 1


def bytes_in(directory: Path) -> bytes:
    """Return what all files of a directory hold."""
    return b"".join(path.read_bytes() for path in directory.iterdir())


async def test_nothing_erased_is_left_in_the_file(tmp_path: Path, clock: FakeClock, lean: Lean) -> None:
    """Deleted rows are overwritten: once the store is closed, no byte of an erased body, id or name is in the file."""
    path = tmp_path / "flows.db"
    async with engine(SQLiteStore(path), lean, clock, handlers=recorder().handlers) as flows:
        for number in range(30):
            await flows.request("accounts", entity_id="secret-entity", reference=f"secret-{number}", key=f"{number}")
            clock.advance(DAY)
            await flows.tick()
        await deliver(flows, *about("secret-entity", "secret-customer", 1))
        await flows.request("accounts", entity_id="other")
    assert b"secret" in bytes_in(tmp_path)
    async with engine(SQLiteStore(path), lean, clock) as flows:
        assert (await flows.erase(entity_id="secret-entity")).requests == 30
    assert b"secret" not in bytes_in(tmp_path)


# --- results alone -----------------------------------------------------------------------------------------------


async def test_results_are_purged_and_the_request_stays(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Old results go, young ones stay; record, history and search are as before; reading the old ones says why not."""
    async with engine(make(), lean, clock) as flows:
        old = [await flows.request("accounts", entity_id=f"o{n}") for n in range(30)]
        clock.advance(2 * DAY)
        young = await flows.request("accounts", entity_id="y")
        history = await flows.history(old[0].id)
        assert (await flows.results(old[0].id)).items
        assert await flows.purge_results(older_than=DAY) == 30
        assert await flows.purge_results(older_than=clock.now() - DAY) == 0
        assert await flows.get(old[0].id) == old[0]
        assert await flows.history(old[0].id) == history
        assert (await flows.results(young.id)).items
        with pytest.raises(ResultsPurged, match=old[0].id):
            await flows.results(old[0].id)
        with pytest.raises(ResultsPurged):
            [page async for page in flows.pages(old[1].id)]
        with pytest.raises(InvalidRequest, match="time zone"):
            await flows.purge_results(older_than=clock.now().replace(tzinfo=None))
        assert (await flows.counts())[State.fetched] == 31


# --- what names whom ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"payload": {"id": "e-1"}}, True),
        ({"payload": [{"deep": [{"er": "e-1"}]}]}, True),
        ({"raw": json.dumps({"payload": {"entity_id": "e-1"}}), "at": None}, True),
        ({"raw": "{not JSON e-1"}, False),
        ({"payload": {"id": "e-12", "e-1": 1}}, False),
        ([], False),
    ],
)
def test_a_body_mentions_whole_texts_alone(body: Any, found: bool) -> None:
    """An id counts where it stands as a value of its own, however deep, and in a webhook within an announcement."""
    assert mentions(json.dumps(body).encode(), frozenset({"e-1"})) is found


def test_spelling_hides_nobody() -> None:
    """An id that JSON spells with escapes is found; what is no JSON is searched as it is."""
    assert mentions(b'{"id": "\\u0065-1"}', frozenset({"e-1"}))
    assert mentions(b"\xff e-1", frozenset({"e-1"}))
    assert not mentions(b"\xff", frozenset({"e-1"}))


def test_reports_add_up() -> None:
    """Sums are by field."""
    assert Erased(requests=1, pages=2) + Erased(pages=3, webhooks=4) == Erased(requests=1, pages=5, webhooks=4)
