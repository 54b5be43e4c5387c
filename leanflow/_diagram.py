"""The machine as Mermaid text, drawn from the table."""

from __future__ import annotations

from collections.abc import Callable

from leanflow._request import State
from leanflow._table import SAME, TABLE, Row

__all__ = ["drawn", "mermaid"]


def mermaid(*, probes: bool = False) -> str:
    """Return the machine as a Mermaid state diagram.

    Args:
        probes: also draw what leaves a request where it is.
    """
    return drawn(lambda row, _: _label(row), probes=probes)


def drawn(label_of: Callable[[Row, State], str], *, probes: bool = False) -> str:
    """Return the same with labels of one's own: of a row, from one of its states."""
    lines = ["stateDiagram-v2", "    direction LR", f"    [*] --> {State.requested}"]
    labels: dict[tuple[State, State], list[str]] = {}
    for row in TABLE:
        for source in row.sources:
            dest = source if row.dest is SAME else row.dest
            if dest is not source or (probes and row.dest is SAME):
                texts, text = labels.setdefault((source, dest), []), label_of(row, source)
                if text not in texts:
                    texts.append(text)
    for (source, dest), texts in sorted(labels.items(), key=_by_definition):
        lines.append(f"    {source} --> {dest}: {' | '.join(texts)}")
    lines.extend(f"    {state} --> [*]" for state in State if state.is_end)
    return "\n".join(lines) + "\n"


def _by_definition(item: tuple[tuple[State, State], list[str]]) -> tuple[int, int]:
    order = list(State)
    (source, dest), _ = item
    return order.index(source), order.index(dest)


def _label(row: Row) -> str:
    return f"{row.trigger} [{row.guard_name}]" if row.guard_name else row.trigger
