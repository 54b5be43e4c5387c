"""The data calls of v1 and v2, and their results."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from leanflow._call import Answer
from leanflow._request import Resource

from ._answers import Refused, page_of
from ._ask import Ask, invalid
from ._faults import Fault
from ._json import loads
from ._state import Entity, Result

__all__ = ["data", "results"]

_PERMISSION: Mapping[str, str] = {"balances": "balance"}  # the path says balances, the permission balance
_OF_ENTITY = frozenset({Resource.accounts, Resource.identity})
_RETRYABLE_LATER = "Please try again in a minute."


def data(ask: Ask) -> Answer:
    """Answer one data call. The order of checks: parameters, entity, account, consent, permission, bank, user."""
    resource = ask.resource or Resource.accounts  # the routes of data calls all name theirs
    entity = ask.entity(ask.given("entity_id"))
    account_id = _account(ask, entity)
    ask.whole("page", 0)
    ask.whole("size", 50, least=1, most=100)
    start, end = ask.day("start_date"), ask.day("end_date")
    if start and end and start > end:
        raise invalid("start_date", start)
    wants_async, meta = ask.flag("async"), _meta(ask)
    if not entity.consented(ask.now):
        return _consent_expired(ask, ask.world.settings.consent_shape)
    if _PERMISSION.get(resource, resource) not in entity.permissions:
        raise Refused(status=403, code="USER_PERMISSIONS_NOT_GRANTED", results_id=ask.world.call_id())
    refused = _refusing(ask, entity, account_id)
    if refused is not None:
        return refused

    def remembered() -> Result:
        return ask.world.new_result(
            entity,
            api=ask.api,
            resource=resource,
            account_id=account_id,
            now=ask.now,
            start=start,
            end=end,
            meta=meta,
        )

    fault = ask.world.faults.deciding(ask.context())
    if fault is not None:
        answer = _faulty(ask, fault, remembered)
        if answer is not None:
            return answer
    if not ask.world.session_live(entity, ask.now):
        result = remembered()
        ask.world.wants_user(result, ask.now)
        return ask.write.reconnect(result)
    entity.last_used = ask.now
    if wants_async:
        return _pending(ask, remembered(), after=ask.world.settings.async_delay)
    return _page(ask, ask.world.call_id(), entity, resource, account_id, start, end, meta)


def _account(ask: Ask, entity: Entity) -> str | None:
    if ask.resource in _OF_ENTITY:
        return None
    account_id = ask.parts.get("account_id") or ask.given("account_id")
    if ask.world.book(entity).account(ask.uuid("account_id", account_id)) is None:
        raise Refused(status=404, code="UNKNOWN_ACCOUNT", results_id=ask.world.call_id())
    return str(account_id)


def _meta(ask: Ask) -> dict[str, str] | None:
    text = ask.call.query.get("meta")
    if text is None:
        return None
    meta = loads(text.encode())
    if not isinstance(meta, dict):
        raise invalid("meta", text)
    return {str(name): value if isinstance(value, str) else str(value) for name, value in meta.items()}


def _refusing(ask: Ask, entity: Entity, account_id: str | None) -> Answer | None:
    """Return the FAILED that the bank, the user or an identical pending call brings, or None."""
    world = ask.world
    availability = world.availability[entity.bank.identifier]
    if not availability.active_data:
        return _failed(ask, "DISABLED_BY_LEAN")
    if not availability.enabled_data:
        return _failed(ask, "DISABLED_BY_CLIENT")
    if entity.locked:
        return _failed(ask, "EU_ACCOUNT_LOCKED")
    if world.settings.duplicates_refused and any(
        one.status == "PENDING"
        and one.entity is entity
        and (one.resource, one.account_id) == (ask.resource, account_id)
        for one in world.results.values()
    ):
        return _failed(ask, "DUPLICATED_REQUEST", _RETRYABLE_LATER)
    return None


def _failed(ask: Ask, code: str, info: str | None = None) -> Answer:
    return ask.write.failed(ask.api, ask.world.call_id(), code, info)


def _consent_expired(ask: Ask, shape: str) -> Answer:
    """The same fact in the three shapes that Lean's pages show."""
    if shape == "status_403":
        raise Refused(status=403, code="CONSENT_EXPIRED")
    if shape == "envelope":
        return ask.write.failed(ask.api, ask.world.call_id(), "CONSENT_EXPIRED", status="CONSENT_EXPIRED")
    return ask.write.failed(ask.api, ask.world.call_id(), "CONSENT_EXPIRED", http=403)


def _pending(ask: Ask, result: Result, *, after: timedelta | None, polls: int | None = None) -> Answer:
    ask.world.pend(result, ask.now, after=after, polls=polls)
    ask.world.catch_up(ask.now)  # a delay of nothing: ready, and announced, before the answer leaves
    return ask.write.pending(result, ask.world.settings.pending_status)


