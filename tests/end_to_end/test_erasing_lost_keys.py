"""Erasing where a key is lost: what nobody can decrypt stops nothing, goes with its request, or is counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from leanflow import State
from leanflow._erasing import mentions
from leanflow._request import Scope
from leanflow.errors import InvalidRequest, KeyMissing
from leanflow.ports import Erased, Part, Reencrypted
from leanflow.testing import FakeClock
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import StoreMaker, deliver, engine, recorder
from tests.support.lean import Lean, answer, webhook
from tests.support.stores import fresh_store

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SCOPE = Scope(app="app", environment="sandbox", region="uae")
PERSON = frozenset({"person", "theirs"})


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreMaker]:
    """Give what makes handles on one fresh store without encryption."""
    with fresh_store(request.param, tmp_path) as make:
        yield make


def name_of(key: str) -> str:
    """Return what stands for a key."""
    return EncryptedStore(MemoryStore(), keys=[key]).newest


def lean_of(clock: FakeClock) -> Lean:
    """Return a Lean that gives a person's second request the id of a webhook that came before."""
    lean = Lean(clock)
    items = {"accounts": [{"account_id": "a"}], "page": {"number": 0, "total_pages": 1}}
    lean.will("person", answer({"status": "OK", "results_id": "r-1", "data": items}))
    lean.will("person", answer({"status": "PENDING", "results_id": "r-9"}))
    return lean


async def fill(plain: StoreMaker, lean: Lean, clock: FakeClock) -> None:
    """Store a result, two parked webhooks and four that wait for their handler, under the old key."""
    async with engine(EncryptedStore(plain(), keys=[OLD]), lean, clock, handlers=recorder().handlers) as flows:
        await flows.request("accounts", entity_id="person")
        clock.advance(timedelta(seconds=1))
        await deliver(
            flows,
            webhook("results.ready", {"id": "r-9"}, event_id="1"),
            webhook("results.ready", {"id": "r-unknown", "entity_id": "person"}, event_id="2"),
            webhook("entity.created", {"id": "person"}, event_id="3"),
            webhook("entity.created", {"id": "somebody else"}, event_id="4"),
        )


async def test_a_person_is_erased_though_the_key_is_lost(plain: StoreMaker, lean: Lean, clock: FakeClock) -> None:
    """Requests go with what lies under their ids, readable or not; the rest that nobody can read is counted."""
    lean = lean_of(clock)
    await fill(plain, lean, clock)
    store = EncryptedStore(plain(), keys=[NEW], lost=[name_of(OLD)])
    async with engine(store, lean, clock, seed=1, handlers=recorder().handlers) as flows:
        live = await flows.request("identity", entity_id="person")
        assert (live.state, live.results_id) == (State.requested, "r-9")
        other = await flows.request("accounts", entity_id="somebody else")
        await deliver(
            flows,
            webhook("entity.created", {"id": "person"}, event_id="5"),
            webhook("results.ready", {"id": "r-other", "entity_id": "person"}, event_id="6"),
        )
        erased = await flows.erase(entity_id="person")
        assert (erased.requests, erased.cancelled, erased.pages) == (2, 1, 1)
        assert erased.parked == 2  # under the person's id r-9, unread; and one that was read
        assert erased.webhooks == 2
        assert erased.unreadable == 5  # four for the handler, and one parked under an id that is nobody's
        assert [request.id async for request in flows.find()] == [other.id]
        for part in Part:
            for body in await store.bodies(flows.scope, part, limit=999):
                assert body.unreadable is not None or not mentions(body.content, PERSON)
        assert await flows.erase(entity_id="person") == Erased(unreadable=5)


async def test_what_was_altered_stops_no_erasing(plain: StoreMaker, lean: Lean, clock: FakeClock) -> None:
    """A parked webhook and an announcement that somebody changed in the store are counted, the others are erased."""
    await fill(plain, lean_of(clock), clock)
    raw = plain()
    await raw.open()
    for part, key in ((Part.parked, "event:2"), (Part.announcements, "webhook:event:4")):
        [body] = [body for body in await raw.bodies(SCOPE, part, limit=99) if body.place[0] == key]
        assert await raw.rewrite(SCOPE, [(body, body.stored[:-20] + b"A" * 20)]) == 1
    await raw.aclose()
    async with engine(EncryptedStore(plain(), keys=[OLD]), lean, clock, seed=1) as flows:
        erased = await flows.erase(entity_id="person")
        assert (erased.requests, erased.parked, erased.webhooks, erased.unreadable) == (1, 0, 2, 2)


async def test_a_lost_key_holds_up_neither_start_nor_rotation(plain: StoreMaker, lean: Lean, clock: FakeClock) -> None:
    """Without the key an engine does not start, unless it is given as lost; then all else is encrypted anew."""
    await fill(plain, lean_of(clock), clock)
    newer = Fernet.generate_key().decode()
    with pytest.raises(KeyMissing, match=name_of(OLD)):
        async with engine(EncryptedStore(plain(), keys=[NEW]), lean, clock):
            pytest.fail("it started")
    lost = [name_of(OLD)]
    async with engine(EncryptedStore(plain(), keys=[NEW], lost=lost), lean, clock, seed=1) as flows:
        await flows.request("accounts", entity_id="new")
    async with engine(EncryptedStore(plain(), keys=[newer, NEW], lost=lost), lean, clock, seed=2) as flows:
        done = await flows.reencrypt()
        assert (done.written, done.unreadable) == (1, 7)
        assert await flows.reencrypt() == Reencrypted(looked_at=done.looked_at, unreadable=7)
    async with engine(
        EncryptedStore(plain(), keys=[newer]), lean, clock, seed=3
    ) as flows:  # the old keys are forgotten
        made = [request.id async for request in flows.find(entity_id="new")]
        assert len((await flows.results(made[0])).items) == 1
        with pytest.raises(KeyMissing, match=name_of(OLD)):  # a body of a key that is missing, and not given as lost
            await flows.reencrypt()


@pytest.mark.parametrize("lost", [[name_of(NEW)], name_of(OLD)], ids=["a key that is given", "no list"])
def test_only_keys_that_are_not_given_are_lost(lost: list[str]) -> None:
    """A key that was given is not lost; a text alone is no list of names."""
    with pytest.raises(InvalidRequest, match="lost"):
        EncryptedStore(MemoryStore(), keys=[NEW], lost=lost)
