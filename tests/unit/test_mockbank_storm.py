"""The storm: everything that can go wrong, at random, from one seed."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from leanflow.errors import InvalidRequest
from leanflow.mockbank import EFFECTS, GUSTS, Context, Disturbance, Exchange, Fault, Storm
from leanflow.mockbank.basics._dice import Dice
from leanflow.mockbank.basics._lines import parse_inline
from tests.support.bank import BankClient

Transcript = list[Any]


def told(exchange: Exchange) -> Any:
    """Return what became of a call, in a form that can be compared."""
    answer = exchange.answer
    return (answer and (answer.status, answer.body), exchange.delay, exchange.cut_after)


def live(lean: BankClient, calls: int = 300) -> Transcript:
    """Play a client that asks, sees its users through and takes its webhooks; return all that it saw."""
    seen: Transcript = []
    entity = ""
    for number in range(calls):
        if number % 25 == 0:
            entity = lean.bank.connect(f"user-{number}", now=lean.now)
        seen.append(told(lean.exchange("GET", "/data/v2/accounts", entity_id=entity)))
        for waiting in lean.bank.pending_reconnects(entity)[:1]:
            lean.bank.submit_otp(waiting, "1111", lean.now)
            seen.append(told(lean.exchange("GET", f"/data/v2/results/{waiting}")))
        for early in (True, False):
            for delivery in lean.bank.deliveries_due(lean.now, early=early):
                seen.append((delivery.headers.get("lean-signature"), delivery.body))
                lean.bank.delivered(delivery.id, 200, lean.now)
        lean.later(seconds=20)
    return seen


def test_the_same_seed_brings_the_same_storm() -> None:
    """Two banks under one seed tell the same, byte for byte; another seed tells something else."""
    transcripts = []
    for seed in (1, 1, 2):
        lean = BankClient()
        lean.bank.storm(seed)
        transcripts.append(live(lean))
    assert transcripts[0] == transcripts[1] != transcripts[2]


def test_a_storm_can_be_replayed_from_what_it_printed() -> None:
    """Its lines, armed one by one on a fresh bank, do what the storm did."""
    stormy, calm = BankClient(), BankClient()
    storm = stormy.bank.storm(5, weight=2)
    seen = live(stormy)
    assert storm.count == len(storm.lines()) > 100
    for line in storm.lines():
        one = parse_inline(line)
        if "effect" in one:
            calm.bank.fault(Fault.of(one))
        else:
            calm.bank.disturb(Disturbance.of(one))
    assert live(calm) == seen


def test_a_storm_strikes_as_often_as_it_says() -> None:
    """Over many calls and webhooks each gust is rolled within a third of its stated probability."""
    storm, seen, tried = Storm(3), Counter[str](), 20_000
    for number in range(1, tried + 1):
        for fault in storm.faults(Context(kind="results", method="GET", path="/"), number):
            seen[fault.effect] += 1
        for disturbance in storm.disturbances("entity.reconnected", number):
            seen.update(disturbance.told().keys() - {"nth", "times", "besides"})
    for name in ("copies", "delay", "drop", "reverse", "early", "forgeries", "unsigned", "html", "truncated"):
        assert seen[name] / tried * 100 == pytest.approx(GUSTS[name].percent, rel=0.33), name


def test_answers_that_name_new_ids_arrive() -> None:
    """Under whatever weight: what would spoil them never comes with them."""
    storm, seen = Storm(1, weight=9), 0
    for number in range(1, 5_000):
        faults = storm.faults(Context(kind="results", method="GET", path="/"), number)
        if any(one.details.get("new_ids") for one in faults):
            seen += 1
            assert faults[-1].details.get("new_ids")
    assert seen > 100


def test_calls_and_webhooks_have_dice_of_their_own() -> None:
    """Each seed rolls its own for both; the kind of one call changes nothing for the next."""
    context = Context(kind="data", method="GET", path="/")
    for roll in (lambda seed: Storm(seed).faults(context, 7), lambda seed: Storm(seed).disturbances("x", 7)):
        assert len({str([str(one) for one in roll(seed)]) for seed in range(100)}) > 10


def test_a_storm_leaves_nothing_armed_behind() -> None:
    """What it meant for one call and did not strike is gone with the next one."""
    lean = BankClient()
    lean.bank.storm(1, weight=9)
    live(lean, 100)
    assert len(lean.bank.armed()) <= 4


def test_the_storm_uses_every_effect() -> None:
    """There is no effect of faults that no gust makes."""
    made: set[str] = set()
    for gust in GUSTS.values():
        lines = [gust.make(Dice(number)) for number in range(3)]
        made |= {line["effect"] for line in lines if "effect" in line}
    assert made == EFFECTS.keys()


def test_after_the_calm_everything_can_be_finished() -> None:
    """Nothing stays PENDING, every call succeeds, and the Events API has every event that was ever emitted."""
    for seed in range(20):
        lean = BankClient()
        entity = lean.bank.connect()
        lean.bank.storm(seed, weight=3)
        live(lean, 60)
        ids = [one["results_id"] for one in lean.bank.state()["results"]]
        lean.bank.calm()
        assert lean.bank.armed() == {}
        lean.later(hours=6)
        for results_id in ids:
            said = lean.ask("GET", f"/data/v2/results/{results_id}")[1]["status"]
            assert said in ("OK", "RECONNECT_REQUIRED"), seed
        for waiting in lean.bank.pending_reconnects():
            assert lean.bank.submit_otp(waiting, "1111", lean.now).status == "SUCCESS"
            assert lean.ask("GET", f"/data/v2/results/{waiting}")[1]["status"] == "OK"
        assert lean.accounts(entity)["status"] == "OK"


def test_what_a_storm_takes_from_the_webhooks_the_events_api_has() -> None:
    """Every reconnect that the user made is told there, with its true id, under its true type."""
    lean = BankClient()
    entity = lean.bank.connect()
    lean.bank.storm(11, weight=5, without=[name for name, gust in GUSTS.items() if "effect" in gust.make(Dice(1))])
    reconnected = []
    for _ in range(50):
        lean.bank.expire_session(entity)
        asked = lean.accounts(entity)["results_id"]
        lean.bank.submit_otp(asked, "1111", lean.now)
        reconnected.append(asked)
        lean.later(minutes=1)
    lean.bank.calm()
    lean.later(hours=5)
    told_ids = {
        one["payload"]["reconnect_id"]
        for page in range(10)
        for one in lean.ask("GET", "/events/v1", page=str(page), size="100", type="entity.reconnected")[1]["data"]
    }
    assert set(reconnected) <= told_ids
    assert len(told_ids) > len(reconnected), "some wrong ids came besides the true ones"


def test_a_storm_can_be_narrowed() -> None:
    """`only` and `without` choose the gusts, `weight` how often; unknown names and weights are refused."""
    lean = BankClient()
    storm = lean.bank.storm(1, weight=50, only=["extra"])
    live(lean, 50)
    assert {line.get("effect") for line in map(parse_inline, storm.lines())} == {"extra"}
    lean = BankClient()
    storm = lean.bank.storm(1, weight=0)
    live(lean, 50)
    assert storm.count == 0
    assert lean.accounts(lean.bank.connect())["status"] == "OK"
    for wrong in ({"only": ["hail"]}, {"without": ["hail"]}, {"weight": -1}, {"weight": float("nan")}):
        with pytest.raises(InvalidRequest):
            lean.bank.storm(1, **wrong)


def test_a_calm_ends_the_storm() -> None:
    """Afterwards nothing strikes."""
    lean = BankClient()
    storm = lean.bank.storm(1, weight=20)
    entity = lean.bank.connect()
    live(lean, 30)
    lean.bank.calm()
    struck = storm.count
    assert all(lean.accounts(entity)["status"] == "OK" for _ in range(50))
    assert storm.count == struck > 0
    assert json.dumps(lean.bank.state(lean.now + timedelta()))
