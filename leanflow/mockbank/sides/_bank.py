"""The bank's and Lean's side of a Mockbank: sessions, consents, banks, what is held."""

from __future__ import annotations

from datetime import datetime

from leanflow.errors import InvalidRequest
from leanflow.mockbank import _refreshes
from leanflow.mockbank.link import _user

from ._side import Side

__all__ = ["BankSide"]


class BankSide(Side):
    """What happens at the bank and at Lean."""

    def customer_of(self, entity_id: str) -> str:
        """Return the customer id of an entity."""
        return self._entity(entity_id).customer.customer_id

    def accounts_of(self, entity_id: str) -> list[str]:
        """Return the account ids of an entity."""
        return [account.account_id for account in self._world.book(self._entity(entity_id)).accounts]

    def expire_session(self, entity_id: str, now: datetime | None = None) -> None:
        """Let the bank forget the user: the next data call answers RECONNECT_REQUIRED."""
        self._at(now)
        self._entity(entity_id).session_over = True

    def session_live(self, entity_id: str, now: datetime | None = None) -> bool:
        """Return whether the bank still lets the user in."""
        return self._world.session_live(self._entity(entity_id), self._at(now))

    def revoke_consent(self, entity_id: str, now: datetime | None = None) -> None:
        """Let the user withdraw the consent: data calls answer CONSENT_EXPIRED; ``entity.updated`` is emitted."""
        _user.set_consent(self._world, self._entity(entity_id), "REVOKED", self._at(now))

    def renew_consent(self, entity_id: str, now: datetime | None = None) -> None:
        """Let the user run `Lean.connect` again: the consent holds anew, the session lives; ``entity.updated``."""
        _user.set_consent(self._world, self._entity(entity_id), "ACTIVE", self._at(now))

    def switch_bank(self, bank: str, now: datetime | None = None, **changes: bool) -> None:
        """Switch a bank off or on and emit ``bank.availability.updated``.

        Args:
            bank: its identifier.
            now: the present time.
            changes: ``active_data``, ``active_payments`` (Lean's switches), ``enabled_data``, ``enabled_payments``
                (the application's).

        Raises:
            InvalidRequest: an unknown bank or switch.
        """
        self._world.switch_bank(bank, self._at(now), changes)

    def redirect_bank(self, bank: str, *, on: bool = True, now: datetime | None = None) -> None:
        """Let a bank authorise on its own site, to which the Link SDK's REDIRECT leads; or by login and OTP, as before.

        Raises:
            InvalidRequest: an unknown bank.
        """
        self._at(now)
        identifier = self._world.bank(bank).identifier
        (self._world.redirects.add if on else self._world.redirects.discard)(identifier)

    def release(self, held_id: str, now: datetime | None = None) -> None:
        """Let what is PENDING come to its end now: a result or a refresh.

        Raises:
            InvalidRequest: there is none of that id.
        """
        at, world = self._at(now), self._world
        if held_id in world.results:
            if world.results[held_id].status == "PENDING":
                world.ready(world.results[held_id], at)
        elif held_id in world.refreshes:
            _refreshes.finish(world, world.refreshes[held_id], at)
        else:
            raise InvalidRequest("held_id", f"{held_id!r} names neither a result nor a refresh")
