"""What people and companies have in common: bills, purchases, withdrawals, transfers between their own accounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Protocol

import attrs

from leanflow.mockbank.basics._dice import Dice
from leanflow.mockbank.countries._country import Bank, Biller, Country, Merchant, Word

from ._accounts import Account
from ._money import exchanged, price, units
from ._moves import Exchange, Move, Regular
from ._owners import Owner, Party, party

__all__ = ["Balance", "Habits", "Life", "by_weight", "hours"]

_PRINTED = {
    "direct debit": ("BILL PAYMENT", "سداد فاتورة"),
    "scheduled payment": ("SCHEDULED PAYMENT", "دفعة مجدولة"),
    "standing order": ("STANDING ORDER", "أمر مستديم"),
}
# What is bought on a screen: tolls, marketplaces, flights, couriers, software, advertising, tickets, fees of the state.
_ONLINE = frozenset({"4784", "5311", "4511", "4215", "5734", "7311", "7922", "9399"})

Balance = Callable[[int], int]  # of the owner's account of a number, at the beginning of the day


class Life(Protocol):
    """Where an owner's money comes from and goes to.

    Attributes:
        regulars: what comes back each month.
        payees: who was paid by transfer: the beneficiaries.
    """

    @property
    def regulars(self) -> Sequence[Regular]:
        """What comes back."""
        ...

    @property
    def payees(self) -> Sequence[Party]:
        """Who is paid by transfer."""
        ...

    def moves(self, day: date, dice: Dice, balance: Balance) -> list[Move]:
        """Return what moves on a day, in any order. What is not covered then will not be booked."""
        ...


def hours(dice: Dice, first: int, last: int) -> int:
    """Return a second of the day, from one full hour to before another."""
    return first * 3600 + dice.below((last - first) * 3600)


def by_weight(merchants: Sequence[Merchant]) -> tuple[Merchant, ...]:
    """Return each merchant as often as it is visited."""
    return tuple(merchant for merchant in merchants for _ in range(merchant.often))


class Habits:
    """How one owner's payments are made and printed.

    Args:
        dice: of the owner.
    """

    def __init__(self, dice: Dice, owner: Owner, accounts: Sequence[Account], country: Country, bank: Bank) -> None:
        self.owner = owner
        self.bank = bank
        self.accounts = accounts
        self.country = country
        self._dice = dice

    # what comes back

    def said(self, dice: Dice, english: str, arabic: str) -> str:
        """Return a description in one of the country's two languages."""
        return arabic if dice.chance(self.country.arabic_share) else english

    def bill(self, way: str, biller: Biller, kind: str, *, fixed: bool = False, times: int = 1) -> Regular:
        """Return a biller's bill; a fixed one is the same each time."""
        dice, (english, arabic) = self._dice, _PRINTED[way]
        least, most = units(biller.least, self.country.currency), units(biller.most, self.country.currency)
        usual = dice.between(least, most) * times
        if fixed:
            usual -= usual % units(1, self.country.currency)
        return Regular(
            way=way,
            party=party(dice, self.country, (biller.name, biller.arabic_name)),
            day=biller.day,
            months=biller.months,
            least=usual if fixed else usual * 88 // 100,
            most=usual if fixed else usual * 112 // 100,
            text=self.said(dice, f"{english} {biller.name.upper()}", f"{arabic} - {biller.arabic_name}"),
            category=biller.category,
            kind=kind,
            summer=biller.summer,
        )

    def rent(self, monthly: int) -> Regular:
        """Return the rent, paid as one does in the country."""
        country, dice = self.country, self._dice
        landlord = dice.pick(country.landlords)
        every = units(monthly // 50 * 50, country.currency) * country.rent_months
        english, arabic = country.rent_text
        return Regular(
            way="other",
            party=party(dice, country, landlord),
            day=1,
            months=country.rent_months,
            least=every,
            most=every,
            text=self.said(dice, f"{english} {landlord[0].upper()}", f"{arabic} - {landlord[1]}"),
            category="RENT_AND_SERVICES",
            kind=country.rent_kind,
        )

    def set_aside(self, into: int, monthly: int, day: int, text: Word) -> Regular:
        """Return the standing order that fills another account of the owner."""
        account, main, count = self.accounts[into], self.accounts[0], units(monthly, self.country.currency)
        return Regular(
            way="standing order",
            party=Party(
                name=self.owner.name,
                arabic_name=self.owner.arabic_name,
                scheme="IBAN",
                identification=account.iban,
                bic=self.bank.bic,
                bank=self.bank.name,
            ),
            day=day,
            months=1,
            least=count,
            most=count,
            text=f"{text[0]} {account.number[-6:]}",
            category="TRANSFER",
            kind="SAME_BANK_TRANSFER",
            into=into,
            received=f"{text[1]} {main.number[-6:]}",
        )

    def due(self, regulars: Sequence[Regular], day: date) -> list[Move]:
        """Return what comes back on a day."""
        return [self._regular(one, day) for one in regulars if one.falls_on(day)]

    def _regular(self, one: Regular, day: date) -> Move:
        count = one.amount(day)
        move = Move(
            account=0,
            second=hours(Dice(one.text, day.isoformat()), 8, 11),
            amount=-count,
            text=one.text,
            category=one.category,
            kind=one.kind,
            sub_kind=one.sub_kind,
            party=one.party,
        )
        return move if one.into is None else self.between(move, one.into, count, one.received)

    # what happens on a day

    def between(self, out: Move, into: int, count: int, text: str) -> Move:
        """Return a transfer to another account of the owner, with both of its legs."""
        return attrs.evolve(out, into=attrs.evolve(out, account=into, amount=count, text=text, party=None))

    def top_up(self, dice: Dice, into: int, least: int, most: int) -> Move:
        """Return a purchase of foreign money for another account of the owner."""
        account, home = self.accounts[into], self.country.currency
        rate = dict(self.country.rates)[account.currency]
        bought = units(dice.between(least, most) * 10, account.currency)
        cost = exchanged(bought, account.currency, rate, home)
        out = Move(
            account=0,
            second=hours(dice, 10, 16),
            amount=-cost,
            text=f"FX PURCHASE {account.currency} @ {rate}",
            category="TRANSFER",
            kind="SAME_BANK_TRANSFER",
            exchange=Exchange(source=home, target=account.currency, unit=account.currency, rate=rate),
        )
        return self.between(out, into, bought, f"FX PURCHASE {account.currency} FROM {home}")

    def purchase(self, dice: Dice, account: int, merchant: Merchant, place: Word) -> list[Move]:
        """Return a card payment, and now and then its refund an hour later."""
        has = self.accounts[account]
        paid = price(dice, has.currency, merchant.least, merchant.most)
        online = merchant.mcc in _ONLINE
        words = ("ECOM PURCHASE", "شراء عبر الإنترنت") if online else ("POS PURCHASE", "شراء عبر نقاط البيع")
        english = f"{words[0]} ****{has.card} {merchant.name.upper()} {place[0].upper()}"
        move = Move(
            account=account,
            second=hours(dice, 7, 22),
            amount=-paid,
            text=self.said(dice, english, f"{words[1]} ****{has.card} {merchant.arabic_name} {place[1]}"),
            category=merchant.category,
            kind="E_COMMERCE" if online else "POS",
            sub_kind="PURCHASE",
            merchant=merchant,
        )
        if not dice.chance(2):
            return [move]
        text = self.said(dice, f"REFUND {merchant.name.upper()}", f"استرداد - {merchant.arabic_name}")
        back = Move(
            account=account,
            second=move.second + 3600,
            amount=paid,
            text=text,
            category=move.category,
            kind=move.kind,
            sub_kind="REFUND",
            merchant=merchant,
        )
        return [move, back]

    def cash(self, dice: Dice) -> Move:
        """Return a withdrawal, in notes of a hundred."""
        area = dice.pick(self.country.areas)
        notes = 1 + dice.below(4) * dice.below(5)
        return Move(
            account=0,
            second=hours(dice, 9, 23),
            amount=-units(notes * 100, self.country.currency),
            text=self.said(dice, f"ATM WITHDRAWAL {area[0].upper()}", f"سحب نقدي - صراف آلي {area[1]}"),
            category="OTHER",
            kind="ATM",
            sub_kind="WITHDRAWAL",
        )
