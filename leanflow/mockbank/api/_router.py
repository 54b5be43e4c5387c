"""One route of the API, and how the route of a path is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import unquote

import attrs

from leanflow._call import Answer
from leanflow._request import Resource

from ._ask import Ask, Parameter
from ._schema import Schema

__all__ = ["Handler", "Route", "Router"]

Handler = Callable[[Ask], Answer]


@attrs.frozen(kw_only=True)
class Route:
    """One method of one path.

    Attributes:
        path: with ``{name}`` for a segment of any text.
        kind: what faults and the log call it.
        summary: what it does, in a line.
        resource: the data that it is about.
        api: ``v1`` or ``v2``.
        places: schemas of the path's placeholders.
        query: the parameters of the query.
        body: the schema of the JSON body; None: none is read.
        body_required: whether it must be there.
        form: the schema of a form instead, which the handler reads.
        open: whether no credentials are wanted.
        answers: HTTP status to the name of the answer's schema in `_shapes`.
        errors: statuses under which Lean's error envelope comes.
    """

    method: str
    path: str
    kind: str
    handler: Handler
    summary: str
    resource: Resource | None = None
    api: str = "v2"
    places: Mapping[str, Schema] = attrs.field(factory=dict)
    query: tuple[Parameter, ...] = ()
    body: Schema | None = None
    body_required: bool = True
    form: Schema | None = None
    open: bool = False
    answers: Mapping[int, str]
    errors: tuple[int, ...] = ()


class Router:
    """Finds the route of a path.

    Args:
        table: all routes.
    """

    def __init__(self, table: tuple[Route, ...]) -> None:
        self._plain: dict[tuple[str, ...], dict[str, Route]] = {}
        self._placed: dict[int, dict[tuple[str, ...], dict[str, Route]]] = {}
        for route in table:
            parts = _parts(route.path)
            known = self._placed.setdefault(len(parts), {}) if "{" in route.path else self._plain
            known.setdefault(parts, {})[route.method] = route

    def find(self, path: str) -> tuple[Mapping[str, Route], Mapping[str, str]]:
        """Return the routes of a path by method, and what its placeholders stand for; nothing if it is unknown.

        A slash at the end changes nothing: Lean's specification writes some paths with one, its examples without.
        """
        parts = _parts(path)
        plain = self._plain.get(parts)
        if plain is not None:
            return plain, {}
        for segments, found in self._placed.get(len(parts), {}).items():
            places: dict[str, str] = {}
            for want, has in zip(segments, parts, strict=True):
                if want[0] == "{" and has:
                    places[want[1:-1]] = has
                elif want != has:
                    break
            else:
                return found, places
        return {}, {}


def _parts(path: str) -> tuple[str, ...]:
    inside = path.removeprefix("/").removesuffix("/")
    return tuple(map(unquote, inside.split("/"))) if "%" in inside else tuple(inside.split("/"))
