"""Times as Lean writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from leanflow._lean.times import format_time, parse_http_date, parse_retry_after, parse_time
from leanflow.errors import InvalidRequest

_SENT = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2025-09-11T19:02:04Z", 0),
        ("2025-09-11T19:02:04.5Z", 500000),
        ("2025-09-11T19:02:04.447Z", 447000),
        ("2025-09-11T19:02:04.44718Z", 447180),
        ("2025-09-11T19:02:04.447189Z", 447189),
        ("2025-09-11T19:02:04.4471896Z", 447189),
        ("2025-09-11T19:02:04.447189646Z", 447189),
        ("2025-09-11T19:02:04.999999999Z", 999999),
        ("2025-09-11T22:02:04.447+03:00", 447000),
        ("2025-09-11T22:02:04.447189646+0300", 447189),
        ("2025-09-11 19:02:04.447", 447000),
        ("2025-09-11 19:02:04", 0),
        ("2025-09-11T19:02:04.447", 447000),
        ("2025-09-11t19:02:04z", 0),
    ],
)
def test_every_format_of_leans_is_read_as_utc(text: str, micros: int) -> None:
    """Fractions of any length, offsets, and a space without a zone name one moment, cut to microseconds."""
    moment = parse_time(text)
    assert moment == datetime(2025, 9, 11, 19, 2, 4, micros, tzinfo=UTC)
    assert moment is not None
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        None,
        5,
        1757617324.4,
        "",
        "soon",
        "2025-09-11",
        "20250911T190204Z",
        "2025-W37-4T19:02:04Z",
        "2025-13-11T19:02:04Z",
        "2025-09-31T19:02:04Z",
        "2025-09-11T24:02:04Z",
        "2025-09-11T19:02:04Z ",
        "2025-09-11T19:02:04+99:00",
        "0001-01-01T00:00:00+03:00",
        "9999-12-31T23:59:59-03:00",
        "٢٠٢٥-09-11T19:02:04Z",
        "2025-09-11T19:02:04." + "1" * 10_000 + "Z",
    ],
)
def test_what_is_no_time_is_none(text: object) -> None:
    """An unreadable timestamp costs nothing but itself."""
    assert parse_time(text) is None


def test_a_time_without_a_zone_is_not_sent() -> None:
    """format_time refuses naive datetimes and writes aware ones in UTC."""
    with pytest.raises(InvalidRequest):
        format_time(datetime(2025, 9, 11))  # noqa: DTZ001
    assert format_time(datetime(2025, 9, 11, 22, 2, 4, 5, tzinfo=UTC)) == "2025-09-11T22:02:04.000005Z"


def test_http_dates_are_read_in_the_one_form_that_may_be_sent() -> None:
    """IMF-fixdate is read; other forms and impossible days are None."""
    assert parse_http_date(_SENT) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    assert parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") is None
    assert parse_http_date("Sun, 31 Feb 1994 08:49:37 GMT") is None
    assert parse_http_date(None) is None


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("120", None, 120.0),
        ("0", _SENT, 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", _SENT, 60.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", _SENT, 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
        ("-5", _SENT, None),
        ("1.5", _SENT, None),
        ("9" * 5000, _SENT, None),
        ("soon", _SENT, None),
        (None, _SENT, None),
    ],
)
def test_retry_after_counts_from_the_answers_own_date(
    header: str | None, date: str | None, seconds: float | None
) -> None:
    """Seconds are taken as they are, a date only with the Date header of the same answer."""
    assert parse_retry_after(header, date) == seconds
