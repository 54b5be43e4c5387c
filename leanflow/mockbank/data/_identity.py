"""Who the holders of accounts are, in Lean's shapes."""

from __future__ import annotations

from typing import Any

from leanflow.mockbank.basics._dice import Dice
from leanflow.mockbank.countries._country import Country

from ._owners import Owner, Person

__all__ = ["company", "identity_v1", "individual"]


def individual(entity_id: str, holder: Person, country: Country, role: str, party: str) -> dict[str, Any]:
    """Return a person: `role` and `party` are Lean's ``account_role`` and ``party_type``."""
    return {
        **_shape(entity_id, holder.name, holder, country, role, party),
        "name": holder.short_name,
        "national_id": holder.national_id,
        "birth_date": holder.born.isoformat(),
        "gender": holder.gender,
        "legal_structure": "",
    }


def company(entity_id: str, owner: Owner, country: Country) -> dict[str, Any]:
    """Return a company; its number is that of its licence."""
    shape = _shape(entity_id, owner.name, owner.person, country, "ADMINISTRATOR", "SOLE")
    return {
        **shape,
        "address": {**shape["address"], "address_type": "BUSINESS", "building_type": "Office"},
        "name": owner.short_name,
        "national_id": owner.licence,
        "legal_structure": country.legal_form,
    }


def _shape(entity_id: str, name: str, contact: Person, country: Country, role: str, party: str) -> dict[str, Any]:
    dice = Dice("party", entity_id, name, contact.national_id)
    number = dice.digits(16)
    return {
        "entity_id": entity_id,
        "full_legal_name": name.upper(),
        "email_address": contact.email,
        "phone": contact.mobile,
        "mobile_number": contact.mobile,
        "address": _address(Dice("address", name, contact.national_id), country),
        "account_role": role,
        "party_type": party,
        "party_id": f"PT_{number}",
        "party_number": number,
    }


def _address(dice: Dice, country: Country) -> dict[str, Any]:
    area, street, building = dice.pick(country.areas), dice.pick(country.streets), dice.pick(country.buildings)
    flat = str(dice.between(1, 24) * 100 + dice.between(1, 12))
    box = dice.digits(5)
    return {
        "address_line": f"{flat}، {building[1]}، {street[1]}، {area[1]}، {country.arabic_town}",
        "address_type": "RESIDENTIAL",
        "building_type": "Apartment",
        "apartment_or_villa_number": flat,
        "building_name": building[0],
        "street": street[0],
        "area": area[0],
        "street_address": f"{flat}, {building[0]}, {street[0]}",
        # The Emirates have no postal codes, only boxes.
        "post_code": "00000" if country.code == "AE" else "1" + dice.digits(4),
        "town_name": country.arabic_town,
        "region": country.region,
        "po_box": box,
        "country": country.code,
    }


def identity_v1(owner: Owner, country: Country) -> dict[str, Any]:
    """Return the holder, or who signs for the company, as v1 has it."""
    holder = owner.person
    address = _address(Dice("address", holder.name, holder.national_id), country)
    return {
        "type": "identity",
        "address": f"{address['street_address']}, {address['area']}, {country.town}",
        "birth_date": holder.born.isoformat(),
        "email_address": holder.email,
        "full_name": holder.name,
        "gender": holder.gender,
        "mobile_number": holder.mobile,
        "national_identity_number": holder.national_id,
    }
