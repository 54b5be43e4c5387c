"""What a scenario is handed, what it brings back, and the table of all of it."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs

from tests.support.postgres import URL
from tests.torture.bases import STORES, Base, SchemaBase
from tests.torture.keys import KeysBase
from tests.torture.nursery import Nursery
from tests.torture.world import World

__all__ = ["Figure", "Run", "Scenario", "table"]


@attrs.define
class Figure:
    """What was seen.

    Attributes:
        rounds: how many times.
        kills: processes killed meanwhile.
        violations: what must not be, in words; empty is good.
        seconds: it took.
        notes: measured beside that.
        skipped: why it was not run.
    """

    rounds: int = 0
    kills: int = 0
    violations: list[str] = attrs.field(factory=list)
    seconds: float = 0.0
    notes: dict[str, Any] = attrs.field(factory=dict)
    skipped: str | None = None


@attrs.define
class Run:
    """What a scenario goes by.

    Attributes:
        nursery: where children come from.
        directory: its own.
        seed: of everything that is left to chance.
        rounds: how often.
        is_fast: whether sizes beside the rounds are to be small as well.
        store: which kind; of `tests.torture.bases.STORES`.
        binding: through which webhooks come in; of `tests.torture.bindings.BINDINGS`.
    """

    nursery: Nursery
    directory: Path
    seed: int
    rounds: int
    is_fast: bool = False
    store: str = "sqlite"
    binding: str = "aiohttp"
    figure: Figure = attrs.field(factory=Figure)

    @property
    def patience(self) -> float:
        """By how much longer than on a quiet machine things may take."""
        return self.nursery.patience

    @property
    def dice(self) -> random.Random:
        """Dice with this seed."""
        return random.Random(self.seed)

    def world(self, name: str = "world", seed: int = 0, *, base: Base | None = None, **settings: Any) -> World:
        """Return a world of its own, not entered."""
        settings = {"binding": self.binding, **settings}
        return World(self.nursery, self.directory / name, self.seed * 1000 + seed, settings, base or self.base())

    def base(self, dsn: str | None = None, theirs: str | None = None) -> Base | None:
        """Return a fresh schema to be, a Redis, or None where the world's own file is meant."""
        if self.store == "redis":
            return KeysBase(dsn, theirs)
        return SchemaBase(dsn or URL, f"torture_{uuid4().hex}", theirs) if self.store == "postgres" else None

    async def each(self, rounds: Iterable[Awaitable[None]], at_once: int) -> None:
        """Play rounds, so many at a time; one that breaks off is a violation and holds up no other."""
        room = asyncio.Semaphore(at_once)

        async def one(played: Awaitable[None]) -> None:
            async with room:
                try:
                    await played
                except Exception as error:  # noqa: BLE001 - whatever it was, it must be seen and not end the others
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    said = f"{type(error).__name__}: {error} at {Path(where.filename).name}:{where.lineno}"
                    self.figure.violations.append(f"broke off with {said}")

        async with asyncio.TaskGroup() as group:
            for played in rounds:
                group.create_task(one(played))

    def add(self, world: World, violations: Sequence[str]) -> None:
        """Count what happened in a world."""
        self.figure.kills += world.kills
        where = world.directory.name
        self.figure.violations.extend(f"[{where}] {violation}" for violation in violations)


@attrs.frozen
class Scenario:
    """One row of the table.

    Attributes:
        name: as in docs/reference/reliability.md.
        what: in a few words.
        play: does it.
        rounds: of the whole run.
        fast: rounds of the fast one.
        stores: the kinds on which it is played.
    """

    name: str
    what: str
    play: Callable[[Run], Awaitable[None]]
    rounds: int
    fast: int
    stores: tuple[str, ...] = STORES


def table(figures: Mapping[str, tuple[Scenario, Figure]]) -> str:
    """Return the table as Markdown."""
    lines = ["| test | what | rounds | kills | violations | seconds | notes |", "|---|---|---:|---:|---:|---:|---|"]
    for name, (scenario, figure) in figures.items():
        if figure.skipped is not None:
            lines.append(f"| {name} | {scenario.what} | - | - | - | - | skipped: {figure.skipped} |")
            continue
        notes = ", ".join(f"{key} {_round(value)}" for key, value in figure.notes.items())
        counts = f"{figure.rounds} | {figure.kills} | {len(figure.violations)} | {figure.seconds:.1f}"
        lines.append(f"| {name} | {scenario.what} | {counts} | {notes} |")
    return "\n".join(lines)


def _round(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
