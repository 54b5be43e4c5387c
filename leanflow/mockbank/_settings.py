"""What a Mockbank is set to. All of it has a working default."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum

import attrs

from leanflow.errors import InvalidRequest

from ._dice import derived_id

__all__ = ["Login", "Settings", "TestUser"]


class Login(StrEnum):
    """How a test user logs in at the bank."""

    plain = "plain"  # no challenge after the first login, and no deauthentication
    otp_required = "otp_required"  # an OTP at each login; deauthenticated after inactivity
    locked = "locked"  # the bank has locked the account: every data call fails


@attrs.frozen(kw_only=True)
class TestUser:
    """A user at the simulated banks.

    Attributes:
        username: what is typed at the login; the password is the same (Lean docs, sandbox).
        login: what happens there.
        bank_type: ``RETAIL`` or ``SME``.
    """

    username: str
    login: Login = Login.plain
    bank_type: str = "RETAIL"


# Five per application, with different login behaviours (Lean docs, sandbox testing). The first two are named there.
_USERS = (
    TestUser(username="mockbank_user_1"),
    TestUser(username="mockbank_user_2"),
    TestUser(username="mockbank_user_3", login=Login.otp_required),
    TestUser(username="mockbank_user_4", login=Login.otp_required, bank_type="SME"),
    TestUser(username="mockbank_user_5", login=Login.locked),
)


def _one_of(*allowed: str) -> Callable[[object, attrs.Attribute[str], str], None]:
    def check(_: object, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in allowed:
            raise InvalidRequest(attribute.name, f"is {value!r}; must be one of {', '.join(allowed)}")

    return check


@attrs.frozen(kw_only=True)
class Settings:
    """What a Mockbank is set to.

    Attributes:
        seed: every id and all bank data follow from it.
        region: ``uae`` or ``ksa``.
        app: Lean's application id, which is the OAuth client id and the ``lean-app-token``; from the seed if empty.
        client_secret: for the token endpoint.
        webhook_secret: signs webhooks.
        auth: who may call the API: ``either`` a bearer token or ``lean-app-token``, only ``bearer``, only
            ``app_token``, or anybody (``none``). Empty: ``either`` in the UAE, ``bearer`` in KSA, where an integrator
            measured 401 with ``lean-app-token``.
        token_life: of an OAuth token; Lean says ``expires_in`` 3599.
        otp: what the user must type at every challenge.
        otp_attempts: how many wrong ones end an attempt.
        reconnect_ttl: life of a reconnect id: 30 days, 7 in an older copy of Lean's page.
        idle: inactivity after which a user is deauthenticated.
        deauthenticates: whom: ``otp_users`` (newer docs), ``all`` (older docs), ``none``.
        async_delay: from a PENDING answer to its ``results.ready``.
        results_delay: from a reconnect to its ``results.ready``.
        sync_limit: a data call slower than this answers PENDING (50 s).
        pending_status: the HTTP status of PENDING in v2: 202, or 200.
        siblings_become_ready: whether one reconnect readies the other waiting results of its entity (undocumented).
        duplicates_refused: whether an identical call while one is PENDING gets DUPLICATED_REQUEST.
        refresh_duration: from the start of a refresh to its end (5 to 11 s were captured).
        refresh_daily_limit: refreshes per entity and day; None: no limit.
        refresh_cooldown: between two refreshes of an entity.
        refresh_done: the status of a finished refresh in webhooks: ``FINISHED`` (KSA capture) or ``OK`` (UAE capture).
        refresh_on_connect: whether a new entity refreshes itself.
        consent_life: of an entity's consent.
        consent_shape: how CONSENT_EXPIRED is told: ``status_403``, ``envelope`` (200), ``failed_403``.
        event_life: how long the Events API remembers.
        events_newest_first: the order of the Events API, which Lean does not document.
        webhook_event_ids: whether webhooks carry ``event_id`` (guides show none).
        users: who can log in at the simulated banks.
        log_size: how many calls and deliveries the log keeps (its counts go on).
    """

    seed: int = 0
    region: str = attrs.field(default="uae", validator=_one_of("uae", "ksa"))
    app: str = ""
    client_secret: str = attrs.field(default="mockbank-client-secret", repr=False)
    webhook_secret: str = attrs.field(default="mockbank-webhook-secret", repr=False)
    auth: str = attrs.field(default="", validator=_one_of("", "either", "bearer", "app_token", "none"))
    token_life: timedelta = timedelta(seconds=3599)
    otp: str = "1111"
    otp_attempts: int = 3
    reconnect_ttl: timedelta = timedelta(days=30)
    idle: timedelta = timedelta(minutes=10)
    deauthenticates: str = attrs.field(default="otp_users", validator=_one_of("otp_users", "all", "none"))
    async_delay: timedelta = timedelta(seconds=2)
    results_delay: timedelta = timedelta()
    sync_limit: timedelta = timedelta(seconds=50)
    pending_status: int = 202
    siblings_become_ready: bool = False
    duplicates_refused: bool = False
    refresh_duration: timedelta = timedelta(seconds=8)
    refresh_daily_limit: int | None = 2
    refresh_cooldown: timedelta = timedelta(minutes=10)
    refresh_done: str = attrs.field(default="FINISHED", validator=_one_of("FINISHED", "OK"))
    refresh_on_connect: bool = False
    consent_life: timedelta = timedelta(days=365)
    consent_shape: str = attrs.field(default="status_403", validator=_one_of("status_403", "envelope", "failed_403"))
    event_life: timedelta = timedelta(days=90)
    events_newest_first: bool = True
    webhook_event_ids: bool = True
    users: tuple[TestUser, ...] = _USERS
    log_size: int = 10_000

    def completed(self) -> Settings:
        """Return these settings with what follows from others filled in."""
        return attrs.evolve(
            self,
            app=self.app or derived_id(self.seed, "app"),
            auth=self.auth or ("either" if self.region == "uae" else "bearer"),
        )
