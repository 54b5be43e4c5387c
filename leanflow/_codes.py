"""What Lean's status and granular codes ask for (Lean docs, Data API: statuses; General errors).

A code is final, to be retried on a schedule of its own, or says that results are not there yet. A code that is in no
table is never taken for success: by HTTP status it is final or retried, and in Lean's own envelope it is retried on a
small budget and then fails with the code kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

import attrs

from leanflow._request import Remedy
from leanflow.events import AnsweredRefused

__all__ = ["CONSENT_CODES", "HELD_CODES", "NOT_READY_CODES", "NO_ANSWER", "Verdict", "verdict_of"]


@attrs.frozen(kw_only=True)
class Verdict:
    """What a code asks for.

    Attributes:
        waits: before each retry; empty: final.
        remedy: what would help once it has failed.
    """

    waits: tuple[timedelta, ...] = ()
    remedy: Remedy = Remedy.none

    @property
    def is_final(self) -> bool:
        """Whether no retry helps."""
        return not self.waits


def _after(*seconds: int) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=s) for s in seconds)


_M, _H = 60, 3600
_BANK = Verdict(waits=_after(15 * _M, _H, 3 * _H, 6 * _H, 12 * _H), remedy=Remedy.renew)  # "within a few hours"
_LEAN = Verdict(waits=_after(_M, 5 * _M, 15 * _M, _H), remedy=Remedy.renew)
_ELSEWHERE = Verdict(waits=_after(5 * _M, 15 * _M, _H, 3 * _H), remedy=Remedy.user)
_DUPLICATE = Verdict(waits=_after(_M, _M, 2 * _M, 5 * _M, 15 * _M, 30 * _M, _H), remedy=Remedy.renew)
_SERVER = Verdict(waits=_after(5, 30, 2 * _M, 10 * _M, _H), remedy=Remedy.renew)
_SLOW = Verdict(waits=_after(5, 15, _M, 5 * _M, 15 * _M), remedy=Remedy.renew)
_RATE = Verdict(waits=_after(30, _M, 5 * _M, 15 * _M, _H, 6 * _H), remedy=Remedy.renew)
_UNKNOWN = Verdict(waits=_after(_M, 15 * _M, _H), remedy=Remedy.operator)
# An event lifts the hold; the schedule is there because the event may be lost.
_HELD = Verdict(waits=_after(6 * _H, 12 * _H, 24 * _H, 24 * _H), remedy=Remedy.renew)
_CONSENT = Verdict(remedy=Remedy.connect)
_USER = Verdict(remedy=Remedy.user)
_OPERATOR = Verdict(remedy=Remedy.operator)
_FINAL = Verdict()

NO_ANSWER = _SLOW
"""For calls that brought no answer at all."""

HELD_CODES = frozenset({"DISABLED_BY_LEAN"})
NOT_READY_CODES = frozenset({"UNKNOWN_RESULTS_ID"})  # "not recognized by Lean or not processed yet": ambiguous
CONSENT_CODES = frozenset({"CONSENT_EXPIRED"})

_BY_CODE: Mapping[str, Verdict] = MappingProxyType(
    {
        "BANK_ISSUE": _BANK,
        "BANK_MAINTENANCE": _BANK,
        "UNSEEN_BANK_ERROR": _LEAN,
        "LEAN_ERROR": _LEAN,
        "LOGGED_IN_ELSEWHERE": _ELSEWHERE,
        "ACTIVE_SESSION_EXISTS": _ELSEWHERE,
        "DUPLICATED_REQUEST": _DUPLICATE,
        "DISABLED_BY_LEAN": _HELD,
        "DISABLED_BY_CLIENT": _OPERATOR,
        "EU_ACCOUNT_LOCKED": _USER,
        "EU_FUNCTIONALITY_RESTRICTED": _USER,
        "KNOWN_UNSUPPORTED_MFA_BEHAVIOUR": _OPERATOR,
        "KNOWN_TRAFFIC_OUTSIDE_ALLOWED_REGION": _OPERATOR,
        "USER_PERMISSIONS_NOT_GRANTED": _CONSENT,
        "USER_TRANSACTION_RANGE_NOT_GRANTED": _CONSENT,
        "CONSENT_EXPIRED": _CONSENT,
        "TIMEOUT": _SLOW,
        "DATA_NOT_FOUND": _FINAL,
        "TOO_MANY_PAGES": _FINAL,  # leanflow's own: asking again brings as many
        "RATE_LIMIT_EXCEEDED": _RATE,
        "INTERNAL_SERVER_ERROR": _SERVER,
        "NOT_JSON": _SERVER,
        "CERTIFICATE_TOKEN_MISMATCH": _OPERATOR,
        "INCORRECT_ACCESS_LEVEL": _OPERATOR,
        "INSUFFICIENT_ACCESS_LEVEL": _OPERATOR,
        "INVALID_CERTIFICATE": _OPERATOR,
    }
)
_BY_STATUS: Mapping[int, Verdict] = MappingProxyType({401: _OPERATOR, 408: _SLOW, 429: _RATE})


def verdict_of(event: AnsweredRefused) -> Verdict:
    """Return what a refusal asks for: by its code if that is known, else by its HTTP status."""
    known = _BY_CODE.get(event.code)
    if known is not None:
        return known
    if event.http_status in _BY_STATUS:
        return _BY_STATUS[event.http_status]
    if 400 <= event.http_status < 500:  # Lean docs, General errors: these do not get better by repeating
        return _FINAL
    if event.http_status >= 500:
        return _SERVER
    return _UNKNOWN
