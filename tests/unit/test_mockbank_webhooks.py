"""Webhooks: signed, sent on Lean's schedule, disturbed on demand, remembered for the Events API."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from leanflow._lean.signature import verify
from leanflow._lean.webhooks import parse_webhook
from leanflow.errors import InvalidRequest
from leanflow.events import (
    BankAvailability,
    EntityReconnected,
    EntityUpdated,
    RefreshUpdated,
    ResultsReady,
    WebhookEvent,
)
from leanflow.mockbank import Delivery, Disturbance, Scenario, control
from tests.support.bank import BankClient


@pytest.fixture
def lean() -> BankClient:
    """A client of a fresh Mockbank."""
    return BankClient()


def reconnect(lean: BankClient) -> tuple[str, str]:
    """Let a fresh entity be reconnected; return entity and reconnect id. Two webhooks wait afterwards."""
    entity = lean.bank.connect()
    lean.webhooks()
    lean.bank.expire_session(entity)
    asked = lean.accounts(entity)["results_id"]
    return entity, str(asked)


def due(lean: BankClient, status: int | None = 200, *, early: bool = False) -> list[Delivery]:
    """Take what is due, answering with a status."""
    taken = lean.bank.deliveries_due(lean.now, early=early)
    for delivery in taken:
        lean.bank.delivered(delivery.id, status, lean.now)
    return taken


def signed(lean: BankClient, delivery: Delivery) -> bool:
    """Return whether the signature is good."""
    return verify(delivery.body, delivery.headers.get("lean-signature"), lean.bank.webhook_secret)


def events(lean: BankClient, **query: str) -> Any:
    """GET the Events API."""
    return lean.ask("GET", "/events/v1", **{"page": "0", "size": "100", **query})[1]


def test_webhooks_are_signed_and_have_the_published_envelope(lean: BankClient) -> None:
    """type, payload, message, timestamp, event_id; HMAC-SHA512 of the raw body under the webhook secret."""
    entity = lean.bank.connect("user-9")
    [delivery] = due(lean)
    assert signed(lean, delivery)
    assert not verify(delivery.body + b" ", delivery.headers["lean-signature"], lean.bank.webhook_secret)
    body = json.loads(delivery.body)
    assert set(body) == {"type", "payload", "message", "timestamp", "event_id"}
    payload = body["payload"]
    assert (body["type"], payload["id"], payload["app_user_id"]) == ("entity.created", entity, "user-9")
    assert isinstance(payload["permissions"], list)
    assert {"identifier", "name", "logo", "main_color", "background_color"} <= set(payload["bank_details"])


@pytest.mark.parametrize("answer", [None, 500, 401, 201, 204, 302])
def test_only_exactly_200_is_success(lean: BankClient, answer: int | None) -> None:
    """Anything else is sent again 1, 2, 5, 10, 60, 180 minutes after the first attempt, the same bytes, then never."""
    lean.bank.connect()
    began = lean.now
    first = due(lean, answer)
    sent = list(first)
    after = []
    while (moment := lean.bank.next_due()) is not None:
        lean.now = moment
        after.append((moment - began) / timedelta(minutes=1))
        sent += due(lean, answer)
    assert after == [1, 2, 5, 10, 60, 180]
    assert [one.attempt for one in sent] == [1, 2, 3, 4, 5, 6, 7]
    assert len({(one.id, one.body, one.headers["lean-signature"]) for one in sent}) == 1


def test_a_success_ends_the_retries(lean: BankClient) -> None:
    """After a 200 nothing more is sent."""
    lean.bank.connect()
    due(lean, 503)
    lean.later(minutes=1)
    due(lean, 200)
    lean.later(days=1)
    assert due(lean) == []
    assert lean.bank.next_due() is None
    assert lean.bank.log.delivered("entity.created") == 2
    assert lean.bank.log.delivered(status=503) == 1


def test_a_delivery_is_offered_once_until_it_is_answered(lean: BankClient) -> None:
    """Two senders never hold one delivery."""
    lean.bank.connect()
    [delivery] = lean.bank.deliveries_due(lean.now)
    assert lean.bank.deliveries_due(lean.now) == []
    lean.bank.delivered(delivery.id, None, lean.now)
    lean.bank.delivered("unknown", 200, lean.now)
    lean.later(minutes=1)
    assert len(lean.bank.deliveries_due(lean.now)) == 1


def test_only_subscribed_types_are_sent(lean: BankClient) -> None:
    """Without a subscription nothing is sent, and the Events API has nothing of it."""
    lean.bank.subscribe(["results.ready"])
    _, asked = reconnect(lean)
    lean.bank.submit_otp(asked, "1111")
    assert [one["type"] for one in lean.webhooks()] == ["results.ready"]
    assert [one["type"] for one in events(lean)["data"]] == ["results.ready"]
    lean.bank.subscribe(None)
    lean.bank.connect("v")
    assert [one["type"] for one in lean.webhooks()] == ["entity.created"]


# --- the adversary


def test_webhooks_can_be_duplicated(lean: BankClient) -> None:
    """Copies have the same bytes and are settled one by one."""
    lean.bank.disturb(Disturbance(copies=2))
    lean.bank.connect()
    sent = due(lean)
    assert len(sent) == 3
    assert len({one.body for one in sent}) == 1
    assert len({one.id for one in sent}) == 3
    assert len(events(lean)["data"]) == 1


def test_webhooks_can_be_reversed(lean: BankClient) -> None:
    """`results.ready` before `entity.reconnected`."""
    _, asked = reconnect(lean)
    lean.bank.disturb(Disturbance(reverse=True))
    lean.bank.submit_otp(asked, "1111")
    assert [one["type"] for one in lean.webhooks()] == ["results.ready", "entity.reconnected"]


def test_webhooks_can_be_delayed(lean: BankClient) -> None:
    """A delayed one keeps the timestamp of its event; the Events API has it from its first attempt on."""
    _, asked = reconnect(lean)
    lean.bank.disturb(Disturbance(types="entity.reconnected", delay=timedelta(minutes=3)))
    told = lean.now
    lean.bank.submit_otp(asked, "1111")
    assert [one["type"] for one in lean.webhooks()] == ["results.ready"]
    assert "entity.reconnected" not in {one["type"] for one in events(lean)["data"]}
    lean.later(minutes=3)
    [late] = lean.webhooks()
    assert datetime.fromisoformat(late["timestamp"]) == told
    [entry] = events(lean, type="entity.reconnected")["data"]
    assert datetime.fromisoformat(entry["timestamp"]) == lean.now


def test_webhooks_can_be_dropped(lean: BankClient) -> None:
    """A dropped one is never sent, and the Events API has it all the same."""
    _, asked = reconnect(lean)
    lean.bank.disturb(Disturbance(types=["results.ready"], drop=True, times=1))
    lean.bank.submit_otp(asked, "1111")
    assert [one["type"] for one in lean.webhooks()] == ["entity.reconnected"]
    lean.later(days=1)
    assert lean.webhooks() == []
    [entry] = events(lean, type="results.ready")["data"]
    assert entry["payload"] == {"id": asked}
    assert lean.bank.resend(entry["event_id"])
    assert [one["event_id"] for one in lean.webhooks()] == [entry["event_id"]]


def test_webhooks_can_be_forged(lean: BankClient) -> None:
    """A forgery comes first, with an id of its own and a wrong signature; it is neither retried nor remembered."""
    lean.bank.disturb(Disturbance(forgeries=1))
    lean.bank.connect()
    forged, genuine = due(lean, 401)
    assert (signed(lean, forged), signed(lean, genuine)) == (False, True)
    assert forged.event_id != genuine.event_id
    lean.later(minutes=1)
    assert [one.event_id for one in due(lean)] == [genuine.event_id]
    assert [one["event_id"] for one in events(lean)["data"]] == [genuine.event_id]


def test_webhooks_can_be_signed_wrongly_or_not_at_all(lean: BankClient) -> None:
    """A genuine one with a wrong signature is retried like any other."""
    lean.bank.disturb(Disturbance(wrong_signature=True, times=1))
    lean.bank.connect("a")
    lean.bank.disturb(Disturbance(unsigned=True, times=1))
    lean.bank.connect("b")
    wrong, none = due(lean, 401)
    assert not signed(lean, wrong)
    assert "lean-signature" not in none.headers
    lean.later(minutes=1)
    assert len(due(lean)) == 2


def test_webhooks_can_lack_event_id_and_timestamp(lean: BankClient) -> None:
    """As in Lean's guides; the Events API names the event nevertheless."""
    lean.bank.disturb(Disturbance(without_event_id=True, without_timestamp=True))
    lean.bank.connect()
    [body] = lean.webhooks()
    assert set(body) == {"type", "payload", "message"}
    assert events(lean)["data"][0]["event_id"]
    old = BankClient(webhook_event_ids=False)
    old.bank.connect()
    assert "event_id" not in old.webhooks()[0]


