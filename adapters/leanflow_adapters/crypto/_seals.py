"""Sealing: a body encrypted with Fernet, behind a prefix that names the key.

Fernet is AES-128 in CBC mode with an HMAC (SHA-256): what was altered, or sealed with another key, is noticed. The
prefix tells at a look which key a body needs, and a body that was stored before there were keys from one that was not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken

from leanflow.errors import InvalidRequest, KeyMissing, MalformedBody

__all__ = ["Seals"]

_PREFIX = b"leanflow:sealed:"
_NAME = 12  # hex digits of a key's digest: enough to tell the keys of a deployment apart, and no help to guess one


class Seals:
    """Seals with the newest key, opens with any."""

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        """Take the keys, newest first.

        Raises:
            InvalidRequest: there is none, or one is no Fernet key. It is not repeated.
        """
        if isinstance(keys, str | bytes) or not keys:
            raise InvalidRequest("keys", "must be a list of Fernet keys, newest first, and not empty")
        self._keys: dict[bytes, Fernet] = {}
        for number, key in enumerate(keys):
            text = key.encode() if isinstance(key, str) else key
            try:
                fernet = Fernet(text)
            except (ValueError, TypeError):
                problem = f"number {number} is no Fernet key: make one with cryptography.fernet.Fernet.generate_key()"
                raise InvalidRequest("keys", problem) from None
            self._keys[hashlib.sha256(text).hexdigest()[:_NAME].encode()] = fernet
        self._newest = next(iter(self._keys))
        self._current = _PREFIX + self._newest + b":"

    @property
    def newest(self) -> str:
        """What stands for the newest key."""
        return self._newest.decode()

    def has(self, name: str) -> bool:
        """Return whether the key that this stands for is among them."""
        return name.encode() in self._keys

    def is_current(self, stored: bytes) -> bool:
        """Return whether it is sealed with the newest key."""
        return stored.startswith(self._current)

    def seal(self, content: bytes) -> bytes:
        """Return it sealed: ASCII."""
        return self._current + self._keys[self._newest].encrypt(content)

    def open(self, stored: bytes) -> bytes:
        """Return what was sealed; what was stored in the clear is returned as it is.

        Raises:
            KeyMissing: it was sealed with a key that is not among them.
            MalformedBody: it was altered since.
        """
        if not stored.startswith(_PREFIX):
            return stored
        name, _, token = stored[len(_PREFIX) :].partition(b":")
        key = self._keys.get(name)
        if key is None:
            raise KeyMissing(name.decode("ascii", "replace"))
        try:
            return key.decrypt(token)
        except InvalidToken:
            raise MalformedBody("$", f"what was sealed with key {name.decode()}; it was altered since") from None
