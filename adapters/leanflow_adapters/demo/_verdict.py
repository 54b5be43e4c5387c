"""What must have come of the demo: one row for each request, and facts that are about more than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from leanflow import State
from leanflow.mockbank import CallRecord

__all__ = ["Case", "Fact", "Row", "Verdict", "way_of", "weigh"]


@attrs.frozen(kw_only=True)
class Case:
    """One request of the story and how it must end.

    Attributes:
        label: its name on the screen, and its `reference`.
        entity_id: Lean's entity.
        resource: what it asks for.
        request_id: the backend's id.
        end: the state that it must end in.
        lost_pages: pages of data that Lean sends and that never arrive, because the backend dies meanwhile.
    """

    label: str
    entity_id: str
    resource: str
    request_id: str
    end: State = State.fetched
    lost_pages: int = 0


@attrs.frozen(kw_only=True)
class Fact:
    """Something that must hold beside the ends of the requests."""

    words: str
    holds: bool


@attrs.frozen(kw_only=True)
class Row:
    """What came of one request.

    Attributes:
        label: its name.
        way: the states that it went through.
        calls: data calls and GETs of results that Lean got for it.
        data: pages of data that Lean sent.
        pages: pages that are stored.
        effects: rows in the application's own table.
        problem: what is not as it must be; empty if all is.
    """

    label: str
    way: tuple[State, ...]
    calls: int
    data: int
    pages: int
    effects: int
    problem: str = ""

    @classmethod
    def unknown(cls, label: str) -> Self:
        """Return the row of a request of which nothing could be learnt."""
        return cls(label=label, way=(), calls=0, data=0, pages=0, effects=0, problem="the backend does not answer")

    @property
    def is_good(self) -> bool:
        """Whether all is as it must be."""
        return not self.problem


@attrs.frozen(kw_only=True)
class Verdict:
    """What came of it all."""

    rows: tuple[Row, ...]
    facts: tuple[Fact, ...]

    @property
    def is_good(self) -> bool:
        """Whether all is as it must be."""
        return all(row.is_good for row in self.rows) and all(fact.holds for fact in self.facts)


def way_of(history: Sequence[Mapping[str, Any]]) -> tuple[State, ...]:
    """Return the states that a request went through, from the rows of its history."""
    way: list[State] = []
    for row in history:
        state = State(row["to_state"])
        if not way or way[-1] is not state:
            way.append(state)
    return tuple(way)


def weigh(
    case: Case,
    history: Sequence[Mapping[str, Any]],
    calls: Sequence[CallRecord],
    effects: Sequence[Mapping[str, Any]],
) -> Row:
    """Return what came of one request.

    Args:
        case: how it must end.
        history: its rows, as the backend tells them.
        calls: what Mockbank was asked, all of it.
        effects: the rows of the application's own table, all of them.
    """
    way = way_of(history)
    own_calls = [c for c in calls if _is_for(case, c)]
    brought = [c for c in own_calls if c.status == "OK" and c.http_status == 200]
    own_effects = [e for e in effects if e["request"] == case.request_id]
    pages = sum(e["pages"] for e in own_effects)
    sent = len(brought)
    row = Row(label=case.label, way=way, calls=len(own_calls), data=sent, pages=pages, effects=len(own_effects))
    if not way or way[-1] is not case.end:
        problem = f"must end {case.end}"
    elif sent != pages + case.lost_pages:
        problem = f"Lean must send {pages + case.lost_pages} pages"
    elif [e["state"] for e in own_effects] != [case.end.value]:
        problem = "its effect must be done once"
    elif case.end is State.fetched and not own_effects[0]["items"]:
        problem = "there must be items"
    else:
        return row
    return attrs.evolve(row, problem=problem)


def _is_for(case: Case, call: CallRecord) -> bool:
    context = call.context
    is_data = context.kind in ("data", "results")
    return is_data and context.entity_id == case.entity_id and context.resource == case.resource