def test_webhooks_can_have_nanoseconds_and_stale_ids(lean: BankClient) -> None:
    """Nine fractional digits; and a payload with a member replaced."""
    _, asked = reconnect(lean)
    lean.bank.disturb(Disturbance(types="entity.reconnected", nanoseconds=True, replace={"reconnect_id": "stale"}))
    lean.bank.submit_otp(asked, "1111")
    stale, _ = lean.webhooks()
    assert stale["payload"]["reconnect_id"] == "stale"
    assert len(stale["timestamp"].partition(".")[2]) == 10


def test_webhooks_can_come_before_the_answer(lean: BankClient) -> None:
    """An early one is handed out as such while its call is still unanswered."""
    entity = lean.bank.connect()
    lean.webhooks()
    quick = BankClient(results_progress="at_once")
    entity = quick.bank.connect()
    quick.webhooks()
    quick.bank.disturb(Disturbance(types="results.ready", early=True))
    said = quick.accounts(entity, **{"async": "true"})
    assert said["status"] == "PENDING"
    [early] = quick.bank.deliveries_due(quick.now, early=True)
    assert quick.bank.deliveries_due(quick.now) == []
    quick.bank.delivered(early.id, 200, quick.now)
    assert json.loads(early.body)["payload"] == {"id": said["results_id"]}
    assert due(quick) == []
    assert due(lean, early=True) == []


