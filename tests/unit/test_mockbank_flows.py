"""PENDING, reconnects, results, refreshes, consents and banks."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from leanflow.mockbank import Fault, Progress
from tests.support.bank import BankClient


@pytest.fixture
def lean() -> BankClient:
    """A client of a fresh Mockbank."""
    return BankClient()


def otp(lean: BankClient, reconnect_id: str, code: str = "1111") -> Any:
    """Let the user type."""
    return lean.bank.submit_otp(reconnect_id, code, lean.now)


def results(lean: BankClient, results_id: str, **query: str) -> tuple[int, Any]:
    """GET v2 results."""
    return lean.ask("GET", f"/data/v2/results/{results_id}", **query)


# --- PENDING


@pytest.mark.parametrize("status", [202, 200])
def test_async_is_pending_then_ready(status: int) -> None:
    """`async=true` answers PENDING with an id; two seconds later `results.ready` names it and the data is there."""
    lean = BankClient(pending_status=status)
    entity = lean.bank.connect()
    lean.webhooks()
    http, said = lean.ask("GET", "/data/v2/accounts", entity_id=entity, **{"async": "true"})
    assert (http, said["status"], said["data"], said["type"]) == (status, "PENDING", None, None)
    assert results(lean, said["results_id"])[1]["status"] == "PENDING"
    assert lean.webhooks() == []
    lean.later(seconds=2)
    [event] = lean.webhooks()
    assert (event["type"], event["payload"]) == ("results.ready", {"id": said["results_id"]})
    http, data = results(lean, said["results_id"])
    assert (http, data["status"], data["results_id"], data["type"]) == (200, "OK", said["results_id"], "accounts")


def test_async_works_in_v1(lean: BankClient) -> None:
    """v1 takes `async` in the body and gives `payload` in the results, at each of their addresses."""
    entity = lean.bank.connect()
    http, said = lean.ask("POST", "/data/v1/accounts", {"entity_id": entity, "async": True})
    assert (http, said["status"], said["payload"]) == (200, "PENDING", None)
    lean.later(seconds=2)
    for root in ("/v1", "/data/v1", ""):
        data = lean.ask("GET", f"{root}/results/{said['results_id']}")[1]
        assert (data["status"], data["payload"]["type"]) == ("OK", "accounts")


def test_pending_can_go_by_polls(lean: BankClient) -> None:
    """PENDING after n polls is ready with the next GET."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.pending(Progress.polls(2)))
    asked = lean.accounts(entity)["results_id"]
    assert [results(lean, asked)[1]["status"] for _ in range(3)] == ["PENDING", "PENDING", "OK"]


def test_pending_can_be_held(lean: BankClient) -> None:
    """PENDING without a time waits until it is released."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.pending(Progress.held()))
    asked = lean.accounts(entity)["results_id"]
    lean.later(days=1)
    assert results(lean, asked)[1]["status"] == "PENDING"
    lean.bank.release(asked, lean.now)
    assert results(lean, asked)[1]["status"] == "OK"


def test_a_slow_bank_falls_back_to_pending(lean: BankClient) -> None:
    """A call past 50 s answers PENDING at 50 s; a quicker one is only late."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.slow(80))
    slow = lean.exchange("GET", "/data/v2/accounts", entity_id=entity)
    assert slow.delay == 50
    assert slow.answer is not None
    said = json.loads(slow.answer.body)
    assert said["status"] == "PENDING"
    lean.later(seconds=80)
    assert results(lean, said["results_id"])[1]["status"] == "OK"
    lean.bank.fault(Fault.slow(3))
    late = lean.exchange("GET", "/data/v2/accounts", entity_id=entity)
    assert late.delay == 3
    assert late.answer is not None
    assert json.loads(late.answer.body)["status"] == "OK"


