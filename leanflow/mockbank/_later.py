"""What is going to happen to a Mockbank by itself."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime

__all__ = ["Later"]


class Later:
    """What happens at a time, in order of time and of arrangement.

    Attributes:
        changed: is called when something new was arranged.
    """

    def __init__(self) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._heap: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._number = 0

    def at(self, when: datetime, happen: Callable[[datetime], None]) -> None:
        """Arrange for `happen(when)`."""
        self._number += 1
        heapq.heappush(self._heap, (when, self._number, happen))
        self.changed()

    def pop(self, now: datetime) -> tuple[datetime, Callable[[datetime], None]] | None:
        """Return the next thing due by `now`, or None."""
        if self._heap and self._heap[0][0] <= now:
            when, _, happen = heapq.heappop(self._heap)
            return when, happen
        return None

    def next(self) -> datetime | None:
        """Return when the next thing happens, or None."""
        return self._heap[0][0] if self._heap else None
