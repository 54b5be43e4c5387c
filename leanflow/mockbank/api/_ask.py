"""One call as the handlers see it: matched, parsed, checked, with its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import attrs

from leanflow._call import Call
from leanflow._request import Resource
from leanflow.mockbank._state import Customer, Entity
from leanflow.mockbank._world import World
from leanflow.mockbank.adversary._faults import Context
from leanflow.mockbank.basics._json import loads

from ._answers import Refused, Writer, invalid, missing
from ._schema import Schema, check, read

__all__ = ["Ask", "Parameter"]


@attrs.frozen
class Parameter:
    """One parameter of a query or a path, with the schema of its value."""

    name: str
    schema: Schema
    required: bool = False


@attrs.define(kw_only=True)
class Ask:
    """One call to the simulated API.

    Attributes:
        path: what the path's placeholders stand for.
        query: the query's values, once `read_query` has checked them; those with a default are always there.
        body: the body's object, once `read_body` has checked it; empty if there is none.
        delay: seconds before the answer is to be sent.
    """

    world: World
    call: Call
    now: datetime
    write: Writer
    kind: str
    path: Mapping[str, str]
    resource: Resource | None = None
    api: str = "v2"
    query: Mapping[str, Any] = attrs.field(factory=dict)
    body: Mapping[str, Any] = attrs.field(factory=dict)
    delay: float = 0.0

    def header(self, name: str) -> str | None:
        """Return a header's value; `name` in lower case."""
        return next((value for key, value in self.call.headers.items() if key.lower() == name), None)

    # what is asked

    def read_path(self, schemas: Mapping[str, Schema]) -> None:
        """Check what the placeholders stand for.

        Raises:
            Refused: 400.
        """
        for name, text in self.path.items():
            check(name, text, schemas[name])

    def read_query(self, parameters: Sequence[Parameter]) -> None:
        """Take the parameters of the query; others are ignored, as Lean does.

        Raises:
            Refused: 400: one is missing or wrong.
        """
        given, found = self.call.query, {}
        for one in parameters:
            if one.name in given:
                found[one.name] = read(one.name, given[one.name], one.schema)
            elif one.required:
                raise missing(one.name)
            elif "default" in one.schema:
                found[one.name] = one.schema["default"]
        self.query = found

    def read_body(self, schema: Schema, *, required: bool = True) -> None:
        """Take the JSON body.

        Raises:
            Refused: 400: it is missing, no JSON object, or not as the schema says.
        """
        if not self.call.body and not required:
            return
        media = (self.header("content-type") or "application/json").partition(";")[0].strip().lower()
        if media != "application/json" and not media.endswith("+json"):
            raise invalid("content-type", media)
        parsed = loads(self.call.body)
        if not isinstance(parsed, dict):
            raise Refused(status=400, code="INVALID_PARAMETERS", message="The body is not a JSON object.")
        check("", parsed, schema)
        self.body = parsed

    def given(self, name: str) -> Any:
        """Return a parameter of a data call: in the body in v1, in the query in v2; None if it is not there."""
        return self.body.get(name) if self.api == "v1" else self.query.get(name)

    def page(self, number: str = "page", size: str = "size") -> tuple[int, int]:
        """Return which page is asked for, and its size."""
        return self.query[number], self.query[size]

    def days(self) -> tuple[date | None, date | None]:
        """Return ``start_date`` and ``end_date``.

        Raises:
            Refused: 400: one is in the future, or the start is after the end.
        """
        found = {name: self.query.get(name) for name in ("start_date", "end_date")}
        start, end = (None if text is None else date.fromisoformat(text) for text in found.values())
        for name, day in (("start_date", start), ("end_date", end)):
            if day is not None and day > self.now.date():
                raise invalid(name, day)
        if start is not None and end is not None and start > end:
            raise invalid("start_date", start)
        return start, end

    # what it is about

    def entity(self, entity_id: str) -> Entity:
        """Return an entity that is there.

        Raises:
            Refused: 404: it is unknown or deleted.
        """
        found = self.world.entities.get(entity_id.lower())
        if found is None or found.status != "ACTIVE":
            raise Refused(status=404, code="UNKNOWN_ENTITY", results_id=self.world.call_id())
        return found

    def customer(self) -> Customer:
        """Return the customer whom the path names.

        Raises:
            Refused: 404: there is none.
        """
        found = self.world.customers.get(self.path["customer_id"].lower())
        if found is None:
            raise Refused(status=404, code="UNKNOWN_CUSTOMER")
        return found

    def context(self) -> Context:
        """Return what faults are aimed at: known before the call is checked."""
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
        result = self.world.results.get(self.path.get("results_id", ""))
        named = result.wanted.resource if result else self.resource
        return named.value if named else None

    def _aimed(self) -> Entity | None:
        world = self.world
        if "results_id" in self.path:
            result = world.results.get(self.path["results_id"])
            return result.entity if result else None
        if "refresh_id" in self.path:
            refresh = world.refreshes.get(self.path["refresh_id"])
            return refresh.entity if refresh else None
        named = self.path.get("entity_id") or self.call.query.get("entity_id")
        if named is None and self.call.method == "POST" and self.kind in ("data", "refresh"):
            body = loads(self.call.body)
            named = body.get("entity_id") if isinstance(body, dict) else None
        return world.entities.get(named) if isinstance(named, str) else None
