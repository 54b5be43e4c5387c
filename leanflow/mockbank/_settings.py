"""What a Mockbank is set to. All of it has a working default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self

import attrs

from leanflow.errors import InvalidRequest

from .adversary._progress import PROGRESS, Progress, as_progress
from .basics._checks import FIELDS, FROM_0, NAMES, SWITCH, TEXT, Check, check, known, one_of
from .basics._dice import derived_id
from .basics._lines import parse_inline
from .basics._spans import as_span

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


def _at_least(least: int) -> Callable[[object, attrs.Attribute[int], int], None]:
    def check(_: object, attribute: attrs.Attribute[int], value: int) -> None:
        if value < least:
            raise InvalidRequest(attribute.name, f"is {value}; must be at least {least}")

    return check


def _read(name: str, default: Any, value: Any) -> Any:
    """Return a value of the kind of its setting's default."""
    match default:
        case timedelta():
            return as_span(name, value)
        case Progress():
            check(name, value, PROGRESS)
        case bool():
            check(name, value, SWITCH)
        case int():
            if name == "refresh_daily_limit" and value == "none":
                return None
            check(name, value, FROM_0)
        case str():
            check(name, value, TEXT)
        case ():
            check(name, value, NAMES)
            return tuple(value)
        case tuple():
            return (
                tuple(_test_user(name, one) for one in value) if isinstance(value, list) else check(name, value, _LIST)
            )
    return value


def _test_user(name: str, told: Any) -> TestUser:
    check(name, told, FIELDS)
    known(told, tuple(attrs.fields_dict(TestUser)), "property of a test user")
    check("username", told.get("username"), TEXT)
    check("login", told.get("login", Login.plain), one_of(*Login))
    check("bank_type", told.get("bank_type", "RETAIL"), one_of("RETAIL", "SME"))
    return TestUser(**{**told, "login": Login(told.get("login", Login.plain))})


_LIST: Check = (lambda value: isinstance(value, list), "a list of test users")


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
        results_progress: how a call answered PENDING comes to its ``results.ready``.
        reconnects_progress: how a result whose user has reconnected comes to its ``results.ready``.
        sync_limit: a data call slower than this answers PENDING (50 s).
        pending_status: the HTTP status of PENDING in v2: 202, or 200.
        siblings_become_ready: whether one reconnect readies the other waiting results of its entity (undocumented).
        duplicates_refused: whether an identical call while one is PENDING gets DUPLICATED_REQUEST.
        refreshes_progress: how a refresh comes to its end (5 to 11 s were captured).
        refresh_daily_limit: refreshes per entity and day; None: no limit.
        refresh_cooldown: between two refreshes of an entity.
        refresh_done: the status of a finished refresh in webhooks: ``FINISHED`` (KSA capture) or ``OK`` (UAE capture).
        refresh_on_connect: whether a new entity refreshes itself.
        consent_life: of an entity's consent. Zero: 365 days in the UAE, 24 h in KSA, as in its sandbox.
        consent_shape: how CONSENT_EXPIRED is told: ``status_403``, ``envelope`` (200), ``failed_403``.
        event_life: how long the Events API remembers.
        events_newest_first: the order of the Events API, which Lean does not document.
        webhook_event_ids: whether webhooks carry ``event_id`` (guides show none).
        redirect_banks: the identifiers of the banks that authorise on their own site: the Link SDK calls back with
            REDIRECT and sends the user there. More are switched by `Mockbank.redirect_bank`.
        users: who can log in at the simulated banks.
        log_size: how many calls and deliveries the log keeps (its counts go on).
        remembers: how many of each it remembers: customers, entities, results, refreshes, events, deliveries that wait.
            Then what is over or was not used for longest is forgotten.
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
    results_progress: Progress = attrs.field(default=Progress.after(2), converter=as_progress)
    reconnects_progress: Progress = attrs.field(default=Progress.at_once(), converter=as_progress)
    sync_limit: timedelta = timedelta(seconds=50)
    pending_status: int = 202
    siblings_become_ready: bool = False
    duplicates_refused: bool = False
    refreshes_progress: Progress = attrs.field(default=Progress.after(8), converter=as_progress)
    refresh_daily_limit: int | None = 2
    refresh_cooldown: timedelta = timedelta(minutes=10)
    refresh_done: str = attrs.field(default="FINISHED", validator=_one_of("FINISHED", "OK"))
    refresh_on_connect: bool = False
    consent_life: timedelta = timedelta()
    consent_shape: str = attrs.field(default="status_403", validator=_one_of("status_403", "envelope", "failed_403"))
    event_life: timedelta = timedelta(days=90)
    events_newest_first: bool = True
    webhook_event_ids: bool = True
    redirect_banks: tuple[str, ...] = ()
    users: tuple[TestUser, ...] = _USERS
    log_size: int = 10_000
    remembers: int = attrs.field(default=10_000, validator=_at_least(1))

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Return the settings that a table tells, as a scenario has it: spans of time in seconds or as a clock's.

        Raises:
            InvalidRequest: an unknown setting, or a value of the wrong kind.
        """
        fields = attrs.fields_dict(cls)
        known(told, tuple(fields), "setting")
        return cls(**{name: _read(name, fields[name].default, value) for name, value in told.items()})

    @classmethod
    def parse(cls, line: str) -> dict[str, Any]:
        """Return what a line of TOML sets, as ``otp = "2222", idle = "00:05:00"``: for `of`, which takes it.

        Raises:
            InvalidRequest: it is no line of TOML, or `of` does not take it.
        """
        told = parse_inline(line)
        cls.of(told)
        return told

    def completed(self) -> Settings:
        """Return these settings with what follows from others filled in."""
        return attrs.evolve(
            self,
            app=self.app or derived_id(self.seed, "app"),
            auth=self.auth or ("either" if self.region == "uae" else "bearer"),
            consent_life=self.consent_life or timedelta(days=365 if self.region == "uae" else 1),
        )
