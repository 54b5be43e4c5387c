"""Erasing whom no pattern, quoting or spelling may confuse with another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leanflow.ports import Part
from leanflow.testing import FakeClock
from tests.support.engine import StoreMaker, deliver, engine, recorder
from tests.support.lean import Lean, webhook
from tests.support.stores import fresh_store

LONG = "ن" * 254
ODD = {
    "arabic": ("حساب", "حسابي"),
    "percent": ("a%", "ab"),
    "underscore": ("a_c", "abc"),
    "quotes": ("o'brien\"; --", "o'brien"),
    "backslash": ("a\\u0041", "aA"),
    "braces": ('{"id": "x"}', "x"),
    "spelled": ("é", "e\u0301"),  # the same to the eye, and two ids
    "pairs": ("\U0001f3e6", "\U0001f3e7"),
    "colon": ("a:b", "a"),
    "long": (f"{LONG}a", f"{LONG}b"),
}


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreMaker]:
    """Give what makes handles on one fresh store."""
    with fresh_store(request.param, tmp_path) as made:
        yield made


@pytest.mark.parametrize("by", ["entity_id", "customer_id"])
async def test_an_odd_id_is_erased_and_none_that_is_like_it(
    make: StoreMaker, clock: FakeClock, lean: Lean, by: str
) -> None:
    """Requests, parked webhooks and those that wait for a handler: all of the one, nothing of the other."""
    other_name = {"entity_id": "customer_id", "customer_id": "entity_id"}[by]
    async with engine(make(), lean, clock, handlers=recorder().handlers) as flows:
        for number, ids in enumerate(ODD.values()):
            for side, each in enumerate(ids):
                named: dict[str, Any] = {by: each, other_name: f"other-{number}-{side}"}
                await flows.request("accounts", **named)
                await deliver(
                    flows,
                    webhook("payment.created", named, event_id=f"{number}-{side}-1"),
                    webhook("results.ready", {"id": f"nobody-{number}-{side}", **named}, event_id=f"{number}-{side}-2"),
                )
        for word, (odd, like) in ODD.items():
            one: dict[str, Any] = {by: odd}
            other: dict[str, Any] = {by: like}
            erased = await flows.erase(**one)
            assert (erased.requests, erased.parked, erased.webhooks) == (1, 1, 2), word
            assert [r async for r in flows.find(**one)] == [], word
            assert len([r async for r in flows.find(**other)]) == 1, word
        left = len(ODD)
        assert len([r async for r in flows.find()]) == left
        assert len(await flows.store.bodies(flows.scope, Part.parked, limit=99)) == left
        assert len([row for row in await flows.undelivered(limit=999) if row.kind == "webhook"]) == 2 * left
