"""The Link SDK's flows, screen by screen: a function of the visit, what the user did, and the time.

``connect`` goes banks, permissions, credentials, otp; ``reconnect`` is the OTP alone. The hosted page shows a
`LinkView` and sends steps; whoever scripts the user without a browser does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from leanflow.errors import InvalidRequest
from leanflow.mockbank import _refreshes
from leanflow.mockbank._link_session import Link, LinkView
from leanflow.mockbank._settings import Login
from leanflow.mockbank._state import Entity
from leanflow.mockbank._world import World
from leanflow.mockbank.countries._country import Bank

from . import _user
from ._parameters import check_token, read_parameters

__all__ = ["answer_link", "open_link"]

_LINKS_AT_MOST = 1_000  # visits at the same time; the oldest is forgotten, as a window left open for a week
_ENDED = frozenset({"success", "error", "closed", "invalid"})
_STEPS = {"bank": "banks", "consent": "permissions", "credentials": "credentials", "otp": "otp"}
_BACK = {"credentials": "permissions", "permissions": "banks"}


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
    world.links[link_id] = link
    if len(world.links) > _LINKS_AT_MOST:
        world.links.popitem(last=False)
    if isinstance(waiting, _user.LinkOutcome):
        _end_as(link, waiting)
    elif waiting is not None:
        link.screen, link.bank, waiting.wrong_otps = "otp", waiting.entity.bank, 0
    elif parameters.bank_identifier is not None:
        return _choose(world, link, parameters.bank_identifier)
    return _view(world, link)


def answer_link(world: World, link_id: str, step: str, given: Mapping[str, Any], now: datetime) -> LinkView:
    """Let the user do a step; one that has ended shows its end again, so that a step can be repeated.

    Args:
        world: the world.
        link_id: which visit.
        step: ``bank`` (``bank_identifier``), ``consent``, ``credentials`` (``username``, ``password``), ``otp``
            (``otp``), ``back``, or ``cancel`` (perhaps with ``exit_survey_reason``).
        given: what the user chose or typed.
        now: the present time.

    Raises:
        InvalidRequest: there is no such visit, its screen has no such step, or something is missing.
    """
    link = world.links.get(link_id)
    if link is None:
        raise InvalidRequest("link_id", "is not a visit that is known")
    if link.screen in _ENDED:
        return _view(world, link)
    if step == "cancel":
        return _cancel(world, link, given)
    if step == "back" and link.screen in _BACK and not (link.screen == "permissions" and _bank_is_given(link)):
        link.screen, link.wrong = _BACK[link.screen], 0
        return _view(world, link)
    if _STEPS.get(step) != link.screen:
        raise InvalidRequest("step", f"{step!r} is no step at the screen {link.screen}")
    if step == "bank":
        return _choose(world, link, _typed(given, "bank_identifier"))
    if step == "credentials":
        return _log_in(world, link, _typed(given, "username"), _typed(given, "password"))
    if step == "otp":
        return _type_otp(world, link, _typed(given, "otp"), now)
    link.screen = "credentials"
    return _view(world, link)


def _bank_is_given(link: Link) -> bool:
    return link.parameters.bank_identifier is not None


def _typed(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(name, "must be a text")
    return value.strip() if name != "password" else value


# --- the steps


def _choose(world: World, link: Link, identifier: str) -> LinkView:
    link.bank, has = world.bank(identifier), world.availability[identifier]
    if has.usable:
        link.screen = "permissions"
        return _view(world, link)
    problem = "DISABLED_BY_LEAN" if not has.active_data else "DISABLED_BY_CLIENT"
    if _bank_is_given(link):
        _end(link, "error", "ERROR", problem, "The bank is not available.")
        return _view(world, link)
    return _view(world, link, problem=problem)


def _log_in(world: World, link: Link, username: str, password: str) -> LinkView:
    link.user = world.user(username)
    if link.user is None or password != link.user.username:
        return _wrong(world, link, "INVALID_CREDENTIALS", "INVALID_CREDENTIALS", "Wrong username or password.")
    if link.user.login is Login.locked:
        _end(link, "error", "ERROR", "REJECTED_BY_BANK", "The bank has locked this account.")
        return _view(world, link)
    link.screen, link.wrong = "otp", 0
    return _view(world, link)


def _type_otp(world: World, link: Link, otp: str, now: datetime) -> LinkView:
    if link.parameters.method == "reconnect":
        outcome = _user.submit_otp(world, link.parameters.reconnect_id, otp, now)
        if outcome.status is None:
            return _view(world, link, problem=outcome.secondary_status, attempts_left=outcome.attempts_left)
        _end_as(link, outcome)
    elif otp != world.settings.otp:
        return _wrong(world, link, "INVALID_MFA", "MFA_ATTEMPTS_EXHAUSTED", "Too many wrong codes.")
    else:
        _connect(world, link, now)
    return _view(world, link)


def _wrong(world: World, link: Link, problem: str, last: str, message: str) -> LinkView:
    link.wrong += 1
    left = world.settings.otp_attempts - link.wrong
    if left > 0:
        return _view(world, link, problem=problem, attempts_left=left)
    _end(link, "error", "ERROR", last, message)
    return _view(world, link)


def _connect(world: World, link: Link, now: datetime) -> None:
    """Make the entity, or renew the one that is there: the way out of CONSENT_EXPIRED, and to more permissions."""
    customer, bank, user = link.customer, link.bank, link.user
    assert customer is not None
    assert bank is not None
    assert user is not None
    granted = frozenset(link.parameters.permissions)
    known = [
        one
        for one in world.entities.values()
        if (one.customer, one.bank, one.user, one.status) == (customer, bank, user, "ACTIVE")
    ]
    if not known:
        _refreshes.first_refresh(world, world.connect(customer, bank, user, granted, now), now)
    elif _as_wanted(world, known[-1], granted, now):
        _end(link, "error", "ERROR", "ENTITY_ALREADY_CONNECTED", "It is connected already.")
        return
    else:
        known[-1].permissions = granted
        _user.set_consent(world, known[-1], "ACTIVE", now)
    _end(link, "success", "SUCCESS", "OK", "The account was connected.")


def _as_wanted(world: World, entity: Entity, granted: frozenset[str], now: datetime) -> bool:
    return entity.consented(now) and world.session_live(entity, now) and entity.permissions == granted


def _cancel(world: World, link: Link, given: Mapping[str, Any]) -> LinkView:
    intent = {"exit_intent_point": link.screen.upper(), "user_exit_intent": True}
    reason = given.get("exit_survey_reason")
    if isinstance(reason, str) and reason:
        intent["exit_survey_reason"] = reason
    _end(link, "closed", "CANCELLED", "FAILED", "The user closed the window.", **intent)
    return _view(world, link)


# --- its end, and what is shown


def _end(link: Link, screen: str, status: str, secondary: str, message: str, **more: object) -> None:
    """End a visit. The callback carries what is relevant, and neither reconnect id nor entity id."""
    link.callback = {
        "status": status,
        "secondary_status": secondary,
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


def _bank_shape(world: World, bank: Bank) -> dict[str, Any]:
    return {
        "identifier": bank.identifier,
        "name": bank.name,
        "arabic_name": bank.arabic_name,
        "main_color": bank.main_color,
        "usable": world.availability[bank.identifier].usable,
    }


def _view(world: World, link: Link, *, problem: str | None = None, attempts_left: int | None = None) -> LinkView:
    said = link.callback
    return LinkView(
        link_id=link.link_id,
        method=link.parameters.method,
        screen=link.screen,
        language=link.parameters.language,
        banks=tuple(_bank_shape(world, bank) for bank in world.country.banks) if link.screen == "banks" else (),
        bank=_bank_shape(world, link.bank) if link.bank is not None and link.screen != "banks" else None,
        permissions=link.parameters.permissions,
        problem=said["secondary_status"] if said is not None and said["status"] == "ERROR" else problem,
        attempts_left=attempts_left,
        callback=said,
    )
