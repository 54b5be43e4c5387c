"""The matrix: what it says of each cell is what the machine does, and expectations are held to it."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from leanflow import Declined, State
from leanflow._effects import Reason
from leanflow._machine import DEFAULT_POLICY, decide
from leanflow.errors import InvalidRequest
from leanflow.events import (
    AnsweredOk,
    AnsweredPending,
    EntityReconnected,
    Event,
    Hinted,
    Prompted,
    ResultsReady,
    Source,
)
from leanflow.testing import Step, examples, paths
from leanflow.testing._matrix import (
    EARLIER_ROUND,
    OLDER_CALL,
    OTHER_ID,
    OTHER_PROMPT,
    OUTDATED,
    PLACEMENT,
    Case,
    assert_matrix,
    matrix,
)

STEPS: list[Step] = [
    step for api in ("v1", "v2") for path in paths(covering="decisions", api=api) for step in path.steps
]
BEFORE_THE_TABLE = {OTHER_ID, EARLIER_ROUND, OTHER_PROMPT, OLDER_CALL, OUTDATED, PLACEMENT}


def case_of(step: Step) -> Case:
    """The case of the matrix that a step is."""
    cases = matrix().cell(step.before.state, type(step.event))
    if step.transition is not None:
        [case] = [case for case in cases if case.row == step.transition.row]
        return case
    assert isinstance(step.decision, Declined)
    outcome, guard = step.decision.reason, step.decision.guard
    fitting = [case for case in cases if (case.outcome, case.guard) == (outcome, guard)]
    assert fitting, f"{step.event.tag} in {step.before.state}: {step.decision}"
    return fitting[0]


def test_all_that_paths_do_is_in_the_matrix() -> None:
    """Each step of the paths that come to every case: its row and end, or why it was declined."""
    for step in STEPS:
        case = case_of(step)
        outcome = step.decision.reason if isinstance(step.decision, Declined) else step.after.state
        assert case.outcome == outcome


def test_all_that_the_matrix_says_is_done() -> None:
    """Each case that the table decides is one that some path comes to: the matrix promises nothing that cannot be."""
    seen = {(step.before.state, type(step.event), case_of(step)) for step in STEPS}
    said = {
        (state, event, case)
        for (state, event), cases in matrix().cells.items()
        for case in cases
        if case.row is not None or case.guard is not None
    }
    assert {(state.value, event.__name__, str(case)) for state, event, case in said - seen} == set()


def test_a_state_and_every_class_of_event() -> None:
    """Every cell has at least one case, and the last is without a condition."""
    cells = matrix().cells
    assert len(cells) == len(State) * len(Event.__args__)
    for cases in cells.values():
        assert cases[-1].when in {"", "otherwise"}
        assert all(case.when not in {"", "otherwise"} for case in cases[:-1])


# --- what is looked at before the table --------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
def test_what_is_not_for_this_round_is_declined_as_the_matrix_says(state: State) -> None:
    """Another id, another prompt, an older call, an answer to the placement: by examples in each state."""
    request = examples.example_in(state).moved({"call_no": 5, "ids_call_no": 4, "prompt_number": 2})
    events: list[tuple[str, Any]] = [
        (OTHER_ID, examples.results_ready(request, results_id="other")),
        (OTHER_ID, examples.entity_reconnected(request, reconnect_id="other")),
        (OTHER_ID, examples.refresh_updated(request, refresh_id="other")),
        (OTHER_PROMPT, examples.hinted(request, prompt_number=1)),
    ]
    answers = [
        examples.an_ok(request),
        examples.a_pending(request),
        examples.a_reconnect(request),
        examples.a_refusal(request, "BANK_ISSUE"),
        examples.a_silence(request),
    ]
    for answer in answers:
        may_count = state is State.requested and answer.tag not in {"answered_refused", "call_broke"}
        older = OUTDATED if may_count else OLDER_CALL
        events.append((older, answer.numbered(3)))
        if state is not State.requested and not isinstance(answer, AnsweredOk):
            placed: Any = answer.__class__(**{**answer.__dict__, "source": Source.placement})
            events.append((PLACEMENT, placed))
    for when, event in events:
        decision = decide(request, event.stamped(examples.START), DEFAULT_POLICY)
        assert isinstance(decision, Declined)
        cases = matrix().cell(state, type(event))
        [case] = [case for case in cases if case.when == when] or cases[:1]
        assert (case.outcome, case.guard) == (decision.reason, decision.guard), (when, event)


def test_a_webhook_of_an_earlier_round_is_stale() -> None:
    """Where ids repeat, Lean's time of it decides, before the table."""
    request = examples.example_in(State.reconnect_required)
    request = request.moved({"ids_repeat": True, "round_started_at": examples.START})
    event = examples.results_ready(request, timestamp=examples.START - timedelta(days=1))
    assert decide(request, event.stamped(examples.START)) == Declined(reason=Reason.stale)
    matrix().expect(State.reconnect_required, ResultsReady, Reason.stale, when=EARLIER_ROUND)