def _faulty(ask: Ask, fault: Fault, remembered: Any) -> Answer | None:
    """Return what a deciding fault makes of a data call; None if it only slows it."""
    ask.struck, has = fault.effect, fault.details
    match fault.effect:
        case "failed":
            return _failed(ask, has["code"], has.get("info"))
        case "pending":
            return _pending(ask, remembered(), after=has.get("after"), polls=has.get("polls"))
        case "reconnect":
            result = remembered()
            ask.world.wants_user(result, ask.now)
            return ask.write.reconnect(result)
        case "duplicated":
            if has["enveloped"]:
                return _failed(ask, "DUPLICATED_REQUEST", _RETRYABLE_LATER)
            raise Refused(status=429, code="DUPLICATED_REQUEST")
        case "consent":
            return _consent_expired(ask, has["shape"])
        case "slow":
            limit = ask.world.settings.sync_limit.total_seconds()
            ask.delay += min(has["seconds"], limit)
            if has["seconds"] >= limit:
                return _pending(ask, remembered(), after=timedelta(seconds=has["seconds"]))
    return None


def _page(
    ask: Ask,
    results_id: str,
    entity: Entity,
    resource: Resource,
    account_id: str | None,
    start: date | None,
    end: date | None,
    meta: dict[str, str] | None,
    *,
    api: str | None = None,
    as_of: Any = None,
) -> Answer:
    """Return data: all of it in v1, one page in v2."""
    book, moment = ask.world.book(entity), as_of or ask.now
    if (api or ask.api) == "v1":
        return ask.write.data_v1(results_id, book.payload(resource, account_id, moment))
    number, size = ask.whole("page", 0), ask.whole("size", 50, least=1, most=100)
    total, items = book.items(resource, account_id, moment, start=start, end=end)
    return ask.write.data_v2(
        results_id,
        resource.value,
        items(number * size, (number + 1) * size),
        page_of(number, size, total),
        refreshed_at=moment,
        account_id=account_id,
        meta=meta,
    )


# results


def results(ask: Ask) -> Answer:
    """Answer ``GET results/{results_id}`` at any of its addresses, in the shape of the call that it belongs to."""
    world, context = ask.world, ask.context()
    results_id = ask.uuid("results_id", ask.parts["results_id"])
    result = world.known_result(results_id, ask.now)
    if result is None or _struck(ask, world.faults.deciding(context, "unknown_results")):
        raise Refused(status=404, code="UNKNOWN_RESULTS_ID", results_id=results_id)
    ask.api = result.api
    if result.status == "RECONNECT_REQUIRED":
        return ask.write.reconnect(result)
    if result.status == "PENDING" and result.polls_left is not None:
        result.polls_left -= 1
        if result.polls_left < 0:
            world.ready(result, ask.now)
    if result.status == "PENDING":
        return ask.write.pending(result, world.settings.pending_status)
    if not result.entity.consented(ask.now):
        return _consent_expired(ask, world.settings.consent_shape)
    fault = world.faults.deciding(context)
    if _struck(ask, fault) and fault is not None:
        return _faulty_result(ask, fault, result)
    return _result_page(ask, result)


def _struck(ask: Ask, fault: Fault | None) -> bool:
    if fault is not None:
        ask.struck = fault.effect
    return fault is not None


def _result_page(ask: Ask, result: Result) -> Answer:
    result.entity.last_used = ask.now
    return _page(
        ask,
        result.results_id,
        result.entity,
        result.resource,
        result.account_id,
        result.start,
        result.end,
        result.meta,
        api=result.api,
        as_of=result.as_of,
    )


def _faulty_result(ask: Ask, fault: Fault, result: Result) -> Answer:
    world, has = ask.world, fault.details
    match fault.effect:
        case "failed":
            return ask.write.failed(result.api, result.results_id, has["code"], has.get("info"), meta=result.meta)
        case "pending":
            return _pending(ask, result, after=has.get("after"), polls=has.get("polls"))
        case "reconnect":
            again = _again(ask, result, new_ids=has["new_ids"])
            world.wants_user(again, ask.now)
            return ask.write.reconnect(again)
        case "consent":
            return _consent_expired(ask, has["shape"])
        case "slow":
            ask.delay += has["seconds"]
    return _result_page(ask, result)


def _again(ask: Ask, result: Result, *, new_ids: bool) -> Result:
    """Return the result of the next round: with new ids, or the same one (v1 has a new reconnect id in any case)."""
    if not new_ids:
        if result.api == "v1":
            result.reconnect_id = ask.world.ids.next("reconnect")
        return result
    del ask.world.results[result.results_id]
    return ask.world.new_result(
        result.entity,
        api=result.api,
        resource=result.resource,
        account_id=result.account_id,
        now=ask.now,
        start=result.start,
        end=result.end,
        meta=result.meta,
    )
