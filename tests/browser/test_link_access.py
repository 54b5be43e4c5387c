"""The hosted page for everybody: by keyboard, by ear, on a phone, in English and in Arabic, with little motion."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.axe import judged
from tests.browser.chromium import PHONE
from tests.browser.screens import SCREENS, frame_of, tour
from tests.browser.stage import Stage, stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACTS = (Path(__file__).parent / "facts.js").read_text(encoding="utf-8")
Screens = dict[str, dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["en", "ar"])
async def screens(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Screens]:
    """The facts of every screen on a phone, in a language."""
    seen: Screens = {}
    async with stage(browser, size=PHONE) as on:
        async for name in tour(on, request.param):
            frame = frame_of(on)
            seen[name] = await frame.evaluate(FACTS)
            seen[name]["heard"] = await frame.locator("body").aria_snapshot()
            seen[name]["axe"] = await judged(frame)
    yield {"language": {"is": request.param}, **seen}


def each(screens: Screens) -> list[tuple[str, dict[str, Any]]]:
    """Return the screens that were seen: all of them."""
    assert set(screens) == {"language", *SCREENS}
    return [(name, screens[name]) for name in SCREENS]


# --- facts of every screen


async def test_every_text_can_be_read(screens: Screens) -> None:
    """Contrast is at least 4.5:1, of switched-off banks, too; the edges of fields are at 3:1 (WCAG 1.4.3, 1.4.11)."""
    faint = [
        (name, one["text"], round(one["ratio"], 2))
        for name, has in each(screens)
        for one in has["texts"]
        if one["ratio"] < 4.5
    ]
    edges = [(name, one["name"]) for name, has in each(screens) for one in has["fields"] if one["edge"] < 3]
    assert (faint, edges) == ([], [])
    assert all(len(has["texts"]) >= 3 for _, has in each(screens))


async def test_every_control_is_big_enough(screens: Screens) -> None:
    """A thumb finds whatever can be touched: 44 by 44 CSS pixels (WCAG 2.5.5)."""
    small = [
        (name, one["what"])
        for name, has in each(screens)
        for one in has["targets"]
        if one["width"] < 44 or one["height"] < 44
    ]
    assert small == []
    assert all(len(has["targets"]) >= 3 for _, has in each(screens))


async def test_nothing_scrolls_sideways_on_a_phone(screens: Screens) -> None:
    """At a width of 360 all text breaks."""
    assert [name for name, has in each(screens) if has["sideways"] > 0] == []


async def test_every_screen_has_a_heading_that_is_read_first(screens: Screens) -> None:
    """One heading of level 1, focused when the screen comes, or the field to be mended; and a title."""
    for name, has in each(screens):
        assert len(has["headings"]) == 1, name
        assert has["focus"] == ("INPUT" if name.endswith("-wrong") else "H1"), name
        assert has["title"].endswith("Mockbank"), name


async def test_every_control_has_a_name(screens: Screens) -> None:
    """Whoever listens hears what each thing is; problems are alerts; ids are not given twice."""
    for name, has in each(screens):
        assert re.findall(r"^ *- (?:button|textbox|radio|link)(?: \[.*\])?:?$", has["heard"], re.MULTILINE) == [], name
        assert ("alert" in has["heard"]) == name.endswith("-wrong"), name
        assert all(one["label"] and not one["described"] for one in has["fields"]), name
        assert has["doubled"] == [], name


async def test_every_screen_is_wholly_in_its_language(screens: Screens) -> None:
    """`lang` and `dir` are set; Arabic screens are mirrored, and have no English but names and what says so."""
    language = screens["language"]["is"]
    script = re.compile(r"[\u0600-\u06ff]")
    for name, has in each(screens):
        assert (has["language"], has["direction"]) == (language, "rtl" if language == "ar" else "ltr"), name
        assert has["closeIsOnTheLeft"] == (language == "ar"), name
        for text in has["texts"]:
            assert bool(script.search(text["text"])) == (text["language"] == "ar"), (name, text["text"])


async def test_the_code_can_be_filled_in_by_a_phone(screens: Screens) -> None:
    """Digits on the keyboard, the code from the message, left to right in any language."""
    for name in ("otp", "otp-wrong", "otp-connect"):
        [field] = screens[name]["fields"]
        assert (field["inputmode"], field["autocomplete"], field["direction"]) == ("numeric", "one-time-code", "ltr")
    username, password = screens["credentials"]["fields"]
    assert (username["autocomplete"], password["autocomplete"]) == ("username", "current-password")
    assert (username["direction"], password["direction"]) == ("ltr", "ltr")


async def test_axe_finds_nothing(screens: Screens) -> None:
    """The rules of axe-core are kept on every screen; at least thirty apply to each."""
    for name, has in each(screens):
        found = has["axe"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == [], name
        assert found["incomplete"] == [], name
        assert len(found["passes"]) >= 30, name


# --- by keyboard


async def _tab_to(on: Stage, name: str) -> None:
    """Press Tab until a control of the hosted page has the focus: it must come soon, and its focus be seen."""
    for _ in range(8):
        await on.page.keyboard.press("Tab")
        focused = on.link.locator(":focus")
        if (
            await focused.count()
            and (await focused.get_attribute("name") or await focused.inner_text()).strip() == name
        ):
            style = await focused.evaluate("e => [getComputedStyle(e).outlineStyle, getComputedStyle(e).outlineWidth]")
            assert style == ["solid", "3px"]
            return
    pytest.fail(f"{name} cannot be reached by Tab")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Lean Mockbank", "Allow", "Log in", "Confirm", "Done")),
        ("ar", ("بنك لين التجريبي", "السماح", "تسجيل الدخول", "تأكيد", "تم")),
    ],
)
async def test_the_keyboard_alone_is_enough(browser: Browser, language: str, words: tuple[str, ...]) -> None:
    """From the application's button through all screens and back to it, with Tab, Enter and typing."""
    bank, allow, log_in, confirm, done = words
    async with stage(browser) as on:
        await on.opens("connect", customer_id=on.customer(), permissions=["accounts"], language=language)
        keyboard = on.page.keyboard
        for screen, control in (("banks", bank), ("permissions", allow)):
            await on.screen(screen).wait_for()
            await _tab_to(on, control)
            await keyboard.press("Enter")
        await on.screen("credentials").wait_for()
        for field in ("username", "password"):
            await _tab_to(on, field)
            await keyboard.type("mockbank_user_3")
        await _tab_to(on, log_in)
        await keyboard.press("Space")
        await on.screen("otp").wait_for()
        await _tab_to(on, "otp")
        await keyboard.type("1111")
        await _tab_to(on, confirm)
        await keyboard.press("Enter")
        await on.screen("success").wait_for()
        await _tab_to(on, done)
        await keyboard.press("Enter")
        assert (await on.said())["status"] == "SUCCESS"
        assert await on.page.evaluate("document.activeElement.id") == "go"