def test_a_webhook_can_have_a_type_that_nobody_documented(lean: BankClient) -> None:
    """Instead of the true one, or besides it; the Events API has what is true, and what came besides."""
    lean.bank.disturb(Disturbance(retyped="entity.moon_phase", times=1))
    lean.bank.connect("a")
    lean.bank.disturb(Disturbance(retyped="entity.moon_phase", besides=True, times=1))
    lean.bank.connect("b")
    sent = lean.webhooks()
    assert [one["type"] for one in sent] == ["entity.moon_phase", "entity.moon_phase", "entity.created"]
    assert len({one["event_id"] for one in sent}) == 3
    told = {one["event_id"]: one["type"] for one in events(lean)["data"]}
    assert [told[one["event_id"]] for one in sent] == ["entity.created", "entity.moon_phase", "entity.created"]


@pytest.mark.parametrize("besides", [False, True])
def test_a_reconnect_id_can_be_wrong_or_stale(lean: BankClient, besides: bool) -> None:
    """A stale one is that of the reconnect before; without one it is wrong, which nobody knows."""
    entity, first = reconnect(lean)
    lean.bank.disturb(Disturbance(reconnect_id="stale", besides=besides))
    lean.bank.submit_otp(first, "1111", lean.now)
    lean.bank.expire_session(entity, lean.now)
    second = str(lean.accounts(entity)["results_id"])
    lean.bank.submit_otp(second, "1111", lean.now)
    told = [one["payload"]["reconnect_id"] for one in lean.webhooks() if one["type"] == "entity.reconnected"]
    wrong = told[0]
    assert wrong not in (first, second)
    assert told == ([wrong, first, first, second] if besides else [wrong, first])
    listed = {one["payload"]["reconnect_id"] for one in events(lean, type="entity.reconnected")["data"]}
    assert {first, second} <= listed, "the truth is in the Events API in any case"
    lean.bank.disturb(Disturbance(reconnect_id="wrong", besides=True))
    lean.bank.connect("v")
    assert [one["type"] for one in lean.webhooks()] == ["entity.created"], "it has no reconnect id to be wrong"


def test_disturbances_can_be_aimed(lean: BankClient) -> None:
    """At an entity, or at the so-many-th webhook of all."""
    here, there = lean.bank.connect("a"), lean.bank.connect("b")
    lean.webhooks()
    armed = lean.bank.disturb(Disturbance(entity_id=here, copies=1))
    lean.bank.revoke_consent(here)
    lean.bank.revoke_consent(there)
    assert [one["payload"]["id"] for one in lean.webhooks()] == [here, here, there]
    assert lean.bank.disarm(armed)
    lean.bank.disturb(Disturbance(nth=6, drop=True))
    for entity in (here, here, there):
        lean.bank.renew_consent(entity)
    assert [one["payload"]["id"] for one in lean.webhooks()] == [here, there]


