"""The user's side of a Mockbank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from leanflow.errors import InvalidRequest
from leanflow.mockbank import _refreshes
from leanflow.mockbank._link_session import LinkView
from leanflow.mockbank._state import PERMISSIONS
from leanflow.mockbank.link import _bank_site, _screens, _user

from ._side import Side

__all__ = ["UserSide"]


class UserSide(Side):
    """What the user does."""

    def connect(
        self,
        app_user_id: str = "user-1",
        *,
        username: str = "mockbank_user_1",
        bank: str | None = None,
        permissions: Iterable[str] = PERMISSIONS,
        now: datetime | None = None,
    ) -> str:
        """Connect a bank account, as a user does in the Link SDK; return the entity id.

        Raises:
            InvalidRequest: an unknown user, bank or permission.
        """
        at, world = self._at(now), self._world
        user = world.user(username)
        if user is None:
            known = ", ".join(one.username for one in self._world.settings.users)
            raise InvalidRequest("username", f"{username!r} is none of {known}")
        granted = frozenset(permissions)
        if not granted <= frozenset(PERMISSIONS):
            raise InvalidRequest(
                "permissions", f"{', '.join(sorted(granted - frozenset(PERMISSIONS)))} is none of Lean's"
            )
        entity = world.connect(world.customer(app_user_id), world.bank(bank), user, granted, at)
        _refreshes.first_refresh(world, entity, at)
        return entity.entity_id

    def submit_otp(self, reconnect_id: str, otp: str, now: datetime | None = None) -> _user.LinkOutcome:
        """Type an OTP in the Link SDK's reconnect flow; return what the SDK makes of it.

        Raises:
            InvalidRequest: the bank asks for none: it authorises on its own site (see `authorise`).
        """
        return _user.submit_otp(self._world, reconnect_id, otp, self._at(now))

    def authorise(self, reconnect_id: str, *, approve: bool = True, now: datetime | None = None) -> _user.LinkOutcome:
        """Go through the Link SDK to the bank's own site, and approve or refuse a reconnect there.

        Args:
            reconnect_id: whose entity is at one of the banks that authorise by redirect.
            approve: what the user chooses at the bank's site.
            now: the present time.

        Returns:
            What the SDK called back with when the user left for the bank: REDIRECT, whatever the user chose there.

        Raises:
            InvalidRequest: the bank asks for an OTP instead.
        """
        return _bank_site.authorise(self._world, reconnect_id, self._at(now), approve=approve)

    def visit_bank(self, url: str, now: datetime | None = None) -> LinkView:
        """Open a bank's own site, to which ``open_banking_redirect_url`` of a REDIRECT leads; go on by `answer_link`.

        Raises:
            InvalidRequest: it is none of this Mockbank's.
        """
        return _bank_site.look(self._world, url, self._at(now))

    def close_link(self, reconnect_id: str, now: datetime | None = None) -> _user.LinkOutcome:
        """Close the Link SDK's window; nothing happens at Lean."""
        return _user.cancel(self._world, reconnect_id, self._at(now))

    def open_link(self, method: str, parameters: Mapping[str, Any], now: datetime | None = None) -> LinkView:
        """Open the Link SDK's page, as ``Lean.connect(parameters)`` and ``Lean.reconnect(parameters)`` do in a browser.

        Args:
            method: ``connect`` or ``reconnect``.
            parameters: as the SDK takes them, without ``callback``; a prompt's `to_dict`. Wrong ones are told in the
                view.
            now: the present time.
        """
        return _screens.open_link(self._world, method, parameters, self._at(now))

    def answer_link(self, link_id: str, step: str, now: datetime | None = None, **given: str) -> LinkView:
        """Let the user do a step at the page.

        Args:
            link_id: from the view.
            step: ``bank`` (``bank_identifier``), ``consent``, ``credentials`` (``username``, ``password``), ``otp``
                (``otp``), ``continue`` (to the bank's own site), ``back``, or ``cancel`` (perhaps with
                ``exit_survey_reason``). At the bank's own site: ``login`` (``username``, ``password``), ``approve``
                or ``refuse``.
            now: the present time.
            given: what the user chose or typed.

        Raises:
            InvalidRequest: there is no such page, its screen has no such step, or something is missing.
        """
        return _screens.answer_link(self._world, link_id, step, given, self._at(now))
