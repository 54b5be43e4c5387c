"""What is booked on an owner's accounts, day by day, as it follows from the seed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import attrs

from leanflow.mockbank.basics._dice import Dice

from ._accounts import Account
from ._habits import Life
from ._moves import Move

__all__ = ["DAYS_BACK", "Entry", "History", "Ledger"]

DAYS_BACK = 730  # two years before the connection, as far as a consent usually reaches
_SECOND = timedelta(seconds=1)


@attrs.frozen
class Entry:
    """One booked transaction: when, what, the balance after it (smallest unit), and its place in its local day."""

    booked: datetime
    move: Move
    balance: int
    day: date
    index: int


class Ledger:
    """The transactions of one account, oldest first; what is booked stays, so numbers stay."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._entries: list[Entry] = []
        self._booked: list[datetime] = []

    @property
    def last_balance(self) -> int:
        """The balance after all that is booked."""
        return self._entries[-1].balance if self._entries else self._account.opening_balance

    def balance(self, now: datetime) -> int:
        """Return the balance at a time, in the smallest unit."""
        count = bisect_right(self._booked, now)
        return self._entries[count - 1].balance if count else self._account.opening_balance

    def span(self, now: datetime, start: date | None = None, end: date | None = None) -> range:
        """Return the numbers of the entries booked until `now`, from the day `start` to `end` (UTC, both included)."""
        first, last = 0, bisect_right(self._booked, now)
        if start is not None:
            first = bisect_left(self._booked, datetime.combine(start, time(), UTC))
        if end is not None and end < now.date():
            last = min(last, bisect_left(self._booked, datetime.combine(end + timedelta(days=1), time(), UTC)))
        return range(first, max(first, last))

    def entries(self, numbers: Sequence[int]) -> list[Entry]:
        """Return entries by number."""
        return [self._entries[number] for number in numbers]

    def covers(self, move: Move) -> bool:
        """Return whether the account has the money, or the card the limit."""
        return move.amount >= 0 or self.last_balance + move.amount >= -self._account.credit_limit

    def book(self, move: Move, when: datetime, day: date) -> None:
        """Book a move; no two entries have the same time."""
        index = 0
        if self._entries:
            before = self._entries[-1]
            when = max(when, before.booked + _SECOND)
            index = before.index + 1 if before.day == day else 0
        self._entries.append(Entry(when, move, self.last_balance + move.amount, day, index))
        self._booked.append(when)


class History:
    """All accounts of one owner, booked together: a transfer between two of them is on both or on neither.

    Args:
        parts: what the dice of each day follow from.
        connected: two years before this the first day is booked.
        hours: of the local time ahead of UTC.
    """

    def __init__(
        self, parts: Sequence[object], accounts: Sequence[Account], life: Life, connected: datetime, hours: int
    ) -> None:
        self._parts = parts
        self._life = life
        self._ahead = timedelta(hours=hours)
        self._ledgers = [Ledger(account) for account in accounts]
        self._next_day = self._day_of(connected) - timedelta(days=DAYS_BACK)

    def ledger(self, number: int, now: datetime) -> Ledger:
        """Return the ledger of an account, with everything booked that is to be booked by `now`."""
        today = self._day_of(now)
        while self._next_day <= today:
            self._book(self._next_day)
            self._next_day += timedelta(days=1)
        return self._ledgers[number]

    def _day_of(self, moment: datetime) -> date:
        return (moment.astimezone(UTC) + self._ahead).date()

    def _book(self, day: date) -> None:
        dice = Dice(*self._parts, "day", day.toordinal())
        balances = [ledger.last_balance for ledger in self._ledgers]
        midnight = datetime.combine(day, time(), UTC) - self._ahead
        for move in sorted(self._life.moves(day, dice, balances.__getitem__), key=lambda move: move.second):
            ledger = self._ledgers[move.account]
            if not ledger.covers(move):
                continue  # the bank declines what is not covered
            when = midnight + timedelta(seconds=move.second)
            ledger.book(move, when, day)
            if move.into is not None:
                self._ledgers[move.into.account].book(move.into, when, day)
