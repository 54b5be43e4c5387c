"""One call as the handlers see it: matched, parsed, with its time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import attrs

from leanflow._call import Call
from leanflow._request import Resource

from ._answers import Refused, Writer
from ._faults import Context
from ._json import loads
from ._state import Customer, Entity
from ._times import parse_date
from ._world import World

__all__ = ["Ask", "invalid", "missing"]


def invalid(name: str, value: object) -> Refused:
    """Return the refusal of a parameter of the wrong kind."""
    return Refused(
        status=400, code="INVALID_PARAMETERS", message=f"A parameter is wrong, field: {name}, value: {value}."
    )


def missing(name: str) -> Refused:
    """Return the refusal of a call that lacks a parameter."""
    return Refused(status=400, code="MISSING_PARAMETERS", message=f"A parameter is missing, field: {name}.")


@attrs.define(kw_only=True)
class Ask:
    """One call to the simulated API.

    Attributes:
        parts: what the path's placeholders stand for.
        delay: seconds before the answer is to be sent; handlers add to it.
        struck: the effect of the fault that struck, for the log.
    """

    world: World
    call: Call
    now: datetime
    write: Writer
    kind: str
    parts: Mapping[str, str]
    resource: Resource | None = None
    api: str = "v2"
    delay: float = 0.0
    struck: str | None = None
    _body: Any = None

    @property
    def body(self) -> Mapping[str, Any]:
        """The JSON body, an object.

        Raises:
            Refused: it is not one.
        """
        if self._body is None:
            parsed = loads(self.call.body)
            if not isinstance(parsed, dict):
                raise Refused(status=400, code="INVALID_PARAMETERS", message="The body is not a JSON object.")
            self._body = parsed
        return self._body  # type: ignore[no-any-return]

    def given(self, name: str) -> Any:
        """Return a parameter of a data call: in the body in v1, in the query in v2; None if it is not there."""
        return self.body.get(name) if self.api == "v1" else self.call.query.get(name)

    def context(self) -> Context:
        """Return what faults are aimed at."""
        entity = self._aimed()
        return Context(
            kind=self.kind,
            method=self.call.method,
            path=self.call.path,
            resource=self._aimed_resource(),
            entity_id=entity.entity_id if entity else None,
            bank=entity.bank.identifier if entity else None,
        )

    def _aimed_resource(self) -> str | None:
        result = self.world.results.get(self.parts.get("results_id", ""))
        named = result.wanted.resource if result else self.resource
        return named.value if named else None

    def _aimed(self) -> Entity | None:
        world = self.world
        if "results_id" in self.parts:
            result = world.results.get(self.parts["results_id"])
            return result.entity if result else None
        if "refresh_id" in self.parts:
            refresh = world.refreshes.get(self.parts["refresh_id"])
            return refresh.entity if refresh else None
        named = self.parts.get("entity_id") or self.call.query.get("entity_id")
        if named is None and self.call.method == "POST" and self.kind in ("data", "refresh"):
            body = loads(self.call.body)
            named = body.get("entity_id") if isinstance(body, dict) else None
        return world.entities.get(named) if isinstance(named, str) else None

    # parameters

    def entity(self, entity_id: object) -> Entity:
        """Return an entity that is there.

        Raises:
            Refused: 400 without a UUID, 404 for one that is unknown or deleted.
        """
        if entity_id is None:
            raise missing("entity_id")
        found = self.world.entities.get(self.uuid("entity_id", entity_id))
        if found is None or found.status != "ACTIVE":
            raise Refused(status=404, code="UNKNOWN_ENTITY", results_id=self.world.call_id())
        return found

    def customer(self, customer_id: str) -> Customer:
        """Return a customer.

        Raises:
            Refused: 404 if there is none.
        """
        found = self.world.customers.get(customer_id)
        if found is None:
            raise Refused(status=404, code="UNKNOWN_CUSTOMER")
        return found

    def uuid(self, name: str, value: object) -> str:
        """Return a UUID as it was given.

        Raises:
            Refused: 400 if it is none.
        """
        try:
            if isinstance(value, str) and len(value) == 36:
                UUID(value)
                return value
        except ValueError:
            pass
        raise invalid(name, value)

    def whole(self, name: str, default: int | None, *, least: int = 0, most: int = 1_000_000) -> int:
        """Return a whole number of the query; `default` None: it must be there.

        Raises:
            Refused: 400 if it is missing, no number or out of bounds.
        """
        text = self.call.query.get(name)
        if text is None:
            if default is None:
                raise missing(name)
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise invalid(name, text)
        return int(text)

    def flag(self, name: str) -> bool:
        """Return a boolean parameter of a data call; False if it is not there.

        Raises:
            Refused: 400 if it is neither.
        """
        value = self.given(name)
        if value in (None, False, "false"):
            return False
        if value in (True, "true"):
            return True
        raise invalid(name, value)

    def day(self, name: str) -> date | None:
        """Return a date of the query, or None if it is not there.

        Raises:
            Refused: 400 if it is no date, or in the future.
        """
        text = self.call.query.get(name)
        if text is None:
            return None
        found = parse_date(text)
        if found is None or found > self.now.date():
            raise invalid(name, text)
        return found