def test_disturbances_can_be_aimed_at_a_bank(lean: BankClient) -> None:
    """Its entities' webhooks, its own, and those that are emitted by hand and name one of them; no others."""
    here, there = lean.bank.connect("a", bank="LEANMB1"), lean.bank.connect("b", bank="MOCK_UAE")
    lean.webhooks()
    lean.bank.disturb(Disturbance(bank="MOCK_UAE", drop=True))
    for entity, bank in ((here, "LEANMB1"), (there, "MOCK_UAE")):
        lean.bank.revoke_consent(entity)
        lean.bank.switch_bank(bank, active_data=False)
        lean.bank.emit("test", {"id": entity})
        lean.bank.emit("test", {"identifier": bank})
        lean.bank.emit("test", {"of": 1}, lane=entity)
    lean.bank.emit("test", {"of": 2})
    named = [(one["type"], *list(one["payload"].values())[:1]) for one in lean.webhooks()]
    assert named == [
        ("entity.updated", here),
        ("bank.availability.updated", "LEANMB1"),
        ("test", here),
        ("test", "LEANMB1"),
        ("test", 1),
        ("test", 2),
    ]


def test_disturbances_can_be_aimed_at_a_resource(lean: BankClient) -> None:
    """At what is said of calls that asked for it: `entity.reconnected` and `results.ready`; `refresh`: of refreshes."""
    entity = lean.bank.connect()
    lean.webhooks()
    lean.bank.disturb(Disturbance(resource="identity", retyped="test.identity"))
    lean.bank.disturb(Disturbance(resource="refresh", retyped="test.refresh"))
    for path in ("accounts", "identity"):
        lean.bank.expire_session(entity)
        asked = lean.ask("GET", f"/data/v2/{path}", entity_id=entity)[1]["results_id"]
        lean.bank.submit_otp(asked, "1111")
        lean.bank.emit("by.hand", {"id": asked})
        lean.later(seconds=5)
        types = [one["type"] for one in lean.webhooks()]
        assert types == (
            ["entity.reconnected", "results.ready", "by.hand"] if path == "accounts" else ["test.identity"] * 3
        )
    refresh = lean.ask("POST", "/data/v2/refreshes", {"entity_id": entity})[1]["refresh_id"]
    lean.later(seconds=10)
    told = [(one["type"], one["payload"]["refresh_id"]) for one in lean.webhooks()]
    assert told == [("test.refresh", refresh)] * len(told)
    assert told


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bank": 7}, "bank: is 7; must be a text"),
        ({"bank": "NOPE"}, "bank: 'NOPE' is none of LEANMB1, MOCK_UAE"),
        ({"resource": "salaries"}, "resource: is 'salaries'; must be one of identity, accounts, balances"),
        ({"banks": "LEANMB1"}, "banks: is no disturbance; known are types, entity_id, bank, resource"),
    ],
)
def test_a_wrong_aim_is_told(lean: BankClient, wrong: dict[str, Any], words: str) -> None:
    """By its name, with what it is and what it may be; in a scenario with the file and the key, too."""
    with pytest.raises(InvalidRequest) as raised:
        lean.bank.disturb(Disturbance.of({**wrong, "drop": True}))
    assert words in str(raised.value)
    with pytest.raises(InvalidRequest) as raised:
        Scenario.of({"disturbances": [{**wrong, "drop": True}]}, "day.toml")
    assert f"day.toml: disturbances[0].{words}" in str(raised.value)
    with pytest.raises(InvalidRequest) as raised:
        control(lean.bank, "disturb", {**wrong, "drop": True}, lean.now)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "disturbance",
    [
        Disturbance(),
        Disturbance(bank="LEANMB1", resource="balances", drop=True),
        Disturbance(types=["a", "b"], entity_id="x", nth=3, times=2, skip=1),
        Disturbance(copies=1, delay=timedelta(seconds=1.5), drop=True, reverse=True, early=True, forgeries=2),
        Disturbance(wrong_signature=True, unsigned=True, without_event_id=True, without_timestamp=True),
        Disturbance(nanoseconds=True, retyped='quo"te', reconnect_id="stale", replace={"a.b": [1, "x"]}, besides=True),
    ],
)
def test_a_disturbance_reads_as_the_line_that_arms_it(disturbance: Disturbance) -> None:
    """`parse` takes what `str` gives."""
    assert Disturbance.parse(str(disturbance)) == disturbance


def test_disturbances_join_and_can_be_calmed(lean: BankClient) -> None:
    """Several strike one webhook together; `times` and `skip` count per webhook."""
    lean.bank.disturb(Disturbance(copies=1, times=1))
    lean.bank.disturb(Disturbance(copies=1, skip=1))
    counts = []
    for number in range(3):
        lean.bank.connect(f"u{number}")
        counts.append(len(due(lean)))
    assert counts == [2, 2, 2]
    for seconds in (2, 3):
        lean.bank.disturb(Disturbance(delay=seconds, nth=4))  # a number is seconds
    lean.bank.connect("late")
    assert lean.bank.next_due() == lean.now + timedelta(seconds=5)
    lean.bank.disarm(min(lean.bank.armed()))
    lean.later(seconds=5)
    lean.webhooks()
    lean.bank.calm()
    lean.bank.disturb(Disturbance(copies=1))
    assert len(lean.bank.armed()) == 1
    lean.bank.calm()
    lean.bank.connect("last")
    assert len(due(lean)) == 1


