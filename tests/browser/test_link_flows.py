"""The stand-in for the Link SDK, in a real browser: every way through it, and every way out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from playwright.async_api import Browser

from leanflow.mockbank import Fault
from tests.browser.stage import Stage, stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


def events(on: Stage) -> list[str]:
    """Return the types of all webhooks so far, oldest first."""
    return [one["type"] for one in reversed(on.ask("GET", "/events/v1", page="0", size="50")["data"])]


def without_id(said: dict[str, Any]) -> dict[str, Any]:
    """Take Mockbank's correlation id out of a callback; it must be there."""
    assert len(said.pop("lean_correlation_id")) == 36
    return said


# --- reconnect


async def test_a_reconnect_brings_the_data_and_gives_the_focus_back(browser: Browser) -> None:
    """The code, then `entity.reconnected` and `results.ready`; the page is as it was, its button focused."""
    async with stage(browser) as on:
        reconnect_id = on.reconnectable()
        await on.opens("reconnect", reconnect_id=reconnect_id, language="en")
        await on.page.get_by_role("dialog", name="Reconnect your bank").wait_for()
        assert await on.page.evaluate("document.documentElement.style.overflow") == "hidden"
        await on.types_code()
        await on.screen("success").wait_for()
        assert sorted(events(on)[-2:]) == ["entity.reconnected", "results.ready"]
        await on.presses("Done")
        assert without_id(await on.said()) == {
            "status": "SUCCESS",
            "secondary_status": "OK",
            "message": "The account was reconnected.",
            "exit_point": "SUCCESS",
            "bank": {"bank_identifier": "LEANMB1", "is_supported": True},
        }
        assert await on.page.evaluate("document.activeElement.id") == "go"
        assert await on.page.evaluate("document.documentElement.style.overflow") == ""
        assert on.ask("GET", f"/data/v2/results/{reconnect_id}")["status"] == "OK"
        assert on.troubles == []


async def test_a_wrong_code_stays_in_the_flow_until_there_were_three(browser: Browser) -> None:
    """INVALID_MFA with the attempts left, at the field; then an end, ERROR, and no webhook."""
    async with stage(browser) as on:
        reconnect_id = on.reconnectable()
        before = events(on)
        await on.opens("reconnect", reconnect_id=reconnect_id)
        for left in ("You have 2 attempts left.", "You have one attempt left."):
            await on.types_code("0000")
            await on.link.get_by_role("alert").get_by_text(f"The code is wrong. {left}").wait_for()
            field = on.link.get_by_label("Code")
            assert await field.input_value() == ""
            assert await field.get_attribute("aria-invalid") == "true"
            assert await field.evaluate("field => field === document.activeElement")
        await on.types_code("0000")
        await on.link.get_by_role("heading", name="Too many wrong codes").wait_for()
        await on.presses("Close")
        said = await on.said()
        assert (said["status"], said["secondary_status"]) == ("ERROR", "MFA_ATTEMPTS_EXHAUSTED")
        assert events(on) == before
        await on.opens("reconnect", reconnect_id=reconnect_id)
        await on.types_code("0000")
        await on.link.get_by_role("alert").get_by_text("You have 2 attempts left.").wait_for()
        await on.types_code("1111")
        await on.screen("success").wait_for()


@pytest.mark.parametrize(
    ("why", "heading", "secondary"),
    [
        ("unknown", "This request is no longer valid", "UNKNOWN"),
        ("expired", "This request is no longer valid", "UNKNOWN"),
        ("used", "Your account is already connected", "ENTITY_ALREADY_CONNECTED"),
        ("revoked", "Your consent has ended", "CONSENT_EXPIRED"),
    ],
)
async def test_a_dead_reconnect_id_is_told(browser: Browser, why: str, heading: str, secondary: str) -> None:
    """The user is told what to do, the application gets ERROR."""
    life: dict[str, Any] = {"reconnect_ttl": timedelta()} if why == "expired" else {}
    async with stage(browser, **life) as on:
        reconnect_id = "never-given" if why == "unknown" else on.reconnectable()
        if why == "used":
            on.bank.submit_otp(reconnect_id, "1111")
        elif why == "revoked":
            on.bank.revoke_consent(on.entity())
        await on.opens("reconnect", reconnect_id=reconnect_id)
        await on.link.get_by_role("heading", name=heading).wait_for()
        await on.presses("Close")
        said = await on.said()
        assert (said["status"], said["secondary_status"]) == ("ERROR", secondary)
        assert reconnect_id not in str(said)


