"""Faults of the API on demand, the log, and the control commands."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from leanflow.errors import InvalidRequest
from leanflow.mockbank import COMMANDS, EFFECTS, Exchange, Fault, Mockbank, Progress, control
from tests.support.bank import BankClient


@pytest.fixture
def lean() -> BankClient:
    """A client of a fresh Mockbank."""
    return BankClient()


def body_of(exchange: Exchange) -> bytes:
    """Return the answer's bytes."""
    assert exchange.answer is not None
    return exchange.answer.body


@pytest.mark.parametrize("code", ["BANK_ISSUE", "LEAN_ERROR", "LOGGED_IN_ELSEWHERE", "SOMETHING_UNKNOWN"])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_any_code_can_be_had(lean: BankClient, api: str, code: str) -> None:
    """FAILED with any granular code, under 200; in v2 without `data`."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.failed(code, "words for the user"))
    if api == "v1":
        http, said = lean.ask("POST", "/data/v1/accounts", {"entity_id": entity})
        assert said["payload"] is None
    else:
        http, said = lean.ask("GET", "/data/v2/accounts", entity_id=entity)
        assert "data" not in said
    assert (http, said["status"]) == (200, "FAILED")
    assert said["status_detail"] == {"granular_status_code": code, "status_additional_info": "words for the user"}


def test_faults_strike_as_often_as_asked(lean: BankClient) -> None:
    """Once, n times, after some calls, or until cleared."""
    entity = lean.bank.connect()

    def run(calls: int) -> str:
        return "".join("F" if lean.accounts(entity)["status"] == "FAILED" else "." for _ in range(calls))

    lean.bank.fault(Fault.failed())
    assert run(3) == "F.."
    lean.bank.fault(Fault.failed(times=2))
    assert run(3) == "FF."
    lean.bank.fault(Fault.failed(skip=1))
    assert run(3) == ".F."
    lean.bank.fault(Fault.failed(times=None))
    assert run(5) == "FFFFF"
    assert len(lean.bank.armed()) == 1
    lean.bank.calm()
    assert run(2) == ".."


def test_faults_can_be_aimed(lean: BankClient) -> None:
    """At an entity, a bank, a resource, a path or a kind of call; the others go through."""
    here, there = lean.bank.connect("a", bank="LEANMB1"), lean.bank.connect("b", bank="MOCK_UAE")
    for aim in ({"entity_id": here}, {"bank": "LEANMB1"}):
        lean.bank.fault(Fault.failed(times=None, **aim))
        assert lean.accounts(there)["status"] == "OK"
        assert lean.accounts(here)["status"] == "FAILED"
        lean.bank.calm()
    lean.bank.fault(Fault.failed(times=None, resource="identity"))
    assert lean.accounts(here)["status"] == "OK"
    assert lean.ask("GET", "/data/v2/identity", entity_id=here)[1]["status"] == "FAILED"
    lean.bank.calm()
    lean.bank.fault(Fault.http(503, on="banks"))
    assert lean.accounts(here)["status"] == "OK"
    assert lean.ask("GET", "/banks/v1")[0] == 503
    lean.bank.fault(Fault.http(503, path="/identity"))
    assert lean.accounts(here)["status"] == "OK"
    assert lean.ask("GET", "/data/v2/identity", entity_id=here)[0] == 503


def test_http_errors_come_in_leans_envelope(lean: BankClient) -> None:
    """Any status, with `Retry-After` if wanted, and nothing happens at Lean."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.http(429, retry_after=7))
    exchange = lean.exchange("GET", "/data/v2/accounts", entity_id=entity)
    assert exchange.answer is not None
    assert (exchange.answer.status, exchange.answer.headers["retry-after"]) == (429, "7")
    assert json.loads(exchange.answer.body)["status"] == "RATE_LIMIT_EXCEEDED"
    lean.bank.fault(Fault.http(429))
    assert (
        "retry-after"
        not in (lean.exchange("GET", "/data/v2/accounts", entity_id=entity).answer or exchange.answer).headers
    )
    lean.bank.fault(Fault.http(500))
    assert lean.accounts(entity)["status"] == "INTERNAL_SERVER_ERROR"
    lean.bank.fault(Fault.http(408, "TIMEOUT"))
    assert lean.accounts(entity)["status"] == "TIMEOUT"


