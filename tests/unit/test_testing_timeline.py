"""Timelines: what happened to a request, as text that explains a failing test."""

from __future__ import annotations

from datetime import timedelta

import pytest

from leanflow import Resource, State
from leanflow.testing import FakeClock, travel
from leanflow.testing._timeline import entry_line, next_line, span, timeline
from leanflow.testing.examples import a_reconnect, example_in, example_request, take
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import deliver, engine
from tests.support.lean import Lean

CREATED = "2026-01-01 12:00:00"

EXPECTED = f"""\
request ID, reference user-17: accounts of e-1, now fetched, version 5
  {CREATED}        v0  -> requested                         created
  {CREATED}        v1  requested -> reconnect_required      answered_reconnect call_no=1 results_id=UUID
  {CREATED}        v2  reconnect_required -> awaiting_user  prompted
  {CREATED}            declined: stale                      hinted prompt_number=9 status=SUCCESS
  2026-01-01 12:10:00 +10m  v3  awaiting_user -> reconnected         entity_reconnected reconnect_id=UUID
  2026-01-01 12:10:00 +10m  v4  reconnected -> results_ready         results_ready results_id=UUID
  2026-01-01 12:10:00 +10m  v5  results_ready -> fetched      answered_ok source=results call_no=2 results_id=UUID
  nothing is due: fetched is an end"""


async def test_a_timeline_tells_a_whole_life() -> None:
    """Each event has its time, what it moved or what declined it; an exported history reads the same."""
    clock = FakeClock()
    lean = Lean(clock)
    lean.will("e-1", "reconnect")
    async with engine(MemoryStore(), lean, clock) as flows:
        made = await flows.request(Resource.accounts, entity_id="e-1", reference="user-17")
        prompt = await flows.prompt(made.id)
        await flows.callback(made.id, {"status": "SUCCESS"}, prompt=9)
        await travel(flows, clock, timedelta(minutes=10))
        lean.reconnect(prompt.reconnect_id)
        await deliver(flows, *lean.take())
        await flows.tick()
        text = timeline(await flows.get(made.id), await flows.history(made.id))
        exported = await flows.export(made.id, personal=True)
    told = text.replace(made.id, "ID").replace(prompt.reconnect_id, "UUID")
    assert [line.split() for line in told.splitlines()] == [line.split() for line in EXPECTED.splitlines()]
    assert timeline(exported["request"], exported["history"]) == text


async def test_columns_stand_under_each_other() -> None:
    """The events of a timeline begin in one column, however long the states before them are."""
    clock = FakeClock()
    lean = Lean(clock)
    lean.will("e-1", "reconnect")
    async with engine(MemoryStore(), lean, clock) as flows:
        made = await flows.request(Resource.accounts, entity_id="e-1")
        await flows.prompt(made.id)
        text = timeline(await flows.get(made.id), await flows.history(made.id))
        (_, _, row) = await flows.history(made.id)
    columns = {
        line.index(tag) for line, tag in zip(text.splitlines()[1:4], ("created", "answered", "prompted"), strict=True)
    }
    assert len(columns) == 1
    assert entry_line(row) == "prompted: reconnect_required -> awaiting_user"


def test_what_is_next_is_told() -> None:
    """A live request says what is due and what ends its wait; an end says that it is one."""
    asked = take(example_request(), a_reconnect(example_request()))
    assert next_line(asked) == "next: probe at 2026-03-31 13:00:00"
    pending = example_in(State.requested)
    assert next_line(pending).startswith("next: probe at 2026-03-01 09:00:3")
    assert next_line(pending).endswith("; the wait ends 2026-03-02 09:00:00")
    assert next_line(example_in(State.failed)) == "nothing is due: failed is an end"
    assert next_line(example_in(State.failed).moved({"successor_id": "b"})).endswith("; renewed by b")
    assert next_line(pending.moved({"due_at": None})) == "nothing is due"


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (timedelta(), ""),
        (timedelta(milliseconds=200), ""),
        (timedelta(seconds=30), "+30s"),
        (timedelta(minutes=61), "+1h 1m"),
        (timedelta(days=30, minutes=5), "+30d"),
        (timedelta(seconds=-90), "-1m 30s"),
    ],
)
def test_a_stretch_of_time_has_two_units(delta: timedelta, text: str) -> None:
    """The two greatest units that follow each other are told; what is smaller is left out."""
    assert span(delta) == text