async def test_leaving_is_asked_and_says_why(browser: Browser) -> None:
    """Escape asks; Stay goes on with what was typed; Leave calls back with CANCELLED; the id lives on."""
    async with stage(browser) as on:
        reconnect_id = on.reconnectable()
        await on.opens("reconnect", reconnect_id=reconnect_id)
        await on.link.get_by_label("Code").fill("11")
        await on.page.keyboard.press("Escape")
        await on.link.get_by_role("heading", name="Leave without finishing?").wait_for()
        await on.presses("Stay")
        assert await on.link.get_by_label("Code").input_value() == "11"
        await on.closes()
        await on.link.get_by_role("radio", name="I did not get a code").check()
        await on.presses("Leave")
        assert without_id(await on.said()) == {
            "status": "CANCELLED",
            "secondary_status": "FAILED",
            "message": "The user closed the window.",
            "exit_point": "OTP",
            "exit_intent_point": "OTP",
            "user_exit_intent": True,
            "exit_survey_reason": "NO_CODE",
            "bank": {"bank_identifier": "LEANMB1", "is_supported": True},
        }
        assert "entity.reconnected" not in events(on)
        await on.opens("reconnect", reconnect_id=reconnect_id)
        await on.types_code()
        await on.screen("success").wait_for()


async def test_a_window_that_was_closed_changes_nothing(browser: Browser) -> None:
    """The user closes the whole window in the middle: nothing is called back, and the id works in the next one."""
    async with stage(browser) as on:
        reconnect_id = on.reconnectable()
        await on.opens("reconnect", reconnect_id=reconnect_id)
        await on.types_code("0000")
        await on.link.get_by_role("alert").wait_for()
        old, on.page = on.page, await on.page.context.new_page()
        await old.close()
        assert "entity.reconnected" not in events(on)
        await on.page.goto(on.shop_url)
        await on.opens("reconnect", reconnect_id=reconnect_id)
        await on.types_code()
        await on.screen("success").wait_for()


# --- connect


async def test_connecting_makes_an_entity(browser: Browser) -> None:
    """Bank, permissions, credentials, code: `entity.created`, with what was granted. A bank that is off is shown so."""
    async with stage(browser) as on:
        on.bank.switch_bank("MOCK_UAE", active_data=False)
        customer = on.customer()
        await on.opens("connect", customer_id=customer, permissions=["accounts", "balance"])
        off = on.link.get_by_role("button", name="Not available at the moment")
        assert await off.is_disabled()
        await on.presses("Lean Mockbank")
        granted = on.link.get_by_role("listitem")
        await on.link.get_by_role("heading", name="Share your data").wait_for()
        assert await granted.all_text_contents() == ["Your accounts", "Balances"]
        await on.presses("Back")
        await on.logs_in("mockbank_user_1")
        await on.types_code()
        await on.link.get_by_role("heading", name="Your account is connected", exact=True).wait_for()
        [created] = on.ask("GET", "/events/v1", page="0", size="50", type="entity.created")["data"]
        assert (created["payload"]["customer_id"], created["payload"]["permissions"]) == (
            customer,
            ["accounts", "balance"],
        )
        await on.presses("Done")
        assert (await on.said())["status"] == "SUCCESS"
        assert on.troubles == []


async def test_wrong_credentials_and_a_locked_account_are_told(browser: Browser) -> None:
    """INVALID_CREDENTIALS keeps the username and forgets the password; a locked account ends the flow."""
    async with stage(browser) as on:
        await on.opens("connect", customer_id=on.customer(), permissions=["accounts"], bank_identifier="LEANMB1")
        await on.presses("Allow")
        await on.link.get_by_label("Username").fill("mockbank_user_5")
        await on.link.get_by_label("Password").fill("guess")
        await on.presses("Log in")
        await on.link.get_by_role("alert").get_by_text("The username or the password is wrong.").wait_for()
        assert await on.link.get_by_label("Username").input_value() == "mockbank_user_5"
        assert await on.link.get_by_label("Password").input_value() == ""
        await on.link.get_by_label("Password").fill("mockbank_user_5")
        await on.presses("Log in")
        await on.link.get_by_role("heading", name="Your bank has locked this account").wait_for()
        await on.page.keyboard.press("Escape")
        said = await on.said()
        assert (said["status"], said["secondary_status"]) == ("ERROR", "REJECTED_BY_BANK")
        assert events(on) == []


