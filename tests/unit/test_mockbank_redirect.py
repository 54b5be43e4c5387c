"""Banks that authorise on their own site: REDIRECT, the site, the way back; and what only webhooks tell."""

from __future__ import annotations

from typing import Any

import pytest

from leanflow.errors import InvalidRequest
from leanflow.mockbank import LinkView, Mockbank, Scenario, control
from tests.support.bank import BankClient, customer, wanted

HOME = {"success_redirect_url": "https://shop.example/good", "fail_redirect_url": "https://shop.example/bad"}
SITE = "https://mockbank.example/link/bank/"


@pytest.fixture
def lean() -> BankClient:
    """A client of a Mockbank whose first bank authorises by redirect."""
    return BankClient(redirect_banks=("LEANMB1",))


def opened(lean: BankClient, method: str, **more: Any) -> LinkView:
    """Open the Link SDK."""
    return lean.bank.open_link(method, {"app_token": lean.bank.app, "sandbox": True, **more}, lean.now)


def does(lean: BankClient, view: LinkView, *steps: str, **given: str) -> LinkView:
    """Take some steps; the last is given what is given."""
    for step in steps:
        view = lean.bank.answer_link(view.link_id, step, lean.now, **(given if step == steps[-1] else {}))
    return view


def connecting(lean: BankClient, **more: Any) -> LinkView:
    """Go through `Lean.connect` until the user leaves for the bank."""
    asked = {"customer_id": customer(lean), "permissions": ["accounts"], "bank_identifier": "LEANMB1", **more}
    return does(lean, opened(lean, "connect", **asked), "consent", "continue")


def at_the_bank(lean: BankClient, view: LinkView) -> LinkView:
    """Go where the callback leads."""
    assert view.callback is not None
    return lean.bank.visit_bank(view.callback["open_banking_redirect_url"], lean.now)


def logged_in(lean: BankClient, view: LinkView, username: str = "mockbank_user_3") -> LinkView:
    """Log in at the bank's site."""
    return does(lean, at_the_bank(lean, view), "login", username=username, password=username)


def types(lean: BankClient) -> list[str]:
    """Return the types of the webhooks that came."""
    return [one["type"] for one in lean.webhooks()]


def test_a_connection_is_approved_at_the_banks_own_site(lean: BankClient) -> None:
    """REDIRECT with the address and the bank ends the SDK; the approval makes the entity; the user goes home."""
    left = connecting(lean, **HOME)
    assert (left.screen, left.return_url) == ("redirected", None)
    assert left.callback is not None
    url = left.callback["open_banking_redirect_url"]
    assert url.startswith(SITE)
    assert left.callback == {
        "status": "REDIRECT",
        "message": "The user was sent to the bank.",
        "exit_point": "REDIRECT",
        "open_banking_redirect_url": url,
        "bank": {"bank_identifier": "LEANMB1", "is_supported": True},
    }
    there = lean.bank.visit_bank(url)
    assert (there.screen, there.method, there.callback, there.bank and there.bank["name"]) == (
        "bank_login",
        "connect",
        None,
        "Lean Mockbank",
    )
    asked = logged_in(lean, left)
    assert (asked.screen, asked.permissions) == ("bank_approval", ("accounts",))
    assert types(lean) == [], "neither the SDK's word nor a login is anything to Lean"
    done = does(lean, asked, "approve")
    assert (done.screen, done.return_url, done.callback) == ("approved", HOME["success_redirect_url"], None)
    assert types(lean) == ["entity.created"]
    assert does(lean, done, "approve") == does(lean, done, "refuse") == lean.bank.visit_bank(url) == done
    assert types(lean) == [], "a step that is repeated does nothing twice"


def test_a_reconnect_is_approved_at_the_banks_own_site(lean: BankClient) -> None:
    """There is no OTP: one screen, REDIRECT, the bank; then `entity.reconnected`, `results.ready` and the results."""
    reconnect_id = wanted(lean)
    view = opened(lean, "reconnect", reconnect_id=reconnect_id, **HOME)
    assert view.screen == "redirect"
    with pytest.raises(InvalidRequest, match="'otp' is no step at the screen redirect"):
        does(lean, view, "otp", otp="1111")
    with pytest.raises(InvalidRequest, match="'back' is no step"):
        does(lean, view, "back")
    done = does(lean, logged_in(lean, does(lean, view, "continue")), "approve")
    assert (done.screen, done.return_url) == ("approved", HOME["success_redirect_url"])
    assert types(lean) == ["entity.reconnected", "results.ready"]
    assert lean.ask("GET", f"/data/v2/results/{reconnect_id}")[1]["status"] == "OK"


