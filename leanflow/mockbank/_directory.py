"""Customers, entities, banks, and the sandbox's oldest call, ``link/connect``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from leanflow._call import Answer
from leanflow.errors import InvalidRequest

from ._answers import Refused, page_of
from ._ask import Ask, invalid, missing
from ._refreshes import first_refresh
from ._state import PERMISSIONS, Customer, Entity
from ._times import micro, milli, parse_date, spaced

__all__ = [
    "all_entities",
    "change_customer",
    "create_customer",
    "customer_by_app_user",
    "customer_by_id",
    "customers",
    "customers_entities",
    "delete_entity",
    "entity",
    "link_connect",
    "list_banks",
]


def _shape(customer: Customer) -> dict[str, Any]:
    shape: dict[str, Any] = {"customer_id": customer.customer_id, "app_user_id": customer.app_user_id}
    if customer.identifiers:
        shape["government_identifiers"] = customer.identifiers
    return shape


def create_customer(ask: Ask) -> Answer:
    """Answer ``POST /customers/v1/``; 409 without an id if the application's user has a customer already."""
    app_user_id = ask.body.get("app_user_id")
    if app_user_id is None:
        raise missing("app_user_id")
    if not isinstance(app_user_id, str) or not 1 <= len(app_user_id) <= 255:
        raise invalid("app_user_id", app_user_id)
    if app_user_id in ask.world.by_app_user:
        raise Refused(status=409, code="CUSTOMER_ALREADY_EXISTS")
    identifiers = _identifiers(ask) if "government_identifiers" in ask.body else []
    customer = ask.world.customer(app_user_id)
    customer.identifiers = identifiers
    return ask.write.json(_shape(customer))


def _identifiers(ask: Ask) -> list[dict[str, str]]:
    given = ask.body.get("government_identifiers")
    if given is None:
        raise missing("government_identifiers")
    kinds = ("EMIRATES_ID", "TRADE_LICENSE_NUMBER")
    made = []
    for one in given if isinstance(given, list) else [given]:
        value = one.get("value") if isinstance(one, dict) else None
        if not isinstance(value, str) or not value.strip() or one.get("type") not in kinds:
            raise invalid("government_identifiers", "of a wrong shape")
        made.append({"type": one["type"], "value": value})
    return made


def change_customer(ask: Ask) -> Answer:
    """Answer ``PUT /customers/v1/{customer_id}/``."""
    customer = ask.customer(ask.parts["customer_id"])
    customer.identifiers = _identifiers(ask)
    return ask.write.json(_shape(customer))


