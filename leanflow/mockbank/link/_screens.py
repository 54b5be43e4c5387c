"""The Link SDK's flows, screen by screen: a function of the visit, what the user did, and the time.

``connect`` goes banks, permissions, credentials, otp; ``reconnect`` is the OTP alone. Where the bank authorises on its
own site, ``redirect`` takes the place of credentials and OTP: the SDK calls back with REDIRECT, and the user goes to a
visit of its own there (`_bank_site`). The hosted page shows a `LinkView` and sends steps; whoever scripts the user
without a browser does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from leanflow.errors import InvalidRequest
from leanflow.mockbank._link_session import Link, LinkView
from leanflow.mockbank._settings import Login
from leanflow.mockbank._world import World

from . import _bank_site, _user
from ._parameters import check_token, read_parameters
from ._visits import connect, keep, typed, view_of

__all__ = ["answer_link", "open_link"]

_ENDED = frozenset({"success", "error", "closed", "redirected", "invalid"})
_STEPS = {"bank": "banks", "consent": "permissions", "credentials": "credentials", "otp": "otp", "continue": "redirect"}
_BACK = {"credentials": "permissions", "redirect": "permissions", "permissions": "banks"}


def open_link(world: World, method: str, given: Mapping[str, Any], now: datetime) -> LinkView:
    """Begin a visit, as `Lean.connect` or `Lean.reconnect` does. A wrong call gives the screen ``invalid``."""
    link_id = world.ids.next("link")
    try:
        parameters = read_parameters(world, method, given)
        waiting = _user.wanted_user(world, parameters.reconnect_id, now) if method == "reconnect" else None
        known = None if waiting is None or isinstance(waiting, _user.LinkOutcome) else waiting.entity.customer
        customer = world.customers.get(parameters.customer_id, known)
        check_token(world, parameters, customer.customer_id if customer else None, now)
    except InvalidRequest as error:
        said = {"status": "ERROR", "secondary_status": "UNKNOWN", "message": str(error)}
        return LinkView(link_id=link_id, method=method, screen="invalid", callback=said)
    link = Link(link_id=link_id, parameters=parameters, screen="banks", customer=customer)
    keep(world, link)
    if isinstance(waiting, _user.LinkOutcome):
        _end_as(link, waiting)
    elif waiting is not None:
        link.bank, waiting.wrong_otps = waiting.entity.bank, 0
        link.screen = "redirect" if link.bank.identifier in world.redirects else "otp"
    elif parameters.bank_identifier is not None:
        return _choose(world, link, parameters.bank_identifier)
    return view_of(world, link)


def answer_link(world: World, link_id: str, step: str, given: Mapping[str, Any], now: datetime) -> LinkView:
    """Let the user do a step; one that has ended shows its end again, so that a step can be repeated.

    Args:
        world: the world.
        link_id: which visit.
        step: ``bank`` (``bank_identifier``), ``consent``, ``credentials`` (``username``, ``password``), ``otp``
            (``otp``), ``continue`` (to the bank's own site), ``back``, or ``cancel`` (perhaps with
            ``exit_survey_reason``); at the bank's own site those of `answer_bank`.
        given: what the user chose or typed.
        now: the present time.

    Raises:
        InvalidRequest: there is no such visit, its screen has no such step, or something is missing.
    """
    link = world.links.get(link_id)
    if link is None:
        raise InvalidRequest("link_id", "is not a visit that is known")
    if _bank_site.is_there(link):
        return _bank_site.answer_bank(world, link, step, given, now)
    if link.screen in _ENDED:
        return view_of(world, link)
    if step == "cancel":
        return _cancel(world, link, given)
    if step == "back" and _can_go_back(link):
        link.screen, link.wrong = _BACK[link.screen], 0
        return view_of(world, link)
    if _STEPS.get(step) != link.screen:
        raise InvalidRequest("step", f"{step!r} is no step at the screen {link.screen}")
    return _goes_on(world, link, step, given, now)


def _goes_on(world: World, link: Link, step: str, given: Mapping[str, Any], now: datetime) -> LinkView:
    if step == "bank":
        return _choose(world, link, typed(given, "bank_identifier"))
    if step == "credentials":
        return _log_in(world, link, typed(given, "username"), typed(given, "password"))
    if step == "otp":
        return _type_otp(world, link, typed(given, "otp"), now)
    if step == "continue":
        return _redirect(world, link)
    assert link.bank is not None
    link.screen = "redirect" if link.bank.identifier in world.redirects else "credentials"
    return view_of(world, link)


def _can_go_back(link: Link) -> bool:
    if link.screen == "permissions":
        return not _bank_is_given(link)
    return link.screen in _BACK and link.parameters.method == "connect"


def _bank_is_given(link: Link) -> bool:
    return link.parameters.bank_identifier is not None


# --- the steps


def _choose(world: World, link: Link, identifier: str) -> LinkView:
    link.bank, has = world.bank(identifier), world.availability[identifier]
    if has.usable:
        link.screen = "permissions"
        return view_of(world, link)
    problem = "DISABLED_BY_LEAN" if not has.active_data else "DISABLED_BY_CLIENT"
    if _bank_is_given(link):
        _end(link, "error", "ERROR", problem, "The bank is not available.")
        return view_of(world, link)
    return view_of(world, link, problem=problem)


def _log_in(world: World, link: Link, username: str, password: str) -> LinkView:
    link.user = world.user(username)
    if link.user is None or password != link.user.username:
        return _wrong(world, link, "INVALID_CREDENTIALS", "INVALID_CREDENTIALS", "Wrong username or password.")
    if link.user.login is Login.locked:
        _end(link, "error", "ERROR", "REJECTED_BY_BANK", "The bank has locked this account.")
        return view_of(world, link)
    link.screen, link.wrong = "otp", 0
    return view_of(world, link)


def _type_otp(world: World, link: Link, otp: str, now: datetime) -> LinkView:
    if link.parameters.method == "reconnect":
        outcome = _user.submit_otp(world, link.parameters.reconnect_id, otp, now)
        if outcome.status is None:
            return view_of(world, link, problem=outcome.secondary_status, attempts_left=outcome.attempts_left)
        _end_as(link, outcome)
    elif otp != world.settings.otp:
        return _wrong(world, link, "INVALID_MFA", "MFA_ATTEMPTS_EXHAUSTED", "Too many wrong codes.")
    elif connect(world, link, now):
        _end(link, "success", "SUCCESS", "OK", "The account was connected.")
    else:
        _end(link, "error", "ERROR", "ENTITY_ALREADY_CONNECTED", "It is connected already.")
    return view_of(world, link)


def _wrong(world: World, link: Link, problem: str, last: str, message: str) -> LinkView:
    link.wrong += 1
    left = world.settings.otp_attempts - link.wrong
    if left > 0:
        return view_of(world, link, problem=problem, attempts_left=left)
    _end(link, "error", "ERROR", last, message)
    return view_of(world, link)


def _redirect(world: World, link: Link) -> LinkView:
    """Send the user to the bank's own site. The SDK says where, and is over; what comes of it, webhooks tell."""
    url = _bank_site.open_site(world, link)
    _end(link, "redirected", "REDIRECT", None, "The user was sent to the bank.", open_banking_redirect_url=url)
    return view_of(world, link)


