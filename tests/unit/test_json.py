"""JSON text of what is stored: the same with orjson and without."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from leanflow import Failure, Remedy, State, _json as ours
from leanflow._json import dump, load

_TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=4)), timezone(timedelta(hours=-3.5))]))
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())) | st.sampled_from(State)
)  # fmt: skip
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner)
    ),
)


def spellers() -> list[Any]:
    """Return each way of spelling a value that there is here."""
    return [ours._spell, ours._spell_fast] if find_spec("orjson") else [ours._spell]


@given(_VALUES)
def test_the_text_says_the_value(value: Any) -> None:
    """Half surrogate pairs, long integers and all."""
    for spell in spellers():
        assert load(spell(value)) == json.loads(json.dumps(value))


@given(_TIMES)
def test_a_time_is_told_as_by_isoformat(at: datetime) -> None:
    """So that either reads what the other wrote."""
    for spell in spellers():
        told = load(spell({"at": at}))["at"]
        assert datetime.fromisoformat(told) == at
        assert told == at.isoformat()


def test_what_records_hold_is_told() -> None:
    """A failure and read-only mappings are objects."""
    failure = Failure(code="X", message="تعذر", remedy=Remedy.user)
    for spell in spellers():
        said = load(spell({"failure": failure, "params": MappingProxyType({"a": "b"})}))
        assert said == {"failure": failure.to_dict(), "params": {"a": "b"}}


def test_what_json_has_no_word_for_is_refused() -> None:
    """Bytes are for columns of their own."""
    for value in (b"raw", {"a": object()}, timedelta(seconds=1)):
        for spell in [*spellers(), dump]:
            with pytest.raises(TypeError, match="JSON"):
                spell(value)
