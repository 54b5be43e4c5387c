"""The simulated Lean, as one object: API, webhooks, the user's side, and the switches."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import attrs

from leanflow._call import Call
from leanflow.errors import InvalidRequest

from . import _auth, _refreshes, _user
from ._disturbances import Disturbance
from ._faults import Fault
from ._log import Log
from ._routes import Exchange, answer, routes
from ._settings import Settings
from ._state import PERMISSIONS, Entity
from ._webhooks import Delivery
from ._world import World

__all__ = ["Mockbank"]

_START = datetime(2026, 1, 1, 8, tzinfo=UTC)  # any day does; a fixed one makes runs repeatable


class Mockbank:
    """A stateful stand-in for Lean's sandbox. It does no I/O, reads no clock and rolls no dice.

    What it does depends on the settings, on what it was asked so far and on the times that it is given. `handle`
    answers calls; `deliveries_due` and `delivered` are for whoever sends its webhooks. All other methods are the world
    around Lean: the user, the bank, the operator and the adversary. They take the present time; without one, the latest
    time that the bank has seen.

    Args:
        seed: every id and all data follow from it.
        now: the first time; aware.
        settings: all settings at once; `changes` are laid over them.
        changes: single settings, as ``region="ksa"`` (see `Settings`).

    Raises:
        InvalidRequest: a setting has a wrong value.
    """

    def __init__(
        self, seed: int = 0, now: datetime = _START, *, settings: Settings | None = None, **changes: Any
    ) -> None:
        unknown = changes.keys() - attrs.fields_dict(Settings).keys()
        if unknown:
            raise InvalidRequest(min(unknown), "is no setting of a Mockbank")
        if now.tzinfo is None:
            raise InvalidRequest("now", "must be an aware time")
        if seed or settings is None:
            changes["seed"] = seed
        chosen = attrs.evolve(settings or Settings(), **changes)
        self._world = World(chosen.completed(), now)
        self._routes = routes()

    def __repr__(self) -> str:
        return f"<Mockbank seed={self.settings.seed} region={self.settings.region} at {self.now.isoformat()}>"

    # what it is

    @property
    def settings(self) -> Settings:
        """What it is set to, with what follows from other settings filled in."""
        return self._world.settings

    @property
    def app(self) -> str:
        """The application id: OAuth client id and ``lean-app-token``."""
        return self._world.settings.app

    @property
    def client_secret(self) -> str:
        """The OAuth client secret."""
        return self._world.settings.client_secret

    @property
    def webhook_secret(self) -> str:
        """What webhooks are signed with."""
        return self._world.settings.webhook_secret

    @property
    def now(self) -> datetime:
        """The latest time it has seen."""
        return self._world.now

    @property
    def log(self) -> Log:
        """What it was asked and what it sent."""
        return self._world.log

    @property
    def banks(self) -> tuple[str, ...]:
        """The identifiers of its banks."""
        return tuple(self._world.availability)

    def pass_time(self, now: datetime) -> None:
        """Let everything happen that is due by `now`; the other methods do so too."""
        self._at(now)

    # the API

    def handle(self, call: Call, now: datetime) -> Exchange:
        """Answer one call to the API or to the token endpoint.

        Args:
            call: with its credentials among the headers.
            now: the present time; aware.
        """
        return answer(self._world, self._routes, call, now)

    def token(self, scope: str = "api", now: datetime | None = None) -> str:
        """Return a fresh token, as the token endpoint gives them."""
        return _auth.issue_token(self._world, scope, self._at(now))

    def revoke_tokens(self) -> None:
        """Make all tokens given so far invalid."""
        self._world.token_generation += 1

    # webhooks

    @property
    def webhook_url(self) -> str:
        """Where webhooks go; empty: nowhere yet."""
        return self._world.webhooks.url

    @webhook_url.setter
    def webhook_url(self, url: str) -> None:
        self._world.webhooks.url = url

    def subscribe(self, types: Iterable[str] | None) -> None:
        """Send webhooks of these types only; None: of all."""
        self._world.webhooks.subscribed = None if types is None else frozenset(types)

    def deliveries_due(self, now: datetime, *, early: bool = False) -> list[Delivery]:
        """Take the deliveries that are due, in the order in which they are to be sent.

        After this you must call `delivered` for each of them: until then it is not offered again.

        Args:
            now: the present time.
            early: whether to take only those that are to go out before the answer of the call just handled.
        """
        self._at(now)
        return self._world.webhooks.due(now, early=early)

    def delivered(self, delivery_id: str, status: int | None, now: datetime) -> None:
        """Say what came back: the HTTP status, or None if nothing did within 10 s. Exactly 200 is success."""
        self._world.webhooks.settled(delivery_id, status, self._at(now))

    def next_due(self) -> datetime | None:
        """Return when something happens or a delivery is due next, if nobody does anything; None: never."""
        times = [t for t in (self._world.later.next(), self._world.webhooks.next_due()) if t is not None]
        return min(times, default=None)

    def emit(
        self, kind: str, payload: dict[str, Any], message: str = "", now: datetime | None = None, *, lane: str = ""
    ) -> str | None:
        """Emit any webhook; return its event id, or None if nobody subscribed to its type."""
        return self._world.webhooks.emit(kind, payload, message or kind, self._at(now), lane=lane)

    def resend(self, event_id: str, now: datetime | None = None) -> bool:
        """Send an event of the past 90 days once more; False if there is none of that id."""
        return self._world.webhooks.resend(event_id, self._at(now))

    # the user

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
            known = ", ".join(one.username for one in self.settings.users)
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
        """Type an OTP in the Link SDK's reconnect flow; return what the SDK makes of it."""
        return _user.submit_otp(self._world, reconnect_id, otp, self._at(now))

    def close_link(self, reconnect_id: str, now: datetime | None = None) -> _user.LinkOutcome:
        """Close the Link SDK's window; nothing happens at Lean."""
        return _user.cancel(self._world, reconnect_id, self._at(now))

    # the bank and Lean

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
        self._consent(entity_id, "REVOKED", self._at(now))

    def renew_consent(self, entity_id: str, now: datetime | None = None) -> None:
        """Let the user run `Lean.connect` again: the consent holds anew, the session lives; ``entity.updated``."""
        at, entity = self._at(now), self._entity(entity_id)
        entity.consent_expires_at = at + self.settings.consent_life
        entity.session_over, entity.last_used = False, at
        self._consent(entity_id, "ACTIVE", at)

    def _consent(self, entity_id: str, status: str, at: datetime) -> None:
        entity = self._entity(entity_id)
        entity.consent_status, entity.consent_updated_at, entity.updated_at = status, at, at
        self._world.emit_entity("entity.updated", "An entity object was updated.", entity, at)

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

    # the adversary

    def fault(self, fault: Fault) -> None:
        """Arm a fault of the API."""
        self._world.faults.add(fault)

    def faults(self) -> list[Fault]:
        """Return the armed faults, with what is left of their `times`."""
        return self._world.faults.armed()

    def clear_faults(self) -> None:
        """Disarm all faults of the API."""
        self._world.faults.clear()

    def disturb(self, disturbance: Disturbance) -> None:
        """Arm a disturbance of webhooks."""
        self._world.webhooks.disturbances.add(disturbance)

    def disturbances(self) -> list[Disturbance]:
        """Return the armed disturbances, with what is left of their `times`."""
        return self._world.webhooks.disturbances.armed()

    def calm(self) -> None:
        """Disarm all disturbances of webhooks; what was emitted keeps its own."""
        self._world.webhooks.disturbances.clear()

    # looking

    def pending_reconnects(self, entity_id: str | None = None) -> list[str]:
        """Return the reconnect ids that wait for the user and are not too old, oldest first."""
        world = self._world
        found = [
            (one.reconnect_since, one.reconnect_id)
            for one in world.results.values()
            if one.status == "RECONNECT_REQUIRED" and entity_id in (None, one.entity.entity_id)
        ] + [
            (one.reconnect_since, one.refresh_id)
            for one in world.refreshes.values()
            if one.status == "RECONNECT_REQUIRED" and entity_id in (None, one.entity.entity_id)
        ]
        alive = [(since, name) for since, name in found if since is not None and not world.too_old(since, world.now)]
        return [name for _, name in sorted(alive)]

    def state(self, now: datetime | None = None) -> dict[str, Any]:
        """Return what it remembers, as JSON values: for people, for the control route, for the inspector."""
        at, world = self._at(now), self._world
        return {
            "now": at.isoformat(),
            "app": self.app,
            "region": self.settings.region,
            "webhook_url": self.webhook_url,
            "customers": [
                {"customer_id": one.customer_id, "app_user_id": one.app_user_id} for one in world.customers.values()
            ],
            "entities": [self._entity_state(one, at) for one in world.entities.values()],
            "results": [
                {
                    "results_id": one.results_id,
                    "reconnect_id": one.reconnect_id,
                    "entity_id": one.entity.entity_id,
                    "api": one.wanted.api,
                    "resource": one.wanted.resource.value,
                    "status": one.status,
                }
                for one in world.results.values()
            ],
            "refreshes": [
                {"refresh_id": one.refresh_id, "entity_id": one.entity.entity_id, "status": one.status}
                for one in world.refreshes.values()
            ],
            "banks": {name: attrs.asdict(has) for name, has in world.availability.items()},
            "deliveries_waiting": world.webhooks.waiting,
            "faults": [one.effect for one in self.faults()],
            "disturbances": len(self.disturbances()),
            "calls": world.log.counts(),
        }

    def _entity_state(self, entity: Entity, at: datetime) -> dict[str, Any]:
        return {
            "entity_id": entity.entity_id,
            "customer_id": entity.customer.customer_id,
            "bank": entity.bank.identifier,
            "user": entity.user.username,
            "status": entity.status,
            "session_live": self._world.session_live(entity, at),
            "consented": entity.consented(at),
            "accounts": self.accounts_of(entity.entity_id),
        }

    def _entity(self, entity_id: str) -> Entity:
        found = self._world.entities.get(entity_id)
        if found is None:
            raise InvalidRequest("entity_id", f"{entity_id!r} is no entity of this Mockbank")
        return found

    def _at(self, now: datetime | None) -> datetime:
        at = self._world.now if now is None else now
        self._world.catch_up(at)
        return at
