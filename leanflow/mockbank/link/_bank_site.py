"""The own site of a bank that authorises there: log in, then approve or refuse what Lean asks for.

Where the user goes from the Link SDK's REDIRECT. Approval does at Lean what the right OTP does elsewhere, and webhooks
tell it; neither the SDK nor the address to which the user returns says what the user chose. A refusal leaves no trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from leanflow.errors import InvalidRequest
from leanflow.mockbank._link_session import Link, LinkParameters, LinkView
from leanflow.mockbank._settings import Login
from leanflow.mockbank._world import World

from . import _user
from ._visits import connect, keep, typed, view_of

__all__ = ["answer_bank", "authorise", "is_there", "look", "open_site"]

_PATH = "/link/bank/"
_GOES_ON = {"login": "bank_login", "approve": "bank_approval"}
_ENDED = frozenset({"approved", "refused", "rejected"})


def is_there(link: Link) -> bool:
    """Return whether a visit is one to a bank's own site."""
    return link.screen in _GOES_ON.values() or link.screen in _ENDED


def open_site(world: World, link: Link) -> str:
    """Begin a visit to the site of a visit's bank; return its address."""
    site = attrs.evolve(link, link_id=world.ids.next("bank visit"), screen="bank_login", user=None, wrong=0)
    keep(world, site)
    return f"{world.origin}{_PATH}{site.link_id}"


def look(world: World, url: str, now: datetime) -> LinkView:
    """Return what the page at an address shows.

    Raises:
        InvalidRequest: there is no such visit.
    """
    path, _, site_id = url.rpartition("/")
    site = world.links.get(site_id)
    if site is None or not path.endswith(_PATH.rstrip("/")) or not is_there(site):
        raise InvalidRequest("url", f"{url!r} is no page of a bank that is known")
    return answer_bank(world, site, "look", {}, now)


def answer_bank(world: World, site: Link, step: str, given: Mapping[str, Any], now: datetime) -> LinkView:
    """Let the user do a step at the bank's site; one that has ended shows its end again.

    Args:
        world: the world.
        site: the visit.
        step: ``look`` (which changes nothing), ``login`` (``username``, ``password``), ``approve`` or ``refuse``.
        given: what the user typed.
        now: the present time.

    Raises:
        InvalidRequest: its screen has no such step, or something is missing.
    """
    if step == "look" or site.screen in _ENDED:
        return view_of(world, site)
    if step == "refuse":
        site.screen = "refused"
    elif _GOES_ON.get(step) != site.screen:
        raise InvalidRequest("step", f"{step!r} is no step at the screen {site.screen}")
    elif step == "login":
        return _log_in(world, site, typed(given, "username"), typed(given, "password"), now)
    else:
        _approve(world, site, now)
    return view_of(world, site)


def _log_in(world: World, site: Link, username: str, password: str, now: datetime) -> LinkView:
    site.user = world.user(username)
    if site.user is None or password != username or not _may_reconnect(world, site, now):
        site.wrong += 1
        left = world.settings.otp_attempts - site.wrong
        if left > 0:
            return view_of(world, site, problem="INVALID_CREDENTIALS", attempts_left=left)
        _reject(site, "INVALID_CREDENTIALS")
    elif site.user.login is Login.locked:
        _reject(site, "REJECTED_BY_BANK")
    else:
        site.screen = "bank_approval"
    return view_of(world, site)


def _may_reconnect(world: World, site: Link, now: datetime) -> bool:
    """Return whether it is not somebody else who has logged in; what nobody waits for is told at the approval."""
    if site.parameters.method == "connect":
        return True
    waiting = _user.wanted_user(world, site.parameters.reconnect_id, now)
    return isinstance(waiting, _user.LinkOutcome) or waiting.entity.user == site.user


def _approve(world: World, site: Link, now: datetime) -> None:
    if site.parameters.method == "connect":
        problem = None if connect(world, site, now) else "ENTITY_ALREADY_CONNECTED"
    else:
        outcome = _user.approve(world, site.parameters.reconnect_id, now)
        problem = None if outcome.status == "SUCCESS" else outcome.secondary_status
    if problem is None:
        site.screen = "approved"
    else:
        _reject(site, problem)


def _reject(site: Link, problem: str) -> None:
    site.screen, site.problem = "rejected", problem


def authorise(world: World, reconnect_id: str, now: datetime, *, approve: bool) -> _user.LinkOutcome:
    """Let the user go through the SDK to the bank's site, and approve or refuse a reconnect there.

    Returns:
        What the SDK called back with when the user left for the bank: the same whatever the user chooses there.

    Raises:
        InvalidRequest: the bank has no such site.
    """
    waiting = _user.wanted_user(world, reconnect_id, now)
    if isinstance(waiting, _user.LinkOutcome):
        return waiting
    entity = waiting.entity
    if entity.bank.identifier not in world.redirects:
        raise InvalidRequest("reconnect_id", f"is of {entity.bank.identifier}, which asks for an OTP")
    parameters = LinkParameters(method="reconnect", reconnect_id=reconnect_id)
    link = Link(link_id="", parameters=parameters, screen="redirected", customer=entity.customer, bank=entity.bank)
    url = open_site(world, link)
    site = world.links[url.rpartition("/")[2]]
    name = entity.user.username
    answer_bank(world, site, "login", {"username": name, "password": name}, now)
    answer_bank(world, site, "approve" if approve else "refuse", {}, now)
    return _user.LinkOutcome(
        status="REDIRECT",
        secondary_status=None,
        message="The user was sent to the bank.",
        bank=entity.bank.identifier,
        redirect_url=url,
    )