def test_an_identical_pending_call_can_be_refused() -> None:
    """With the setting, the same call while one is PENDING is DUPLICATED_REQUEST; another call is not."""
    lean = BankClient(duplicates_refused=True)
    entity = lean.bank.connect()
    lean.accounts(entity, **{"async": "true"})
    assert lean.accounts(entity)["status_detail"]["granular_status_code"] == "DUPLICATED_REQUEST"
    assert lean.ask("GET", "/data/v2/identity", entity_id=entity)[1]["status"] == "OK"
    lean.later(seconds=2)
    assert lean.accounts(entity)["status"] == "OK"


# --- reconnects


def test_a_reconnect_in_v2_goes_by_the_results_id(lean: BankClient) -> None:
    """An expired session answers RECONNECT_REQUIRED under 200; the OTP brings both webhooks, and then the data."""
    entity = lean.bank.connect()
    lean.webhooks()
    lean.bank.expire_session(entity, lean.now)
    http, said = lean.ask("GET", "/data/v2/accounts", entity_id=entity)
    assert (http, said["status"], said["data"]) == (200, "RECONNECT_REQUIRED", None)
    assert "reconnect_id" not in said
    asked = said["results_id"]
    assert results(lean, asked)[1]["status"] == "RECONNECT_REQUIRED"
    assert otp(lean, asked).status == "SUCCESS"
    reconnected, ready = lean.webhooks()
    assert (reconnected["type"], reconnected["payload"]) == (
        "entity.reconnected",
        {"id": entity, "reconnect_id": asked},
    )
    assert (ready["type"], ready["payload"]) == ("results.ready", {"id": asked})
    assert results(lean, asked)[1]["status"] == "OK"
    assert lean.accounts(entity)["status"] == "OK"


def test_a_reconnect_in_v1_has_an_id_of_its_own(lean: BankClient) -> None:
    """v1 gives `payload.reconnect_id`, which is not the results id; each webhook names its own."""
    entity = lean.bank.connect()
    lean.webhooks()
    lean.bank.expire_session(entity, lean.now)
    http, said = lean.ask("POST", "/data/v1/accounts", {"entity_id": entity})
    assert (http, said["status"], said["payload"]["type"]) == (200, "RECONNECT_REQUIRED", "reconnect")
    reconnect_id = said["payload"]["reconnect_id"]
    assert reconnect_id != said["results_id"]
    assert otp(lean, said["results_id"]).status == "ERROR"  # the results id is no reconnect id in v1
    assert otp(lean, reconnect_id).status == "SUCCESS"
    assert [one["payload"] for one in lean.webhooks()] == [
        {"id": entity, "reconnect_id": reconnect_id},
        {"id": said["results_id"]},
    ]
    assert lean.ask("GET", f"/v1/results/{said['results_id']}")[1]["payload"]["accounts"]


def test_inactivity_deauthenticates_users_with_an_otp(lean: BankClient) -> None:
    """Ten minutes after the last successful call the bank wants the user again; each success counts anew."""
    entity = lean.bank.connect(username="mockbank_user_3")
    for _ in range(3):
        lean.later(minutes=9)
        assert lean.accounts(entity)["status"] == "OK"
    lean.later(minutes=10)
    asked = lean.accounts(entity)
    assert asked["status"] == "RECONNECT_REQUIRED"
    otp(lean, asked["results_id"])
    assert lean.accounts(entity)["status"] == "OK"


@pytest.mark.parametrize(
    ("whom", "plain", "with_otp"),
    [
        ("otp_users", "OK", "RECONNECT_REQUIRED"),
        ("all", "RECONNECT_REQUIRED", "RECONNECT_REQUIRED"),
        ("none", "OK", "OK"),
    ],
)
def test_whom_inactivity_deauthenticates_can_be_set(whom: str, plain: str, with_otp: str) -> None:
    """Lean's older page says every user, the newer one those with OTP."""
    lean = BankClient(deauthenticates=whom)
    entities = [lean.bank.connect(username=name) for name in ("mockbank_user_1", "mockbank_user_3")]
    lean.later(minutes=10)
    assert [lean.accounts(entity)["status"] for entity in entities] == [plain, with_otp]


