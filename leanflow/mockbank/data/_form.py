"""JSON shapes with holes: written once, filled many times. A year of transactions has one shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from leanflow.mockbank.basics._json import Raw, encode

__all__ = ["Form", "hole"]

_HOLE = re.compile("\0(\\w+)\0")  # no JSON text has this character in it


def hole(name: str) -> Raw:
    """Return what stands in a shape where `fill` is to put text."""
    return Raw(f"\0{name}\0")


class Form:
    """A JSON shape with holes (`hole`) instead of some values."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        self._text = _HOLE.sub(r"%(\1)s", encode(shape).replace("%", "%%"))

    def fill(self, texts: Mapping[str, object]) -> str:
        """Return the shape as JSON, with JSON text for each of its holes."""
        return self._text % texts
