"""Who holds the accounts, and who is on the other side of a payment: people, companies, their banks."""

from __future__ import annotations

from datetime import date, timedelta

import attrs

from leanflow.mockbank.basics._dice import Dice
from leanflow.mockbank.countries._country import Abroad, Bank, Community, Country, Word

from ._accounts import iban

__all__ = ["Owner", "Party", "Person", "owner_of", "party", "person", "relative"]


@attrs.frozen(kw_only=True)
class Person:
    """A person with papers of the country that they live in."""

    name: str
    arabic_name: str
    short_name: str
    gender: str
    born: date
    national_id: str
    mobile: str
    email: str
    community: Community


@attrs.frozen(kw_only=True)
class Owner:
    """Who holds an entity's accounts.

    Attributes:
        person: the holder, or who signs for the company.
        company: its names; None: the accounts are the person's own.
        licence: the company's trade licence or commercial registration; empty without one.
        income: what comes in each month, in whole units: the salary, or the company's turnover.
        employer: who pays the salary.
    """

    person: Person
    company: Word | None
    licence: str
    income: int
    employer: Word

    @property
    def name(self) -> str:
        """The holder's name."""
        return self.company[0] if self.company else self.person.name

    @property
    def arabic_name(self) -> str:
        """The same in Arabic letters."""
        return self.company[1] if self.company else self.person.arabic_name

    @property
    def short_name(self) -> str:
        """What the bank calls the holder on small screens."""
        return self.company[0].rpartition(" ")[0] if self.company else self.person.short_name


@attrs.frozen(kw_only=True)
class Party:
    """The other side of a payment: a name, an account, its bank.

    Attributes:
        scheme: ``IBAN``, or ``BBAN`` in countries without.
    """

    name: str
    arabic_name: str
    scheme: str
    identification: str
    bic: str
    bank: str


def owner_of(seed: int, username: str, country: Country, *, business: bool) -> Owner:
    """Return who logs in under a name; the same at every bank."""
    dice = Dice(seed, "owner", username)
    holder = person(dice, country, _community(seed, username, country))
    if not business:
        # Few earn much: the square makes half of the salaries fall into the lowest quarter of the range.
        earned = 90 + 260 * dice.below(1000) ** 2 // 1_000_000
        return Owner(
            person=holder, company=None, licence="", income=earned * 100, employer=dice.pick(country.employers)
        )
    licence = dice.digits(6) if country.code == "AE" else "1010" + dice.digits(6)
    company = dice.pick(country.companies)
    return Owner(
        person=holder, company=company, licence=licence, income=dice.between(150, 480) * 1000, employer=company
    )


def _community(seed: int, username: str, country: Country) -> Community:
    """Return where somebody is from. Users numbered one after the other are of different origins in every world."""
    number = username[len(username.rstrip("0123456789")) :]
    step = int(number[-6:]) if number else Dice(username).below(100)
    drawn = (Dice(seed, "communities").below(100) + 38 * step) % 100  # 38: a hundred divided by the golden section
    for community in country.communities:
        drawn -= community.share
        if drawn < 0:
            return community
    return country.communities[-1]


def person(dice: Dice, country: Country, community: Community) -> Person:
    """Return somebody of a community, with an identity card whose check digit is right (Luhn)."""
    woman = dice.chance(40)
    first, father = dice.pick(community.women if woman else community.men), dice.pick(community.men)
    while father == first:
        father = dice.pick(community.men)
    words = (first, father, dice.pick(community.families))
    born = date(1964, 1, 1) + timedelta(days=dice.below(13_500))
    if country.code == "AE":
        bare = f"784{born.year}{dice.digits(7)}"
        card = f"784-{born.year}-{bare[7:]}-{_luhn(bare)}"
    else:
        bare = ("1" if community.abroad is None else "2") + dice.digits(8)  # 1: a citizen, 2: an iqama
        card = f"{bare}{_luhn(bare)}"
    name = " ".join(latin for latin, _ in words)
    return Person(
        name=name,
        arabic_name=" ".join(arabic for _, arabic in words),
        short_name=first[0],
        gender="FEMALE" if woman else "MALE",
        born=born,
        national_id=card,
        mobile=dice.pick(country.mobile) + dice.digits(7),
        email=f"{first[0]}.{words[2][0].replace(' ', '')}@example.com".lower(),
        community=community,
    )


def _luhn(digits: str) -> int:
    """Return the check digit that follows `digits`."""
    doubled = [int(c) * (2 - i % 2) for i, c in enumerate(reversed(digits))]
    return -sum(number // 10 + number % 10 for number in doubled) % 10


def party(dice: Dice, country: Country, name: Word, bank: Bank | None = None) -> Party:
    """Return somebody with an account at one of the country's banks."""
    at = bank or dice.pick(country.banks)
    return Party(
        name=name[0],
        arabic_name=name[1],
        scheme="IBAN",
        identification=iban(country.code, at.code + dice.digits(country.bban_digits)),
        bic=at.bic,
        bank=at.name,
    )


def relative(dice: Dice, holder: Person, abroad: Abroad) -> Party:
    """Return a relative at home: another first name of the same family, an account there."""
    community = holder.community
    first = dice.pick([one for one in (*community.men, *community.women) if one[0] != holder.short_name])
    latin, arabic = holder.name.partition(" ")[2], holder.arabic_name.partition(" ")[2]
    number = abroad.prefix + dice.digits(abroad.digits)
    return Party(
        name=f"{first[0]} {latin}",
        arabic_name=f"{first[1]} {arabic}",
        scheme="IBAN" if abroad.iban else "BBAN",
        identification=iban(community.country, number) if abroad.iban else number,
        bic=abroad.bic,
        bank=abroad.bank,
    )