def test_wrong_otps_are_counted(lean: BankClient) -> None:
    """Two wrong codes stay in the flow, the third ends it without a webhook; the id lives on for another attempt."""
    entity = lean.bank.connect()
    lean.webhooks()
    lean.bank.expire_session(entity)
    asked = lean.accounts(entity)["results_id"]
    steps = [otp(lean, asked, "0000") for _ in range(3)]
    assert [(step.status, step.secondary_status, step.attempts_left) for step in steps] == [
        (None, "INVALID_MFA", 2),
        (None, "INVALID_MFA", 1),
        ("ERROR", "MFA_ATTEMPTS_EXHAUSTED", 0),
    ]
    assert lean.webhooks() == []
    assert otp(lean, asked).payload()["status"] == "SUCCESS"


def test_the_sdk_is_told_neither_reconnect_id_nor_entity(lean: BankClient) -> None:
    """The callback's payload has status, finer status, message and bank."""
    entity = lean.bank.connect()
    lean.bank.expire_session(entity)
    asked = lean.accounts(entity)["results_id"]
    closed = lean.bank.close_link(asked).payload()
    assert closed["status"] == "CANCELLED"
    told = otp(lean, asked).payload()
    assert set(told) == {"status", "secondary_status", "message", "bank"}
    assert entity not in json.dumps([told, closed])
    assert asked not in json.dumps([told, closed])


def test_a_second_reconnect_of_the_same_id_is_told_so(lean: BankClient) -> None:
    """Once reconnected, the id does nothing more, and no webhook is sent twice."""
    entity = lean.bank.connect()
    lean.bank.expire_session(entity)
    asked = lean.accounts(entity)["results_id"]
    otp(lean, asked)
    lean.webhooks()
    assert otp(lean, asked).secondary_status == "ENTITY_ALREADY_CONNECTED"
    assert lean.webhooks() == []


@pytest.mark.parametrize("days", [30, 7])
def test_a_reconnect_id_dies_of_age(days: int) -> None:
    """After its life a reconnect id is unknown, to the user and to the results; a new call gives a new one."""
    lean = BankClient(reconnect_ttl=timedelta(days=days))
    entity = lean.bank.connect()
    lean.bank.expire_session(entity)
    asked = lean.accounts(entity)["results_id"]
    lean.later(days=days, seconds=-1)
    assert lean.bank.pending_reconnects(entity) == [asked]
    assert results(lean, asked)[1]["status"] == "RECONNECT_REQUIRED"
    lean.later(seconds=1)
    assert results(lean, asked)[1]["status"] == "UNKNOWN_RESULTS_ID"
    assert otp(lean, asked).status == "ERROR"
    assert lean.bank.pending_reconnects(entity) == []
    assert lean.accounts(entity)["status"] == "RECONNECT_REQUIRED"


@pytest.mark.parametrize(("together", "other"), [(False, "RECONNECT_REQUIRED"), (True, "OK")])
def test_siblings_keep_their_own_ids(together: bool, other: str) -> None:
    """One OTP readies the result that it names, and by a setting the entity's other ones; new calls go through."""
    lean = BankClient(siblings_become_ready=together)
    entity = lean.bank.connect()
    lean.bank.expire_session(entity)
    first, second = (lean.accounts(entity)["results_id"] for _ in range(2))
    otp(lean, first)
    assert results(lean, first)[1]["status"] == "OK"
    assert results(lean, second)[1]["status"] == other
    assert lean.accounts(entity)["status"] == "OK"


