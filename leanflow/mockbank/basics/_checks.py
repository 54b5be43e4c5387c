"""What the values of faults, disturbances and scenarios may be, in one place and with the words for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leanflow._request import Resource
from leanflow.errors import InvalidRequest

__all__ = [
    "BYTES",
    "FIELDS",
    "FROM_0",
    "FROM_1",
    "HTTP_STATUS",
    "NAMES",
    "RESOURCE",
    "SECONDS",
    "SWITCH",
    "TEXT",
    "TEXT_OR_NONE",
    "TIMES",
    "URL",
    "Check",
    "as_times",
    "check",
    "is_number",
    "is_whole",
    "known",
    "one_of",
]  # fmt: skip

Check = tuple[Callable[[Any], bool], str]  # whether a value is allowed, and what is


def is_number(value: object) -> bool:
    """Return whether it is a number, and a finite one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**9


def is_whole(value: object) -> bool:
    """Return whether it is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def one_of(*words: str) -> Check:
    """Return the check that it is one of these."""
    return lambda value: value in words, f"one of {', '.join(words)}"


TEXT: Check = (lambda value: isinstance(value, str) and value != "", "a text")
TEXT_OR_NONE: Check = (lambda value: value is None or isinstance(value, str), "a text")
URL: Check = (
    lambda value: isinstance(value, str) and value.startswith(("http://", "https://")),
    "an address that begins with http:// or https://",
)
RESOURCE: Check = (lambda value: value is None or value in tuple(Resource), f"one of {', '.join(Resource)}")
SWITCH: Check = (lambda value: isinstance(value, bool), "true or false")
SECONDS: Check = (lambda value: is_number(value) and value >= 0, "a number of seconds")
FROM_0: Check = (lambda value: is_whole(value) and value >= 0, "a whole number, not negative")
FROM_1: Check = (lambda value: value is None or (is_whole(value) and value > 0), "a whole number from 1")
TIMES: Check = (FROM_1[0], "a whole number from 1, or always")
HTTP_STATUS: Check = (lambda value: is_whole(value) and 100 <= value <= 599, "an HTTP status")
BYTES: Check = (lambda value: is_whole(value) and value >= 0, "a number of bytes; 0: all of the answer is lost")
NAMES: Check = (lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value), "a list of names")
FIELDS: Check = (lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value), "a table of fields")


def as_times(value: Any) -> Any:
    """Return how often something strikes: ``always``, which TOML can say, means the same as None."""
    return None if value == "always" else value


def check(name: str, value: object, allowed: Check) -> None:
    """Do nothing if a value is allowed.

    Raises:
        InvalidRequest: it is not; names what is.
    """
    fits, words = allowed
    if not fits(value):
        raise InvalidRequest(name, f"is {value!r}; must be {words}")


def known(given: Mapping[str, Any], names: Mapping[str, Any] | tuple[str, ...], what: str) -> None:
    """Do nothing if all names are known.

    Raises:
        InvalidRequest: one is not; names those that are.
    """
    unknown = given.keys() - set(names)
    if unknown:
        raise InvalidRequest(min(unknown), f"is no {what}; known are {', '.join(names)}")
