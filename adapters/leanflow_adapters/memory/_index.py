"""Where to look for a request without looking at all of them: what a database's indexes are for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import attrs

from leanflow._request import DataRequest, State

__all__ = ["Index"]


@attrs.define
class Index:
    """The requests of one scope, by what they are looked for.

    Attributes:
        states: how many there are in each.
    """

    states: Counter[State] = attrs.field(factory=Counter)
    _ids: list[str] = attrs.field(factory=list)
    _due: list[tuple[datetime, str]] = attrs.field(factory=list)
    _live: dict[str, str] = attrs.field(factory=dict)
    _of_entity: dict[str, dict[str, None]] = attrs.field(factory=dict)

    def add(self, request: DataRequest) -> None:
        """Take a new request in."""
        insort(self._ids, request.id)
        self._of_entity.setdefault(request.entity_id, {})[request.id] = None
        self._enter(request)

    def change(self, before: DataRequest, after: DataRequest) -> None:
        """Note that a request is another now."""
        if (before.state, before.due_at, before.fingerprint) != (after.state, after.due_at, after.fingerprint):
            self._leave(before)
            self._enter(after)

    def remove(self, request: DataRequest) -> None:
        """Forget a request."""
        self._leave(request)
        del self._ids[bisect_left(self._ids, request.id)]
        mine = self._of_entity[request.entity_id]
        del mine[request.id]
        if not mine:
            del self._of_entity[request.entity_id]

    def _enter(self, request: DataRequest) -> None:
        self.states[request.state] += 1
        if request.due_at is not None:
            insort(self._due, (request.due_at, request.id))
        if request.fingerprint and not request.state.is_end:
            self._live[request.fingerprint] = request.id

    def _leave(self, request: DataRequest) -> None:
        self.states[request.state] -= 1
        if request.due_at is not None:
            del self._due[bisect_left(self._due, (request.due_at, request.id))]
        if self._live.get(request.fingerprint) == request.id:
            del self._live[request.fingerprint]

    # looking

    def twin(self, fingerprint: str) -> str | None:
        """Return the live request of a fingerprint."""
        return self._live.get(fingerprint) if fingerprint else None

    def ids(self, *, after: str | None, entity_id: str | None) -> Iterator[str]:
        """Yield ids in their order, from the one after `after` on; of one entity, if it is named."""
        if entity_id is not None:
            mine = sorted(self._of_entity.get(entity_id, ()))
            return (one for one in mine if after is None or one > after)
        return islice(self._ids, 0 if after is None else bisect_right(self._ids, after), None)

    def due(self) -> Iterator[tuple[datetime, str]]:
        """Yield when each request is due, and its id, the longest due first."""
        return iter(self._due)
