"""JSON Schemas of what leanflow says on a bus and takes from it, read off the classes. Pure.

Names, types and defaults are the fields', descriptions the docstrings'. Draft 7 of JSON Schema, since that is what
AsyncAPI is made of. Documents that leanflow writes may get more fields in a later version: their schemas allow any.
Commands are refused with a field too many: their schemas allow none.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs

from leanflow import commands
from leanflow._effects import Change
from leanflow._request import DataRequest, Failure, Remedy, Resource, State
from leanflow.errors import InvalidRequest

__all__ = ["DEFINITIONS", "WEBHOOKS", "definitions", "schema"]

Schema = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-07/schema#"
_PLAIN: Mapping[Any, str] = MappingProxyType(
    {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
)
_WORD = MappingProxyType({"minLength": 1, "maxLength": 255})
_TIME = MappingProxyType({"type": "string", "format": "date-time"})

_SPARSE = (DataRequest, *commands.BY_NAME.values())
"""Classes whose documents leave out what has its default."""

_CLOSED = tuple(commands.BY_NAME.values())
"""Classes whose documents may have no other field."""

_BOUNDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "key": _WORD,
        "request_id": MappingProxyType({"minLength": 1}),
        "reference": _WORD,
        "entity_id": _WORD,
        "account_id": _WORD,
        "customer_id": _WORD,
        "customer_ip": _WORD,
        "give_up_after": MappingProxyType({"exclusiveMinimum": 0, "maximum": commands.MAX_SECONDS}),
    }
)
"""What commands ask of their fields beyond the type."""

WEBHOOKS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "results.ready": (("id",), ()),
        "entity.reconnected": (("id", "reconnect_id"), ()),
        "entity.created": (("id",), ("customer_id",)),
        "entity.updated": (("id",), ("customer_id",)),
        "entity.data.refresh.updated": (("refresh_id",), ("entity_id", "customer_id", "status")),
        "consent.status.updated": ((), ("customer_id", "entity_id", "status")),
        "bank.availability.updated": (("identifier",), ()),
    }
)
"""Of Lean's webhooks that move something: what their payload must have, and what else is read."""


def schema(name: str) -> Schema:
    """Return one schema, with all that it refers to.

    Raises:
        InvalidRequest: there is none of that name.
    """
    if name not in DEFINITIONS:
        raise InvalidRequest("name", f"{name!r} is none of {', '.join(DEFINITIONS)}")
    found = {each: made for each, made in definitions("#/definitions/").items() if each in _needed(name)}
    return {"$schema": _DRAFT, **found.pop(name), "definitions": found}


def definitions(root: str) -> dict[str, Schema]:
    """Return all schemas by name, which refer to each other under `root`."""
    return {name: make(root) for name, make in DEFINITIONS.items()}


def _needed(name: str) -> set[str]:
    """Return the names that a schema refers to, directly or not, and its own."""
    found: set[str] = set()
    pending = [name]
    while pending:
        each = pending.pop()
        if each not in found:
            found.add(each)
            pending += re.findall(r"'\$ref': '#/(\w+)'", repr(DEFINITIONS[each]("#/")))
    return found


# --- from classes ------------------------------------------------------------------------------------------------


def _of_class(cls: type[attrs.AttrsInstance], root: str, **first: Schema) -> Schema:
    hints = typing.get_type_hints(cls)
    told = _attributes(cls)
    properties: dict[str, Schema] = dict(first)
    required = list(first)
    for field in attrs.fields(cls):
        properties[field.name] = {**_typed(hints[field.name], root), **_bounds(cls, field.name)}
        if field.name in told:
            properties[field.name]["description"] = told[field.name]
        if cls in _SPARSE and field.default is not attrs.NOTHING:
            _add_default(properties[field.name], field.default)
        else:
            required.append(field.name)
    made: Schema = {
        "type": "object",
        "description": _first(cls),
        "properties": {name: _described_ref(each) for name, each in properties.items()},
        "required": required,
    }
    if cls in _CLOSED:
        made["additionalProperties"] = False
    return made


def _described_ref(made: Schema) -> Schema:
    """Return a reference that is described: in draft 7 whatever stands beside ``$ref`` is passed over."""
    if "$ref" not in made or len(made) == 1:
        return made
    return {"allOf": [{"$ref": made.pop("$ref")}], **made}


def _bounds(cls: type, name: str) -> Mapping[str, Any]:
    return _BOUNDS.get(name, {}) if cls in _CLOSED else {}


def _add_default(made: Schema, default: object) -> None:
    if default is not None:
        made["default"] = dict(default) if isinstance(default, Mapping) else list(default) if default == () else default


