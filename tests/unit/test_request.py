"""The stored record: what it means, how it is copied, how it is written down."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from leanflow._effects import Change
from leanflow._request import DataRequest, Failure, IdKind, Remedy, Resource, Scope, State
from leanflow.testing.examples import START, example_in, example_request

FIELDS = """
    id app environment region api resource entity_id account_id customer_id customer_ip params reference metadata key
    fingerprint state version round rounds_prompted prompted_round attempts probes placements call_no due_at place_at
    probe_at probed_at last_chances wait_until quiet_until expires_at expire_at give_up_at created_at updated_at
    results_id reconnect_id refresh_id ids_call_no past_ids round_started_at ids_repeat grace_until revived_round
    prompt_number prompted_at hinted_at hint hint_errors entity_live_at held unsure failure predecessor_id successor_id
    traceparent
"""

# --- stored words ------------------------------------------------------------------------------------------------


def test_stored_words_are_a_public_contract() -> None:
    """States, resources, remedies and kinds of ids are stored and sent: these very strings, for ever."""
    assert [s.value for s in State] == [
        "requested",
        "reconnect_required",
        "awaiting_user",
        "reconnected",
        "results_ready",
        "fetched",
        "expired",
        "failed",
        "cancelled",
    ]
    assert [r.value for r in Resource] == [
        "identity",
        "accounts",
        "balances",
        "transactions",
        "identities",
        "beneficiaries",
        "direct_debits",
        "scheduled_payments",
        "standing_orders",
        "refresh",
    ]
    assert [r.value for r in Remedy] == ["connect", "user", "renew", "operator", "none"]
    assert [k.value for k in IdKind] == ["results", "reconnect", "refresh"]
    assert all(member.name == member.value for enum in (State, Resource, Remedy, IdKind) for member in enum)


def test_the_names_of_stored_fields_are_a_public_contract() -> None:
    """A field that is renamed would orphan every row: names may be added here, never changed."""
    assert sorted(f.name for f in attrs.fields(DataRequest)) == sorted(FIELDS.split())
    assert sorted(f.name for f in attrs.fields(Failure)) == ["code", "http_status", "info", "message", "remedy"]


def test_ends_and_states_that_need_the_user() -> None:
    """Four ends; two states in which only the user at the bank can move the request."""
    assert State.ends() == {State.fetched, State.expired, State.failed, State.cancelled}
    assert {s for s in State if s.is_end} == State.ends()
    assert {s for s in State if s.needs_user} == {State.reconnect_required, State.awaiting_user}


def test_every_field_is_documented() -> None:
    """Each field of the record has its line in the docstring."""
    assert DataRequest.__doc__ is not None
    for field in attrs.fields(DataRequest):
        assert f"        {field.name}: " in DataRequest.__doc__


# --- a value -----------------------------------------------------------------------------------------------------


def test_a_request_is_frozen() -> None:
    """Nobody changes a record that others may hold."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        example_request().state = State.failed  # type: ignore[misc]  # that is the point


def test_a_moved_copy_is_what_evolve_would_make() -> None:
    """The fast copy is equal to the slow one, and the original stays."""
    request = example_in(State.awaiting_user)
    fields: dict[str, Any] = {"state": State.expired, "version": 9, "results_id": None}
    before = request.to_dict()
    assert request.moved(fields) == attrs.evolve(request, **fields)
    assert request.moved({}) == request
    assert request.to_dict() == before


def test_the_scope_is_what_confines_it() -> None:
    """Application, environment and region."""
    assert example_request().scope == Scope(app="app", environment="sandbox", region="uae")


def test_a_customers_address_is_not_shown() -> None:
    """The repr goes into logs; the customer's address does not."""
    assert "203.0.113.9" not in repr(example_request(customer_ip="203.0.113.9"))


# --- written down ------------------------------------------------------------------------------------------------

