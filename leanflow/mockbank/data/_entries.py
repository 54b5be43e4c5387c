"""Booked transactions as JSON, in Lean's shapes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs

from leanflow.mockbank.basics._dice import derived_id
from leanflow.mockbank.basics._json import encode
from leanflow.mockbank.basics._times import milli
from leanflow.mockbank.countries._country import Bank, Country, Merchant

from ._accounts import Account
from ._form import Form, hole
from ._ledger import Entry
from ._money import amount, text_of
from ._moves import Move
from ._owners import Owner, Party

__all__ = ["Teller"]


@attrs.frozen(kw_only=True)
class Teller:
    """Writes the transactions of an entity's accounts. What is the same in many of them is written once.

    Attributes:
        forms: by API and account.
        parts: what a transaction says of its sides, its shop and its card.
    """

    seed: int
    entity_id: str
    owner: Owner
    country: Country
    bank: Bank
    forms: dict[tuple[str, str], Form] = attrs.field(factory=dict, init=False)
    parts: dict[tuple[str, bool, str, Party | None, Merchant | None], str] = attrs.field(factory=dict, init=False)

    def text(self, api: str, account: Account, entry: Entry, *, insights: bool) -> str:
        """Return a transaction in the shape of ``v1`` or ``v2``; Lean has no insights into what companies do."""
        move, booked = entry.move, f'"{milli(entry.booked)}"'
        day = entry.day.isoformat()
        name = derived_id(self.seed, account.account_id, day, entry.index)
        written = self._form(api, account).fill(
            {
                "id": f'"{name}"',
                "text": encode(move.text),
                "reference": f'"REF-{day.replace("-", "")}-{name[:6].upper()}"',
                "index": entry.index,
                "booked": booked,
                "side": _side(move.amount),
                "signed": text_of(move.amount, account.currency),
                "amount": text_of(abs(move.amount), account.currency),
                "balance_side": _side(entry.balance),
                "signed_balance": text_of(entry.balance, account.currency),
                "balance": text_of(abs(entry.balance), account.currency),
                "statement": f'"STMT-{day[:7]}"',
                "kind": f'"{move.kind}"',
                "sub_kind": f'"{move.sub_kind}"',
                "mode": '"OFFLINE"' if move.kind in ("POS", "ATM", "CHEQUE") else '"ONLINE"',
            }
        )
        more = {}
        if api == "v2" and move.exchange is not None:
            more["currency_exchange"] = _exchange(entry, account)
        if insights and self.owner.company is None:
            more["insights"] = _insights(move)
        known = "" if api == "v1" else self._parts(account, move)
        return f"{written[:-1]}{known}{_members(more)}}}"

    def _form(self, api: str, account: Account) -> Form:
        found = self.forms.get((api, account.account_id))
        if found is None:
            shape = self._v1(account) if api == "v1" else self._v2(account)
            found = self.forms[(api, account.account_id)] = Form(shape)
        return found

    def _v1(self, account: Account) -> dict[str, Any]:
        """The amount is signed."""
        return {
            "id": hole("id"),
            "description": hole("text"),
            "amount": hole("signed"),
            "currency_code": account.currency,
            "index": hole("index"),
            "pending": False,
            "timestamp": hole("booked"),
            "running_balance": hole("signed_balance"),
            "transaction_reference": hole("reference"),
            "value_timestamp": hole("booked"),
            "transaction_timestamp": hole("booked"),
        }

    def _v2(self, account: Account) -> dict[str, Any]:
        """What a transaction has not is left out: the schema knows no nulls here."""
        currency = account.currency
        return {
            "entity_id": self.entity_id,
            "account_id": account.account_id,
            "transaction_id": hole("id"),
            "transaction_information": hole("text"),
            "transaction_reference": hole("reference"),
            "credit_debit_indicator": hole("side"),
            "amount": {"currency": currency, "amount": hole("amount")},
            "transaction_mutability": "IMMUTABLE",
            "booking_date_time": hole("booked"),
            "balance": {
                "type": "CLOSING_BOOKED",
                "credit_debit_indicator": hole("balance_side"),
                "amount": {"currency": currency, "amount": hole("balance")},
            },
            "status": "BOOKED",
            "statement_reference": [hole("statement")],
            "value_date_time": hole("booked"),
            "index": hole("index"),
            "charge_amount": {**amount(0, currency), "charge_included": False},
            "bank_transaction_code": {"code": hole("kind"), "sub_code": hole("sub_kind")},
            "proprietary_bank_transaction_code": {"code": hole("kind"), "issuer": self.bank.bic},
            "local_time_zone": f"UTC+{self.country.hours:02}:00",
            "transaction_type": hole("kind"),
            "sub_transaction_type": hole("sub_kind"),
            "payment_modes": hole("mode"),
            "flags": [],
        }

    def _parts(self, account: Account, move: Move) -> str:
        """Return who paid whom, in which shop and with which card, as far as the bank knows: members of an object."""
        key = (account.account_id, move.amount < 0, move.kind, move.party, move.merchant)
        found = self.parts.get(key)
        if found is None:
            found = self.parts[key] = _members({**self._sides(account, move), **self._card(account, move)})
        return found

    def _sides(self, account: Account, move: Move) -> dict[str, Any]:
        ours, theirs = ("debtor", "creditor") if move.amount < 0 else ("creditor", "debtor")
        own = {"name": self.owner.name, "scheme_name": "IBAN", "identification": account.iban}
        sides = {f"{ours}_account": own, f"{ours}_agent": _agent(self.bank.bic, self.bank.name)}
        if move.party is not None:
            other = move.party
            sides[f"{theirs}_account"] = {
                "name": other.name,
                "scheme_name": other.scheme,
                "identification": other.identification,
            }
            sides[f"{theirs}_agent"] = _agent(other.bic, other.bank)
        return sides

    def _card(self, account: Account, move: Move) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        if move.merchant is not None:
            parts["merchant_details"] = {
                "merchant_category_code": move.merchant.mcc,
                "merchant_name": move.merchant.name,
            }
        if move.merchant is not None or move.kind == "ATM":
            parts["card_instrument"] = {
                "authorization_type": {"POS": "CONTACTLESS", "ATM": "PIN"}.get(move.kind, "CONSUMER_DEVICE"),
                "card_scheme_name": "MASTERCARD" if account.kind == "CREDIT" else self.country.card_scheme,
                "identification": f"************{account.card}",
                "name": self.owner.person.name.upper(),
            }
        return parts


def _side(count: int) -> str:
    return '"DEBIT"' if count < 0 else '"CREDIT"'


def _agent(bic: str, bank: str) -> dict[str, str]:
    return {"scheme_name": "BICFI", "identification": bic, "name": bank}


def _members(more: dict[str, Any]) -> str:
    """Return members to be put after those of an object."""
    return f",{encode(more)[1:-1]}" if more else ""


def _exchange(entry: Entry, account: Account) -> dict[str, Any]:
    exchange = entry.move.exchange
    assert exchange is not None
    return {
        "source_currency": exchange.source,
        "target_currency": exchange.target,
        "unit_currency": exchange.unit,
        "exchange_rate": exchange.rate,
        "quotation_date": milli(entry.booked),
        "instructed_amount": amount(entry.move.amount, account.currency),
    }


def _insights(move: Move) -> dict[str, Any]:
    """Return what a transaction was for. What names its shop is told with more confidence."""
    other = move.merchant or move.party
    return {
        "description_cleansed": other.name if other else move.text.title(),
        "category": move.category,
        "category_confidence": Decimal("0.97" if other else "0.81"),
    }
