"""The sandbox's oldest call: ``link/connect`` of 2020, which makes an entity without the Link SDK."""

from __future__ import annotations

from collections.abc import Mapping

from leanflow._call import Answer
from leanflow.mockbank._refreshes import first_refresh
from leanflow.mockbank._state import PERMISSIONS
from leanflow.mockbank.countries._country import Bank

from ._answers import invalid
from ._ask import Ask

__all__ = ["link_connect"]

_SINGULAR: Mapping[str, str] = {"balances": "balance"}  # the path says balances, the permission balance


def link_connect(ask: Ask) -> Answer:
    """Answer the call: ``status`` is an object there, and its code a string."""
    world, body = ask.world, ask.body
    user = world.user(body["username"])
    if user is None or body["password"] != user.username:
        return ask.write.json({"status": {"code": "401", "message": "Wrong username or password."}, "data": None}, 401)
    granted = frozenset(_SINGULAR.get(name, name) for name in body["permissions"])
    if not granted or not granted <= frozenset(PERMISSIONS):
        raise invalid("permissions", body["permissions"])
    bank = _bank(ask)
    made = world.connect(world.customer(body["app_user_id"]), bank, user, granted, ask.now)
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


def _bank(ask: Ask) -> Bank:
    """The documented ``bank_id`` is a number, 1 the first bank; identifiers work as well."""
    given, banks = ask.body["bank_id"], ask.world.country.banks
    found = [bank for number, bank in enumerate(banks, 1) if given in (number, bank.identifier)]
    if not found:
        raise invalid("bank_id", given)
    return found[0]
