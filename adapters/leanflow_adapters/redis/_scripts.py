"""The Lua scripts, each one text: what all share, what it can do, and the call of what it was asked for."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

import attrs

__all__ = ["STEPS", "UPKEEP", "WORK", "Script", "scripts"]


@attrs.frozen
class Script:
    """A script of several operations.

    Attributes:
        name: of its file.
    """

    name: str

    @property
    def text(self) -> bytes:
        """The whole script."""
        return _text(self.name)

    @property
    def sha(self) -> bytes:
        """The digest by which a server that has it runs it."""
        return _sha(self.name)


STEPS = Script("steps")
WORK = Script("work")
UPKEEP = Script("upkeep")


def scripts() -> tuple[Script, ...]:
    """Return all scripts."""
    return (STEPS, WORK, UPKEEP)


@cache
def _text(name: str) -> bytes:
    folder = files(__package__).joinpath("lua")
    return b"\n".join(folder.joinpath(f"{part}.lua").read_bytes() for part in ("common", name, "end"))


@cache
def _sha(name: str) -> bytes:
    return hashlib.sha1(_text(name), usedforsecurity=False).hexdigest().encode()