def customer_by_id(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/{customer_id}``."""
    return ask.write.json(_shape(ask.customer(ask.parts["customer_id"])))


def customer_by_app_user(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/app-user-id/{app_user_id}``."""
    customer = ask.world.by_app_user.get(ask.parts["app_user_id"])
    if customer is None:
        raise Refused(status=404, code="UNKNOWN_CUSTOMER")
    return ask.write.json(_shape(customer))


def _page(ask: Ask, found: Sequence[dict[str, Any]], number: int, size: int) -> Answer:
    shown = list(found[number * size : (number + 1) * size])
    return ask.write.json({"data": shown, "page": page_of(number, size, len(found))})


def customers(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1``, which pages by ``page_number`` and ``page_size``."""
    number, size = ask.whole("page_number", 0), ask.whole("page_size", 50, least=1, most=100)
    return _page(ask, [_shape(customer) for customer in ask.world.customers.values()], number, size)


# entities


def _permissions(entity: Entity) -> dict[str, bool]:
    return {name: name in entity.permissions for name in PERMISSIONS}


def _entity_shape(ask: Ask, entity: Entity) -> dict[str, Any]:
    account = ask.world.book(entity).accounts[0]
    standard = {"ACTIVE": "AUTHORISED"}.get(entity.consent_status, entity.consent_status)
    if entity.consent_status == "ACTIVE" and not entity.consented(ask.now):
        standard = "EXPIRED"
    return {
        "id": entity.entity_id,
        "customer_id": entity.customer.customer_id,
        "bank_identifier": entity.bank.identifier,
        "permissions": _permissions(entity),
        "bank_type": entity.user.bank_type,
        "created_at": micro(entity.created_at),
        "consents": [
            {
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
        ],
    }


def customers_entities(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/{customer_id}/entities``: a bare array."""
    customer = ask.customer(ask.parts["customer_id"])
    mine = [e for e in ask.world.entities.values() if e.customer is customer and e.status == "ACTIVE"]
    return ask.write.json([_entity_shape(ask, entity) for entity in mine])


def _one(ask: Ask) -> Entity:
    customer = ask.customer(ask.parts["customer_id"])
    found = ask.entity(ask.parts["entity_id"])
    if found.customer is not customer:
        raise Refused(status=404, code="UNKNOWN_ENTITY")
    return found


def entity(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/{customer_id}/entities/{entity_id}``."""
    return ask.write.json(_entity_shape(ask, _one(ask)))


def delete_entity(ask: Ask) -> Answer:
    """Answer ``DELETE …/entities/{entity_id}``, whose reason is in the body (UAE) or in the query (KSA)."""
    found = _one(ask)
    reason = ask.call.query.get("reason") or (ask.body.get("reason") if ask.call.body else None)
    if reason is None:
        raise missing("reason")
    if reason != "USER_REQUESTED":
        raise invalid("reason", reason)
    found.status, found.updated_at = "DELETED", ask.now
    return ask.write.json({})


def _required_day(ask: Ask, name: str) -> datetime:
    text = ask.call.query.get(name)
    if text is None:
        raise missing(name)
    day = parse_date(text)
    if day is None:
        raise invalid(name, text)
    return datetime(day.year, day.month, day.day, tzinfo=ask.now.tzinfo)


def all_entities(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/entities``: those created from one day to another, the deleted ones too."""
    number, size = ask.whole("page_number", 0), ask.whole("page_size", 100, least=1, most=100)
    start, end = _required_day(ask, "start_date"), _required_day(ask, "end_date")
    found = [
        {
            **_entity_shape(ask, one),
            "status": one.status,
            "created_at": spaced(one.created_at),
            "updated_at": spaced(one.updated_at),
        }
        for one in ask.world.entities.values()
        if start.date() <= one.created_at.date() <= end.date()
    ]
    return _page(ask, found, number, size)


# banks


def list_banks(ask: Ask) -> Answer:
    """Answer ``GET /banks/v1``: an array."""
    world = ask.world
    return ask.write.json(
        [
            {
                "identifier": bank.identifier,
                "name": bank.name,
                "arabic_name": bank.arabic_name,
                "logo": f"https://mockbank.example/{bank.identifier}.png",
                "logo_alt": f"https://mockbank.example/{bank.identifier}-white.png",
                "main_color": bank.main_color,
                "background_color": "#FFFFFF",
                "theme": "light",
                "country_code": world.country.alpha3,
                "active": world.availability[bank.identifier].usable,
                "mock": True,
                "bank_type": "RETAIL",
                "traits": [],
                "supported_account_types": ["CURRENT", "SAVINGS", "CREDIT"],
                "transfer_limits": [],
                "international_transfer_limits": [],
                "international_destinations": [],
                "account_type": "PERSONAL",
                "availability": world.availability_of(bank),
            }
            for bank in world.country.banks
        ]
    )


def link_connect(ask: Ask) -> Answer:
    """Answer the sandbox's ``link/connect`` of 2020: ``status`` is an object there, and its code a string."""
    world, body = ask.world, ask.body
    user = world.user(str(body.get("username")))
    if user is None or body.get("password") != user.username:
        return ask.write.json({"status": {"code": "401", "message": "Wrong username or password."}, "data": None}, 401)
    app_user_id = body.get("app_user_id")
    if not isinstance(app_user_id, str) or not app_user_id:
        raise missing("app_user_id")
    asked = body.get("permissions") or list(PERMISSIONS)
    if not isinstance(asked, list) or not all(isinstance(name, str) for name in asked):
        raise invalid("permissions", asked)
    try:
        bank = world.bank(_bank_named(ask, body.get("bank_id")))
    except InvalidRequest:
        raise invalid("bank_id", body.get("bank_id")) from None
    made = world.connect(world.customer(app_user_id), bank, user, _known_permissions(asked), ask.now)
    first_refresh(world, made, ask.now)
    shape = {
        "entity_uuid": made.entity_id,
        "customer_id": made.customer.customer_id,
        "app_user_id": made.customer.app_user_id,
        "permissions": [name for name in PERMISSIONS if name in made.permissions],
        "bank_details": {"identifier": bank.identifier, "name": bank.name},
    }
    return ask.write.json(
        {"status": {"code": "200", "message": "The entity was connected."}, "data": {"entity": shape}}
    )


def _bank_named(ask: Ask, given: object) -> str | None:
    """The documented ``bank_id`` is a number, 1 the first bank; identifiers work as well."""
    if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= len(ask.world.country.banks):
        return ask.world.country.banks[given - 1].identifier
    return None if given is None else str(given)


def _known_permissions(asked: Sequence[str]) -> frozenset[str]:
    singular = {"balances": "balance"}  # the path says balances, the permission balance
    return frozenset(singular.get(name, name) for name in asked) & frozenset(PERMISSIONS)
