"""How patient leanflow is: every wait, budget and limit, with the reason for its default."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from leanflow.errors import InvalidRequest

__all__ = ["Policy"]

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


def _span(name: str, value: object) -> timedelta:
    if not isinstance(value, timedelta):
        raise InvalidRequest(f"Policy.{name}", f"must be a timedelta, as timedelta(seconds=5), not {value!r}")
    return value


def _positive(_instance: object, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
    if _span(attribute.name, value) <= timedelta():
        raise InvalidRequest(f"Policy.{attribute.name}", "must be longer than nothing")


def _not_negative(_instance: object, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
    if _span(attribute.name, value) < timedelta():
        raise InvalidRequest(f"Policy.{attribute.name}", "must not be less than nothing")


def _wait(default: timedelta) -> timedelta:
    field: timedelta = attrs.field(default=default, validator=_positive)
    return field


def _margin(default: timedelta) -> timedelta:
    field: timedelta = attrs.field(default=default, validator=_not_negative)
    return field


@attrs.frozen(kw_only=True)
class Policy:
    """Waits, budgets and limits. The defaults suit Lean's documented behaviour.

    Attributes:
        reconnect_ttl: life of a reconnect id (Lean docs: 30 days; an older copy: 7).
        expiry_grace: a webhook sent before the end may be delivered up to 3 hours later (Lean's retries), so `expired`
            is entered only so long after the end.
        pending_limit: how long PENDING is believed before the call is placed once more.
        results_limit: the same for announced, or expected, results.
        user_timeout: after so long without a word the prompt is taken back; it may be handed out again.
        hint_wait: how long after the Link SDK's callback the results are probed if no webhook came.
        reconnect_grace: how long after a reconnect Lean repeating RECONNECT_REQUIRED for the same id is no news.
        probes: waits between probes; the last is repeated. Eleven in the first day, under Lean's daily limits.
        idle_probes: the same in `reconnect_required` once the user was asked: a reconnect may have gone unannounced.
        max_rounds: how many times the user is asked through one request before it fails as a loop.
        max_hint_errors: how many ERROR callbacks in a round stop further prompts.
        place_siblings: place an entity's other requests again when it is proved live.
        duplicate_wait: the least wait before a call that may have been sent is sent again; Lean answers
            DUPLICATED_REQUEST to a repeat within a minute.
        customer_present: how long after creation a call still carries the customer's address.
        place_wait: how long `request` waits for Lean's first answer.
        jitter: the most that is added to a wake, so that many requests do not call at once.
        lease: how long a call may take before another worker takes it over; longer than the transport's total timeout.
        poll: how often a worker looks for work that nobody told it of.
        calls: how many calls a worker has in flight at most.
        max_body: bytes of the largest webhook accepted.
        commit_timeout: how long a webhook waits for the store before it is answered 503; Lean waits 10 s.
        parked_life: how long an event waits for its request before it is reported as an orphan.
        inbox_life: how long seen events are remembered: as far back as Lean's Events API goes.
        announce_backoff: waits before an announcement is tried again; the last is repeated.
        announce_tries: after so many it is set aside; an outage of a bus, or of Lean, counts as none.
        bus_timeout: how long a bus may take for a batch before that counts as an outage; well under the lease.
        reconcile_every: how often lost webhooks are looked for in Lean's Events API; None: only by hand.
        shutdown_wait: how long leaving `async with` waits for what is in flight.
    """

    reconnect_ttl: timedelta = _wait(30 * _DAY)
    expiry_grace: timedelta = _margin(4 * _HOUR)
    pending_limit: timedelta = _wait(_DAY)
    results_limit: timedelta = _wait(_DAY)
    user_timeout: timedelta = _wait(15 * _MINUTE)
    hint_wait: timedelta = _wait(2 * _MINUTE)
    reconnect_grace: timedelta = _wait(10 * _MINUTE)
    probes: tuple[timedelta, ...] = (
        30 * _SECOND,
        _MINUTE,
        2 * _MINUTE,
        5 * _MINUTE,
        15 * _MINUTE,
        _HOUR,
        2 * _HOUR,
        4 * _HOUR,
        8 * _HOUR,
    )
    idle_probes: tuple[timedelta, ...] = (_HOUR, 6 * _HOUR, _DAY)
    max_rounds: int = 3
    max_hint_errors: int = 5
    place_siblings: bool = True
    duplicate_wait: timedelta = _wait(_MINUTE)
    customer_present: timedelta = _wait(5 * _MINUTE)
    place_wait: timedelta = _margin(5 * _SECOND)
    jitter: timedelta = _margin(10 * _SECOND)
    lease: timedelta = _wait(90 * _SECOND)
    poll: timedelta = _wait(_SECOND)
    calls: int = 64
    max_body: int = 262_144
    commit_timeout: timedelta = _wait(5 * _SECOND)
    parked_life: timedelta = _wait(_DAY)
    inbox_life: timedelta = _wait(90 * _DAY)
    announce_backoff: tuple[timedelta, ...] = (_SECOND, 5 * _SECOND, 30 * _SECOND, 5 * _MINUTE, 30 * _MINUTE)
    announce_tries: int = 20
    bus_timeout: timedelta = _wait(10 * _SECOND)
    reconcile_every: timedelta | None = attrs.field(default=6 * _HOUR)
    shutdown_wait: timedelta = _wait(8 * _SECOND)

    def __attrs_post_init__(self) -> None:
        if self.reconcile_every is not None and _span("reconcile_every", self.reconcile_every) <= timedelta():
            raise InvalidRequest("Policy.reconcile_every", "must be longer than nothing, or None")
        for name in ("probes", "idle_probes", "announce_backoff"):
            waits = getattr(self, name)
            if not isinstance(waits, Sequence) or not all(isinstance(wait, timedelta) for wait in waits):
                raise InvalidRequest(f"Policy.{name}", "must be a tuple of timedeltas")
            if not waits or min(waits) <= timedelta():
                raise InvalidRequest(f"Policy.{name}", "needs at least one wait, each longer than nothing")
        for name in ("max_rounds", "max_hint_errors", "announce_tries", "max_body", "calls"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise InvalidRequest(f"Policy.{name}", f"must be a whole number, at least 1, not {number!r}")
