"""A person's money: salary, rent, bills, groceries, the card, the family at home."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from leanflow.mockbank.basics._dice import Dice
from leanflow.mockbank.countries._country import Bank, Country, Merchant

from ._accounts import Account
from ._habits import Balance, Habits, by_weight, hours
from ._money import exchanged, price, units
from ._moves import Exchange, Move, Regular, pay_day
from ._owners import Owner, Party, party, person, relative

__all__ = ["Household"]

_SAVINGS, _CARD, _TRAVEL = 1, 2, 3


class Household:
    """The life of somebody with a salary (`Life`)."""

    def __init__(self, dice: Dice, owner: Owner, accounts: Sequence[Account], country: Country, bank: Bank) -> None:
        self._habits = Habits(dice, owner, accounts, country, bank)
        self._owner = owner
        self._country = country
        self._accounts = accounts
        self._shops, self._abroad = by_weight(country.shops), by_weight(country.abroad)
        self._food = [shop for shop in self._shops if shop.category == "GROCERIES"]
        self._friends = [self._friend(dice) for _ in range(dice.between(3, 6))]
        abroad = owner.person.community.abroad
        self._family: Party | None = relative(dice, owner.person, abroad) if abroad else None
        self._employer = party(dice, country, owner.employer)
        self._rent = self._habits.rent(owner.income * 25 // 100)
        self.regulars: Sequence[Regular] = self._regulars()

    @property
    def payees(self) -> Sequence[Party]:
        """The family at home, the landlord, the friends."""
        return [*([self._family] if self._family else []), self._rent.party, *self._friends]

    def _friend(self, dice: Dice) -> Party:
        friend = person(dice, self._country, dice.pick(self._country.communities))
        return party(dice, self._country, (friend.name, friend.arabic_name))

    def _regulars(self) -> list[Regular]:
        country, habits, income = self._country, self._habits, self._owner.income
        made = [
            self._rent,
            habits.bill("direct debit", country.power, "BILL_PAYMENTS"),
            habits.bill("direct debit", country.telecom, "BILL_PAYMENTS", fixed=True),
            habits.bill("scheduled payment", country.insurance, "LOCAL_BANK_TRANSFER", fixed=True),
            habits.bill("standing order", country.charity, "LOCAL_BANK_TRANSFER", fixed=True),
            habits.set_aside(
                _SAVINGS, income // 1000 * 50, 28, ("TRANSFER TO SAVINGS", "تحويل من الحساب الجاري - TRANSFER FROM")
            ),
        ]
        if income >= 18_000:  # whoever earns less sends the children to a school without fees
            made.append(habits.bill("scheduled payment", country.school, "LOCAL_BANK_TRANSFER", fixed=True))
        return made

    def moves(self, day: date, dice: Dice, balance: Balance) -> list[Move]:
        """Return what moves on a day."""
        paid = pay_day(self._country, day)
        moves = self._habits.due(self.regulars, day)
        if day == paid:
            moves.append(self._salary(dice))
        if day == paid + timedelta(days=1):
            moves += self._repayment(dice, balance)
        if day.day == 28:
            moves += self._profit(dice, balance)
        spare = balance(0) + balance(_CARD) - self._kept(day)
        if spare < 0:  # whoever is short buys food and waits for the salary
            return moves + (self._purchase(dice, 0, self._food) if dice.chance(30) else [])
        if day == paid + timedelta(days=2) and self._family is not None:
            moves.append(self._remittance(dice, self._family, spare))
        if day.day == 16:
            moves += self._surplus(dice, spare)
        return moves + self._spending(dice) + self._travel(day, dice)

    def _spending(self, dice: Dice) -> list[Move]:
        """What one spends on a day: cash, friends, a shop or two, and every third day the card."""
        moves = []
        if dice.chance(9):
            moves.append(self._habits.cash(dice))
        if dice.chance(9):
            moves.append(self._with_friend(dice))
        for _ in range(dice.below(3)):
            moves += self._purchase(dice, 0, self._shops)
        if dice.chance(33):
            moves += self._purchase(dice, _CARD, self._shops)
        return moves

    def _purchase(self, dice: Dice, account: int, shops: Sequence[Merchant]) -> list[Move]:
        return self._habits.purchase(dice, account, dice.pick(shops), (self._country.town, self._country.arabic_town))

    def _kept(self, day: date) -> int:
        """Return what is not touched: for all that comes back, as much as its time has come."""
        return sum(one.saved(day) for one in self.regulars)

    def _salary(self, dice: Dice) -> Move:
        latin, arabic = self._country.salary_words
        return Move(
            account=0,
            second=hours(dice, 9, 11),
            amount=units(self._owner.income, self._country.currency),
            text=f"{latin} {self._owner.employer[0].upper()} - {arabic} {self._owner.employer[1]}",
            category="SALARY_AND_REVENUE",
            kind="LOCAL_BANK_TRANSFER",
            party=self._employer,
        )

    def _repayment(self, dice: Dice, balance: Balance) -> list[Move]:
        """The card is paid off, as far as there is money."""
        owed = min(-balance(_CARD), balance(0))
        if owed <= 0:
            return []
        card = self._accounts[_CARD].card
        out = Move(
            account=0,
            second=hours(dice, 9, 12),
            amount=-owed,
            text=f"CREDIT CARD PAYMENT ****{card}",
            category="TRANSFER",
            kind="SAME_BANK_TRANSFER",
            sub_kind="REPAYMENTS",
        )
        return [self._habits.between(out, _CARD, owed, "PAYMENT RECEIVED - THANK YOU - شكرا لكم")]

    def _surplus(self, dice: Dice, spare: int) -> list[Move]:
        """What is more than two salaries goes to the savings."""
        one = units(1000, self._country.currency)
        moved = (spare - units(self._owner.income * 2, self._country.currency)) // one * one
        if moved <= 0:
            return []
        out = Move(
            account=0,
            second=hours(dice, 10, 22),
            amount=-moved,
            text=f"TRANSFER TO SAVINGS {self._accounts[_SAVINGS].number[-6:]}",
            category="TRANSFER",
            kind="SAME_BANK_TRANSFER",
        )
        received = f"تحويل من الحساب الجاري - TRANSFER FROM {self._accounts[0].number[-6:]}"
        return [self._habits.between(out, _SAVINGS, moved, received)]

    def _remittance(self, dice: Dice, family: Party, spare: int) -> Move:
        abroad, home = self._owner.person.community.abroad, self._country.currency
        assert abroad is not None
        wanted = units(self._owner.income * dice.between(8, 22) // 100, home)
        sent = max(min(wanted, spare) // 5000 * 5000, 5000)
        arrives = exchanged(sent, home, abroad.rate, abroad.currency)
        got = f"{abroad.currency} {arrives // 100:,}"
        return Move(
            account=0,
            second=hours(dice, 12, 20),
            amount=-sent,
            text=self._habits.said(
                dice, f"OUTWARD REMITTANCE {family.name.upper()} {got}", f"حوالة خارجية - {family.arabic_name} {got}"
            ),
            category="TRANSFER",
            kind="INTERNATIONAL_TRANSFER",
            party=family,
            exchange=Exchange(source=home, target=abroad.currency, unit=home, rate=abroad.rate),
        )

    def _profit(self, dice: Dice, balance: Balance) -> list[Move]:
        """A fifth of a percent a month of what is saved."""
        earned = balance(_SAVINGS) // 500
        if earned <= 0:
            return []
        return [
            Move(
                account=_SAVINGS,
                second=hours(dice, 2, 4),
                amount=earned,
                text="MONTHLY PROFIT - أرباح شهرية",
                category="LOANS_AND_INVESTMENT",
                kind="OTHER",
                sub_kind="PROFIT",
            )
        ]

    def _with_friend(self, dice: Dice) -> Move:
        """Now and then a friend pays back."""
        friend, count = dice.pick(self._friends), price(dice, self._country.currency, 25, 900)
        got = dice.chance(40)
        english, arabic = self._country.instant
        way = ("FROM", "من") if got else ("TO", "إلى")
        return Move(
            account=0,
            second=hours(dice, 8, 23),
            amount=count if got else -count,
            text=self._habits.said(
                dice, f"{english} {way[0]} {friend.name.upper()}", f"{arabic} {way[1]} {friend.arabic_name}"
            ),
            category="TRANSFER",
            kind="LOCAL_BANK_TRANSFER",
            party=friend,
        )

    def _travel(self, day: date, dice: Dice) -> list[Move]:
        if len(self._accounts) <= _TRAVEL:
            return []
        if day.day == 29 and day.month % 2 == 0:
            return [self._habits.top_up(dice, _TRAVEL, 5, 30)]
        if dice.chance(5):
            return self._habits.purchase(dice, _TRAVEL, dice.pick(self._abroad), ("", ""))
        return []
