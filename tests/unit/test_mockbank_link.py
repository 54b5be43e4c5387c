"""The user's side, screen by screen, without a browser: `Mockbank.open_link` and `Mockbank.answer_link`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from leanflow.errors import InvalidRequest
from leanflow.mockbank import Fault, LinkView
from tests.support.bank import BankClient, customer, wanted

DAY = timedelta(days=1)


class Visitor:
    """A user at the hosted page of a Mockbank."""

    def __init__(self, lean: BankClient) -> None:
        self.lean = lean
        self.view = LinkView(link_id="", method="", screen="")

    @property
    def screen(self) -> str:
        """Where the user is."""
        return self.view.screen

    @property
    def said(self) -> dict[str, Any]:
        """What the SDK called back with."""
        assert self.view.callback is not None
        return dict(self.view.callback)

    def reconnect(self, reconnect_id: str, **more: Any) -> LinkView:
        """Open `Lean.reconnect`."""
        asked = {"app_token": self.lean.bank.app, "reconnect_id": reconnect_id, "sandbox": True, **more}
        self.view = self.lean.bank.open_link("reconnect", asked, self.lean.now)
        return self.view

    def connect(self, **more: Any) -> LinkView:
        """Open `Lean.connect` for user-1."""
        asked = {
            "app_token": self.lean.bank.app,
            "customer_id": customer(self.lean),
            "permissions": ["accounts", "balance"],
            "sandbox": "true",
            **more,
        }
        self.view = self.lean.bank.open_link("connect", asked, self.lean.now)
        return self.view

    def does(self, step: str, **given: str) -> LinkView:
        """Do one step."""
        self.view = self.lean.bank.answer_link(self.view.link_id, step, self.lean.now, **given)
        return self.view

    def logs_in(self, username: str = "mockbank_user_3", bank: str = "LEANMB1") -> LinkView:
        """Go through all screens of `Lean.connect`."""
        self.does("bank", bank_identifier=bank)
        self.does("consent")
        self.does("credentials", username=username, password=username)
        return self.does("otp", otp="1111")


@pytest.fixture
def lean() -> BankClient:
    """A client of a fresh Mockbank."""
    return BankClient()


@pytest.fixture
def visitor(lean: BankClient) -> Visitor:
    """A user of that Mockbank."""
    return Visitor(lean)


# --- connect


def test_connecting_goes_from_bank_to_otp_and_makes_an_entity(lean: BankClient, visitor: Visitor) -> None:
    """Bank, permissions, credentials, OTP: then the entity is there, `entity.created` is sent, the callback says so."""
    opened = visitor.connect()
    assert (opened.screen, opened.permissions) == ("banks", ("accounts", "balance"))
    assert [bank["identifier"] for bank in opened.banks] == list(lean.bank.banks)
    chosen = visitor.does("bank", bank_identifier="MOCK_UAE")
    assert chosen.bank is not None
    assert (chosen.screen, chosen.bank["identifier"], chosen.banks) == ("permissions", "MOCK_UAE", ())
    assert visitor.does("consent").screen == "credentials"
    assert visitor.does("credentials", username="mockbank_user_1", password="mockbank_user_1").screen == "otp"
    assert lean.webhooks() == []
    done = visitor.does("otp", otp="1111")
    assert (done.screen, done.problem) == ("success", None)
    assert visitor.said == {
        "status": "SUCCESS",
        "secondary_status": "OK",
        "message": "The account was connected.",
        "exit_point": "SUCCESS",
        "bank": {"bank_identifier": "MOCK_UAE", "is_supported": True},
    }
    [created] = lean.webhooks()
    assert (created["type"], created["payload"]["permissions"]) == ("entity.created", ["accounts", "balance"])
    assert created["payload"]["bank_details"]["identifier"] == "MOCK_UAE"
    assert lean.accounts(created["payload"]["id"])["status"] == "OK"


def test_what_has_ended_stays_as_it_ended(lean: BankClient, visitor: Visitor) -> None:
    """A step that is repeated because its answer was lost shows the same end, and does nothing twice."""
    visitor.connect()
    done = visitor.logs_in()
    assert visitor.does("otp", otp="1111") == done
    assert visitor.does("cancel") == done
    assert [event["type"] for event in lean.webhooks()] == ["entity.created"]


def test_a_bank_can_be_chosen_beforehand(visitor: Visitor) -> None:
    """With `bank_identifier` the choice is skipped, and there is no way back to it."""
    assert visitor.connect(bank_identifier="MOCK_UAE").screen == "permissions"
    with pytest.raises(InvalidRequest, match="'back' is no step"):
        visitor.does("back")
    visitor.does("consent")
    assert visitor.does("back").screen == "permissions"


def test_the_user_can_go_back_to_the_banks(visitor: Visitor) -> None:
    """From the credentials to the permissions, from there to the banks."""
    visitor.connect()
    visitor.does("bank", bank_identifier="MOCK_UAE")
    visitor.does("consent")
    assert [visitor.does("back").screen, visitor.does("back").screen] == ["permissions", "banks"]
    assert visitor.view.bank is None
    assert visitor.does("bank", bank_identifier="LEANMB1").screen == "permissions"


@pytest.mark.parametrize(
    ("switch", "problem"), [("active_data", "DISABLED_BY_LEAN"), ("enabled_data", "DISABLED_BY_CLIENT")]
)
def test_a_bank_that_is_off_cannot_be_chosen(lean: BankClient, visitor: Visitor, switch: str, problem: str) -> None:
    """It is shown as off; choosing it leads nowhere; chosen beforehand it ends the visit."""
    lean.bank.switch_bank("MOCK_UAE", lean.now, **{switch: False})
    assert [bank["identifier"] for bank in visitor.connect().banks if not bank["usable"]] == ["MOCK_UAE"]
    refused = visitor.does("bank", bank_identifier="MOCK_UAE")
    assert (refused.screen, refused.problem) == ("banks", problem)
    ended = visitor.connect(bank_identifier="MOCK_UAE")
    assert (ended.screen, visitor.said["status"], visitor.said["secondary_status"]) == ("error", "ERROR", problem)


def test_wrong_credentials_are_counted(visitor: Visitor) -> None:
    """Two tries stay in the flow with INVALID_CREDENTIALS, the third ends it."""
    visitor.connect(bank_identifier="LEANMB1")
    visitor.does("consent")
    seen = []
    for username, password in (("nobody", "nobody"), ("mockbank_user_1", "wrong"), ("mockbank_user_1", "")):
        view = visitor.does("credentials", username=username, password=password)
        seen.append((view.screen, view.problem, view.attempts_left))
    assert seen == [
        ("credentials", "INVALID_CREDENTIALS", 2),
        ("credentials", "INVALID_CREDENTIALS", 1),
        ("error", "INVALID_CREDENTIALS", None),
    ]
    assert (visitor.said["status"], visitor.said["exit_point"]) == ("ERROR", "CREDENTIALS")


def test_a_locked_account_is_turned_away(lean: BankClient, visitor: Visitor) -> None:
    """The bank says no after the credentials, and no entity is made."""
    visitor.connect(bank_identifier="LEANMB1")
    visitor.does("consent")
    view = visitor.does("credentials", username="mockbank_user_5", password="mockbank_user_5")
    assert (view.screen, view.problem, visitor.said["status"]) == ("error", "REJECTED_BY_BANK", "ERROR")
    assert lean.webhooks() == []


def test_wrong_codes_end_a_connection(lean: BankClient, visitor: Visitor) -> None:
    """INVALID_MFA twice, then MFA_ATTEMPTS_EXHAUSTED; wrong credentials before count for nothing."""
    visitor.connect(bank_identifier="LEANMB1")
    visitor.does("consent")
    visitor.does("credentials", username="x", password="x")
    visitor.does("credentials", username="mockbank_user_1", password="mockbank_user_1")
    views = [visitor.does("otp", otp="0000") for _ in range(3)]
    assert [(view.problem, view.attempts_left) for view in views] == [
        ("INVALID_MFA", 2),
        ("INVALID_MFA", 1),
        ("MFA_ATTEMPTS_EXHAUSTED", None),
    ]
    assert visitor.said["status"] == "ERROR"
    assert lean.webhooks() == []


def test_connecting_again_is_the_way_out_of_an_ended_consent(lean: BankClient, visitor: Visitor) -> None:
    """The same user at the same bank gets the same entity back, and `entity.updated` says so."""
    visitor.connect()
    visitor.logs_in()
    entity = str(lean.webhooks()[0]["payload"]["id"])
    lean.bank.revoke_consent(entity, lean.now)
    lean.webhooks()
    assert lean.accounts(entity)["status"] == "CONSENT_EXPIRED"
    visitor.connect(permissions=["accounts", "transactions"])
    assert visitor.logs_in().screen == "success"
    [updated] = lean.webhooks()
    assert (updated["type"], updated["payload"]["id"]) == ("entity.updated", entity)
    assert updated["payload"]["permissions"] == ["accounts", "transactions"]
    assert lean.accounts(entity)["status"] == "OK"


def test_connecting_what_is_connected_is_told(lean: BankClient, visitor: Visitor) -> None:
    """Nothing to do: ENTITY_ALREADY_CONNECTED. With other permissions, or a session that is over, there is."""
    visitor.connect()
    visitor.logs_in()
    entity = str(lean.webhooks()[0]["payload"]["id"])
    visitor.connect()
    assert visitor.logs_in().problem == "ENTITY_ALREADY_CONNECTED"
    assert lean.webhooks() == []
    lean.bank.expire_session(entity, lean.now)
    visitor.connect()
    assert visitor.logs_in().screen == "success"
    assert [event["type"] for event in lean.webhooks()] == ["entity.updated"]
    visitor.connect(permissions=["accounts", "balance", "transactions"])
    assert visitor.logs_in().screen == "success"
    assert lean.webhooks()[0]["payload"]["permissions"] == ["accounts", "balance", "transactions"]
    visitor.connect()
    assert visitor.logs_in(bank="MOCK_UAE").screen == "success"
    assert [event["type"] for event in lean.webhooks()] == ["entity.created"]


# --- reconnect


def test_a_reconnect_asks_for_the_code_and_brings_the_data(lean: BankClient, visitor: Visitor) -> None:
    """One screen; then `entity.reconnected` and `results.ready`, and a callback that names neither."""
    reconnect_id = wanted(lean)
    opened = visitor.reconnect(reconnect_id)
    assert opened.bank is not None
    assert (opened.screen, opened.bank["identifier"]) == ("otp", "LEANMB1")
    assert visitor.does("otp", otp=" 1111 ").screen == "success"
    assert {event["type"] for event in lean.webhooks()} == {"entity.reconnected", "results.ready"}
    assert reconnect_id not in str(visitor.said)
    assert visitor.said["status"] == "SUCCESS"
    again = visitor.reconnect(reconnect_id)
    assert (again.screen, again.problem) == ("error", "ENTITY_ALREADY_CONNECTED")


def test_each_visit_has_its_own_attempts(lean: BankClient, visitor: Visitor) -> None:
    """Wrong codes are counted within one visit; closing the window and coming back begins anew, and so does an end."""
    reconnect_id = wanted(lean)
    for _ in range(2):
        visitor.reconnect(reconnect_id)
        assert visitor.does("otp", otp="2222").attempts_left == 2
        assert visitor.does("otp", otp="2222").attempts_left == 1
    exhausted = visitor.does("otp", otp="2222")
    assert (exhausted.screen, exhausted.problem) == ("error", "MFA_ATTEMPTS_EXHAUSTED")
    assert lean.webhooks() == []
    visitor.reconnect(reconnect_id)
    assert visitor.does("otp", otp="1111").screen == "success"


def test_a_user_who_cancels_can_come_back(lean: BankClient, visitor: Visitor) -> None:
    """CANCELLED says where the user was and why; no webhook; the same id works later."""
    reconnect_id = wanted(lean)
    visitor.reconnect(reconnect_id)
    assert visitor.does("cancel", exit_survey_reason="LATER").screen == "closed"
    assert visitor.said == {
        "status": "CANCELLED",
        "secondary_status": "FAILED",
        "message": "The user closed the window.",
        "exit_point": "OTP",
        "exit_intent_point": "OTP",
        "user_exit_intent": True,
        "exit_survey_reason": "LATER",
        "bank": {"bank_identifier": "LEANMB1", "is_supported": True},
    }
    assert lean.webhooks() == []
    visitor.reconnect(reconnect_id)
    assert visitor.does("otp", otp="1111").screen == "success"


def test_dead_reconnect_ids_end_at_once(lean: BankClient, visitor: Visitor) -> None:
    """Unknown, older than 30 days, or of a consent that has ended: an error to be shown, and nothing happens."""
    assert (visitor.reconnect("never-given").screen, visitor.view.problem) == ("error", "UNKNOWN")
    reconnect_id = wanted(lean)
    lean.bank.revoke_consent(lean.bank.state()["entities"][0]["entity_id"], lean.now)
    assert visitor.reconnect(reconnect_id).problem == "CONSENT_EXPIRED"
    lean = visitor.lean = BankClient()
    reconnect_id = wanted(lean)
    lean.now += 29 * DAY
    assert visitor.reconnect(reconnect_id).screen == "otp"
    lean.now += DAY
    assert (visitor.does("otp", otp="1111").screen, visitor.view.problem) == ("error", "UNKNOWN")
    assert visitor.reconnect(reconnect_id).screen == "error"


def test_a_refresh_is_reconnected_in_the_same_way(lean: BankClient, visitor: Visitor) -> None:
    """Its reconnect id is the refresh id; used, it is told as used."""
    entity = lean.bank.connect("user-1")
    lean.bank.expire_session(entity)
    asked = lean.ask("POST", "/data/v2/refreshes", {"entity_id": entity})[1]["reconnect_id"]
    visitor.reconnect(asked)
    assert visitor.does("otp", otp="1111").screen == "success"
    assert visitor.reconnect(asked).problem == "ENTITY_ALREADY_CONNECTED"


# --- parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"app_token": None}, "app_token: is missing"),
        ({"app_token": "someone-elses"}, "app_token: is not this"),
        ({"sandbox": None}, "sandbox: is missing"),
        ({"sandbox": "false"}, "sandbox: is false"),
        ({"sandbox": 1}, "sandbox: must be"),
        ({"reconnect_id": 7}, "reconnect_id: must be a text"),
        ({"reconnectId": "x"}, "reconnectId: is no parameter of Lean.reconnect"),
        ({"customer_id": "x"}, "customer_id: is no parameter of Lean.reconnect"),
        ({"language": "fr"}, "language: is 'fr'; must be one of en, ar"),
        ({"customization": "red"}, "customization: must be an object"),
        ({"customer_metadata": 3}, "customer_metadata: must be a text or an object"),
    ],
)
def test_a_wrong_call_of_reconnect_is_told(
    lean: BankClient, visitor: Visitor, change: dict[str, Any], message: str
) -> None:
    """It never begins: ERROR, with what is wrong; the right call works."""
    reconnect_id = wanted(lean)
    view = visitor.reconnect(**{"reconnect_id": reconnect_id, **change})
    assert view.screen == "invalid"
    assert visitor.said["status"] == "ERROR"
    assert message in visitor.said["message"]
    more = {"customer_metadata": {"a": "b"}, "destination_alias": "x", "destination_avatar": "y", "customization": {}}
    assert visitor.reconnect(reconnect_id, language="ar", **more).language == "ar"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"permissions": []}, "permissions: must be a list"),
        ({"permissions": "accounts"}, "permissions: must be a list"),
        ({"permissions": ["accounts", "balances"]}, "permissions: balances is none of"),
        ({"customer_id": "never-made"}, "customer_id: is not known"),
        ({"bank_identifier": "NOBANK"}, "bank: 'NOBANK' is none of"),
        ({"country": "SA"}, "country: is 'SA'"),
        ({"account_type": "JOINT"}, "account_type: is 'JOINT'"),
        ({"success_redirect_url": "javascript:alert(1)"}, "success_redirect_url: must be an absolute URL"),
        ({"fail_redirect_url": "/relative"}, "fail_redirect_url: must be an absolute URL"),
        ({"fail_redirect_url": "http://[bad"}, "fail_redirect_url: must be an absolute URL"),
        ({"reconnect_id": "x"}, "reconnect_id: is no parameter of Lean.connect"),
    ],
)
def test_a_wrong_call_of_connect_is_told(visitor: Visitor, change: dict[str, Any], message: str) -> None:
    """It never begins: ERROR, with what is wrong; the right call works."""
    assert visitor.connect(**change).screen == "invalid"
    assert message in visitor.said["message"]
    right = {"country": "ARE", "account_type": "BUSINESS", "success_redirect_url": "leanlink://success"}
    assert visitor.connect(**right).screen == "banks"


def test_a_method_that_the_sdk_lacks_is_told(lean: BankClient) -> None:
    """`Lean.pay` is not here."""
    assert lean.bank.open_link("pay", {}).screen == "invalid"


def test_the_access_token_is_checked(lean: BankClient, visitor: Visitor) -> None:
    """A customer's own token with 10 minutes left, or none; never the backend's."""
    reconnect_id = wanted(lean)
    mine = lean.bank.token(f"customer.{customer(lean)}", lean.now)
    for token, message in (
        (lean.bank.token("api", lean.now), "has scope api"),
        (lean.bank.token("customer.another", lean.now), "is another customer's"),
        (mine[:-2], "is not a valid token"),
    ):
        assert visitor.reconnect(reconnect_id, access_token=token).screen == "invalid"
        assert message in visitor.said["message"]
        assert token not in visitor.said["message"]
        assert visitor.connect(access_token=token).screen == "invalid"
    assert visitor.connect(access_token=mine).screen == "banks"
    lean.later(minutes=49)
    assert visitor.reconnect(reconnect_id, access_token=mine).screen == "otp"
    lean.later(minutes=1)
    assert visitor.reconnect(reconnect_id, access_token=mine).screen == "invalid"
    assert "less than 10 minutes" in visitor.said["message"]


def test_where_the_api_takes_tokens_only_the_sdk_needs_one(visitor: Visitor) -> None:
    """Under bearer tokens alone a call without `access_token` is wrong."""
    visitor.lean = BankClient(auth="bearer")
    entity = visitor.lean.bank.connect("user-1")
    mine = visitor.lean.bank.token(f"customer.{visitor.lean.bank.customer_of(entity)}")
    assert visitor.reconnect("whatever").screen == "invalid"
    assert "access_token: is missing" in visitor.said["message"]
    assert visitor.reconnect("whatever", access_token=mine).screen == "error"


# --- steps, and the page's API


def test_steps_that_do_not_fit_are_refused(lean: BankClient, visitor: Visitor) -> None:
    """An unknown visit, a step of another screen, a missing answer, an unknown bank: each is named."""
    visitor.connect()
    for step, given, message in (
        ("otp", {"otp": "1111"}, "'otp' is no step at the screen banks"),
        ("fly", {}, "'fly' is no step"),
        ("bank", {}, "bank_identifier: must be a text"),
        ("bank", {"bank_identifier": "NOBANK"}, "is none of"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            visitor.does(step, **given)
    with pytest.raises(InvalidRequest, match="link_id"):
        lean.bank.answer_link("nobody", "cancel")


def test_the_page_asks_over_the_api(lean: BankClient) -> None:
    """The same flow as JSON, without credentials of the backend; wrong calls get Lean's envelope."""
    reconnect_id = wanted(lean)
    asked = {"app_token": lean.bank.app, "reconnect_id": reconnect_id, "sandbox": True}
    http, view = lean.ask("POST", "/link/visits", {"method": "reconnect", "parameters": asked})
    assert (http, view["screen"], view["callback"]) == (200, "otp", None)
    root = f"/link/visits/{view['link_id']}"
    assert lean.ask("POST", f"{root}/otp", {"otp": "9"})[1]["problem"] == "INVALID_MFA"
    assert lean.ask("POST", f"{root}/otp", {"otp": 1111})[0] == 400
    assert lean.ask("POST", f"{root}/bank", {"bank_identifier": "LEANMB1"})[0] == 400
    assert lean.ask("POST", "/link/visits/nobody/otp", {"otp": "1111"})[0] == 404
    assert lean.ask("POST", "/link/visits", {"method": "reconnect"})[0] == 400
    assert lean.ask("POST", "/link/visits", None)[0] == 400
    assert lean.ask("GET", "/link/visits")[0] == 405
    assert lean.ask("POST", f"{root}/otp", {"otp": "1111"})[1]["callback"]["status"] == "SUCCESS"


def test_faults_strike_the_page(lean: BankClient) -> None:
    """A fault of the kind `link` is the page's alone; the API works."""
    entity = lean.bank.connect()
    lean.bank.fault(Fault.http(503, on="link"))
    assert lean.accounts(entity)["status"] == "OK"
    assert [lean.ask("POST", "/link/visits", {"method": "x", "parameters": {}})[0] for _ in range(2)] == [503, 200]


def test_visits_are_forgotten_in_the_end(lean: BankClient, visitor: Visitor) -> None:
    """Windows that stay open for ever do not fill the memory: a thousand are kept."""
    first = visitor.connect().link_id
    for _ in range(999):
        visitor.connect()
    assert lean.bank.answer_link(first, "bank", bank_identifier="LEANMB1").screen == "permissions"
    visitor.connect()
    with pytest.raises(InvalidRequest, match="link_id"):
        lean.bank.answer_link(first, "cancel")
