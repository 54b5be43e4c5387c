"""Refreshes of an entity's stored data: how they run, what is ready of them, and their webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ._state import Entity, Refresh, resource_of
from ._world import World
from .adversary._progress import Progress
from .basics._memory import thin

__all__ = ["DATA_TYPES", "data_status", "finish", "first_refresh", "new_refresh", "start"]

_PARTS = (
    "balance",
    "identity",
    "transactions",
    "scheduled_payments",
    "direct_debits",
    "standing_orders",
    "beneficiaries",
)
DATA_TYPES = ("accounts", *_PARTS)


def start(world: World, refresh: Refresh, now: datetime) -> None:
    """Let a refresh run: accounts are done half way, the rest at the end; each step is announced."""
    refresh.status, refresh.updated_at, refresh.accounts_done = "PENDING", now, False
    refresh.entity.refresh_starts.append(now)
    _announce(world, refresh, now)
    progress = refresh.progress or world.progress("refreshes", refresh)
    refresh.polls_left, refresh.ends_by_itself = progress.polls_left, progress.delay is not None
    if progress.delay is not None:
        world.later.at(now + progress.delay / 2, lambda when: _half(world, refresh, when))
        world.later.at(now + progress.delay, lambda when: finish(world, refresh, when))


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
        "data_status": data_status(world, refresh, now, "transaction_availability"),
    }
    message = "The refresh of an entity's data has moved on."
    world.tell("entity.data.refresh.updated", payload, message, refresh.entity, now, resource_of(refresh))


def data_status(world: World, refresh: Refresh, now: datetime, availability: str) -> dict[str, Any]:
    """Return the status of each part. The API and the webhook spell the availability differently."""
    book, done = world.book(refresh.entity), refresh.status == "FINISHED"
    first, last = book.reach(now)

    def part(name: str, *, ready: bool) -> str:
        if refresh.data_types is not None and name not in refresh.data_types:
            return "OK"  # what the store has stays
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
    world: World,
    entity: Entity,
    now: datetime,
    *,
    failed_parts: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Refresh:
    """Remember a refresh that has not begun."""
    refresh = Refresh(
        refresh_id=world.ids.next("refresh"),
        entity=entity,
        status="RECONNECT_REQUIRED",
        created_at=now,
        updated_at=now,
        failed_parts=failed_parts,
        progress=progress,
    )
    world.refreshes[refresh.refresh_id] = refresh
    thin(world.refreshes, world.settings.remembers, lambda one: one.status != "FINISHED")
    return refresh
