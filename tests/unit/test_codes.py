"""What each of Lean's codes asks for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from leanflow import _codes
from leanflow._codes import CONSENT_CODES, HELD_CODES, NOT_READY_CODES, verdict_of
from leanflow._request import Remedy
from leanflow.testing import examples as ex
from leanflow.testing.examples import example_request

NEW = example_request()

RETRIED = {
    # code: seconds before each retry (Lean's words or, where it gives no number, a recommendation), then the remedy
    "BANK_ISSUE": ((900, 3600, 10_800, 21_600, 43_200), Remedy.renew),
    "BANK_MAINTENANCE": ((900, 3600, 10_800, 21_600, 43_200), Remedy.renew),
    "UNSEEN_BANK_ERROR": ((60, 300, 900, 3600), Remedy.renew),
    "LEAN_ERROR": ((60, 300, 900, 3600), Remedy.renew),
    "LOGGED_IN_ELSEWHERE": ((300, 900, 3600, 10_800), Remedy.user),
    "ACTIVE_SESSION_EXISTS": ((300, 900, 3600, 10_800), Remedy.user),
    "DUPLICATED_REQUEST": ((60, 60, 120, 300, 900, 1800, 3600), Remedy.renew),
    "DISABLED_BY_LEAN": ((21_600, 43_200, 86_400, 86_400), Remedy.renew),
    "TIMEOUT": ((5, 15, 60, 300, 900), Remedy.renew),
    "RATE_LIMIT_EXCEEDED": ((30, 60, 300, 900, 3600, 21_600), Remedy.renew),
    "INTERNAL_SERVER_ERROR": ((5, 30, 120, 600, 3600), Remedy.renew),
    "NOT_JSON": ((5, 30, 120, 600, 3600), Remedy.renew),
    "SOMETHING_NEW": ((60, 900, 3600), Remedy.operator),
}
FINAL = {
    "CONSENT_EXPIRED": Remedy.connect,
    "USER_PERMISSIONS_NOT_GRANTED": Remedy.connect,
    "USER_TRANSACTION_RANGE_NOT_GRANTED": Remedy.connect,
    "EU_ACCOUNT_LOCKED": Remedy.user,
    "EU_FUNCTIONALITY_RESTRICTED": Remedy.user,
    "DISABLED_BY_CLIENT": Remedy.operator,
    "KNOWN_UNSUPPORTED_MFA_BEHAVIOUR": Remedy.operator,
    "KNOWN_TRAFFIC_OUTSIDE_ALLOWED_REGION": Remedy.operator,
    "CERTIFICATE_TOKEN_MISMATCH": Remedy.operator,
    "INCORRECT_ACCESS_LEVEL": Remedy.operator,
    "INSUFFICIENT_ACCESS_LEVEL": Remedy.operator,
    "INVALID_CERTIFICATE": Remedy.operator,
    "DATA_NOT_FOUND": Remedy.none,
    "TOO_MANY_PAGES": Remedy.none,
}


@pytest.mark.parametrize("code", RETRIED)
def test_a_code_that_may_pass_is_retried_on_its_schedule(code: str) -> None:
    """So many times, after such waits; when they are spent, this is what would help."""
    seconds, remedy = RETRIED[code]
    verdict = verdict_of(ex.a_refusal(NEW, code))
    assert verdict.waits == tuple(timedelta(seconds=s) for s in seconds)
    assert verdict.remedy is remedy
    assert not verdict.is_final


@pytest.mark.parametrize("code", FINAL)
@pytest.mark.parametrize("http_status", [200, 403, 500])
def test_a_final_code_is_final_under_any_http_status(code: str, http_status: int) -> None:
    """The code decides, not the HTTP status that it came under."""
    verdict = verdict_of(ex.a_refusal(NEW, code, http_status))
    assert verdict.is_final
    assert verdict.remedy is FINAL[code]


def test_every_known_code_is_pinned() -> None:
    """A code that is added or taken away is added or taken away here."""
    assert set(_codes._BY_CODE) == (set(RETRIED) | set(FINAL)) - {"SOMETHING_NEW"}


@pytest.mark.parametrize(
    ("http_status", "waits", "remedy"),
    [
        (200, 3, Remedy.operator),
        (302, 3, Remedy.operator),
        (400, 0, Remedy.none),
        (401, 0, Remedy.operator),
        (403, 0, Remedy.none),
        (404, 0, Remedy.none),
        (405, 0, Remedy.none),
        (408, 5, Remedy.renew),
        (422, 0, Remedy.none),
        (429, 6, Remedy.renew),
        (500, 5, Remedy.renew),
        (502, 5, Remedy.renew),
        (503, 5, Remedy.renew),
        (599, 5, Remedy.renew),
    ],
)
def test_an_unknown_code_is_judged_by_its_http_status(http_status: int, waits: int, remedy: Remedy) -> None:
    """4xx is final save 408 and 429, 5xx is retried, and what Lean's envelope says gets a small budget."""
    verdict = verdict_of(ex.a_refusal(NEW, "SOMETHING_NEW", http_status))
    assert len(verdict.waits) == waits
    assert verdict.remedy is remedy


def test_the_codes_with_a_meaning_of_their_own() -> None:
    """Held until an event; ambiguous 404; another SDK call."""
    assert {"DISABLED_BY_LEAN"} == HELD_CODES
    assert {"UNKNOWN_RESULTS_ID"} == NOT_READY_CODES
    assert {"CONSENT_EXPIRED"} == CONSENT_CODES


def test_a_duplicate_never_waits_less_than_a_minute() -> None:
    """Lean says: retry after one minute."""
    assert min(verdict_of(ex.a_refusal(NEW, "DUPLICATED_REQUEST", 429)).waits) >= timedelta(minutes=1)
