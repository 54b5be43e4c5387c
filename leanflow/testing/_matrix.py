"""The matrix: for every state and every kind of event, where it leads, on which conditions, and why it is declined."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType

import attrs

from leanflow import _guards as guards
from leanflow._effects import Reason
from leanflow._request import Resource, State
from leanflow._table import TABLE, Row, early_triggers
from leanflow.errors import InvalidRequest
from leanflow.events import (
    AnsweredOk,
    AnsweredPending,
    AnsweredReconnect,
    AnswerEvent,
    EntityReconnected,
    Event,
    Hinted,
    RefreshUpdated,
    ResultsReady,
    WebhookEvent,
)
from leanflow.testing._transitions import impossible

__all__ = ["Case", "Matrix", "assert_matrix", "matrix"]

OTHERWISE = "otherwise"

OLDER_CALL = "of an older call"
OUTDATED = "of an older call, ids being known since"
OTHER_ID = "names another id"
EARLIER_ROUND = "from before this round"
OTHER_PROMPT = "of another prompt"
PLACEMENT = "to the placement"

Outcome = State | Reason
_EVENTS: tuple[type, ...] = Event.__args__
_EARLY = early_triggers(TABLE)
_NEVER = frozenset.intersection(
    *(
        frozenset((each.row, each.from_state) for each in impossible(resource))
        for resource in (Resource.accounts, Resource.refresh)
    )
)


@attrs.frozen(kw_only=True)
class Case:
    """One case of a cell.

    Attributes:
        when: on which condition: the row's guards joined by ``+``, or what of the event is looked at before the table;
            ``otherwise`` if none of those before it holds; empty if it is always so.
        outcome: the state after, which is the same if the request stays where it is; or why it is declined.
        guard: the guard that declined it, for `Reason.guard`; ``state`` if the state has no use for it.
        row: of the table, from 0; None if it is declined.
    """

    when: str
    outcome: Outcome
    guard: str | None = None
    row: int | None = None

    def __str__(self) -> str:
        condition = f"{self.when}: " if self.when else ""
        return f"{condition}{self.told}"

    @property
    def told(self) -> str:
        """The outcome in words."""
        if isinstance(self.outcome, State):
            return f"-> {self.outcome}"
        return f"declined, {self.outcome}" + (f" ({self.guard})" if self.guard else "")


@attrs.frozen(slots=False)
class Matrix:
    """All cells. ``print(matrix())`` shows them state by state."""

    @cached_property
    def cells(self) -> Mapping[tuple[State, type], tuple[Case, ...]]:
        """The cases of each state and class of event, in the order in which they are tried."""
        return MappingProxyType({(state, event): _cases(state, event) for state in State for event in _EVENTS})

    def cell(self, state: State | str, event: type | str) -> tuple[Case, ...]:
        """Return the cases of one cell.

        Args:
            state: before.
            event: a class of `leanflow.events`, or its tag.

        Raises:
            InvalidRequest: there is no such state or event.
        """
        return self.cells[_state(state), _event(event)]

    def expect(self, state: State | str, event: type | str, *outcomes: Outcome | str, when: str | None = None) -> None:
        """Hold a cell to an expectation.

        Args:
            state: before.
            event: a class of `leanflow.events`, or its tag.
            outcomes: states, or reasons for being declined. One: the cell has it among its cases. Several: they are all
                that it has.
            when: the condition of the case that is meant, as the cell tells it; it has exactly that outcome then.

        Raises:
            AssertionError: it is otherwise; says what the cell has.
            InvalidRequest: there is no such state, event, outcome or case.
        """
        problem = self._problem(state, event, outcomes, when, whole=len(outcomes) > 1 or when is not None)
        if problem is not None:
            raise AssertionError(problem)

    def _problem(
        self,
        state: State | str,
        event: type | str,
        outcomes: Collection[Outcome | str],
        when: str | None = None,
        *,
        whole: bool,
    ) -> str | None:
        cases = self.cell(state, event)
        wanted = {_outcome(outcome) for outcome in outcomes}
        if not wanted:
            raise InvalidRequest("outcomes", "name at least one: a state, or a reason for being declined")
        if when is not None:
            known = [case.when for case in cases]
            if when not in known:
                raise InvalidRequest("when", f"{when!r} is none of {', '.join(map(repr, known))}")
            cases = tuple(case for case in cases if case.when == when)
        has = {case.outcome for case in cases}
        if wanted == has or (not whole and wanted <= has):
            return None
        told = "; ".join(map(str, cases))
        return f"{_event(event).__name__} in {_state(state)}: expected {_joined(wanted)}; it is {told}"

    def __str__(self) -> str:
        lines: list[str] = []
        wide = max(len(event.__name__) for event in _EVENTS)
        for state in State:
            lines.append(f"{state}")
            for event in _EVENTS:
                cases = "; ".join(map(str, self.cells[state, event]))
                lines.append(f"  {event.__name__:<{wide}}  {cases}")
            lines.append("")
        return "\n".join(lines).rstrip()

    def markdown(self) -> str:
        """Return it as one Markdown table: a row for each class of event, a column for each state."""
        lines = [f"| event | {' | '.join(f'`{state}`' for state in State)} |", "|---" * (len(State) + 1) + "|"]
        for event in _EVENTS:
            cells = ("<br>".join(map(str, self.cells[state, event])) for state in State)
            lines.append(f"| `{event.__name__}` | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Return it as CSV: a line for each case."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("state", "event", "when", "outcome", "guard", "row"))
        for (state, event), cases in self.cells.items():
            for case in cases:
                row = "" if case.row is None else case.row
                writer.writerow((state, event.__name__, case.when, case.outcome, case.guard or "", row))
        return out.getvalue()


_MATRIX = Matrix()


def matrix() -> Matrix:
    """Return the matrix of today's table.

    An event that was seen before is declined as a duplicate in every state, before any of this. The webhooks that name
    no request are in it for completeness: the engine brings a request only what follows from them.
    """
    return _MATRIX


def assert_matrix(
    expected: Mapping[tuple[State | str, type | str], Outcome | str | Collection[Outcome | str]],
) -> None:
    """Hold cells to expectations: see `Matrix.expect`. All that are otherwise are told together.

    Args:
        expected: by state and event: one outcome that the cell must have, or a collection of all that it has.

    Raises:
        AssertionError: some are otherwise; says what each cell has.
        InvalidRequest: there is no such state, event or outcome.
    """
    problems = []
    for (state, event), outcomes in expected.items():
        several, whole = ([outcomes], False) if isinstance(outcomes, str) else (outcomes, True)
        problem = _MATRIX._problem(state, event, several, whole=whole)  # noqa: SLF001 - of this module
        if problem is not None:
            problems.append(problem)
    if problems:
        raise AssertionError("\n".join(problems))


# --- what a cell has ---------------------------------------------------------------------------------------------


def _cases(state: State, event: type) -> tuple[Case, ...]:
    """Return the cases of a cell; one, if all come to the same."""
    cases = (*_before_the_table(state, event), *_in_the_table(state, event))
    first = attrs.evolve(cases[0], when="")
    if all(attrs.evolve(case, when="") == first for case in cases):
        return (first,)
    return tuple(case if case.when else attrs.evolve(case, when=OTHERWISE) for case in cases)


def _in_the_table(state: State, event: type) -> Iterator[Case]:
    tag: str = event.tag  # type: ignore[attr-defined]  # every event class has one
    rows = [(number, row) for number, row in enumerate(TABLE) if row.trigger == tag and state in row.sources]
    for place, (number, row) in enumerate(rows):
        if (number, state) in _NEVER:
            continue
        is_last = not row.guards or _always_holds(row, state, [earlier for _, earlier in rows[:place]])
        yield Case(when="" if is_last else row.guard_name or "", outcome=row.dest or state, row=number)
        if is_last:
            return
    if rows:
        for refusing in rows[-1][1].guards:
            yield Case(when="", outcome=Reason.guard, guard=refusing.__name__)
    elif issubclass(event, WebhookEvent) and tag in _EARLY[state]:
        yield Case(when="", outcome=Reason.early)
    elif issubclass(event, (AnswerEvent, WebhookEvent, Hinted)):
        yield Case(when="", outcome=Reason.late)
    else:
        yield Case(when="", outcome=Reason.guard, guard="state")


def _always_holds(row: Row, state: State, earlier: list[Row]) -> bool:
    """Return whether a collection's row is all that is left: an answer is to the placement or to a collection."""
    if row.guards != (guards.collected,):
        return False
    return state is not State.requested or any(guards.placed in other.guards for other in earlier)


