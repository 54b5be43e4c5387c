"""JSON under guards."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest

from leanflow._lean import codec
from leanflow._lean.codec import array_items, check_text, identifier, json_loads, words
from leanflow.errors import MalformedBody


def test_money_never_becomes_a_float() -> None:
    """Every digit of a fraction is kept, exponents included; whole numbers stay int."""
    assert json_loads(b"[375.11, 1234567890123456.78, 1e2, -0.10, 7]") == [
        Decimal("375.11"),
        Decimal("1234567890123456.78"),
        Decimal("1E+2"),
        Decimal("-0.10"),
        7,
    ]
    assert str(json_loads(b"0.10")) == "0.10"


@pytest.mark.parametrize(
    ("raw", "path", "expected"),
    [
        (b"", "$", "JSON"),
        (b"{", "$", "JSON"),
        (b"{} x", "$", "JSON"),
        (b"<html></html>", "$", "JSON"),
        (b"\xef\xbb\xbf{}", "$", "JSON"),
        (b'"\xff"', "$", "UTF-8"),
        ("{}".encode("utf-16"), "$", "UTF-8"),
        (b'"\xed\xa0\x80"', "$", "UTF-8"),
        (b"[NaN]", "$", "NaN"),
        (b"[-Infinity]", "$", "NaN"),
        (b"[1e99999999999999999999]", "$", "JSON"),
        (b"[" + b"9" * 41 + b"]", "$", "40 digits"),
        (b"[" + b"9" * 100_000 + b"]", "$", "40 digits"),
        (b'{"a":{"id":1,"id":2}}', "$..id", "once"),
        (b'{"a b\\"":1,"a b\\"":2}', "$..?", "once"),
        (b"[" * 100_000, "$", "levels"),
        (b"[" * 100_000 + b"]" * 100_000, "$", "levels"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "$", "levels"),
        (b"[" * 66 + b"]" * 66, "$", "levels"),
        (b'{"a":' * 66 + b"1" + b"}" * 66, "$", "levels"),
    ],
)
def test_what_cannot_be_trusted_is_refused(raw: bytes, path: str, expected: str) -> None:
    """Each fault is a MalformedBody that names place and expectation, and chains no document."""
    with pytest.raises(MalformedBody) as caught:
        json_loads(raw)
    assert caught.value.path == path
    assert expected in caught.value.expected
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_body_over_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of memory comes before any parsing."""
    monkeypatch.setattr(codec, "MAX_BYTES", 10)
    assert json_loads(b"[1,2,3]") == [1, 2, 3]
    with pytest.raises(MalformedBody):
        json_loads(b"[1,2,3,4,5]")
    with pytest.raises(MalformedBody):
        array_items(b'{"data":[1]}', "data")


def test_nesting_within_bounds_is_read_however_many_brackets_there_are() -> None:
    """Depth is bounded, breadth is not; 64 levels are still read."""
    assert len(json_loads(b"[" + b"[],{}," * 1000 + b"1]")) == 2001
    assert json_loads(b"[" * 64 + b"]" * 64)


def test_the_bound_on_nesting_does_not_depend_on_the_callers_stack() -> None:
    """The same body is refused with a high recursion limit too."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        with pytest.raises(MalformedBody):
            json_loads(b"[" * 500 + b"]" * 500)
    finally:
        sys.setrecursionlimit(limit)


def test_array_items_keep_the_bytes_they_were_written_in() -> None:
    """Spaces, escapes, Arabic and the digits of numbers stay as they came."""
    raw = ' { "page" : {"n":1} , "data" : [ {"a": 1.10, "b":"\\u0627"} ,{"c":"حي"}, 5 ] , "x":[1] } '.encode()
    others, items = array_items(raw, "data")
    assert others == {"page": {"n": 1}, "x": [1]}
    assert items == [
        ({"a": Decimal("1.10"), "b": "\u0627"}, b'{"a": 1.10, "b":"\\u0627"}'),
        ({"c": "حي"}, '{"c":"حي"}'.encode()),
        (5, b"5"),
    ]


@pytest.mark.parametrize("raw", [b"{}", b' {"data":null}', b'{"data":[]}', b'{"data" : [ ] } '])
def test_no_items_is_an_empty_list(raw: bytes) -> None:
    """A missing, null or empty array has no items."""
    assert array_items(raw, "data") == ({}, [])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"data"',
        b'{"data":',
        b'{"data":[',
        b'{"data":[1',
        b'{"data":[1,]}',
        b'{"data":[1 2]}',
        b'{"data":[1],}',
        b'{"data":[1]} {}',
        b'{"data":[1];"a":1}',
        b"{data:[1]}",
        b'{"data":[1],"data":[2]}',
        b'{"data":{}}',
        b'{"data":"x"}',
        b'{"data":[{"a":1,"a":2}]}',
        b'{"data":[' + b"[" * 100_000,
        b'{"data":[' + b"[" * 64 + b"]" * 64 + b"]}",
        b'\xff{"data":[]}',
    ],
)
def test_what_is_no_object_with_an_array_is_refused(raw: bytes) -> None:
    """The scan is as strict as the parser."""
    with pytest.raises(MalformedBody) as caught:
        array_items(raw, "data")
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b'{"a":["x","\\ud800"]}', "$.a[1]"),
        (b'{"a":{"b":"\\uDFFF"}}', "$.a.b"),
        (b'{"a":{"\\ud800":1}}', "$.a"),
    ],
)
def test_half_surrogate_pairs_are_refused_where_they_are(raw: bytes, path: str) -> None:
    """JSON can escape what no store can keep."""
    with pytest.raises(MalformedBody) as caught:
        check_text(raw, json_loads(raw))
    assert caught.value.path == path


def test_whole_surrogate_pairs_are_text() -> None:
    """An escaped emoji is one character."""
    raw = b'{"a":"\\ud83d\\ude00"}'
    value = json_loads(raw)
    check_text(raw, value)
    assert value == {"a": "\U0001f600"}


@pytest.mark.parametrize("value", [5, True, 1.5, [], {}, ["x"], "a\nb", "a\0", "\ud800", "x" * 256])
def test_an_id_must_be_a_string_that_an_id_can_be(value: object) -> None:
    """Nothing is turned into a string, and nothing unprintable goes into a key."""
    with pytest.raises(MalformedBody) as caught:
        identifier({"id": value}, "id", "$.payload")
    assert caught.value.path == "$.payload.id"


@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": ""}])
def test_a_missing_id_is_none(body: dict[str, object]) -> None:
    """Missing, null and empty are the same."""
    assert identifier(body, "id") is None


def test_words_for_people_are_made_storable() -> None:
    """Cut to length, without NUL and half pairs; anything but text is nothing."""
    assert words("حساب مغلق\nsee bank") == "حساب مغلق\nsee bank"
    assert words("a\0b\ud800") == "a?b?"
    assert len(words("x" * 5000)) == 2000
    assert words(None) == words(5) == words({"a": 1}) == ""
