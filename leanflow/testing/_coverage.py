"""Which of the machine's transitions were taken, and how often: counted from accepted steps, told as text and drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from leanflow._diagram import drawn
from leanflow._effects import Accepted, Decision
from leanflow._policy import Policy
from leanflow._request import DataRequest, Resource, State
from leanflow._table import SAME, TABLE, Row
from leanflow.events import Event
from leanflow.testing._transitions import Transition, impossible, transition_of, transitions

__all__ = ["MISSED", "TransitionCoverage"]

MISSED = "✗ "
"""Before the label of a transition that was never taken."""


class TransitionCoverage:
    """Counts the transitions of accepted steps."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, str]] = Counter()
        never = frozenset.intersection(*(frozenset(impossible(each)) for each in (Resource.accounts, Resource.refresh)))
        self._possible = tuple(each for each in transitions() if each not in never)

    def see(self, request: DataRequest, event: Event, decision: Decision, policy: Policy) -> None:
        """Count a step if it was accepted."""
        if isinstance(decision, Accepted):
            taken = transition_of(request, event, policy)
            assert taken is not None, "an accepted event takes a row"
            self._counts[taken.row, taken.from_state.value] += 1

    def dump(self) -> list[tuple[int, str, int]]:
        """Return the counts as plain values, for another process."""
        return [(row, state, count) for (row, state), count in self._counts.items()]

    def add(self, dumped: list[tuple[int, str, int]]) -> None:
        """Add the counts of another process."""
        for row, state, count in dumped:
            self._counts[row, state] += count

    @property
    def counts(self) -> Mapping[Transition, int]:
        """How often each transition was taken that can be."""
        return {each: self._counts[each.row, each.from_state.value] for each in self._possible}

    @property
    def missed(self) -> tuple[Transition, ...]:
        """The transitions that were never taken and can be, in the order of the table."""
        return tuple(transition for transition, count in self.counts.items() if not count)

    def summary(self) -> str:
        """Return how many of the transitions and rows were taken, in one line."""
        taken = [transition for transition, count in self.counts.items() if count]
        rows = len({transition.row for transition in taken})
        return f"{len(taken)} of {len(self._possible)} transitions taken, {rows} of {len(TABLE)} rows"

    def report(self) -> str:
        """Return the summary, and a line for each row that has transitions never taken, with the states they leave."""
        left: dict[int, list[State]] = {}
        for transition in self.missed:
            left.setdefault(transition.row, []).append(transition.from_state)
        lines = [self.summary()]
        if left:
            lines.append("never taken:")
            names = {number: _name(TABLE[number]) for number in left}
            wide = max(map(len, names.values()))
            lines += [f"  {names[number]:<{wide}}  from {', '.join(states)}" for number, states in left.items()]
        return "\n".join(lines)

    def markdown(self) -> str:
        """Return a page: the summary, the diagram with what was never taken marked, and all transitions counted."""
        missed = {(each.row, each.from_state) for each in self.missed}
        numbers = {id(row): number for number, row in enumerate(TABLE)}

        def label(row: Row, source: State) -> str:
            mark = MISSED if (numbers[id(row)], source) in missed else ""
            guards = f" [{row.guard_name}]" if row.guard_name else ""
            return f"{mark}{row.trigger}{guards}"

        lines = ["# leanflow: transitions taken", "", f"{self.summary()}. {MISSED.strip()} marks what was never taken."]
        lines += ["", "```mermaid", drawn(label).rstrip(), "```", ""]
        lines += ["| | trigger | guards | from | to | times |", "|---|---|---|---|---|---:|"]
        for each, count in self.counts.items():
            stays = TABLE[each.row].dest is SAME
            to = "stays" if stays else f"`{each.to_state}`"
            guards = f"`{each.guard}`" if each.guard else ""
            mark = "" if count else MISSED.strip()
            lines.append(f"| {mark} | `{each.trigger}` | {guards} | `{each.from_state}` | {to} | {count} |")
        return "\n".join(lines) + "\n"


def _name(row: Row) -> str:
    guards = f" [{row.guard_name}]" if row.guard_name else ""
    return f"{row.trigger}{guards} -> {'stays' if row.dest is SAME else row.dest}"
