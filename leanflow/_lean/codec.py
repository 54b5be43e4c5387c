"""Read JSON that came from outside: under guards, without floats, with errors that name the place.

What is refused is refused because acting on it would be guessing: bytes that are no UTF-8, names that come twice, NaN,
numbers of absurd length, nesting without end. Numbers with a fraction or an exponent become Decimal, so that money
never passes through a float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from leanflow.errors import MalformedBody

__all__ = ["array_items", "check_text", "identifier", "json_loads", "member_path", "words"]

MAX_BYTES = 64 * 1024 * 1024
"""Far above what Lean sends (100 items a page) and what the transport lets through; a last guard of memory."""

MAX_DEPTH = 64
"""Lean's deepest body has 8 levels. A fixed bound, because Python's own depends on how deep the caller already is."""

MAX_DIGITS = 40
"""Of a whole number: more than any amount or counter has; int() takes quadratic time on long ones."""

MAX_ID = 255
"""Characters of an id: Lean's are 36."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SPACE = re.compile(r"[ \t\n\r]*")
_JSON = "JSON"
_SHALLOW = f"at most {MAX_DEPTH} levels of nesting"


class _RefusedError(ValueError):
    """Something that is JSON but not acceptable."""

    def __init__(self, path: str, expected: str) -> None:
        self.path = path
        self.expected = expected
        super().__init__(path, expected)


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(member_path("$.", twice), "each name once")
    return built


def _build_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _RefusedError("$", f"whole numbers of at most {MAX_DIGITS} digits")
    return int(digits)


def _refuse_constant(_name: str) -> Any:
    raise _RefusedError("$", "JSON without NaN and Infinity")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_build_object, parse_float=Decimal, parse_int=_build_int, parse_constant=_refuse_constant
)


def json_loads(raw: bytes) -> Any:
    """Return the value of a JSON text.

    Args:
        raw: UTF-8 bytes.

    Returns:
        Plain dicts, lists, str, int, bool, None, and Decimal for every number with a fraction or an exponent.

    Raises:
        MalformedBody: it is too large, no UTF-8, no JSON, nested too deep, has a name twice in one object, a number too
            long, NaN or Infinity. No part of the body is in the error, nor chained to it.
    """
    if len(raw) > MAX_BYTES:
        raise MalformedBody("$", f"at most {MAX_BYTES} bytes")
    # Raised after the except clauses, so that no JSONDecodeError (which holds the whole document) is chained.
    try:
        value = _DECODER.decode(raw.decode())
    except _RefusedError as refused:
        problem = MalformedBody(refused.path, refused.expected)
    except UnicodeDecodeError:
        problem = MalformedBody("$", "UTF-8")
    except RecursionError:
        problem = MalformedBody("$", _SHALLOW)
    except (ValueError, ArithmeticError):  # ArithmeticError: an exponent that Decimal cannot hold
        problem = MalformedBody("$", _JSON)
    else:
        # No more brackets than levels allowed: cannot be too deep, and that is nearly every webhook.
        if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
            _check_depth(value)
        return value
    raise problem


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise MalformedBody("$", _SHALLOW)


def array_items(raw: bytes, name: str) -> tuple[dict[str, Any], list[tuple[Any, bytes]]]:
    """Return a JSON object and, for its array `name`, each item with the exact bytes it was written in.

    Args:
        raw: UTF-8 bytes of an object.
        name: the top-level member that is an array.

    Returns:
        The members other than `name`, and the items in order; no items if there is no such member or it is null.

    Raises:
        MalformedBody: as `json_loads`; or the whole is no object; or the member is no array.
    """
    if len(raw) > MAX_BYTES:
        raise MalformedBody("$", f"at most {MAX_BYTES} bytes")
    try:
        return _scan_object(raw.decode(), name)
    except _RefusedError as refused:
        problem = MalformedBody(refused.path, refused.expected)
    except UnicodeDecodeError:
        problem = MalformedBody("$", "UTF-8")
    except RecursionError:
        problem = MalformedBody("$", _SHALLOW)
    except (ValueError, ArithmeticError, IndexError):  # IndexError: the text ended
        problem = MalformedBody("$", _JSON)
    raise problem


