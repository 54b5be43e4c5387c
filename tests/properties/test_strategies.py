"""The strategies that ship: what they promise of what they make, and that they make all of it."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from hypothesis import Phase, given, settings, strategies as st

from leanflow import Accepted, Answer, Call, Resource, State, parse_answer, parse_webhook, verify
from leanflow._effects import Declined, Reason
from leanflow._lean.times import parse_time
from leanflow.errors import MalformedBody
from leanflow.events import (
    AnsweredOk,
    AnsweredPending,
    AnsweredReconnect,
    AnsweredRefused,
    Source,
    event_to_dict,
)
from leanflow.testing import strategies as lean
from leanflow.testing._webhooks import SHAPES
from leanflow.testing.strategies import ANSWERS, Delivery, History

_CALL = Call(method="GET", path="/data/v2/accounts", query={"entity_id": "e-1"})
SECRET = "lean's secret"
SENT = [b'{"type":"results.ready","payload":{"id":"r-1"},"event_id":"1"}', b'{"type":"new","payload":{}}']


@functools.cache
def sample(name: str, number: int = 400) -> tuple[Any, ...]:
    """Return things that a strategy makes, the same each time."""
    made: list[Any] = []
    strategies = {
        "times": lean.times(),
        "webhooks": lean.webhooks(),
        "calls": lean.calls_to_lean(),
        "consent": lean.answers(_CALL, kinds=["consent_expired"]),
        "deliveries": lean.deliveries(SENT, SECRET),
        "histories": lean.histories(),
        "disturbed": lean.disturbed(),
    }

    @settings(max_examples=number, database=None, derandomize=True, phases=[Phase.generate], deadline=None)
    @given(strategies[name])
    def collect(thing: Any) -> None:
        made.append(thing)

    collect()
    return tuple(made)


# --- times, webhooks ---------------------------------------------------------------------------------------------


@given(lean.times())
def test_times_are_read(text: str) -> None:
    """Each is a time, whatever its form."""
    assert parse_time(text) is not None


@pytest.mark.parametrize("part", ["Z", "+03:00", " "])
def test_times_come_in_each_form(part: str) -> None:
    """In UTC, with an offset, with a space; with no digits and with nine."""
    assert any(part in text for text in sample("times"))
    assert any(len(text.partition(".")[2].rstrip("Z")) == 9 for text in sample("times"))
    assert any("." not in text for text in sample("times"))


@given(lean.webhooks())
def test_webhooks_are_well_formed(raw: bytes) -> None:
    """Each is an event with the type it says, that can be stored."""
    event = parse_webhook(raw)
    assert event.type == json.loads(raw)["type"]
    json.dumps(event_to_dict(event))


def test_webhooks_are_of_each_type() -> None:
    """Of all those that Lean documents, and of some that nobody knows."""
    kinds = {json.loads(raw)["type"] for raw in sample("webhooks", 1000)}
    assert kinds > set(SHAPES)


@pytest.mark.parametrize("missing", ["event_id", "timestamp", "message"])
def test_webhooks_lack_what_lean_s_examples_lack(missing: str) -> None:
    """Sometimes; and some are of a type that nobody knows, and some begin with another member."""
    bodies = [json.loads(raw) for raw in sample("webhooks", 1000)]
    assert {missing in body for body in bodies} == {True, False}
    assert any(body["type"] not in SHAPES for body in bodies)
    assert len({next(iter(body)) for body in bodies}) > 1


@given(lean.webhooks(kinds=["results.ready"], payload={"id": "mine"}))
def test_webhooks_say_what_they_are_told_to(raw: bytes) -> None:
    """Of the type and for the id that a test wants."""
    event = parse_webhook(raw)
    assert (event.type, event.payload["id"]) == ("results.ready", "mine")


@given(lean.malformed())
def test_what_is_malformed_is_no_webhook(raw: bytes) -> None:
    """None of it is read as an event."""
    with pytest.raises(MalformedBody):
        parse_webhook(raw)


# --- answers -----------------------------------------------------------------------------------------------------

MEANS: dict[str, type] = {
    "ok": AnsweredOk,
    "pending": AnsweredPending,
    "reconnect_required": AnsweredReconnect,
    "failed": AnsweredRefused,
    "consent_expired": AnsweredRefused,
    "duplicated": AnsweredRefused,
    "http_error": AnsweredRefused,
    "unknown_status": AnsweredRefused,
    "no_json": AnsweredRefused,
}


@pytest.mark.parametrize("kind", [*ANSWERS, "no_json"])
@given(data=st.data(), call=lean.calls_to_lean())
def test_an_answer_means_what_its_kind_says(kind: str, data: st.DataObject, call: Call) -> None:
    """To each call, in each of its shapes."""
    answer: Answer = data.draw(lean.answers(call, kinds=[kind]))
    event = parse_answer(call, answer)
    assert isinstance(event, MEANS[kind])
    if kind == "consent_expired":
        assert isinstance(event, AnsweredRefused)
        assert event.code == "CONSENT_EXPIRED"
    if kind == "reconnect_required":
        assert event.timestamp is not None
    json.dumps(event_to_dict(event))


def test_calls_are_of_each_sort() -> None:
    """Placements in both versions, GETs of results and of refreshes."""
    assert {parse_sort(call) for call in sample("calls")} == set(Source)
    assert {"/v1/" in call.path for call in sample("calls")} == {True, False}


def parse_sort(call: Call) -> Source:
    """Return what the parser takes a call for."""
    return parse_answer(call, Answer(status=500, headers={}, body=b"")).source


def test_consent_is_told_in_each_of_its_shapes() -> None:
    """Three, as it was seen."""
    told = {(answer.status, json.loads(answer.body)["status"]) for answer in sample("consent", 100)}
    assert told == {(403, "CONSENT_EXPIRED"), (200, "CONSENT_EXPIRED"), (403, "FAILED")}


# --- deliveries --------------------------------------------------------------------------------------------------


@given(lean.deliveries(SENT, SECRET))
def test_only_what_is_genuine_can_move_anything(arrived: list[Delivery]) -> None:
    """A forged one fails the check, a malformed one the parser, and a genuine one was sent."""
    for one in arrived:
        signed = verify(one.raw, one.headers.get("lean-signature"), [SECRET])
        assert signed is (one.kind != "forged")
        if one.kind == "genuine":
            assert one.raw in SENT
        if one.kind == "malformed":
            with pytest.raises(MalformedBody):
                parse_webhook(one.raw)


@given(lean.deliveries(SENT, SECRET, lossless=True))
def test_nothing_is_lost_if_nothing_may_be(arrived: list[Delivery]) -> None:
    """Each that was sent arrives."""
    assert {one.raw for one in arrived if one.kind == "genuine"} == set(SENT)


def _order(arrived: list[Delivery]) -> list[int]:
    return [SENT.index(one.raw) for one in arrived if one.kind == "genuine"]


def test_deliveries_come_in_any_order() -> None:
    """As sent, turned round, one lost, both lost, one twice, twice with another between; and worse among them."""
    orders = [_order(arrived) for arrived in sample("deliveries")]
    for order in ([0, 1], [1, 0], [0], [1], [], [0, 0, 1], [0, 1, 0]):
        assert order in orders
    assert {one.kind for arrived in sample("deliveries") for one in arrived} == {"genuine", "forged", "malformed"}


# --- histories ---------------------------------------------------------------------------------------------------


@given(lean.histories())
def test_each_event_of_a_history_is_accepted(history: History) -> None:
    """A valid one holds nothing that the machine declines, and time goes forward."""
    steps = list(history.steps())
    assert len(steps) == len(history.events)
    assert all(isinstance(decision, Accepted) for _, _, decision in steps)
    times = [event.at for event in history.events]
    assert times == sorted(times, key=lambda at: (at is None, at))


def test_histories_come_to_each_state() -> None:
    """All nine, of each resource and version; so the strategy walks the whole machine."""
    seen = {
        decision.request.state
        for history in sample("histories")
        for _, _, decision in history.steps()
        if isinstance(decision, Accepted)
    }
    assert seen == set(State)
    assert {history.request.api for history in sample("histories")} == {"v1", "v2"}


@given(lean.histories(resource=Resource.refresh), lean.histories(resource="identity", api="v1"))
def test_histories_are_of_what_is_asked(refresh: History, identity: History) -> None:
    """The resource and the version."""
    assert (refresh.request.resource, refresh.request.api) == (Resource.refresh, "v2")
    assert (identity.request.resource, identity.request.api) == (Resource.identity, "v1")


@given(lean.histories(max_events=3))
def test_a_history_is_no_longer_than_it_may_be(history: History) -> None:
    """`max_events` is a bound."""
    assert len(history.events) <= 3


@given(lean.disturbed())
def test_a_disturbed_history_breaks_nothing(history: History) -> None:
    """Whatever comes in whatever order: accepted or declined, ends absorb, versions rise by one."""
    before = history.request
    for request, event, decision in history.steps():
        assert event.at is not None
        assert isinstance(decision, Accepted | Declined)
        if isinstance(decision, Accepted):
            assert decision.request.version == request.version + 1
            assert not request.state.is_end or decision.request.state is request.state
            before = decision.request
    assert before.version <= len(history.events)


def test_disturbed_histories_are_disturbed() -> None:
    """Some hold an event twice, some one that comes too late or of another round, some one whose guard says no."""
    declined = {
        decision.reason
        for history in sample("disturbed")
        for _, _, decision in history.steps()
        if isinstance(decision, Declined)
    }
    assert declined >= {Reason.stale, Reason.late, Reason.guard}
    assert any(len({event.key for event in h.events}) < len(h.events) for h in sample("disturbed"))
