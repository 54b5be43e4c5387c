"""The latest of many."""

from __future__ import annotations

from leanflow._lru import Lru


def test_what_was_used_longest_ago_is_dropped() -> None:
    """Getting and putting both count as use."""
    latest: Lru[str, int] = Lru(2)
    latest.put("a", 1)
    latest.put("b", 2)
    assert latest.get("a") == 1
    latest.put("c", 3)
    assert [latest.get(key) for key in "abc"] == [1, None, 3]
    latest.put("a", 4)
    latest.put("d", 5)
    assert [latest.get(key) for key in "acd"] == [4, None, 5]


def test_of_size_none_keeps_nothing() -> None:
    """So whoever may keep nothing needs no case of its own."""
    latest: Lru[str, int] = Lru(0)
    latest.put("a", 1)
    assert (latest.get("a"), len(latest)) == (None, 0)


def test_what_is_popped_or_cleared_is_gone() -> None:
    """Dropping what is not there is no error."""
    latest: Lru[str, int] = Lru(3)
    for key in "abc":
        latest.put(key, 1)
    latest.pop("a")
    latest.pop("a")
    assert (latest.get("a"), len(latest)) == (None, 2)
    latest.clear()
    assert len(latest) == 0
