"""The application and its user: they bring one request from its making to its end, whatever happens to the children."""

from __future__ import annotations

from tests.torture.world import Refused, World

__all__ = ["drive", "make"]


async def make(world: World, entity_id: str, resource: str = "accounts", *, at: int | None = None) -> str:
    """Make a request, safely repeated under a key; return its id, which from now on must exist."""
    key = f"{entity_id}/{resource}"
    made = await world.do("request", at=at, resource=resource, entity_id=entity_id, key=key)
    request_id: str = made["id"]
    world.acknowledged[key] = request_id
    return request_id


async def drive(world: World, entity_id: str, resource: str = "accounts", *, at: int | None = None) -> str:
    """Make a request and go with it to its end; return its state there."""
    request_id = await make(world, entity_id, resource, at=at)
    while True:
        request = await world.do("wait", at=at, id=request_id, timeout=2.0)
        if request is None:
            continue
        state: str = request.get("state", "requested")
        if state not in {"reconnect_required", "awaiting_user"}:
            return state
        try:
            prompt = await world.do("prompt", at=at, id=request_id)
        except Refused:
            continue
        world.lean.reconnect(prompt["reconnect_id"])
        await world.do("wait", at=at, id=request_id, until=[], timeout=2.0)
