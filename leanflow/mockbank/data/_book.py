"""All bank data of one entity, in Lean's shapes: what the data calls answer with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from leanflow._request import Resource
from leanflow.mockbank._settings import TestUser
from leanflow.mockbank._state import Wanted
from leanflow.mockbank.basics._dice import Dice
from leanflow.mockbank.basics._json import Written, encode
from leanflow.mockbank.basics._times import milli
from leanflow.mockbank.countries._country import Bank, Country

from ._accounts import Account, accounts_of
from ._business import Business
from ._entries import Teller
from ._habits import Life
from ._household import Household
from ._identity import company, identity_v1, individual
from ._ledger import DAYS_BACK, History, Ledger
from ._money import amount, decimal_of
from ._owners import owner_of, person
from ._pages import Pages
from ._payments import Payments

__all__ = ["Book"]

_OF_MAIN = frozenset(
    {Resource.beneficiaries, Resource.direct_debits, Resource.scheduled_payments, Resource.standing_orders}
)


class Book:
    """The bank data of one entity. Everything follows from the seed, the entity, its user and when it was connected.

    Args:
        seed: of the Mockbank.
        entity_id: whose data.
        user: who logs in at the bank.
        connected: when the entity was.
        country: where the bank is.
        bank: which one.
        pages: keeps the text of transactions for all books.
    """

    def __init__(
        self,
        *,
        seed: int,
        entity_id: str,
        user: TestUser,
        connected: datetime,
        country: Country,
        bank: Bank,
        pages: Pages,
    ) -> None:
        business = user.bank_type == "SME"
        self.owner = owner_of(seed, user.username, country, business=business)
        self.accounts: tuple[Account, ...] = accounts_of(
            seed, entity_id, connected, country, bank, income=self.owner.income, business=business
        )
        self._seed = seed
        self._entity_id = entity_id
        self._user = user
        self._connected = connected
        self._country = country
        self._bank = bank
        self._pages = pages
        self._kept: dict[tuple[Resource, str], tuple[date | None, list[str]]] = {}
        self._teller = Teller(seed=seed, entity_id=entity_id, owner=self.owner, country=country, bank=bank)

    # Most entities are listed more often than they are looked into: their lives begin when somebody asks.

    @cached_property
    def _life(self) -> Life:
        live = Household if self.owner.company is None else Business
        dice = Dice(self._seed, "life", self._user.username, self._country.code)
        return live(dice, self.owner, self.accounts, self._country, self._bank)

    @cached_property
    def _payments(self) -> Payments:
        return Payments(
            entity_id=self._entity_id,
            owner=self.owner,
            life=self._life,
            since=(self._connected - timedelta(days=DAYS_BACK)).date(),
            hours=self._country.hours,
        )

    @cached_property
    def _history(self) -> History:
        parts = (self._seed, self._entity_id, self._user.username, self._country.code)
        return History(parts, self.accounts, self._life, self._connected, self._country.hours)

    def account(self, account_id: str | None) -> Account | None:
        """Return an account, or None if the entity has none of that id."""
        return next((account for account in self.accounts if account.account_id == account_id), None)

    def reach(self, now: datetime) -> tuple[date, date]:
        """Return the first and last day for which there are transactions."""
        return (self._connected - timedelta(days=DAYS_BACK)).date(), now.date()

    def items(self, wanted: Wanted, now: datetime) -> tuple[int, Callable[[int, int], Written]]:
        """Return how many items a v2 data call has, and a function that gives those from a number to another as JSON.

        Transactions come newest first.
        """
        account = self.account(wanted.account_id) or self.accounts[0]
        if wanted.resource is Resource.transactions:
            ledger = self._ledger(account, now)
            numbers = ledger.span(now, wanted.start, wanted.end)[::-1]
            return len(numbers), lambda first, last: self._page(wanted, account, ledger, numbers[first:last])
        items = self._few(wanted.resource, account, now)
        return len(items), lambda first, last: Written(f"[{','.join(items[first:last])}]".encode())

    def payload(self, wanted: Wanted, now: datetime) -> dict[str, Any]:
        """Return what a v1 data call has under ``payload``: everything, without pages."""
        account = self.account(wanted.account_id) or self.accounts[0]
        match wanted.resource:
            case Resource.accounts:
                return {"accounts": [self._account_v1(one, now) for one in self.accounts], "type": "accounts"}
            case Resource.balances:
                return {
                    "type": "balance",
                    "balance": decimal_of(self._ledger(account, now).balance(now), account.currency),
                    "currency_code": account.currency,
                    "account_id": account.account_id,
                    "account_name": account.nickname,
                    "account_type": account.kind,
                }
            case Resource.transactions:
                ledger = self._ledger(account, now)
                page = self._page(wanted, account, ledger, ledger.span(now)[::-1])
                return {"transactions": page, "type": "transactions"}
            case _:
                return identity_v1(self.owner, self._country)

    def _ledger(self, account: Account, now: datetime) -> Ledger:
        return self._history.ledger(self.accounts.index(account), now)

    def _page(self, wanted: Wanted, account: Account, ledger: Ledger, numbers: range) -> Written:
        tell, entries = self._teller.text, ledger.entries
        key = (wanted.api, wanted.insights, account.account_id, numbers.start, numbers.stop)
        return self._pages.get(
            key, lambda: [tell(wanted.api, account, one, insights=wanted.insights) for one in entries(numbers)]
        )

    def _few(self, resource: Resource, account: Account, now: datetime) -> list[str]:
        """Return items that need no paging in truth. But for balances they stay the same for a day."""
        if resource is Resource.balances:
            return [encode(one) for one in self._balances(account, now)]
        day, key = self._payments.day(now), (resource, account.account_id)
        kept_for, items = self._kept.get(key, (None, []))
        if kept_for != day:
            items = [encode(one) for one in self._made(resource, account, day)]
            self._kept[key] = (day, items)
        return items

    def _made(self, resource: Resource, account: Account, day: date) -> Sequence[dict[str, Any]]:
        if resource in _OF_MAIN:
            return self._payments.of(resource, account, day) if account is self.accounts[0] else []
        match resource:
            case Resource.accounts:
                return [self._account(one) for one in self.accounts]
            case Resource.identity:
                return self._identities(None)
            case _:
                return self._identities(account)

    def _identities(self, account: Account | None) -> list[dict[str, Any]]:
        """The holder; savings are held with the spouse, and somebody signs for a company."""
        owner, country = self.owner, self._country
        if owner.company is not None:
            signs = individual(self._entity_id, owner.person, country, "DELEGATE", "DELEGATE")
            return [company(self._entity_id, owner, country), *([signs] if account else [])]
        if account is None or account.kind != "SAVINGS":
            return [individual(self._entity_id, owner.person, country, "ADMINISTRATOR", "SOLE")]
        spouse = person(Dice("spouse", owner.person.national_id), country, owner.person.community)
        return [individual(self._entity_id, one, country, "ADMINISTRATOR", "JOINT") for one in (owner.person, spouse)]

    def _account(self, account: Account) -> dict[str, Any]:
        schemes = [("IBAN", account.iban), ("BBAN", account.number)]
        if account.kind == "CREDIT":
            schemes.append(("PAN", f"************{account.card}"))
        return {
            "entity_id": self._entity_id,
            "account_id": account.account_id,
            "account_holder_name": self.owner.name,
            "account_holder_short_name": self.owner.short_name,
            "status": "ENABLED",
            "status_update_date_time": milli(self._connected - timedelta(days=90)),
            "currency": account.currency,
            "account_type": "BUSINESS" if self.owner.company else "PERSONAL",
            "account_sub_type": account.kind,
            "nickname": account.nickname,
            "description": f"{account.kind.title()} account - {self.owner.arabic_name}",
            "opening_date": account.opened.isoformat(),
            "maturity_date": None,
            "account": [
                {"scheme_name": scheme, "identification": value, "name": self.owner.name} for scheme, value in schemes
            ],
            "servicer": {"scheme_name": "BICFI", "identification": self._bank.bic},
        }

    def _account_v1(self, account: Account, now: datetime) -> dict[str, Any]:
        shape: dict[str, Any] = {
            "account_id": account.account_id,
            "name": account.nickname,
            "currency_code": account.currency,
            "type": account.kind,
            "iban": account.iban,
            "account_number": account.number,
        }
        if account.kind == "CREDIT":
            owed = max(0, -self._ledger(account, now).balance(now))
            shape["credit"] = {
                "card_number_last_four": account.card,
                "limit": decimal_of(account.credit_limit, account.currency),
                "next_payment_due_date": (now + timedelta(days=14)).date().isoformat(),
                "next_payment_due_amount": decimal_of(owed, account.currency),
            }
        return shape

    def _balances(self, account: Account, now: datetime) -> list[dict[str, Any]]:
        """What is booked, and what can be spent: with the credit line, where there is one."""
        booked = self._ledger(account, now).balance(now)
        limit = account.credit_limit
        lines = [{"included": True, "amount": amount(limit, account.currency), "type": "CREDIT"}] if limit else []
        return [
            {
                "entity_id": self._entity_id,
                "account_id": account.account_id,
                "credit_debit_indicator": "DEBIT" if count < 0 else "CREDIT",
                "type": kind,
                "amount": amount(count, account.currency),
                "date_time": milli(now),
                "credit_line": included,
            }
            for kind, count, included in (("INTERIM_BOOKED", booked, []), ("INTERIM_AVAILABLE", booked + limit, lines))
        ]