async def test_connecting_again_is_the_way_out_of_an_ended_consent(browser: Browser) -> None:
    """The entity stays the same, and `entity.updated` says that something changed."""
    async with stage(browser) as on:
        entity = on.bank.connect("user-1", username="mockbank_user_3", permissions=["accounts"])
        on.bank.revoke_consent(entity)
        assert on.ask("GET", "/data/v2/accounts", entity_id=entity)["status"] == "CONSENT_EXPIRED"
        await on.opens("connect", customer_id=on.bank.customer_of(entity), permissions=["accounts"])
        await on.logs_in()
        await on.types_code()
        await on.screen("success").wait_for()
        assert events(on) == ["entity.created", "entity.updated", "entity.updated"]
        assert on.ask("GET", "/data/v2/accounts", entity_id=entity)["status"] == "OK"


async def test_connecting_can_end_at_an_address(browser: Browser) -> None:
    """With `success_redirect_url` the window goes there after the callback, the outcome in the address."""
    async with stage(browser) as on:
        target = f"{on.shop_url}?from=bank"
        await on.opens("connect", customer_id=on.customer(), permissions=["accounts"], success_redirect_url=target)
        await on.logs_in()
        await on.types_code()
        await on.presses("Done")
        await on.page.wait_for_url(lambda url: "from=bank" in url)
        query = parse_qs(urlsplit(on.page.url).query)
        assert (query["status"], query["bank_identifier"]) == (["SUCCESS"], ["LEANMB1"])


async def test_a_ksa_mockbank_has_its_own_sdk_and_needs_a_token(browser: Browser) -> None:
    """The other region's SDK is 404 and says so; the customer's token lets the flow begin, in Arabic."""
    async with stage(browser, region="ksa") as on:
        async with aiohttp.ClientSession() as session:
            url = f"{on.server.base_url}/link/loader/prod/ae/latest/lean-link-loader.min.js"
            async with session.get(url) as answer:
                assert (answer.status, "/sa/" in await answer.text()) == (404, True)
        reconnect_id = on.reconnectable()
        await on.begins("reconnect", reconnect_id=reconnect_id)
        said = await on.said()
        assert (said["status"], "access_token: is missing" in said["message"]) == ("ERROR", True)
        token = on.bank.token(f"customer.{on.bank.customer_of(on.entity())}")
        await on.opens("reconnect", reconnect_id=reconnect_id, access_token=token, language="ar")
        await on.link.get_by_role("textbox", name="رمز التحقق").fill("1111")
        await on.presses("تأكيد")
        await on.screen("success").wait_for()


# --- trouble


async def test_an_error_of_the_server_can_be_tried_again(browser: Browser) -> None:
    """What failed is done again; who gives up leaves with ERROR and Lean's last answer."""
    async with stage(browser) as on:
        reconnect_id = on.reconnectable()
        await on.opens("reconnect", reconnect_id=reconnect_id)
        on.bank.fault(Fault.http(503, on="link", times=2))
        await on.types_code()
        await on.link.get_by_role("heading", name="Something went wrong").wait_for()
        assert "entity.reconnected" not in events(on)
        await on.presses("Try again")
        await on.presses("Try again")
        await on.screen("success").wait_for()
        await on.presses("Done")
        assert (await on.said())["status"] == "SUCCESS"
        on.bank.fault(Fault.http(500, on="link"))
        await on.opens("reconnect", reconnect_id=reconnect_id)
        await on.presses("Close")
        said = await on.said()
        assert (said["status"], said["secondary_status"], said["exit_point"]) == ("ERROR", "UNKNOWN", "LOADING")
        assert said["last_api_response"]["status"] == 500
        assert "INTERNAL_SERVER_ERROR" in said["last_api_response"]["body"]


