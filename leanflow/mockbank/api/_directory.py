"""Customers and banks."""

from __future__ import annotations

from itertools import islice
from typing import Any

from leanflow._call import Answer
from leanflow.mockbank._state import Customer

from ._answers import Refused, page_of
from ._ask import Ask

__all__ = ["change_customer", "create_customer", "customer_by_app_user", "customer_by_id", "customers", "list_banks"]


def _shape(customer: Customer) -> dict[str, Any]:
    shape: dict[str, Any] = {"customer_id": customer.customer_id, "app_user_id": customer.app_user_id}
    if customer.identifiers:
        shape["government_identifiers"] = customer.identifiers
    return shape


def _identifiers(ask: Ask) -> list[dict[str, str]]:
    given = ask.body.get("government_identifiers", ())
    return [{"type": one["type"], "value": one["value"]} for one in given]


def create_customer(ask: Ask) -> Answer:
    """Answer ``POST /customers/v1/``; 409 without an id if the application's user has a customer already."""
    app_user_id = ask.body["app_user_id"]
    if app_user_id in ask.world.by_app_user:
        raise Refused(status=409, code="CUSTOMER_ALREADY_EXISTS")
    customer = ask.world.customer(app_user_id)
    customer.identifiers = _identifiers(ask)
    return ask.write.json(_shape(customer))


def change_customer(ask: Ask) -> Answer:
    """Answer ``PUT /customers/v1/{customer_id}/``."""
    customer = ask.customer()
    customer.identifiers = _identifiers(ask)
    return ask.write.json(_shape(customer))


def customer_by_id(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/{customer_id}``."""
    return ask.write.json(_shape(ask.customer()))


def customer_by_app_user(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1/app-user-id/{app_user_id}``."""
    customer = ask.world.by_app_user.get(ask.path["app_user_id"])
    if customer is None:
        raise Refused(status=404, code="UNKNOWN_CUSTOMER")
    return ask.write.json(_shape(customer))


def customers(ask: Ask) -> Answer:
    """Answer ``GET /customers/v1``, which pages by ``page_number`` and ``page_size``."""
    number, size = ask.page("page_number", "page_size")
    known = ask.world.customers
    shown = islice(known.values(), min(number * size, len(known)), min((number + 1) * size, len(known)))
    return ask.write.json({"data": [_shape(one) for one in shown], "page": page_of(number, size, len(known))})


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
