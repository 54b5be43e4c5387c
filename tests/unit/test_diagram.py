"""The diagram is drawn from the table, and the documentation shows it as it is."""

from __future__ import annotations

import re
from pathlib import Path

from leanflow._diagram import mermaid
from leanflow._request import State
from leanflow._table import SAME, TABLE

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "machine.md"
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


def test_the_reference_shows_the_diagram_as_it_is() -> None:
    """docs/reference/machine.md holds exactly what `mermaid()` prints: paste it anew when the table changes."""
    (block,) = re.findall(r"```mermaid\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)
    assert block == mermaid()


def test_the_reference_lists_every_row() -> None:
    """Each row of the table is a row of the reference's table, in the same order, with its states and guards."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.*?) \|", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = [
        (trigger, tuple(re.findall(r"`(\w+)`", sources)), tuple(re.findall(r"`(\w+)`", dest)), guards)
        for trigger, sources, dest, guards in rows
    ]
    assert [(t, s, d, tuple(re.findall(r"`(\w+)`", g))) for t, s, d, g in listed] == [
        (
            row.trigger,
            tuple(str(s) for s in row.sources),
            () if row.dest is SAME else (str(row.dest),),
            tuple(g.__name__ for g in row.guards),
        )
        for row in TABLE
    ]
