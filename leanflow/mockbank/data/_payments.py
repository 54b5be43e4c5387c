"""Whom an account pays: beneficiaries, direct debits, scheduled payments, standing orders.

All of it follows from what comes back in the owner's life, as the transactions do: a standing order that is listed here
is found among the transactions on its day, with its amount.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import attrs

from leanflow._request import Resource
from leanflow.mockbank.basics._dice import derived_id
from leanflow.mockbank.basics._times import milli

from ._accounts import Account
from ._habits import Life
from ._money import amount
from ._moves import Regular
from ._owners import Owner, Party

__all__ = ["Payments"]

_FREQUENCY: Mapping[int, str] = {1: "MONTHLY", 3: "QUARTERLY", 12: "YEARLY"}
_ORDER_TYPES: Mapping[str, str] = {"CHARITY": "CHARITY", "TRANSFER": "BETWEEN_MY_ACCOUNTS"}


@attrs.frozen(kw_only=True)
class Payments:
    """The payments of an entity's main account, in Lean's shapes; other accounts have none.

    Args:
        since: the day on which standing orders began.
        hours: of the local time ahead of UTC.
    """

    entity_id: str
    owner: Owner
    life: Life
    since: date
    hours: int

    def day(self, now: datetime) -> date:
        """Return the day up to which all is paid: what is due on a day is paid between 8 and 11 in the morning."""
        return (now.astimezone(UTC) + timedelta(hours=self.hours - 11)).date()

    def of(self, resource: Resource, account: Account, today: date) -> list[dict[str, Any]]:
        """Return what an account has of one kind of payments, on a `day`."""
        match resource:
            case Resource.beneficiaries:
                return [self._beneficiary(account, number, one) for number, one in enumerate(self.life.payees)]
            case Resource.direct_debits:
                return self._each("direct debit", self._direct_debit, account, today)
            case Resource.scheduled_payments:
                return self._each("scheduled payment", self._scheduled, account, today)
            case _:
                return self._each("standing order", self._standing_order, account, today)

    def _each(
        self, way: str, shape: Callable[[Account, str, Regular, date], dict[str, Any]], account: Account, today: date
    ) -> list[dict[str, Any]]:
        found = [one for one in self.life.regulars if one.way == way]
        return [
            shape(account, derived_id(account.account_id, way, number), one, today) for number, one in enumerate(found)
        ]

    def _moment(self, day: date) -> str:
        return milli(datetime.combine(day, time(9), UTC) - timedelta(hours=self.hours))

    def _holder(self, account: Account) -> dict[str, str]:
        return {
            "account_id": account.account_id,
            "account_holder_name": self.owner.name,
            "account_holder_short_name": self.owner.short_name,
        }

    def _beneficiary(self, account: Account, number: int, one: Party) -> dict[str, Any]:
        return {
            **self._holder(account),
            "beneficiary_id": derived_id(account.account_id, "beneficiary", number),
            "beneficiary_type": "TRUSTED" if number < 2 else "ORDINARY",
            "creditor_agent": {"scheme_name": "BICFI", "identification": one.bic, "name": one.bank},
            "creditor_account": _account_of(one),
            "reference": f"BEN-{number + 1:03}",
            "supplementary_data": {"name_ar": one.arabic_name},
        }

    def _direct_debit(self, account: Account, name: str, one: Regular, today: date) -> dict[str, Any]:
        last = one.until(today)
        return {
            "entity_id": self.entity_id,
            "account_id": account.account_id,
            "direct_debit_id": name,
            "name": one.party.name,
            "status_code": "ACTIVE",
            "frequency": _FREQUENCY[one.months],
            "mandate_identification": f"DD-{name[:8].upper()}",
            "previous_payment_date_time": self._moment(last),
            "previous_payment_amount": amount(one.amount(last), account.currency),
        }

    def _scheduled(self, account: Account, name: str, one: Regular, today: date) -> dict[str, Any]:
        following = one.after(today)
        return {
            "entity_id": self.entity_id,
            **self._holder(account),
            "scheduled_payment_id": name,
            "scheduled_type": "EXECUTION",
            "scheduled_payment_date_time": self._moment(following),
            "debtor_reference": f"SCH-{name[:8].upper()}",
            "instructed_amount": amount(one.amount(following), account.currency),
            **_creditor(one.party),
        }

    def _standing_order(self, account: Account, name: str, one: Regular, today: date) -> dict[str, Any]:
        first, last, following = one.after(self.since), one.until(today), one.after(today)
        return {
            "account_id": account.account_id,
            "standing_order_id": name,
            "standing_order_status_code": "ACTIVE",
            "standing_order_type": _ORDER_TYPES.get(one.category, "LOCAL_BANK_TRANSFER"),
            "purpose": one.text,
            "first_payment_date_time": self._moment(first),
            "last_payment_date_time": self._moment(last),
            "next_payment_date_time": self._moment(following),
            "final_payment_date_time": None,
            "frequency": {"frequency_type": _FREQUENCY[one.months], "interval": None},
            "number_of_payments": None,
            "reference": f"SO-{name[:8].upper()}",
            "first_payment_amount": amount(one.amount(first), account.currency),
            "last_payment_amount": amount(one.amount(last), account.currency),
            "next_payment_amount": amount(one.amount(following), account.currency),
            **_creditor(one.party),
        }


def _account_of(one: Party) -> dict[str, str]:
    return {"scheme_name": one.scheme, "identification": one.identification, "name": one.name}


def _creditor(one: Party) -> dict[str, Any]:
    return {
        "creditor_agent": {"identification_type": "BICFI", "identification": one.bic, "name": one.bank},
        "creditor_account": _account_of(one),
    }