def test_results_can_be_late_after_a_reconnect() -> None:
    """With a delay, the results are PENDING between the two webhooks."""
    lean = BankClient(reconnects_progress=Progress.after(30))
    entity = lean.bank.connect()
    lean.webhooks()
    lean.bank.expire_session(entity)
    asked = lean.accounts(entity)["results_id"]
    otp(lean, asked)
    assert [one["type"] for one in lean.webhooks()] == ["entity.reconnected"]
    assert results(lean, asked)[1]["status"] == "PENDING"
    lean.later(seconds=30)
    assert [one["type"] for one in lean.webhooks()] == ["results.ready"]


@pytest.mark.parametrize("new_ids", [False, True])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_results_can_want_the_user_again(lean: BankClient, api: str, new_ids: bool) -> None:
    """A second round: v2 repeats the id or gives a new one, v1 has a new reconnect id in any case."""
    entity = lean.bank.connect()
    lean.bank.expire_session(entity)

    def place() -> Any:
        if api == "v1":
            return lean.ask("POST", "/data/v1/accounts", {"entity_id": entity})[1]
        return lean.accounts(entity)

    def reconnect_id(said: Any) -> str:
        return str(said["payload"]["reconnect_id"] if api == "v1" else said["results_id"])

    first = place()
    otp(lean, reconnect_id(first))
    lean.bank.fault(Fault.reconnect(on="results", new_ids=new_ids))
    again = lean.ask("GET", f"/data/{api}/results/{first['results_id']}")[1]
    assert again["status"] == "RECONNECT_REQUIRED"
    assert (again["results_id"] != first["results_id"]) is new_ids
    assert (reconnect_id(again) != reconnect_id(first)) is (new_ids or api == "v1")
    assert otp(lean, reconnect_id(again)).status == "SUCCESS"
    assert lean.ask("GET", f"/data/{api}/results/{again['results_id']}")[1]["status"] == "OK"


def test_results_come_in_pages(lean: BankClient) -> None:
    """Results page as the call itself would, and show the data as of when they became ready."""
    entity = lean.bank.connect()
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/transactions"
    lean.bank.expire_session(entity)
    asked = lean.ask("GET", path, entity_id=entity, start_date="2025-01-01")[1]["results_id"]
    otp(lean, asked)
    page = results(lean, asked, size="100")[1]["data"]["page"]
    assert page["total_pages"] > 1
    lean.later(days=20)
    pages = [results(lean, asked, size="100", page=str(n))[1]["data"] for n in range(page["total_pages"])]
    assert sum(len(one["transactions"]) for one in pages) == page["total_elements"]
    assert min(one["booking_date_time"] for one in pages[-1]["transactions"]) >= "2025-01-01"


def test_unknown_results_are_404(lean: BankClient) -> None:
    """An id that Lean never gave is UNKNOWN_RESULTS_ID; one that is no UUID is a wrong parameter."""
    assert results(lean, "7d0b6f0a-0000-4000-8000-000000000000")[1]["status"] == "UNKNOWN_RESULTS_ID"
    assert results(lean, "x")[1]["status"] == "INVALID_PARAMETERS"


# --- refreshes


def refresh(lean: BankClient, entity: str) -> tuple[int, Any]:
    """POST a refresh."""
    return lean.ask("POST", "/data/v2/refreshes", {"entity_id": entity})


