"""The simulated bank data: plentiful, exact, and the same for the same seed."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from tests.support.bank import BankClient


@pytest.fixture
def lean() -> BankClient:
    """A client of a fresh Mockbank."""
    return BankClient()


ACCOUNT_RESOURCES = {
    "balances": "balances",
    "transactions": "transactions",
    "identities": "identities",
    "beneficiaries": "beneficiaries",
    "direct-debits": "direct_debits",
    "scheduled-payments": "scheduled_payments",
    "standing-orders": "standing_orders",
}


def everything(lean: BankClient) -> list[Any]:
    """Return every kind of data of one fresh entity."""
    entity = lean.bank.connect()
    said = [lean.accounts(entity), lean.ask("GET", "/data/v2/identity", entity_id=entity)[1]]
    for account in lean.bank.accounts_of(entity):
        said += [
            lean.ask("GET", f"/data/v2/accounts/{account}/{path}", entity_id=entity)[1] for path in ACCOUNT_RESOURCES
        ]
    return said


@pytest.mark.parametrize("region", ["uae", "ksa"])
def test_the_same_seed_gives_the_same_bytes(region: str) -> None:
    """Two Mockbanks of one seed, asked the same, answer the same, ids and correlation headers included."""

    def run(seed: int) -> list[tuple[bytes, dict[str, str]]]:
        lean = BankClient(seed=seed, region=region, auth="either")
        entity = lean.bank.connect()
        paths = [
            "/data/v2/accounts",
            "/data/v2/identity",
            f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions",
        ]
        answers = [lean.exchange("GET", path, entity_id=entity).answer for path in paths]
        return [(a.body, dict(a.headers)) for a in answers if a is not None]

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_transactions_cover_two_years_and_grow_with_time(lean: BankClient) -> None:
    """A current account has hundreds of transactions over two years, and new ones as days pass."""
    entity = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions"
    first = lean.ask("GET", path, entity_id=entity, size="1")[1]["data"]
    assert first["page"]["total_elements"] > 400
    oldest = lean.ask("GET", path, entity_id=entity, size="1", page=str(first["page"]["total_pages"] - 1))[1]["data"]
    assert first["transactions"][0]["booking_date_time"] > "2025-12-25"
    assert oldest["transactions"][0]["booking_date_time"] < "2024-02-01"
    lean.later(days=30)
    again = lean.ask("GET", path, entity_id=entity, size="1")[1]["data"]
    assert again["page"]["total_elements"] > first["page"]["total_elements"]


def test_pages_together_are_the_whole(lean: BankClient) -> None:
    """Paging by size gives every transaction once, newest first, and an empty page past the end."""
    entity = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions"
    page = lean.ask("GET", path, entity_id=entity, size="100")[1]["data"]["page"]
    seen = []
    for number in range(page["total_pages"]):
        data = lean.ask("GET", path, entity_id=entity, size="100", page=str(number))[1]["data"]
        assert data["page"] == {**page, "number": number}
        seen += data["transactions"]
    assert len(seen) == len({one["transaction_id"] for one in seen}) == page["total_elements"]
    times = [one["booking_date_time"] for one in seen]
    assert times == sorted(times, reverse=True)
    past = lean.ask("GET", path, entity_id=entity, size="100", page=str(page["total_pages"]))[1]["data"]
    assert past["transactions"] == []


def test_dates_bound_transactions(lean: BankClient) -> None:
    """`start_date` and `end_date` are days in UTC, both included."""
    entity = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions"
    query = {"entity_id": entity, "start_date": "2025-03-01", "end_date": "2025-03-31", "size": "100"}
    data = lean.ask("GET", path, **query)[1]["data"]
    days = {one["booking_date_time"][:10] for one in data["transactions"]}
    assert "2025-03-25" in days  # the salary
    assert min(days) >= "2025-03-01"
    assert max(days) <= "2025-03-31"
    one_day = lean.ask("GET", path, **{**query, "start_date": "2025-03-25", "end_date": "2025-03-25"})[1]["data"]
    assert any("SALARY" in one["transaction_information"] for one in one_day["transactions"])


def test_todays_transactions_are_there_once_they_are_booked(lean: BankClient) -> None:
    """The salary of a 25th is not there at five in the morning, and is at noon."""
    entity = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions"

    def salaries() -> int:
        today = {"start_date": "2026-01-25", "end_date": "2026-01-25"}
        items = lean.ask("GET", path, entity_id=entity, **today)[1]["data"]["transactions"]
        return sum("SALARY" in one["transaction_information"] for one in items)

    lean.now = lean.now.replace(day=25, hour=5)
    assert salaries() == 0
    lean.now = lean.now.replace(hour=12)
    assert salaries() == 1


def test_balances_are_what_transactions_add_up_to(lean: BankClient) -> None:
    """Each balance is the one before it plus the amount, to the last digit, and the newest is the account's."""
    entity = lean.bank.connect()
    for account in lean.bank.accounts_of(entity):
        body = {"entity_id": entity, "account_id": account}
        moves = lean.ask("POST", "/data/v1/transactions", body)[1]["payload"]["transactions"]
        assert moves
        for newer, older in pairwise(moves):
            assert newer["running_balance"] == older["running_balance"] + newer["amount"]
        balance = lean.ask("POST", "/data/v1/balance", body)[1]["payload"]["balance"]
        assert balance == moves[0]["running_balance"]
        assert isinstance(balance, Decimal)