def _scan_object(text: str, name: str) -> tuple[dict[str, Any], list[tuple[Any, bytes]]]:
    members: list[tuple[str, Any]] = []
    items: list[tuple[Any, bytes]] = []
    at = _skip(text, 0)
    if text[at] != "{":
        raise _RefusedError("$", "an object")
    at = _skip(text, at + 1)
    if text[at] == "}":
        at += 1
    else:
        while True:
            if text[at] != '"':
                raise _RefusedError("$", _JSON)
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _expect(text, _skip(text, at), ":"))
            if key == name and text[at] == "[":
                items, at = _scan_array(text, at)
                members.append((key, None))
            else:
                value, at = _read(text, at)
                if key == name and value is not None:
                    raise _RefusedError(member_path("$", name), "a list")
                members.append((key, value))
            at = _skip(text, at)
            if text[at] == "}":
                at += 1
                break
            at = _skip(text, _expect(text, at, ","))
    if _skip(text, at) != len(text):
        raise _RefusedError("$", _JSON)
    others = _build_object(members)
    others.pop(name, None)
    return others, items


def _scan_array(text: str, at: int) -> tuple[list[tuple[Any, bytes]], int]:
    items: list[tuple[Any, bytes]] = []
    at = _skip(text, at + 1)
    if text[at] == "]":
        return items, at + 1
    while True:
        start = at
        value, at = _read(text, at)
        items.append((value, text[start:at].encode()))
        at = _skip(text, at)
        if text[at] == "]":
            return items, at + 1
        at = _skip(text, _expect(text, at, ","))


def _read(text: str, at: int) -> tuple[Any, int]:
    value, end = _DECODER.raw_decode(text, at)
    if text.count("{", at, end) + text.count("[", at, end) >= MAX_DEPTH:
        _check_depth([value])
    return value, end


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, sign: str) -> int:
    if text[at] != sign:
        raise _RefusedError("$", _JSON)
    return at + 1


def member_path(path: str, name: str) -> str:
    """Return the path of a member; names that are no plain words are not repeated (they may be anything)."""
    return f"{path}.{name if _PLAIN_NAME.fullmatch(name) else '?'}"


def check_text(raw: bytes, value: Any) -> None:
    """Refuse half surrogate pairs, which JSON can escape and no store can keep.

    Args:
        raw: the bytes that `value` was read from; without a surrogate escape in them nothing needs looking at.
        value: what `json_loads` returned.

    Raises:
        MalformedBody: a string or a name holds one; names where.
    """
    if not _SURROGATE_ESCAPE.search(raw):
        return
    pending: list[tuple[str, Any]] = [("$", value)]
    while pending:
        path, item = pending.pop()
        if type(item) is str:
            _check_string(path, item)
        elif type(item) is dict:
            for name, member in item.items():
                _check_string(path, name)
                pending.append((member_path(path, name), member))
        elif type(item) is list:
            pending.extend((f"{path}[{index}]", member) for index, member in enumerate(item))


def _check_string(path: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        refused = True
    else:
        refused = False
    if refused:
        raise MalformedBody(path, "text without half surrogate pairs")


def identifier(body: Mapping[str, Any], name: str, path: str = "$") -> str | None:
    """Return an id, or None if it is missing, null or empty.

    Raises:
        MalformedBody: it is no string, or one that no id is: over 255 characters, or with unprintable ones.
    """
    value = body.get(name)
    if value is None or value == "":
        return None
    if type(value) is str and len(value) <= MAX_ID and value.isprintable():
        return value
    raise MalformedBody(member_path(path, name), f"a string of 1 to {MAX_ID} printable characters")


def words(value: Any, limit: int = 2000) -> str:
    """Return text meant for people, made storable: at most `limit` characters, no NUL, no half pairs; else ``""``."""
    if not isinstance(value, str):
        return ""
    text = value[:limit]
    return text if text.isprintable() else text.encode("utf-8", "replace").decode().replace("\0", "?")
