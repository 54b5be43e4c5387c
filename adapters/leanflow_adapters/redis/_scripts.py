"""The Lua scripts, each one text: what all share, what it can do, and the call of what it was asked for."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

import attrs

__all__ = ["COPY", "STEPS", "UPKEEP", "WORK", "Script", "scripts"]


@attrs.frozen
class Script:
    """A script of several operations.

    Attributes:
        parts: its files, but for the first and the last, which all have.
    """

    parts: tuple[str, ...]

    @property
    def text(self) -> bytes:
        """The whole script."""
        return _text(self.parts)

    @property
    def sha(self) -> bytes:
        """The digest by which a server that has it runs it."""
        return _sha(self.parts)


STEPS = Script(("steps",))
WORK = Script(("work",))
UPKEEP = Script(("upkeep",))
COPY = Script(("steps", "copy"))


def scripts() -> tuple[Script, ...]:
    """Return all scripts."""
    return (STEPS, WORK, UPKEEP, COPY)


@cache
def _text(parts: tuple[str, ...]) -> bytes:
    folder = files(__package__).joinpath("lua")
    return b"\n".join(folder.joinpath(f"{part}.lua").read_bytes() for part in ("common", *parts, "end"))


@cache
def _sha(parts: tuple[str, ...]) -> bytes:
    return hashlib.sha1(_text(parts), usedforsecurity=False).hexdigest().encode()
