"""What an engine is set up with, checked once."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from leanflow._policy import Policy
from leanflow._request import Scope
from leanflow.errors import InvalidRequest
from leanflow.observing import Observer
from leanflow.ports import Clock, RandomSource, Transport

__all__ = ["Settings", "check_settings"]

ENVIRONMENTS = ("sandbox", "production")
REGIONS = ("uae", "ksa")
APIS = ("v1", "v2")


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
    """

    scope: Scope
    api: str
    policy: Policy
    clock: Clock
    dice: RandomSource
    transport: Transport
    observer: Observer | None = None


def check_settings(*, app: str, environment: str, region: str, api: str, workers: int, secrets: Sequence[str]) -> None:
    """Refuse what an engine cannot be set up with.

    Raises:
        InvalidRequest: names the argument.
    """
    if not isinstance(app, str) or not app:
        raise InvalidRequest("app", "must be Lean's application id")
    for name, value, known in (
        ("environment", environment, ENVIRONMENTS),
        ("region", region, REGIONS),
        ("api", api, APIS),
    ):
        if value not in known:
            raise InvalidRequest(name, f"{value!r} is none of {', '.join(known)}")
    if workers < 0:
        raise InvalidRequest("workers", "must be 0 or more")
    if isinstance(secrets, str) or not secrets:
        raise InvalidRequest(
            "webhook_secrets", "needs a list with at least one secret: from Lean's dashboard, Webhooks"
        )
    if any(not isinstance(secret, str) or not secret.strip() for secret in secrets):
        raise InvalidRequest("webhook_secrets", "an empty secret would let everybody in")