def _typed(hint: Any, root: str) -> Schema:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _either([_typed(each, root) for each in arguments])
    if origin is tuple:
        return {"type": "array", "items": _typed(arguments[0], root)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = {} if arguments[1] is Any else _typed(arguments[1], root)
        return {"type": "object", **({"additionalProperties": inner} if inner else {})}
    if hint is datetime:
        return dict(_TIME)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    return {"$ref": f"{root}{hint.__name__}"}


def _either(kinds: list[Schema]) -> Schema:
    if all(set(kind) == {"type"} for kind in kinds[1:]) and "type" in kinds[0]:
        return {**kinds[0], "type": [kind["type"] for kind in kinds]}
    return {"oneOf": kinds}


def _of_enum(cls: type[StrEnum]) -> Schema:
    return {"type": "string", "description": _first(cls), "enum": [member.value for member in cls]}


def _first(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def _attributes(cls: type) -> dict[str, str]:
    """Return what a class's docstring says of its fields."""
    tail = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2].split("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", tail, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


# --- what has no class of its own --------------------------------------------------------------------------------


def _command(cls: type[commands.Command], root: str) -> Schema:
    return _of_class(cls, root, command={"const": cls.command})


def _any_command(root: str) -> Schema:
    kinds = [{"$ref": f"{root}{cls.__name__}Command"} for cls in commands.BY_NAME.values()]
    return {"description": "A command.", "oneOf": kinds}


def _reply(root: str) -> Schema:
    made = _of_class(commands.CommandReply, root)
    made["required"] = ["command", "key", "ok"]
    for name in ("request", "prompt", "error"):
        (kind,) = (each for each in made["properties"][name].pop("oneOf") if "$ref" in each)
        made["properties"][name]["allOf"] = [kind]
    return made


def _orphan(_root: str) -> Schema:
    return {
        "type": "object",
        "description": "The report that no request ever owned a webhook.",
        "properties": {
            "report": {"const": "orphan"},
            "event": {"type": "string", "description": "The tag of the event."},
            "at": {**_TIME, "description": "When it was taken in."},
        },
        "required": ["report", "event", "at"],
    }


def _announced(_root: str) -> Schema:
    return {
        "type": "object",
        "description": "A webhook of Lean's that was verified and is told on. It carries what Lean put into it.",
        "properties": {
            "raw": {"type": "string", "contentMediaType": "application/json", "description": "The body as it came."},
            "at": {"type": ["string", "null"], "format": "date-time", "description": "When it was taken in."},
        },
        "required": ["raw", "at"],
    }


def _webhook(_root: str) -> Schema:
    known = [
        {
            "if": {"properties": {"type": {"const": kind}}},
            "then": {"required": ["payload"], "properties": {"payload": _payload(must, may)}},
        }
        for kind, (must, may) in WEBHOOKS.items()
    ]
    return {
        "type": "object",
        "description": "A webhook as Lean sends it, with its `lean-signature` among the message's headers.",
        "properties": {
            "type": {"type": "string", "minLength": 1, "maxLength": 255},
            "event_id": {"type": ["string", "null"], "maxLength": 255},
            "timestamp": {"description": "Lean's own time; what is no time is passed over."},
            "message": {"description": "For people."},
            "payload": {},
        },
        "required": ["type"],
        "allOf": known,
    }


def _payload(must: tuple[str, ...], may: tuple[str, ...]) -> Schema:
    properties: Schema = {name: {"type": "string", **_WORD} for name in must}
    properties |= {name: {"type": ["string", "null"], "maxLength": 255} for name in may}
    return {"type": "object", "properties": properties, "required": list(must)}


DEFINITIONS: Mapping[str, typing.Callable[[str], Schema]] = MappingProxyType(
    {
        "Change": lambda root: _of_class(Change, root),
        "DataRequest": lambda root: _of_class(DataRequest, root),
        "Failure": lambda root: _of_class(Failure, root),
        "State": lambda _: _of_enum(State),
        "Resource": lambda _: _of_enum(Resource),
        "Remedy": lambda _: _of_enum(Remedy),
        "OrphanReport": _orphan,
        "AnnouncedWebhook": _announced,
        "Webhook": _webhook,
        "Command": _any_command,
        "RequestCommand": lambda root: _command(commands.Request, root),
        "CancelCommand": lambda root: _command(commands.Cancel, root),
        "RenewCommand": lambda root: _command(commands.Renew, root),
        "PromptCommand": lambda root: _command(commands.Prompt, root),
        "CommandReply": _reply,
        "PromptReply": lambda root: _of_class(commands.PromptReply, root),
        "CommandFailure": lambda root: _of_class(commands.CommandFailure, root),
    }
)
"""What makes each schema, by its name."""
