"""Money on its way: what moves on one day, and what comes back each month."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs

from leanflow.mockbank.basics._dice import Dice
from leanflow.mockbank.countries._country import Country, Merchant

from ._owners import Party

__all__ = ["Exchange", "Move", "Regular", "pay_day"]


@attrs.frozen(kw_only=True)
class Exchange:
    """A change of currency.

    Attributes:
        unit: of the two the one of which one costs `rate` of the other.
    """

    source: str
    target: str
    unit: str
    rate: Decimal


@attrs.frozen(kw_only=True)
class Move:
    """A transaction before it is booked.

    Attributes:
        account: the number of the account among its owner's.
        second: of the local day.
        amount: in the account's smallest unit; negative for a debit.
        text: what the bank prints.
        category: of Lean's list.
        kind, sub_kind: Lean's ``transaction_type`` and ``sub_transaction_type``.
        into: the other leg, if the money goes to another account of the same owner: booked if this one is.
    """

    account: int
    second: int
    amount: int
    text: str
    category: str
    kind: str
    sub_kind: str = "MONEY_TRANSFER"
    party: Party | None = None
    merchant: Merchant | None = None
    exchange: Exchange | None = None
    into: Move | None = None


@attrs.frozen(kw_only=True)
class Regular:
    """A payment from the main account that comes back: the lists of payments and the transactions follow from it.

    Attributes:
        way: ``standing order``, ``direct debit``, ``scheduled payment``, or ``other``: known to nobody before.
        day: of the month, not above 28.
        months: between two of them.
        least, most: the amounts that it varies between, in the smallest unit.
        summer: how many percent more from May to October.
        into: the number of the owner's own account that receives it.
        received: what is printed there.
    """

    way: str
    party: Party
    day: int
    months: int
    least: int
    most: int
    text: str
    category: str
    kind: str
    sub_kind: str = "MONEY_TRANSFER"
    summer: int = 0
    into: int | None = None
    received: str = ""

    def falls_on(self, day: date) -> bool:
        """Return whether it is paid on a day."""
        return day.day == self.day and day.month % self.months == 1 % self.months

    def amount(self, day: date) -> int:
        """Return how much is paid on one of its days; always the same for the same day."""
        if self.least == self.most:
            return self.least
        drawn = Dice(self.party.identification, self.text, day.isoformat()).between(self.least, self.most)
        return drawn * (100 + (self.summer if 5 <= day.month <= 10 else 0)) // 100

    def saved(self, day: date) -> int:
        """Return what somebody prudent has by a day for the next time: all of it from the month in which it falls."""
        gone = (day.month - 1) % self.months
        share = self.months if gone == 0 and day.day <= self.day else gone + 1
        return self.most * (100 + self.summer) * share // (100 * self.months)

    def after(self, day: date) -> date:
        """Return its first day after `day`."""
        return self._step(day, 1)

    def until(self, day: date) -> date:
        """Return its last day that is not after `day`."""
        return self._step(day, -1)

    def _step(self, day: date, by: int) -> date:
        month = day.year * 12 + day.month - 1
        while True:
            found = date(month // 12, month % 12 + 1, self.day)
            if self.falls_on(found) and (found > day if by > 0 else found <= day):
                return found
            month += by


def pay_day(country: Country, day: date) -> date:
    """Return when salaries are paid in the month of a day: the country's day, or the last working day before it."""
    found = day.replace(day=country.salary_day)
    while found.weekday() in country.weekend:
        found = found.replace(day=found.day - 1)
    return found
