"""JSON text in which money stays exact: Decimals are written digit for digit, never through a float."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

import attrs

__all__ = ["Raw", "Written", "encode", "loads", "to_bytes"]


_GAP = "\0"  # where `Written` goes: no JSON text has this character in it


@attrs.frozen
class Raw:
    """JSON text that is written as it is."""

    text: str


@attrs.frozen
class Written:
    """JSON that is encoded already: it is not looked at again, however long it is."""

    body: bytes


def encode(value: object, written: list[bytes] | None = None) -> str:
    """Return the JSON text of `value`: mappings, sequences, str, int, Decimal, bool, None and `Raw`.

    Args:
        value: what to write.
        written: takes the bodies of `Written`, of which a gap is left in the text.

    Raises:
        TypeError: something else is in it (floats too: they would not be exact).
    """
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{encode_basestring(k)}:{encode(v, written)}" for k, v in value.items()]) + "}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join([encode(item, written) for item in value]) + "]"
    return _encode_rare(value, written)


def _encode_rare(value: object, written: list[bytes] | None) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Written) and written is not None:
        written.append(value.body)
        return _GAP
    if isinstance(value, Mapping):
        return encode(dict(value), written)
    msg = f"cannot write a {type(value).__name__} as JSON"
    raise TypeError(msg)


def to_bytes(value: object) -> bytes:
    """Return `encode`'s text as UTF-8; half a surrogate pair, which JSON can name and UTF-8 cannot, becomes ``?``."""
    written: list[bytes] = []
    first, *others = encode(value, written).encode("utf-8", "replace").split(_GAP.encode())
    return b"".join([first, *(part for pair in zip(written, others, strict=True) for part in pair)])


def loads(raw: bytes | None) -> Any:
    """Return the value of a JSON body, numbers with fractions as Decimal; None if it is missing or not JSON.

    Of a name that is there twice the last value counts.
    """
    if not raw:
        return None
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _no_number(word: str) -> None:
    raise ValueError(word)  # NaN and the infinities are Python's, not JSON's
