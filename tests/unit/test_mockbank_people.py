"""The people and companies of the simulated banks: accounts, cards and papers of their countries."""

from __future__ import annotations

import re

import pytest

from tests.support.bank import BankClient, listed, transactions


def mod97(iban: str) -> int:
    """Return what an IBAN leaves (ISO 13616: 1)."""
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97


@pytest.mark.parametrize(("region", "length", "code"), [("uae", 23, 3), ("ksa", 24, 2)])
def test_every_bank_has_ibans_of_its_own(region: str, length: int, code: int) -> None:
    """At least five banks a country; an IBAN there has the bank's code, the right length and right check digits."""
    lean = BankClient(region=region, auth="either")
    codes = set()
    for bank in lean.bank.banks:
        account = lean.accounts(lean.bank.connect(bank=bank))["data"]["accounts"][0]
        iban, bban = (one["identification"] for one in account["account"])
        codes.add(bban[:code])
        assert (iban[4:], len(iban), mod97(iban)) == (bban, length, 1)
    assert len(codes) == len(lean.bank.banks) >= 5


def test_accounts_of_payees_are_valid_wherever_they_are() -> None:
    """Landlords, friends and families abroad: IBANs of their countries' lengths, plain numbers where there are none."""
    lengths, seen = {"AE": 23, "SA": 24, "EG": 29, "PK": 24, "JO": 30}, set()
    for region, seed in ((region, seed) for region in ("uae", "ksa") for seed in range(40)):
        lean = BankClient(seed=seed, region=region, auth="either")
        entity = lean.bank.connect()
        for one in listed(lean, entity, "beneficiaries"):
            held = one["creditor_account"]
            seen.add(held["identification"][:2] if held["scheme_name"] == "IBAN" else held["scheme_name"])
            if held["scheme_name"] == "IBAN":
                assert mod97(held["identification"]) == 1
                assert len(held["identification"]) == lengths[held["identification"][:2]]
    assert seen == {*lengths, "BBAN"}


def luhn(digits: str) -> int:
    """Return what a card number leaves (0 if its check digit is right)."""
    doubled = [int(c) * (1 + i % 2) for i, c in enumerate(reversed(digits))]
    return sum(number // 10 + number % 10 for number in doubled) % 10


@pytest.mark.parametrize(("region", "pattern"), [("uae", r"784-\d{4}-\d{7}-\d"), ("ksa", r"[12]\d{9}")])
def test_identity_cards_are_of_their_country(region: str, pattern: str) -> None:
    """Emirates IDs carry the year of birth, Saudi ones begin with 1 or (iqama) 2; both end in a valid check digit."""
    for seed in range(8):
        lean = BankClient(seed=seed, region=region, auth="either")
        who = lean.ask("GET", "/data/v2/identity", entity_id=lean.bank.connect())[1]["data"]["identities"][0]
        assert re.fullmatch(pattern, who["national_id"])
        assert luhn(who["national_id"].replace("-", "")) == 0
        if region == "uae":
            assert who["national_id"][4:8] == who["birth_date"][:4]


def test_companies_look_different_from_people() -> None:
    """An SME has business accounts, a licence, someone who signs, card sales, wages and value added tax."""
    lean = BankClient(deauthenticates="none")
    entity = lean.bank.connect(username="mockbank_user_4")
    accounts = lean.accounts(entity)["data"]["accounts"]
    assert {one["account_type"] for one in accounts} == {"BUSINESS"}
    assert "CREDIT" not in {one["account_sub_type"] for one in accounts}
    assert accounts[0]["account_holder_name"].endswith("LLC")
    main, reserve = (one["account_id"] for one in accounts[:2])
    company, signs = lean.ask("GET", f"/data/v2/accounts/{main}/identities", entity_id=entity)[1]["data"]["identities"]
    assert (company["legal_structure"], signs["party_type"]) == ("LLC", "DELEGATE")
    assert "birth_date" in signs
    assert "birth_date" not in company
    said = " ".join(one["transaction_information"] for one in transactions(lean, entity, main))
    assert all(words in said for words in ("CARD SALES SETTLEMENT", "WPS SALARY FILE", "INV-", "VAT ON FEES"))
    assert any("VAT RETURN" in one["transaction_information"] for one in transactions(lean, entity, reserve))
    person = lean.accounts(lean.bank.connect())["data"]["accounts"]
    assert {one["account_type"] for one in person} == {"PERSONAL"}
