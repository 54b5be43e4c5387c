"""A small company's money: sales, invoices, suppliers, wages, customs, value added tax."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from leanflow.mockbank.basics._dice import Dice
from leanflow.mockbank.countries._country import Bank, Country

from ._accounts import Account
from ._habits import Balance, Habits, by_weight, hours
from ._money import units
from ._moves import Move, Regular, pay_day
from ._owners import Owner, Party, party

__all__ = ["Business"]

_RESERVE, _DOLLARS, _GULF = 1, 2, 3


class Business:
    """The life of a company (`Life`)."""

    def __init__(self, dice: Dice, owner: Owner, accounts: Sequence[Account], country: Country, bank: Bank) -> None:
        self._habits = Habits(dice, owner, accounts, country, bank)
        self._owner = owner
        self._country = country
        self._accounts = accounts
        self._supplies = by_weight(country.supplies)
        others = [name for name in country.companies if name != owner.company]
        self._customers = [party(dice, country, dice.pick(others)) for _ in range(5)]
        self._suppliers = [party(dice, country, dice.pick(others)) for _ in range(4)]
        self._acquirer = party(dice, country, ("Card Acquiring Services", "خدمات قبول البطاقات"))
        self._staff = dice.between(5, 24)
        self._rent = self._habits.rent(owner.income * 5 // 100)
        self.regulars: Sequence[Regular] = self._regulars()

    @property
    def payees(self) -> Sequence[Party]:
        """The suppliers and the landlord."""
        return [*self._suppliers, self._rent.party]

    def _regulars(self) -> list[Regular]:
        country, habits, turnover = self._country, self._habits, self._owner.income
        reserve = ("TRANSFER TO VAT RESERVE", "تحويل من الحساب الرئيسي - TRANSFER FROM")
        return [
            self._rent,
            habits.bill("direct debit", country.power, "BILL_PAYMENTS", times=3),
            habits.bill("direct debit", country.telecom, "BILL_PAYMENTS", fixed=True, times=4),
            habits.bill("scheduled payment", country.insurance, "LOCAL_BANK_TRANSFER", fixed=True, times=5),
            habits.set_aside(_RESERVE, turnover * country.tax_percent // 250 // 100 * 100, 14, reserve),
        ]

    def moves(self, day: date, dice: Dice, balance: Balance) -> list[Move]:
        """Return what moves on a day; on weekends only the tills are open."""
        country, habits = self._country, self._habits
        moves = [*habits.due(self.regulars, day), self._sales(dice)]
        if day == pay_day(country, day):
            moves.append(self._wages(dice))
        if day.day == 28 and day.month % 3 == 1:
            moves += self._tax(dice, balance)
        if day.day == 28:
            moves += self._fees(dice)
        if day.day == 20:
            moves += self._drawings(dice, balance)
        if day.day == 18 and dice.chance(60):
            moves.append(habits.top_up(dice, _DOLLARS, 100, 900))
        if day.weekday() in country.weekend:
            return moves
        if dice.chance(26):
            moves.append(self._invoice(dice, day, dice.pick(self._customers), 1))
        kept = units(self._owner.income * 40 // 100, country.currency)  # wages and rent first, then the suppliers
        if dice.chance(28) and balance(0) > kept:
            moves.append(self._invoice(dice, day, dice.pick(self._suppliers), -1))
        if dice.chance(55):
            moves += habits.purchase(dice, 0, dice.pick(self._supplies), (country.town, country.arabic_town))
        return moves + self._abroad(dice, day)

    def _sales(self, dice: Dice) -> Move:
        """What was paid by card in the shop the day before, less the acquirer's share."""
        least = self._owner.income * 45 // 100 // 45
        return Move(
            account=0,
            second=hours(dice, 4, 6),
            amount=dice.between(units(least, self._country.currency), units(least * 2, self._country.currency)),
            text=f"CARD SALES SETTLEMENT MID {self._owner.licence}",
            category="SALARY_AND_REVENUE",
            kind="LOCAL_BANK_TRANSFER",
            party=self._acquirer,
        )

    def _invoice(self, dice: Dice, day: date, whom: Party, way: int) -> Move:
        count = self._owner.income * dice.between(4, 16) // 100
        number = f"INV-{day.year}-{dice.digits(4)}"
        english = f"INWARD TRANSFER {whom.name.upper()}" if way > 0 else f"SUPPLIER PAYMENT {whom.name.upper()}"
        arabic = f"حوالة واردة - {whom.arabic_name}" if way > 0 else f"دفعة مورد - {whom.arabic_name}"
        return Move(
            account=0,
            second=hours(dice, 9, 17),
            amount=way * (units(count, self._country.currency) + dice.below(100)),
            text=self._habits.said(dice, f"{english} {number}", f"{arabic} {number}"),
            category="SALARY_AND_REVENUE" if way > 0 else "TRANSFER",
            kind="LOCAL_BANK_TRANSFER",
            party=whom,
        )

    def _wages(self, dice: Dice) -> Move:
        text = f"WPS SALARY FILE {self._staff} EMPLOYEES - رواتب الموظفين"
        return Move(
            account=0,
            second=hours(dice, 9, 11),
            amount=-units(self._owner.income * 18 // 100 // 50 * 50, self._country.currency),
            text=text,
            category="SALARY_AND_REVENUE",
            kind="LOCAL_BANK_TRANSFER",
        )

    def _tax(self, dice: Dice, balance: Balance) -> list[Move]:
        """The quarter's value added tax, out of the reserve."""
        due = balance(_RESERVE) * 9 // 10
        if due <= 0:
            return []
        latin, arabic = self._country.tax
        return [
            Move(
                account=_RESERVE,
                second=hours(dice, 9, 14),
                amount=-due,
                text=f"VAT RETURN {latin.upper()} - {arabic}",
                category="GOVERNMENT",
                kind="BILL_PAYMENTS",
                sub_kind="TAX",
            )
        ]

    def _drawings(self, dice: Dice, balance: Balance) -> list[Move]:
        """What the company does not need goes to its owner."""
        one = units(1000, self._country.currency)
        spare = (balance(0) - units(self._owner.income * 7 // 10, self._country.currency)) // one * one
        if spare <= 0:
            return []
        return [
            Move(
                account=0,
                second=hours(dice, 11, 14),
                amount=-spare,
                text=f"OWNER DRAWINGS {self._owner.person.name.upper()}",
                category="TRANSFER",
                kind="LOCAL_BANK_TRANSFER",
            )
        ]

    def _fees(self, dice: Dice) -> list[Move]:
        """The bank's monthly fee, and the tax on it."""
        at, fee = hours(dice, 1, 3), units(100, self._country.currency)
        lines = (
            (0, fee, "FEE", "MONTHLY ACCOUNT FEE - رسوم شهرية"),
            (1, fee * self._country.tax_percent // 100, "TAX", "VAT ON FEES - ضريبة القيمة المضافة"),
        )
        return [
            Move(
                account=0,
                second=at + late,
                amount=-count,
                text=text,
                category="BANK_FEES_AND_CHARGES",
                kind="OTHER",
                sub_kind=sub,
            )
            for late, count, sub, text in lines
        ]

    def _abroad(self, dice: Dice, day: date) -> list[Move]:
        """What is bought from abroad in dollars, and what customers in the Gulf pay in theirs."""
        moves = []
        if dice.chance(6):
            moves.append((_DOLLARS, -dice.between(900, 6000), "TELEX TRANSFER OVERSEAS SUPPLIER"))
        if dice.chance(5):
            moves.append((_DOLLARS, dice.between(600, 4200), "EXPORT PROCEEDS"))
        if len(self._accounts) > _GULF and dice.chance(9):
            moves.append((_GULF, dice.between(60, 900), "INWARD TRANSFER GULF CUSTOMER"))
        return [
            Move(
                account=account,
                second=hours(dice, 10, 16),
                amount=units(count, self._accounts[account].currency) + dice.below(1000),
                text=f"{text} TT-{day:%y%m}-{dice.digits(5)}",
                category="SALARY_AND_REVENUE" if count > 0 else "TRANSFER",
                kind="INTERNATIONAL_TRANSFER",
            )
            for account, count, text in moves
        ]
