"""What a visit to the Link SDK and one to a bank's own site have in common: what is typed, shown, and connected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from leanflow.errors import InvalidRequest
from leanflow.mockbank import _refreshes
from leanflow.mockbank._link_session import Link, LinkView
from leanflow.mockbank._state import Entity
from leanflow.mockbank._world import World
from leanflow.mockbank.countries._country import Bank

from . import _user

__all__ = ["connect", "keep", "typed", "view_of"]

_VISITS_AT_MOST = 1_000  # at the same time; the oldest is forgotten, as a window left open for a week


def keep(world: World, link: Link) -> None:
    """Remember a visit."""
    world.links[link.link_id] = link
    if len(world.links) > _VISITS_AT_MOST:
        world.links.popitem(last=False)


def typed(given: Mapping[str, Any], name: str) -> str:
    """Return what the user typed or chose.

    Raises:
        InvalidRequest: it is no text.
    """
    value = given.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(name, "must be a text")
    return value.strip() if name != "password" else value


def connect(world: World, link: Link, now: datetime) -> bool:
    """Make the entity, or renew the one that is there: the way out of CONSENT_EXPIRED, and to more permissions.

    Returns:
        False if nothing was to be done.
    """
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
        return True
    if _as_wanted(world, known[-1], granted, now):
        return False
    known[-1].permissions = granted
    _user.set_consent(world, known[-1], "ACTIVE", now)
    return True


def _as_wanted(world: World, entity: Entity, granted: frozenset[str], now: datetime) -> bool:
    return entity.consented(now) and world.session_live(entity, now) and entity.permissions == granted


def _return_url(link: Link) -> str | None:
    """Return where a bank's own site sends the user at the end."""
    if link.screen == "approved":
        return link.parameters.success_redirect_url
    return link.parameters.fail_redirect_url if link.screen in ("refused", "rejected") else None


def _bank_shape(world: World, bank: Bank) -> dict[str, Any]:
    return {
        "identifier": bank.identifier,
        "name": bank.name,
        "arabic_name": bank.arabic_name,
        "main_color": bank.main_color,
        "usable": world.availability[bank.identifier].usable,
    }


def view_of(world: World, link: Link, *, problem: str | None = None, attempts_left: int | None = None) -> LinkView:
    """Return what the page shows of a visit."""
    said = link.callback
    return LinkView(
        link_id=link.link_id,
        method=link.parameters.method,
        screen=link.screen,
        language=link.parameters.language,
        banks=tuple(_bank_shape(world, bank) for bank in world.country.banks) if link.screen == "banks" else (),
        bank=_bank_shape(world, link.bank) if link.bank is not None and link.screen != "banks" else None,
        permissions=link.parameters.permissions,
        problem=said["secondary_status"] if said is not None and said["status"] == "ERROR" else link.problem or problem,
        attempts_left=attempts_left,
        callback=said,
        return_url=_return_url(link),
    )
