"""What the sides of a `Mockbank` have in common: its world, and the time."""

from __future__ import annotations

from datetime import datetime

from leanflow.errors import InvalidRequest
from leanflow.mockbank._state import Entity
from leanflow.mockbank._world import World

__all__ = ["Side"]


class Side:
    """One side of a Mockbank. Its methods take the present time; without one, they ask what `follow` was given."""

    _world: World

    def _entity(self, entity_id: str) -> Entity:
        found = self._world.entities.get(entity_id)
        if found is None:
            raise InvalidRequest("entity_id", f"{entity_id!r} is no entity of this Mockbank")
        return found

    def _at(self, now: datetime | None) -> datetime:
        at = self._world.present() if now is None else now
        self._world.catch_up(at)
        return at
