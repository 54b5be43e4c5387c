"""Mockbank's own description of itself, in OpenAPI 3.1: written from the table of routes, so that it cannot lag."""

from __future__ import annotations

from typing import Any

from leanflow.mockbank._settings import Settings

from ._route_table import routes
from ._router import Route
from ._schema import Schema
from ._shapes import shapes

__all__ = ["describe"]

_MEANS = {
    200: "Done.",
    202: "Not yet: wait for the webhook.",
    400: "A parameter is missing or wrong.",
    401: "The credentials are missing or wrong.",
    403: "Not with this token, permission or consent.",
    404: "There is nothing of that id.",
    409: "It exists already.",
    429: "Too often.",
}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "app_token": {"type": "apiKey", "in": "header", "name": "lean-app-token"},
}


def describe(settings: Settings) -> dict[str, Any]:
    """Return the description of a Mockbank with these settings, as JSON values.

    Errors that faults bring at will (500, for one) are not in it.
    """
    how = settings.auth
    security: list[dict[str, list[str]]] = [{name: []} for name in _SCHEMES if how in (name, "either")]
    paths: dict[str, dict[str, Any]] = {}
    for route in routes(settings.region):
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, security)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Mockbank ({settings.region.upper()})",
            "version": "1",
            "description": "What leanflow's Mockbank serves. Not Lean's own description of Lean.",
        },
        "paths": paths,
        "components": {"schemas": shapes(), "securitySchemes": _SCHEMES},
    }


def _operation(route: Route, security: list[dict[str, list[str]]]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": f"{route.method.lower()} {route.path}",
        "summary": route.summary,
        "tags": [route.kind],
        "security": [] if route.open else security,
        "parameters": _parameters(route),
        "responses": {
            **{str(status): _response(status, shape) for status, shape in route.answers.items()},
            **{str(status): _response(status, "error") for status in route.errors if status not in route.answers},
        },
    }
    if route.body is not None:
        made["requestBody"] = _body("application/json", route.body, required=route.body_required)
    if route.form is not None:
        made["requestBody"] = _body("application/x-www-form-urlencoded", route.form, required=True)
    return made


def _parameters(route: Route) -> list[dict[str, Any]]:
    places = [{"name": name, "in": "path", "required": True, "schema": schema} for name, schema in route.places.items()]
    return places + [
        {"name": one.name, "in": "query", "required": one.required, "schema": one.schema} for one in route.query
    ]


def _body(media: str, schema: Schema, *, required: bool) -> dict[str, Any]:
    return {"required": required, "content": {media: {"schema": schema}}}


def _response(status: int, shape: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{shape}"}
    return {"description": _MEANS[status], "content": {"application/json": {"schema": schema}}}