def _before_the_table(state: State, event: type) -> Iterator[Case]:
    """Yield what is declined for what it is, whatever the table says: an event that is not for this round or call."""
    if issubclass(event, AnswerEvent):
        may_count = state is State.requested and event in (AnsweredOk, AnsweredPending, AnsweredReconnect)
        yield Case(when=OUTDATED if may_count else OLDER_CALL, outcome=Reason.late if state.is_end else Reason.stale)
        if state is not State.requested and event is not AnsweredOk:
            yield Case(when=PLACEMENT, outcome=Reason.late)
    elif event in (ResultsReady, EntityReconnected, RefreshUpdated):
        yield Case(when=OTHER_ID, outcome=Reason.late if state.is_end else Reason.stale)
        yield Case(when=EARLIER_ROUND, outcome=Reason.stale)
    elif event is Hinted:
        yield Case(when=OTHER_PROMPT, outcome=Reason.stale)


# --- what callers say ----------------------------------------------------------------------------------------------


def _state(state: State | str) -> State:
    try:
        return State(state)
    except ValueError:
        raise InvalidRequest("state", f"{state!r} is none of {', '.join(State)}") from None


def _event(event: type | str) -> type:
    found = next((each for each in _EVENTS if event is each or event == each.tag), None)  # type: ignore[attr-defined]  # as above
    if found is None:
        raise InvalidRequest("event", f"{event!r} is no class of leanflow.events, nor the tag of one")
    return found


def _outcome(outcome: Outcome | str) -> Outcome:
    try:
        return State(outcome)
    except ValueError:
        pass
    try:
        return Reason(outcome)
    except ValueError:
        known = ", ".join((*State, *Reason))
        raise InvalidRequest("outcomes", f"{outcome!r} is neither a state nor a reason: {known}") from None


def _joined(outcomes: Collection[Outcome]) -> str:
    return " and ".join(sorted(str(outcome) for outcome in outcomes))