def test_any_webhook_can_be_emitted(lean: BankClient) -> None:
    """Unknown types too."""
    event_id = lean.bank.emit("moon.risen", {"id": "1"}, "The moon rose.")
    [body] = lean.webhooks()
    assert (body["type"], body["event_id"], body["message"]) == ("moon.risen", event_id, "The moon rose.")


@pytest.mark.parametrize("wrong", [{"copies": -1}, {"forgeries": -1}, {"times": 0}, {"reconnect_id": 3}])
def test_wrong_disturbances_are_refused(wrong: dict[str, Any]) -> None:
    """A negative number or no times at all is InvalidRequest."""
    with pytest.raises(InvalidRequest):
        Disturbance(**wrong)


# --- the Events API


def test_the_events_api_has_pages_and_filters(lean: BankClient) -> None:
    """Newest first, in pages, by time and by type; `page` and `size` are required."""
    for number in range(5):
        lean.bank.connect(f"u{number}", now=lean.now)
        lean.later(hours=1)
    lean.bank.emit("payment.created", {"id": "p"}, now=lean.now)
    said = events(lean, size="2", page="1")
    assert said["page"] == {"number": 1, "size": 2, "total_elements": 6, "total_pages": 3}
    times = [one["timestamp"] for one in events(lean)["data"]]
    assert times == sorted(times, reverse=True)
    required = {"payload", "type", "message", "timestamp", "event_id"}
    assert all(set(one) == required for one in events(lean)["data"])
    start = (lean.now - timedelta(hours=2)).isoformat()
    assert len(events(lean, **{"from": start})["data"]) == 3
    assert len(events(lean, to=start)["data"]) == 4
    assert [one["type"] for one in events(lean, type="payment.created")["data"]] == ["payment.created"]
    assert events(lean, **{"from": "yesterday"})["status"] == "INVALID_PARAMETERS"
    assert lean.ask("GET", "/events/v1")[1]["status"] == "MISSING_PARAMETERS"


def test_the_events_api_can_list_oldest_first() -> None:
    """Lean does not document the order: both can be had."""
    lean = BankClient(events_newest_first=False)
    for number in range(3):
        lean.bank.connect(f"u{number}", now=lean.now)
        lean.later(hours=1)
    times = [one["timestamp"] for one in events(lean)["data"]]
    assert times == sorted(set(times))
    assert len(times) == 3


def test_the_events_api_tells_the_time_of_the_first_attempt(lean: BankClient) -> None:
    """Not that of the event, nor that of a retry."""
    lean.bank.connect()
    told = lean.now
    lean.later(minutes=5)
    first = lean.now
    due(lean, 500)
    lean.later(minutes=1)
    [again] = due(lean)
    assert datetime.fromisoformat(json.loads(again.body)["timestamp"]) == told
    assert [datetime.fromisoformat(one["timestamp"]) for one in events(lean)["data"]] == [first]


def test_events_are_forgotten_after_ninety_days(lean: BankClient) -> None:
    """On the ninetieth day an event is still there; a moment later it is gone."""
    lean.bank.connect()
    lean.webhooks()
    lean.later(days=90)
    assert len(events(lean)["data"]) == 1
    lean.later(seconds=1)
    assert events(lean)["data"] == []


def test_an_events_api_entry_is_the_webhook(lean: BankClient) -> None:
    """Payload, type, message and id are those of the webhook."""
    lean.bank.connect()
    [body] = lean.webhooks()
    [entry] = events(lean)["data"]
    assert entry == body


def test_leanflow_reads_every_webhook_that_mockbank_sends(lean: BankClient) -> None:
    """What is emitted here is what `parse_webhook` takes for the event that it is."""
    entity, asked = reconnect(lean)
    lean.bank.submit_otp(asked, "1111")
    lean.ask("POST", "/data/v2/refreshes", {"entity_id": entity})
    lean.bank.revoke_consent(entity)
    lean.bank.switch_bank("LEANMB1", active_data=False)
    read = [parse_webhook(one.body) for one in due(lean)]
    assert [type(one) for one in read] == [
        EntityReconnected,
        ResultsReady,
        RefreshUpdated,
        EntityUpdated,
        BankAvailability,
    ]
    assert all(one.timestamp == lean.now for one in read if isinstance(one, WebhookEvent))
