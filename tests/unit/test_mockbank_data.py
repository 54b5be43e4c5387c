"""The simulated bank data: plentiful, exact, and the same for the same seed."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from tests.support.bank import BankClient, listed, transactions


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


def test_the_same_question_at_the_same_time_gives_the_same_data(lean: BankClient) -> None:
    """Asked twice at one time, every kind of data is the same byte for byte."""
    entity = lean.bank.connect()
    for account in lean.bank.accounts_of(entity):
        for path in ACCOUNT_RESOURCES:
            asked = [lean.exchange("GET", f"/data/v2/accounts/{account}/{path}", entity_id=entity) for _ in range(2)]
            first, second = (one.answer.body.partition(b'"data":')[2] for one in asked if one.answer is not None)
            assert len(first) > 100
            assert first == second


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
    """A salary is not there at four in the morning UTC, when its day has begun in Dubai, and is at noon."""
    entity = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions"

    def salaries() -> int:
        today = {"start_date": "2026-02-25", "end_date": "2026-02-25"}
        items = lean.ask("GET", path, entity_id=entity, **today)[1]["data"]["transactions"]
        return sum("SALARY" in one["transaction_information"] for one in items)

    lean.now = lean.now.replace(month=2, day=25, hour=4)
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


def signed(one: Any) -> Decimal:
    """Return an amount with its sign."""
    amount: Decimal = one["amount"]["amount"]
    return -amount if one["credit_debit_indicator"] == "DEBIT" else amount


EVERYBODY = [(region, f"mockbank_user_{number}") for region in ("uae", "ksa") for number in range(1, 5)]


@pytest.mark.parametrize(("region", "username"), EVERYBODY)
def test_a_balance_at_any_time_is_the_opening_one_and_what_was_booked_since(region: str, username: str) -> None:
    """On every account, at several times: opening balance plus all transactions, and never beyond the credit line."""
    lean = BankClient(region=region, auth="either", deauthenticates="none")
    entity = lean.bank.connect(username=username)
    for account in lean.bank.accounts_of(entity):
        all_of_it = transactions(lean, entity, account)
        opening = lean.bank._world.book(lean.bank._world.entities[entity]).account(account)
        assert opening is not None
        start = Decimal(opening.opening_balance).scaleb(-3 if opening.currency in ("KWD", "BHD") else -2)
        limit = Decimal(opening.credit_limit).scaleb(-2)
        total = start
        for one in reversed(all_of_it):
            total += signed(one)
            has = one["balance"]
            assert total == (-1 if has["credit_debit_indicator"] == "DEBIT" else 1) * has["amount"]["amount"]
            assert total >= -limit
        said = lean.ask("GET", f"/data/v2/accounts/{account}/balances", entity_id=entity)[1]["data"]["balances"]
        booked, available = (signed(one) for one in said)
        assert [one["type"] for one in said] == ["INTERIM_BOOKED", "INTERIM_AVAILABLE"]
        assert (booked, available) == (total, total + limit)


def test_the_balance_of_results_is_of_the_time_at_which_they_became_ready(lean: BankClient) -> None:
    """Results are of one time: fetched again a month later they give the same, while new calls give the new."""
    entity = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions"
    results = lean.ask("GET", path, entity_id=entity, **{"async": "true"})[1]["results_id"]
    lean.later(minutes=1)
    first = lean.ask("GET", f"/data/v2/results/{results}")[1]["data"]
    lean.later(days=30)
    assert lean.ask("GET", f"/data/v2/results/{results}")[1]["data"] == first
    now = lean.ask("GET", path, entity_id=entity)[1]["data"]
    assert now["page"]["total_elements"] > first["page"]["total_elements"]


def test_what_was_booked_stays_as_time_goes_on(lean: BankClient) -> None:
    """After months the older transactions are the same, and the newer ones begin where they ended."""
    entity = lean.bank.connect()
    for account in lean.bank.accounts_of(entity):
        before = transactions(lean, entity, account)
        lean.later(days=90)
        after = transactions(lean, entity, account)
        assert len(after) > len(before)
        assert after[-len(before) :] == before


@pytest.mark.parametrize("username", ["mockbank_user_1", "mockbank_user_4"])
def test_transfers_between_own_accounts_are_on_both(username: str) -> None:
    """What leaves the main account for another of the same owner arrives there at the same time, to the last digit."""
    lean = BankClient(deauthenticates="none")
    entity = lean.bank.connect(username=username)
    main, second, *_ = lean.bank.accounts_of(entity)
    own = "TRANSFER TO"
    left = [one for one in transactions(lean, entity, main) if one["transaction_information"].startswith(own)]
    came = [one for one in transactions(lean, entity, second) if "TRANSFER FROM" in one["transaction_information"]]
    assert len(left) >= 20
    assert [(one["booking_date_time"], -signed(one)) for one in left] == [
        (one["booking_date_time"], signed(one)) for one in came
    ]


@pytest.mark.parametrize(("region", "username"), EVERYBODY)
def test_payments_that_are_listed_are_made(region: str, username: str) -> None:
    """Standing orders, direct debits and scheduled payments are booked on their days with their amounts."""
    lean = BankClient(region=region, auth="either", deauthenticates="none")
    entity = lean.bank.connect(username=username)
    main = lean.bank.accounts_of(entity)[0]
    said = [
        (one[f"{which}_date_time"], one[amount]["amount"])
        for kind, which, amount in (
            ("direct-debits", "previous_payment", "previous_payment_amount"),
            ("standing-orders", "last_payment", "last_payment_amount"),
            ("standing-orders", "next_payment", "next_payment_amount"),
            ("scheduled-payments", "scheduled_payment", "instructed_amount"),
        )
        for one in listed(lean, entity, kind)
    ]
    assert len(said) >= 5
    for one in listed(lean, entity, "standing-orders"):
        last, following = one["last_payment_date_time"], one["next_payment_date_time"]
        assert (lean.now - timedelta(days=31)).isoformat() < last < lean.now.isoformat() < following
    lean.later(days=40)
    lean.bank.renew_consent(entity, lean.now)
    made = {(one["booking_date_time"][:10], signed(one)) for one in transactions(lean, entity, main)}
    for moment, amount in said:
        assert (moment[:10], -amount) in made


def test_rent_and_salary_are_always_paid() -> None:
    """People mind their money: in two years no rent and no salary is missing, in ten worlds and both countries."""
    for region, seed in ((region, seed) for region in ("uae", "ksa") for seed in range(10)):
        lean = BankClient(seed=seed, region=region, auth="either")
        entity = lean.bank.connect()
        said = [one["transaction_information"] for one in transactions(lean, entity, lean.bank.accounts_of(entity)[0])]
        assert sum("SALARY" in text for text in said) == 24
        rents = sum(
            "CHEQUE PAID" in text or "صرف شيك" in text or "EJAR" in text or "منصة إيجار" in text for text in said
        )
        assert rents in ((8, 9) if region == "uae" else (24, 25))


@pytest.mark.parametrize(("region", "day", "weekend"), [("uae", 25, {5, 6}), ("ksa", 27, {4, 5})])
def test_salaries_come_on_the_countrys_day_or_the_working_day_before(region: str, day: int, weekend: set[int]) -> None:
    """No salary on a weekend (Saturday and Sunday in the Emirates, Friday and Saturday in Saudi Arabia)."""
    lean = BankClient(region=region, auth="either")
    entity = lean.bank.connect()
    paid = [
        date.fromisoformat(one["booking_date_time"][:10])
        for one in transactions(lean, entity, lean.bank.accounts_of(entity)[0])
        if "SALARY" in one["transaction_information"]
    ]
    for each in paid:
        assert each.weekday() not in weekend
        following = [each.replace(day=number) for number in range(each.day + 1, day + 1)]
        assert all(one.weekday() in weekend for one in following)


def test_transactions_name_shop_card_and_counterparty(lean: BankClient) -> None:
    """Card payments name shop and card, transfers the other side with its bank; nothing is there as null."""
    entity = lean.bank.connect()
    all_of_it = transactions(lean, entity, lean.bank.accounts_of(entity)[0])
    for one in all_of_it:
        assert None not in one.values()
        debit = one["credit_debit_indicator"] == "DEBIT"
        assert one["debtor_account" if debit else "creditor_account"]["scheme_name"] == "IBAN"
        if one["transaction_type"] in ("POS", "E_COMMERCE"):
            assert len(one["merchant_details"]["merchant_category_code"]) == 4
            assert one["card_instrument"]["identification"].startswith("****")
        if one["transaction_type"] == "BILL_PAYMENTS":
            assert one["creditor_agent"]["scheme_name"] == "BICFI"
    kinds = {one["transaction_type"] for one in all_of_it}
    assert kinds >= {"POS", "E_COMMERCE", "ATM", "BILL_PAYMENTS", "LOCAL_BANK_TRANSFER", "SAME_BANK_TRANSFER", "CHEQUE"}


def _sent_abroad(lean: BankClient, entity: str) -> list[dict[str, Any]]:
    moves = transactions(lean, entity, lean.bank.accounts_of(entity)[0])
    return [one for one in moves if one["transaction_type"] == "INTERNATIONAL_TRANSFER"]


def test_families_abroad_get_money_in_their_currency() -> None:
    """An expatriate's remittance names the relative, both currencies and the rate."""
    families = ((lean, lean.bank.connect()) for lean in (BankClient(seed=seed) for seed in range(12)))
    lean, entity, sent = next((lean, entity, sent) for lean, entity in families if (sent := _sent_abroad(lean, entity)))
    change = sent[0]["currency_exchange"]
    assert change["source_currency"] == change["unit_currency"] == "AED"
    assert change["target_currency"] in ("INR", "EGP", "PKR")
    assert change["exchange_rate"] > 1
    assert sent[0]["creditor_account"]["name"] in {
        one["creditor_account"]["name"] for one in listed(lean, entity, "beneficiaries")
    }


