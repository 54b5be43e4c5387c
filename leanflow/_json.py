"""JSON text for what is stored: by orjson where that is installed (extra ``speed``), else by the standard library.

Either text says the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]  # the extra is not installed

__all__ = ["dump", "load", "peek"]


def _plain(value: Any) -> Any:
    """Return a value that JSON has no word for as one that it has."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "to_dict"):
        return value.to_dict()
    msg = f"not to be told in JSON: {type(value).__name__}"
    raise TypeError(msg)


_spell = json.JSONEncoder(separators=(",", ":"), default=_plain).encode  # ASCII: half a surrogate pair is no UTF-8

load: Callable[[str], Any] = json.JSONDecoder().decode
"""Return the value that a JSON text tells."""


def _spell_fast(value: Any) -> str:
    try:
        return orjson.dumps(value, default=_plain).decode()
    except TypeError:  # half a surrogate pair, or an integer of more than 64 bits
        return _spell(value)


def _peek_fast(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:  # half a surrogate pair, NaN, or no JSON at all
        return load(text)


peek: Callable[[str], Any] = load if orjson is None else _peek_fast
"""Return what a JSON text tells, for those who look at its texts alone: integers of more than 64 bits may lose digits.

Raises:
    ValueError: it is no JSON.
    RecursionError: it is nested too deeply.
"""

dump: Callable[[Any], str] = _spell if orjson is None else _spell_fast
"""Return compact JSON text. Times are told in ISO 8601, read-only mappings and what has `to_dict` as objects.

Raises:
    TypeError: there is something else that JSON has no word for.
"""
