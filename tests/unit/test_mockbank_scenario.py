"""Scenarios: one text for settings, users, what goes wrong and what happens when."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from leanflow.errors import InvalidRequest
from leanflow.mockbank import COMMANDS, TIMED, Fault, Mockbank, Pace, Progress, Scenario
from tests.support.bank import BankClient

WHOLE = """
webhook_url = "http://127.0.0.1:9/hooks"
subscribe = ["entity.created", "entity.reconnected"]
storm = { seed = 3, weight = 0 }
faults = [
  { effect = "failed", code = "BANK_ISSUE", entity_id = "anna", times = 2 },
]
disturbances = [
  { types = ["entity.reconnected"], copies = 1, times = "always" },
]
paces = [
  { model = "results", progress = { polls = 1 }, resource = "accounts", entity_id = "bob" },
]

[settings]
seed = 7
otp = "2222"
reconnect_ttl = "7d"
idle = 300
refresh_daily_limit = "none"
refreshes_progress = "held"
users = [ { username = "customer", login = "otp_required" } ]

[[connect]]
app_user_id = "anna"
username = "customer"

[[connect]]
app_user_id = "user-2"
name = "bob"
username = "customer"
permissions = ["accounts"]

[[timed]]
at = "00:05:00"
do = "expire_session"
entity_id = "bob"
"""


class Playing(BankClient):
    """A client of a bank on which a scenario has begun."""

    def __init__(self, scenario: str | dict[str, Any]) -> None:
        self.bank = Mockbank.from_scenario(scenario)
        self.now = self.bank.now
        self.entities = [one["entity_id"] for one in self.bank.state()["entities"]]


def test_a_scenario_sets_connects_arms_and_times() -> None:
    """Every part of the text is there afterwards."""
    lean = Playing(WHOLE)
    bank, (anna, bob) = lean.bank, lean.entities
    settings = bank.settings
    assert (settings.seed, settings.otp, settings.refresh_daily_limit) == (7, "2222", None)
    assert (settings.reconnect_ttl, settings.idle) == (timedelta(days=7), timedelta(minutes=5))
    assert settings.refreshes_progress == Progress.held()
    assert [user.username for user in settings.users] == ["customer"]
    assert bank.webhook_url == "http://127.0.0.1:9/hooks"
    assert bank.weather is not None
    assert [type(one) for one in bank.armed().values()][::2] == [Fault, Pace]
    assert [lean.accounts(anna)["status"] for _ in range(3)] == ["FAILED", "FAILED", "OK"]
    assert lean.accounts(bob, **{"async": "true"})["status"] == "PENDING"
    assert lean.ask("GET", "/data/v2/identity", entity_id=bob)[0] == 403
    lean.later(minutes=4, seconds=59)
    assert bank.session_live(bob, lean.now)
    lean.later(seconds=1)
    assert not bank.session_live(bob, lean.now)


def test_a_scenario_can_be_json_or_a_table() -> None:
    """The same in TOML, in JSON and in Python's own values."""
    table = {"settings": {"seed": 7}, "connect": [{"app_user_id": "anna"}], "faults": [{"effect": "failed"}]}
    banks = [Mockbank.from_scenario(one) for one in (json.dumps(table), table, Scenario.of(table))]
    assert len({json.dumps(bank.state()) for bank in banks}) == 1
    assert Mockbank.from_scenario(table, seed=8).settings.seed == 8


def test_every_timed_command_can_be_timed() -> None:
    """Each does what it does, at its time, and none is refused."""
    plausible: dict[str, dict[str, Any]] = {
        "disturb": {"drop": True},
        "emit": {"type": "moon.risen"},
        "expire_session": {"entity_id": "anna"},
        "fault": {"effect": "http", "status": 503},
        "pace": {"model": "results", "progress": "held"},
        "redirect_bank": {"bank": "MOCK_UAE"},
        "renew_consent": {"entity_id": "anna"},
        "revoke_consent": {"entity_id": "anna"},
        "storm": {"seed": 1},
        "switch_bank": {"bank": "LEANMB1", "active_data": False},
        "webhook_url": {"url": "http://127.0.0.1:9/"},
    }
    assert plausible.keys() < set(TIMED) < COMMANDS.keys()
    timed = [{"at": number, "do": name, **plausible.get(name, {})} for number, name in enumerate(TIMED)]
    lean = Playing({"connect": [{"app_user_id": "anna"}], "timed": timed})
    lean.bank.pass_time(lean.now + timedelta(seconds=len(TIMED)))
    assert lean.bank.webhook_url == "http://127.0.0.1:9/"
    assert lean.bank.weather is not None


