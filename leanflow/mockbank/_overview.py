"""What a Mockbank remembers, told as JSON values: all of it (`state`), or the latest of everything (`overview`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import attrs

from ._log import CallRecord, WebhookRecord
from ._state import Customer, Entity, Refresh, Result
from ._world import World

__all__ = ["overview", "state", "waiting_for_user"]

T = TypeVar("T")
Told = dict[str, Any]


def state(world: World, at: datetime) -> Told:
    """Return everything, the oldest first."""
    return {
        **_head(world, at),
        "customers": [_customer(one) for one in world.customers.values()],
        "entities": [
            {**_entity(world, one, at), "accounts": [each.account_id for each in world.book(one).accounts]}
            for one in world.entities.values()
        ],
        "results": [_result(one) for one in world.results.values()],
        "refreshes": [_refresh(one) for one in world.refreshes.values()],
        "deliveries_waiting": world.webhooks.waiting,
        "calls": world.log.counts(),
    }


def overview(world: World, at: datetime, most: int) -> Told:
    """Return the latest of everything, the newest first, and how much there is in all.

    Args:
        world: whose.
        at: the present time.
        most: how many of each.
    """
    reconnects = list(waiting_for_user(world))
    storm = world.adversary.storm
    return {
        **_head(world, at),
        "totals": {
            "customers": len(world.customers),
            "entities": len(world.entities),
            "reconnects": len(reconnects),
            "results": len(world.results),
            "refreshes": len(world.refreshes),
            "deliveries": world.webhooks.waiting,
            "calls": world.log.total_calls,
        },
        "customers": [_customer(one) for one in _newest(world.customers, most)],
        "entities": [
            {**_entity(world, one, at), "app_user_id": one.customer.app_user_id}
            for one in _newest(world.entities, most)
        ],
        "reconnects": [_reconnect(world, one, since) for since, one in reconnects[: -most - 1 : -1]],
        "results": [{**_result(one), "created_at": _moment(one.created_at)} for one in _newest(world.results, most)],
        "refreshes": [
            {**_refresh(one), "created_at": _moment(one.created_at)} for one in _newest(world.refreshes, most)
        ],
        "deliveries": [
            {
                "event_id": delivery.event_id,
                "type": delivery.type,
                "attempt": delivery.attempt,
                "due": _moment(due),
                "under_way": under_way,
                "forged": delivery.forged,
            }
            for delivery, due, under_way in world.webhooks.upcoming(most)
        ],
        "calls": [_call(one) for one in islice(reversed(world.log.calls), most)],
        "webhooks": [_webhook(one) for one in islice(reversed(world.log.webhooks), most)],
        "storm": None if storm is None else {"seed": storm.seed, "weight": storm.weight},
    }


def waiting_for_user(world: World) -> Iterator[tuple[datetime, Result | Refresh]]:
    """Yield what waits for its user and is not too old, and since when, the oldest first."""
    found: list[tuple[datetime, Result | Refresh]] = [
        (one.reconnect_since, one)
        for kept in (world.results, world.refreshes)
        for one in _values(kept)
        if one.status == "RECONNECT_REQUIRED"
        and one.reconnect_since is not None
        and not world.too_old(one.reconnect_since, world.now)
    ]
    yield from sorted(found, key=lambda pair: pair[0])


def _values(kept: Mapping[str, Result] | Mapping[str, Refresh]) -> Iterable[Result | Refresh]:
    return kept.values()


def _newest(kept: dict[str, T], most: int) -> Iterator[T]:
    return islice(reversed(kept.values()), most)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _head(world: World, at: datetime) -> Told:
    return {
        "now": at.isoformat(),
        "app": world.settings.app,
        "region": world.settings.region,
        "webhook_url": world.webhooks.url,
        "banks": {name: attrs.asdict(has) for name, has in world.availability.items()},
        "armed": {str(number): str(one) for number, one in world.adversary.armed().items()},
    }


def _customer(customer: Customer) -> Told:
    return {"customer_id": customer.customer_id, "app_user_id": customer.app_user_id}


def _entity(world: World, entity: Entity, at: datetime) -> Told:
    return {
        "entity_id": entity.entity_id,
        "customer_id": entity.customer.customer_id,
        "bank": entity.bank.identifier,
        "user": entity.user.username,
        "status": entity.status,
        "session_live": world.session_live(entity, at),
        "consented": entity.consented(at),
    }


def _result(result: Result) -> Told:
    return {
        "results_id": result.results_id,
        "reconnect_id": result.reconnect_id,
        "entity_id": result.entity.entity_id,
        "api": result.wanted.api,
        "resource": result.wanted.resource.value,
        "status": result.status,
    }


def _refresh(refresh: Refresh) -> Told:
    return {"refresh_id": refresh.refresh_id, "entity_id": refresh.entity.entity_id, "status": refresh.status}


def _reconnect(world: World, waiting: Result | Refresh, since: datetime) -> Told:
    return {
        "reconnect_id": waiting.reconnect_id if isinstance(waiting, Result) else waiting.refresh_id,
        "entity_id": waiting.entity.entity_id,
        "app_user_id": waiting.entity.customer.app_user_id,
        "wanted": f"{waiting.wanted.api} {waiting.wanted.resource}" if isinstance(waiting, Result) else "refresh",
        "since": _moment(since),
        "by_redirect": waiting.entity.bank.identifier in world.redirects,
        "wrong_otps": waiting.wrong_otps,
    }


def _call(record: CallRecord) -> Told:
    return {
        "at": _moment(record.at),
        "method": record.context.method,
        "path": record.context.path,
        "http_status": record.http_status,
        "status": record.status,
        "fault": record.fault,
    }


def _webhook(record: WebhookRecord) -> Told:
    return {**attrs.asdict(record), "at": _moment(record.at)}
