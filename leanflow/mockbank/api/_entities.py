"""Entities in their three listings, and their consents."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from leanflow._call import Answer
from leanflow.errors import InvalidRequest
from leanflow.mockbank._refreshes import first_refresh
from leanflow.mockbank._state import PERMISSIONS, Entity
from leanflow.mockbank.basics._times import micro, milli, parse_moment, spaced
from leanflow.mockbank.link import _user

from ._answers import Refused, invalid, missing, page_of
from ._ask import Ask

__all__ = [
    "all_entities",
    "consent",
    "consents",
    "create_consent",
    "customers_entities",
    "delete_entity",
    "entity",
    "revoke_consent",
]

_LONGEST_CONSENT = timedelta(days=365)  # what an integrator found in KSA


def _permissions(entity: Entity) -> dict[str, bool]:
    return {name: name in entity.permissions for name in PERMISSIONS}


def _consent_shape(ask: Ask, entity: Entity) -> dict[str, Any]:
    account = ask.world.book(entity).accounts[0]
    standard = {"ACTIVE": "AUTHORISED"}.get(entity.consent_status, entity.consent_status)
    if entity.consent_status == "ACTIVE" and not entity.consented(ask.now):
        standard = "EXPIRED"
    return {
        "id": entity.consent_id,
        "bank_consent_id": f"urn:mockbank:{entity.consent_id}",
        "bank_identifier": entity.bank.identifier,
        "consent_type": "ACCOUNT_ACCESS",
        "consent_status": entity.consent_status,
        "standard_consent_status": standard,
        "permissions": _permissions(entity),
        "creation_date_time": milli(entity.created_at),
        "status_update_date_time": micro(entity.consent_updated_at),
        "expiration_date_time": milli(entity.consent_expires_at),
        "transaction_from_date_time": None,
        "transaction_to_date_time": None,
        "accounts": [
            {
                "scheme_name": "IBAN",
                "identification": account.iban,
                "name": account.nickname,
                "secondary_identification": None,
            }
        ],
    }


def _entity_shape(ask: Ask, entity: Entity) -> dict[str, Any]:
    return {
        "id": entity.entity_id,
        "customer_id": entity.customer.customer_id,
        "bank_identifier": entity.bank.identifier,
        "permissions": _permissions(entity),
        "bank_type": entity.user.bank_type,
        "created_at": micro(entity.created_at),
        "consents": [_consent_shape(ask, entity)],
    }


def _mine(ask: Ask) -> list[Entity]:
    customer = ask.customer()
    return [one for one in ask.world.entities.values() if one.customer is customer and one.status == "ACTIVE"]


def _one(ask: Ask) -> Entity:
    customer = ask.customer()
    found = ask.entity(ask.path["entity_id"])
    if found.customer is not customer:
        raise Refused(status=404, code="UNKNOWN_ENTITY")
    return found


def customers_entities(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/{customer_id}/entities``: a bare array."""
    return ask.write.json([_entity_shape(ask, entity) for entity in _mine(ask)])


def entity(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/{customer_id}/entities/{entity_id}``."""
    return ask.write.json(_entity_shape(ask, _one(ask)))


def delete_entity(ask: Ask) -> Answer:
    """Answer ``DELETE …/entities/{entity_id}``, whose reason is in the body (UAE) or in the query (KSA)."""
    found = _one(ask)
    if "reason" not in ask.query and "reason" not in ask.body:
        raise missing("reason")
    found.status, found.updated_at = "DELETED", ask.now
    return ask.write.json({})


def all_entities(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/entities``: those created from one day to another, the deleted ones too."""
    number, size = ask.page("page_number", "page_size")
    start, end = ask.days()
    found = [
        one
        for one in ask.world.entities.values()
        if (start is None or start <= one.created_at.date()) and (end is None or one.created_at.date() <= end)
    ]
    shown = [
        {
            **_entity_shape(ask, one),
            "status": one.status,
            "created_at": spaced(one.created_at),
            "updated_at": spaced(one.updated_at),
        }
        for one in found[number * size : (number + 1) * size]
    ]
    return ask.write.json({"data": shown, "page": page_of(number, size, len(found))})


# in KSA, consents are things of their own


def _with_owner(ask: Ask, entity: Entity) -> dict[str, Any]:
    owner = {"customer_id": entity.customer.customer_id, "entity_id": entity.entity_id}
    return {**_consent_shape(ask, entity), **owner}


def _consenting(found: list[Entity], consent_id: str) -> Entity:
    named = next((one for one in found if one.consent_id == consent_id.lower()), None)
    if named is None:
        raise Refused(status=404, code="UNKNOWN_CONSENT")
    return named


def consents(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/{customer_id}/consents``: a bare array."""
    return ask.write.json([_with_owner(ask, one) for one in _mine(ask)])


def consent(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/{customer_id}/consents/{consent_id}``."""
    return ask.write.json(_with_owner(ask, _consenting(_mine(ask), ask.path["consent_id"])))


def revoke_consent(ask: Ask) -> Answer:
    """Answer ``DELETE …/entities/{entity_id}/consent/{consent_id}``: the consent ends, the entity stays."""
    found = _consenting([_one(ask)], ask.path["consent_id"])
    _user.set_consent(ask.world, found, "REVOKED", ask.now)
    return ask.write.json({})


def create_consent(ask: Ask) -> Answer:
    """Answer ``POST /v2/accounts-access-consents``. Here the user agrees at once: an entity is made.

    The path is Lean's; the fields are our own, as Lean has not published them.
    """
    world, body = ask.world, ask.body
    customer = world.customers.get(body["customer_id"].lower())
    if customer is None:
        raise Refused(status=404, code="UNKNOWN_CUSTOMER")
    try:
        bank = world.bank(body["bank_identifier"])
    except InvalidRequest:
        raise invalid("bank_identifier", body["bank_identifier"]) from None
    ends = parse_moment(body["expiration_date_time"]) if "expiration_date_time" in body else None
    if ends is not None and not ask.now < ends <= ask.now + _LONGEST_CONSENT:
        raise invalid("expiration_date_time", body["expiration_date_time"])
    made = world.connect(customer, bank, world.settings.users[0], frozenset(body["permissions"]), ask.now)
    made.consent_expires_at = ends or made.consent_expires_at
    first_refresh(world, made, ask.now)
    return ask.write.json(_with_owner(ask, made))
