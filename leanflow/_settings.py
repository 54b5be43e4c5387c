"""What an engine is set up with, checked once."""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType

import attrs

from leanflow._policy import Policy
from leanflow._request import Scope
from leanflow.errors import InvalidRequest
from leanflow.observing import Observer
from leanflow.ports import Clock, RandomSource, Transport

__all__ = ["DEFAULT_APP", "Settings", "caller_app", "check_settings", "kind_of", "overruled_scope", "scope_of"]

ENVIRONMENTS = ("sandbox", "production")  # the first of each is the default
REGIONS = ("uae", "ksa")
APIS = ("v1", "v2")
DEFAULT_APP = "default"
"""Stands for the application where none was given; Lean knows none of this name."""

PARTS = MappingProxyType(
    {
        "store": ("load", "a store, as open_store('sqlite:///flows.db')"),
        "transport": ("send", "a transport, as LeanTransport(client_id=…, client_secret=…)"),
        "clock": ("sleep", "a clock, as FakeClock()"),
        "dice": ("random", "a source of randomness, as random.Random(7)"),
        "observer": ("stepping", "an Observer, as leanflow_adapters.otel.Telemetry()"),
    }
)
"""What an engine is put together from: a method by which each is known, and what to pass."""

OPTIONAL = frozenset({"clock", "dice", "observer"})


@attrs.frozen(kw_only=True)
class Settings:
    """What every part of an engine goes by.

    Attributes:
        scope: what confines it.
        api: of new requests.
        policy: waits, budgets and limits.
        clock: tells and passes the time.
        dice: for ids and jitter.
        transport: how Lean is called.
        observer: sees what is done; None: nobody does.
        caller_app: the application that the transport says it calls as; None: it does not say.
        overruled: the scope that the defaults make, where the transport says that it calls another; None: it does not.
    """

    scope: Scope
    api: str
    policy: Policy
    clock: Clock
    dice: RandomSource
    transport: Transport
    observer: Observer | None = None
    caller_app: str | None = attrs.field(default=None, repr=False)
    overruled: Scope | None = None


def check_settings(
    parts: dict[str, object], *, policy: object, api: object, workers: object, secrets: Collection[str]
) -> None:
    """Refuse what an engine cannot be set up with.

    Args:
        parts: some of `PARTS`, by their names.
        policy: None: the defaults.
        api: of new requests.
        workers: how many.
        secrets: of webhooks.

    Raises:
        InvalidRequest: names the argument.
    """
    for name, part in parts.items():
        method, wanted = PARTS[name]
        if part is None and name in OPTIONAL:
            continue
        if isinstance(part, type) or not callable(getattr(part, method, None)):
            raise InvalidRequest(name, f"must be {wanted}, not {kind_of(part)}")
    if policy is not None and not isinstance(policy, Policy):
        raise InvalidRequest("policy", f"must be a Policy, as Policy(poll=timedelta(seconds=5)), not {kind_of(policy)}")
    if api not in APIS:
        raise InvalidRequest("api", f"{api!r} is none of {', '.join(APIS)}")
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise InvalidRequest("workers", f"must be a whole number, 0 or more, not {workers!r}")
    if isinstance(secrets, str | bytes) or not isinstance(secrets, Collection) or not secrets:
        raise InvalidRequest(
            "webhook_secrets", "needs a list with at least one secret: from Lean's dashboard, Integration"
        )
    if any(not isinstance(secret, str) or not secret.strip() for secret in secrets):
        raise InvalidRequest("webhook_secrets", "an empty secret would let everybody in")


def kind_of(value: object) -> str:
    """Return what somebody passed, without what is in it."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def scope_of(transport: Transport, *, app: str | None, environment: str | None, region: str | None) -> Scope:
    """Return what confines an engine: what it was given, else what the transport says that it calls, else the defaults.

    Raises:
        InvalidRequest: there is no such environment or region, or the transport calls another; or the application's id
            is empty, or none was given in production.
    """
    for name, value, known in (("environment", environment, ENVIRONMENTS), ("region", region, REGIONS)):
        if value is not None and value not in known:
            raise InvalidRequest(name, f"{value!r} is none of {', '.join(known)}")
    called = (_said(transport, "environment", ENVIRONMENTS), _said(transport, "region", REGIONS))
    wanted = (environment or called[0] or ENVIRONMENTS[0], region or called[1] or REGIONS[0])
    for name, ours, its in zip(("environment", "region"), wanted, called, strict=True):
        if its not in (None, ours):
            where = "/".join(its or ours for its, ours in zip(called, wanted, strict=True))
            raise InvalidRequest(name, f"the transport is {where}, the engine {'/'.join(wanted)}")
    if app is not None and (not isinstance(app, str) or not app):
        raise InvalidRequest("app", "must be Lean's application id")
    if app is None and wanted[0] == "production":
        raise InvalidRequest(
            "app",
            "give Lean's application id, which is the client_id (or app_token) of the transport: the Link SDK needs "
            f"it. Requests that were stored without one have the id {DEFAULT_APP!r}",
        )
    return Scope(app=app or DEFAULT_APP, environment=wanted[0], region=wanted[1])


def _said(transport: Transport, name: str, known: tuple[str, ...]) -> str | None:
    """Return what a transport says of itself, if it does so in our words."""
    said = getattr(transport, name, None)
    return said if said in known else None


def caller_app(transport: Transport) -> str | None:
    """Return the application that a transport says it calls as."""
    said = getattr(transport, "app", None)
    return said if isinstance(said, str) and said else None


def overruled_scope(scope: Scope, *, environment: str | None, region: str | None) -> Scope | None:
    """Return the scope that the defaults make of what an engine was given, or None if it is this one."""
    default = attrs.evolve(scope, environment=environment or ENVIRONMENTS[0], region=region or REGIONS[0])
    return None if default == scope else default
