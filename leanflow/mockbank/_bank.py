"""The simulated Lean, as one object: API, webhooks, the user's side, and the switches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from leanflow._call import Call
from leanflow.errors import InvalidRequest

from . import _overview, _tokens
from ._log import Log
from ._settings import Settings
from ._state import Result
from ._webhooks import Delivery
from ._world import World
from .adversary._disturbances import Subject
from .api._exchange import Exchange
from .api._openapi import describe
from .api._route_table import routes
from .api._router import Router
from .api._routes import answer
from .sides._adversary import AdversarySide
from .sides._bank import BankSide
from .sides._user import UserSide

if TYPE_CHECKING:
    from ._scenario import Scenario

__all__ = ["Mockbank"]

_START = datetime(2026, 1, 1, 8, tzinfo=UTC)  # any day does; a fixed one makes runs repeatable


class Mockbank(UserSide, BankSide, AdversarySide):
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
        self._router = Router(routes(chosen.region))

    @staticmethod
    def from_scenario(scenario: Scenario | str | Mapping[str, Any], now: datetime = _START, **changes: Any) -> Mockbank:
        """Return a Mockbank on which a scenario has begun.

        Args:
            scenario: as read, as text of TOML or JSON, or as a table.
            now: the first time; aware.
            changes: single settings, laid over the scenario's.

        Raises:
            InvalidRequest: something in the scenario is wrong; names the key.
        """
        from ._scenario import Scenario  # noqa: PLC0415 - a scenario is tried on a Mockbank: it stands above this

        if isinstance(scenario, str):
            scenario = Scenario.parse(scenario)
        elif not isinstance(scenario, Scenario):
            scenario = Scenario.of(scenario)
        bank = Mockbank(now=now, settings=Settings.of(scenario.settings), **changes)
        scenario.begin(bank, now)
        return bank

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

    def follow(self, present: Callable[[], datetime], changed: Callable[[], None], origin: str | None = None) -> None:
        """Take the present time from a clock where none is given, and say when something new is due. For shells.

        Args:
            present: tells the time; aware.
            changed: is called after something new has become due, now or later; it must not call back.
            origin: where the pages of its banks are served: scheme, host and port; None: nowhere.
        """
        world = self._world
        world.origin = origin or world.origin
        world.present = present
        world.webhooks.changed = world.later.changed = changed

    def at(self, when: datetime, happen: Callable[[datetime], None]) -> None:
        """Arrange for ``happen(when)`` once that time has come."""
        self._world.later.at(when, happen)

    # the API

    def handle(self, call: Call, now: datetime) -> Exchange:
        """Answer one call to the API or to the token endpoint.

        Args:
            call: with its credentials among the headers.
            now: the present time; aware.
        """
        return answer(self._world, self._router, call, now)

    def openapi(self) -> dict[str, Any]:
        """Return its own description of its API, in OpenAPI 3.1, as JSON values."""
        return describe(self.settings)

    def token(self, scope: str = "api", now: datetime | None = None) -> str:
        """Return a fresh token, as the token endpoint gives them."""
        return _tokens.issue_token(self._world, scope, self._at(now))

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
        self._world.webhooks.changed()

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
        """Emit any webhook; return its event id, or None if nobody subscribed to its type.

        Disturbances that are aimed strike it if its payload names what they are aimed at.

        Args:
            kind: its type, as ``results.ready``.
            payload: anything.
            message: the type, if there is none.
            now: the present time.
            lane: webhooks of one lane are sent one after the other; Mockbank's own have the entity's or the bank's id.
        """
        names = (payload.get(key) for key in ("reconnect_id", "refresh_id", "entity_id", "id", "identifier"))
        known = (self._world.subject_named(name) for name in (*names, lane))
        subject = next((one for one in known if one is not None), Subject())
        return self._world.webhooks.emit(kind, payload, message or kind, self._at(now), lane=lane, subject=subject)

    def resend(self, event_id: str, now: datetime | None = None) -> bool:
        """Send an event of the past 90 days once more; False if there is none of that id."""
        return self._world.webhooks.resend(event_id, self._at(now))

    # looking

    def pending_reconnects(self, entity_id: str | None = None) -> list[str]:
        """Return the reconnect ids that wait for the user and are not too old, oldest first."""
        return [
            one.reconnect_id if isinstance(one, Result) else one.refresh_id
            for _, one in _overview.waiting_for_user(self._world)
            if entity_id in (None, one.entity.entity_id)
        ]

    def state(self, now: datetime | None = None) -> dict[str, Any]:
        """Return what it remembers, as JSON values."""
        return _overview.state(self._world, self._at(now))

    def overview(self, most: int = 50, now: datetime | None = None) -> dict[str, Any]:
        """Return the latest of everything, at most so many of each, newest first, as JSON values: for a page."""
        return _overview.overview(self._world, self._at(now), most)