def test_timed_things_happen_in_the_order_of_their_times() -> None:
    """Whatever their order in the file, and each at its own time."""
    later, sooner = {"at": 20, "do": "calm"}, {"at": 10, "do": "fault", "effect": "failed", "times": "always"}
    lean = Playing({"connect": [{"app_user_id": "anna"}], "timed": [later, sooner]})
    seen = []
    for _ in range(3):
        seen.append(lean.accounts(lean.entities[0])["status"])
        lean.later(seconds=10)
    assert seen == ["OK", "FAILED", "OK"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("a =", ""),
        ("{", ""),
        ("[]", "a"),
        ("weather = 1", "weather"),
        ("faults = 3", "faults"),
        ("faults = [3]", "faults[0]"),
        ('faults = [{effect = "failed"}, {effect = "bang"}]', "faults[1].effect"),
        ('faults = [{effect = "failed", code = 3}]', "faults[0].code"),
        ('faults = [{effect = "failed", on = "banks"}]', "faults[0].on"),
        ('faults = [{effect = "failed", colour = "red"}]', "faults[0].colour"),
        ('faults = [{effect = "failed", entity_id = "bob"}]', "faults[0].entity_id"),
        ('disturbances = [{drop = "yes"}]', "disturbances[0].drop"),
        ('paces = [{model = "results", progress = "soon"}]', "paces[0].progress"),
        ('paces = [{progress = "held"}]', "paces[0].model"),
        ("settings = 3", "settings"),
        ('[settings]\nregion = "mars"', "settings.region"),
        ('[settings]\nidle = "soon"', "settings.idle"),
        ('[settings]\nseed = "x"', "settings.seed"),
        ("[settings]\nusers = [3]", "settings.users"),
        ('[settings]\nusers = [{username = "a", login = "maybe"}]', "settings.login"),
        ("[settings]\nresults_progress = 3", "settings.results_progress"),
        ("[settings]\nrefresh_on_connect = 3", "settings.refresh_on_connect"),
        ('timed = [{at = "x", do = "calm"}]', "timed[0].at"),
        ('timed = [{at = -1, do = "calm"}]', "timed[0].at"),
        ('timed = [{do = "calm"}]', "timed[0].at"),
        ("timed = [{at = 3}]", "timed[0].do"),
        ('timed = [{at = 3, do = "release"}]', "timed[0].do"),
        ('timed = [{at = 3, do = "calm", loudly = true}]', "timed[0].loudly"),
        ('timed = [{at = 3, do = "expire_session"}]', "timed[0].entity_id"),
        ('timed = [{at = 3, do = "switch_bank", bank = "NO_BANK"}]', "timed[0].bank"),
        ('connect = [{username = "mockbank_user_1"}]', "connect[0].app_user_id"),
        ('connect = [{app_user_id = "u"}, {app_user_id = "u"}]', "connect[1].app_user_id"),
        ('connect = [{app_user_id = "u", username = "nobody"}]', "connect[0].username"),
        ('connect = [{app_user_id = "u", permissions = [3]}]', "connect[0].permissions"),
        ("storm = {seed = 1, only = 3}", "storm.only"),
        ('storm = {seed = 1, only = ["hail"]}', "storm.only"),
        ("subscribe = 3", "subscribe.types"),
        ("webhook_url = 3", "webhook_url.url"),
        ('webhook_url = "localhost:3"', "webhook_url.url"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_name_and_key(text: str, key: str) -> None:
    """When it is read, and never as another error than InvalidRequest."""
    with pytest.raises(InvalidRequest) as caught:
        Scenario.parse(text, "failures.toml")
    assert caught.value.parameter == (f"failures.toml: {key}" if key and text != "[]" else "failures.toml")


def test_a_timed_thing_that_would_fail_later_is_refused_at_once() -> None:
    """The scenario is tried to its end before anything begins."""
    with pytest.raises(InvalidRequest) as caught:
        Scenario.parse('timed = [{ at = "900d", do = "connect", username = "nobody" }]', "late.toml")
    assert caught.value.parameter == "late.toml: timed[0].username"
