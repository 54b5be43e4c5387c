"""The user's side: what happens at the bank when somebody types an OTP, and what the Link SDK calls back with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from leanflow.errors import InvalidRequest
from leanflow.mockbank import _refreshes
from leanflow.mockbank._state import Entity, Refresh, Result, resource_of
from leanflow.mockbank._world import World

__all__ = ["LinkOutcome", "approve", "cancel", "set_consent", "submit_otp", "wanted_user"]


@attrs.frozen(kw_only=True)
class LinkOutcome:
    """What came of one step of the user in the Link SDK.

    Attributes:
        status: what the SDK calls back with; None while the user is still in the flow.
        secondary_status: Lean's finer word; None: there is none.
        attempts_left: before the flow ends with MFA_ATTEMPTS_EXHAUSTED.
        bank: the identifier, if the reconnect id was known.
        redirect_url: the bank's own site, if `status` is ``REDIRECT``.
    """

    status: str | None
    secondary_status: str | None
    message: str = ""
    attempts_left: int = 0
    bank: str | None = None
    redirect_url: str | None = None

    def payload(self) -> dict[str, Any]:
        """Return what the SDK's callback gets; it carries neither reconnect id nor entity id."""
        shape: dict[str, Any] = {"status": self.status, "message": self.message}
        if self.secondary_status is not None:
            shape["secondary_status"] = self.secondary_status
        if self.redirect_url is not None:
            shape["open_banking_redirect_url"] = self.redirect_url
        if self.bank is not None:
            shape["bank"] = {"bank_identifier": self.bank, "is_supported": True}
        return shape


_UNKNOWN = LinkOutcome(status="ERROR", secondary_status="UNKNOWN", message="This reconnect id is not known.")


def _waiting(world: World, reconnect_id: str, now: datetime) -> Result | Refresh | None:
    """Return what a live reconnect id names, done or not."""
    found: Result | Refresh | None = world.refreshes.get(reconnect_id)
    if found is None:
        found = next((one for one in reversed(world.results.values()) if one.reconnect_id == reconnect_id), None)
    if found is None or found.reconnect_since is None or world.too_old(found.reconnect_since, now):
        return None
    return found


def wanted_user(world: World, reconnect_id: str, now: datetime) -> Result | Refresh | LinkOutcome:
    """Return what waits for the user under a reconnect id, or why nobody can reconnect with it."""
    waiting = _waiting(world, reconnect_id, now)
    if waiting is None:
        return _UNKNOWN
    bank = waiting.entity.bank.identifier
    if waiting.entity.status != "ACTIVE" or not waiting.entity.consented(now):
        return LinkOutcome(
            status="ERROR", secondary_status="CONSENT_EXPIRED", message="The consent has ended.", bank=bank
        )
    if waiting.status != "RECONNECT_REQUIRED":
        return LinkOutcome(
            status="ERROR", secondary_status="ENTITY_ALREADY_CONNECTED", message="It is connected already.", bank=bank
        )
    return waiting


def submit_otp(world: World, reconnect_id: str, otp: str, now: datetime) -> LinkOutcome:
    """Take what the user typed. The right OTP reconnects the entity and announces it; wrong ones are counted.

    Raises:
        InvalidRequest: its bank authorises by redirect.
    """
    waiting = wanted_user(world, reconnect_id, now)
    if isinstance(waiting, LinkOutcome):
        return waiting
    bank = waiting.entity.bank.identifier
    if bank in world.redirects:
        raise InvalidRequest("reconnect_id", f"is of {bank}, which asks for no OTP: it authorises on its own site")
    if otp != world.settings.otp:
        return _wrong(world, waiting, bank)
    return approve(world, reconnect_id, now)


def approve(world: World, reconnect_id: str, now: datetime) -> LinkOutcome:
    """Reconnect the entity, which the bank agrees to, and announce it."""
    waiting = wanted_user(world, reconnect_id, now)
    if isinstance(waiting, LinkOutcome):
        return waiting
    _reconnect(world, waiting, reconnect_id, now)
    bank = waiting.entity.bank.identifier
    return LinkOutcome(status="SUCCESS", secondary_status="OK", message="The account was reconnected.", bank=bank)


def _wrong(world: World, waiting: Result | Refresh, bank: str) -> LinkOutcome:
    waiting.wrong_otps += 1
    left = world.settings.otp_attempts - waiting.wrong_otps
    if left > 0:
        return LinkOutcome(
            status=None, secondary_status="INVALID_MFA", message="The code is wrong.", attempts_left=left, bank=bank
        )
    waiting.wrong_otps = 0  # the next attempt in the SDK begins anew: the reconnect id lives on
    return LinkOutcome(
        status="ERROR", secondary_status="MFA_ATTEMPTS_EXHAUSTED", message="Too many wrong codes.", bank=bank
    )


def _reconnect(world: World, waiting: Result | Refresh, reconnect_id: str, now: datetime) -> None:
    entity = waiting.entity
    entity.session_over, entity.last_used = False, now
    payload = {"id": entity.entity_id, "reconnect_id": reconnect_id}
    world.tell("entity.reconnected", payload, "The entity was reconnected.", entity, now, resource_of(waiting))
    if isinstance(waiting, Refresh):
        _refreshes.start(world, waiting, now)
        return
    ready = [waiting]
    if world.settings.siblings_become_ready:
        ready += [
            one
            for one in world.results.values()
            if one.entity is entity and one.status == "RECONNECT_REQUIRED" and one is not waiting
        ]
    for result in ready:
        world.pend(result, now, world.progress("reconnects", result))
    world.catch_up(now)


def cancel(world: World, reconnect_id: str, now: datetime) -> LinkOutcome:
    """Let the user walk away: no webhook says so, and the reconnect id lives on."""
    waiting = _waiting(world, reconnect_id, now)
    if waiting is None:
        return _UNKNOWN
    waiting.wrong_otps = 0
    return LinkOutcome(
        status="CANCELLED",
        secondary_status="FAILED",
        message="The user closed the window.",
        bank=waiting.entity.bank.identifier,
    )


def set_consent(world: World, entity: Entity, status: str, now: datetime) -> None:
    """Let the user renew (``ACTIVE``) or withdraw (``REVOKED``) the consent; ``entity.updated`` tells not which."""
    if status == "ACTIVE":
        entity.consent_expires_at = now + world.settings.consent_life
        entity.session_over, entity.last_used = False, now
    entity.consent_status, entity.consent_updated_at, entity.updated_at = status, now, now
    world.emit_entity("entity.updated", "An entity object was updated.", entity, now)