@pytest.mark.parametrize("at", ["bank_login", "bank_approval"])
@pytest.mark.parametrize("method", ["connect", "reconnect"])
def test_a_refusal_leaves_no_trace(lean: BankClient, method: str, at: str) -> None:
    """The SDK had called back with REDIRECT all the same; no webhook comes; the reconnect id lives on."""
    reconnect_id = wanted(lean)
    if method == "connect":
        left = connecting(lean, **HOME)
    else:
        left = does(lean, opened(lean, "reconnect", reconnect_id=reconnect_id, **HOME), "continue")
    there = at_the_bank(lean, left) if at == "bank_login" else logged_in(lean, left)
    done = does(lean, there, "refuse")
    assert (there.screen, done.screen, done.return_url) == (at, "refused", HOME["fail_redirect_url"])
    assert does(lean, done, "approve") == done
    assert types(lean) == []
    assert lean.bank.pending_reconnects() == [reconnect_id]


def test_the_sdk_says_the_same_whatever_comes_of_it(lean: BankClient) -> None:
    """What `authorise` gives is a hint: REDIRECT for an approval and for a refusal, and nothing of the ids."""
    reconnect_id = wanted(lean)
    said = [lean.bank.authorise(reconnect_id, approve=approve).payload() for approve in (False, True)]
    for one in said:
        assert one.pop("open_banking_redirect_url").startswith(SITE)
        assert reconnect_id not in str(one)
    assert said[0] == said[1]
    assert said[0]["status"] == "REDIRECT"
    assert types(lean) == ["entity.reconnected", "results.ready"], "of the approval alone"
    assert lean.bank.authorise(reconnect_id).payload()["secondary_status"] == "ENTITY_ALREADY_CONNECTED"


def test_a_wrong_login_at_the_bank_is_counted(lean: BankClient) -> None:
    """Wrong words, and right ones of somebody else: three of them end it, and Lean hears nothing."""
    left = does(lean, opened(lean, "reconnect", reconnect_id=wanted(lean), **HOME), "continue")
    there = at_the_bank(lean, left)
    seen = []
    for username, password in (("mockbank_user_3", "x"), ("nobody", "nobody"), ("mockbank_user_1", "mockbank_user_1")):
        there = does(lean, there, "login", username=username, password=password)
        seen.append((there.screen, there.problem, there.attempts_left))
    assert seen == [
        ("bank_login", "INVALID_CREDENTIALS", 2),
        ("bank_login", "INVALID_CREDENTIALS", 1),
        ("rejected", "INVALID_CREDENTIALS", None),
    ]
    assert there.return_url == HOME["fail_redirect_url"]
    assert types(lean) == []


def test_the_bank_rejects_what_cannot_be(lean: BankClient) -> None:
    """A locked account; a reconnect that is done or whose consent has ended meanwhile; a connection that is there."""
    locked = logged_in(lean, connecting(lean), "mockbank_user_5")
    assert (locked.screen, locked.problem, locked.return_url) == ("rejected", "REJECTED_BY_BANK", None)
    reconnect_id = wanted(lean)
    first, second, third = (
        logged_in(lean, does(lean, opened(lean, "reconnect", reconnect_id=reconnect_id), "continue")) for _ in range(3)
    )
    assert does(lean, first, "approve").screen == "approved"
    assert does(lean, second, "approve").problem == "ENTITY_ALREADY_CONNECTED"
    lean.bank.revoke_consent(str(lean.bank.state()["entities"][-1]["entity_id"]))
    assert does(lean, third, "approve").problem == "CONSENT_EXPIRED"
    again = logged_in(lean, connecting(lean))
    assert does(lean, again, "approve").screen == "approved"
    again = logged_in(lean, connecting(lean))
    assert does(lean, again, "approve").problem == "ENTITY_ALREADY_CONNECTED"


