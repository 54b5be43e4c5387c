"""What makes the data of a country recognisable: its banks, its people, its shops, its bills."""

from __future__ import annotations

from decimal import Decimal

import attrs

__all__ = ["Abroad", "Bank", "Biller", "Community", "Country", "Merchant", "Word", "bank", "biller", "shop"]

Word = tuple[str, str]  # the same in Latin and in Arabic letters


@attrs.frozen(kw_only=True)
class Bank:
    """A simulated bank.

    Attributes:
        identifier: Lean's own (Lean docs, sandbox), or one in their manner.
        bic: eight letters.
        code: the bank's part of an IBAN.
    """

    identifier: str
    name: str
    arabic_name: str
    bic: str
    code: str
    main_color: str


@attrs.frozen(kw_only=True)
class Merchant:
    """Where money is spent.

    Attributes:
        category: of Lean's list.
        mcc: its ISO 18245 code.
        least, most: the usual amounts, in whole units.
        often: how many of its like are visited to one visit of the rarest.
    """

    name: str
    arabic_name: str
    category: str
    mcc: str
    least: int
    most: int
    often: int


@attrs.frozen(kw_only=True)
class Biller:
    """Who is paid on a day of the month, from one amount to another, in whole units.

    Attributes:
        months: between two payments.
        summer: how many percent more from May to October, when the air conditioning runs.
    """

    name: str
    arabic_name: str
    category: str
    day: int
    least: int
    most: int
    months: int = 1
    summer: int = 0


@attrs.frozen(kw_only=True)
class Abroad:
    """Where the people of a community send money: a bank at home.

    Attributes:
        rate: units of `currency` for one unit of the currency of the country that they live in.
        prefix, digits: how an account number there begins, and how many digits follow.
        iban: whether that country has IBANs.
    """

    currency: str
    rate: Decimal
    bank: str
    bic: str
    prefix: str
    digits: int
    iban: bool = True


@attrs.frozen(kw_only=True)
class Community:
    """People of one origin.

    Attributes:
        country: where they are from, two letters.
        share: of the simulated customers, in percent.
        abroad: where they send money; None: nowhere, they are at home.
    """

    country: str
    share: int
    men: tuple[Word, ...]
    women: tuple[Word, ...]
    families: tuple[Word, ...]
    abroad: Abroad | None = None


@attrs.frozen(kw_only=True)
class Country:
    """What makes the data of a region recognisable.

    Attributes:
        code: of two letters; `alpha3` the one of three.
        hours: ahead of UTC; no country here moves its clocks.
        weekend: `date.weekday` of the two days on which no salary is paid.
        salary_day: of the month; the last working day before, if it falls on the weekend.
        mobile: how mobile numbers begin.
        bban_digits: how many follow the bank's code in an IBAN.
        rates: what one unit of a foreign currency costs.
        arabic_share: of the descriptions that are printed in Arabic, in percent.
        instant: the name of the instant payment scheme; `salary_words` what is printed before the employer's name.
        rent_text: how rent is printed; `rent_kind` and `rent_months` how and how often it is paid.
        tax: the authority that takes value added tax, `tax_percent` how much.
    """

    code: str
    alpha3: str
    currency: str
    hours: int
    weekend: tuple[int, int]
    salary_day: int
    mobile: tuple[str, ...]
    bban_digits: int
    town: str
    arabic_town: str
    region: str
    areas: tuple[Word, ...]
    streets: tuple[Word, ...]
    buildings: tuple[Word, ...]
    banks: tuple[Bank, ...]
    communities: tuple[Community, ...]
    employers: tuple[Word, ...]
    companies: tuple[Word, ...]
    legal_form: str
    rates: tuple[tuple[str, Decimal], ...]
    arabic_share: int
    card_scheme: str
    instant: Word
    salary_words: Word
    landlords: tuple[Word, ...]
    rent_text: Word
    rent_kind: str
    rent_months: int
    power: Biller
    telecom: Biller
    charity: Biller
    school: Biller
    insurance: Biller
    tax: Word
    tax_percent: int
    shops: tuple[Merchant, ...]
    abroad: tuple[Merchant, ...]
    supplies: tuple[Merchant, ...]


def bank(identifier: str, name: str, arabic_name: str, bic: str, code: str, main_color: str) -> Bank:
    """Return a bank from one line of a table."""
    return Bank(identifier=identifier, name=name, arabic_name=arabic_name, bic=bic, code=code, main_color=main_color)


def shop(often: int, name: str, arabic_name: str, category: str, mcc: str, usual: tuple[int, int]) -> Merchant:
    """Return a merchant from one line of a table."""
    return Merchant(
        name=name, arabic_name=arabic_name, category=category, mcc=mcc, least=usual[0], most=usual[1], often=often
    )


def biller(
    name: str, arabic_name: str, category: str, day: int, least: int, most: int, *, months: int = 1, summer: int = 0
) -> Biller:
    """Return a biller from one line of a table."""
    return Biller(
        name=name,
        arabic_name=arabic_name,
        category=category,
        day=day,
        least=least,
        most=most,
        months=months,
        summer=summer,
    )
