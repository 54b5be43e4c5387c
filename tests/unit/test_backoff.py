"""Retry arithmetic."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, strategies as st

from leanflow._backoff import spread, wait_before

WAITS = tuple(timedelta(seconds=s) for s in (30, 60, 3600))


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=40)), st.text())
def test_a_wait_is_lengthened_by_at_most_a_tenth_and_never_shortened(wait: timedelta, key: str) -> None:
    """Never sooner than told, and never noticeably later."""
    assert wait <= spread(wait, key) <= wait * 1.1 + timedelta(microseconds=1)


@given(st.text(), st.integers(0, 50))
def test_the_same_question_has_the_same_answer(key: str, tries: int) -> None:
    """There are no dice: a step that is decided again gets the same times."""
    assert wait_before(WAITS, tries, key) == wait_before(WAITS, tries, key)


def test_requests_that_failed_together_come_back_apart() -> None:
    """A hundred keys give nearly a hundred different waits, over most of the tenth."""
    waits = {wait_before(WAITS, 2, f"request-{n}") for n in range(100)}
    assert len(waits) > 95
    assert max(waits) - min(waits) > timedelta(seconds=300)


def test_each_try_waits_for_the_next_time_and_the_last_repeats() -> None:
    """The tries are counted from 0; beyond the list its last wait is used again."""
    for tries, wait in enumerate((*WAITS, WAITS[-1], WAITS[-1])):
        assert wait_before(WAITS, tries, "key") == spread(wait, f"key:{tries}")
