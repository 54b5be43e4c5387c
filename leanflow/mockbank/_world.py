"""Everything a Mockbank remembers, and what time does to it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from leanflow._request import Resource
from leanflow.errors import InvalidRequest

from ._later import Later
from ._link_session import Link
from ._log import Log
from ._settings import Login, Settings, TestUser
from ._state import PERMISSIONS, Availability, Customer, Entity, Refresh, Result, Wanted, resource_of
from ._webhooks import Webhooks
from .adversary._adversary import Adversary
from .adversary._disturbances import Subject
from .adversary._progress import Progress
from .basics._dice import Ids, derived_id
from .basics._memory import thin
from .countries._countries import country_of
from .countries._country import Bank
from .data._book import Book
from .data._pages import Pages

__all__ = ["World"]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_BOOKS_AT_MOST = 64  # a book with two years of transactions takes a megabyte; it can always be made again
_PAGES_ROOM = 24_000_000  # bytes: some 330 pages of 50 transactions


class World:
    """The state of a Mockbank. Time comes in from outside: `catch_up` lets it pass.

    Attributes:
        now: the latest time seen.
        redirects: the identifiers of the banks that authorise on their own site.
        origin: where those sites are: scheme, host and port.
        present: tells the time where nobody else does; the latest seen, unless a shell has a clock.
        token_generation: tokens of an earlier one are no longer valid.
        opened: what the tokens say that were shown last.
    """

    def __init__(self, settings: Settings, now: datetime) -> None:
        self.settings = settings
        self.country = country_of(settings.region)
        self.now = now
        self.present: Callable[[], datetime] = lambda: self.now
        self.ids = Ids(settings.seed)
        self.adversary = Adversary()
        self.log = Log(settings.log_size)
        self.webhooks = Webhooks(settings, self.ids, self.log, self.adversary)
        self.customers: dict[str, Customer] = {}
        self.by_app_user: dict[str, Customer] = {}
        self.entities: dict[str, Entity] = {}
        self.results: dict[str, Result] = {}
        self.refreshes: dict[str, Refresh] = {}
        self.links: OrderedDict[str, Link] = OrderedDict()
        self.availability = {bank.identifier: Availability() for bank in self.country.banks}
        self.redirects = {self._bank_set("redirect_banks", name) for name in settings.redirect_banks}
        self.origin = "https://mockbank.example"
        self.token_generation = 0
        self.opened: dict[str, dict[str, Any]] = {}
        self.later = Later()
        self._books: OrderedDict[str, Book] = OrderedDict()
        self._pages = Pages(_PAGES_ROOM)

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
            self._forget_customers(known)
        return known

    def _forget_customers(self, new: Customer) -> None:
        """Forget customers, those first whose entities were not used for longest."""
        if len(self.customers) > self.settings.remembers:
            used = {new.customer_id: self.now}
            for one in self.entities.values():
                customer_id = one.customer.customer_id
                used[customer_id] = max(one.last_used, used.get(customer_id, one.last_used))
            thin(self.customers, self.settings.remembers, lambda one: used.get(one.customer_id, _LONG_AGO))
            self.by_app_user = {one.app_user_id: one for one in self.customers.values()}

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

    def _bank_set(self, setting: str, identifier: str) -> str:
        try:
            return self.bank(identifier).identifier
        except InvalidRequest as error:
            raise InvalidRequest(setting, error.problem) from None

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
        thin(self.entities, self.settings.remembers, lambda one: one.last_used)
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
                "account_type": "BUSINESS" if entity.user.bank_type == "SME" else "PERSONAL",
                "bank_type": entity.user.bank_type,
            },
        }
        self.tell(kind, payload, message, entity, now)

    def tell(
        self,
        kind: str,
        payload: Mapping[str, Any],
        message: str,
        entity: Entity,
        now: datetime,
        resource: Resource | None = None,
    ) -> None:
        """Emit a webhook of an entity; of a call that asked for a resource, if there is one."""
        subject = Subject(entity_id=entity.entity_id, bank=entity.bank.identifier, resource=resource)
        self.webhooks.emit(kind, payload, message, now, lane=entity.entity_id, subject=subject)

    def subject_named(self, name: object) -> Subject | None:
        """Return what a webhook is about that names an entity, a result, a refresh or a bank; None: nothing known."""
        if not isinstance(name, str):
            return None
        found: Result | Refresh | None = self.results.get(name) or self.refreshes.get(name)
        entity = self.entities.get(name) if found is None else found.entity
        if entity is None:
            return Subject(bank=name) if name in self.availability else None
        resource = None if found is None else resource_of(found)
        return Subject(entity_id=entity.entity_id, bank=entity.bank.identifier, resource=resource)

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
                user=entity.user,
                connected=entity.created_at,
                country=self.country,
                bank=entity.bank,
                pages=self._pages,
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
        thin(self.results, self.settings.remembers, lambda one: one.status != "OK")
        return result

    def progress(self, model: str, thing: Result | Refresh) -> Progress:
        """Return how such a thing comes to its end: as the adversary has it, else as in the settings."""
        entity = thing.entity
        pace = self.adversary.pace(model, resource_of(thing), entity.entity_id, entity.bank.identifier)
        default: Progress = getattr(self.settings, f"{model}_progress")
        return default if pace is None else pace.progress

    def pend(self, result: Result, now: datetime, progress: Progress) -> None:
        """Make a result PENDING until its progress ends it."""
        result.status, result.polls_left = "PENDING", progress.polls_left
        result.ready_at = None if progress.delay is None else now + progress.delay
        if result.ready_at is not None:
            self.later.at(result.ready_at, lambda when: self._ready_when_due(result, when))

    def ready(self, result: Result, when: datetime) -> None:
        """Make a result OK and announce it."""
        if result.status == "OK":
            return
        result.status, result.as_of, result.ready_at, result.polls_left = "OK", when, None, None
        payload, message = {"id": result.results_id}, "The results are ready to be fetched."
        self.tell("results.ready", payload, message, result.entity, when, result.wanted.resource)

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
            "bank.availability.updated",
            payload,
            "The availability of a bank changed.",
            now,
            lane=bank.identifier,
            subject=Subject(bank=bank.identifier),
        )

    def availability_of(self, bank: Bank) -> dict[str, Any]:
        """Return a bank's availability in Lean's shape."""
        has = self.availability[bank.identifier]
        return {
            "active": {"payments": has.active_payments, "data": has.active_data},
            "enabled": {"payments": has.enabled_payments, "data": has.enabled_data},
        }

    def call_id(self) -> str:
        """Return the results id of a call that leaves nothing behind."""
        return derived_id(self.settings.seed, "answer", self.log.total_calls)
