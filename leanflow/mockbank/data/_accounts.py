"""The accounts that somebody has at a bank, as they follow from the seed."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import attrs

from leanflow.mockbank.basics._dice import Dice, derived_id
from leanflow.mockbank.countries._country import Bank, Country

from ._money import units

__all__ = ["Account", "accounts_of", "iban"]


@attrs.frozen(kw_only=True)
class Account:
    """One account of an entity.

    Attributes:
        kind: ``CURRENT``, ``SAVINGS``, ``CREDIT`` or ``CALL``, as in Lean's ``account_sub_type``.
        number: the BBAN: the bank's code and the customer's number.
        card: the last four digits of the card that goes with it.
        opening_balance, credit_limit: in the currency's smallest unit.
    """

    account_id: str
    kind: str
    currency: str
    nickname: str
    number: str
    iban: str
    card: str
    opened: date
    opening_balance: int
    credit_limit: int = 0


def iban(country: str, bban: str) -> str:
    """Return the IBAN of a BBAN, with valid check digits (ISO 13616: mod 97 is 1)."""
    digits = "".join(str(int(c, 36)) for c in bban + country + "00")
    return f"{country}{98 - int(digits) % 97:02}{bban}"


def _wanted(dice: Dice, country: Country, income: int, *, business: bool) -> list[tuple[str, str, str, int]]:
    """Return kind, currency, nickname and opening balance of each account, the main one first."""
    foreign, _ = dice.pick(country.rates)
    if business:
        return [
            ("CURRENT", country.currency, "Business account", income * dice.between(30, 70) // 100),
            ("SAVINGS", country.currency, "احتياطي الضريبة - VAT reserve", 0),
            ("CURRENT", "USD", "Trade account", dice.between(4_000, 30_000)),
            *([] if foreign in ("USD", "EUR") else [("CALL", foreign, "Gulf customers", dice.between(800, 6_000))]),
        ]
    return [
        ("CURRENT", country.currency, "Main account", income * dice.between(80, 170) // 100),
        ("SAVINGS", country.currency, "حساب التوفير", income * dice.between(50, 300) // 100),
        ("CREDIT", country.currency, "Everyday card", 0),
        *([("CALL", foreign, "Travel money", dice.between(60, 900))] if dice.chance(50) else []),
    ]


def accounts_of(
    seed: int, entity_id: str, connected: datetime, country: Country, bank: Bank, *, income: int, business: bool
) -> tuple[Account, ...]:
    """Return an entity's accounts, the main one first.

    A person has a current account, savings, a credit card, and half of them a foreign currency. A company has its
    business account, a tax reserve, one in dollars, and some the currency of another Gulf state.
    """
    dice = Dice(seed, "accounts", entity_id)
    made = []
    for number, (kind, currency, nickname, opening) in enumerate(_wanted(dice, country, income, business=business)):
        bban = bank.code + dice.digits(country.bban_digits)
        limit = income * dice.between(100, 300) // 100 // 500 * 500
        made.append(
            Account(
                account_id=derived_id(seed, entity_id, "account", number),
                kind=kind,
                currency=currency,
                nickname=nickname,
                number=bban,
                iban=iban(country.code, bban),
                card=dice.digits(4),
                opened=(connected - timedelta(days=dice.between(800, 3600))).date(),
                opening_balance=units(opening, currency),
                credit_limit=units(limit, currency) if kind == "CREDIT" else 0,
            )
        )
    return tuple(made)
