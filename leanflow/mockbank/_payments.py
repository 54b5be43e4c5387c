"""Whom an account pays: beneficiaries, direct debits, scheduled payments, standing orders."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ._accounts import Account, Owner, accounts_of, money
from ._dice import Dice, derived_id
from ._people import Country
from ._times import milli

__all__ = ["Payments"]


class Payments:
    """The payments of one entity's accounts, in Lean's shapes."""

    def __init__(self, seed: int, entity_id: str, owner: Owner, connected: datetime, country: Country) -> None:
        self.owner = owner
        self._seed = seed
        self._entity_id = entity_id
        self._connected = connected
        self._country = country

    def _dice(self, account: Account, what: str) -> Dice:
        return Dice(self._seed, what, account.account_id)

    def _payee(self, dice: Dice) -> tuple[str, dict[str, Any]]:
        name, _, _ = dice.pick(self._country.people)
        other = dice.pick(self._country.banks)
        return name, {
            "identification": accounts_of(
                self._seed, derived_id(self._seed, "payee", name, other.bic), self._connected, self._country, other
            )[0].iban,
            "bic": other.bic,
            "bank": other.name,
        }

    def _creditor(self, dice: Dice) -> dict[str, Any]:
        name, at = self._payee(dice)
        return {
            "creditor_agent": {"identification_type": "BICFI", "identification": at["bic"], "name": at["bank"]},
            "creditor_account": {"scheme_name": "IBAN", "identification": at["identification"], "name": name},
        }

    def beneficiaries(self, account: Account) -> list[dict[str, Any]]:
        """Return an account's beneficiaries."""
        dice = self._dice(account, "beneficiaries")
        made = []
        for number in range(dice.between(3, 8)):
            name, at = self._payee(dice)
            made.append(
                {
                    "account_id": account.account_id,
                    "account_holder_name": self.owner.name,
                    "account_holder_short_name": self.owner.short_name,
                    "beneficiary_id": derived_id(account.account_id, "beneficiary", number),
                    "beneficiary_type": dice.pick(("TRUSTED", "ORDINARY")),
                    "creditor_agent": {"scheme_name": "BICFI", "identification": at["bic"], "name": at["bank"]},
                    "creditor_account": {"scheme_name": "IBAN", "identification": at["identification"], "name": name},
                    "reference": f"REF-{number + 1:03}",
                    "supplementary_data": {},
                }
            )
        return made

    def direct_debits(self, account: Account) -> list[dict[str, Any]]:
        """Return an account's direct debits."""
        dice = self._dice(account, "direct debits")
        return [
            {
                "entity_id": self._entity_id,
                "account_id": account.account_id,
                "direct_debit_id": derived_id(account.account_id, "direct debit", number),
                "name": payee.name,
                "status_code": "ACTIVE",
                "frequency": "MONTHLY",
                "mandate_identification": f"DD-{dice.digits(8)}",
                "previous_payment_date_time": milli(self._connected - timedelta(days=dice.between(1, 30))),
                "previous_payment_amount": self._amount(dice, account, payee.least, payee.most),
            }
            for number, payee in enumerate((self._country.power, self._country.telecom, self._country.landlord))
        ]

    def scheduled_payments(self, account: Account) -> list[dict[str, Any]]:
        """Return an account's scheduled payments."""
        dice = self._dice(account, "scheduled payments")
        return [
            {
                "entity_id": self._entity_id,
                "account_id": account.account_id,
                "account_holder_name": self.owner.name,
                "account_holder_short_name": self.owner.short_name,
                "scheduled_payment_id": derived_id(account.account_id, "scheduled payment", number),
                "scheduled_type": dice.pick(("ARRIVAL", "EXECUTION")),
                "scheduled_payment_date_time": milli(self._connected + timedelta(days=dice.between(2, 60))),
                "debtor_reference": f"SCHEDULED-{number + 1}",
                "instructed_amount": self._amount(dice, account, 100, 5000),
                **self._creditor(dice),
            }
            for number in range(dice.between(1, 3))
        ]

    def standing_orders(self, account: Account) -> list[dict[str, Any]]:
        """Return an account's standing orders."""
        dice = self._dice(account, "standing orders")
        made = []
        for number in range(dice.between(1, 4)):
            amount = self._amount(dice, account, 100, 2500)
            made.append(
                {
                    "account_id": account.account_id,
                    "standing_order_id": derived_id(account.account_id, "standing order", number),
                    "standing_order_status_code": "ACTIVE",
                    "standing_order_type": dice.pick(("LOCAL_BANK_TRANSFER", "BETWEEN_MY_ACCOUNTS", "CHARITY")),
                    "purpose": "Monthly payment",
                    "first_payment_date_time": milli(self._connected - timedelta(days=400)),
                    "last_payment_date_time": milli(self._connected - timedelta(days=10)),
                    "next_payment_date_time": milli(self._connected + timedelta(days=20)),
                    "final_payment_date_time": None,
                    "frequency": {"frequency_type": "MONTHLY", "interval": None},
                    "number_of_payments": None,
                    "reference": f"SO-{number + 1:03}",
                    "first_payment_amount": amount,
                    "last_payment_amount": amount,
                    "next_payment_amount": amount,
                    "final_payment_amount": None,
                    **self._creditor(dice),
                }
            )
        return made

    def _amount(self, dice: Dice, account: Account, least: int, most: int) -> dict[str, Any]:
        return {"currency": account.currency, "amount": money(dice, account.currency, least, most)}
