"""Money: counted in the smallest unit of its currency as a whole number, written as a Decimal."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from leanflow.mockbank.basics._dice import Dice

__all__ = ["amount", "decimal_of", "digits_of", "exchanged", "price", "text_of", "units"]

# ISO 4217: how many digits follow the point. The dinars and the Omani rial have three.
_THREE_DIGITS = frozenset({"KWD", "BHD", "OMR", "JOD"})


def digits_of(currency: str) -> int:
    """Return how many digits a currency has after the point."""
    return 3 if currency in _THREE_DIGITS else 2


def units(whole: int, currency: str) -> int:
    """Return a whole amount in the smallest unit: fils, halalas, cents."""
    return whole * (1000 if currency in _THREE_DIGITS else 100)


def decimal_of(count: int, currency: str) -> Decimal:
    """Return so many of the smallest unit as an amount with all its digits."""
    return Decimal(count).scaleb(-digits_of(currency))


def text_of(count: int, currency: str) -> str:
    """Return so many of the smallest unit as `decimal_of` is written in JSON."""
    digits = digits_of(currency)
    whole, small = divmod(abs(count), 10**digits)
    return f"{'-' if count < 0 else ''}{whole}.{small:0{digits}}"


def amount(count: int, currency: str) -> dict[str, Any]:
    """Return so many of the smallest unit in Lean's shape; Lean puts the sign elsewhere."""
    return {"currency": currency, "amount": decimal_of(abs(count), currency)}


def exchanged(count: int, currency: str, rate: Decimal, into: str) -> int:
    """Return what `count` becomes at `rate` (units of `into` for one of `currency`), rounded half to even."""
    return int((decimal_of(count, currency) * rate).scaleb(digits_of(into)).to_integral_value(ROUND_HALF_EVEN))


def price(dice: Dice, currency: str, least: int, most: int) -> int:
    """Return a price between two whole amounts as shops have them: more often low than high, more often round than not.

    Dinars are rounded to five fils, the smallest coin that is left.
    """
    one = units(1, currency)
    drawn = dice.below(10_000)
    found = least * one + (most - least) * one * drawn * drawn // 100_000_000
    roundness = dice.below(100)
    step = one if roundness < 35 else one // 4 if roundness < 60 else 5 if one == 1000 else 1
    return max(found // step * step, step)