texts = st.text(max_size=20)
words = st.dictionaries(texts, texts, max_size=3).map(MappingProxyType)
times = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=3))]),
)
failures = st.builds(
    Failure,
    code=texts,
    message=texts,
    remedy=st.sampled_from(Remedy),
    info=st.none() | texts,
    http_status=st.none() | st.integers(100, 599),
)


def _strategy(field: attrs.Attribute[Any]) -> st.SearchStrategy[Any]:
    by_name: dict[str, st.SearchStrategy[Any]] = {
        "resource": st.sampled_from(Resource),
        "state": st.sampled_from(State),
        "params": words,
        "metadata": words,
        "past_ids": st.lists(texts, max_size=3).map(tuple),
        "failure": st.none() | failures,
    }
    if field.name in by_name:
        return by_name[field.name]
    kind = str(field.type)
    base = {"datetime": times, "str": texts, "int": st.integers(0, 2**40), "bool": st.booleans()}[
        kind.split(" | ", maxsplit=1)[0]
    ]
    return st.none() | base if kind.endswith("None") else base


requests = st.builds(DataRequest, **{f.name: _strategy(f) for f in attrs.fields(DataRequest)})
changes = st.builds(
    Change,
    key=texts,
    request=requests,
    from_state=st.none() | st.sampled_from(State),
    to_state=st.sampled_from(State),
    at=times,
    cause=texts,
    out_of_order=st.booleans(),
)


@given(requests)
def test_a_request_survives_being_written_down(request: DataRequest) -> None:
    """To JSON and back it is the same, whatever its fields."""
    again = DataRequest.from_dict(json.loads(json.dumps(request.to_dict())))
    assert again == request
    assert type(again.state) is State
    assert type(again.resource) is Resource
    assert type(again.past_ids) is tuple


@given(failures)
def test_a_failure_survives_being_written_down(failure: Failure) -> None:
    """To JSON and back it is the same."""
    assert Failure.from_dict(json.loads(json.dumps(failure.to_dict()))) == failure


@given(changes)
def test_a_change_survives_being_written_down(change: Change) -> None:
    """To JSON and back it is the same, and the flag that it comes out of order is not lost on the way."""
    assert Change.from_dict(json.loads(json.dumps(change.to_dict()))) == change


def test_fields_with_their_default_are_not_written() -> None:
    """A record of a million should not carry what is not there."""
    bare = example_request(fingerprint="", call_no=0, due_at=None, place_at=None)
    needed = ["id", "app", "environment", "region", "api", "resource", "entity_id", "created_at", "updated_at"]
    assert sorted(bare.to_dict()) == sorted(needed)


def test_what_a_later_version_wrote_is_passed_over() -> None:
    """Unknown names in a record, its failure or a change are no error."""
    failed = example_in(State.failed)
    written = failed.to_dict() | {"of_the_future": 1}
    written["failure"] = written["failure"] | {"of_the_future": 1}
    assert DataRequest.from_dict(written) == failed
    change = Change(key="k", request=failed, from_state=None, to_state=State.failed, at=START, cause="created")
    assert Change.from_dict(change.to_dict() | {"of_the_future": 1}) == change


def test_what_an_earlier_version_wrote_is_read() -> None:
    """Names that are missing have their default; a change without its flag was in order."""
    written = example_request().to_dict()
    assert "state" not in written
    assert DataRequest.from_dict(written).state is State.requested
    change = Change(
        key="k", request=example_request(), from_state=None, to_state=State.requested, at=START, cause="created"
    )
    old = change.to_dict()
    del old["out_of_order"]
    assert Change.from_dict(old) == change


def test_a_read_record_cannot_be_changed_through_its_words() -> None:
    """`params` and `metadata` come back read-only."""
    request = DataRequest.from_dict(example_request(params=MappingProxyType({"a": "b"})).to_dict())
    with pytest.raises(TypeError):
        request.params["a"] = "c"  # type: ignore[index]  # that is the point
