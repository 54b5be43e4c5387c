"""Two years of transactions of one account, day by day, as they follow from the seed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import attrs

from ._accounts import Account, Owner, digits_of, money
from ._dice import Dice, derived_id
from ._json import Raw, encode
from ._people import Bank, Country, Merchant
from ._times import milli

__all__ = ["DAYS_BACK", "Entry", "Ledger"]

DAYS_BACK = 730  # two years before the connection, as far as a consent usually reaches


@attrs.frozen(kw_only=True)
class Entry:
    """One booked transaction.

    Attributes:
        amount: negative for a debit.
        balance: after it.
        index: within its day, from 0.
    """

    id: str
    booked: datetime
    amount: Decimal
    balance: Decimal
    index: int
    text: str
    category: str
    kind: str
    sub_kind: str
    merchant: Merchant | None


@attrs.frozen
class _Move:
    """A transaction that is not booked yet: hour, signed amount, text, category, kind, sub-kind, merchant."""

    hour: int
    amount: Decimal
    text: str
    category: str
    kind: str
    sub_kind: str
    merchant: Merchant | None = None


class Ledger:
    """The transactions of one account; it grows with the time it is asked for."""

    def __init__(
        self, seed: int, account: Account, owner: Owner, connected: datetime, country: Country, bank: Bank
    ) -> None:
        self._seed = seed
        self._account = account
        self._owner = owner
        self._country = country
        self._bank = bank
        self._next_day = connected.astimezone(UTC).date() - timedelta(days=DAYS_BACK)
        self._balance = account.opening_balance
        self._entries: list[Entry] = []
        self._booked: list[datetime] = []
        self._texts: dict[tuple[str, int], Raw] = {}

    def balance(self, now: datetime) -> Decimal:
        """Return the balance at a time."""
        self._grow(now)
        count = bisect_right(self._booked, now)
        return self._entries[count - 1].balance if count else self._account.opening_balance

    def span(self, now: datetime, start: date | None = None, end: date | None = None) -> range:
        """Return the numbers of the entries booked until `now`, from the day `start` to `end` (UTC, both included)."""
        self._grow(now)
        last = bisect_right(self._booked, now)
        first = 0
        if start is not None:
            first = bisect_left(self._booked, datetime.combine(start, time(), UTC))
        if end is not None:
            last = min(last, bisect_left(self._booked, datetime.combine(end + timedelta(days=1), time(), UTC)))
        return range(first, max(first, last))

    def entries(self, numbers: Sequence[int]) -> list[Entry]:
        """Return entries by number."""
        return [self._entries[number] for number in numbers]

    def texts(self, api: str, numbers: Sequence[int]) -> list[Raw]:
        """Return entries as JSON, in the shape of `api`; each is written once and kept."""
        return [self._text(api, number) for number in numbers]

    def _text(self, api: str, number: int) -> Raw:
        known = self._texts.get((api, number))
        if known is None:
            entry = self._entries[number]
            shape = self._v1(entry) if api == "v1" else self._v2(entry)
            known = self._texts[(api, number)] = Raw(encode(shape))
        return known

    def _grow(self, now: datetime) -> None:
        today = now.astimezone(UTC).date()
        while self._next_day <= today:
            self._book(self._next_day)
            self._next_day += timedelta(days=1)

    def _book(self, day: date) -> None:
        dice = Dice(self._seed, "day", self._account.account_id, day.isoformat())
        moves = sorted(_moves(self._account, self._owner, self._country, day, dice), key=lambda move: move.hour)
        index = 0
        for move in moves:
            if move.amount < 0 and self._balance + move.amount < -self._account.credit_limit:
                continue  # the bank declines what is not covered
            booked = datetime.combine(day, time(move.hour, dice.below(60), dice.below(60)), UTC)
            if self._booked and booked <= self._booked[-1]:
                booked = self._booked[-1] + timedelta(seconds=1)
            self._balance += move.amount
            self._booked.append(booked)
            self._entries.append(
                Entry(
                    id=derived_id(self._seed, self._account.account_id, day.isoformat(), index),
                    booked=booked,
                    amount=move.amount,
                    balance=self._balance,
                    index=index,
                    text=move.text,
                    category=move.category,
                    kind=move.kind,
                    sub_kind=move.sub_kind,
                    merchant=move.merchant,
                )
            )
            index += 1

    def _v1(self, entry: Entry) -> dict[str, Any]:
        return {
            "id": entry.id,
            "description": entry.text,
            "amount": entry.amount,
            "currency_code": self._account.currency,
            "index": entry.index,
            "pending": False,
            "timestamp": milli(entry.booked),
            "running_balance": entry.balance,
            "transaction_reference": _reference(entry),
            "value_timestamp": milli(entry.booked),
            "transaction_timestamp": milli(entry.booked),
        }

    def _v2(self, entry: Entry) -> dict[str, Any]:
        currency, account = self._account.currency, self._account
        own = {"name": self._owner.name, "scheme_name": "IBAN", "identification": account.iban}
        debit = entry.amount < 0
        return {
            "entity_id": account.entity_id,
            "account_id": account.account_id,
            "transaction_id": entry.id,
            "transaction_information": entry.text,
            "transaction_reference": _reference(entry),
            "credit_debit_indicator": "DEBIT" if debit else "CREDIT",
            "amount": {"currency": currency, "amount": abs(entry.amount)},
            "transaction_mutability": "IMMUTABLE",
            "booking_date_time": milli(entry.booked),
            "insights": None,
            "balance": {
                "type": "CLOSING_AVAILABLE",
                "credit_debit_indicator": "DEBIT" if entry.balance < 0 else "CREDIT",
                "amount": {"currency": currency, "amount": abs(entry.balance)},
            },
            "status": "BOOKED",
            "statement_reference": [f"STMT-{entry.booked:%Y-%m}"],
            "value_date_time": milli(entry.booked),
            "index": entry.index,
            "charge_amount": {"amount": 0, "currency": currency, "charge_included": False},
            "bank_transaction_code": {"code": entry.kind, "sub_code": entry.sub_kind},
            "card_instrument": None,
            "merchant_details": None
            if entry.merchant is None
            else {"merchant_category_code": entry.merchant.mcc, "merchant_name": entry.merchant.name},
            "proprietary_bank_transaction_code": {"code": entry.kind, "issuer": self._bank.bic},
            "currency_exchange": None,
            "creditor_account": None if debit else own,
            "creditor_agent": None,
            "debtor_account": own if debit else None,
            "debtor_agent": None,
            "local_time_zone": self._country.zone,
            "transaction_type": entry.kind,
            "sub_transaction_type": entry.sub_kind,
            "payment_modes": "ONLINE",
            "flags": [],
        }


def _reference(entry: Entry) -> str:
    return f"REF-{entry.booked:%Y%m%d}-{entry.id[:6].upper()}"


def _moves(account: Account, owner: Owner, country: Country, day: date, dice: Dice) -> list[_Move]:
    match account.kind:
        case "CURRENT":
            return _current(account, owner, country, day, dice)
        case "SAVINGS":
            return _savings(account, day, dice)
        case "CREDIT":
            return _card(account, country, day, dice)
        case _:
            return _foreign(account, day, dice)


def _current(account: Account, owner: Owner, country: Country, day: date, dice: Dice) -> list[_Move]:
    moves = []
    if day.day == 25:
        latin, arabic = owner.employer
        text = f"SALARY {latin} - راتب {arabic}"
        moves.append(_Move(6, owner.salary, text, "SALARY_AND_REVENUE", "LOCAL_BANK_TRANSFER", "MONEY_TRANSFER"))
    for due, payee in ((1, country.landlord), (7, country.power), (12, country.telecom)):
        if day.day == due:
            # A rent is the same each month, a bill is not.
            drawn = Dice(account.account_id, "rent") if payee is country.landlord else dice
            paid = -money(drawn, account.currency, payee.least, payee.most)
            text = f"{payee.name} - BILL PAYMENT"
            moves.append(_Move(9, paid, text, payee.category, "BILL_PAYMENTS", "MONEY_TRANSFER", payee))
    if day.day == 26:
        saved = -money(dice, account.currency, 300, 1500)
        moves.append(_Move(8, saved, "TRANSFER TO SAVINGS", "TRANSFER", "SAME_BANK_TRANSFER", "MONEY_TRANSFER"))
    if dice.chance(8):
        cash = -Decimal(dice.between(1, 10) * 100).quantize(Decimal(1).scaleb(-digits_of(account.currency)))
        moves.append(_Move(17, cash, f"ATM WITHDRAWAL {country.town.upper()}", "OTHER", "ATM", "WITHDRAWAL"))
    moves.extend(_purchases(account, country, dice, most=2))
    return moves


def _purchases(account: Account, country: Country, dice: Dice, *, most: int) -> list[_Move]:
    moves = []
    for _ in range(dice.between(0, most)):
        shop = dice.pick(country.shops)
        paid = -money(dice, account.currency, shop.least, shop.most)
        online = dice.chance(30)
        # Banks of the region print some descriptions in Arabic: readers must cope with both directions.
        text = f"شراء عبر نقاط البيع - {shop.arabic_name}" if dice.chance(35) else f"POS PURCHASE - {shop.name.upper()}"
        kind = "E_COMMERCE" if online else "POS"
        moves.append(_Move(dice.between(7, 22), paid, text, shop.category, kind, "PURCHASE", shop))
        if dice.chance(2):
            back = f"REFUND - {shop.name.upper()}"
            moves.append(_Move(23, -paid, back, shop.category, kind, "REFUND", shop))
    return moves


def _savings(account: Account, day: date, dice: Dice) -> list[_Move]:
    if day.day == 26:
        amount = money(dice, account.currency, 300, 1500)
        return [_Move(8, amount, "TRANSFER FROM CURRENT", "TRANSFER", "SAME_BANK_TRANSFER", "MONEY_TRANSFER")]
    if day.day == 28:
        amount = money(dice, account.currency, 5, 90)
        return [_Move(3, amount, "أرباح شهرية - MONTHLY PROFIT", "LOANS_AND_INVESTMENT", "OTHER", "PROFIT")]
    return []


def _card(account: Account, country: Country, day: date, dice: Dice) -> list[_Move]:
    moves = _purchases(account, country, dice, most=1)
    if day.day == 27:
        amount = money(dice, account.currency, 900, 4200)
        moves.append(_Move(10, amount, "CARD REPAYMENT - شكرا لكم", "TRANSFER", "SAME_BANK_TRANSFER", "REPAYMENTS"))
    return moves


def _foreign(account: Account, day: date, dice: Dice) -> list[_Move]:
    if day.day % 9 == 0 and dice.chance(50):
        amount = money(dice, account.currency, 20, 300) * (1 if dice.chance(40) else -1)
        return [_Move(11, amount, "INTERNATIONAL TRANSFER", "TRANSFER", "INTERNATIONAL_TRANSFER", "MONEY_TRANSFER")]
    return []
