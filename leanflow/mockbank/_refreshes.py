"""Refreshes of an entity's stored data, their webhooks and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from leanflow._call import Answer

from ._answers import Refused, page_of
from ._ask import Ask
from ._state import Entity, Refresh
from ._times import milli, nano
from ._world import World

__all__ = ["finish", "first_refresh", "list_refreshes", "one_refresh", "post_refresh", "start"]

_PARTS = (
    "balance",
    "identity",
    "transactions",
    "scheduled_payments",
    "direct_debits",
    "standing_orders",
    "beneficiaries",
)
_RECONNECT_MESSAGE = "The bank needs the user. Reconnect with the reconnect_id."


def start(world: World, refresh: Refresh, now: datetime) -> None:
    """Let a refresh run: accounts are done half way, the rest at the end; each step is announced."""
    refresh.status, refresh.updated_at, refresh.accounts_done = "PENDING", now, False
    refresh.entity.refresh_starts.append(now)
    _announce(world, refresh, now)
    if refresh.held:
        return
    length = world.settings.refresh_duration
    world.later.at(now + length / 2, lambda when: _half(world, refresh, when))
    world.later.at(now + length, lambda when: finish(world, refresh, when))


def _half(world: World, refresh: Refresh, when: datetime) -> None:
    if refresh.status == "PENDING":
        refresh.accounts_done, refresh.updated_at = True, when
        _announce(world, refresh, when)


def finish(world: World, refresh: Refresh, when: datetime) -> None:
    """End a refresh, failed parts included, and announce it."""
    if refresh.status == "PENDING":
        refresh.status, refresh.updated_at = "FINISHED", when
        _announce(world, refresh, when)


def _announce(world: World, refresh: Refresh, now: datetime) -> None:
    customer = refresh.entity.customer
    done = refresh.status == "FINISHED"
    payload = {
        "entity_id": refresh.entity.entity_id,
        "refresh_id": refresh.refresh_id,
        "customer_id": customer.customer_id,
        "app_user_id": customer.app_user_id,
        "status": world.settings.refresh_done if done else "PENDING",
        "data_status": _data_status(world, refresh, now, "transaction_availability"),
    }
    message = "The refresh of an entity's data has moved on."
    world.webhooks.emit("entity.data.refresh.updated", payload, message, now, lane=refresh.entity.entity_id)


def _data_status(world: World, refresh: Refresh, now: datetime, availability: str) -> dict[str, Any]:
    """Return the status of each part. The API and the webhook spell the availability differently."""
    book, done = world.book(refresh.entity), refresh.status == "FINISHED"
    first, last = book.reach(now)

    def part(name: str, *, ready: bool) -> str:
        if not ready:
            return "PENDING"
        return "FAILED" if name in refresh.failed_parts else "OK"

    parts = []
    for account in book.accounts:
        one: dict[str, Any] = {"account_id": account.account_id, **{name: part(name, ready=done) for name in _PARTS}}
        if done:
            one[availability] = {"start": first.isoformat(), "end": last.isoformat()}
            if availability == "transaction_availability":
                one[availability]["complete_months"] = 24
        parts.append(one)
    return {
        "accounts": part("accounts", ready=done or refresh.accounts_done),
        "identity": part("identity", ready=done),
        "account_data": parts,
    }


def first_refresh(world: World, entity: Entity, now: datetime) -> None:
    """Refresh a new entity by itself, if the settings say so; it counts for no limit."""
    if world.settings.refresh_on_connect:
        start(world, new_refresh(world, entity, now), now)
        entity.refresh_starts.clear()


def new_refresh(
    world: World, entity: Entity, now: datetime, *, failed_parts: frozenset[str] = frozenset(), held: bool = False
) -> Refresh:
    """Remember a refresh that has not begun."""
    refresh = Refresh(
        refresh_id=world.ids.next("refresh"),
        entity=entity,
        status="RECONNECT_REQUIRED",
        created_at=now,
        updated_at=now,
        failed_parts=failed_parts,
        held=held,
    )
    world.refreshes[refresh.refresh_id] = refresh
    if len(world.refreshes) > 10_000:
        world.refreshes.popitem(last=False)
    return refresh


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
    entity = ask.entity(ask.body.get("entity_id"))
    if not entity.consented(ask.now):
        raise Refused(status=403, code="CONSENT_EXPIRED")
    fault = world.faults.deciding(ask.context())
    ask.struck = fault.effect if fault else None
    has: Mapping[str, Any] = fault.details if fault else {}
    effect = fault.effect if fault else ""
    if effect == "duplicated":
        raise Refused(status=429, code="DUPLICATED_REQUEST")
    if effect == "consent":
        raise Refused(status=403, code="CONSENT_EXPIRED")
    if effect == "failed":
        return ask.write.failed("v2", world.call_id(), has["code"], has.get("info"))
    if effect == "slow":
        ask.delay += has["seconds"]
    wanted = effect == "reconnect" or not world.session_live(entity, ask.now)
    if not wanted:
        _check_limits(ask, entity)
    failed_parts = frozenset(has["parts"]) if effect == "partial" else frozenset[str]()
    refresh = new_refresh(world, entity, ask.now, failed_parts=failed_parts, held=effect == "pending")
    body = {"refresh_id": refresh.refresh_id, "timestamp": nano(ask.now)}
    if wanted:
        refresh.reconnect_since = ask.now
        body |= {"reconnect_id": refresh.refresh_id, "status": "RECONNECT_REQUIRED", "message": _RECONNECT_MESSAGE}
        return ask.write.json({**body, "metadata": None})
    entity.last_used = ask.now
    start(world, refresh, ask.now)
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
    entity = ask.entity(ask.call.query.get("entity_id"))
    number, size = ask.whole("page", 0), ask.whole("size", 50, least=1, most=100)
    mine = [r for r in ask.world.refreshes.values() if r.entity is entity and r.status != "RECONNECT_REQUIRED"]
    shown = [_head(refresh) for refresh in mine[::-1][number * size : (number + 1) * size]]
    return ask.write.json({"content": shown, "page": page_of(number, size, len(mine))})


def one_refresh(ask: Ask) -> Answer:
    """Answer ``GET /data/v2/refreshes/{refresh_id}``; PENDING while it wants the user: the enum has no other word."""
    world = ask.world
    refresh = world.refreshes.get(ask.uuid("refresh_id", ask.parts["refresh_id"]))
    fault = world.faults.deciding(ask.context())
    ask.struck = fault.effect if fault else None
    gone = refresh is None or (
        refresh.status == "RECONNECT_REQUIRED" and world.too_old(refresh.reconnect_since, ask.now)
    )
    if refresh is None or gone or (fault is not None and fault.effect == "unknown_results"):
        raise Refused(status=404, code="UNKNOWN_REFRESH_ID")
    return ask.write.json(
        {**_head(refresh), "data_status": _data_status(world, refresh, ask.now, "transactionAvailability")}
    )
