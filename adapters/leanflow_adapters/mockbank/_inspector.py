"""The page at ``/``: what a Mockbank remembers, what it was asked, what it sends, and buttons for what can go wrong.

The server makes the whole page, so that it can be read without JavaScript; the script fetches it again every second
and exchanges what has changed. All that comes from outside is escaped in one place, `html`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from leanflow.mockbank import Mockbank
from leanflow.ports import Clock

from ._clocks import Advancing
from ._guard import guarded
from ._html import Html, answered, button, chip, code, facts, form, html, joined, moment, status, table

__all__ = ["FAULTS", "add_inspector"]

_MOST = 50  # of each kind; more would be no overview
_TYPES = {"css": "text/css", "js": "text/javascript"}
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; img-src data:; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

FAULTS: Mapping[str, Mapping[str, Any]] = {
    "FAILED, BANK_ISSUE": {"effect": "failed", "code": "BANK_ISSUE"},
    "RECONNECT_REQUIRED": {"effect": "reconnect"},
    "CONSENT_EXPIRED": {"effect": "consent_expired"},
    "PENDING, until released": {"effect": "pending", "progress": "held"},
    "429": {"effect": "http", "status": 429, "retry_after": 30, "on": "data"},
    "500": {"effect": "http", "status": 500, "on": "data"},
    "HTML instead of JSON": {"effect": "html", "on": "data"},
    "half of the JSON": {"effect": "truncated", "on": "data"},
    "a cut connection": {"effect": "cut", "on": "data"},
}
"""What the next data call can be answered with, as arguments of the command `fault`."""

_MOVES = {"1 min": 60, "10 min": 600, "1 h": 3600, "1 day": 86_400}


def add_inspector(app: web.Application, bank: Mockbank, clock: Clock, bound: str) -> None:
    """Serve the page.

    Args:
        app: to be served by.
        bank: that is shown.
        clock: that it runs on.
        bound: the host that the server was told to listen on.
    """

    async def page(_: web.Request) -> web.Response:
        text = _page(bank.overview(_MOST, clock.now()), bank, movable=isinstance(clock, Advancing))
        return web.Response(text=text, content_type="text/html", charset="utf-8", headers=_HEADERS)

    async def file(request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        text = resources.files(__package__).joinpath("inspector", f"inspector.{kind}").read_text(encoding="utf-8")
        return web.Response(text=text, content_type=_TYPES[kind], charset="utf-8", headers=_HEADERS)

    app.router.add_get("/", guarded(page, bound))
    app.router.add_get("/_mockbank/inspector.{kind:css|js}", guarded(file, bound))


# the page


def _page(view: Mapping[str, Any], bank: Mockbank, *, movable: bool) -> str:
    users = [one.username for one in bank.settings.users]
    sections = (
        _section("clock", "Clock", _clock(view, movable=movable)),
        _section("waiting", "Waiting for the user", _waiting(view), view["totals"]["reconnects"]),
        _section("adversary", "What goes wrong", _adversary(view)),
        _section("entities", "Entities", joined((_entities(view), _connect(users))), view["totals"]["entities"]),
        _section("results", "Results", _results(view), view["totals"]["results"]),
        _section("refreshes", "Refreshes", _refreshes(view), view["totals"]["refreshes"]),
        _section("deliveries", "Webhooks to be sent", _deliveries(view), view["totals"]["deliveries"]),
        _section("webhooks", "Webhooks sent lately", _webhooks(view)),
        _section("calls", "Calls", _calls(view), view["totals"]["calls"]),
        _section("customers", "Customers", _customers(view), view["totals"]["customers"]),
    )
    about = facts(
        {
            "Region": view["region"].upper(),
            "Application": code(view["app"]),
            "Secrets": "not shown",
            "Webhooks go to": _masked(view["webhook_url"]) or "nowhere yet: they wait",
            "Banks": _banks(view["banks"]),
        }
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mockbank</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/_mockbank/inspector.css">
<script src="/_mockbank/inspector.js" defer></script>
</head>
<body>
<header><h1>Mockbank</h1><p>A stand-in for Lean's sandbox. Nothing here is a bank's.</p></header>
<div class="bar"><p id="said" role="status"></p><p id="lost" role="alert"></p></div>
<p class="note">Without JavaScript this page can be read and not used; load it again to see what is new.</p>
<main>
<section id="about" aria-label="About this Mockbank">{about}</section>
{joined(sections)}
</main>
</body>
</html>
"""


