"""The diagram is drawn from the table."""

from __future__ import annotations

import re

from leanflow._diagram import mermaid
from leanflow._request import State
from leanflow._table import SAME, TABLE

ARROW = re.compile(r"^    (\S+) --> ([^:\s]+): (.+)$", re.MULTILINE)


def test_each_move_of_the_table_is_drawn_and_no_other() -> None:
    """One arrow for each pair of states, with each row's trigger and guards on it."""
    drawn = {(source, dest): label.split(" | ") for source, dest, label in ARROW.findall(mermaid())}
    moves = {(s, row.dest) for row in TABLE for s in row.sources if row.dest not in {SAME, s}}
    assert set(drawn) == moves
    for row in TABLE:
        for source in row.sources:
            if row.dest not in {SAME, source}:
                label = f"{row.trigger} [{row.guard_name}]" if row.guard_name else row.trigger
                assert label in drawn[source, row.dest]


def test_what_stays_is_drawn_when_asked_for() -> None:
    """With `probes` also what leaves a request where it is."""
    loops = {source for source, dest, _ in ARROW.findall(mermaid(probes=True)) if source == dest}
    assert loops == {str(s) for row in TABLE if row.dest is SAME for s in row.sources}
    assert not any(source == dest for source, dest, _ in ARROW.findall(mermaid()))


def test_the_diagram_begins_and_ends() -> None:
    """It starts in `requested`, and each end is one."""
    lines = mermaid().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    [*] --> requested" in lines
    assert [line for line in lines if line.endswith("--> [*]")] == [
        f"    {state} --> [*]" for state in State if state.is_end
    ]
