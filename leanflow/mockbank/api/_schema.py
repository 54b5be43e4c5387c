"""JSON Schema, as much of it as Lean's requests need. One definition checks a request and describes it to others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from leanflow.mockbank.basics._json import loads
from leanflow.mockbank.basics._times import parse_date, parse_moment

from ._answers import invalid, missing

__all__ = ["Schema", "check", "read"]

Schema = Mapping[str, Any]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)  # more digits are out of every bound that Lean has
_KINDS: Mapping[str, Callable[[object], bool]] = MappingProxyType(
    {
        "array": lambda value: isinstance(value, list),
        "boolean": lambda value: isinstance(value, bool),
        "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
        "object": lambda value: isinstance(value, dict),
        "string": lambda value: isinstance(value, str),
    }
)
_FORMATS: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {"date": parse_date, "date-time": parse_moment, "uuid": _UUID.fullmatch}
)


def check(name: str, value: Any, schema: Schema) -> None:
    """Check a JSON value.

    Args:
        name: what to call it in the refusal.
        value: of a body, or a parameter that was read.
        schema: with the words ``type``, ``enum``, ``minimum``, ``maximum``, ``minLength``, ``maxLength``, ``pattern``,
            ``format``, ``items``, ``minItems``, ``properties`` and ``required``. Properties that it does not name are
            let through, as Lean does.

    Raises:
        Refused: 400: it is not as the schema says, or lacks what is required.
    """
    kinds = schema.get("type", ())
    if kinds and not any(_KINDS[kind](value) for kind in ((kinds,) if isinstance(kinds, str) else kinds)):
        raise invalid(name, value)
    if "enum" in schema and value not in schema["enum"]:
        raise invalid(name, value)
    if isinstance(value, str):
        _check_text(name, value, schema)
    elif isinstance(value, int) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            raise invalid(name, value)
    elif isinstance(value, list):
        _check_list(name, value, schema)
    elif isinstance(value, dict):
        _check_object(name, value, schema)


def _check_text(name: str, value: str, schema: Schema) -> None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        raise invalid(name, value)
    if "pattern" in schema and re.search(schema["pattern"], value) is None:
        raise invalid(name, value)
    if "format" in schema and not _FORMATS[schema["format"]](value):
        raise invalid(name, value)


def _check_list(name: str, value: list[Any], schema: Schema) -> None:
    if len(value) < schema.get("minItems", 0):
        raise invalid(name, value)
    for number, item in enumerate(value):
        check(f"{name}[{number}]", item, schema.get("items", {}))


def _check_object(name: str, value: dict[str, Any], schema: Schema) -> None:
    inside = f"{name}." if name else ""
    for wanted in schema.get("required", ()):
        if value.get(wanted) is None:
            raise missing(f"{inside}{wanted}")
    for known, its in schema.get("properties", {}).items():
        if known in value:
            check(f"{inside}{known}", value[known], its)


def read(name: str, text: str, schema: Schema) -> Any:
    """Return the value of a parameter's text: a whole number, a boolean, an object (``contentMediaType``) or the text.

    Raises:
        Refused: 400: it is not as the schema says.
    """
    value: Any = text
    if schema.get("type") == "integer":
        value = int(text) if _WHOLE.fullmatch(text) else text
    elif schema.get("type") == "boolean":
        value = {"true": True, "false": False}.get(text, text)
    elif schema.get("contentMediaType") == "application/json":
        parsed = loads(text.encode("utf-8", "replace"))
        if not isinstance(parsed, dict):
            raise invalid(name, text)
        return parsed
    check(name, value, schema)
    return value
