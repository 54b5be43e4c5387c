"""Faults and disturbances as text: one line of TOML each, as a scenario file has them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from leanflow.errors import InvalidRequest

__all__ = ["inline", "parse_inline"]


def inline(value: object) -> str:
    """Return a value as TOML on one line: tables, lists, texts, numbers and booleans."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {inline(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _key(name: str) -> str:
    return name if name.replace("-", "_").isascii() and name.replace("-", "_").isidentifier() else inline(name)


def parse_inline(text: str) -> dict[str, Any]:
    """Return the table of one line of TOML; its braces may be left out.

    Raises:
        InvalidRequest: it is none.
    """
    bare = text.strip()
    try:
        found = tomllib.loads(f"line = {bare if bare.startswith('{') else '{' + bare + '}'}")["line"]
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest("line", f'{bare!r} is no line of TOML as effect = "failed", times = 2: {error}') from None
    return found  # type: ignore[no-any-return]  # what was loaded has no type of its own
