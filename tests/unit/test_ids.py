"""Ids in order of time, and what makes two requests the same."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

from leanflow import Resource
from leanflow._ids import fingerprint_of, new_id
from leanflow._request import Scope

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
SCOPE = Scope(app="a", environment="sandbox", region="uae")


def test_an_id_is_a_uuid_of_version_7() -> None:
    """Version and variant are RFC 9562's, and the first 48 bits are the milliseconds."""
    made = UUID(new_id(NOW, random.Random(0)))
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == int(NOW.timestamp() * 1000)


def test_ids_sort_by_time_within_a_millisecond() -> None:
    """Text order is the order of creation, microsecond by microsecond."""
    dice = random.Random(1)
    made = [new_id(NOW + timedelta(microseconds=n), dice) for n in range(3000)]
    assert made == sorted(made)


def test_ids_of_one_moment_differ() -> None:
    """62 bits of dice tell apart what was made in one microsecond."""
    dice = random.Random(2)
    assert len({new_id(NOW, dice) for _ in range(10_000)}) == 10_000


def test_an_id_is_made_of_clock_and_dice_alone() -> None:
    """The same clock and dice make the same id."""
    assert new_id(NOW, random.Random(3)) == new_id(NOW, random.Random(3))


def test_a_fingerprint_tells_what_lean_tells_apart() -> None:
    """Each part counts, the order of parameters does not."""
    base = (SCOPE, "v2", Resource.transactions, "e", "a", {"x": "1", "y": "2"})
    same = (SCOPE, "v2", Resource.transactions, "e", "a", {"y": "2", "x": "1"})
    others = [
        (Scope(app="b", environment="sandbox", region="uae"), *base[1:]),
        (Scope(app="a", environment="production", region="uae"), *base[1:]),
        (Scope(app="a", environment="sandbox", region="ksa"), *base[1:]),
        (SCOPE, "v1", *base[2:]),
        (SCOPE, "v2", Resource.balances, *base[3:]),
        (*base[:3], "f", *base[4:]),
        (*base[:4], None, base[5]),
        (*base[:5], {"x": "1"}),
    ]
    assert fingerprint_of(*base) == fingerprint_of(*same)
    assert len({fingerprint_of(*other) for other in (base, *others)}) == len(others) + 1