def test_money_has_the_digits_of_its_currency() -> None:
    """Dirhams have two digits after the point, Kuwaiti and Bahraini dinars three."""
    found: dict[str, set[int]] = {}
    for seed in range(24):
        lean = BankClient(seed=seed)
        entity = lean.bank.connect()
        for account in lean.bank.accounts_of(entity):
            answer = lean.exchange("POST", "/data/v1/balance", {"entity_id": entity, "account_id": account}).answer
            assert answer is not None
            has = json.loads(answer.body, parse_float=str)["payload"]
            found.setdefault(has["currency_code"], set()).add(len(has["balance"].partition(".")[2]))
    assert found["AED"] == {2}
    assert found["KWD"] == found["BHD"] == {3}


@pytest.mark.parametrize(("region", "length"), [("uae", 23), ("ksa", 24)])
def test_ibans_are_valid(region: str, length: int) -> None:
    """Every IBAN has its country's length and check digits (ISO 13616)."""
    lean = BankClient(region=region, auth="either")
    accounts = lean.accounts(lean.bank.connect())["data"]["accounts"]
    for account in accounts:
        iban = account["account"][0]["identification"]
        assert len(iban) == length
        assert int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


@pytest.mark.parametrize(("region", "currency"), [("uae", "AED"), ("ksa", "SAR")])
def test_data_is_of_its_country_in_two_scripts(region: str, currency: str) -> None:
    """Currencies are the region's; names and descriptions come in Arabic and in English."""
    said = json.dumps(everything(BankClient(region=region, auth="either")), ensure_ascii=False, default=str)
    assert f'"{currency}"' in said
    assert any("\u0600" <= c <= "\u06ff" for c in said)
    assert "SALARY" in said


def test_v2_data_has_the_published_shape(lean: BankClient) -> None:
    """Envelope, data and items have the fields that Lean's OpenAPI requires, of the types that it names."""
    for said in everything(lean):
        assert said["status"] == "OK"
        for name in ("results_id", "message", "timestamp", "type", "refreshed_at"):
            assert isinstance(said[name], str)
        assert said["meta"] is None
        assert said["status_detail"] is None
        assert said["data"]["type"] == said["type"]
        page = said["data"]["page"]
        assert set(page) == {"number", "size", "total_elements", "total_pages"}
        assert all(isinstance(value, int) for value in page.values())


# What each item must have, by Lean's OpenAPI: `required`, and what its examples always show.
ITEM_FIELDS = {
    "accounts": {"account_id": str, "entity_id": str, "currency": str, "account_sub_type": str, "account": list},
    "identities": {"full_legal_name": str, "birth_date": str, "address": dict, "party_type": str},
    "balances": {"account_id": str, "amount": dict, "credit_debit_indicator": str, "type": str, "credit_line": list},
    "transactions": {"account_id": str, "transaction_id": str, "amount": dict, "status": str, "booking_date_time": str},
    "beneficiaries": {"beneficiary_id": str, "creditor_account": dict, "creditor_agent": dict},
    "direct_debits": {"direct_debit_id": str, "frequency": str, "previous_payment_amount": dict},
    "scheduled_payments": {"scheduled_payment_id": str, "instructed_amount": dict, "creditor_account": dict},
    "standing_orders": {"account_id": str, "standing_order_id": str, "frequency": dict, "next_payment_amount": dict},
}


def test_v2_items_have_the_published_fields(lean: BankClient) -> None:
    """Every kind of item is there for every account that has it, with its required fields."""
    seen = set()
    for said in everything(lean):
        for key, fields in ITEM_FIELDS.items():
            for item in said["data"].get(key, []):
                seen.add(key)
                for name, kind in fields.items():
                    assert isinstance(item[name], kind), (key, name)
                    if kind is dict and "amount" in name:
                        assert isinstance(item[name]["amount"], Decimal)
                        assert len(item[name]["currency"]) == 3
    assert seen == set(ITEM_FIELDS)


def test_v1_data_has_the_published_shape(lean: BankClient) -> None:
    """v1 answers have `payload` with the discriminator `type`, and no `data`."""
    entity = lean.bank.connect()
    body = {"entity_id": entity, "account_id": lean.bank.accounts_of(entity)[0]}
    required = {
        "accounts": {"accounts"},
        "balance": {"balance", "currency_code", "account_id"},
        "identity": {"full_name", "national_identity_number"},
        "transactions": {"transactions"},
    }
    for kind, fields in required.items():
        status, said = lean.ask("POST", f"/data/v1/{kind}", body)
        assert status == 200
        assert set(said) == {"status", "payload", "results_id", "message", "timestamp"}
        assert said["payload"]["type"] == kind
        assert fields <= set(said["payload"])


def test_a_forgotten_book_is_written_again_the_same() -> None:
    """Bank data that was dropped from memory comes back byte for byte."""
    lean = BankClient()
    first = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(first)[0]}/transactions"
    before = lean.ask("GET", path, entity_id=first)[1]["data"]
    for number in range(70):  # more than are kept
        lean.bank.accounts_of(lean.bank.connect(f"user-{number}"))
    assert lean.ask("GET", path, entity_id=first)[1]["data"] == before
