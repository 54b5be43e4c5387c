"""The table's own rules, and that a table that breaks them is refused with all its problems."""

from __future__ import annotations

from typing import Any

import pytest

from leanflow import _changes as change, _guards as when
from leanflow._request import State
from leanflow._table import LIVE, SAME, TABLE, Row, check, early_triggers
from leanflow.errors import InvalidTable


def without(*triggers: str, source: State | None = None) -> tuple[Row, ...]:
    """The table without the rows of these triggers, or without one of their states."""
    rows = []
    for row in TABLE:
        if row.trigger not in triggers:
            rows.append(row)
        elif source is not None and set(row.sources) != {source}:
            left = tuple(state for state in row.sources if state is not source)
            rows.append(Row(row.trigger, left, row.dest, row.guards, row.change, row.fresh))
    return tuple(rows)


def row(trigger: str, sources: Any, dest: Any, *guards: Any) -> Row:
    """A row that nobody checked."""
    return Row(trigger, sources, dest, guards, change.end)


def problems(table: tuple[Row, ...]) -> tuple[str, ...]:
    """What is wrong with a table."""
    with pytest.raises(InvalidTable) as caught:
        check(table)
    return caught.value.problems


def test_the_table_keeps_its_own_rules() -> None:
    """The table that is shipped has no problem."""
    check(TABLE)


def test_every_live_state_can_end_in_every_way() -> None:
    """Fetched, failed, expired and cancelled can be entered from each state that is no end."""
    for state in LIVE:
        reached = {row.dest for row in TABLE if state in row.sources}
        assert State.ends() <= reached


def test_an_unknown_state_is_a_problem() -> None:
    """A destination or a source that is no state is named; a string is no state, not even one that looks like it."""
    found = problems((*TABLE, row("x", (State.requested,), "nowhere"), row("y", ("requested ",), State.failed)))
    assert found == ("x: 'nowhere' is no state", "y: 'requested ' is no state")
    assert problems((*TABLE, row("z", (State.requested,), "failed"))) == ("z: 'failed' is no state",)


def test_an_unreachable_state_is_a_problem() -> None:
    """A state that no way leads to is named."""
    assert "awaiting_user cannot be reached" in problems(without("prompted"))
    assert "cancelled cannot be reached" in problems(without("cancelled"))


@pytest.mark.parametrize("state", LIVE)
def test_a_wait_without_a_probe_is_a_problem(state: State) -> None:
    """A live state that could not take data found by a look is named."""
    assert f"{state} waits without a probe" in problems(without("answered_ok", source=state))


@pytest.mark.parametrize("state", LIVE)
def test_a_wait_without_a_deadline_is_a_problem(state: State) -> None:
    """A live state that time alone does not end is named."""
    assert f"{state} waits without a deadline" in problems(without("action_due", source=state))


def test_an_end_that_is_left_is_a_problem() -> None:
    """A way out of an end is named with where it leads; a row that stays is none."""
    table = (*TABLE, row("a", (State.fetched,), State.requested), row("b", (State.fetched,), State.failed))
    assert problems(table) == ("fetched is an end and is left for failed, requested",)
    check((*TABLE, row("c", (State.fetched,), SAME)))


def test_a_row_that_can_never_be_taken_is_a_problem() -> None:
    """A row after one that asks for no more is named by its number: after one without guards, or with fewer."""
    dead = row("cancelled", LIVE, State.failed, when.held)
    assert problems((*TABLE, dead)) == (f"row {len(TABLE)} (cancelled) can never be taken",)
    first = row("x", (State.requested,), SAME, when.held)
    second = row("x", (State.requested,), State.failed, when.held, when.placed)
    assert problems((*TABLE, first, second)) == (f"row {len(TABLE) + 1} (x) can never be taken",)
    check((*TABLE, second, first))
    partly = row("x", (State.requested, State.reconnected), State.failed, when.held)
    check((*TABLE, first, partly))


def test_a_row_without_states_is_a_problem() -> None:
    """It can never be taken."""
    assert problems((*TABLE, row("x", (), State.failed))) == (f"row {len(TABLE)} (x) can never be taken",)


def test_all_problems_are_told_at_once() -> None:
    """One error has them all, and its text too."""
    table = (*without("prompted", "action_due"), row("x", (State.failed,), State.requested), row("y", (), "nowhere"))
    with pytest.raises(InvalidTable) as caught:
        check(table)
    found = caught.value.problems
    assert {
        "awaiting_user cannot be reached",
        "expired cannot be reached",
        "requested waits without a deadline",
        "failed is an end and is left for requested",
        "y: 'nowhere' is no state",
    } <= set(found)
    assert all(problem in str(caught.value) for problem in found)


def test_the_name_of_a_rows_guards_is_theirs() -> None:
    """It is what a declined event is recorded with, and what the diagram shows."""
    assert row("x", LIVE, SAME).guard_name is None
    assert row("x", LIVE, SAME, when.held).guard_name == "held"
    assert row("x", LIVE, SAME, when.finished, when.ambiguous).guard_name == "finished+ambiguous"


# --- early, computed ---------------------------------------------------------------------------------------------


def test_early_is_what_a_state_within_the_round_could_take() -> None:
    """A trigger is early where a state that is reached without a new placement or round has a row for it."""
    early = {state: triggers for state, triggers in early_triggers(TABLE).items() if triggers}
    # Only the prompt is between these two; back to the user, or to a placement, only what is fresh leads.
    assert early == {State.reconnect_required: {"hinted"}}


def test_no_webhook_that_matches_is_early() -> None:
    """Each state has a row for each webhook of its round that is not past: what is early waits for its id in the store.

    Should a row be taken away so that a state must wait for another first, the computed set parks the event by itself.
    """
    webhooks = {"results_ready", "entity_reconnected", "refresh_updated"}
    assert all(not webhooks & triggers for triggers in early_triggers(TABLE).values())
    assert (
        "results_ready"
        in early_triggers(without("results_ready", source=State.reconnect_required))[State.reconnect_required]
    )


def test_what_only_a_fresh_row_could_bring_is_not_early() -> None:
    """A new placement or a new round has new ids: an event that waited for it would be of the past."""
    table = (
        Row("a", (State.requested,), State.reconnected, (), change.end, fresh=True),
        row("b", (State.reconnected,), State.fetched),
    )
    assert early_triggers(table)[State.requested] == frozenset()
    table = (row("a", (State.requested,), State.reconnected), row("b", (State.reconnected,), State.fetched))
    assert early_triggers(table)[State.requested] == {"b"}
