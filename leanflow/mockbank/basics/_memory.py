"""How a Mockbank forgets, so that it takes no more memory after a million calls than after a hundred thousand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["thin"]

T = TypeVar("T")


def thin(things: dict[str, T], most: int, worth: Callable[[T], Any] = bool) -> None:
    """Forget the tenth that is worth least, the oldest of those first, once there are more than `most`.

    A tenth at a time, so that sorting costs a few microseconds for each thing that is added.
    """
    if len(things) <= most:
        return
    for key in sorted(things, key=lambda key: worth(things[key]))[: len(things) // 10 + 1]:
        del things[key]