def test_bodies_can_be_spoilt(lean: BankClient) -> None:
    """HTML instead of JSON, half the JSON, an unknown status, fields missing, fields too many."""
    entity = lean.bank.connect()
    path = "/data/v2/accounts"
    lean.bank.fault(Fault.html(503))
    page = lean.exchange("GET", path, entity_id=entity)
    assert page.answer is not None
    assert (page.answer.status, page.answer.headers["content-type"]) == (503, "text/html")
    whole = body_of(lean.exchange("GET", path, entity_id=entity))
    lean.bank.fault(Fault.truncated())
    half = body_of(lean.exchange("GET", path, entity_id=entity))
    assert abs(len(half) - len(whole) // 2) <= 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(half)
    lean.bank.fault(Fault.status("MOON_PHASE"))
    assert lean.accounts(entity)["status"] == "MOON_PHASE"
    lean.bank.fault(Fault.missing("timestamp", "message"))
    assert not {"timestamp", "message"} & set(lean.accounts(entity))
    lean.bank.fault(Fault.extra({"novelty": {"amount": Decimal("1.10")}}))  # noqa: S610 - not Django's
    assert lean.accounts(entity)["novelty"] == {"amount": Decimal("1.10")}


def test_connections_can_be_cut(lean: BankClient) -> None:
    """`cut` loses the answer of a call that was handled, `refuse` the call itself."""
    lean.bank.fault(Fault.cut(on="customers"))
    assert lean.exchange("POST", "/customers/v1/", {"app_user_id": "u"}).answer is None
    assert lean.ask("POST", "/customers/v1/", {"app_user_id": "u"})[0] == 409
    lean.bank.fault(Fault.refuse(on="customers"))
    assert lean.exchange("POST", "/customers/v1/", {"app_user_id": "v"}).answer is None
    assert lean.ask("POST", "/customers/v1/", {"app_user_id": "v"})[0] == 200
    lean.bank.fault(Fault.cut(after=10))
    assert lean.exchange("GET", "/banks/v1").cut_after == 10


def test_duplicates_come_in_two_shapes(lean: BankClient) -> None:
    """429 at the top level, or FAILED with the granular code under 200."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.duplicated())
    http, said = lean.ask("GET", "/data/v2/accounts", entity_id=entity)
    assert (http, said["status"]) == (429, "DUPLICATED_REQUEST")
    lean.bank.fault(Fault.duplicated(enveloped=True))
    http, said = lean.ask("GET", "/data/v2/accounts", entity_id=entity)
    assert (http, said["status_detail"]["granular_status_code"]) == (200, "DUPLICATED_REQUEST")


def test_results_can_be_unknown_at_first(lean: BankClient) -> None:
    """404 for the first n GETs, then the data; a fault of the data waits until there is data."""
    entity = lean.bank.connect()
    lean.bank.expire_session(entity)
    asked = lean.accounts(entity)["results_id"]
    path = f"/data/v2/results/{asked}"
    lean.bank.fault(Fault.failed("BANK_ISSUE", on="results"))
    assert lean.ask("GET", path)[1]["status"] == "RECONNECT_REQUIRED"
    lean.bank.submit_otp(asked, "1111")
    lean.bank.fault(Fault.unknown_results(2))
    seen = [lean.ask("GET", path)[1]["status"] for _ in range(4)]
    assert seen == ["UNKNOWN_RESULTS_ID", "UNKNOWN_RESULTS_ID", "FAILED", "OK"]


def test_a_reconnect_can_be_demanded_of_a_live_session(lean: BankClient) -> None:
    """One call wants the user though the session lives; the next does not."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.reconnect())
    assert [lean.accounts(entity)["status"] for _ in range(2)] == ["RECONNECT_REQUIRED", "OK"]


def test_any_call_can_be_slow(lean: BankClient) -> None:
    """Whatever else strikes it; past the limit only a data call falls back to PENDING."""
    entity = lean.bank.connect()
    for kind, method, path in (("banks", "GET", "/banks/v1"), ("events", "GET", "/events/v1")):
        lean.bank.fault(Fault.slow(70, on=kind))
        lean.bank.fault(Fault.truncated(on=kind))
        assert lean.exchange(method, path, page="0", size="1").delay == 70
        assert lean.exchange(method, path, page="0", size="1").delay == 0
    for fault in (Fault.refuse(), Fault.html(), Fault.http(503)):
        lean.bank.fault(Fault.slow(3))
        lean.bank.fault(fault)
        assert lean.exchange("GET", "/data/v2/accounts", entity_id=entity).delay == 3
    lean.bank.fault(Fault.slow(70))
    lean.bank.fault(Fault.failed())
    exchange = lean.exchange("GET", "/data/v2/accounts", entity_id=entity)
    assert (exchange.delay, json.loads(body_of(exchange))["status"]) == (50, "FAILED")
    assert [one.fault for one in lean.bank.log.calls if one.fault] == [
        *["slow+truncated"] * 2, "refuse+slow", "html+slow", "http+slow", "slow+failed",
    ]  # fmt: skip


def test_times_can_have_nine_digits(lean: BankClient) -> None:
    """All of them, in v1 too, and none of the digits is a zero that could hide."""
    entity = lean.bank.connect()
    before = body_of(lean.exchange("POST", "/data/v1/accounts", {"entity_id": entity}))
    lean.bank.fault(Fault.nanoseconds())
    after = body_of(lean.exchange("POST", "/data/v1/accounts", {"entity_id": entity}))
    assert re.findall(rb"\.(\d+)Z", before)
    assert all(len(digits) == 9 and not digits.endswith(b"0") for digits in re.findall(rb"\.(\d+)Z", after))


def test_a_field_within_can_be_missing(lean: BankClient) -> None:
    """A path of names leads to it; one that leads nowhere takes nothing away."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.missing("data.page", "status.code", "nothing"))
    said = lean.accounts(entity)
    assert "page" not in said["data"]
    assert said["status"] == "OK"


def test_a_fault_can_be_disarmed_and_the_nth_call_struck(lean: BankClient) -> None:
    """By the id that arming gave; and by counting all calls."""
    entity = lean.bank.connect()
    armed = [lean.bank.fault(Fault.failed(times=None)), lean.bank.fault(Fault.failed("LEAN_ERROR", nth=3))]
    assert list(lean.bank.armed()) == armed
    assert lean.bank.disarm(armed[0])
    assert not lean.bank.disarm(armed[0])
    assert [lean.accounts(entity)["status"] for _ in range(4)] == ["OK", "OK", "FAILED", "OK"]
    assert lean.bank.armed() == {}


@pytest.mark.parametrize(
    ("aim", "words"),
    [
        ({"bank": "NOPE"}, "bank: 'NOPE' is none of LEANMB1, MOCK_UAE"),
        ({"resource": "balance"}, "resource: is 'balance'; must be one of identity, accounts, balances"),
    ],
)
def test_a_fault_that_could_strike_nothing_is_not_armed(lean: BankClient, aim: dict[str, str], words: str) -> None:
    """An unknown bank and an unknown resource are told by their names."""
    with pytest.raises(InvalidRequest) as raised:
        lean.bank.fault(Fault.failed(**aim))
    assert words in str(raised.value)
    assert lean.bank.armed() == {}


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault.of({"effect": effect}) for effect in EFFECTS),
        Fault.failed("X", 'wo"rds\n', on="results", resource="accounts", entity_id="e", times=None, skip=2),
        Fault.pending(Progress.polls(2), nth=4),
        Fault.http(429, retry_after="Fri, 01 Jan 2027 00:00:00 GMT", on=["data", "results"], path="/x", bank="B"),
        Fault.slow(0.25, on=None, times=3),
        Fault.missing("a", "b.c"),
        Fault.extra({"ä b": {"c": [1, True]}}),  # noqa: S610 - not Django's
    ],
)
def test_a_fault_reads_as_the_line_that_arms_it(fault: Fault) -> None:
    """`parse` takes what `str` gives, and `of` what `told` gives, which is JSON."""
    assert Fault.parse(str(fault)) == fault
    assert Fault.of(json.loads(json.dumps(fault.told()))) == fault
    assert Fault.parse(str(fault).removeprefix("{ ").removesuffix(" }")) == fault, "without its braces too"


def test_the_log_tells_how_often_lean_was_called(lean: BankClient) -> None:
    """Calls are counted by kind, resource, entity and method, and remembered with their outcome."""
    entity, other = lean.bank.connect("a"), lean.bank.connect("b")
    lean.accounts(entity)
    lean.bank.fault(Fault.failed())
    lean.accounts(entity)
    lean.ask("GET", "/data/v2/identity", entity_id=other)
    lean.bank.fault(Fault.refuse())
    lean.exchange("GET", "/banks/v1")
    log = lean.bank.log
    assert log.total_calls == 4
    assert log.count("data") == 3
    assert log.count("data", resource="accounts") == log.count(entity_id=entity) == 2
    assert log.count(method="POST") == 0
    assert [(one.status, one.http_status, one.fault) for one in log.calls] == [
        ("OK", 200, None),
        ("FAILED", 200, "failed"),
        ("OK", 200, None),
        (None, None, "refuse"),
    ]
    assert log.counts() == {"data": 3, "banks": 1}


def test_the_log_is_bounded_and_its_counts_go_on() -> None:
    """Only the last calls are kept; all are counted."""
    lean = BankClient(log_size=5)
    for _ in range(20):
        lean.ask("GET", "/banks/v1")
    assert len(lean.bank.log.calls) == 5
    assert lean.bank.log.count("banks") == 20


# --- settings and control


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mockbank(region="mars"),
        lambda: Mockbank(colour="red"),
        lambda: Mockbank(auth="maybe"),
        lambda: Fault.failed(on="everything"),
        lambda: Fault.failed(times=0),
        lambda: Fault(effect="explode"),
        lambda: Mockbank().connect(username="nobody"),
        lambda: Mockbank().connect(bank="NO_BANK"),
        lambda: Mockbank().connect(permissions=["everything"]),
        lambda: Mockbank().expire_session("unknown"),
        lambda: Mockbank().release("unknown"),
        lambda: Mockbank().switch_bank("LEANMB1", payments=False),
    ],
)
def test_wrong_arguments_are_named(make: Any) -> None:
    """A wrong setting, fault or argument raises InvalidRequest that names it and what is allowed."""
    with pytest.raises(InvalidRequest) as caught:
        make()
    assert caught.value.parameter


def test_secrets_stay_out_of_texts() -> None:
    """Neither the bank nor its settings show a secret."""
    bank = Mockbank(client_secret="client-s3cret", webhook_secret="webhook-s3cret")
    assert "s3cret" not in repr(bank) + repr(bank.settings) + json.dumps(bank.state())


def test_every_control_command_speaks_json(lean: BankClient) -> None:
    """All commands work with plausible arguments, and what they answer is JSON."""
    bank = lean.bank
    entity = control(bank, "connect", {"app_user_id": "u", "username": "mockbank_user_3"}, lean.now)["entity_id"]
    control(bank, "expire_session", {"entity_id": entity}, lean.now)
    asked = lean.accounts(entity)["results_id"]
    assert control(bank, "reconnects", {}, lean.now) == {"reconnects": [asked]}
    assert control(bank, "otp", {"reconnect_id": asked, "otp": "1"}, lean.now)["attempts_left"] == 2
    assert control(bank, "close_link", {"reconnect_id": asked}, lean.now)["status"] == "CANCELLED"
    assert control(bank, "otp", {"reconnect_id": asked, "otp": "1111"}, lean.now)["status"] == "SUCCESS"
    control(bank, "fault", {"effect": "pending", "progress": "held"}, lean.now)
    held = lean.accounts(entity)["results_id"]
    plausible: dict[str, dict[str, Any]] = {
        "accounts": {"entity_id": entity},
        "authorise": {"reconnect_id": asked},
        "close_link": {"reconnect_id": asked},
        "connect": {"app_user_id": "v"},
        "disarm": {"armed": 1},
        "disturb": {"types": ["results.ready"], "delay": 5, "copies": 1},
        "drop": {"types": "entity.updated"},
        "emit": {"type": "payment.created", "payload": {"id": "1"}},
        "expire_session": {"entity_id": entity},
        "fault": {"effect": "missing", "fields": ["message"]},
        "otp": {"reconnect_id": asked, "otp": "1111"},
        "pace": {"model": "results", "progress": {"polls": 2}, "entity_id": entity},
        "redirect_bank": {"bank": "MOCK_UAE"},
        "release": {"id": held},
        "renew_consent": {"entity_id": entity},
        "resend": {"event_id": "unknown"},
        "revoke_consent": {"entity_id": entity},
        "storm": {"seed": 7, "weight": 0.5, "without": ["drop"]},
        "subscribe": {"types": ["results.ready"]},
        "switch_bank": {"bank": "LEANMB1", "active_data": False},
        "webhook_url": {"url": "http://127.0.0.1:1/"},
    }
    for command in COMMANDS:
        json.dumps(control(bank, command, plausible.get(command, {}), lean.now))


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("explode", {}),
        ("otp", {}),
        ("otp", {"reconnect_id": 7, "otp": "1111"}),
        ("connect", {"colour": "red"}),
        ("fault", {"effect": "explode"}),
        ("fault", {"effect": "failed", "colour": "red"}),
        ("fault", {"effect": "pending", "progress": "soon"}),
        ("disturb", {"colour": "red"}),
        ("disturb", {"delay": "soon"}),
        ("disturb", {"times": 0}),
        ("emit", {"type": "x", "payload": []}),
        ("switch_bank", {"bank": "LEANMB1", "active_data": "yes"}),
    ],
)
def test_wrong_control_commands_are_refused(lean: BankClient, command: str, args: dict[str, Any]) -> None:
    """An unknown command or a wrong argument is InvalidRequest, never another error."""
    with pytest.raises(InvalidRequest):
        control(lean.bank, command, args, lean.now)


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_fault_can_be_armed_by_json(lean: BankClient, effect: str) -> None:
    """Each effect has a command by its name."""
    assert control(lean.bank, "fault", {"effect": effect}, lean.now) == {"armed": 1}
    assert [one.effect for one in lean.bank.armed().values() if isinstance(one, Fault)] == [effect]
    assert callable(getattr(Fault, effect)), "and Python has it by the same name"