def _cancel(world: World, link: Link, given: Mapping[str, Any]) -> LinkView:
    intent = {"exit_intent_point": link.screen.upper(), "user_exit_intent": True}
    reason = given.get("exit_survey_reason")
    if isinstance(reason, str) and reason:
        intent["exit_survey_reason"] = reason
    _end(link, "closed", "CANCELLED", "FAILED", "The user closed the window.", **intent)
    return view_of(world, link)


# --- its end


def _end(link: Link, screen: str, status: str, secondary: str | None, message: str, **more: object) -> None:
    """End a visit. The callback carries what is relevant, and neither reconnect id nor entity id."""
    link.callback = {
        "status": status,
        **({} if secondary is None else {"secondary_status": secondary}),
        "message": message,
        "exit_point": "SUCCESS" if status == "SUCCESS" else link.screen.upper(),
        **more,
    }
    if link.bank is not None:
        link.callback = {**link.callback, "bank": {"bank_identifier": link.bank.identifier, "is_supported": True}}
    link.screen = screen


def _end_as(link: Link, outcome: _user.LinkOutcome) -> None:
    screen, status = ("success", "SUCCESS") if outcome.status == "SUCCESS" else ("error", "ERROR")
    _end(link, screen, status, outcome.secondary_status, outcome.message)
