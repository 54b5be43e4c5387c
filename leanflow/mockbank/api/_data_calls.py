"""The data calls of v1 and v2, and their results."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from leanflow._call import Answer
from leanflow._request import Resource
from leanflow.mockbank._state import Entity, Result, Wanted
from leanflow.mockbank.adversary._faults import Fault
from leanflow.mockbank.adversary._progress import Progress

from ._answers import Refused, invalid, page_of
from ._ask import Ask

__all__ = ["data", "results"]

_PERMISSION: Mapping[str, str] = {"balances": "balance"}  # the path says balances, the permission balance
_OF_ENTITY = frozenset({Resource.accounts, Resource.identity})
_RETRYABLE_LATER = "Please try again in a minute."


def data(ask: Ask) -> Answer:
    """Answer one data call. The order of checks: parameters, entity, account, consent, permission, bank, user."""
    wanted = _wanted(ask)
    entity = wanted.entity
    wants_async = ask.given("async")
    if not entity.consented(ask.now):
        return _consent_expired(ask, ask.world.settings.consent_shape)
    if _PERMISSION.get(wanted.resource, wanted.resource) not in entity.permissions:
        raise Refused(status=403, code="USER_PERMISSIONS_NOT_GRANTED", results_id=ask.world.call_id())
    answer = _refusing(ask, wanted)
    if answer is None and (fault := ask.world.adversary.deciding(ask.context())) is not None:
        answer = _faulty(ask, fault, wanted)
    limit, slow = ask.world.settings.sync_limit.total_seconds(), ask.delay
    ask.delay = min(slow, limit)
    if answer is not None:
        return answer
    if not ask.world.session_live(entity, ask.now):
        return _reconnect(ask, wanted)
    entity.last_used = ask.now
    if wants_async:
        result = ask.world.new_result(wanted, ask.now)
        return _pending(ask, result, ask.world.progress("results", result))
    if slow >= limit:
        return _pending(ask, ask.world.new_result(wanted, ask.now), Progress.after(slow))
    return _page(ask, wanted, ask.world.call_id(), ask.now)


def _wanted(ask: Ask) -> Wanted:
    """Return what the call asks for.

    Raises:
        Refused: 400 for days in the wrong order or in the future, 404 for an unknown entity or account.
    """
    start, end = ask.days()
    entity = ask.entity(ask.given("entity_id"))
    return Wanted(
        api=ask.api,
        resource=ask.resource or Resource.accounts,  # the routes of data calls all name theirs
        entity=entity,
        account_id=_account(ask, entity),
        start=start,
        end=end,
        insights=bool(ask.given("insights")),
        meta=_meta(ask),
    )


def _reconnect(ask: Ask, wanted: Wanted) -> Answer:
    result = ask.world.new_result(wanted, ask.now)
    ask.world.wants_user(result, ask.now)
    return ask.write.reconnect(result)


def _account(ask: Ask, entity: Entity) -> str | None:
    if ask.resource in _OF_ENTITY:
        return None
    account_id: str = (ask.path.get("account_id") or ask.given("account_id")).lower()
    if ask.world.book(entity).account(account_id) is None:
        raise Refused(status=404, code="UNKNOWN_ACCOUNT", results_id=ask.world.call_id())
    return account_id


def _meta(ask: Ask) -> dict[str, str] | None:
    """Return what is echoed: an object of texts. Numbers and truth values become text, as JSON writes them."""
    if "meta" not in ask.query:
        return None
    meta: dict[str, Any] = ask.query["meta"]
    if any(value is None or isinstance(value, dict | list) for value in meta.values()):
        raise invalid("meta", ask.call.query["meta"])
    words = {True: "true", False: "false"}
    return {name: words[value] if isinstance(value, bool) else str(value) for name, value in meta.items()}


def _refusing(ask: Ask, wanted: Wanted) -> Answer | None:
    """Return the FAILED that the bank, the user or an identical pending call brings, or None."""
    world, entity = ask.world, wanted.entity
    availability = world.availability[entity.bank.identifier]
    if not availability.active_data:
        return _failed(ask, "DISABLED_BY_LEAN")
    if not availability.enabled_data:
        return _failed(ask, "DISABLED_BY_CLIENT")
    if entity.locked:
        return _failed(ask, "EU_ACCOUNT_LOCKED")
    if world.settings.duplicates_refused and any(
        one.status == "PENDING" and one.wanted == wanted for one in world.results.values()
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


def _pending(ask: Ask, result: Result, progress: Progress) -> Answer:
    ask.world.pend(result, ask.now, progress)
    ask.world.catch_up(ask.now)  # a delay of nothing: ready, and announced, before the answer leaves
    return ask.write.pending(result, ask.world.settings.pending_status)


def _faulty(ask: Ask, fault: Fault, wanted: Wanted) -> Answer | None:
    """Return what a deciding fault makes of a data call."""
    has = fault.details
    match fault.effect:
        case "failed":
            return _failed(ask, has["code"], has.get("info"))
        case "pending":
            return _pending(ask, ask.world.new_result(wanted, ask.now), Progress.of(has["progress"]))
        case "reconnect":
            return _reconnect(ask, wanted)
        case "duplicated":
            if has["enveloped"]:
                return _failed(ask, "DUPLICATED_REQUEST", _RETRYABLE_LATER)
            raise Refused(status=429, code="DUPLICATED_REQUEST")
        case "consent_expired":
            return _consent_expired(ask, has["shape"])
    return None


def _page(ask: Ask, wanted: Wanted, results_id: str, as_of: datetime) -> Answer:
    """Return data: all of it in v1, one page in v2."""
    book = ask.world.book(wanted.entity)
    if wanted.api == "v1":
        return ask.write.data_v1(results_id, book.payload(wanted, as_of))
    number, size = ask.page()
    total, items = book.items(wanted, as_of)
    shown = items(number * size, (number + 1) * size)
    return ask.write.data_v2(wanted, results_id, shown, page_of(number, size, total), as_of)


# results


def results(ask: Ask) -> Answer:
    """Answer ``GET results/{results_id}`` at any of its addresses, in the shape of the call that it belongs to."""
    world, context = ask.world, ask.context()
    ask.write.of_results = True
    results_id = ask.path["results_id"].lower()
    result = world.known_result(results_id, ask.now)
    if result is None or world.adversary.deciding(context, "unknown_results"):
        raise Refused(status=404, code="UNKNOWN_RESULTS_ID", results_id=results_id)
    ask.api = result.wanted.api
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
    fault = world.adversary.deciding(context)
    if fault is not None:
        return _faulty_result(ask, fault, result)
    return _result_page(ask, result)


def _result_page(ask: Ask, result: Result) -> Answer:
    result.entity.last_used = ask.now
    return _page(ask, result.wanted, result.results_id, result.as_of or ask.now)


def _faulty_result(ask: Ask, fault: Fault, result: Result) -> Answer:
    has, wanted = fault.details, result.wanted
    match fault.effect:
        case "failed":
            return ask.write.failed(wanted.api, result.results_id, has["code"], has.get("info"), wanted=wanted)
        case "pending":
            return _pending(ask, result, Progress.of(has["progress"]))
        case "reconnect":
            again = _again(ask, result, new_ids=has["new_ids"])
            ask.world.wants_user(again, ask.now)
            return ask.write.reconnect(again)
        case "consent_expired":
            return _consent_expired(ask, has["shape"])
    return _result_page(ask, result)


def _again(ask: Ask, result: Result, *, new_ids: bool) -> Result:
    """Return the result of the next round: with new ids, or the same one (v1 has a new reconnect id in any case)."""
    if new_ids:
        del ask.world.results[result.results_id]
        return ask.world.new_result(result.wanted, ask.now)
    if result.wanted.api == "v1":
        result.reconnect_id = ask.world.ids.next("reconnect")
    return result
