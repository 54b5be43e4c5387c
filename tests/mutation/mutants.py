"""Mutants of the table: each differs from the real one in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from leanflow import State
from leanflow._table import LIVE, SAME, TABLE, Guard, Row, early_triggers

__all__ = ["Mutant", "equivalent", "explained", "mutants"]

Table = tuple[Row, ...]


@attrs.frozen
class Mutant:
    """A table with one thing wrong.

    Attributes:
        row: the place of the row that was altered.
        kind: what was done to it.
        family: the kind, its particulars left out.
        table: what came of it.
    """

    row: int
    kind: str
    family: str
    table: Table = attrs.field(repr=False)

    def __str__(self) -> str:
        row = TABLE[self.row]
        return f"row {self.row}, {row.trigger} [{row.guard_name or ''}]: {self.kind}"


_SWAPPED = "after the next row"
_FRESH = "fresh the other way round"


def mutants() -> Iterator[Mutant]:
    """Yield every mutant: each row removed, swapped and altered in each part; each guard negated, and stuck."""
    for number, row in enumerate(TABLE):
        before, after = TABLE[:number], TABLE[number + 1 :]
        yield Mutant(number, "removed", "row removed", (*before, *after))
        if after and after[0].trigger == row.trigger:
            yield Mutant(number, _SWAPPED, "rows swapped", (*before, after[0], row, *after[1:]))
        for family, kind, fields in _alterations(row):
            yield Mutant(number, kind, family, (*before, attrs.evolve(row, **fields), *after))


def _alterations(row: Row) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield family, kind, and the fields of a row with one thing wrong."""
    yield "change dropped", "changes nothing but the state", {"change": lambda *_: {}}
    yield "fresh flipped", _FRESH, {"fresh": not row.fresh}
    for state in State:
        if state not in row.sources:
            yield "source added", f"also from {state}", {"sources": (*row.sources, state)}
        elif len(row.sources) > 1:
            left = tuple(source for source in row.sources if source is not state)
            yield "source removed", f"not from {state}", {"sources": left}
    for dest in (SAME, *State):
        if not _is_same(row, dest):
            yield "end altered", f"to {dest or 'where it is'}", {"dest": dest}
    for place, guard in enumerate(row.guards):
        for kind, wrong in _wrong(guard):
            guards = (*row.guards[:place], wrong, *row.guards[place + 1 :])
            yield f"guard {kind}", f"{guard.__name__} {kind}", {"guards": guards}


def _is_same(row: Row, dest: State | None) -> bool:
    """Return whether the row leads there as it is: to where it is, and to its only state, are one."""
    return all((dest or source) is (row.dest or source) for source in row.sources)


def _wrong(guard: Guard) -> Iterator[tuple[str, Callable[..., bool]]]:
    yield "negated", _named(guard, lambda *told: not guard(*told))
    yield "always true", _named(guard, lambda *_: True)
    yield "always false", _named(guard, lambda *_: False)


def _named(guard: Guard, wrong: Callable[..., bool]) -> Callable[..., bool]:
    """Return it under the guard's name: what declined an event is told by that name."""
    altered: Any = wrong
    altered.__name__ = guard.__name__
    return wrong


# --- mutants that are the real table in other words --------------------------------------------------------------

_NOT_PLACED = "a placement that brought no data is late outside `requested`, before the table is asked"
_NO_OTHER = "an answer is to the placement or to a collection, so the guards of the two rows never both hold"
_LEFT_OVER = "row 7 takes all but a final word in the envelope, and for that this row's guard says no"
_REASONS: Mapping[tuple[int, str], str] = MappingProxyType(
    {
        (1, "after the next row"): _NO_OTHER,
        **{(1, f"also from {state}"): _NOT_PLACED for state in LIVE if state is not State.requested},
        (2, "collected always true"): f"row 1 takes the placement's in `requested`, and {_NOT_PLACED}",
        **{
            (4, f"also from {state}"): "row 3 asks less, comes first, and does the same"
            for state in (State.requested, State.reconnect_required, State.awaiting_user)
        },
        **{
            (row, f"also from {s}"): _LEFT_OVER
            for row in (8, 9)
            for s in (State.reconnect_required, State.awaiting_user)
        },
        **{
            (row, f"also from {state}"): f"row 11 takes the collection's silence, and {_NOT_PLACED}"
            for row in (12, 13)
            for state in LIVE
            if state is not State.requested
        },
        (26, "after the next row"): "what is due is to expire or to give up, never both",
        (27, "also from requested"): "what begins a wait in `requested` forgets that the entity was live",
        (30, "also from awaiting_user"): "row 28 has the same guard and comes first",
    }
)


def equivalent(mutant: Mutant) -> str | None:
    """Return why a mutant is the real table in other words, or None if nobody has shown that it is."""
    if mutant.kind == _FRESH and _early(mutant.table) == _early(TABLE):
        return "`fresh` only says which webhooks are early, and those are the same"
    row = mutant.row
    if mutant.kind == _SWAPPED and not {*TABLE[row].sources} & {*TABLE[row + 1].sources}:
        return "the two rows leave no state together"
    return _REASONS.get((row, mutant.kind))


def explained() -> frozenset[tuple[int, str]]:
    """Return what is explained by hand: row and kind."""
    return frozenset(_REASONS)


def _early(table: Table) -> Mapping[State, frozenset[str]]:
    return {state: triggers & _WEBHOOKS for state, triggers in early_triggers(table).items()}


_WEBHOOKS = frozenset({"results_ready", "entity_reconnected", "refresh_updated"})
