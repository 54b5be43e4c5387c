"""JSON text in which money stays exact: Decimals are written digit for digit, never through a float."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

import attrs

__all__ = ["Raw", "encode", "loads", "to_bytes"]


@attrs.frozen
class Raw:
    """JSON text that is written as it is."""

    text: str


def encode(value: object) -> str:
    """Return the JSON text of `value`: mappings, sequences, str, int, Decimal, bool, None and `Raw`.

    Raises:
        TypeError: something else is in it (floats too: they would not be exact).
    """
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encode_basestring(name)}:{encode(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(encode, value)) + "]"
    msg = f"cannot write a {type(value).__name__} as JSON"
    raise TypeError(msg)


def to_bytes(value: object) -> bytes:
    """Return `encode`'s text as UTF-8; half a surrogate pair, which JSON can name and UTF-8 cannot, becomes ``?``."""
    return encode(value).encode("utf-8", "replace")


def loads(raw: bytes | None) -> Any:
    """Return the value of a JSON body, numbers with fractions as Decimal; None if it is missing or not JSON."""
    if not raw:
        return None
    try:
        return json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
