"""Everything a Mockbank remembers, and what time does to it."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from leanflow.errors import InvalidRequest

from ._book import Book
from ._dice import Ids, derived_id
from ._faults import Faults
from ._log import Log
from ._people import Bank, country_of
from ._settings import Login, Settings, TestUser
from ._state import PERMISSIONS, Availability, Customer, Entity, Refresh, Result, Wanted
from ._times import micro
from ._webhooks import Webhooks

__all__ = ["World"]

_BOOKS_AT_MOST = 64  # a book with two years of transactions takes a few megabytes; it can always be made again
_RESULTS_AT_MOST = 100_000  # oldest forgotten first: memory stays flat


class World:
    """The state of a Mockbank. Time comes in from outside: `catch_up` lets it pass.

    Attributes:
        now: the latest time seen.
        tokens_from: tokens of an earlier generation are no longer valid.
    """

    def __init__(self, settings: Settings, now: datetime) -> None:
        self.settings = settings
        self.country = country_of(settings.region)
        self.now = now
        self.ids = Ids(settings.seed)
        self.faults = Faults()
        self.log = Log(settings.log_size)
        self.webhooks = Webhooks(settings, self.ids, self.log)
        self.customers: dict[str, Customer] = {}
        self.by_app_user: dict[str, Customer] = {}
        self.entities: dict[str, Entity] = {}
        self.results: OrderedDict[str, Result] = OrderedDict()
        self.refreshes: OrderedDict[str, Refresh] = OrderedDict()
        self.availability = {bank.identifier: Availability() for bank in self.country.banks}
        self.token_generation = 0
        self.later = Later()
        self._books: OrderedDict[str, Book] = OrderedDict()

    def catch_up(self, now: datetime) -> None:
        """Let everything happen that is due by `now`, each at its own time. Time never runs backwards."""
        while (due := self.later.pop(now)) is not None:
            when, happen = due
            happen(when)
        self.now = max(self.now, now)

    # customers and entities

    def customer(self, app_user_id: str) -> Customer:
        """Return the customer of this application's user, made if there is none."""
        known = self.by_app_user.get(app_user_id)
        if known is None:
            known = Customer(customer_id=self.ids.next("customer"), app_user_id=app_user_id)
            self.customers[known.customer_id] = self.by_app_user[app_user_id] = known
        return known

    def bank(self, identifier: str | None) -> Bank:
        """Return a simulated bank; None: the first.

        Raises:
            InvalidRequest: there is none of that name.
        """
        for bank in self.country.banks:
            if identifier in (None, bank.identifier):
                return bank
        known = ", ".join(bank.identifier for bank in self.country.banks)
        raise InvalidRequest("bank", f"{identifier!r} is none of {known}")

    def user(self, username: str) -> TestUser | None:
        """Return a test user, or None."""
        return next((user for user in self.settings.users if user.username == username), None)

    def connect(
        self, customer: Customer, bank: Bank, user: TestUser, permissions: frozenset[str], now: datetime
    ) -> Entity:
        """Make an entity, as `Lean.connect` does, and emit ``entity.created``."""
        entity = Entity(
            entity_id=self.ids.next("entity"),
            customer=customer,
            bank=bank,
            user=user,
            permissions=permissions,
            consent_id=self.ids.next("consent"),
            created_at=now,
            updated_at=now,
            last_used=now,
            consent_expires_at=now + self.settings.consent_life,
            consent_updated_at=now,
        )
        self.entities[entity.entity_id] = entity
        self.emit_entity("entity.created", "An entity object was created.", entity, now)
        return entity

    def emit_entity(self, kind: str, message: str, entity: Entity, now: datetime) -> None:
        """Emit ``entity.created`` or ``entity.updated``."""
        bank = entity.bank
        payload = {
            "id": entity.entity_id,
            "customer_id": entity.customer.customer_id,
            "app_user_id": entity.customer.app_user_id,
            "permissions": [name for name in PERMISSIONS if name in entity.permissions],
            "bank_details": {
                "name": bank.name,
                "identifier": bank.identifier,
                "logo": f"https://mockbank.example/{bank.identifier}.png",
                "main_color": bank.main_color,
                "background_color": "#FFFFFF",
                "swift_code": bank.bic,
                "account_type": "PERSONAL",
                "bank_type": entity.user.bank_type,
            },
        }
        self.webhooks.emit(kind, payload, message, now, lane=entity.entity_id)

    def session_live(self, entity: Entity, now: datetime) -> bool:
        """Return whether the bank still lets the user in."""
        if entity.session_over:
            return False
        whom = self.settings.deauthenticates
        idles_out = whom == "all" or (whom == "otp_users" and entity.user.login is Login.otp_required)
        return not idles_out or now - entity.last_used < self.settings.idle

    def book(self, entity: Entity) -> Book:
        """Return the bank data of an entity."""
        book = self._books.get(entity.entity_id)
        if book is None:
            book = Book(
                seed=self.settings.seed,
                entity_id=entity.entity_id,
                username=entity.user.username,
                connected=entity.created_at,
                country=self.country,
                bank=entity.bank,
            )
            self._books[entity.entity_id] = book
            if len(self._books) > _BOOKS_AT_MOST:
                self._books.popitem(last=False)
        else:
            self._books.move_to_end(entity.entity_id)
        return book

    # results

    def new_result(self, wanted: Wanted, now: datetime) -> Result:
        """Remember a data call that is not answered at once. In v2 the reconnect id is the results id."""
        results_id = self.ids.next("results")
        result = Result(
            results_id=results_id,
            reconnect_id=results_id if wanted.api == "v2" else self.ids.next("reconnect"),
            wanted=wanted,
            created_at=now,
            status="PENDING",
        )
        self.results[results_id] = result
        if len(self.results) > _RESULTS_AT_MOST:
            self.results.popitem(last=False)
        return result

    def pend(self, result: Result, now: datetime, *, after: timedelta | None, polls: int | None = None) -> None:
        """Make a result PENDING until a time, for so many polls, or until it is released."""
        result.status, result.polls_left = "PENDING", polls
        result.ready_at = None if after is None or polls is not None else now + after
        if result.ready_at is not None:
            self.later.at(result.ready_at, lambda when: self._ready_when_due(result, when))

    def ready(self, result: Result, when: datetime) -> None:
        """Make a result OK and announce it."""
        if result.status == "OK":
            return
        result.status, result.as_of, result.ready_at, result.polls_left = "OK", when, None, None
        self.webhooks.emit(
            "results.ready",
            {"id": result.results_id},
            "The results are ready to be fetched.",
            when,
            lane=result.entity.entity_id,
        )

    def _ready_when_due(self, result: Result, when: datetime) -> None:
        if result.status == "PENDING" and result.ready_at == when:
            self.ready(result, when)

    def wants_user(self, result: Result, now: datetime) -> None:
        """Make a result RECONNECT_REQUIRED."""
        result.status, result.reconnect_since = "RECONNECT_REQUIRED", now
        result.wrong_otps, result.as_of, result.ready_at, result.polls_left = 0, None, None, None

    def known_result(self, results_id: str, now: datetime) -> Result | None:
        """Return a result, or None if there is none or its reconnect id died of age."""
        result = self.results.get(results_id)
        if result is None or (result.status == "RECONNECT_REQUIRED" and self.too_old(result.reconnect_since, now)):
            return None
        return result

    def too_old(self, since: datetime | None, now: datetime) -> bool:
        """Return whether a reconnect id made at `since` is dead."""
        return since is not None and now - since >= self.settings.reconnect_ttl

    # banks

    def switch_bank(self, identifier: str, now: datetime, changes: dict[str, bool]) -> None:
        """Change a bank's availability and emit ``bank.availability.updated``.

        Raises:
            InvalidRequest: an unknown bank or switch.
        """
        bank = self.bank(identifier)
        availability = self.availability[bank.identifier]
        for name, value in changes.items():
            if name not in ("active_data", "active_payments", "enabled_data", "enabled_payments"):
                raise InvalidRequest(name, "is none of active_data, active_payments, enabled_data, enabled_payments")
            setattr(availability, name, value)
        payload = {"identifier": bank.identifier, "availability": self.availability_of(bank)}
        self.webhooks.emit(
            "bank.availability.updated", payload, "The availability of a bank changed.", now, lane=bank.identifier
        )

    def availability_of(self, bank: Bank) -> dict[str, Any]:
        """Return a bank's availability in Lean's shape."""
        has = self.availability[bank.identifier]
        return {
            "active": {"payments": has.active_payments, "data": has.active_data},
            "enabled": {"payments": has.enabled_payments, "data": has.enabled_data},
        }

    def stamp(self, moment: datetime) -> str:
        """Return a time as entities and refreshes carry it."""
        return micro(moment)

    def call_id(self) -> str:
        """Return the results id of a call that leaves nothing behind."""
        return derived_id(self.settings.seed, "answer", self.log.total_calls)


class Later:
    """What happens at a time, in order of time and of arrangement."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._number = 0

    def at(self, when: datetime, happen: Callable[[datetime], None]) -> None:
        """Arrange for `happen(when)`."""
        self._number += 1
        heapq.heappush(self._heap, (when, self._number, happen))

    def pop(self, now: datetime) -> tuple[datetime, Callable[[datetime], None]] | None:
        """Return the next thing due by `now`, or None."""
        if self._heap and self._heap[0][0] <= now:
            when, _, happen = heapq.heappop(self._heap)
            return when, happen
        return None

    def next(self) -> datetime | None:
        """Return when the next thing happens, or None."""
        return self._heap[0][0] if self._heap else None
