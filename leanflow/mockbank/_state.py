"""What a Mockbank remembers: customers, entities, results and refreshes."""

from __future__ import annotations

from datetime import date, datetime

import attrs

from leanflow._request import Resource

from ._settings import Login, TestUser
from .adversary._progress import Progress
from .countries._country import Bank

__all__ = ["PERMISSIONS", "Availability", "Customer", "Entity", "Refresh", "Result", "Wanted", "resource_of"]

PERMISSIONS = (
    "identity",
    "accounts",
    "balance",
    "transactions",
    "identities",
    "scheduled_payments",
    "standing_orders",
    "direct_debits",
    "beneficiaries",
)


@attrs.define(kw_only=True)
class Customer:
    """One of the application's users."""

    customer_id: str
    app_user_id: str
    identifiers: list[dict[str, str]] = attrs.field(factory=list)


@attrs.define(kw_only=True)
class Entity:
    """A customer's connection to a bank.

    Attributes:
        session_over: True once the bank has let the user go, whatever the inactivity says.
        last_used: the last successful call or login: inactivity counts from here.
        consent_status: ``ACTIVE`` or ``REVOKED``.
        status: ``ACTIVE`` or ``DELETED``.
    """

    entity_id: str
    customer: Customer
    bank: Bank
    user: TestUser
    permissions: frozenset[str]
    consent_id: str
    created_at: datetime
    updated_at: datetime
    last_used: datetime
    consent_expires_at: datetime
    consent_updated_at: datetime
    consent_status: str = "ACTIVE"
    session_over: bool = False
    status: str = "ACTIVE"
    refresh_starts: list[datetime] = attrs.field(factory=list)

    @property
    def locked(self) -> bool:
        """Whether the bank has locked the user's account."""
        return self.user.login is Login.locked

    def consented(self, now: datetime) -> bool:
        """Return whether the consent still holds."""
        return self.consent_status == "ACTIVE" and now < self.consent_expires_at


@attrs.frozen(kw_only=True)
class Wanted:
    """What a data call asks for.

    Attributes:
        api: ``v1`` or ``v2``: the shape of its answers.
        insights: whether transactions are to say what they were for.
        meta: echoed back in v2.
    """

    api: str
    resource: Resource
    entity: Entity
    account_id: str | None
    start: date | None = None
    end: date | None = None
    insights: bool = False
    meta: dict[str, str] | None = None


@attrs.define(kw_only=True)
class Result:
    """What a ``results_id`` names: a data call that was not answered at once.

    Attributes:
        status: ``PENDING``, ``RECONNECT_REQUIRED`` or ``OK``.
        ready_at: when PENDING turns into OK; None: held until released.
        polls_left: GETs that still find it PENDING, if it goes by polls; then `ready_at` is None.
        as_of: the time whose data it has.
        wrong_otps: typed since the attempt began.
    """

    results_id: str
    reconnect_id: str
    wanted: Wanted
    created_at: datetime
    status: str
    reconnect_since: datetime | None = None
    ready_at: datetime | None = None
    polls_left: int | None = None
    as_of: datetime | None = None
    wrong_otps: int = 0

    @property
    def entity(self) -> Entity:
        """Whose data it has."""
        return self.wanted.entity


@attrs.define(kw_only=True)
class Refresh:
    """One refresh of an entity's stored data.

    Attributes:
        status: ``RECONNECT_REQUIRED`` (the user is wanted; not listed), ``PENDING`` or ``FINISHED``.
        failed_parts: names of parts that end FAILED, as ``identity`` or ``transactions``.
        progress: how it ends, if a fault has said so.
        polls_left: GETs that still find it PENDING, if it goes by polls.
        data_types: the parts that were asked for (KSA); None: all.
    """

    refresh_id: str
    entity: Entity
    status: str
    created_at: datetime
    updated_at: datetime
    failed_parts: frozenset[str] = frozenset()
    data_types: frozenset[str] | None = None
    accounts_done: bool = False
    progress: Progress | None = None
    polls_left: int | None = None
    ends_by_itself: bool = True
    reconnect_since: datetime | None = None
    wrong_otps: int = 0


def resource_of(waiting: Result | Refresh) -> Resource:
    """Return what was asked for."""
    return waiting.wanted.resource if isinstance(waiting, Result) else Resource.refresh


@attrs.define(kw_only=True)
class Availability:
    """Whether a bank can be used: by Lean (`active`) and by the application (`enabled`)."""

    active_data: bool = True
    active_payments: bool = True
    enabled_data: bool = True
    enabled_payments: bool = True

    @property
    def usable(self) -> bool:
        """Whether data calls work."""
        return self.active_data and self.enabled_data
