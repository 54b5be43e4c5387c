"""What Lean's webhooks say (Lean docs, Webhooks).

Types are matched whole: one of those to be passed over contains another's name. A type that is not known is a value.
Ids that leanflow acts on must be strings; what is only for people to read (``message``, ``timestamp``) is taken if it
is right and left out if it is not, because a webhook must not be lost for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from leanflow._lean.codec import check_text, identifier, json_loads, words
from leanflow._lean.times import parse_time
from leanflow.errors import MalformedBody
from leanflow.events import (
    BankAvailability,
    ConsentUpdated,
    EntityCreated,
    EntityReconnected,
    EntityUpdated,
    OtherWebhook,
    RefreshUpdated,
    ResultsReady,
)

__all__ = ["Webhook", "event_of", "parse_webhook"]

Webhook = (
    ResultsReady
    | EntityReconnected
    | RefreshUpdated
    | EntityCreated
    | EntityUpdated
    | ConsentUpdated
    | BankAvailability
    | OtherWebhook
)
_Fields = dict[str, Any]
_PAYLOAD = "$.payload"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def parse_webhook(raw: bytes) -> Webhook:
    """Return what a webhook says. Verify its signature first.

    Args:
        raw: the body as it came.

    Returns:
        An event with `raw` and `key` set; `OtherWebhook` for every type that leanflow has no use for or does not know.
        Its payload is a read-only view; what is nested in it are plain dicts and lists.

    Raises:
        MalformedBody: it is no JSON object, has no type, or lacks an id that its type must have.
    """
    body = json_loads(raw)
    if type(body) is not dict:
        raise MalformedBody("$", "an object")
    return event_of(body, raw)


def event_of(body: dict[str, Any], raw: bytes) -> Webhook:
    """Return what an already parsed webhook says; `raw` are the bytes it was parsed from.

    Raises:
        MalformedBody: as `parse_webhook`.
    """
    check_text(raw, body)
    kind = identifier(body, "type")
    if kind is None:
        raise MalformedBody("$.type", "a string")
    event_id = identifier(body, "event_id")
    payload = body.get("payload")
    build = _BUILDERS.get(kind)
    fields: _Fields = {
        "type": kind,
        "event_id": event_id,
        "timestamp": parse_time(body.get("timestamp")),
        "message": words(body.get("message")) or None,
        "payload": MappingProxyType(payload) if type(payload) is dict else _NOTHING,
        "raw": raw,
        # As WebhookEvent.inbox_key; a test holds them together.
        "key": f"event:{event_id}" if event_id else "body:" + hashlib.sha256(raw).hexdigest(),
    }
    if build is None:
        return OtherWebhook(**fields)
    if type(payload) is not dict:
        raise MalformedBody(_PAYLOAD, "an object")
    return build(payload, fields)


def _results_ready(payload: _Fields, fields: _Fields) -> Webhook:
    return ResultsReady(results_id=_required(payload, "id"), **fields)


def _entity_reconnected(payload: _Fields, fields: _Fields) -> Webhook:
    return EntityReconnected(
        entity_id=_required(payload, "id"), reconnect_id=_required(payload, "reconnect_id"), **fields
    )


def _entity_created(payload: _Fields, fields: _Fields) -> Webhook:
    return EntityCreated(entity_id=_required(payload, "id"), customer_id=_optional(payload, "customer_id"), **fields)


def _entity_updated(payload: _Fields, fields: _Fields) -> Webhook:
    return EntityUpdated(entity_id=_required(payload, "id"), customer_id=_optional(payload, "customer_id"), **fields)


def _refresh_updated(payload: _Fields, fields: _Fields) -> Webhook:
    return RefreshUpdated(
        refresh_id=_required(payload, "refresh_id"),
        entity_id=_optional(payload, "entity_id"),
        customer_id=_optional(payload, "customer_id"),
        status=_optional(payload, "status") or "",
        **fields,
    )


def _consent_updated(payload: _Fields, fields: _Fields) -> Webhook:
    # Known from integrators only: nothing in it is relied on.
    return ConsentUpdated(
        customer_id=_optional(payload, "customer_id"),
        entity_id=_optional(payload, "entity_id"),
        status=_optional(payload, "status") or "",
        **fields,
    )


def _bank_availability(payload: _Fields, fields: _Fields) -> Webhook:
    active, enabled = (_data_switch(payload, name) for name in ("active", "enabled"))
    return BankAvailability(bank_id=_required(payload, "identifier"), usable=active and enabled, **fields)


def _data_switch(payload: _Fields, name: str) -> bool:
    """Return ``availability.<name>.data``; what is not there is off."""
    path, node = _PAYLOAD, payload
    for part in ("availability", name):
        path, found = f"{path}.{part}", node.get(part)
        if found is None:
            return False
        if type(found) is not dict:
            raise MalformedBody(path, "an object")
        node = found
    switch = node.get("data")
    if switch is None:
        return False
    if type(switch) is not bool:
        raise MalformedBody(f"{path}.data", "true or false")
    return switch


def _optional(payload: _Fields, name: str) -> str | None:
    return identifier(payload, name, _PAYLOAD)


def _required(payload: _Fields, name: str) -> str:
    value = identifier(payload, name, _PAYLOAD)
    if value is None:
        raise MalformedBody(f"{_PAYLOAD}.{name}", "a string")
    return value


_BUILDERS: Mapping[str, Callable[[_Fields, _Fields], Webhook]] = MappingProxyType(
    {
        "results.ready": _results_ready,
        "entity.reconnected": _entity_reconnected,
        "entity.created": _entity_created,
        "entity.updated": _entity_updated,
        "entity.data.refresh.updated": _refresh_updated,
        "consent.status.updated": _consent_updated,
        "bank.availability.updated": _bank_availability,
        "banks.availability.updated": _bank_availability,  # Lean's reference spells it so once
    }
)