# --- expectations ------------------------------------------------------------------------------------------------


def test_expectations_that_hold() -> None:
    """One outcome is among those of the cell; several are all of them; with a condition it is that case's."""
    matrix().expect(State.awaiting_user, EntityReconnected, State.reconnected)
    matrix().expect("awaiting_user", "entity_reconnected", "stale", "awaiting_user", "reconnected")
    matrix().expect(State.awaiting_user, EntityReconnected, State.awaiting_user, when="ambiguous")
    matrix().expect(State.reconnected, Prompted, Reason.guard)
    assert_matrix(
        {
            (State.fetched, EntityReconnected): {Reason.late, Reason.stale},
            (State.awaiting_user, Hinted): State.awaiting_user,
            ("requested", "cancelled"): "cancelled",
        }
    )


def test_expectations_that_do_not_hold_are_told_with_what_is() -> None:
    """All together, each with the whole cell."""
    with pytest.raises(AssertionError) as caught:
        assert_matrix(
            {
                (State.awaiting_user, Hinted): State.reconnected,
                (State.reconnected, Prompted): State.awaiting_user,
                (State.requested, AnsweredPending): State.requested,
                (State.awaiting_user, EntityReconnected): {State.reconnected},
            }
        )
    assert str(caught.value).splitlines() == [
        (
            "Hinted in awaiting_user: expected reconnected; it is of another prompt: declined, stale; "
            "entity_live_since_prompt: -> requested; abandoned: -> reconnect_required; otherwise: -> awaiting_user"
        ),
        "Prompted in reconnected: expected awaiting_user; it is declined, guard (state)",
        (
            "EntityReconnected in awaiting_user: expected reconnected; it is names another id: declined, stale; "
            "from before this round: declined, stale; ambiguous: -> awaiting_user; otherwise: -> reconnected"
        ),
    ]
    with pytest.raises(AssertionError, match="expected reconnected; it is ambiguous: -> awaiting_user"):
        matrix().expect(State.awaiting_user, EntityReconnected, State.reconnected, when="ambiguous")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("done", Prompted, "fetched"), "state"),
        (("requested", "prompting", "fetched"), "event"),
        (("requested", int, "fetched"), "event"),
        (("requested", Prompted, "done"), "outcomes"),
        (("requested", Prompted), "outcomes"),
    ],
)
def test_what_there_is_not_is_refused(arguments: tuple[Any, ...], named: str) -> None:
    """No state, no event, no outcome, no case: an error that says what there is."""
    with pytest.raises(InvalidRequest, match=f"^{named}: "):
        matrix().expect(*arguments)
    with pytest.raises(InvalidRequest, match=r"^when: 'x' is none of ''"):
        matrix().expect("requested", Prompted, Reason.guard, when="x")


# --- as text -----------------------------------------------------------------------------------------------------


def test_it_prints_state_by_state() -> None:
    """A line for each event under its state."""
    text = str(matrix())
    assert text.startswith("requested\n  AnsweredOk         ")
    assert "\nawaiting_user\n" in text
    line = next(line for line in text.splitlines() if "ConsentLost" in line)
    assert line.split(maxsplit=1) == ["ConsentLost", "-> failed"]


def test_it_is_a_markdown_table() -> None:
    """Events down, states across."""
    lines = matrix().markdown().splitlines()
    assert len(lines) == 2 + len(Event.__args__)
    assert {line.count(" | ") for line in lines if not line.startswith("|---")} == {len(State)}


def test_it_is_csv() -> None:
    """A line for each case, every column filled as it is."""
    rows = list(csv.DictReader(io.StringIO(matrix().csv())))
    assert len(rows) == sum(map(len, matrix().cells.values()))
    assert {
        "state": "requested",
        "event": "ConsentLost",
        "when": "",
        "outcome": "failed",
        "guard": "",
        "row": "35",
    } in rows
