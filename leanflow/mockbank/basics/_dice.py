"""Numbers and ids that follow from a seed alone: the same on every machine and every Python."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Dice", "Ids", "derived_id"]

T = TypeVar("T")
_SIXTEEN = struct.Struct(">16I")  # what a block of hash is worth


def _digest(parts: tuple[object, ...], size: int) -> bytes:
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=size).digest()


def derived_id(*parts: object) -> str:
    """Return the UUID (version 4 in form) that follows from `parts`. Written by hand: every call needs several."""
    digest = bytearray(_digest(parts, 16))
    digest[6], digest[8] = digest[6] & 0x0F | 0x40, digest[8] & 0x3F | 0x80  # version and variant (RFC 9562)
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Ids:
    """Hands out ids: the n-th of a kind follows from the seed, the kind and n."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._given: dict[str, int] = {}

    def next(self, kind: str) -> str:
        """Return the next id of this kind."""
        number = self._given[kind] = self._given.get(kind, 0) + 1
        return derived_id(self._seed, kind, number)


class Dice:
    """A stream of numbers that follows from `parts`. Made by hashing, so that no global generator is touched."""

    def __init__(self, *parts: object) -> None:
        self._key = _digest(parts, 32)
        self._block = 0
        self._left: list[int] = []

    def below(self, bound: int) -> int:
        """Return a whole number from 0 up to, not including, `bound` (at most a million: bias below 1 in 4000)."""
        if not self._left:
            block = hashlib.blake2b(self._key + self._block.to_bytes(8, "big")).digest()
            self._left = list(_SIXTEEN.unpack(block))
            self._block += 1
        return self._left.pop() % bound

    def between(self, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`, both included."""
        return least + self.below(most - least + 1)

    def pick(self, things: Sequence[T]) -> T:
        """Return one of `things`."""
        return things[self.below(len(things))]

    def chance(self, percent: int) -> bool:
        """Return True in so many of a hundred cases."""
        return self.below(100) < percent

    def digits(self, count: int) -> str:
        """Return a string of so many digits."""
        return "".join(str(self.below(10)) for _ in range(count))
