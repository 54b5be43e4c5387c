"""Who an entity is at its bank: the owner and the accounts, as they follow from the seed."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import attrs

from ._dice import Dice, derived_id
from ._people import Bank, Country

__all__ = ["Account", "Owner", "accounts_of", "digits_of", "iban", "money", "owner_of"]

# ISO 4217: how many digits follow the point. Kuwait and Bahrain have three.
_THREE_DIGITS = frozenset({"KWD", "BHD", "OMR"})
_FOREIGN = ("USD", "KWD", "BHD", "EUR")


@attrs.frozen(kw_only=True)
class Owner:
    """The person behind an entity."""

    name: str
    arabic_name: str
    short_name: str
    gender: str
    born: date
    national_id: str
    mobile: str
    email: str
    employer: tuple[str, str]
    salary: Decimal


@attrs.frozen(kw_only=True)
class Account:
    """One account of an entity.

    Attributes:
        kind: ``CURRENT``, ``SAVINGS``, ``CREDIT`` or ``CALL``, as in Lean's ``account_sub_type``.
    """

    account_id: str
    entity_id: str
    kind: str
    currency: str
    nickname: str
    number: str
    iban: str
    opened: date
    opening_balance: Decimal
    credit_limit: Decimal


def digits_of(currency: str) -> int:
    """Return how many digits a currency has after the point."""
    return 3 if currency in _THREE_DIGITS else 2


def money(dice: Dice, currency: str, least: int, most: int) -> Decimal:
    """Return an amount between two whole amounts, with all its digits."""
    digits = digits_of(currency)
    whole, small = dice.between(least, most), dice.below(10**digits)
    return Decimal(whole * 10**digits + small).scaleb(-digits)


def iban(country: str, bban: str) -> str:
    """Return the IBAN of a BBAN, with valid check digits (ISO 13616: mod 97 is 1)."""
    digits = "".join(str(int(c, 36)) for c in bban + country + "00")
    return f"{country}{98 - int(digits) % 97:02}{bban}"


def owner_of(seed: int, username: str, country: Country) -> Owner:
    """Return the person who logs in under a name; the same at every bank."""
    dice = Dice(seed, "owner", username)
    name, arabic, gender = dice.pick(country.people)
    words = name.split()
    born = date(1962, 1, 1) + timedelta(days=dice.below(14_000))
    emirates_id = f"784-{born.year}-{dice.digits(7)}-{dice.digits(1)}"
    return Owner(
        name=name,
        arabic_name=arabic,
        short_name=words[0],
        gender=gender,
        born=born,
        national_id=emirates_id if country.code == "AE" else "1" + dice.digits(9),
        mobile=country.phone + dice.digits(8),
        email=f"{words[0]}.{words[-1]}@example.com".lower(),
        employer=dice.pick(country.employers),
        salary=Decimal(dice.between(110, 260) * 100).quantize(Decimal("0.01")),
    )


def accounts_of(seed: int, entity_id: str, connected: datetime, country: Country, bank: Bank) -> tuple[Account, ...]:
    """Return an entity's accounts: current, savings, credit card, and for some a foreign currency."""
    dice = Dice(seed, "accounts", entity_id)
    wanted = [
        ("CURRENT", country.currency, "Main account"),
        ("SAVINGS", country.currency, "حساب التوفير"),
        ("CREDIT", country.currency, "Everyday card"),
    ]
    if dice.chance(50):
        wanted.append(("CALL", dice.pick(_FOREIGN), "Travel money"))
    made = []
    for number, (kind, currency, nickname) in enumerate(wanted):
        bban = bank.code + dice.digits(country.bban_digits)
        unit = Decimal(1).scaleb(-digits_of(currency))
        made.append(
            Account(
                account_id=derived_id(seed, entity_id, "account", number),
                entity_id=entity_id,
                kind=kind,
                currency=currency,
                nickname=nickname,
                number=bban,
                iban=iban(country.code, bban),
                opened=(connected - timedelta(days=dice.between(800, 3600))).date(),
                opening_balance=Decimal(0).quantize(unit) if kind == "CREDIT" else money(dice, currency, 4000, 38_000),
                credit_limit=Decimal(dice.between(10, 60) * 1000).quantize(unit) if kind == "CREDIT" else Decimal(0),
            )
        )
    return tuple(made)