def _section(name: str, title: str, body: object, total: int | None = None) -> Html:
    count = "" if total is None else f' <span class="count">{total}</span>'
    return Html(
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}{count}</h2>'
        f"{html(body)}</section>\n"
    )


def _clock(view: Mapping[str, Any], *, movable: bool) -> Html:
    now = Html(f'<p class="now">{moment(view["now"], date=True)}</p>')
    if not movable:
        return now
    moves = (
        button(f"+ {name}", "advance", f"+ {name} on the clock", seconds=seconds) for name, seconds in _MOVES.items()
    )
    return joined((now, Html(f'<p class="actions">{joined(moves)}</p>')))


def _waiting(view: Mapping[str, Any]) -> Html:
    rows = []
    for number, one in enumerate(view["reconnects"]):
        who, reconnect_id = one["app_user_id"], one["reconnect_id"]
        does = _at_the_bank(who, reconnect_id) if one["by_redirect"] else _types_otp(number, who, reconnect_id)
        close = button("Close the window", "close_link", f"Close the window of {who}", reconnect_id=reconnect_id)
        wrong = joined((who, chip(f"{one['wrong_otps']} wrong", good=False)), " ") if one["wrong_otps"] else who
        rows.append((wrong, one["wanted"], code(reconnect_id), moment(one["since"]), joined((does, close))))
    return table(("User", "Wanted", "Reconnect id", "Since", "Do"), rows, "Nobody is asked for anything.")


def _types_otp(number: int, who: str, reconnect_id: str) -> Html:
    return form(
        f'<label for="otp-{number}">OTP of {html(who)}</label>'
        f'<input id="otp-{number}" name="otp" inputmode="numeric" autocomplete="off" size="6" required>',
        "Type it",
        "otp",
        reconnect_id=reconnect_id,
    )


def _at_the_bank(who: str, reconnect_id: str) -> Html:
    """Return buttons for what the user does at the own site of a bank that authorises by redirect."""
    approve = button("Approve", "authorise", f"Approve as {who}", reconnect_id=reconnect_id, approve=True)
    return joined(
        (approve, button("Refuse", "authorise", f"Refuse as {who}", reconnect_id=reconnect_id, approve=False))
    )


def _adversary(view: Mapping[str, Any]) -> Html:
    options = joined(
        Html(f'<option value="{html(json.dumps(told))}">{html(name)}</option>') for name, told in FAULTS.items()
    )
    fault = form(
        f'<label for="fault">Answer the next data call with</label><select id="fault" data-args>{options}</select>',
        "Arm it",
        "fault",
    )
    webhooks = (
        button("Drop the next webhook", "drop"),
        button("Double the next webhook", "disturb", copies=1, times=1),
        button("Forge one with the next webhook", "disturb", forgeries=1, times=1),
        button("Calm: disarm all, release what is held", "calm"),
    )
    rows = [
        (code(number), code(told), button("Disarm", "disarm", f"Disarm {number}", armed=int(number)))
        for number, told in view["armed"].items()
    ]
    storm = view["storm"]
    blowing = "" if storm is None else f"<p>A storm blows: seed {storm['seed']}, weight {storm['weight']}.</p>"
    armed = table(("Id", "Armed", "Do"), rows, "Nothing is armed.")
    return joined((Html(blowing), armed, fault, Html(f'<p class="actions">{joined(webhooks)}</p>')))