CATEGORIES = frozenset(
    {
        "BANK_FEES_AND_CHARGES",
        "CHARITY",
        "EDUCATION",
        "ENTERTAINMENT",
        "GOVERNMENT",
        "GROCERIES",
        "HEALTH_AND_WELLBEING",
        "LOANS_AND_INVESTMENT",
        "OTHER",
        "RENT_AND_SERVICES",
        "RESTAURANTS_DINING",
        "RETAIL",
        "SALARY_AND_REVENUE",
        "TRANSFER",
        "TRANSPORT",
        "TRAVEL",
    }
)


def test_insights_say_what_people_paid_for(lean: BankClient) -> None:
    """With ``insights=true`` transactions have one of Lean's categories; without, and for companies, they have none."""
    entity, company = lean.bank.connect(), lean.bank.connect(username="mockbank_user_4")
    main, other = lean.bank.accounts_of(entity)[0], lean.bank.accounts_of(company)[0]
    told = {one["insights"]["category"] for one in transactions(lean, entity, main, insights="true")}
    assert told <= CATEGORIES
    assert {"GROCERIES", "RENT_AND_SERVICES", "RESTAURANTS_DINING", "SALARY_AND_REVENUE", "TRANSPORT"} <= told
    assert not any("insights" in one for one in transactions(lean, entity, main))
    assert not any("insights" in one for one in transactions(lean, company, other, insights="true"))
