"""The memory store's index: it finds what a look at everything would find."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from leanflow import DataRequest, State
from leanflow.ports import Query
from leanflow.testing.conformance._samples import SCOPE, a_creation, a_request
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.memory._index import Index

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def changed(request: DataRequest, dice: random.Random) -> DataRequest:
    """Return it as it might be next."""
    due_at = dice.choice((None, NOW, NOW + timedelta(minutes=dice.randrange(5))))
    return request.moved({"state": dice.choice(list(State)), "due_at": due_at})


@pytest.mark.parametrize("seed", range(20))
def test_an_index_finds_what_a_look_at_everything_finds(seed: int) -> None:
    """Whatever is added, changed and removed, in whatever order."""
    dice = random.Random(seed)
    index, requests = Index(), dict[str, DataRequest]()
    for number in range(200):
        roll = dice.random()
        if roll < 0.4 or not requests:
            made = a_request(1000 + dice.randrange(10_000) * 1000 + number)
            made = made.moved({"fingerprint": f"fingerprint {number}", "entity_id": f"entity {number % 5}"})
            requests[made.id] = made
            index.add(made)
        elif roll < 0.9:
            name = dice.choice(list(requests))
            after = changed(requests[name], dice)
            index.change(requests[name], after)
            requests[name] = after
        else:
            index.remove(requests.pop(dice.choice(list(requests))))
        everything = list(requests.values())
        assert +index.states == Counter(request.state for request in everything)
        assert list(index.due()) == sorted((r.due_at, r.id) for r in everything if r.due_at is not None)
        assert list(index.ids(after=None, entity_id=None)) == sorted(requests)
        after_id = dice.choice([None, *requests])
        wanted = sorted(r.id for r in everything if r.entity_id == "entity 1" and (after_id is None or r.id > after_id))
        assert list(index.ids(after=after_id, entity_id="entity 1")) == wanted
        for request in everything:
            is_live = not request.state.is_end
            assert index.twin(request.fingerprint) == (request.id if is_live else None)


async def test_a_page_goes_on_behind_the_last_one() -> None:
    """`find` yields each request once, by pages, in the order of ids."""
    store = MemoryStore()
    await store.open()
    names = []
    for number in range(7):
        request = a_request(number).moved({"fingerprint": str(number)})
        await store.create(a_creation(request))
        names.append(request.id)
    seen: list[str] = []
    query = Query(limit=3)
    while page := await store.find(SCOPE, query):
        seen += [request.id for request in page]
        query = attrs.evolve(query, after=page[-1].id)
    assert seen == sorted(names)