async def test_a_network_that_is_gone_is_told_and_comes_back(browser: Browser) -> None:
    """No connection: try again when it is back; or leave, which works without a network, too."""
    async with stage(browser) as on:
        await on.opens("reconnect", reconnect_id=on.reconnectable())
        await on.page.context.set_offline(offline=True)
        await on.types_code()
        await on.link.get_by_role("heading", name="No connection").wait_for()
        await on.page.context.set_offline(offline=False)
        await on.presses("Try again")
        await on.screen("success").wait_for()
        await on.presses("Done")
        await on.said()
        await on.opens("reconnect", reconnect_id=on.reconnectable("user-2"))
        await on.page.context.set_offline(offline=True)
        await on.page.keyboard.press("Escape")
        await on.presses("Leave")
        said = await on.said()
        assert (said["status"], said["exit_point"], said["user_exit_intent"]) == ("CANCELLED", "OTP", True)


async def test_a_page_that_cannot_be_loaded_can_be_left(browser: Browser) -> None:
    """Mockbank is gone before the page came: the overlay says so, and gives the application's page back."""
    async with stage(browser) as on:
        await on.page.route("**/link/page/page.html", lambda route: route.abort())
        await on.begins("reconnect", reconnect_id="x")
        dialog = on.page.get_by_role("dialog")
        await dialog.get_by_role("alert").get_by_text("The page cannot be reached.").wait_for()
        await dialog.get_by_role("button", name="Close").click()
        said = await on.said()
        assert (said["status"], said["exit_point"]) == ("ERROR", "LOADING")


async def test_a_page_that_is_slow_can_be_left(browser: Browser) -> None:
    """Escape while nothing has come yet cancels at once."""
    async with stage(browser) as on:
        await on.page.route("**/link/page/page.html", lambda _: None)  # for ever
        await on.begins("reconnect", reconnect_id="x")
        await on.page.get_by_text("One moment…").wait_for()
        await on.page.keyboard.press("Escape")
        said = await on.said()
        assert (said["status"], said["exit_point"]) == ("CANCELLED", "LOADING")


# --- the SDK as an application calls it


async def test_wrong_parameters_are_told_on_the_console(browser: Browser) -> None:
    """Nothing is opened: ERROR, and the console says which parameter and why."""
    async with stage(browser) as on:
        await on.begins("reconnect", reconnect_id="x", sandbox="false")
        said = await on.said()
        assert (said["status"], "sandbox: is false" in said["message"]) == ("ERROR", True)
        await on.begins("connect", customer_id="x", permissions=[])
        assert "permissions: must be a list" in (await on.said())["message"]
        await on.begins("reconnect", reconnectId="x")
        assert "reconnectId: is no parameter of Lean.reconnect" in (await on.said())["message"]
        assert [one.partition(":")[0] for one in on.troubles] == ["Lean.reconnect", "Lean.connect", "Lean.reconnect"]


async def test_calls_that_make_no_sense_are_told_on_the_console(browser: Browser) -> None:
    """No object, a callback that is none, a parameter that is a function."""
    async with stage(browser) as on:
        for call in (
            "Lean.connect()",
            "Lean.connect([])",
            "Lean.reconnect({callback: 7})",
            "Lean.connect({theme() {}})",
        ):
            await on.page.evaluate(f"() => {{ {call}; }}")
        assert len(on.troubles) == 4
        assert await on.page.locator("dialog").count() == 0


async def test_a_second_call_ends_the_first(browser: Browser) -> None:
    """LINK_CLOSED_PROGRAMMATICALLY for the first; one dialog is open."""
    async with stage(browser) as on:
        await on.opens("reconnect", reconnect_id=on.reconnectable())
        await on.page.evaluate("() => document.getElementById('go').click()")
        await on.page.locator("#said li").first.wait_for()
        assert "LINK_CLOSED_PROGRAMMATICALLY" in await on.page.locator("#said").inner_text()
        assert await on.page.locator("dialog").count() == 1


@pytest.mark.parametrize(
    ("loader", "name"),
    [("/link/sdk/web/latest/Lean.min.js", "Lean"), ("/link/sdk/web/v2/prod/ae/latest/Lean.min.js", "LeanV2")],
)
async def test_the_older_loaders_work(browser: Browser, loader: str, name: str) -> None:
    """The two addresses that were before, the later with its own global."""
    async with stage(browser, loader=loader) as on:
        assert await on.page.evaluate("['Lean', 'LeanV2'].filter((name) => name in window)") == [name]
        await on.opens("reconnect", reconnect_id=on.reconnectable())
        await on.types_code()
        await on.presses("Done")
        assert (await on.said())["status"] == "SUCCESS"


