"""All bank data of one entity, in Lean's shapes: what the data calls answer with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from leanflow._request import Resource

from ._accounts import Account, Owner, accounts_of, owner_of
from ._dice import Dice
from ._ledger import DAYS_BACK, Ledger
from ._payments import Payments
from ._people import Bank, Country
from ._times import milli

__all__ = ["Book"]


class Book:
    """The bank data of one entity. Everything follows from the seed, the entity and when it was connected."""

    def __init__(
        self, *, seed: int, entity_id: str, username: str, connected: datetime, country: Country, bank: Bank
    ) -> None:
        self.owner: Owner = owner_of(seed, username, country)
        self.accounts: tuple[Account, ...] = accounts_of(seed, entity_id, connected, country, bank)
        self._seed = seed
        self._entity_id = entity_id
        self._connected = connected
        self._country = country
        self._bank = bank
        self._payments = Payments(seed, entity_id, self.owner, connected, country)
        self._ledgers: dict[str, Ledger] = {}

    def account(self, account_id: str | None) -> Account | None:
        """Return an account, or None if the entity has none of that id."""
        return next((account for account in self.accounts if account.account_id == account_id), None)

    def reach(self, now: datetime) -> tuple[date, date]:
        """Return the first and last day for which there are transactions."""
        return (self._connected - timedelta(days=DAYS_BACK)).date(), now.date()

    def items(
        self,
        resource: Resource,
        account_id: str | None,
        now: datetime,
        *,
        start: date | None = None,
        end: date | None = None,
    ) -> tuple[int, Callable[[int, int], Sequence[object]]]:
        """Return how many items a v2 data call has, and a function that gives those from a number to another.

        Transactions come newest first.
        """
        account = self.account(account_id) or self.accounts[0]
        if resource is Resource.transactions:
            ledger = self._ledger(account)
            numbers = ledger.span(now, start, end)[::-1]
            return len(numbers), lambda first, last: ledger.texts("v2", numbers[first:last])
        items = self._few(resource, account, now)
        return len(items), lambda first, last: items[first:last]

    def payload(self, resource: Resource, account_id: str | None, now: datetime) -> dict[str, Any]:
        """Return what a v1 data call has under ``payload``: everything, without pages."""
        account = self.account(account_id) or self.accounts[0]
        match resource:
            case Resource.accounts:
                return {"accounts": [self._account_v1(one, now) for one in self.accounts], "type": "accounts"}
            case Resource.balances:
                return {
                    "type": "balance",
                    "balance": self._ledger(account).balance(now),
                    "currency_code": account.currency,
                    "account_id": account.account_id,
                    "account_name": account.nickname,
                    "account_type": account.kind,
                }
            case Resource.transactions:
                ledger = self._ledger(account)
                return {"transactions": ledger.texts("v1", ledger.span(now)[::-1]), "type": "transactions"}
            case _:
                return self._identity_v1()

    def _ledger(self, account: Account) -> Ledger:
        known = self._ledgers.get(account.account_id)
        if known is None:
            known = Ledger(self._seed, account, self.owner, self._connected, self._country, self._bank)
            self._ledgers[account.account_id] = known
        return known

    def _few(self, resource: Resource, account: Account, now: datetime) -> list[dict[str, Any]]:
        match resource:
            case Resource.accounts:
                return [self._account(one) for one in self.accounts]
            case Resource.balances:
                return self._balances(account, now)
            case Resource.identity:
                return [self._identity("ADMINISTRATOR", "SOLE", self.owner)]
            case Resource.identities:
                joint = owner_of(self._seed, f"joint:{self._entity_id}", self._country)
                return [
                    self._identity("ADMINISTRATOR", "JOINT", self.owner),
                    self._identity("DELEGATE", "DELEGATE", joint),
                ]
            case Resource.beneficiaries:
                return self._payments.beneficiaries(account)
            case Resource.direct_debits:
                return self._payments.direct_debits(account)
            case Resource.scheduled_payments:
                return self._payments.scheduled_payments(account)
            case _:
                return self._payments.standing_orders(account)

    def _account(self, account: Account) -> dict[str, Any]:
        schemes = (("IBAN", account.iban), ("BBAN", account.number))
        return {
            "entity_id": self._entity_id,
            "account_id": account.account_id,
            "account_holder_name": self.owner.name,
            "account_holder_short_name": self.owner.short_name,
            "status": "ENABLED",
            "status_update_date_time": milli(self._connected - timedelta(days=90)),
            "currency": account.currency,
            "account_type": "PERSONAL",
            "account_sub_type": account.kind,
            "nickname": account.nickname,
            "description": f"{account.kind.title()} account of {self.owner.arabic_name}",
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
            shape["credit"] = {
                "card_number_last_four": account.number[-4:],
                "limit": account.credit_limit,
                "next_payment_due_date": (now + timedelta(days=14)).date().isoformat(),
                "next_payment_due_amount": abs(self._ledger(account).balance(now)),
            }
        return shape

    def _balances(self, account: Account, now: datetime) -> list[dict[str, Any]]:
        booked = self._ledger(account).balance(now)
        lines = []
        if account.kind == "CREDIT":
            limit = {"currency": account.currency, "amount": account.credit_limit}
            lines = [{"included": False, "amount": limit, "type": "CREDIT"}]
        return [
            {
                "entity_id": self._entity_id,
                "account_id": account.account_id,
                "credit_debit_indicator": "DEBIT" if booked < 0 else "CREDIT",
                "type": kind,
                "amount": {"currency": account.currency, "amount": abs(booked)},
                "date_time": milli(now),
                "credit_line": lines,
            }
            for kind in ("CLOSING_AVAILABLE", "INTERIM_BOOKED")
        ]

    def _identity(self, role: str, party: str, owner: Owner) -> dict[str, Any]:
        country, dice = self._country, Dice(self._seed, "address", owner.email)
        street, number = f"{dice.between(1, 60)} Street", str(dice.between(1, 400))
        return {
            "entity_id": self._entity_id,
            "full_legal_name": owner.name.upper(),
            "name": owner.short_name,
            "national_id": owner.national_id,
            "birth_date": owner.born.isoformat(),
            "gender": owner.gender,
            "email_address": owner.email,
            "legal_structure": "",
            "phone": owner.mobile,
            "mobile_number": owner.mobile,
            "address": {
                "address_line": f"{owner.arabic_name}، {number}، {country.arabic_town}",
                "address_type": "RESIDENTIAL",
                "building_type": "Apartment",
                "apartment_or_villa_number": number,
                "building_name": "Al Noor Tower",
                "street": street,
                "area": "Downtown",
                "street_address": f"{number} {street}",
                "post_code": dice.digits(5),
                "town_name": country.arabic_town,
                "region": country.region,
                "po_box": dice.digits(4),
                "country": country.code,
            },
            "account_role": role,
            "party_type": party,
            "party_id": f"PT_{dice.digits(16)}",
            "party_number": dice.digits(16),
        }

    def _identity_v1(self) -> dict[str, Any]:
        owner = self.owner
        return {
            "type": "identity",
            "address": f"{self._country.town}, {self._country.arabic_town}",
            "birth_date": owner.born.isoformat(),
            "email_address": owner.email,
            "full_name": owner.name,
            "gender": owner.gender,
            "mobile_number": owner.mobile,
            "national_identity_number": owner.national_id,
        }
