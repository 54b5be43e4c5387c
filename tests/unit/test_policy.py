"""The policy's defaults and what it refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from leanflow._policy import Policy
from leanflow.errors import InvalidRequest

NOTHING = timedelta()


def test_the_defaults_that_the_documentation_names() -> None:
    """What people read and rely on; a change here is a change of behaviour."""
    policy = Policy()
    assert policy.reconnect_ttl == timedelta(days=30)
    assert policy.expiry_grace == timedelta(hours=4)
    assert policy.pending_limit == policy.results_limit == timedelta(hours=24)
    assert policy.user_timeout == timedelta(minutes=15)
    assert policy.hint_wait == timedelta(minutes=2)
    assert policy.reconnect_grace == timedelta(minutes=10)
    assert policy.duplicate_wait == timedelta(minutes=1)
    assert policy.place_wait == timedelta(seconds=5)
    assert policy.lease == timedelta(seconds=90)
    assert policy.inbox_life == timedelta(days=90)
    assert policy.parked_life == timedelta(hours=24)
    assert (policy.max_rounds, policy.max_hint_errors, policy.place_siblings) == (3, 5, True)


@pytest.mark.parametrize("name", ["probes", "idle_probes", "announce_backoff"])
@pytest.mark.parametrize("waits", [(), (timedelta(seconds=1), NOTHING), (timedelta(seconds=-1),)])
def test_a_list_of_waits_needs_waits(name: str, waits: tuple[timedelta, ...]) -> None:
    """None at all, or one of nothing, would spin."""
    with pytest.raises(InvalidRequest) as caught:
        Policy(**{name: waits})  # type: ignore[arg-type]  # of those that are such
    assert caught.value.parameter == f"Policy.{name}"


@pytest.mark.parametrize("name", ["max_rounds", "max_hint_errors", "announce_tries", "max_body"])
def test_a_count_is_at_least_one(name: str) -> None:
    """None at all would be never."""
    kwargs: dict[str, Any] = {name: 0}
    with pytest.raises(InvalidRequest) as caught:
        Policy(**kwargs)
    assert caught.value.parameter == f"Policy.{name}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("poll", 1),
        ("expiry_grace", 4.0),
        ("lease", None),
        ("reconcile_every", 3600),
        ("probes", (1, 2)),
        ("idle_probes", timedelta(hours=1)),
        ("announce_backoff", None),
        ("calls", "64"),
        ("max_rounds", True),
        ("max_body", 1e6),
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, value: Any) -> None:
    """Seconds could be meant, or hours; the error names the field and says what it must be."""
    with pytest.raises(InvalidRequest, match=r"must be a (timedelta|tuple of timedeltas|whole number)") as caught:
        Policy(**{name: value})
    assert caught.value.parameter == f"Policy.{name}"


POSITIVE = (
    "reconnect_ttl",
    "pending_limit",
    "results_limit",
    "user_timeout",
    "hint_wait",
    "reconnect_grace",
    "duplicate_wait",
    "customer_present",
    "lease",
    "poll",
    "commit_timeout",
    "bus_timeout",
    "parked_life",
    "inbox_life",
    "shutdown_wait",
    "reconcile_every",
)
NOT_NEGATIVE = ("expiry_grace", "place_wait", "jitter")


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("wait", [NOTHING, timedelta(seconds=-1)])
def test_a_wait_is_longer_than_nothing(name: str, wait: timedelta) -> None:
    """A wait of nothing would be over before it began."""
    kwargs: dict[str, Any] = {name: wait}
    with pytest.raises(InvalidRequest) as caught:
        Policy(**kwargs)
    assert caught.value.parameter == f"Policy.{name}"


@pytest.mark.parametrize("name", NOT_NEGATIVE)
def test_a_margin_may_be_nothing_and_not_less(name: str) -> None:
    """No grace, no waiting, no jitter: allowed. Less would be before the time."""
    kwargs: dict[str, Any] = {name: NOTHING}
    assert getattr(Policy(**kwargs), name) == NOTHING
    kwargs = {name: timedelta(microseconds=-1)}
    with pytest.raises(InvalidRequest) as caught:
        Policy(**kwargs)
    assert caught.value.parameter == f"Policy.{name}"


def test_every_wait_is_checked() -> None:
    """No field that is a time is left unchecked."""
    times = {f.name for f in attrs.fields(Policy) if isinstance(f.default, timedelta)}
    assert times == {*POSITIVE, *NOT_NEGATIVE}


def test_reconciling_may_be_by_hand_only() -> None:
    """None is no schedule."""
    assert Policy(reconcile_every=None).reconcile_every is None