def test_the_user_can_still_turn_round(lean: BankClient) -> None:
    """Before leaving: back to the permissions, or out with CANCELLED."""
    view = opened(lean, "connect", customer_id=customer(lean), permissions=["accounts"])
    view = does(lean, does(lean, view, "bank", bank_identifier="LEANMB1"), "consent")
    assert (view.screen, does(lean, view, "back").screen) == ("redirect", "permissions")
    gone = does(lean, view, "consent", "cancel")
    assert gone.callback is not None
    assert (gone.callback["status"], gone.callback["exit_point"]) == ("CANCELLED", "REDIRECT")


def test_each_bank_is_switched_by_itself(lean: BankClient) -> None:
    """By setting, by method, by control command, in a scenario; the others ask for login and OTP as ever."""
    bank = Mockbank()
    entities = {name: bank.connect(name, username="mockbank_user_3", bank=name) for name in bank.banks[:2]}

    def screens(on: Mockbank) -> list[str]:
        found = []
        for name, entity in entities.items():
            on.expire_session(entity)
            client.bank = on
            asked = client.accounts(entity)["results_id"]
            found.append(opened(client, "reconnect", reconnect_id=asked).screen)
            assert name in on.banks
        return found

    client = BankClient()
    assert screens(bank) == ["otp", "otp"]
    bank.redirect_bank("MOCK_UAE")
    assert screens(bank) == ["otp", "redirect"]
    control(bank, "redirect_bank", {"bank": "LEANMB1"}, bank.now)
    control(bank, "redirect_bank", {"bank": "MOCK_UAE", "on": False}, bank.now)
    assert screens(bank) == ["redirect", "otp"]
    told = Scenario.parse(
        'settings = { redirect_banks = ["MOCK_UAE"] }\ntimed = [{ at = 5, do = "redirect_bank", bank = "LEANMB1" }]'
    )
    again = Mockbank.from_scenario(told)
    entities.update({name: again.connect(name, username="mockbank_user_3", bank=name) for name in entities})
    assert screens(again) == ["otp", "redirect"]
    client.later(seconds=5)
    assert screens(again) == ["redirect", "redirect"]


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (lambda: Mockbank(redirect_banks=("NOPE",)), "redirect_banks: 'NOPE' is none of LEANMB1"),
        (
            lambda: Scenario.parse("settings = { redirect_banks = 'LEANMB1' }"),
            "redirect_banks: is 'LEANMB1'; must be a",
        ),
        (
            lambda: Scenario.parse("settings = { redirect_banks = ['NOPE'] }", "x.toml"),
            "x.toml: settings.redirect_banks: ",
        ),
        (lambda: Mockbank().redirect_bank("NOPE"), "bank: 'NOPE' is none of LEANMB1"),
        (lambda: Mockbank().visit_bank(SITE + "nobody"), "is no page of a bank that is known"),
    ],
)
def test_what_is_not_there_is_told(do: Any, words: str) -> None:
    """By its name."""
    with pytest.raises(InvalidRequest) as raised:
        do()
    assert words in str(raised.value)


def test_each_bank_wants_its_own_way(lean: BankClient) -> None:
    """An OTP where there is none, an approval where there is an OTP, a page of the SDK taken for a bank's."""
    at_redirect = wanted(lean)
    entity = lean.bank.connect("user-2", username="mockbank_user_3", bank="MOCK_UAE")
    lean.bank.expire_session(entity)
    by_otp = lean.accounts(entity)["results_id"]
    with pytest.raises(InvalidRequest, match="LEANMB1, which asks for no OTP"):
        lean.bank.submit_otp(at_redirect, "1111")
    with pytest.raises(InvalidRequest, match="MOCK_UAE, which asks for an OTP"):
        lean.bank.authorise(by_otp)
    page = opened(lean, "reconnect", reconnect_id=by_otp)
    with pytest.raises(InvalidRequest, match="is no page of a bank"):
        lean.bank.visit_bank(SITE + page.link_id)
    there = at_the_bank(lean, does(lean, opened(lean, "reconnect", reconnect_id=at_redirect), "continue"))
    for step in ("approve", "cancel", "otp"):
        with pytest.raises(InvalidRequest, match=f"'{step}' is no step at the screen bank_login"):
            does(lean, there, step)
    said = control(lean.bank, "authorise", {"reconnect_id": at_redirect, "approve": False}, lean.now)
    assert said["status"] == "REDIRECT"
