"""Turns: every await of a process at a port waits for one, and what becomes of it there is decided from the seed.

Theory of operation. All engines of a run live on one event loop. Whatever one of them asks of a port (the store, Lean,
a bus, a handler) first waits for its turn. When all tasks wait, the run hands out one turn, lets the loop settle, and
chooses again. So every order in which the awaits of all processes could come is a possible run, one seed is one order,
and a process can die at any await: it is simply never given its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import attrs

__all__ = ["Dying", "Fate", "Turn", "Turns"]


class Fate(StrEnum):
    """What becomes of one await at a port."""

    go = "go"  # it is done, and its answer comes back
    refuse = "refuse"  # it is not done, and the process is told so
    lose = "lose"  # it is done, and the process is told that it failed: the outcome that nobody knows
    die = "die"  # it is done, and the process dies before it hears of it
    twice = "twice"  # it is done two times: a bus that delivers again


class Dying(Protocol):
    """A process, as far as turns know it."""

    name: str
    is_dead: bool
    frozen_until: datetime | None


@attrs.define(eq=False)
class Turn:
    """One await at a port.

    Attributes:
        process: whose.
        port: ``store``, ``lean``, ``bus`` or ``handler``.
        name: what is asked of it.
        back: whether it is done already, and only its answer is on its way.
        not_before: held until then: a slow network.
    """

    process: Dying
    port: str
    name: str
    back: bool
    future: asyncio.Future[Fate]
    not_before: datetime | None = None


class Turns:
    """All that wait, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[Turn, None] = {}

    async def wait(
        self, process: Dying, port: str, name: str, *, back: bool = False, not_before: datetime | None = None
    ) -> Fate:
        """Wait for the turn; return what is to become of it.

        Raises:
            CancelledError: the process is dead; nothing of it happens any more.
        """
        if process.is_dead:
            raise asyncio.CancelledError
        turn = Turn(process, port, name, back, asyncio.get_running_loop().create_future(), not_before)
        self._waiting[turn] = None
        try:
            return await turn.future
        finally:
            self._waiting.pop(turn, None)

    def give(self, turn: Turn, fate: Fate = Fate.go) -> None:
        """Give a turn to who waits for it."""
        del self._waiting[turn]
        if not turn.future.done():
            turn.future.set_result(fate)

    def waiting(self) -> Iterator[Turn]:
        """Yield all that wait."""
        return iter(self._waiting)

    def ready(self, now: datetime) -> list[Turn]:
        """Return those that may go on: not held, of processes that are not frozen."""
        return [
            turn
            for turn in self._waiting
            if (turn.not_before is None or turn.not_before <= now)
            and (turn.process.frozen_until is None or turn.process.frozen_until <= now)
        ]

    def next_release(self, now: datetime) -> datetime | None:
        """Return when the next that is held back may go on."""
        times = [max(filter(None, (turn.not_before, turn.process.frozen_until)), default=now) for turn in self._waiting]
        return min((at for at in times if at > now), default=None)
