"""Shapes of JSON values: which members there are, of which kinds and formats, and which of Lean's words. No values.

Two sides never hold the same data, so one rule decides: **at one path, what was seen on one side and what was seen on
the other have nothing in common: that is a difference.** If they differ and overlap (a member that only some items
have, a word that only one side happened to use), it is a hint: chance may be behind it. What could not be seen, as the
items of an empty array, is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs

__all__ = ["Difference", "Shapes", "kind_of"]

# Members whose texts are words of Lean's own, and may be told. All other texts are somebody's data.
_WORDS = frozenset(
    {
        "account_sub_type",
        "account_type",
        "bank_type",
        "consent_status",
        "consent_type",
        "credit_debit_indicator",
        "error",
        "frequency",
        "granular_status_code",
        "mutability",
        "permissions",
        "scheme_name",
        "scope",
        "standard_consent_status",
        "status",
        "sub_transaction_type",
        "token_type",
        "transaction_type",
        "type",
    }
)
_WHO = frozenset({"account_type", "bank_type"})  # words that say who the user is: another user has others
_OWN = frozenset({"app_user_id"})  # the application chose it: its format says nothing of Lean
_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{0,47}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,63}\d{0,2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?P<gap>[T ])\d\d:\d\d(:\d\d(\.(?P<digits>\d+))?)?(?P<zone>Z|[+-]\d\d:?\d\d)?")

Path = tuple[str, ...]


@attrs.frozen(kw_only=True)
class Difference:
    """One difference between the two sides.

    Attributes:
        step: of the script.
        where: in the answer.
        real: what the real side has.
        mockbank: what Mockbank has.
    """

    step: str
    where: str
    real: str
    mockbank: str


def kind_of(name: str, value: Any) -> str:
    """Return what kind a value is, and of which format if it is a text.

    Args:
        name: of the member that it belongs to.
        value: a JSON value.
    """
    if isinstance(value, str):
        return _format(name, value)
    if isinstance(value, bool):
        return "boolean"
    names = {type(None): "null", int: "number", float: "number", list: "array", dict: "object"}
    return names[type(value)]


def _format(name: str, text: str) -> str:
    if name in _OWN:
        return "text"
    if name in _WORDS and _WORD.fullmatch(text):
        return "word"
    if _UUID.fullmatch(text):
        return "uuid"
    if _DATE.fullmatch(text):
        return "date"
    found = _TIME.fullmatch(text)
    if found is None:
        return "text"
    zone = {"Z": "Z", None: "no zone"}.get(found["zone"], "an offset")
    gap = "" if found["gap"] == "T" else ", a space within"
    return f"time of {len(found['digits'] or '')} digits, {zone}{gap}"


@attrs.define
class _Spot:
    seen: int = 0
    objects: int = 0
    kinds: set[str] = attrs.field(factory=set)
    words: set[str] = attrs.field(factory=set)


class Shapes:
    """What was seen in one answer, path by path.

    Args:
        value: the JSON value.
        by: a member of the items of an array ``data`` that says which kind of item each is, as ``type`` of events:
            unlike items are not thrown together.
    """

    def __init__(self, value: Any, by: str = "") -> None:
        self._by = by
        self._spots: dict[Path, _Spot] = {}
        self._see((), "", value)

    def _see(self, path: Path, name: str, value: Any) -> None:
        spot = self._spots.setdefault(path, _Spot())
        spot.seen += 1
        kind = kind_of(name, value)
        spot.kinds.add(kind)
        if kind == "word":
            spot.words.add(value)
        if isinstance(value, dict):
            spot.objects += 1
            for key, member in value.items():
                shown = key if _NAME.fullmatch(key) else "{…}"  # a name that is somebody's data is not told
                self._see((*path, shown), shown, member)
        elif isinstance(value, list):
            for item in value:
                self._see((*path, self._item(path, item)), name, item)

    def _item(self, path: Path, item: Any) -> str:
        which = item.get(self._by) if self._by and path == ("data",) and isinstance(item, dict) else None
        return f"[{which}]" if isinstance(which, str) and _WORD.fullmatch(which) else "[]"

    def kinds(self, path: Path) -> frozenset[str]:
        """Return the kinds at a path, ``absent`` among them; nothing if what it belongs to was not seen."""
        spot, parent = self._spots.get(path), self._spots.get(path[:-1])
        if path and path[-1].startswith("["):
            return frozenset(spot.kinds if spot else ())
        gone = parent is not None and parent.objects > (spot.seen if spot else 0)
        return frozenset((spot.kinds if spot else set()) | ({"absent"} if gone else set()))

    def words(self, path: Path) -> frozenset[str]:
        """Return Lean's words at a path."""
        return frozenset(self._spots[path].words if path in self._spots else ())

    def against(self, mockbank: Shapes, step: str) -> Iterator[tuple[bool, Difference]]:
        """Yield where the other side has something else, and whether that is certain.

        Args:
            mockbank: the other side.
            step: of the script, to be told.
        """
        for path in sorted(self._spots.keys() | mockbank._spots.keys()):
            telling = not path or path[-1] not in _WHO
            for real, other, certain in (
                (self.kinds(path), mockbank.kinds(path), True),
                (self.words(path), mockbank.words(path), telling),
            ):
                if real and other and real != other:
                    found = Difference(step=step, where=_told(path), real=_either(real), mockbank=_either(other))
                    yield certain and real.isdisjoint(other), found


def _told(path: Path) -> str:
    return ".".join(path).replace(".[", "[") or "body"


def _either(seen: frozenset[str]) -> str:
    return " or ".join(sorted(seen))
