"""The machine's page shows the table and its diagram as they are."""

from __future__ import annotations

import re
from pathlib import Path

from leanflow import mermaid
from leanflow._table import SAME, TABLE

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "machine.md"


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
