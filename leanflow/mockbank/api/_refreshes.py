"""The paths of refreshes: asked for, listed, looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from leanflow._call import Answer
from leanflow.mockbank._refreshes import data_status, finish, new_refresh, start
from leanflow.mockbank._state import Entity, Refresh
from leanflow.mockbank.adversary._progress import Progress
from leanflow.mockbank.basics._times import milli, nano

from ._answers import Refused, page_of
from ._ask import Ask

__all__ = ["list_refreshes", "one_refresh", "post_refresh"]

_RECONNECT_MESSAGE = "The bank needs the user. Reconnect with the reconnect_id."


def _check_limits(ask: Ask, entity: Entity) -> None:
    settings = ask.world.settings
    entity.refresh_starts = [at for at in entity.refresh_starts if ask.now - at < timedelta(days=1)]
    for one in ask.world.refreshes.values():
        if one.entity is entity and one.status == "PENDING":
            raise Refused(status=429, code="DUPLICATED_REQUEST", message="A refresh of this entity is already pending.")
    limit = settings.refresh_daily_limit
    too_soon = entity.refresh_starts and ask.now - entity.refresh_starts[-1] < settings.refresh_cooldown
    if limit is not None and (too_soon or len(entity.refresh_starts) >= limit):
        raise Refused(status=429, code="RATE_LIMIT_EXCEEDED")


def post_refresh(ask: Ask) -> Answer:
    """Answer ``POST /data/v2/refreshes``."""
    world = ask.world
    entity = ask.entity(ask.body["entity_id"])
    if not entity.consented(ask.now):
        raise Refused(status=403, code="CONSENT_EXPIRED")
    fault = world.adversary.deciding(ask.context())
    has: Mapping[str, Any] = fault.details if fault else {}
    effect = fault.effect if fault else ""
    if effect == "duplicated":
        raise Refused(status=429, code="DUPLICATED_REQUEST")
    if effect == "consent_expired":
        raise Refused(status=403, code="CONSENT_EXPIRED")
    if effect == "failed":
        return ask.write.failed("v2", world.call_id(), has["code"], has.get("info"))
    wants_user = effect == "reconnect" or not world.session_live(entity, ask.now)
    if not wants_user:
        _check_limits(ask, entity)
    failed_parts = frozenset(has["parts"]) if effect == "partial_refresh" else frozenset[str]()
    progress = Progress.of(has["progress"]) if effect == "pending" else None
    refresh = new_refresh(world, entity, ask.now, failed_parts=failed_parts, progress=progress)
    if world.settings.region == "ksa" and "data_types" in ask.body:
        refresh.data_types = frozenset(ask.body["data_types"])
    body = {"refresh_id": refresh.refresh_id, "timestamp": nano(ask.now)}
    if wants_user:
        refresh.reconnect_since = ask.now
        body |= {"reconnect_id": refresh.refresh_id, "status": "RECONNECT_REQUIRED", "message": _RECONNECT_MESSAGE}
        return ask.write.json({**body, "metadata": None})
    entity.last_used = ask.now
    start(world, refresh, ask.now)
    world.catch_up(ask.now)
    return ask.write.json({**body, "status": "OK", "message": "The refresh has begun."})


def _head(refresh: Refresh) -> dict[str, Any]:
    return {
        "refresh_id": refresh.refresh_id,
        "entity_id": refresh.entity.entity_id,
        "customer_id": refresh.entity.customer.customer_id,
        "status": "FINISHED" if refresh.status == "FINISHED" else "PENDING",
        "created_at": milli(refresh.created_at),
        "updated_at": milli(refresh.updated_at),
    }


def list_refreshes(ask: Ask) -> Answer:
    """Answer ``GET /data/v2/refreshes``, newest first, under ``content``; those that want the user are not listed."""
    entity = ask.entity(ask.query["entity_id"])
    number, size = ask.page()
    mine = [r for r in ask.world.refreshes.values() if r.entity is entity and r.status != "RECONNECT_REQUIRED"]
    shown = [_head(refresh) for refresh in mine[::-1][number * size : (number + 1) * size]]
    return ask.write.json({"content": shown, "page": page_of(number, size, len(mine))})


def one_refresh(ask: Ask) -> Answer:
    """Answer ``GET /data/v2/refreshes/{refresh_id}``; PENDING while it wants the user: the enum has no other word."""
    world = ask.world
    refresh = world.refreshes.get(ask.path["refresh_id"].lower())
    fault = world.adversary.deciding(ask.context())
    gone = refresh is None or (
        refresh.status == "RECONNECT_REQUIRED" and world.too_old(refresh.reconnect_since, ask.now)
    )
    if refresh is None or gone or (fault is not None and fault.effect == "unknown_results"):
        raise Refused(status=404, code="UNKNOWN_REFRESH_ID")
    if refresh.status == "PENDING" and refresh.polls_left is not None:
        refresh.polls_left -= 1
        if refresh.polls_left < 0:
            finish(world, refresh, ask.now)
    return ask.write.json(
        {**_head(refresh), "data_status": data_status(world, refresh, ask.now, "transactionAvailability")}
    )
