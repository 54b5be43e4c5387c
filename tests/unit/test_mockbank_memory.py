"""What Mockbank forgets, and what it keeps: it may run for months."""

from __future__ import annotations

import pytest

from leanflow.errors import InvalidRequest
from tests.support.bank import BankClient


def test_results_that_are_over_are_forgotten_before_those_that_wait() -> None:
    """Beyond `remembers` the fetched results go first: a reconnect that waits for its user is still known."""
    lean = BankClient(remembers=10, deauthenticates="none")
    entity = lean.bank.connect()
    lean.bank.expire_session(entity)
    waits = lean.accounts(entity)["results_id"]
    other = lean.bank.connect("other")
    over = lean.accounts(other, **{"async": "true"})["results_id"]
    lean.later(minutes=1)
    assert lean.ask("GET", f"/data/v2/results/{over}")[0] == 200
    for _ in range(30):
        lean.accounts(other, **{"async": "true"})
        lean.later(minutes=1)
    assert lean.ask("GET", f"/data/v2/results/{over}")[0] == 404
    assert lean.ask("GET", f"/data/v2/results/{waits}")[1]["status"] == "RECONNECT_REQUIRED"
    assert len(lean.bank.state(lean.now)["results"]) <= 10


def test_entities_that_are_in_use_are_remembered() -> None:
    """Beyond `remembers` the entities and customers go that were not used for longest."""
    lean = BankClient(remembers=10, deauthenticates="none")
    entity, idle = lean.bank.connect("busy"), lean.bank.connect("idle")
    for number in range(40):
        lean.later(minutes=1)
        lean.bank.connect(f"user-{number}", now=lean.now)
        assert lean.accounts(entity)["status"] == "OK"
    assert lean.accounts(idle)["status"] == "UNKNOWN_ENTITY"
    has = lean.bank.state(lean.now)
    assert len(has["entities"]) <= 10
    assert len(has["customers"]) <= 10
    assert lean.bank.customer_of(entity) in {one["customer_id"] for one in has["customers"]}


def test_webhooks_that_nobody_collects_are_forgotten() -> None:
    """Beyond `remembers` the oldest deliveries and events go, and what was kept is still sent in order."""
    lean = BankClient(remembers=10)
    events = [lean.bank.emit("results.ready", {"id": str(number)}) for number in range(100)]
    assert lean.bank.state()["deliveries_waiting"] <= 10
    sent = [one["event_id"] for one in lean.webhooks()]
    assert sent == events[-len(sent) :]
    assert sent


def test_calls_are_counted_for_the_entities_called_last() -> None:
    """Beyond `log_size` entities the counts of those go that were not called for longest; totals stay."""
    lean = BankClient(log_size=10, deauthenticates="none")
    busy, idle = lean.bank.connect("busy"), lean.bank.connect("idle")
    lean.accounts(idle)
    newest = ""
    for number in range(40):
        lean.accounts(busy)
        newest = lean.bank.connect(f"user-{number}")
        lean.accounts(newest)
    assert lean.bank.log.count("data", entity_id=busy) == 40
    assert lean.bank.log.count("data", entity_id=newest) == 1
    assert lean.bank.log.count("data", entity_id=idle) == 0
    assert lean.bank.log.count("data") == 81


def test_a_bank_remembers_at_least_one_of_each() -> None:
    """A bound of nothing is refused."""
    with pytest.raises(InvalidRequest, match="remembers: is 0"):
        BankClient(remembers=0)
