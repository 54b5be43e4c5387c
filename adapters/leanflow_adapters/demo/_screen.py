"""How the demo is told: a line for each thing that happens, a strip of counts beneath, and a table in the end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from leanflow import State
from leanflow_adapters.demo._verdict import Verdict

__all__ = ["Screen"]

_WIDTH = 118  # columns when nobody looks at a terminal
_WAYS_FIT = 110  # columns from which on a request's whole way has room in the table; else its end is shown

_ACTORS: Mapping[str, str] = MappingProxyType(
    {"lean": "cyan", "webhook": "magenta", "backend": "green", "user": "yellow", "attacker": "red", "demo": "bold"}
)
_STATES: Mapping[State, str] = MappingProxyType(
    {
        State.requested: "white",
        State.reconnect_required: "yellow",
        State.awaiting_user: "yellow",
        State.reconnected: "cyan",
        State.results_ready: "cyan",
        State.fetched: "green",
        State.expired: "magenta",
        State.failed: "red",
        State.cancelled: "red",
    }
)


class Screen:
    """Tells the story: in colour on a terminal, in plain lines elsewhere and in CI.

    Args:
        plain: no colour and no strip, whatever the terminal is.
        console: where to; standard output unless given.
    """

    def __init__(self, *, plain: bool = False, console: Console | None = None) -> None:
        if console is None:
            console = Console(highlight=False)
            if plain or os.environ.get("CI") or not console.is_terminal:
                console = Console(highlight=False, color_system=None, force_terminal=False, width=_WIDTH)
        self._console = console
        self._began = time.monotonic()
        self._states: dict[str, State] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._strip, console=self._console, transient=True, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self._console.print()
        plain = not self._console.is_terminal
        self._console.print(Rule(title, align="left", characters="-" if plain else "─", style="dim"))

    def tell(self, actor: str, words: str, *, style: str = "") -> None:
        """Tell one thing."""
        line = Text().append(f"{self.elapsed:6.2f}s  ", style="dim")
        line.append(f"{actor:<9}", style=_ACTORS.get(actor, ""))
        line.append(words, style=style)
        self._console.print(line, soft_wrap=True)

    def state(self, label: str, was: State | None, to: State, cause: str) -> None:
        """Tell that a request entered a state."""
        self._states[label] = to
        line = Text().append(f"{self.elapsed:6.2f}s  ", style="dim")
        line.append(f"{'backend':<9}", style=_ACTORS["backend"])
        line.append(f"{label}: ")
        if was is not None:
            line.append(f"{was} → ", style="dim")
        line.append(str(to), style=f"bold {_STATES[to]}")
        line.append(f"   ({cause})", style="dim")
        self._console.print(line, soft_wrap=True)

    def verdict(self, verdict: Verdict) -> None:
        """Show what came of it all."""
        plain, wide = not self._console.is_terminal, self._console.width >= _WAYS_FIT
        table = Table(box=box.ASCII if plain else box.ROUNDED, title="What happened", title_justify="left")
        for name in ("request", "way" if wide else "end"):
            table.add_column(name, overflow="fold")
        for name in ("calls", "pages sent/kept", "effects"):
            table.add_column(name, justify="right")
        table.add_column("as it must")
        for row in verdict.rows:
            states = [Text(str(state), style=_STATES[state]) for state in row.way] or [Text("-")]
            way = Text(" → ").join(states) if wide else states[-1]
            told = Text("yes", style="green") if row.is_good else Text(f"NO: {row.problem}", style="bold red")
            table.add_row(row.label, way, str(row.calls), f"{row.data}/{row.pages}", str(row.effects), told)
        self._console.print()
        self._console.print(table)
        for fact in verdict.facts:
            mark = Text().append(*(("yes  ", "green") if fact.holds else ("NO   ", "bold red")))
            self._console.print(mark.append(fact.words), soft_wrap=True)
        self._console.print()
        end = "every request ended as it must" if verdict.is_good else "NOT everything ended as it must"
        style = "bold green" if verdict.is_good else "bold red"
        self._console.print(Text(f"{end}   ({self.elapsed:.1f} s)", style=style))

    def _strip(self) -> Text:
        counts = dict.fromkeys(State, 0)
        for state in self._states.values():
            counts[state] += 1
        strip = Text("  ")
        for state, count in counts.items():
            if count:
                strip.append(f"{state} {count}   ", style=_STATES[state])
        return strip