@pytest.mark.parametrize("word", ["FINISHED", "OK"])
def test_a_refresh_goes_from_pending_to_finished(word: str) -> None:
    """A refresh answers OK with an id, tells its steps by webhook and ends FINISHED with every part OK."""
    lean = BankClient(refresh_done=word)
    entity = lean.bank.connect()
    lean.webhooks()
    http, said = refresh(lean, entity)
    assert (http, said["status"]) == (200, "OK")
    assert set(said) == {"refresh_id", "status", "message", "timestamp"}
    one = f"/data/v2/refreshes/{said['refresh_id']}"
    assert lean.ask("GET", one)[1]["status"] == "PENDING"
    steps = lean.webhooks()
    lean.later(seconds=8)
    steps += lean.webhooks()
    assert [step["type"] for step in steps] == ["entity.data.refresh.updated"] * 3
    assert [step["payload"]["status"] for step in steps] == ["PENDING", "PENDING", word]
    assert [step["payload"]["data_status"]["accounts"] for step in steps] == ["PENDING", "OK", "OK"]
    assert {"entity_id", "refresh_id", "customer_id", "app_user_id"} <= set(steps[0]["payload"])
    done = lean.ask("GET", one)[1]
    assert done["status"] == "FINISHED"
    assert {"entity_id", "customer_id", "created_at", "updated_at"} <= set(done)
    part = done["data_status"]["account_data"][0]
    assert {value for name, value in part.items() if name not in ("account_id", "transactionAvailability")} == {"OK"}
    assert set(part["transactionAvailability"]) == {"start", "end"}
    listed = lean.ask("GET", "/data/v2/refreshes", entity_id=entity)[1]
    assert [entry["refresh_id"] for entry in listed["content"]] == [said["refresh_id"]]
    assert listed["page"]["total_elements"] == 1


def test_refreshes_are_limited(lean: BankClient) -> None:
    """One at a time (429 DUPLICATED_REQUEST), ten minutes apart, two a day (429 RATE_LIMIT_EXCEEDED)."""
    entity = lean.bank.connect()

    def again() -> tuple[int, str]:
        http, said = refresh(lean, entity)
        return http, said["status"]

    assert again() == (200, "OK")
    assert again() == (429, "DUPLICATED_REQUEST")
    lean.later(minutes=9)
    assert again() == (429, "RATE_LIMIT_EXCEEDED")
    lean.later(minutes=1)
    assert again() == (200, "OK")
    lean.later(hours=1)
    assert again() == (429, "RATE_LIMIT_EXCEEDED")
    lean.later(days=1)
    assert again() == (200, "OK")


def test_a_refresh_can_want_the_user(lean: BankClient) -> None:
    """RECONNECT_REQUIRED names one id twice; the OTP starts the refresh, and no `results.ready` comes."""
    entity = lean.bank.connect()
    lean.webhooks()
    lean.bank.expire_session(entity)
    http, said = refresh(lean, entity)
    assert (http, said["status"]) == (200, "RECONNECT_REQUIRED")
    assert said["reconnect_id"] == said["refresh_id"]
    assert lean.ask("GET", "/data/v2/refreshes", entity_id=entity)[1]["content"] == []
    assert otp(lean, said["reconnect_id"]).status == "SUCCESS"
    lean.later(seconds=10)
    types = [one["type"] for one in lean.webhooks()]
    assert types == ["entity.reconnected"] + ["entity.data.refresh.updated"] * 3
    assert lean.ask("GET", f"/data/v2/refreshes/{said['refresh_id']}")[1]["status"] == "FINISHED"