def _entities(view: Mapping[str, Any]) -> Html:
    rows = []
    for one in view["entities"]:
        who, entity_id = one["app_user_id"], one["entity_id"]
        session = chip("live", good=True) if one["session_live"] else chip("over", good=False)
        consent = chip("holds", good=True) if one["consented"] else chip("ended", good=False)
        change = "Revoke" if one["consented"] else "Renew"
        buttons = (
            button("Expire session", "expire_session", f"Expire session of {who}", entity_id=entity_id),
            button(f"{change} consent", f"{change.lower()}_consent", f"{change} consent of {who}", entity_id=entity_id),
        )
        status = one["status"] if one["status"] != "ACTIVE" else joined((session, consent), " ")
        rows.append((who, joined((one["bank"], one["user"]), ", "), code(entity_id), status, joined(buttons)))
    return table(("User", "Bank and login", "Entity", "Session, consent", "Do"), rows, "Nobody is connected.")


def _connect(users: Sequence[str]) -> Html:
    options = joined(Html(f"<option>{html(name)}</option>") for name in users)
    return form(
        '<label for="connect-user">Connect your user</label>'
        '<input id="connect-user" name="app_user_id" autocomplete="off" required placeholder="user-1">'
        f'<label for="connect-login">as</label><select id="connect-login" name="username">{options}</select>',
        "Connect",
        "connect",
    )


def _results(view: Mapping[str, Any]) -> Html:
    rows = [
        (
            moment(one["created_at"]),
            f"{one['api']} {one['resource']}",
            code(one["results_id"]),
            status(one["status"]),
            _release(one["results_id"], one["status"]),
        )
        for one in view["results"]
    ]
    return table(("At", "Wanted", "Results id", "Status", "Do"), rows, "All calls were answered at once.")


def _refreshes(view: Mapping[str, Any]) -> Html:
    rows = [
        (
            moment(one["created_at"]),
            code(one["refresh_id"]),
            status(one["status"]),
            _release(one["refresh_id"], one["status"]),
        )
        for one in view["refreshes"]
    ]
    return table(("At", "Refresh id", "Status", "Do"), rows, "Nothing was refreshed.")


def _release(held_id: str, status: str) -> object:
    return button("Release", "release", f"Release {held_id}", id=held_id) if status == "PENDING" else None


def _deliveries(view: Mapping[str, Any]) -> Html:
    rows = [
        (
            moment(one["due"]),
            _webhook_type(one),
            f"attempt {one['attempt']}",
            code(one["event_id"]),
            "under way" if one["under_way"] else None,
        )
        for one in view["deliveries"]
    ]
    return table(("Due", "Type", "Attempt", "Event id", "Now"), rows, "None waits.")


def _webhooks(view: Mapping[str, Any]) -> Html:
    rows = []
    for one in view["webhooks"]:
        came = chip("dropped", good=False) if one["dropped"] else answered(one["status"])
        again = None
        if not one["forged"]:
            again = button("Resend", "resend", f"Resend {one['type']}", event_id=one["event_id"])
        attempt = f"attempt {one['attempt']}" if one["attempt"] else None
        rows.append((moment(one["at"]), _webhook_type(one), attempt, came, code(one["event_id"]), again))
    return table(("At", "Type", "Attempt", "Answer", "Event id", "Do"), rows, "None was sent.")


def _webhook_type(one: Mapping[str, Any]) -> object:
    return joined((one["type"], chip("forged", good=False)), " ") if one["forged"] else one["type"]


def _calls(view: Mapping[str, Any]) -> Html:
    rows = []
    for one in view["calls"]:
        fault = chip(one["fault"], good=False) if one["fault"] else None
        call = Html(f"{html(one['method'])} {code(one['path'])}")
        rows.append((moment(one["at"]), call, answered(one["http_status"]), one["status"], fault))
    return table(("At", "Call", "Answer", "Status", "Fault"), rows, "Nobody has called.")


def _customers(view: Mapping[str, Any]) -> Html:
    rows = [(one["app_user_id"], code(one["customer_id"])) for one in view["customers"]]
    return table(("Your user", "Customer id"), rows, "There is none.")


def _banks(banks: Mapping[str, Mapping[str, bool]]) -> Html:
    def one(name: str, has: Mapping[str, bool]) -> object:
        usable = has["active_data"] and has["enabled_data"]
        return name if usable else joined((name, chip("off", good=False)), " ")

    return joined((one(name, has) for name, has in banks.items()), ", ")


def _masked(url: str) -> str:
    """Return an address without what may be a secret in it: user, password, query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?…' if parts.query else ''}" if host else ""