# The application's origin, but another frame of it: an advertisement, say.
_FROM_A_SIBLING = """() => {
  const sibling = document.body.appendChild(document.createElement("iframe")).contentDocument;
  const script = sibling.createElement("script");
  script.textContent = "parent.document.querySelector('dialog iframe').contentWindow.postMessage({type: 'leave'}, '*')";
  sibling.body.append(script);
}"""


async def test_messages_of_strangers_are_not_heard(browser: Browser) -> None:
    """A page that claims to be the SDK's frame, or the application, is not believed."""
    async with stage(browser) as on:
        await on.opens("reconnect", reconnect_id=on.reconnectable())
        await on.page.evaluate("() => window.postMessage({type: 'end', callback: {status: 'SUCCESS'}}, '*')")
        await on.page.evaluate(_FROM_A_SIBLING)
        for frame in on.page.frames:  # all that was sent has been heard
            await frame.evaluate("() => new Promise((done) => setTimeout(done))")
        assert await on.screen("otp").count() == 1
        assert await on.page.locator("#said li").count() == 0
        await on.types_code()
        await on.screen("success").wait_for()


# --- the page alone, as mobile wrappers open it


def alone(on: Stage, **query: str) -> str:
    """Return the address of the hosted page, as a wrapper makes it."""
    given = {"app_token": on.bank.app, "sandbox": "true", **query}
    return f"{on.server.base_url}/link/loader/prod/ae/latest/lean-sdk.html?{urlencode(given)}"


async def test_the_page_alone_goes_where_it_was_told(browser: Browser) -> None:
    """Success and failure each have their address, which gets the outcome."""
    async with stage(browser) as on:
        asked = {"success_redirect_url": f"{on.shop_url}?good=1", "fail_redirect_url": f"{on.shop_url}?bad=1"}
        reconnect_id = on.reconnectable()
        await on.page.goto(alone(on, method="reconnect", reconnect_id=reconnect_id, **asked))
        await on.page.get_by_label("Code").wait_for()
        await on.page.keyboard.press("Escape")
        await on.page.get_by_role("button", name="Leave").click()
        await on.page.wait_for_url(lambda url: "bad=1" in url)
        assert parse_qs(urlsplit(on.page.url).query)["status"] == ["CANCELLED"]
        await on.page.goto(alone(on, method="reconnect", reconnect_id=reconnect_id, **asked))
        await on.page.get_by_label("Code").fill("1111")
        await on.page.keyboard.press("Enter")
        await on.page.get_by_role("button", name="Done").click()
        await on.page.wait_for_url(lambda url: "good=1" in url)
        query = parse_qs(urlsplit(on.page.url).query)
        assert (query["status"], query["bank_identifier"]) == (["SUCCESS"], ["LEANMB1"])


async def test_the_page_alone_gives_the_wrappers_their_deep_link(browser: Browser) -> None:
    """Without addresses it is `leanlink://…`; what would run as a script is no address."""
    async with stage(browser) as on:
        asked = {"method": "connect", "customer_id": on.customer(), "permissions": "accounts,balance"}
        await on.page.goto(alone(on, **asked))
        await on.page.get_by_role("heading", name="Choose your bank").wait_for()
        await on.page.keyboard.press("Escape")
        await on.page.get_by_role("button", name="Leave").click()
        back = on.page.get_by_role("link", name="Back to the app")
        assert str(await back.get_attribute("href")).startswith("leanlink://cancelled?status=CANCELLED&")
        on.page = await on.page.context.new_page()  # the browser may still ask in the old one who opens leanlink:
        back = on.page.get_by_role("link", name="Back to the app")
        await on.page.goto(alone(on, **asked, fail_redirect_url="javascript:document.title='run'"))
        await on.page.get_by_role("heading", name="Choose your bank").wait_for()
        await on.page.keyboard.press("Escape")
        await on.page.get_by_role("button", name="Leave").click()
        await on.page.get_by_role("heading", name="You can close this window").wait_for()
        assert await back.count() == 0
        await on.page.goto(alone(on, method="reconnect"))
        await on.page.get_by_text("reconnect_id: is missing").wait_for()