def test_a_finished_refresh_can_have_failed_parts(lean: BankClient) -> None:
    """FINISHED does not say that every part is there."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.partial_refresh("identity", "transactions"))
    refresh_id = refresh(lean, entity)[1]["refresh_id"]
    lean.later(seconds=8)
    said = lean.ask("GET", f"/data/v2/refreshes/{refresh_id}")[1]
    assert (said["status"], said["data_status"]["identity"]) == ("FINISHED", "FAILED")
    assert {one["transactions"] for one in said["data_status"]["account_data"]} == {"FAILED"}
    assert {one["balance"] for one in said["data_status"]["account_data"]} == {"OK"}


def test_a_new_entity_can_refresh_itself() -> None:
    """With the setting, `entity.created` is followed within seconds by the burst of its first refresh."""
    lean = BankClient(refresh_on_connect=True)
    entity = lean.bank.connect()
    lean.later(seconds=8)
    assert [one["type"] for one in lean.webhooks()] == ["entity.created"] + ["entity.data.refresh.updated"] * 3
    assert refresh(lean, entity)[0] == 200


# --- consents, banks, users


@pytest.mark.parametrize(
    ("shape", "http", "status"),
    [("status_403", 403, "CONSENT_EXPIRED"), ("envelope", 200, "CONSENT_EXPIRED"), ("failed_403", 403, "FAILED")],
)
def test_a_revoked_consent_is_told_in_three_shapes(shape: str, http: int, status: str) -> None:
    """Revocation emits `entity.updated`; data calls and refreshes are refused until the user connects again."""
    lean = BankClient(consent_shape=shape)
    entity = lean.bank.connect()
    lean.webhooks()
    lean.bank.revoke_consent(entity)
    [event] = lean.webhooks()
    assert (event["type"], event["payload"]["id"]) == ("entity.updated", entity)
    code, said = lean.ask("GET", "/data/v2/accounts", entity_id=entity)
    assert (code, said["status"]) == (http, status)
    assert refresh(lean, entity)[0] == 403
    path = f"/customers/v1/{lean.bank.customer_of(entity)}/entities/{entity}"
    assert lean.ask("GET", path)[1]["consents"][0]["consent_status"] == "REVOKED"
    lean.bank.renew_consent(entity)
    assert lean.accounts(entity)["status"] == "OK"


def test_a_consent_ends_of_age() -> None:
    """Past its `expiration_date_time` a consent no longer holds, though its status lags."""
    lean = BankClient(consent_life=timedelta(hours=24))
    entity = lean.bank.connect()
    lean.later(hours=24)
    assert lean.accounts(entity)["status"] == "CONSENT_EXPIRED"
    path = f"/customers/v1/{lean.bank.customer_of(entity)}/entities/{entity}"
    consent = lean.ask("GET", path)[1]["consents"][0]
    assert consent["consent_status"] == "ACTIVE"
    assert consent["standard_consent_status"] == "EXPIRED"
    assert consent["expiration_date_time"].startswith("2026-01-02")


def test_a_bank_can_be_switched_off(lean: BankClient) -> None:
    """A bank that Lean disabled fails its own entities' calls, and each switch is announced."""
    here, there = lean.bank.connect("a", bank="LEANMB1"), lean.bank.connect("b", bank="MOCK_UAE")
    lean.webhooks()
    lean.bank.switch_bank("LEANMB1", active_data=False)
    assert lean.accounts(here)["status_detail"]["granular_status_code"] == "DISABLED_BY_LEAN"
    assert lean.accounts(there)["status"] == "OK"
    lean.bank.switch_bank("LEANMB1", active_data=True, enabled_data=False)
    assert lean.accounts(here)["status_detail"]["granular_status_code"] == "DISABLED_BY_CLIENT"
    lean.bank.switch_bank("LEANMB1", enabled_data=True)
    assert lean.accounts(here)["status"] == "OK"
    events = lean.webhooks()
    assert [one["type"] for one in events] == ["bank.availability.updated"] * 3
    told = [one["payload"]["availability"] for one in events]
    assert [(t["active"]["data"], t["enabled"]["data"]) for t in told] == [(False, True), (True, False), (True, True)]


def test_a_locked_user_fails_every_data_call(lean: BankClient) -> None:
    """EU_ACCOUNT_LOCKED comes under 200, with words for the user."""
    said = lean.accounts(lean.bank.connect(username="mockbank_user_5"))
    assert said["status"] == "FAILED"
    assert said["status_detail"]["granular_status_code"] == "EU_ACCOUNT_LOCKED"
    assert said["status_detail"]["status_additional_info"]


def test_time_that_stands_still_or_goes_back_undoes_nothing(lean: BankClient) -> None:
    """What became ready stays ready when a caller's clock is behind."""
    entity = lean.bank.connect()
    asked = lean.accounts(entity, **{"async": "true"})["results_id"]
    lean.later(seconds=2)
    assert results(lean, asked)[1]["status"] == "OK"
    latest = lean.bank.now
    lean.later(seconds=-60)
    assert results(lean, asked)[1]["status"] == "OK"
    assert lean.bank.now == latest