@pytest.mark.parametrize("key", ["Tab", "Shift+Tab"])
async def test_the_focus_does_not_leave_the_dialog(browser: Browser, key: str) -> None:
    """What lies under it cannot be reached while it is open."""
    async with stage(browser) as on:
        await on.opens("reconnect", reconnect_id=on.reconnectable())
        where = set()
        for _ in range(12):
            await on.page.keyboard.press(key)
            where.add(await on.page.evaluate("document.activeElement.tagName"))
        assert "IFRAME" in where
        assert where <= {"IFRAME", "BODY", "DIALOG"}  # BODY: the browser's own controls


# --- languages and motion


async def test_the_user_can_change_the_language(browser: Browser) -> None:
    """In the middle, and keeps what was typed."""
    async with stage(browser) as on:
        await on.opens("reconnect", reconnect_id=on.reconnectable())
        await on.link.get_by_label("Code").fill("11")
        await on.link.get_by_role("button", name="العربية").click()
        await on.link.get_by_role("heading", name="أدخل رمز التحقق").wait_for()
        assert await on.link.get_by_label("رمز التحقق", exact=True).input_value() == "11"
        await on.link.get_by_role("button", name="English").click()
        await on.link.get_by_role("heading", name="Enter the code").wait_for()


async def test_both_languages_say_the_same_things(browser: Browser) -> None:
    """Every text of one is there in the other, with the same gaps to be filled; Arabic has its own plurals."""
    async with stage(browser) as on:
        await on.page.goto(f"{on.server.base_url}/link/page/page.html")
        texts = await on.page.evaluate("import('/link/page/texts.js').then((module) => module.TEXTS)")

    def paths(node: Any, path: str = "") -> dict[str, list[str]]:
        if isinstance(node, str):
            return {path: sorted(re.findall(r"\{\w+\}", node))}
        return {key: gaps for name, item in node.items() for key, gaps in paths(item, f"{path}.{name}").items()}

    english, arabic = paths(texts["en"]), paths(texts["ar"])
    assert arabic.pop(".attempts.two") == []
    assert arabic.pop(".attempts.few") == ["{n}"]
    assert arabic == english
    assert len(english) > 60


@pytest.mark.parametrize("calm", [True, False])
async def test_less_motion_is_no_motion(browser: Browser, calm: bool) -> None:
    """Screens move in gently, unless the user asked for less motion."""
    async with stage(browser, calm=calm) as on:
        await on.opens("reconnect", reconnect_id=on.reconnectable())
        names = await on.link.locator("main > *").evaluate_all(
            "all => all.map((e) => getComputedStyle(e).animationName)"
        )
        assert set(names) == ({"none"} if calm else {"come"})
